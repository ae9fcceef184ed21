//! Random histories.

use std::env;

use proptest::prelude::*;
use proptest::sample::select;

use super::model::{ALL_TIES, assert_reads_like};
use super::names::{MANY, ODD, TALL, height};
use super::play::{History, Step};
use super::shape::{assert_canonical, assert_sound};
use crate::block::live;
use crate::table::{MAX_HEIGHT, Members};
use crate::{Key, Shared};

/// So many cases, unless the environment asks for another number.
pub(super) fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    if env::var_os("PROPTEST_CASES").is_some() {
        return default;
    }
    ProptestConfig { cases, ..default }
}

/// Keys that are mostly equal or next to each other, with both ends of the range among them.
fn tied_key<const C: usize>() -> impl Strategy<Value = Key<C>> {
    let code = || select(&[0, 1, 2, u64::MAX - 1, u64::MAX][..]);
    (score(code()), select(&[0, 1, 2, u64::MAX][..]))
        .prop_map(|(score, stamp)| Key { score, stamp })
}

fn score<const C: usize>(code: impl Strategy<Value = u64>) -> impl Strategy<Value = [u64; C]> {
    prop::collection::vec(code, C).prop_map(|codes| codes.try_into().expect("there are C codes"))
}

fn any_key<const C: usize>() -> impl Strategy<Value = Key<C>> {
    let wide = (score(any::<u64>()), any::<u64>());
    prop_oneof![
        3 => tied_key(),
        1 => wide.prop_map(|(score, stamp)| Key { score, stamp }),
    ]
}

fn step<const C: usize>(names: usize) -> impl Strategy<Value = Step<C>> {
    let name = move || 0..names;
    prop_oneof![
        24 => (name(), any_key()).prop_map(|(name, key)| Step::Set(name, key)),
        14 => name().prop_map(Step::Remove),
        6 => (name(), select(&[1, 2, 3, u64::MAX][..])).prop_map(|(name, by)| Step::Shift(name, by)),
        1 => name().prop_map(Step::Warm),
        5 => Just(Step::Digest),
        4 => Just(Step::Save),
        4 => any::<usize>().prop_map(Step::Restore),
        5 => Just(Step::Publish),
        1 => Just(Step::Abandon),
        3 => Just(Step::Snapshot),
        2 => any::<usize>().prop_map(Step::Release),
        1 => (name(), any_key()).prop_map(|(name, key)| Step::Race(name, key)),
    ]
}

fn history<const C: usize>(
    names: &'static [String],
    steps: usize,
) -> impl Strategy<Value = History<C>> {
    let count = names.len();
    (
        select(&ALL_TIES[..]),
        prop::collection::vec((0..count, any_key()), 0..=2 * count),
        select(&[0, 1 << 40][..]),
        prop::collection::vec(step(count), 0..=steps),
    )
        .prop_map(move |(ties, start, changes, steps)| History {
            ties,
            names,
            start,
            changes,
            steps,
        })
}

fn any_history<const C: usize>() -> impl Strategy<Value = History<C>> {
    prop_oneof![
        8 => history(&TALL, 120),
        3 => history(&TALL[..3], 40),
        4 => history(&ODD, 60),
        1 => history(&MANY, 40),
    ]
}

/// Plays the history with all checks, and checks that it gives all memory back.
fn check<const C: usize>(history: &History<C>) {
    let before = live();
    let list = history.play(
        |version, _| {
            assert_sound(version);
        },
        |version, model| {
            assert_sound(version);
            assert_canonical(version);
            assert_reads_like(version, model);
        },
    );
    assert_no_leak(&list, before.1);
    drop(list);
    assert_eq!(live(), before, "a block is never freed");
}

/// Checks that there is the memory of the current version, and no more than what waits beside it.
pub(super) fn assert_no_leak<const C: usize>(list: &Shared<C>, before: i64) {
    let (needed, kept) = (list.snapshot().memory().total().cast_signed(), list.kept());
    let held = live().1 - before;
    assert!(held >= needed);
    // Another test's thread that reads just now makes blocks of this list wait.
    if kept.waiting + kept.parked == 0 {
        assert_eq!(held, needed, "a block is lost");
    }
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn every_history_of_one_column(history in any_history::<1>()) {
        check(&history);
    }

    #[test]
    fn every_history_of_two_columns(history in any_history::<2>()) {
        check(&history);
    }

    #[test]
    fn every_history_of_three_columns(history in any_history::<3>()) {
        check(&history);
    }

    #[test]
    fn removing_everyone_leaves_the_empty_list(history in any_history::<1>()) {
        let before = live();
        let (list, mut model) = history.begin();
        let names: Vec<String> = model.keys().keys().cloned().collect();
        let mut draft = list.draft();
        for name in &names {
            assert_eq!(draft.remove(name), model.put(name, None));
            assert_sound(&draft);
        }
        assert_reads_like(&draft, &model);
        assert_canonical(&draft);
        assert_eq!(draft.memory().total(), 0);
        drop((draft, list));
        assert_eq!(live(), before);
    }
}

#[test]
fn the_names_are_as_tall_as_they_should() {
    let members = Members::<1>::new(super::model::SEED);
    for name in TALL.iter().chain(&*ODD).chain(&*MANY) {
        assert_eq!(Members::<1>::height(members.hash(name)), height(name).min(MAX_HEIGHT));
    }
    assert_eq!(TALL.iter().map(|name| height(name)).max(), Some(4));
    assert!(ODD.iter().any(|name| name.len() == crate::table::MAX_NAME));
}
