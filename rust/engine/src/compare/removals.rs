//! Removed members: read some at a time, hashed, and summed up by the first bytes of their hashes.

use std::collections::HashMap;
use std::hash::Hasher;

use rankwire_ranklist::Seed;
use siphasher::sip::SipHasher13;

use super::codec::{Answer, FAN, LONGEST_PREFIX, Prefix};
use crate::Engine;
use crate::record::BoardId;

/// Read while the writer's lock is held: a tenth of a millisecond.
const TOGETHER: usize = 4096;
/// Told of one prefix at most. With two bytes there are fewer up to ten million removals; what is
/// left out is found once the rest is repaired.
pub(super) const MOST_TOLD: usize = 256;

/// How many removals there are, and the sum of their hashes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    pub(super) count: u64,
    pub(super) hash: u64,
}

impl Engine {
    /// The sum of all removals of a board.
    pub(super) fn removals(&self, board: BoardId, seed: Seed) -> Sum {
        let mut sum = Sum::default();
        self.each_removal(board, |member, generation| {
            sum.count += 1;
            sum.hash = sum.hash.wrapping_add(hash(seed, member, generation));
        });
        sum
    }

    /// The answers about several prefixes, from one reading of the removals.
    pub(super) fn removals_below(
        &self,
        board: BoardId,
        seed: Seed,
        prefixes: &[Prefix],
    ) -> HashMap<Prefix, Answer> {
        let empty = |prefix: &Prefix| {
            let hashes = || Answer::Hashes(vec![0; FAN]);
            (*prefix, if prefix.are_told { Answer::Removals(Vec::new()) } else { hashes() })
        };
        let mut answers: HashMap<_, _> = prefixes.iter().map(empty).collect();
        self.each_removal(board, |member, generation| {
            let place = place(seed, member);
            for (bytes, are_told) in [(0, false), (1, false), (0, true), (1, true), (2, true)] {
                let prefix = Prefix::of(place, bytes, are_told);
                match answers.get_mut(&prefix) {
                    Some(Answer::Hashes(sums)) => {
                        let sum = &mut sums[usize::from(prefix.next_byte(place))];
                        *sum = sum.wrapping_add(hash(seed, member, generation));
                    }
                    Some(Answer::Removals(told)) if told.len() < MOST_TOLD => {
                        told.push((member.into(), generation));
                    }
                    _ => {}
                }
            }
        });
        answers
    }

    fn each_removal(&self, board: BoardId, mut each: impl FnMut(&str, u32)) {
        let mut seen = 0;
        loop {
            let some = self.with_writer(|writer| {
                let ledger = writer.ledgers.get(&board);
                ledger.map(|ledger| ledger.generations.some(seen, TOGETHER).to_vec())
            });
            let some = some.unwrap_or_default();
            if some.is_empty() {
                return;
            }
            seen += some.len();
            for (member, generation) in some {
                each(&member, generation);
            }
        }
    }
}

impl Prefix {
    /// The first bytes of a place.
    fn of(place: u16, bytes: u8, are_told: bool) -> Self {
        let shift = 8 * u32::from(LONGEST_PREFIX - bytes);
        Self { bytes, value: place.checked_shr(shift).unwrap_or(0), are_told }
    }

    /// The byte of a place that follows.
    fn next_byte(self, place: u16) -> u8 {
        place.to_be_bytes()[usize::from(self.bytes)]
    }

    /// Those that go on with a byte.
    pub(super) fn followed_by(self, byte: u8) -> Self {
        let bytes = self.bytes + 1;
        let value = self.value << 8 | u16::from(byte);
        Self { bytes, value, are_told: bytes == LONGEST_PREFIX }
    }
}

/// The first two bytes of the hash of a name.
fn place(seed: Seed, member: &str) -> u16 {
    let mut hasher = SipHasher13::new_with_key(&seed);
    hasher.write(member.as_bytes());
    (hasher.finish() >> 48) as u16
}

fn hash(seed: Seed, member: &str, generation: u32) -> u64 {
    let mut hasher = SipHasher13::new_with_key(&seed);
    hasher.write_u32(generation);
    hasher.write(member.as_bytes());
    hasher.finish()
}
