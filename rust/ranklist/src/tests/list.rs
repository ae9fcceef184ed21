//! What histories do not show.

use super::model::{ALL_TIES, SEED, key};
use super::shape::assert_sound;
use crate::members::{MAX_HEIGHT, Members};
use crate::{DuplicateMember, Key, List, Ties};

fn names(list: &List) -> Vec<&str> {
    list.iter().map(|entry| entry.member).collect()
}

#[test]
fn ties_are_broken_as_the_rule_says() {
    let entries = [("d", key(1, 5)), ("a", key(1, 6)), ("c", key(1, 5)), ("b", key(0, 9))];
    let orders = [["b", "c", "d", "a"], ["b", "a", "c", "d"], ["b", "a", "c", "d"]];
    for (ties, order) in ALL_TIES.into_iter().zip(orders) {
        let list = List::from_entries(ties, SEED, entries).expect("the names differ");
        assert_eq!(names(&list), order, "{ties:?}");
    }
    let list = List::from_entries(Ties::Member, SEED, [("a", key(1, 9)), ("b", key(1, 5))]);
    assert_eq!(names(&list.expect("the names differ")), ["a", "b"]);
}

#[test]
fn a_stamp_that_does_not_count_still_changes_the_key() {
    let mut list = List::new(Ties::Member, SEED);
    list.set("a", key(1, 1));
    assert_eq!(list.set("a", key(1, 2)), Some(key(1, 1)));
    assert_eq!(list.get("a"), Some(key(1, 2)));
    assert_eq!(list.version(), 2);
}

#[test]
fn the_version_counts_changes_only() {
    let mut list = List::new(Ties::First, SEED);
    let mut versions = vec![list.version()];
    list.set("a", key(1, 1)); // Added.
    versions.push(list.version());
    list.set("a", key(1, 1)); // As it was.
    versions.push(list.version());
    list.set("a", key(2, 1)); // Moved.
    versions.push(list.version());
    list.remove("b"); // Not there.
    versions.push(list.version());
    list.remove("a"); // Removed.
    versions.push(list.version());
    assert_eq!(versions, [0, 1, 1, 2, 2, 3]);
}

#[test]
fn a_version_can_be_carried_over_a_bulk_load() {
    let loaded = List::from_entries(Ties::First, SEED, [("a", key(1, 1))]).expect("one name");
    assert_eq!(loaded.version(), 0);
    let mut list = loaded.with_version(41);
    assert_eq!(names(&list), ["a"]);
    list.set("b", key(2, 2));
    assert_eq!(list.version(), 42);
    assert_eq!(list.clone().version(), 42);
}

#[test]
fn a_duplicate_is_named() {
    let entries = [("a", key(1, 1)), ("b", key(1, 1)), ("a", key(2, 2))];
    let error = List::from_entries(Ties::First, SEED, entries).expect_err("a is given twice");
    assert_eq!(error, DuplicateMember { member: "a".into() });
    assert_eq!(error.to_string(), "member \"a\" is given twice");
}

#[test]
fn an_empty_list_answers() {
    let none: [(&str, Key); 0] = [];
    let list = List::from_entries(Ties::First, SEED, none).expect("no names");
    assert_sound(&list);
    assert_eq!((list.len(), list.is_empty(), list.count(0..=u64::MAX)), (0, true, 0));
    assert_eq!((list.iter().next(), list.select(1), list.rank("")), (None, None, None));
}

#[test]
fn a_page_can_be_cloned_and_resumed() {
    let entries = (0..500).map(|i| (i.to_string(), key(i, 0)));
    let list = List::from_entries(Ties::First, SEED, entries).expect("the names differ");
    let mut page = list.page(100, 300);
    assert_eq!(page.by_ref().take(77).last().map(|entry| entry.rank), Some(177));
    assert_eq!((page.len(), page.clone().count()), (223, 223));
    assert!(page.clone().map(|entry| entry.rank).eq(178..=400));
    assert_eq!(
        (page.nth(222).map(|entry| entry.rank), page.next(), page.next()),
        (Some(400), None, None)
    );
}

#[test]
fn removed_handles_are_used_again() {
    let mut list = List::new(Ties::First, SEED);
    for round in 0..50 {
        for i in 0..20 {
            list.set(&format!("{round}/{i}"), key(i, round));
        }
        for i in 0..20 {
            list.remove(&format!("{round}/{i}"));
        }
    }
    assert_eq!(list.members.slots.len(), 20);
    assert_sound(&list);
}

#[test]
fn a_height_is_promoted_once_in_sixteen() {
    assert_eq!(Members::height(u64::MAX >> 3), 0);
    assert_eq!(Members::height(u64::MAX >> 4), 1);
    assert_eq!(Members::height(u64::MAX >> 8), 2);
    assert_eq!(Members::height(u64::MAX >> 28), MAX_HEIGHT);
    assert_eq!(Members::height(0), MAX_HEIGHT);

    let members = Members::new(SEED);
    let heights: Vec<_> =
        (0..65_536).map(|i| Members::height(members.hash(&i.to_string()))).collect();
    let at_least = |height| heights.iter().filter(|h| **h >= height).count();
    assert!((3_800..4_400).contains(&at_least(1)), "{}", at_least(1));
    assert!((200..320).contains(&at_least(2)), "{}", at_least(2));
}

#[test]
fn another_seed_gives_another_shape() {
    let level_one = |seed| {
        let entries = (0..2_000).map(|i| (i.to_string(), key(i, 0)));
        let list = List::from_entries(Ties::First, seed, entries).expect("the names differ");
        let heads = list.iter().map(|entry| Members::height(list.members.hash(entry.member)) > 0);
        heads.collect::<Vec<_>>()
    };
    assert_eq!(level_one(SEED), level_one(SEED));
    assert_ne!(level_one(SEED), level_one([0; 16]));
}

#[test]
fn debug_shows_no_seed() {
    let list = List::new(Ties::First, SEED).with_version(7);
    assert_eq!(format!("{list:?}"), "List { ties: First, len: 0, version: 7, .. }");
}
