//! The encoding of JSON: commands in, strings and numbers out.

use serde::de::{Deserialize as _, Deserializer, Error as _};
use serde_json::value::RawValue;

use super::command::Parts;

/// Reads a command. What it holds of unescaped strings and of data is borrowed.
pub(super) fn command(line: &str) -> serde_json::Result<Parts<'_>> {
    // A struct may also come as an array of its fields: not here.
    if line.starts_with('{') {
        serde_json::from_str(line)
    } else {
        Err(serde_json::Error::custom("not an object"))
    }
}

/// Reads any value as the text that it is; `null` counts as absent.
pub(super) fn data<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de [u8]>, D::Error> {
    let value = Option::<&RawValue>::deserialize(from)?;
    Ok(value.map(|value| value.get().as_bytes()))
}

/// Reads the name of a delta format: whether it is the one that the hub has.
pub(super) fn fossil<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    let format = std::borrow::Cow::<str>::deserialize(from)?;
    Ok(format == "fossil")
}

/// What stands for a byte in a string: 0 for itself, `u` for `\u00XX`, others after a backslash.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        escapes[control] = b'u';
        control += 1;
    }
    escapes[0x08] = b'b';
    escapes[0x09] = b't';
    escapes[0x0a] = b'n';
    escapes[0x0c] = b'f';
    escapes[0x0d] = b'r';
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes
};

/// Appends a string of UTF-8 `text`.
pub(super) fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    // Enough for most texts, so that appending moves nothing.
    out.reserve(text.len() + text.len() / 4 + 2);
    out.push(b'"');
    let mut start = 0;
    for (position, &byte) in text.iter().enumerate() {
        let escape = ESCAPES[usize::from(byte)];
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(&text[start..position]);
        start = position + 1;
        out.extend_from_slice(&[b'\\', escape]);
        if escape == b'u' {
            let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
            out.extend_from_slice(&[b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    out.extend_from_slice(&text[start..]);
    out.push(b'"');
}

/// Appends a number.
pub(super) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_character_of_ascii_is_escaped_as_the_specification_wants() {
        let text: String = (0..0x80u8).map(char::from).chain("é€😀".chars()).collect();
        let mut out = Vec::new();
        put_string(&mut out, text.as_bytes());
        assert_eq!(
            String::from_utf8(out),
            serde_json::to_string(&text).map_err(|_| unreachable!())
        );
    }

    proptest! {
        #[test]
        fn strings_are_what_serde_json_writes(text in any::<String>()) {
            let mut out = b"before".to_vec();
            put_string(&mut out, text.as_bytes());
            prop_assert_eq!(&out[6..], serde_json::to_vec(&text).unwrap());
        }

        #[test]
        fn numbers_are_decimal(value in prop_oneof![any::<u64>(), 0..1_000u64, Just(u64::MAX)]) {
            let mut out = Vec::new();
            put_number(&mut out, value);
            prop_assert_eq!(out, value.to_string().into_bytes());
        }
    }
}
