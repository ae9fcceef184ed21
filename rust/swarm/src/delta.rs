//! Applies deltas in the format of Fossil SCM, which Centrifuge's delta compression uses.
//!
//! Source: <https://fossil-scm.org/home/doc/trunk/www/delta_format.wiki>. A delta is
//! `SIZE\n COMMAND… CHECKSUM;` where a command is `LENGTH@OFFSET,` (copy from the base) or
//! `LENGTH:BYTES` (take the bytes as they are). Numbers are in a base-64 notation of its own.

/// Largest text that a delta may make, in bytes.
const LARGEST: usize = 16 << 20;

/// Why a delta was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadDelta {
    /// It ends too early or has a byte where none belongs.
    Form,
    /// It copies what the base does not have.
    Copy,
    /// It makes a text of another size than it says.
    Size,
    /// It makes a text with another checksum than it says.
    Checksum,
}

/// Makes the new text from the base and the delta.
pub(crate) fn apply(base: &[u8], delta: &[u8]) -> Result<Vec<u8>, BadDelta> {
    let mut reader = Reader { rest: delta };
    let size = reader.number()?;
    reader.expect(b'\n')?;
    if size > LARGEST {
        return Err(BadDelta::Size);
    }
    let mut made = Vec::with_capacity(size);
    loop {
        let number = reader.number()?;
        let bytes = match reader.byte()? {
            b'@' => {
                let offset = reader.number()?;
                reader.expect(b',')?;
                base.get(offset..).and_then(|from| from.get(..number)).ok_or(BadDelta::Copy)?
            }
            b':' => reader.take(number)?,
            b';' if !reader.rest.is_empty() => return Err(BadDelta::Form),
            b';' if made.len() != size => return Err(BadDelta::Size),
            b';' if number != checksum(&made) as usize => return Err(BadDelta::Checksum),
            b';' => return Ok(made),
            _ => return Err(BadDelta::Form),
        };
        if made.len() + bytes.len() > size {
            return Err(BadDelta::Size);
        }
        made.extend_from_slice(bytes);
    }
}

/// The sum of the text as 32-bit numbers, the highest byte first, the last one filled with zeros.
fn checksum(text: &[u8]) -> u32 {
    text.chunks(4).fold(0, |sum: u32, chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        sum.wrapping_add(u32::from_be_bytes(word))
    })
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, BadDelta> {
        let (first, rest) = self.rest.split_first().ok_or(BadDelta::Form)?;
        self.rest = rest;
        Ok(*first)
    }

    fn expect(&mut self, byte: u8) -> Result<(), BadDelta> {
        if self.byte()? == byte { Ok(()) } else { Err(BadDelta::Form) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], BadDelta> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(BadDelta::Form)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A number of at least one digit.
    fn number(&mut self) -> Result<usize, BadDelta> {
        let digits = self.rest.iter().take_while(|byte| digit(**byte).is_some()).count();
        let taken = self.take(digits)?;
        if taken.is_empty() || taken.len() > 6 {
            return Err(BadDelta::Form);
        }
        Ok(taken
            .iter()
            .filter_map(|byte| digit(*byte))
            .fold(0, |number, digit| number * 64 + usize::from(digit)))
    }
}

/// The value of a digit: `0-9`, `A-Z`, `_`, `a-z`, `~`.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'Z' => Some(byte - b'A' + 10),
        b'_' => Some(36),
        b'a'..=b'z' => Some(byte - b'a' + 37),
        b'~' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The inverse of `Reader::number`, for making deltas by hand.
    fn digits(mut number: usize) -> String {
        const ALL: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";
        let mut made = vec![];
        while made.is_empty() || number > 0 {
            made.insert(0, ALL[number % 64]);
            number /= 64;
        }
        String::from_utf8(made).unwrap()
    }

    fn delta(size: usize, commands: &str, sum: u32) -> String {
        format!("{}\n{commands}{};", digits(size), digits(sum as usize))
    }

    #[test]
    fn copies_and_inserts_make_the_new_text() {
        let base = b"0123456789".repeat(20);
        let new = [&base[100..190], b"abc", &base[..7]].concat();
        let commands = format!("{}@{},3:abc7@0,", digits(90), digits(100));
        let good = delta(100, &commands, checksum(&new));
        assert_eq!(apply(&base, good.as_bytes()).unwrap(), new);
    }

    #[test]
    fn the_checksum_is_the_sum_of_big_endian_words() {
        assert_eq!(checksum(b"hello!"), 0x6865_6c6c_u32.wrapping_add(0x6f21_0000));
        assert_eq!(checksum(&[0xff; 8]), 0xffff_fffe);
        // Written out by hand: "hello!" as an insert.
        assert_eq!(apply(b"", b"6\n6:hello!3NXbmh;"), Ok(b"hello!".to_vec()));
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_noticed() {
        let base = b"{\"version\":1,\"total\":3}";
        let new = b"{\"version\":2,\"total\":3}";
        let made = delta(new.len(), "B@0,1:2B@C,", checksum(new));
        assert_eq!(apply(base, made.as_bytes()).unwrap(), new);
        for cut in 0..made.len() {
            assert!(apply(base, &made.as_bytes()[..cut]).is_err(), "{cut}");
        }
        for at in 0..made.len() {
            let mut changed = made.clone().into_bytes();
            changed[at] ^= 1;
            assert_ne!(apply(base, &changed).as_deref(), Ok(&new[..]), "{at}");
        }
    }

    #[test]
    fn each_lie_has_its_name() {
        let sum = checksum(b"ab");
        for (text, problem) in [
            (delta(2, "3@0,", sum), BadDelta::Copy),
            (delta(3, "2:ab", sum), BadDelta::Size),
            (delta(1, "2:ab", sum), BadDelta::Size),
            (delta(2, "2:ab", sum + 1), BadDelta::Checksum),
            (delta(2, "2:ab", sum) + "x", BadDelta::Form),
            (delta(LARGEST + 1, "", 0), BadDelta::Size),
            ("2\n2-ab;".to_owned(), BadDelta::Form),
            // It stops as soon as it is too much.
            ("1\n2:ab".to_owned(), BadDelta::Size),
            ("2222222\n".to_owned(), BadDelta::Form),
        ] {
            assert_eq!(apply(b"ab", text.as_bytes()), Err(problem), "{text:?}");
        }
    }
}
