//! The laws of merging, for every policy and with deletes and fixes among the scores: batches of
//! several origins give one state in whatever order they come (commutative), however they are put
//! together on the way (associative), and however often they come (idempotent, which is what the
//! numbers of the journal make of amounts). And that state is the one that plain folds give.
#![allow(clippy::unwrap_used, reason = "a test that finds nothing to unwrap fails, as it should")]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use rankwire_engine::record::{BatchWriter, Record};
use rankwire_engine::{
    BoardConfig, Engine, Key, Limits, Policy, Recovery, Score, State, region_id,
};
use support::cluster::Journal;

const BOARD: u64 = 7;
const MEMBERS: [&str; 2] = ["m", "n"];
const REGIONS: [&str; 2] = ["eu", "us"];
const ORIGINS: usize = 3;

/// What a record says, by value.
#[derive(Debug, Clone, Copy)]
struct Said {
    member: &'static str,
    what: What,
    generation: u32,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Score(i64, u64),
    Fix(i64, u64, &'static str),
    Delete,
}

impl Said {
    fn record(self) -> Record<'static> {
        let Self { member, what, generation } = self;
        let bits = i64::cast_unsigned;
        match what {
            What::Score(score, stamp) => {
                Record::Score { board: BOARD, member, bits: bits(score), stamp, generation }
            }
            What::Fix(amount, stamp, region) => {
                let region = region_id(region);
                Record::Fix { board: BOARD, member, bits: bits(amount), stamp, generation, region }
            }
            What::Delete => Record::Delete { board: BOARD, member, generation },
        }
    }
}

/// Batches by origin, each a list of records.
type Said3 = Vec<Vec<Vec<Said>>>;

/// Few values, so that every kind of tie comes up. Fixes are of sums only.
fn said(policy: Policy) -> impl Strategy<Value = Said> {
    let pair = || (-2..=2_i64, 1..4_u64);
    let fixes = if policy == Policy::Sum { 2 } else { 0 };
    let what = prop_oneof![
        5 => pair().prop_map(|(score, stamp)| What::Score(score, stamp)),
        2 => Just(What::Delete),
        fixes => (pair(), select(&REGIONS[..])).prop_map(|((amount, stamp), region)| {
            What::Fix(amount, stamp, region)
        }),
    ];
    (select(&MEMBERS[..]), what, 0..3_u32).prop_map(|(member, what, generation)| Said {
        member,
        what,
        generation,
    })
}

fn batches() -> impl Strategy<Value = (Policy, Said3)> {
    select(&[Policy::Best, Policy::Last, Policy::Sum][..]).prop_flat_map(|policy| {
        let batch = prop::collection::vec(said(policy), 1..4);
        let batches = prop::collection::vec(batch, 1..4);
        (Just(policy), prop::collection::vec(batches, ORIGINS))
    })
}

/// Deliveries: of which origin, how many batches again, how many new ones.
fn schedule(most_again: usize) -> impl Strategy<Value = Vec<(usize, usize, usize)>> {
    prop::collection::vec((0..ORIGINS, 0..=most_again, 1..3_usize), 0..8)
}

fn journal(said: &Said3) -> Vec<Journal> {
    let encode = |origin: u64, number: u64, records: &Vec<Said>| {
        let mut batch = BatchWriter::default();
        for said in records {
            batch.push(&said.record());
        }
        (origin, number, batch.finish(origin, number))
    };
    let of = |(origin, batches): (u64, &Vec<Vec<Said>>)| {
        (1..).zip(batches).map(|(number, records)| encode(origin, number, records)).collect()
    };
    (1..).zip(said).map(of).collect()
}

/// An engine of a region with the board, which has no members.
fn engine(region: &str, policy: Policy) -> Engine {
    let recovery = Recovery::new([], []).of_region(region_id(region));
    let engine = recovery.finish(99, Limits::default(), true);
    let config = BoardConfig { policy, ..BoardConfig::default() };
    let mut batch = BatchWriter::default();
    batch.push(&Record::Create { board: BOARD, name: "b", config, seed: [3; 16] });
    support::apply(&engine, [&(9, 1, batch.finish(9, 1))]);
    engine
}

/// Delivers all batches, each of an origin after those before it, in the order of a schedule and then
/// what is left.
fn deliver(engine: &Engine, journal: &[Journal], schedule: &[(usize, usize, usize)]) {
    let mut next = [0_usize; ORIGINS];
    let rest = (0..ORIGINS).map(|origin| (origin, 0, usize::MAX));
    for (origin, again, count) in schedule.iter().copied().chain(rest) {
        let all = &journal[origin];
        let to = next[origin].saturating_add(count).min(all.len());
        let some = &all[next[origin].saturating_sub(again)..to];
        let list: Vec<_> = some.iter().map(|(o, n, bytes)| (*o, *n, &bytes[..])).collect();
        assert_eq!(engine.apply(&list, false).unwrap().count, list.len());
        next[origin] = to;
    }
}

/// Every member that is on the board or was deleted, and the digest of the board.
fn contents(engine: &Engine) -> (BTreeMap<String, State>, u64) {
    let checkpoint = engine.checkpoint().unwrap();
    let rows = checkpoint.boards[0].each(0, usize::MAX);
    let rows = rows.map(|row| {
        let key = row.2.zip(row.3).map(|(code, stamp)| Key {
            score: [code.cast_unsigned() ^ 1 << 63],
            stamp: stamp.cast_unsigned(),
        });
        (row.0.to_owned(), State { generation: row.4, key })
    });
    // Notes of members that nothing is known of are no contents.
    let known = rows.filter(|(_, state)| state.generation > 0 || state.key.is_some()).collect();
    engine.restore_dirty(checkpoint);
    (known, engine.board("b").unwrap().load().digest())
}

/// What the records come to in a region.
fn folded(said: &Said3, policy: Policy, region: &str) -> BTreeMap<String, State> {
    let counts = |said: &&Said| !matches!(said.what, What::Fix(_, _, of) if of != region);
    let all: Vec<_> = said.iter().flatten().flatten().filter(counts).collect();
    let mut members = BTreeMap::new();
    for member in MEMBERS {
        let of_member = all.iter().filter(|said| said.member == member);
        let Some(generation) = of_member.clone().map(|said| said.generation).max() else {
            continue;
        };
        let scores = of_member.filter(|said| said.generation == generation);
        let scores = scores.filter_map(|said| match said.what {
            What::Score(score, stamp) | What::Fix(score, stamp, _) => Some((score, stamp)),
            What::Delete => None,
        });
        let held = match policy {
            Policy::Best => scores.min_by_key(|(score, stamp)| (-score, *stamp)),
            Policy::Last => scores.max_by_key(|(score, stamp)| (*stamp, *score)),
            Policy::Sum => scores.reduce(|(a, s), (b, t)| (a + b, s.max(t))),
        };
        let code = |score| [Score::Int(score).code(BoardConfig::default().order)];
        let key = held.map(|(score, stamp)| Key { score: code(score), stamp });
        if generation > 0 || key.is_some() {
            members.insert(member.to_owned(), State { generation, key });
        }
    }
    members
}

proptest! {
    #[test]
    fn merging_is_commutative(
        (policy, said) in batches(),
        one in schedule(0),
        other in schedule(0),
    ) {
        let journal = journal(&said);
        for region in REGIONS {
            let engines = [&one, &other].map(|schedule| {
                let engine = engine(region, policy);
                deliver(&engine, &journal, schedule);
                engine
            });
            let [a, b] = engines.each_ref().map(contents);
            prop_assert_eq!(&a, &b);
            prop_assert_eq!(a.0, folded(&said, policy, region));
        }
    }

    /// One batch after the other, and all that come next to each other as one.
    #[test]
    fn merging_is_associative((policy, said) in batches(), schedule in schedule(0)) {
        let journal = journal(&said);
        let (one, other, whole) =
            (engine("eu", policy), engine("eu", policy), engine("eu", policy));
        let single: Vec<_> = schedule
            .iter()
            .flat_map(|&(origin, _, count)| std::iter::repeat_n((origin, 0, 1), count))
            .collect();
        deliver(&one, &journal, &schedule);
        deliver(&other, &journal, &single);
        support::apply(&whole, journal.iter().flatten());
        prop_assert_eq!(contents(&one), contents(&other));
        prop_assert_eq!(contents(&one), contents(&whole));
    }

    #[test]
    fn merging_is_idempotent((policy, said) in batches(), schedule in schedule(3)) {
        let journal = journal(&said);
        let (often, once) = (engine("eu", policy), engine("eu", policy));
        deliver(&often, &journal, &schedule);
        deliver(&once, &journal, &[]);
        prop_assert_eq!(contents(&often), contents(&once));
        for origin in &journal {
            support::apply(&often, origin);
        }
        prop_assert_eq!(contents(&often).0, folded(&said, policy, "eu"));
        prop_assert_eq!(contents(&often).1, contents(&once).1);
    }
}
