//! One long run on a large list.

use super::model::{ALL_TIES, SEED, key};
use super::shape::{assert_canonical, assert_sound};
use crate::{Entry, Key, List, Ties};

const MEMBERS: u64 = 200_000;
const MOVES: u64 = 50_000;

/// A plain generator of random numbers (`SplitMix64`), the same on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ x >> 31) % limit
    }
}

/// The entries in rank order. `keys[i]` belongs to `names[i]`, and the names ascend.
fn sorted<'a>(ties: Ties, names: &'a [String], keys: &[Key]) -> Vec<Entry<'a>> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by_key(|i| {
        let Key { score, stamp } = keys[*i];
        let stamp = match ties {
            Ties::First => stamp,
            Ties::Last => !stamp,
            Ties::Member => 0,
        };
        (score, stamp, *i)
    });
    let entry = |(i, rank): (usize, u64)| Entry { rank, member: &names[i], key: keys[i] };
    order.into_iter().zip(1..).map(entry).collect()
}

fn many_moves(ties: Ties, scores: u64) {
    let mut random = Random(scores);
    let names: Vec<String> = (0..MEMBERS).map(|i| format!("member-{i:06}")).collect();
    let mut keys: Vec<Key> = names.iter().map(|_| key(random.below(scores), 0)).collect();
    let entries = names.iter().zip(&keys).map(|(name, key)| (name.as_str(), *key));
    let mut list = List::from_entries(ties, SEED, entries).expect("the names differ");
    let mut kept = None;
    for stamp in 0..MOVES {
        if stamp % 64 == 0 {
            // Makes the moves that follow copy what they change.
            kept = Some(list.clone());
        }
        let i = random.below(MEMBERS) as usize;
        let key = key(random.below(scores), stamp);
        assert_eq!(list.set(&names[i], key), Some(keys[i]));
        keys[i] = key;
    }
    assert!(kept.is_some_and(|kept| kept.version() < list.version()));

    let expected = sorted(ties, &names, &keys);
    assert!(list.iter().eq(expected.iter().copied()));
    for entry in expected.iter().step_by(97) {
        assert_eq!(list.entry(entry.member), Some(*entry));
        assert_eq!(list.select(entry.rank), Some(*entry));
    }
    assert_sound(&list);
    assert_canonical(&list);
}

#[test]
fn many_moves_among_many_scores() {
    many_moves(Ties::First, u64::MAX);
}

#[test]
fn many_moves_among_few_scores() {
    let [_, last, _] = ALL_TIES;
    many_moves(last, 5);
}
