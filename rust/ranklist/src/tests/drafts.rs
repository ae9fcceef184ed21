//! Drafts: conflicts, savepoints, and what they leave behind.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::history::assert_no_leak;
use super::model::{Model, SEED, assert_is_as_rebuilt, assert_reads_like};
use super::names::MANY;
use super::shape::{assert_canonical, assert_sound};
use crate::block::live;
use crate::{Conflict, DuplicateMember, Key, Shared, Ties};

fn key(score: u64) -> Key {
    Key { score: [score], stamp: 0 }
}

fn board() -> (Shared, Model<1>) {
    let mut model = Model::new(Ties::First, 0);
    for (name, score) in MANY.iter().zip(0..) {
        model.load(name, key(score % 50));
    }
    (model.list(), model)
}

fn assert_is_well(list: &Shared, model: &Model<1>) {
    let version = list.snapshot();
    assert_reads_like(&version, model);
    assert_sound(&version);
    assert_canonical(&version);
    assert_is_as_rebuilt(&version);
}

#[test]
fn of_two_drafts_of_one_version_the_second_is_refused() {
    let before = live();
    let (list, mut model) = board();
    let (mut first, mut second) = (list.draft(), list.draft());
    for (name, score) in MANY.iter().zip(0..200) {
        first.set(name, key(score + 1_000));
        model.put(name, Some(key(score + 1_000)));
        second.set(name, key(7));
    }
    assert_eq!(first.publish(), Ok(()));
    assert_eq!(second.get(&MANY[0]), Some(key(7)));
    assert_eq!(second.publish(), Err(Conflict));
    assert_is_well(&list, &model);
    assert_no_leak(&list, before.1);
    drop(list);
    assert_eq!(live(), before);
}

#[test]
fn a_refused_draft_gives_back_what_its_savepoints_froze() {
    let before = live();
    let (list, mut model) = board();
    let mut late = list.draft();
    for (name, score) in MANY.iter().zip(0..40) {
        late.save();
        late.set(name, key(score + 7));
    }
    let mut early = list.draft();
    early.remove(&MANY[0]);
    model.put(&MANY[0], None);
    early.publish().expect("the first of the two");
    assert_eq!(late.publish(), Err(Conflict));
    assert_is_well(&list, &model);
    assert_no_leak(&list, before.1);
    drop(list);
    assert_eq!(live(), before);
}

#[test]
fn a_savepoint_can_be_gone_back_to_again_and_again() {
    let before = live();
    let (list, mut model) = board();
    let mut draft = list.draft();
    draft.set("early", key(3));
    model.put("early", Some(key(3)));
    let savepoint = draft.save();
    for round in 0..5 {
        for name in MANY.iter().skip(round).step_by(3) {
            draft.set(name, key(round as u64));
            draft.save();
        }
        draft.remove("early");
        draft.restore(&savepoint);
        assert_reads_like(&draft, &model);
        assert_sound(&draft);
    }
    draft.publish().expect("nobody else publishes");
    assert_is_well(&list, &model);
    assert_no_leak(&list, before.1);
    drop(list);
    assert_eq!(live(), before);
}

#[test]
#[should_panic(expected = "the savepoint is void")]
fn nobody_goes_back_to_a_void_savepoint() {
    let (list, _) = board();
    let mut draft = list.draft();
    let first = draft.save();
    draft.set("a", key(1));
    let second = draft.save();
    draft.restore(&first);
    draft.restore(&second);
}

#[test]
#[should_panic(expected = "the savepoint is void")]
fn nobody_goes_back_to_a_savepoint_of_another_draft() {
    let (list, _) = board();
    let (mut draft, mut other) = (list.draft(), list.draft());
    draft.save();
    other.set("a", key(1));
    let savepoint = other.save();
    drop(other);
    draft.restore(&savepoint);
}

#[test]
fn an_abandoned_draft_leaves_nothing() {
    let (list, model) = board();
    let before = live();
    let mut draft = list.draft();
    for name in &*MANY {
        draft.remove(name);
        draft.set(&format!("{name}!"), key(1));
    }
    draft.save();
    draft.set("late", key(2));
    drop(draft);
    assert_eq!(live(), before);
    assert_is_well(&list, &model);
}

#[test]
fn a_panic_in_a_decision_leaves_the_draft_as_it_was() {
    let (list, mut model) = board();
    let mut draft = list.draft();
    let panics = catch_unwind(AssertUnwindSafe(|| draft.update(&MANY[0], |_| panic!("no idea"))));
    assert!(panics.is_err());
    let too_long = "x".repeat(256);
    let panics = catch_unwind(AssertUnwindSafe(|| draft.set(&too_long, key(1))));
    assert!(panics.is_err());
    assert_reads_like(&draft, &model);
    assert_sound(&draft);
    draft.set("next", key(1));
    model.put("next", Some(key(1)));
    draft.publish().expect("nobody else publishes");
    assert_is_well(&list, &model);
}

#[test]
fn a_duplicate_is_named_and_nothing_kept() {
    let before = live();
    let entries = [("a", key(1)), ("b", key(1)), ("a", key(2))];
    let error = Shared::from_entries(Ties::First, SEED, 0, entries).expect_err("a is given twice");
    assert_eq!(error, DuplicateMember { member: "a".into() });
    assert_eq!(error.to_string(), "member \"a\" is given twice");
    assert_eq!(live(), before);
}

#[test]
fn a_snapshot_keeps_its_own_version_and_no_other() {
    let before = live();
    let (list, _) = board();
    let first = list.snapshot();
    let shown: Vec<_> = first.iter().collect();
    let one_board = live().1 - before.1;
    for round in 0..50 {
        let mut draft = list.draft();
        for name in MANY.iter().skip(round).step_by(7) {
            draft.set(name, key(round as u64));
        }
        draft.publish().expect("nobody else publishes");
    }
    assert!(first.iter().eq(shown.iter().copied()));
    assert_eq!(list.kept().snapshots, 1);
    if list.kept().waiting == 0 {
        let held = live().1 - before.1;
        assert!(held < 3 * one_board, "{held} bytes for two versions of {one_board}");
    }
    drop(shown);
    drop(first);
    assert_no_leak(&list, before.1);
    drop(list);
    assert_eq!(live(), before);
}
