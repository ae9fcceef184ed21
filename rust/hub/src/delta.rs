//! Fossil deltas: how one text differs from another, as Centrifuge SDKs apply it.
//!
//! A delta is the length of the new text and a newline, then in order the pieces of the new text,
//! then the checksum of the new text and `;`. A piece is `<count>@<offset>,`, bytes that the old
//! text has at that offset, or `<count>:` and the bytes themselves. Numbers have base 64, the
//! highest digit first. The checksum is the sum of the text read as big-endian words of 32 bits,
//! with zeros at its end. This is the format of the Fossil version control system.
//!
//! A delta of a UTF-8 text is UTF-8 itself: pieces begin and end between characters. It may be
//! longer than the new text; then the new text is the better message.
//!
//! # How matches are found
//!
//! A standing that changed is the old one with a few numbers replaced and some rows moved. Every
//! position of the old text goes into a hash table under the `SEED` bytes that begin there. At
//! each position of the new text, the longest of the first `CANDIDATES` matches becomes a copy.
//! That is a bounded number of steps for each byte of both texts.

/// Bytes that must match for a copy. A copy costs 5 or 6 bytes, and may cut a literal in two,
/// which costs 2 more.
const SEED: usize = 12;

/// Old positions that are tried for one new position, so that texts full of repetitions take
/// linear time. Rows begin alike, and the wanted one should be among those tried.
const CANDIDATES: usize = 16;

/// Positions of the old text that matches are found at: enough for the largest standing, and small
/// enough for 16 bits.
const INDEXED: usize = u16::MAX as usize;

const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";

/// Encodes deltas. Its tables grow to at most 384 KiB and are used again, so that encoding
/// allocates nothing once they have grown.
#[derive(Debug, Default)]
pub struct Encoder {
    /// By hash: 1 + the first position of the old text that has it; 0 for none.
    heads: Vec<u16>,
    /// By position: 1 + the next position with the same hash; 0 for none.
    nexts: Vec<u16>,
    /// Hash bits that count.
    bits: u32,
}

impl Encoder {
    /// Replaces `out` by the delta that makes `new` of `old`.
    ///
    /// The same texts always give the same delta. If `new` is UTF-8, so is the delta. Texts have
    /// less than 4 GiB: readers of the format take numbers of 32 bits.
    pub fn encode(&mut self, old: &[u8], new: &[u8], out: &mut Vec<u8>) {
        out.clear();
        put_number(out, new.len());
        out.push(b'\n');
        self.index(old);
        let (mut done, mut position) = (0, 0);
        while position + SEED <= new.len() {
            let Some((offset, count)) = self.longest(old, new, position) else {
                position += 1;
                continue;
            };
            put_literal(out, &new[done..position]);
            put_number(out, count);
            out.push(b'@');
            put_number(out, offset);
            out.push(b',');
            position += count;
            done = position;
        }
        put_literal(out, &new[done..]);
        put_number(out, checksum(new) as usize);
        out.push(b';');
    }

    fn index(&mut self, old: &[u8]) {
        let count = (old.len() + 1).saturating_sub(SEED).min(INDEXED);
        self.bits = count.next_power_of_two().ilog2() + 1;
        self.heads.clear();
        self.heads.resize(1 << self.bits, 0);
        self.nexts.clear();
        self.nexts.resize(count, 0);
        // From the end, so that a list begins with the lowest position.
        for position in (0..count).rev() {
            let head = &mut self.heads[hash(&old[position..], self.bits)];
            self.nexts[position] = *head;
            *head = position as u16 + 1;
        }
    }

    /// The longest match that begins at `position` of the new text, if there is one of [`SEED`]
    /// bytes or more that splits no character: its offset in the old text and its bytes.
    fn longest(&self, old: &[u8], new: &[u8], position: usize) -> Option<(usize, usize)> {
        if is_inside_character(new, position) {
            return None;
        }
        let rest = &new[position..];
        let (mut offset, mut count) = (0, 0);
        let mut next = self.heads[hash(rest, self.bits)];
        for _ in 0..CANDIDATES {
            let Some(candidate) = usize::from(next).checked_sub(1) else { break };
            let matching = common_prefix(&old[candidate..], rest);
            if matching > count {
                (offset, count) = (candidate, matching);
            }
            next = self.nexts[candidate];
        }
        while count >= SEED && is_inside_character(new, position + count) {
            count -= 1;
        }
        (count >= SEED).then_some((offset, count))
    }
}

/// Whether a cut at `position` would split a character of UTF-8.
fn is_inside_character(text: &[u8], position: usize) -> bool {
    text.get(position).is_some_and(|byte| byte & 0xc0 == 0x80)
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Multiplicative hash of the first [`SEED`] bytes, of which there must be as many.
fn hash(bytes: &[u8], bits: u32) -> usize {
    let low = u64::from_le_bytes(*bytes.first_chunk().expect("a seed is at least 8 bytes"));
    let high = u64::from_le_bytes(*bytes[..SEED].last_chunk().expect("a seed is at least 8 bytes"));
    // 2^64 divided by the golden ratio, as Knuth has it.
    let mixed = (low ^ high.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (64 - bits)) as usize
}

fn put_literal(out: &mut Vec<u8>, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_number(out, bytes.len());
        out.push(b':');
        out.extend_from_slice(bytes);
    }
}

fn put_number(out: &mut Vec<u8>, value: usize) {
    let digits = (usize::BITS - value.leading_zeros()).div_ceil(6).max(1);
    for digit in (0..digits).rev() {
        out.push(DIGITS[value >> (6 * digit) & 63]);
    }
}

fn checksum(text: &[u8]) -> u32 {
    let (words, rest) = text.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    let sum = |sum: u32, word: &[u8; 4]| sum.wrapping_add(u32::from_be_bytes(*word));
    words.iter().chain([&last]).fold(0, sum)
}

/// Why a delta cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// The bytes are no delta.
    #[error("not a delta")]
    Malformed,
    /// It copies what the old text does not have: it belongs to another one.
    #[error("a delta copies bytes that the old text does not have")]
    OutOfRange,
    /// The new text would be longer than it may be.
    #[error("the text that a delta makes is too long")]
    TooLong,
    /// The result has another length or checksum than the delta says: it belongs to another text.
    #[error("a delta makes another text than it says")]
    Mismatch,
}

/// Replaces `out` by the text that `delta` makes of `old`, which may have `max` bytes. After an
/// error `out` is empty.
pub fn apply(old: &[u8], delta: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), DeltaError> {
    out.clear();
    let applied = build(old, delta, out, max);
    if applied.is_err() {
        out.clear();
    }
    applied
}

fn build(old: &[u8], delta: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), DeltaError> {
    let rest = &mut &*delta;
    let (len, b'\n') = number(rest)? else { return Err(DeltaError::Malformed) };
    if len > max {
        return Err(DeltaError::TooLong);
    }
    loop {
        let piece = match number(rest)? {
            (count, b'@') => {
                let (offset, b',') = number(rest)? else { return Err(DeltaError::Malformed) };
                old.get(offset..).and_then(|old| old.get(..count)).ok_or(DeltaError::OutOfRange)?
            }
            (count, b':') => {
                let (piece, tail) = rest.split_at_checked(count).ok_or(DeltaError::Malformed)?;
                *rest = tail;
                piece
            }
            (sum, b';') if rest.is_empty() => {
                let is_right = out.len() == len && checksum(out) as usize == sum;
                return if is_right { Ok(()) } else { Err(DeltaError::Mismatch) };
            }
            _ => return Err(DeltaError::Malformed),
        };
        if piece.len() > len - out.len() {
            return Err(DeltaError::Mismatch);
        }
        out.extend_from_slice(piece);
    }
}

/// Takes a number of 32 bits and the byte after it.
fn number(rest: &mut &[u8]) -> Result<(usize, u8), DeltaError> {
    let mut value = 0u32;
    for (read, &byte) in rest.iter().enumerate() {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A' + 10,
            b'_' => 36,
            b'a'..=b'z' => byte - b'a' + 37,
            b'~' => 63,
            _ if read == 0 => break,
            _ => {
                *rest = &rest[read + 1..];
                return Ok((value as usize, byte));
            }
        };
        if value >> 26 != 0 {
            break;
        }
        value = value << 6 | u32::from(digit);
    }
    Err(DeltaError::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn encode(old: &[u8], new: &[u8]) -> Vec<u8> {
        let mut out = b"of an earlier call".to_vec();
        Encoder::default().encode(old, new, &mut out);
        out
    }

    fn applied(old: &[u8], delta: &[u8], max: usize) -> Result<Vec<u8>, DeltaError> {
        let mut out = b"of an earlier call".to_vec();
        let result = apply(old, delta, &mut out, max);
        assert!(result.is_ok() || out.is_empty());
        result.map(|()| out)
    }

    /// A standing of ten rows.
    fn standing(version: u32, total: u32, rows: &[(&str, u32)]) -> String {
        let entries: Vec<_> = rows
            .iter()
            .map(|(member, score)| format!(r#"{{"member":"{member}","score":{score}}}"#))
            .collect();
        let entries = entries.join(",");
        format!(r#"{{"version":{version},"total":{total},"entries":[{entries}]}}"#)
    }

    const ROWS: [(&str, u32); 10] = [
        ("player-07734-of-clan", 991_250),
        ("ann", 990_011),
        ("player-40406-of-clan", 951_877),
        ("player-11223-of-clan", 917_430),
        ("müller-ß-weiß", 900_000),
        ("player-90210-of-clan", 871_009),
        ("日本語の名前", 866_502),
        ("player-55512-of-clan", 840_128),
        ("player-86753-of-clan", 833_333),
        ("bob", 799_998),
    ];

    #[test]
    fn a_few_changes_take_a_few_bytes() {
        let old = standing(123_456, 50_000, &ROWS);
        let mut scored = ROWS;
        scored[4].1 += 7;
        let mut moved = ROWS;
        moved[3..=6].rotate_right(1);
        moved[3].1 = 920_000;
        for (new, most) in [
            (standing(123_457, 50_002, &ROWS), 32),
            (standing(123_457, 50_000, &scored), 40),
            (standing(123_457, 50_000, &moved), 60),
        ] {
            let delta = encode(old.as_bytes(), new.as_bytes());
            assert!(delta.len() <= most, "{} bytes of {}", delta.len(), new.len());
            assert_eq!(applied(old.as_bytes(), &delta, new.len()), Ok(new.into_bytes()));
        }
    }

    /// Written by hand from the format; the checksums are the SDK's.
    #[test]
    fn a_delta_looks_like_this() {
        let (old, new) = (b"0123456789abcdef, and more", b"x0123456789abcdefy");
        assert_eq!(encode(old, new), b"I\n1:xG@0,1:y2gUGGj;");
        assert_eq!(encode(b"0123456789ab", b"0123456789ab"), b"C\nC@0,2ScxcC;");
        assert_eq!(encode(b"0123456789a", b"0123456789a"), b"B\nB:0123456789a2Scxaf;");
        assert_eq!(encode(b"", b""), b"0\n0;");
    }

    #[test]
    fn an_encoder_forgets_the_texts_of_earlier_calls() {
        // The second one is shorter than the first, with a table of the same size.
        let texts =
            [standing(1, 10, &ROWS), standing(2, 9, &ROWS[..9]), "x".repeat(3_000), String::new()];
        let mut encoder = Encoder::default();
        let mut out = Vec::new();
        for old in &texts {
            for new in &texts {
                encoder.encode(old.as_bytes(), new.as_bytes(), &mut out);
                assert_eq!(out, encode(old.as_bytes(), new.as_bytes()));
            }
        }
    }

    #[test]
    fn texts_beyond_the_table_are_still_encoded() {
        let old = (0..20_000).map(|i| format!("{i:07x}")).collect::<Vec<_>>().join(",");
        let new = format!("{}!{}", &old[..100], &old[100..]);
        let delta = encode(old.as_bytes(), new.as_bytes());
        assert!(delta.len() < 30, "one match goes on beyond the table: {}", delta.len());
        let (shifted, max) = (format!("!{}", &old[100_000..]), new.len());
        for new in [new, shifted] {
            let delta = encode(old.as_bytes(), new.as_bytes());
            assert_eq!(applied(old.as_bytes(), &delta, max), Ok(new.into_bytes()));
        }
    }

    #[test]
    fn what_is_no_delta_of_the_text_is_refused() {
        use DeltaError::{Malformed, Mismatch, OutOfRange, TooLong};
        let old = b"abcdefgh";
        assert_eq!(applied(old, b"4\n4@2,1ZP6Lb;", 4), Ok(b"cdef".to_vec()));
        let refused: [(&[u8], DeltaError); 23] = [
            (b"", Malformed),
            (b"4", Malformed),
            (b"\n4@2,1ZP6Lb;", Malformed),
            (b"4;4@2,1ZP6Lb;", Malformed),
            (b"4\n", Malformed),
            (b"4\n4@2", Malformed),
            (b"4\n4@2;1ZP6Lb;", Malformed),
            (b"4\n4@,1ZP6Lb;", Malformed),
            (b"4\n4@2,", Malformed),
            (b"4\n4@2,1ZP6Lb", Malformed),
            (b"4\n4@2,1ZP6Lb;;", Malformed),
            (b"4\n4@2,1ZP6Lb?", Malformed),
            (b"4\n5:cdef", Malformed),
            (b"4\n4000000@2,1ZP6Lb;", Malformed),
            (b"0000000000000000004\n4@5,1ZP6Lb;", OutOfRange),
            (b"4\n4@5,1ZP6Lb;", OutOfRange),
            (b"4\n3~~~~~@3~~~~~,1ZP6Lb;", OutOfRange),
            (b"5\n4@2,1ZP6Lb;", TooLong),
            (b"3\n4@2,1ZP6Lb;", Mismatch),
            (b"4\n0;", Mismatch),
            (b"3\n4:cdef1ZP6Lb;", Mismatch),
            (b"4\n3@2,1ZP6Lb;", Mismatch),
            (b"4\n4@2,1ZP6Lc;", Mismatch),
        ];
        for (delta, error) in refused {
            let shown = String::from_utf8_lossy(delta);
            assert_eq!(applied(old, delta, 4), Err(error), "{shown}");
        }
    }

    #[test]
    fn a_delta_that_goes_on_and_on_is_cut_short() {
        let delta = [b"9\n".as_slice(), &b"8@0,".repeat(1_000)].concat();
        let mut out = Vec::new();
        assert_eq!(apply(b"abcdefgh", &delta, &mut out, 9), Err(DeltaError::Mismatch));
        assert!(out.capacity() < 100, "{}", out.capacity());
    }

    #[derive(serde::Deserialize)]
    struct Golden {
        name: String,
        old: String,
        new: String,
        delta: String,
    }

    /// The same file is read by `tests/realtime/test_fossil_golden.py`, where an SDK applies it.
    #[test]
    fn deltas_are_those_that_an_sdk_has_applied() {
        let golden: Vec<Golden> =
            serde_json::from_str(include_str!("../tests/golden/fossil.json")).unwrap();
        assert!(golden.len() >= 8);
        for Golden { name, old, new, delta } in golden {
            let encoded = String::from_utf8(encode(old.as_bytes(), new.as_bytes())).unwrap();
            assert_eq!(encoded, delta, "{name}");
            assert_eq!(applied(old.as_bytes(), delta.as_bytes(), new.len()), Ok(new.into_bytes()));
        }
    }

    /// Texts that have much in common: pieces of the same few, some of them cut anywhere.
    fn pieces() -> impl Strategy<Value = String> {
        let row = |text: &'static str| {
            (0..text.chars().count())
                .prop_map(move |cut| text.chars().skip(cut / 2).collect::<String>())
        };
        let piece = prop_oneof![
            row(r#"{"member":"player-1","score":1000},"#),
            row(r#"{"member":"日本語の名前","score":777},"#),
            row("ééééééééééééééééééèééééééééééé"),
            row("😀😀😀😁😀😀😀😀😂😀😀😀😀😀"),
            select(&["aaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaab", "é", "è"][..])
                .prop_map(Into::into),
            any::<String>(),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let few = proptest::collection::vec(select(&[0x80, 0xbf, 0xc3, b'a'][..]), 0..200);
        prop_oneof![any::<Vec<u8>>(), few]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_delta_of_texts_makes_the_new_one_and_is_text(old in pieces(), new in pieces()) {
            let delta = encode(old.as_bytes(), new.as_bytes());
            prop_assert!(std::str::from_utf8(&delta).is_ok());
            prop_assert_eq!(applied(old.as_bytes(), &delta, new.len()), Ok(new.into_bytes()));
        }

        #[test]
        fn a_delta_of_bytes_makes_the_new_ones(old in bytes(), new in bytes()) {
            let delta = encode(&old, &new);
            prop_assert_eq!(applied(&old, &delta, new.len()), Ok(new.clone()));
            if !new.is_empty() {
                let short = applied(&old, &delta, new.len() - 1);
                prop_assert_eq!(short, Err(DeltaError::TooLong));
            }
        }

        #[test]
        fn a_damaged_delta_never_makes_more_than_it_may(
            old in pieces(),
            new in pieces(),
            at in any::<prop::sample::Index>(),
            byte in select(&b"0124~@:,;\n"[..]),
            max in 0..300usize,
        ) {
            let mut delta = encode(old.as_bytes(), new.as_bytes());
            let at = at.index(delta.len());
            delta[at] = byte;
            let mut out = Vec::new();
            let _ = apply(old.as_bytes(), &delta, &mut out, max);
            prop_assert!(out.len() <= max);
        }

        #[test]
        fn any_bytes_are_refused_or_applied(old in any::<Vec<u8>>(), delta in "[0-9A-Z@:,;\n]{0,40}") {
            if let Ok(out) = applied(&old, delta.as_bytes(), 100) {
                prop_assert!(out.len() <= 100);
            }
        }
    }
}
