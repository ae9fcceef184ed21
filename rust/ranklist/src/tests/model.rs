//! What a list should answer: a map and a sorted vector, with no cleverness at all.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

use crate::{Entry, Key, List, Seed, Ties};

pub(super) const ALL_TIES: [Ties; 3] = [Ties::First, Ties::Last, Ties::Member];

pub(super) const SEED: Seed = *b"the test's seed.";

pub(super) fn key(score: u64, stamp: u64) -> Key {
    Key { score, stamp }
}

#[derive(Clone)]
pub(super) struct Model {
    ties: Ties,
    keys: BTreeMap<String, Key>,
    version: u64,
}

impl Model {
    pub(super) fn new(ties: Ties) -> Self {
        Self { ties, keys: BTreeMap::new(), version: 0 }
    }

    pub(super) fn set(&mut self, member: &str, key: Key) -> Option<Key> {
        let old = self.keys.insert(member.into(), key);
        self.version += u64::from(old != Some(key));
        old
    }

    pub(super) fn remove(&mut self, member: &str) -> Option<Key> {
        let old = self.keys.remove(member);
        self.version += u64::from(old.is_some());
        old
    }

    /// All entries in rank order.
    pub(super) fn entries(&self) -> Vec<Entry<'_>> {
        let mut entries: Vec<_> = self
            .keys
            .iter()
            .map(|(member, key)| Entry { rank: 0, member: member.as_str(), key: *key })
            .collect();
        entries.sort_by(|a, b| self.order(a, b));
        for (entry, rank) in entries.iter_mut().zip(1..) {
            entry.rank = rank;
        }
        entries
    }

    fn order(&self, a: &Entry<'_>, b: &Entry<'_>) -> Ordering {
        let (a_name, b_name) = (a.member.as_bytes(), b.member.as_bytes());
        let (a, b) = (a.key, b.key);
        match self.ties {
            Ties::First => (a.score, a.stamp, a_name).cmp(&(b.score, b.stamp, b_name)),
            Ties::Last => {
                (a.score, Reverse(a.stamp), a_name).cmp(&(b.score, Reverse(b.stamp), b_name))
            }
            Ties::Member => (a.score, a_name).cmp(&(b.score, b_name)),
        }
    }
}

/// Asks the list everything it can be asked, and the model the same.
pub(super) fn assert_reads_like(list: &List, model: &Model, absent: &str) {
    let expected = model.entries();
    assert_eq!(list.len(), expected.len() as u64);
    assert_eq!(list.is_empty(), expected.is_empty());
    assert_eq!(list.version(), model.version);
    assert!(list.iter().eq(expected.iter().copied()), "iter: {list:?}");

    for entry in &expected {
        assert_eq!(list.get(entry.member), Some(entry.key));
        assert_eq!(list.rank(entry.member), Some(entry.rank));
        assert_eq!(list.entry(entry.member), Some(*entry));
        assert_eq!(list.select(entry.rank), Some(*entry));
    }
    assert!(list.get(absent).is_none() && list.rank(absent).is_none());
    assert!(list.entry(absent).is_none() && list.around(absent, 3).is_none());
    for rank in [0, list.len() + 1, u64::MAX] {
        assert_eq!(list.select(rank), None);
    }

    assert_pages(list, &expected);
    assert_neighbourhoods(list, &expected);
    assert_counts(list, &expected);
}

fn assert_pages(list: &List, expected: &[Entry<'_>]) {
    let len = expected.len();
    for offset in [0, 1, len / 3, len / 2, len.saturating_sub(1), len, len + 7] {
        for limit in [0, 1, 2, 17, len, usize::MAX] {
            let start = offset.min(len);
            let end = start.saturating_add(limit).min(len);
            let page = list.page(offset as u64, limit);
            assert_eq!(page.len(), end - start);
            assert!(page.eq(expected[start..end].iter().copied()), "page({offset}, {limit})");
        }
    }
    assert_eq!(list.page(u64::MAX, usize::MAX).next(), None);
}

fn assert_neighbourhoods(list: &List, expected: &[Entry<'_>]) {
    let len = expected.len();
    for (index, entry) in expected.iter().enumerate() {
        for radius in [0, 1, 5, usize::MAX] {
            let start = index.saturating_sub(radius);
            let end = index.saturating_add(radius).saturating_add(1).min(len);
            let around = list.around(entry.member, radius).expect("the member is present");
            assert!(around.eq(expected[start..end].iter().copied()), "around {entry:?}, {radius}");
        }
    }
}

fn assert_counts(list: &List, expected: &[Entry<'_>]) {
    let some = |index: usize| expected.get(index).map_or(5, |entry| entry.key.score);
    let limits = [0, 1, 2, some(0), some(expected.len() / 2), u64::MAX - 1, u64::MAX];
    for low in limits {
        for high in limits {
            let within = expected.iter().filter(|entry| (low..=high).contains(&entry.key.score));
            assert_eq!(list.count(low..=high), within.count() as u64, "count({low}..={high})");
        }
    }
}
