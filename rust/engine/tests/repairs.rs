//! Repairs: a member comes to the state that was given, in the regions where that is right, whatever
//! it had; and nothing happens to one that has changed since it was seen.
#![allow(clippy::unwrap_used, reason = "a test that finds nothing to unwrap fails, as it should")]

mod support;

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use rankwire_engine::record::{self, BatchWriter, Record};
use rankwire_engine::{
    BoardConfig, Command, Engine, Error, Key, Limits, Order, Outcome, Policy, Recovery, Repair,
    Repaired, Score, ScoreType, State, Write, WriteKey, region_id,
};
use support::{START_MS, apply, remove, submit};

const BOARD: u64 = 7;
const SEED: [u8; 16] = [3; 16];

fn config(policy: Policy) -> BoardConfig {
    BoardConfig { policy, ..BoardConfig::default() }
}

/// A batch that makes the board `b` with members in these states.
fn start(config: BoardConfig, members: &[(&str, State)]) -> (u64, u64, Vec<u8>) {
    let mut batch = BatchWriter::default();
    batch.push(&Record::Create { board: BOARD, name: "b", config, seed: SEED });
    for &(member, State { generation, key }) in members {
        batch.push(&Record::Delete { board: BOARD, member, generation });
        if let Some(Key { score: [code], stamp }) = key {
            let bits = Score::from_code(code, config.score, config.order).to_bits();
            batch.push(&Record::Score { board: BOARD, member, bits, stamp, generation });
        }
    }
    (9, 1, batch.finish(9, 1))
}

/// An engine of a region with a batch.
fn engine(region: &str, origin: u64, batch: &(u64, u64, Vec<u8>)) -> Engine {
    let recovery = Recovery::new([], []).of_region(region_id(region));
    let engine = recovery.finish(origin, Limits::default(), true);
    apply(&engine, [batch]);
    engine
}

fn repair(items: Vec<Repair>) -> Command {
    Command::Repair { board: "b".into(), life: BOARD, items }
}

fn item(member: &str, seen: State, given: State) -> Repair {
    Repair { member: member.into(), seen, given }
}

fn state(generation: u32, key: Option<(i64, u64)>) -> State {
    let key = key.map(|(score, stamp)| Key { score: [code(score)], stamp });
    State { generation, key }
}

fn code(score: i64) -> u64 {
    Score::Int(score).code(Order::Desc)
}

/// What becomes of a write, and the batch.
fn ask(engine: &Engine, write: impl Into<Write>) -> (Result<Outcome, Error>, (u64, u64, Vec<u8>)) {
    engine.enqueue(write).unwrap();
    let sealed = engine.seal(Duration::ZERO, || START_MS).unwrap();
    let batch = (engine.origin(), sealed.number, sealed.bytes.clone());
    (engine.commit(sealed).pop().unwrap().outcome, batch)
}

fn counts(outcome: &Outcome) -> [usize; 3] {
    let Outcome::Repaired(Repaired { repaired, moved, same }) = *outcome else {
        panic!("{outcome:?}")
    };
    [repaired, moved, same]
}

/// What an engine knows of a member, as its next checkpoint will say.
fn held(engine: &Engine, member: &str) -> State {
    let checkpoint = engine.checkpoint().unwrap();
    let rows: Vec<_> = checkpoint.boards[0].each(0, usize::MAX).collect();
    let row = rows.iter().find(|row| row.0 == member);
    let held = row.map_or(State { generation: 0, key: None }, |row| State {
        generation: row.4,
        key: row.2.zip(row.3).map(|(code, stamp)| Key {
            score: [code.cast_unsigned() ^ 1 << 63],
            stamp: stamp.cast_unsigned(),
        }),
    });
    drop(rows);
    engine.restore_dirty(checkpoint);
    held
}

/// What a repair should make of a member in the region that is repaired.
fn expected(policy: Policy, now: State, given: State) -> State {
    if given.generation != now.generation {
        return if given.generation > now.generation { given } else { now };
    }
    match (policy, now.key, given.key) {
        (_, None, _) => given,
        (Policy::Sum, Some(_), None) => State { generation: now.generation + 1, key: None },
        (_, Some(_), None) => now,
        (Policy::Best, Some(held), Some(key)) => {
            let best = (key.score, key.stamp).min((held.score, held.stamp));
            State { key: Some(Key { score: best.0, stamp: best.1 }), ..now }
        }
        (Policy::Last, Some(held), Some(key)) => {
            let is_later = key.stamp > held.stamp;
            let is_better = key.stamp == held.stamp && key.score < held.score;
            if is_later || is_better { given } else { now }
        }
        (Policy::Sum, Some(held), Some(key)) => {
            let stamp = key.stamp.max(held.stamp);
            State { key: Some(Key { stamp, ..key }), ..now }
        }
    }
}

fn any_state() -> impl Strategy<Value = State> {
    let score = select(&[i64::MIN, -1, 0, 1, 5, i64::MAX][..]);
    let key = prop_oneof![1 => Just(None), 3 => (score, 1..4_u64).prop_map(Some)];
    (0..3_u32, key).prop_map(|(generation, key)| state(generation, key))
}

proptest! {
    #[test]
    fn a_member_comes_to_the_given_state(
        policy in select(&[Policy::Best, Policy::Last, Policy::Sum][..]),
        now in any_state(),
        given in any_state(),
        other in any_state(),
        has_moved: bool,
    ) {
        let first = start(config(policy), &[("m", now)]);
        let [here, beside, there] =
            [("eu", 1), ("eu", 2), ("us", 3)].map(|(region, origin)| engine(region, origin, &first));
        prop_assert_eq!(held(&here, "m"), now);
        let seen = if has_moved { other } else { now };
        let (outcome, batch) = ask(&here, repair(vec![item("m", seen, given)]));
        let is_left = now != seen && now != given;
        let then = if is_left { now } else { expected(policy, now, given) };
        prop_assert_eq!(held(&here, "m"), then);
        let counted = [then != now, is_left, !is_left && then == now].map(usize::from);
        prop_assert_eq!(counts(&outcome.unwrap()), counted);
        prop_assert_eq!(batch.2.is_empty(), then == now);
        if !batch.2.is_empty() {
            apply(&beside, [&batch]);
            apply(&there, [&batch]);
        }
        prop_assert_eq!(held(&beside, "m"), then);
        prop_assert_eq!(held(&engine_again(&first, &batch), "m"), then);
        let elsewhere = match policy {
            Policy::Sum if then.generation > now.generation => State { key: None, ..then },
            Policy::Sum => now,
            Policy::Best | Policy::Last => then,
        };
        prop_assert_eq!(held(&there, "m"), elsewhere);
    }
}

/// An engine of the region that recovers from the journal.
fn engine_again(first: &(u64, u64, Vec<u8>), batch: &(u64, u64, Vec<u8>)) -> Engine {
    let engine = engine("eu", 4, first);
    if !batch.2.is_empty() {
        apply(&engine, [batch]);
    }
    engine
}

#[test]
fn only_fixes_need_the_new_format() {
    for (policy, format) in [(Policy::Best, 2), (Policy::Last, 2), (Policy::Sum, 3)] {
        let here = engine("eu", 1, &start(config(policy), &[]));
        let (_, batch) =
            ask(&here, repair(vec![item("m", state(0, None), state(0, Some((5, 9))))]));
        assert_eq!(batch.2[0], format);
    }
    let here = engine("eu", 1, &start(config(Policy::Sum), &[("m", state(0, Some((5, 9))))]));
    let (_, batch) = ask(&here, repair(vec![item("m", state(0, Some((5, 9))), state(3, None))]));
    assert_eq!(batch.2[0], 2);
    let deleted = Record::Delete { board: BOARD, member: "m", generation: 3 };
    assert_eq!(record::decode(1, 1, &batch.2), Ok(vec![deleted]));
}

/// An engine without a region is in one of its own.
#[test]
fn fixes_count_where_there_are_no_regions() {
    let first = start(config(Policy::Sum), &[]);
    let [here, beside] = [1, 2].map(|origin| {
        let engine = Recovery::new([], []).finish(origin, Limits::default(), true);
        apply(&engine, [&first]);
        engine
    });
    let (outcome, batch) =
        ask(&here, repair(vec![item("m", state(0, None), state(1, Some((5, 9))))]));
    assert_eq!(counts(&outcome.unwrap()), [1, 0, 0]);
    apply(&beside, [&batch]);
    assert_eq!(held(&here, "m"), state(1, Some((5, 9))));
    assert_eq!(held(&beside, "m"), held(&here, "m"));
}

#[test]
fn later_writes_build_on_a_repair() {
    let here = engine("eu", 1, &start(config(Policy::Sum), &[]));
    let far = 1 << 63;
    ask(&here, repair(vec![item("m", state(0, None), state(2, Some((5, far))))])).0.unwrap();
    ask(&here, submit("b", "m", 3)).0.unwrap();
    let Key { score, stamp } = held(&here, "m").key.unwrap();
    assert_eq!((score, held(&here, "m").generation), ([code(8)], 2));
    assert!(stamp > far, "a clock has seen what it repaired");
    ask(&here, remove("b", "m")).0.unwrap();
    assert_eq!(held(&here, "m"), state(3, None));
}

#[test]
fn what_cannot_be_repaired_changes_nothing() {
    let here = engine("eu", 1, &start(config(Policy::Best), &[]));
    let good = || item("m", state(0, None), state(0, Some((5, 9))));
    let bad = item("", state(0, None), state(0, Some((5, 9))));
    let (outcome, batch) = ask(&here, repair(vec![good(), bad]));
    let error = Error::Item { index: 1, error: Box::new(Error::MemberName) };
    assert_eq!((outcome.unwrap_err(), batch.2.is_empty()), (error, true));
    let elsewhere = Command::Repair { board: "b".into(), life: BOARD + 1, items: vec![good()] };
    assert_eq!(ask(&here, elsewhere).0.unwrap_err(), Error::UnknownBoard("b".into()));
    let unknown = Command::Repair { board: "c".into(), life: BOARD, items: vec![good()] };
    assert_eq!(ask(&here, unknown).0.unwrap_err(), Error::UnknownBoard("c".into()));
    assert_eq!(held(&here, "m"), state(0, None));

    let floats = BoardConfig { score: ScoreType::Float64, ..config(Policy::Last) };
    let here = engine("eu", 1, &start(floats, &[]));
    let nan = Some(Key { score: [0], stamp: 9 });
    let not_a_number = item("m", state(0, None), State { generation: 0, key: nan });
    let refused = ask(&here, repair(vec![not_a_number])).0.unwrap_err();
    assert!(
        matches!(refused, Error::Item { index: 0, error } if matches!(*error, Error::Score(_)))
    );

    let here = engine("eu", 1, &start(BoardConfig { policy: Policy::Sum, ..floats }, &[]));
    assert_eq!(ask(&here, repair(Vec::new())).0.unwrap_err(), Error::FloatSum);
}

#[test]
fn a_repair_with_a_key_counts_once() {
    let here = engine("eu", 1, &start(config(Policy::Sum), &[("m", state(0, Some((5, 9))))]));
    let key = Some(WriteKey::new("us", "one").unwrap());
    let items = vec![
        item("m", state(0, Some((5, 9))), state(0, Some((8, 9)))),
        item("n", state(0, None), state(0, None)),
        item("o", state(1, None), state(2, None)),
    ];
    let write = Write { command: repair(items), key };
    here.enqueue(write.clone()).unwrap();
    let sealed = here.seal(Duration::ZERO, || START_MS).unwrap();
    let known = sealed.answers.clone();
    let answer = r#"{"repaired":1,"moved":1,"same":1}"#;
    assert_eq!(support::json(here.commit(sealed)[0].outcome.as_ref().unwrap()), answer);

    here.enqueue(write.clone()).unwrap();
    let mut sealed = here.seal(Duration::ZERO, || START_MS).unwrap();
    assert!(sealed.bytes.is_empty(), "the members have their states already");
    here.again(&mut sealed, known, Vec::new(), || START_MS);
    assert_eq!(support::json(here.commit(sealed)[0].outcome.as_ref().unwrap()), answer);
    let other = Write { command: repair(Vec::new()), key };
    here.enqueue(write).unwrap();
    here.enqueue(other).unwrap();
    let sealed = here.seal(Duration::ZERO, || START_MS).unwrap();
    let outcomes = here.commit(sealed);
    assert_eq!(outcomes[1].outcome.as_ref().unwrap_err(), &Error::KeyReused);
}

/// Of what an engine says of a batch.
#[test]
fn a_batch_says_whether_it_only_repairs() {
    let here = engine("eu", 1, &start(config(Policy::Best), &[]));
    let mend = || repair(vec![item("m", state(0, None), state(0, Some((5, 9))))]);
    let cases = [
        (vec![mend()], true),
        (vec![mend(), submit("nowhere", "m", 1)], true),
        (vec![mend(), submit("b", "m", 1)], false),
        (vec![submit("b", "n", 1)], false),
    ];
    for (commands, is_repair) in cases {
        for command in commands {
            here.enqueue(command).unwrap();
        }
        let sealed = here.seal(Duration::ZERO, || START_MS).unwrap();
        assert_eq!(sealed.is_repair, is_repair);
        here.abort(sealed);
    }
}
