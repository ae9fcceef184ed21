//! Two engines that know nothing of each other but bytes find out on what they do not agree.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::select;
use rankwire_engine::{
    BoardConfig, BoardRow, Comparison, Engine, Error, Key, Limits, MemberRow, Recovery, State,
    TieBreak,
};

/// What a member is: code and stamp if it is on the board, and how often it was removed.
type Held = (Option<(i64, i64)>, u32);
type Members = BTreeMap<String, Held>;

fn engine(boards: &BTreeMap<u64, Members>, ties: TieBreak) -> Engine {
    let mut recovery = Recovery::new([(9, 1)], []);
    for (id, members) in boards {
        let config = BoardConfig { ties, ..BoardConfig::default() };
        let board =
            BoardRow { id: *id, name: format!("board-{id}"), config, seed: [5; 16], version: 1 };
        let rows = members.iter().map(|(member, (key, generation))| MemberRow {
            member: member.clone(),
            key: *key,
            generation: *generation,
        });
        recovery.board(&board, rows).unwrap();
    }
    recovery.finish(1, Limits::default(), true)
}

/// What was found, and how many bytes went either way, in how many rounds.
#[derive(Debug, Default)]
struct Found {
    members: BTreeSet<(u64, String)>,
    only_here: BTreeSet<u64>,
    only_there: BTreeSet<u64>,
    is_stopped: bool,
    rounds: usize,
    bytes: usize,
}

fn compare(here: &Engine, there: &Engine, limit: usize) -> Found {
    let mut comparison = Comparison::new(limit);
    let mut after = Some(0);
    while let Some(last) = after {
        after = comparison.boards(here, last, &there.tops(last)).unwrap();
    }
    finish(comparison, here, there)
}

fn finish(mut comparison: Comparison, here: &Engine, there: &Engine) -> Found {
    let mut found = Found::default();
    while let Some(asks) = comparison.ask() {
        let answer = there.outline(&asks).unwrap();
        comparison.take(here, &answer).unwrap();
        found.rounds += 1;
        found.bytes += asks.len() + answer.len();
        assert!(found.rounds < 10_000, "it never ends");
    }
    for (board, members) in comparison.found() {
        found.members.extend(members.into_iter().map(|member| (board, member.into())));
    }
    let progress = comparison.progress();
    found.only_here.clone_from(&progress.only_here);
    found.only_there.clone_from(&progress.only_there);
    found.is_stopped = progress.is_stopped;
    found
}

fn held() -> impl Strategy<Value = Held> {
    // Few scores and stamps, so that there are ties.
    let key = prop::option::weighted(0.9, (0..20_i64, 0..3_i64));
    (key, prop_oneof![4 => Just(0_u32), 1 => 1..3_u32])
}

fn members(most: usize) -> impl Strategy<Value = Members> {
    prop::collection::btree_map("[a-d]{1,5}", held(), 0..most)
}

fn changed(mut members: Members, changes: Members) -> Members {
    members.extend(changes);
    members
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn exactly_what_differs_is_found(
        ties in select(&[TieBreak::First, TieBreak::Last, TieBreak::Member][..]),
        boards in prop::collection::btree_map(1..6_u64, members(300), 0..4),
        here in prop::collection::btree_map(1..6_u64, members(30), 0..3),
        there in prop::collection::btree_map(1..6_u64, members(4), 0..3),
    ) {
        let with = |changes: BTreeMap<u64, Members>| {
            let mut all = boards.clone();
            for (board, members) in changes {
                let before = all.remove(&board).unwrap_or_default();
                all.insert(board, changed(before, members));
            }
            all
        };
        let (here, there) = (with(here), with(there));
        let found = compare(&engine(&here, ties), &engine(&there, ties), usize::MAX);
        let mut expected = Found::default();
        for board in here.keys().chain(there.keys()) {
            match (here.get(board), there.get(board)) {
                (Some(_), None) => drop(expected.only_here.insert(*board)),
                (None, Some(_)) => drop(expected.only_there.insert(*board)),
                (Some(ours), Some(theirs)) => {
                    let nothing = (None, 0);
                    let differs = |member: &&String| {
                        let of = |side: &Members| *side.get(*member).unwrap_or(&nothing);
                        of(ours) != of(theirs)
                    };
                    let names = ours.keys().chain(theirs.keys()).filter(differs);
                    expected.members.extend(names.map(|member| (*board, member.clone())));
                }
                (None, None) => {}
            }
        }
        prop_assert_eq!(found.members, expected.members);
        prop_assert_eq!(found.only_here, expected.only_here);
        prop_assert_eq!(found.only_there, expected.only_there);
        prop_assert!(!found.is_stopped);
    }

    #[test]
    fn bytes_that_are_no_conversation_are_refused(
        bytes in prop::collection::vec(any::<u8>(), 1..60),
    ) {
        let boards = BTreeMap::from([(1, Members::from([("ann".into(), (Some((1, 1)), 1))]))]);
        let engine = engine(&boards, TieBreak::First);
        // Either an answer or an error, but no panic and no end of memory.
        let _ = engine.outline(&bytes);
        let _ = Comparison::new(10).boards(&engine, 0, &bytes);
        let mut comparison = Comparison::new(10);
        comparison.begin(&engine, &[1]);
        comparison.ask();
        let _ = comparison.take(&engine, &bytes);
    }
}

fn many(count: i64) -> Members {
    let member = |i: i64| {
        let score = i.wrapping_mul(0x9e37_79b9) % 50_000;
        (format!("member-{i:06}"), (Some((score, i)), u32::from(i % 50 == 0)))
    };
    (0..count).map(member).collect()
}

#[test]
fn few_differences_cost_few_bytes_and_rounds() {
    const MEMBERS: i64 = 100_000;
    /// Bytes for each difference and each 16th part of the board: those of a node's children, which
    /// are 32 where one is likely to look, 14 bytes each, for two places of a member that moved,
    /// and the asks. As much again is allowed.
    const COST: usize = 2 * 2 * (32 * 14 + 2 * 40);
    let base = many(MEMBERS);
    let here = engine(&BTreeMap::from([(1, base.clone())]), TieBreak::First);
    for count in [0_u16, 1, 10, 100] {
        let mut other = base.clone();
        for i in 0..count {
            let member = format!("member-{:06}", u32::from(i) * 997);
            other.insert(member, (Some((i64::from(i) * 31, 7)), u32::from(i % 50 == 0)));
        }
        let there = engine(&BTreeMap::from([(1, other)]), TieBreak::First);
        let found = compare(&here, &there, usize::MAX);
        let count = usize::from(count);
        assert_eq!(found.members.len(), count);
        let levels = usize::try_from((MEMBERS as u64).ilog(16)).unwrap() + 1;
        assert!(found.rounds <= levels + 3, "{} rounds", found.rounds);
        let allowed = COST * levels * count;
        assert!(found.bytes <= allowed, "{} bytes for {count} differences", found.bytes);
    }
}

#[test]
fn a_side_that_lost_everything_is_found_in_parts() {
    let boards = |members| BTreeMap::from([(1, members)]);
    let full = engine(&boards(many(5_000)), TieBreak::First);
    let empty = engine(&boards(Members::new()), TieBreak::First);
    for (here, there) in [(&full, &empty), (&empty, &full)] {
        let found = compare(here, there, usize::MAX);
        assert_eq!(found.members.len(), 5_000);
        let some = compare(here, there, 100);
        assert_eq!((some.members.len(), some.is_stopped), (100, true));
    }
}

#[test]
fn a_removal_that_was_lost_is_found_among_many() {
    let removed = |i: u32| (format!("gone-{i}"), (None, 1 + i % 3));
    let mut members: Members = (0..20_000).map(removed).collect();
    members.insert("ann".into(), (Some((4, 4)), 0));
    let here = engine(&BTreeMap::from([(1, members.clone())]), TieBreak::First);
    members.remove("gone-77");
    members.insert("gone-78".into(), (None, 9));
    members.insert("ann".into(), (Some((4, 4)), 1));
    let there = engine(&BTreeMap::from([(1, members)]), TieBreak::First);
    let expected = ["ann", "gone-77", "gone-78"].map(|member| (1, member.to_owned()));
    for (here, there) in [(&here, &there), (&there, &here)] {
        let found = compare(here, there, usize::MAX);
        assert_eq!(found.members, BTreeSet::from(expected.clone()));
        assert!(found.bytes < 30_000, "{} bytes", found.bytes);
    }
}

#[test]
fn chosen_boards_are_compared_by_themselves() {
    let ann = |score| Members::from([("ann".to_owned(), (Some((score, 1)), 0))]);
    let here = engine(&BTreeMap::from([(1, ann(1)), (2, ann(1)), (3, ann(1))]), TieBreak::First);
    let there = engine(&BTreeMap::from([(1, ann(2)), (2, ann(2))]), TieBreak::First);
    let mut comparison = Comparison::new(10);
    comparison.begin(&here, &[2, 3, 4]);
    let found = finish(comparison, &here, &there);
    assert_eq!(found.members, BTreeSet::from([(2, "ann".to_owned())]));
    assert_eq!(found.only_here, BTreeSet::from([3]));
}

#[test]
fn an_answer_to_something_else_is_refused() {
    let boards = BTreeMap::from([(1, many(100))]);
    let engine = engine(&boards, TieBreak::First);
    let mut comparison = Comparison::new(10);
    comparison.begin(&engine, &[1]);
    comparison.ask().unwrap();
    let nothing = comparison.take(&engine, &[]);
    assert!(matches!(nothing, Err(Error::Outline(_))));
    let again = comparison.take(&engine, &[0, 0, 0]);
    assert!(matches!(again, Err(Error::Outline(_))), "more answers than questions");
}

#[test]
fn states_tell_what_was_taken_in() {
    let members = Members::from([("ann".to_owned(), (Some((4, 6)), 2)), ("bob".into(), (None, 1))]);
    let engine = engine(&BTreeMap::from([(1, members)]), TieBreak::First);
    let names = ["ann", "bob", "cyd"].map(str::to_owned);
    let states = engine.states(1, &names);
    let key = Key { score: [4 | 1 << 63], stamp: 6 };
    let expected = [(2, Some(key)), (1, None), (0, None)];
    let expected = expected.map(|(generation, key)| State { generation, key });
    assert_eq!(states.vector, [(9, 1)]);
    assert_eq!(states.board, Some(("board-1".to_owned(), expected.to_vec())));
    assert_eq!(engine.states(2, &names).board, None);
}
