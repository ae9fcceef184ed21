//! What histories do not show.

use super::model::{ALL_TIES, SEED};
use crate::table::{MAX_HEIGHT, Members};
use crate::{Key, Shared, Snapshot, Ties};

fn key(score: u64, stamp: u64) -> Key {
    Key { score: [score], stamp }
}

fn list<S: AsRef<str>>(ties: Ties, entries: impl IntoIterator<Item = (S, Key)>) -> Snapshot {
    Shared::from_entries(ties, SEED, 0, entries).expect("the names differ").snapshot()
}

#[test]
fn ties_are_broken_as_the_rule_says() {
    let entries = [("d", key(1, 5)), ("a", key(1, 6)), ("c", key(1, 5)), ("b", key(0, 9))];
    let orders = [["b", "c", "d", "a"], ["b", "a", "c", "d"], ["b", "a", "c", "d"]];
    for (ties, order) in ALL_TIES.into_iter().zip(orders) {
        let list = list(ties, entries);
        assert!(list.iter().map(|entry| entry.member).eq(order), "{ties:?}");
    }
    let list = list(Ties::Member, [("a", key(1, 9)), ("b", key(1, 5))]);
    assert!(list.iter().map(|entry| entry.member).eq(["a", "b"]));
}

#[test]
fn equal_scores_share_the_ranks_that_count_them_so() {
    let scores = [("a", 10), ("b", 20), ("c", 20), ("d", 30)];
    let list = list(Ties::First, scores.map(|(name, score)| (name, key(score, 0))));
    let ranks = |member| list.ranks(member).expect("it is there");
    let all = ["a", "b", "c", "d"].map(ranks);
    assert_eq!(all.map(|ranks| ranks.ordinal), [1, 2, 3, 4]);
    assert_eq!(all.map(|ranks| ranks.competition), [1, 2, 2, 4]);
    assert_eq!(all.map(|ranks| ranks.dense), [1, 2, 2, 3]);
    assert_eq!(all.map(|ranks| ranks.modified), [1, 3, 3, 4]);
    let percentiles = all.map(|ranks| format!("{:.1}", ranks.percentile));
    assert_eq!(percentiles, ["100.0", "66.7", "66.7", "0.0"]);
}

#[test]
fn later_columns_count_where_the_first_are_equal() {
    let entries = [("a", [2, 0, 9]), ("b", [1, 5, 0]), ("c", [1, 4, 9]), ("d", [1, 5, 1])];
    let entries = entries.map(|(name, score)| (name, Key { score, stamp: 0 }));
    let list = Shared::from_entries(Ties::First, SEED, 0, entries).expect("the names differ");
    let list = list.snapshot();
    assert!(list.iter().map(|entry| entry.member).eq(["c", "b", "d", "a"]));
    assert_eq!(list.count([1, 5, 0]..=[1, 5, u64::MAX]), 2);
    assert_eq!(list.distinct(), 4);
}

#[test]
fn the_version_counts_changes_only() {
    let list = Shared::from_entries(Ties::Member, SEED, 41, [("a", key(1, 1))]);
    let list = list.expect("one name");
    let mut draft = list.draft();
    let mut versions = vec![draft.version()];
    draft.set("a", key(1, 1)); // As it was.
    versions.push(draft.version());
    draft.set("a", key(2, 1)); // Moved.
    versions.push(draft.version());
    draft.set("a", key(2, 2)); // Another stamp, which does not count for the order.
    versions.push(draft.version());
    draft.remove("b"); // Not there.
    versions.push(draft.version());
    draft.remove("a"); // Removed.
    versions.push(draft.version());
    assert_eq!(versions, [41, 41, 42, 43, 43, 44]);
    assert_eq!(list.read().version(), 41);
}

#[test]
fn a_page_can_be_cloned_and_resumed() {
    let list = list(Ties::First, (0..500).map(|i| (i.to_string(), key(i, 0))));
    let mut page = list.page(100, 300);
    assert_eq!(page.by_ref().take(77).last().map(|entry| entry.rank), Some(177));
    assert_eq!((page.len(), page.clone().count()), (223, 223));
    assert!(page.clone().map(|entry| entry.rank).eq(178..=400));
    assert_eq!(page.nth(222).map(|entry| entry.rank), Some(400));
    assert_eq!((page.next(), page.next()), (None, None));
}

#[test]
fn a_height_is_promoted_once_in_sixteen() {
    let height = Members::<1>::height;
    assert_eq!(height(u64::MAX >> 3), 0);
    assert_eq!(height(u64::MAX >> 4), 1);
    assert_eq!(height(u64::MAX >> 8), 2);
    assert_eq!(height(u64::MAX >> 28), MAX_HEIGHT);
    assert_eq!(height(0), MAX_HEIGHT);

    let members = Members::<1>::new(SEED);
    let heights: Vec<_> = (0..65_536).map(|i| height(members.hash(&i.to_string()))).collect();
    let at_least = |height| heights.iter().filter(|h| **h >= height).count();
    assert!((3_800..4_400).contains(&at_least(1)), "{}", at_least(1));
    assert!((200..320).contains(&at_least(2)), "{}", at_least(2));
}

#[test]
fn debug_shows_no_seed() {
    let list = Shared::<1>::from_entries(Ties::First, SEED, 7, [("a", key(1, 1))]);
    let list = list.expect("one name");
    let shown = "Version { ties: First, len: 1, version: 7, .. }";
    assert_eq!(format!("{:?}", *list.read()), shown);
    assert_eq!(format!("{list:?}"), format!("Shared({shown})"));
    assert_eq!(format!("{:?}", list.snapshot()), format!("Snapshot({shown})"));
}
