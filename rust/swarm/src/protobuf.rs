//! The Protobuf wire format, as far as the Centrifuge protocol needs it. No I/O.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>. Numbers of fields are in
//! [`protocol`](crate::protocol), where messages are made and read.

/// Appends a varint.
pub(crate) fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a field that is a number.
pub(crate) fn put_number(field: u32, number: u64, out: &mut Vec<u8>) {
    put_varint(u64::from(field) << 3, out);
    put_varint(number, out);
}

/// Appends a field that is bytes, text or a message.
pub(crate) fn put_bytes(field: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(u64::from(field) << 3 | 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Takes a varint of at most 64 bits off the front.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Takes bytes with their length before them off the front.
pub(crate) fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_varint(bytes)?).ok()?;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A varint.
    Number(u64),
    /// Bytes, text or a message.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The number; 0 if it is none, as for an absent field.
    pub(crate) fn number(self) -> u64 {
        if let Self::Number(number) = self { number } else { 0 }
    }

    /// The bytes; none if it is a number.
    pub(crate) fn bytes(self) -> &'a [u8] {
        if let Self::Bytes(bytes) = self { bytes } else { &[] }
    }
}

/// Takes the next field off the front of a message: its number and its value. Nothing if the message
/// is broken or has a kind of field that the protocol does not use.
pub(crate) fn take_field<'a>(bytes: &mut &'a [u8]) -> Option<(u32, Value<'a>)> {
    let key = take_varint(bytes)?;
    let field = u32::try_from(key >> 3).ok().filter(|field| *field > 0)?;
    let value = match key & 7 {
        0 => Value::Number(take_varint(bytes)?),
        2 => Value::Bytes(take_bytes(bytes)?),
        _ => return None,
    };
    Some((field, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_taken() {
        let mut out = Vec::new();
        put_number(1, 300, &mut out);
        put_bytes(13, b"abc", &mut out);
        put_number(2, u64::MAX, &mut out);
        // The first field is the example of the specification.
        assert_eq!(out[..3], [0x08, 0xac, 0x02]);
        let mut rest = &out[..];
        assert_eq!(take_field(&mut rest), Some((1, Value::Number(300))));
        assert_eq!(take_field(&mut rest), Some((13, Value::Bytes(b"abc"))));
        assert_eq!(take_field(&mut rest), Some((2, Value::Number(u64::MAX))));
        assert!(rest.is_empty());
    }

    #[test]
    fn broken_messages_are_nothing() {
        let broken: [&[u8]; 6] =
            [&[], &[0x08], &[0x12, 3, 1, 2], &[0x00, 0], &[0x0d, 0, 0, 0, 0], &[0xff; 11]];
        for bytes in broken {
            assert_eq!(take_field(&mut &bytes[..]), None, "{bytes:?}");
        }
    }
}
