//! What a list should answer: a map and a sorted vector, with no cleverness at all.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

use super::ranklist::{
    Change, Difference, Entry, Key, Ranks, Seed, Shared, Standing, Ties, Version,
};

pub(crate) const ALL_TIES: [Ties; 3] = [Ties::First, Ties::Last, Ties::Member];

pub(crate) const SEED: Seed = *b"the test's seed.";

/// Never in a list.
const ABSENT: &str = "nobody";

/// Members of a larger list that are asked for one by one.
const SAMPLES: usize = 48;

#[derive(Clone)]
pub(crate) struct Model<const C: usize> {
    ties: Ties,
    keys: BTreeMap<String, Key<C>>,
    changes: u64,
}

impl<const C: usize> Model<C> {
    pub(crate) fn new(ties: Ties, changes: u64) -> Self {
        Self { ties, keys: BTreeMap::new(), changes }
    }

    pub(crate) fn keys(&self) -> &BTreeMap<String, Key<C>> {
        &self.keys
    }

    /// Enters a member that the list is loaded with, which counts as no change.
    pub(crate) fn load(&mut self, member: &str, key: Key<C>) {
        self.keys.insert(member.into(), key);
    }

    /// Gives the member another key, or none.
    pub(crate) fn put(&mut self, member: &str, key: Option<Key<C>>) -> Change<C> {
        let before = self.standing(member);
        match key {
            Some(key) => self.keys.insert(member.into(), key),
            None => self.keys.remove(member),
        };
        let after = self.standing(member);
        let is_change = before.map(|standing| standing.key) != key;
        self.changes += u64::from(is_change);
        Change { before, after }
    }

    pub(crate) fn standing(&self, member: &str) -> Option<Standing<C>> {
        let key = *self.keys.get(member)?;
        let is_before = |other: &(&String, &Key<C>)| {
            self.order((other.0, *other.1), (member, key)) == Ordering::Less
        };
        Some(Standing { rank: self.keys.iter().filter(is_before).count() as u64 + 1, key })
    }

    /// All entries in rank order.
    pub(crate) fn entries(&self) -> Vec<Entry<'_, C>> {
        let mut entries: Vec<_> = self
            .keys
            .iter()
            .map(|(member, key)| Entry { rank: 0, member: member.as_str(), key: *key })
            .collect();
        entries.sort_by(|a, b| self.order((a.member, a.key), (b.member, b.key)));
        for (entry, rank) in entries.iter_mut().zip(1..) {
            entry.rank = rank;
        }
        entries
    }

    fn order(&self, (a_name, a): (&str, Key<C>), (b_name, b): (&str, Key<C>)) -> Ordering {
        let (a_name, b_name) = (a_name.as_bytes(), b_name.as_bytes());
        match self.ties {
            Ties::First => (a.score, a.stamp, a_name).cmp(&(b.score, b.stamp, b_name)),
            Ties::Last => {
                (a.score, Reverse(a.stamp), a_name).cmp(&(b.score, Reverse(b.stamp), b_name))
            }
            Ties::Member => (a.score, a_name).cmp(&(b.score, b_name)),
        }
    }

    /// A list that is loaded with the entries.
    pub(crate) fn list(&self) -> Shared<C> {
        let entries = self.keys.iter().map(|(name, key)| (name, *key));
        let list = Shared::from_entries(self.ties, SEED, self.changes, entries);
        list.expect("a map has no duplicates")
    }

    /// What two models do not agree on, by name.
    pub(crate) fn differences<'a>(&'a self, other: &'a Self) -> Vec<Difference<'a, C>> {
        let mut names: Vec<&str> =
            self.keys.keys().chain(other.keys.keys()).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        let difference = |member| {
            let (here, there) = (self.keys.get(member).copied(), other.keys.get(member).copied());
            (here != there).then_some(Difference { member, here, there })
        };
        names.into_iter().filter_map(difference).collect()
    }
}

/// Asks the version what takes little time, and the model the same.
pub(crate) fn assert_looks_like<const C: usize>(version: &Version<C>, model: &Model<C>) {
    let expected = model.entries();
    assert_eq!(version.len(), expected.len() as u64);
    assert_eq!(version.is_empty(), expected.is_empty());
    assert_eq!(version.version(), model.changes);
    assert_eq!(version.ties(), model.ties);
    assert_eq!(version.distinct(), distinct(&expected));
    assert!(version.iter().eq(expected), "iter: {version:?}");
}

/// Asks the version everything it can be asked, and the model the same.
pub(crate) fn assert_reads_like<const C: usize>(version: &Version<C>, model: &Model<C>) {
    assert_looks_like(version, model);
    let expected = model.entries();
    for entry in sample(&expected) {
        let Entry { rank, member, key } = *entry;
        assert_eq!(version.get(member), Some(key));
        assert_eq!(version.rank(member), Some(rank));
        assert_eq!(version.standing(member), Some(Standing { rank, key }));
        assert_eq!(version.entry(member), Some(*entry));
        assert_eq!(version.select(rank), Some(*entry));
        assert_eq!(version.ranks(member), Some(ranks(&expected, entry)), "{entry:?}");
    }
    assert!(version.get(ABSENT).is_none() && version.rank(ABSENT).is_none());
    assert!(version.standing(ABSENT).is_none() && version.entry(ABSENT).is_none());
    assert!(version.ranks(ABSENT).is_none() && version.around(ABSENT, 3).is_none());
    for rank in [0, version.len() + 1, u64::MAX] {
        assert_eq!(version.select(rank), None);
    }
    assert_pages(version, &expected);
    assert_neighbourhoods(version, &expected);
    assert_counts(version, &expected);
    assert_memory(version, &expected);
}

/// Checks that the list answers and hashes as one does that is loaded with its entries.
pub(crate) fn assert_is_as_rebuilt<const C: usize>(version: &Version<C>) {
    let entries: Vec<_> = version.iter().map(|entry| (entry.member, entry.key)).collect();
    let (ties, seed) = (version.ties(), version.seed());
    let fresh = Shared::from_entries(ties, seed, version.version(), entries).expect("no duplicate");
    let fresh = fresh.read();
    assert_eq!(version.digest(), fresh.digest(), "digest");
    assert_eq!(version.distinct(), fresh.distinct());
    assert!(version.iter().eq(fresh.iter()));
    for entry in version {
        assert_eq!(version.ranks(entry.member), fresh.ranks(entry.member), "{entry:?}");
        assert_eq!(version.select(entry.rank), Some(entry));
    }
}

fn distinct<const C: usize>(entries: &[Entry<'_, C>]) -> u64 {
    let mut scores: Vec<_> = entries.iter().map(|entry| entry.key.score).collect();
    scores.sort_unstable();
    scores.dedup();
    scores.len() as u64
}

fn sample<T>(items: &[T]) -> impl Iterator<Item = &T> {
    items.iter().step_by(1 + items.len() / SAMPLES)
}

fn ranks<const C: usize>(entries: &[Entry<'_, C>], entry: &Entry<'_, C>) -> Ranks {
    let score = entry.key.score;
    let better: Vec<_> = entries.iter().filter(|other| other.key.score < score).copied().collect();
    let as_good = entries.iter().filter(|other| other.key.score <= score).count();
    let no_better = |other: &&Entry<'_, C>| other.key.score >= score && other.rank != entry.rank;
    let no_better = entries.iter().filter(no_better).count() as u32;
    let others = entries.len() as u32 - 1;
    Ranks {
        ordinal: entry.rank,
        competition: better.len() as u64 + 1,
        dense: distinct(&better) + 1,
        modified: as_good as u64,
        percentile: if others == 0 {
            100.0
        } else {
            f64::from(no_better) * 100.0 / f64::from(others)
        },
    }
}

fn assert_pages<const C: usize>(version: &Version<C>, expected: &[Entry<'_, C>]) {
    let len = expected.len();
    for offset in [0, 1, len / 3, len / 2, len.saturating_sub(1), len, len + 7] {
        for limit in [0, 1, 2, 17, len, usize::MAX] {
            let start = offset.min(len);
            let end = start.saturating_add(limit).min(len);
            let page = version.page(offset as u64, limit);
            assert_eq!(page.len(), end - start);
            assert!(page.eq(expected[start..end].iter().copied()), "page({offset}, {limit})");
        }
    }
    for offset in [1 << 32, u64::MAX] {
        assert_eq!(version.page(offset, usize::MAX).next(), None);
    }
}

fn assert_neighbourhoods<const C: usize>(version: &Version<C>, expected: &[Entry<'_, C>]) {
    let len = expected.len();
    for entry in sample(expected) {
        let index = entry.rank as usize - 1;
        for radius in [0, 1, 5, usize::MAX] {
            let start = index.saturating_sub(radius);
            let end = index.saturating_add(radius).saturating_add(1).min(len);
            let around = version.around(entry.member, radius).expect("the member is present");
            assert!(around.eq(expected[start..end].iter().copied()), "around {entry:?}, {radius}");
        }
    }
}

fn assert_counts<const C: usize>(version: &Version<C>, expected: &[Entry<'_, C>]) {
    let some = |index: usize| expected.get(index).map_or([5; C], |entry| entry.key.score);
    let middle = some(expected.len() / 2);
    let after = middle.map(|code| code.saturating_add(1));
    let mut last_column = middle;
    last_column[C - 1] ^= 1;
    let limits = [[0; C], [1; C], some(0), middle, after, last_column, [u64::MAX; C]];
    for low in limits {
        for high in limits {
            let within = expected.iter().filter(|entry| (low..=high).contains(&entry.key.score));
            assert_eq!(version.count(low..=high), within.count() as u64, "{low:?}..={high:?}");
        }
    }
}

/// Checks that there is room for all of the contents.
fn assert_memory<const C: usize>(version: &Version<C>, expected: &[Entry<'_, C>]) {
    let (memory, len) = (version.memory(), expected.len());
    let names: usize = expected.iter().map(|entry| entry.member.len()).sum();
    assert!(memory.runs >= (len * (8 * C + 4)) as u64, "{memory:?}");
    assert!(memory.keys >= (len * 8 * (C + 1)) as u64, "{memory:?}");
    assert!(memory.names >= names as u64, "{memory:?}");
    assert!(memory.index >= (len * 5) as u64, "{memory:?}");
    assert_eq!(memory.total() == 0, len == 0, "{memory:?}");
}
