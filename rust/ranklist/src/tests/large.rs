//! One long run on a large list.

use super::model::SEED;
use super::shape::{assert_canonical, assert_sound};
use crate::{Entry, Key, Shared, Ties, Version};

const MEMBERS: u64 = 200_000;
const MOVES: u64 = 30_000;

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

/// Sums of numbers before an index, in a Fenwick tree (P. Fenwick, "A new data structure for
/// cumulative frequency tables", 1994).
struct Sums(Vec<i64>);

impl Sums {
    fn add(&mut self, index: u64, number: i64) {
        let mut at = index as usize + 1;
        while at < self.0.len() {
            self.0[at] += number;
            at += at & at.wrapping_neg();
        }
    }

    /// The sum of the numbers before `index`.
    fn before(&self, index: u64) -> u64 {
        let mut at = index as usize;
        let mut sum = 0;
        while at > 0 {
            sum += self.0[at];
            at -= at & at.wrapping_neg();
        }
        sum.cast_unsigned()
    }
}

/// How many members have each score, and how many scores there are.
struct Counts {
    of: Vec<u64>,
    members: Sums,
    scores: Sums,
}

impl Counts {
    fn new(scores: u64) -> Self {
        let sums = || Sums(vec![0; scores as usize + 1]);
        Self { of: vec![0; scores as usize], members: sums(), scores: sums() }
    }

    fn add(&mut self, score: u64) {
        self.members.add(score, 1);
        self.of[score as usize] += 1;
        if self.of[score as usize] == 1 {
            self.scores.add(score, 1);
        }
    }

    fn remove(&mut self, score: u64) {
        self.members.add(score, -1);
        self.of[score as usize] -= 1;
        if self.of[score as usize] == 0 {
            self.scores.add(score, -1);
        }
    }

    /// Asks for everything that depends on the scores alone.
    fn assert_ranks(&self, version: &Version, member: &str, score: u64) {
        let ranks = version.ranks(member).expect("members stay");
        assert_eq!(ranks.competition, self.members.before(score) + 1);
        assert_eq!(ranks.dense, self.scores.before(score) + 1);
        assert_eq!(ranks.modified, self.members.before(score + 1));
        assert!((ranks.competition..=ranks.modified).contains(&ranks.ordinal));
        let within = version.count([score / 2]..=[score]);
        assert_eq!(within, self.members.before(score + 1) - self.members.before(score / 2));
        assert_eq!(version.distinct(), self.scores.before(self.of.len() as u64));
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
    let mut counts = Counts::new(scores);
    let mut key = |stamp| {
        let score = random.below(scores);
        (Key { score: [score], stamp }, random.below(MEMBERS) as usize)
    };
    let mut keys: Vec<Key> = names.iter().map(|_| key(0).0).collect();
    for key in &keys {
        counts.add(key.score[0]);
    }
    let list = Shared::from_entries(ties, SEED, 0, names.iter().zip(keys.iter().copied()));
    let list = list.expect("the names differ");
    let mut draft = list.draft();
    for stamp in 1..=MOVES {
        let (key, i) = key(stamp);
        let change = draft.set(&names[i], key);
        assert_eq!(change.before.map(|before| before.key), Some(keys[i]));
        assert_eq!(change.after.map(|after| after.key), Some(key));
        counts.remove(keys[i].score[0]);
        counts.add(key.score[0]);
        keys[i] = key;
        if stamp % 64 == 0 {
            // Makes the moves that follow copy what they change.
            draft.publish().expect("nobody else publishes");
            draft = list.draft();
            let other = i * 7 % names.len();
            counts.assert_ranks(&draft, &names[i], key.score[0]);
            counts.assert_ranks(&draft, &names[other], keys[other].score[0]);
        }
    }
    let expected = sorted(ties, &names, &keys);
    assert!(draft.iter().eq(expected.iter().copied()));
    for entry in expected.iter().step_by(97) {
        assert_eq!(draft.entry(entry.member), Some(*entry));
        assert_eq!(draft.select(entry.rank), Some(*entry));
    }
    assert_sound(&draft);
    assert_canonical(&draft);
}

#[test]
fn many_moves_among_many_scores() {
    many_moves(Ties::First, 1 << 20);
}

#[test]
fn many_moves_among_few_scores() {
    many_moves(Ties::Last, 5);
}
