//! Members' names and scores, made on the fly so that they take no memory.

/// Length of a member's name.
pub(crate) const NAME: usize = 20;
const PREFIX: &[u8] = b"member-";
/// Scores have this many bits, on top of [`LEAST`], so that each has ten digits.
const BITS: u32 = 33;
const LEAST: u64 = 1_000_000_000;

/// A member's name, without an allocation.
#[derive(Clone, Copy)]
pub(crate) struct Name([u8; NAME]);

impl Name {
    /// `member-` and the number with leading zeros.
    pub(crate) fn of(mut number: usize) -> Self {
        let mut name = [b'0'; NAME];
        name[..PREFIX.len()].copy_from_slice(PREFIX);
        for digit in name[PREFIX.len()..].iter_mut().rev() {
            *digit += (number % 10) as u8;
            number /= 10;
        }
        Self(name)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The next number of Marsaglia's generator, which starts from any state but 0. The lowest bits
/// are the weakest.
pub(crate) fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// A score that looks random and that no other number below 2^33 has: every step can be undone.
/// `score` in `loadtests/bench_memory.py` is the same function.
pub(crate) fn distinct_score(number: u64) -> u64 {
    let mask = (1 << BITS) - 1;
    let mut score = number & mask;
    for factor in [0x1_9E37_79B9, 0x1_85EB_CA6B] {
        score = score.wrapping_mul(factor) & mask;
        score ^= score >> (BITS / 2);
    }
    LEAST + score
}

/// Random members of one board, and random moves of them.
pub(crate) struct Source {
    members: usize,
    state: u64,
}

impl Source {
    /// Sources of different numbers give different members.
    pub(crate) fn new(members: usize, number: u64) -> Self {
        Self { members, state: 0x9E37_79B9_7F4A_7C15 ^ (number << 32) }
    }

    /// Any member.
    pub(crate) fn member(&mut self) -> Name {
        Name::of((xorshift(&mut self.state) >> 20) as usize % self.members)
    }

    /// An offset from which a page of so many entries is full.
    pub(crate) fn offset(&mut self, page: usize) -> u64 {
        (xorshift(&mut self.state) >> 20) % (self.members - page) as u64
    }

    /// So many members with new scores.
    pub(crate) fn moves<const N: usize>(&mut self) -> [(Name, u64); N] {
        std::array::from_fn(|_| {
            let member = self.member();
            (member, LEAST + (xorshift(&mut self.state) >> (64 - BITS)))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Name, distinct_score};

    #[test]
    fn scores_are_distinct_and_have_ten_digits() {
        let scores: HashSet<u64> = (0..100_000).map(distinct_score).collect();
        assert_eq!(scores.len(), 100_000);
        assert!(scores.iter().all(|score| score.to_string().len() == 10));
    }

    #[test]
    fn scores_are_those_of_the_script() {
        assert_eq!(
            [0, 1, 12_345_678].map(distinct_score),
            [1_000_000_000, 8_667_391_832, 3_640_155_081]
        );
    }

    #[test]
    fn a_name_has_its_number() {
        assert_eq!(Name::of(1_234_567).as_ref(), "member-0000001234567");
    }
}
