//! Random histories.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::select;

use super::model::{ALL_TIES, Model, SEED, assert_reads_like, key};
use super::shape::{assert_canonical, assert_sound};
use crate::members::Members;
use crate::{Key, List, Ties};

/// Never in a list.
const ABSENT: &str = "nobody";

/// Names with far more tall ones among them than chance would give, so that short histories split
/// and join nodes on many levels.
static TALL: LazyLock<Vec<String>> = LazyLock::new(|| {
    let members = Members::new(SEED);
    let mut names = Vec::new();
    for (height, count) in [(0, 24), (1, 16), (2, 8), (3, 4), (4, 2)] {
        let is_wanted = |name: &String| Members::height(members.hash(name)) == height;
        names.extend((0..).map(|i| format!("m{i}")).filter(is_wanted).take(count));
    }
    names
});

/// Names of every kind: empty, long, of several scripts, prefixes of one another, and equal but
/// for their Unicode normal form.
static ODD: LazyLock<Vec<String>> = LazyLock::new(|| {
    let fixed =
        ["", "a", "aa", "A", "\0", "\u{10ffff}", "é", "e\u{301}", "名前", "🏆", "🏆🏆", "ש"];
    let long = (0..4).map(|i| "long".repeat(1000 + i));
    fixed.into_iter().map(String::from).chain(long).collect()
});

/// Ordinary names, enough for several levels.
static MANY: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..600).map(|i| format!("player-{i}")).collect());

#[derive(Clone, Debug)]
enum Step {
    Set(&'static str, Key),
    Remove(&'static str),
}

#[derive(Clone, Debug)]
struct History {
    ties: Ties,
    /// What the list is loaded with.
    start: BTreeMap<&'static str, Key>,
    steps: Vec<Step>,
}

/// Keys that are mostly equal or next to each other, with both ends of the range among them.
fn tied_key() -> impl Strategy<Value = Key> {
    let score = select(&[0, 1, 2, 3, u64::MAX - 1, u64::MAX][..]);
    (score, select(&[0, 1, 2, u64::MAX][..])).prop_map(|(score, stamp)| key(score, stamp))
}

fn any_key() -> impl Strategy<Value = Key> {
    prop_oneof![
        2 => tied_key(),
        1 => any::<(u64, u64)>().prop_map(|(score, stamp)| key(score, stamp)),
    ]
}

fn history(names: &'static [String], start: usize, steps: usize) -> impl Strategy<Value = History> {
    let name = || (0..names.len()).prop_map(|index| names[index].as_str());
    let step = prop_oneof![
        3 => (name(), any_key()).prop_map(|(name, key)| Step::Set(name, key)),
        2 => name().prop_map(Step::Remove),
    ];
    (
        select(&ALL_TIES[..]),
        prop::collection::btree_map(name(), any_key(), 0..=start),
        prop::collection::vec(step, 0..=steps),
    )
        .prop_map(|(ties, start, steps)| History { ties, start, steps })
}

fn any_history() -> impl Strategy<Value = History> {
    prop_oneof![
        2 => history(&TALL, 54, 120),
        1 => history(&TALL[..3], 3, 30),
        1 => history(&ODD, 16, 60),
        1 => history(&MANY, 600, 200),
    ]
}

impl History {
    fn start(&self) -> (List, Model) {
        let entries = self.start.iter().map(|(name, key)| (*name, *key));
        let mut model = Model::new(self.ties);
        for (name, key) in entries.clone() {
            model.set(name, key);
        }
        let list = List::from_entries(self.ties, SEED, entries).expect("the names differ");
        // The model counts what it was loaded with.
        let loaded = self.start.len() as u64;
        (list.with_version(loaded), model)
    }
}

/// Takes one step in both, which must return the same.
fn take(step: &Step, list: &mut List, model: &mut Model) {
    match *step {
        Step::Set(name, key) => assert_eq!(list.set(name, key), model.set(name, key)),
        Step::Remove(name) => assert_eq!(list.remove(name), model.remove(name)),
    }
}

proptest! {
    #[test]
    fn every_history_reads_like_the_model(history in any_history()) {
        let (mut list, mut model) = history.start();
        assert_reads_like(&list, &model, ABSENT);
        for step in &history.steps {
            take(step, &mut list, &mut model);
        }
        assert_reads_like(&list, &model, ABSENT);
    }

    #[test]
    fn every_step_leaves_a_sound_list(history in any_history()) {
        let (mut list, mut model) = history.start();
        assert_sound(&list);
        for step in &history.steps {
            take(step, &mut list, &mut model);
            assert_sound(&list);
        }
    }

    #[test]
    fn every_history_ends_in_the_canonical_shape(history in any_history()) {
        let (mut list, mut model) = history.start();
        assert_canonical(&list);
        for (index, step) in history.steps.iter().enumerate() {
            take(step, &mut list, &mut model);
            if index % 16 == 0 {
                assert_canonical(&list);
            }
        }
        assert_canonical(&list);
    }

    #[test]
    fn snapshots_never_change(history in any_history()) {
        let (mut list, mut model) = history.start();
        let mut snapshots = vec![(list.clone(), model.clone())];
        for (index, step) in history.steps.iter().enumerate() {
            take(step, &mut list, &mut model);
            if index % 11 == 0 {
                snapshots.push((list.clone(), model.clone()));
            }
        }
        for (list, model) in &snapshots {
            assert_reads_like(list, model, ABSENT);
            assert_sound(list);
        }
    }

    #[test]
    fn clones_go_their_own_ways(history in any_history()) {
        let (mut left, mut left_model) = history.start();
        let (mut right, mut right_model) = (left.clone(), left_model.clone());
        for (index, step) in history.steps.iter().enumerate() {
            if index % 2 == 0 {
                take(step, &mut left, &mut left_model);
            } else {
                take(step, &mut right, &mut right_model);
            }
        }
        for (list, model) in [(left, left_model), (right, right_model)] {
            assert_reads_like(&list, &model, ABSENT);
            assert_canonical(&list);
        }
    }

    #[test]
    fn removing_everyone_leaves_the_empty_list(history in any_history()) {
        let (mut list, mut model) = history.start();
        let names: Vec<&str> = history.start.keys().copied().collect();
        for name in names {
            take(&Step::Remove(name), &mut list, &mut model);
        }
        assert_reads_like(&list, &model, ABSENT);
        assert_sound(&list);
        assert_eq!(list.level, 0);
    }
}
