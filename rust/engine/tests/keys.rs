//! Writes with keys: however often one is sent, and to whichever node, it counts once and is
//! answered the same.
#![allow(clippy::unwrap_used, reason = "a test that finds nothing to unwrap fails, as it should")]

mod support;

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::sample::select;
use rankwire_engine::{
    BoardConfig, Command, Error, Outcome, Policy, Reply, TieBreak, Write, WriteKey,
};
use support::cluster::{Cluster, Node, merged, shown, visible};
use support::{Server, batch, create, drop_board, remove, submit, tickets};

fn board() -> BoardConfig {
    BoardConfig::default()
}

fn sums() -> BoardConfig {
    BoardConfig { policy: Policy::Sum, ..board() }
}

fn key(number: u8) -> WriteKey {
    WriteKey::new("someone", &format!("key {number}")).unwrap()
}

fn keyed(number: u8, command: Command) -> Write {
    Write { command, key: Some(key(number)) }
}

/// What was answered; of what was answered before with a mark in front.
fn told(outcome: &Result<Outcome, Error>) -> Result<String, Error> {
    let outcome = outcome.as_ref().map_err(Clone::clone)?;
    let mark = if matches!(outcome, Outcome::Repeat(_)) { "again " } else { "" };
    Ok(format!("{mark}{}", support::json(outcome)))
}

fn all_told(replies: &[Reply]) -> Vec<Result<String, Error>> {
    replies.iter().map(|reply| told(&reply.outcome)).collect()
}

/// A node with the board `a` of sums and the board `b`, with nothing under keys.
fn node(cluster: &mut Cluster) -> Node {
    let node = Node::new(1);
    let replies = node.write(cluster, [create("a", sums()), create("b", board())].map(Write::from));
    assert!(replies.iter().all(|reply| reply.outcome.is_ok()));
    node
}

fn receipt(
    member: &str,
    score: i64,
    rank: u64,
    before: Option<(i64, u64)>,
    version: u64,
) -> String {
    let (score_before, rank_before) =
        before.map_or(("null".into(), "null".into()), |(s, r)| (s.to_string(), r.to_string()));
    format!(
        r#"{{"board":"a","member":"{member}","score":{score},"rank":{rank},"previous_score":{score_before},"previous_rank":{rank_before},"changed":true,"version":{version}}}"#
    )
}

#[test]
fn keys_are_short_and_printable() {
    for good in ["a", " ", "~", "order 66: {}", &"x".repeat(128)] {
        WriteKey::new("", good).unwrap();
    }
    for bad in ["", "é", "\n", "\u{7f}", "a\0", &"x".repeat(129)] {
        assert_eq!(WriteKey::new("someone", bad), Err(Error::Key), "{bad}");
    }
    let (one, other) = (WriteKey::new("ab", "c").unwrap(), WriteKey::new("a", "bc").unwrap());
    assert_ne!(one, other);
    assert_ne!(one, WriteKey::new("b", "c").unwrap());
    assert_eq!(one, WriteKey::new("ab", "c").unwrap());
}

#[test]
fn a_repeat_in_the_same_batch_gets_the_same_answer() {
    let mut cluster = Cluster::default();
    let node = node(&mut cluster);
    let sealed = node.seal([
        keyed(1, submit("a", "ann", 5)),
        submit("a", "bob", 9).into(),
        keyed(1, submit("a", "ann", 5)),
        keyed(1, submit("a", "ann", 6)),
        keyed(1, submit("b", "ann", 5)),
        keyed(2, submit("a", "ann", 5)),
    ]);
    assert_eq!(sealed.answers.len(), 2);
    assert!(sealed.doubted.is_empty());
    let first = receipt("ann", 5, 1, None, 1);
    let expected = [
        Ok(first.clone()),
        Ok(receipt("bob", 9, 1, None, 2)),
        Ok(format!("again {first}")),
        Err(Error::KeyReused),
        Err(Error::KeyReused),
        Ok(receipt("ann", 10, 1, Some((5, 2)), 3)),
    ];
    assert_eq!(all_told(&node.engine.commit(sealed)), expected);
    let stats = node.engine.stats();
    assert_eq!((stats.submits_total, stats.changes_total, stats.rejected_total), (3, 3, 2));
}

#[test]
fn a_repeat_in_a_later_batch_gets_the_same_answer_and_the_others_go_on() {
    let mut cluster = Cluster::default();
    let node = node(&mut cluster);
    node.write(&mut cluster, [keyed(1, submit("a", "ann", 5))]);
    let writes = [
        submit("a", "bob", 5).into(),
        keyed(1, submit("a", "ann", 5)),
        keyed(2, submit("a", "cyd", 7)),
        keyed(1, submit("a", "ann", 50)),
        submit("a", "ann", 1).into(),
    ];
    let mut sealed = node.seal(writes);
    let number = sealed.number;
    assert_eq!(sealed.answers.len(), 2);
    node.store(&mut cluster, &mut sealed);
    assert_eq!(cluster.refusals, 1);
    assert_eq!((sealed.number, sealed.answers.len()), (number, 1));
    let replies = node.engine.commit(sealed);
    assert!(tickets(&replies).is_sorted_by(|a, b| a < b));
    let expected = [
        Ok(receipt("bob", 5, 2, None, 2)),
        Ok(format!("again {}", receipt("ann", 5, 1, None, 1))),
        Ok(receipt("cyd", 7, 1, None, 3)),
        Err(Error::KeyReused),
        Ok(receipt("ann", 6, 2, Some((5, 2)), 4)),
    ];
    assert_eq!(all_told(&replies), expected);
    assert_eq!(shown(&node.engine), visible(merged(&cluster.journal)));
    let stats = node.engine.stats();
    assert_eq!((stats.submits_total, stats.changes_total, stats.rejected_total), (4, 4, 1));
    assert_eq!(stats.not_committed_total, 0);
}

/// Each time the storage stumbles over another thing.
#[test]
fn a_batch_may_be_refused_again_and_again() {
    for is_terse in [false, true] {
        let mut cluster = Cluster::default();
        let node = node(&mut cluster);
        for number in 1..4 {
            node.write(&mut cluster, [keyed(number, submit("a", "ann", 1))]);
        }
        for name in ["x", "y"] {
            Node::new(2).ask(&mut cluster, create(name, board())).unwrap();
        }
        cluster.is_terse = is_terse;
        let writes = [
            keyed(1, submit("a", "ann", 1)),
            keyed(4, create("x", board())),
            keyed(2, submit("a", "ann", 1)),
            create("y", board()).into(),
            submit("a", "bob", 1).into(),
            keyed(3, submit("a", "ann", 1)),
            create("z", board()).into(),
        ];
        let mut sealed = node.seal(writes);
        node.store(&mut cluster, &mut sealed);
        assert_eq!(cluster.refusals, if is_terse { 5 } else { 1 });
        let replies = node.engine.commit(sealed);
        let expected = [
            Ok(format!("again {}", receipt("ann", 1, 1, None, 1))),
            Err(Error::NotCommitted),
            Ok(format!("again {}", receipt("ann", 2, 1, Some((1, 1)), 2))),
            Err(Error::NotCommitted),
            Ok(receipt("bob", 1, 2, None, 4)),
            Ok(format!("again {}", receipt("ann", 3, 1, Some((2, 1)), 3))),
        ];
        assert_eq!(all_told(&replies[..6]), expected);
        assert!(matches!(replies[6].outcome, Ok(Outcome::Board { created: true, .. })));
        let stats = node.engine.stats();
        assert_eq!((stats.rejected_total, stats.not_committed_total), (0, 2));
        assert!(node.engine.board("x").is_err());
    }
}

/// What one node has stored, another one answers, also when it would refuse the write itself.
#[test]
fn what_is_refused_is_doubted_and_the_kept_answer_is_better() {
    let mut cluster = Cluster::default();
    let (one, two) = (node(&mut cluster), Node::new(2));
    one.write(&mut cluster, [keyed(1, submit("a", "ann", 5)), keyed(2, remove("a", "ann"))]);
    let repeats = || {
        [
            keyed(1, submit("a", "ann", 5)),
            submit("a", "ann", 5).into(),
            keyed(2, remove("a", "ann")),
            keyed(2, remove("a", "bob")),
            keyed(3, submit("a", "ann", 5)),
            create("c", board()).into(),
        ]
    };
    // Nothing of board `a` has arrived here.
    let mut sealed = two.seal(repeats());
    assert!(sealed.answers.is_empty());
    assert_eq!(sealed.doubted.len(), 4);
    two.store(&mut cluster, &mut sealed);
    assert_eq!(cluster.refusals, 1);
    assert_eq!(sealed.doubted.len(), 1);
    let replies = two.engine.commit(sealed);
    let unknown = || Err(Error::UnknownBoard("a".into()));
    let first = format!("again {}", receipt("ann", 5, 1, None, 1));
    let again = || Ok(String::from("again "));
    let expected = [Ok(first.clone()), unknown(), again(), Err(Error::KeyReused), unknown()];
    assert_eq!(all_told(&replies[..5]), expected);
    assert!(matches!(replies[5].outcome, Ok(Outcome::Board { created: true, .. })));

    // Where it was stored it is the same, but that the others succeed.
    let replies = one.write(&mut cluster, repeats());
    assert_eq!(told(&replies[0].outcome), Ok(first));
    assert_eq!(told(&replies[1].outcome), Ok(receipt("ann", 5, 1, None, 3)));
    assert_eq!(told(&replies[2].outcome), again());
    assert_eq!(told(&replies[4].outcome), Ok(receipt("ann", 10, 1, Some((5, 1)), 4)));
}

/// What is refused is decided anew each time.
#[test]
fn what_was_refused_may_succeed_later_under_the_same_key() {
    let mut cluster = Cluster::default();
    let node = node(&mut cluster);
    let replies = node.write(
        &mut cluster,
        [
            keyed(1, submit("c", "ann", 1)),
            create("c", board()).into(),
            keyed(1, submit("c", "ann", 1)),
            keyed(1, submit("c", "ann", 1)),
            keyed(2, submit("c", "", 1)),
        ],
    );
    let outcomes = all_told(&replies);
    assert_eq!(outcomes[0], Err(Error::UnknownBoard("c".into())));
    assert!(outcomes[2].as_ref().is_ok_and(|json| json.starts_with('{')));
    assert!(outcomes[3].as_ref().is_ok_and(|json| json.starts_with("again {")));
    assert_eq!(outcomes[4], Err(Error::MemberName));
    assert_eq!(cluster.answers.len(), 1);
    let replies = node.write(&mut cluster, [keyed(2, submit("c", "bob", 1))]);
    assert!(all_told(&replies)[0].as_ref().is_ok_and(|json| json.starts_with('{')));
}

#[test]
fn repeated_creations_tell_whether_they_created() {
    let mut cluster = Cluster::default();
    let node = node(&mut cluster);
    let writes = || {
        [
            keyed(1, create("c", board())),
            keyed(2, create("c", board())),
            keyed(3, submit("c", "ann", 1)),
            keyed(4, drop_board("c")),
        ]
    };
    node.write(&mut cluster, writes());
    let replies = node.write(&mut cluster, writes());
    let created: Vec<_> = replies
        .iter()
        .map(|reply| match &reply.outcome {
            Ok(Outcome::Repeat(repeat)) => repeat.created(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(created, [Some(true), Some(false), None, None]);
    let described = r#"again {"board":"c","score":"int64","order":"desc","policy":"best","ties":"first","player_submits":false,"version":0,"total":0}"#;
    assert_eq!(told(&replies[0].outcome), Ok(described.into()));
    assert_eq!(told(&replies[3].outcome), Ok("again ".into()));
    assert!(node.engine.board("c").is_err());
}

/// An answer is kept for what changes nothing, too.
#[test]
fn a_write_that_changes_nothing_is_answered_the_same_later() {
    let mut cluster = Cluster::default();
    let node = node(&mut cluster);
    node.ask(&mut cluster, submit("b", "ann", 5)).unwrap();
    let worse = || [keyed(1, submit("b", "ann", 4)), keyed(2, batch("b", &[("ann", 1)]))];
    let sealed = node.seal(worse());
    assert!(sealed.bytes.is_empty());
    assert_eq!(sealed.answers.len(), 2);
    cluster.append(1, &sealed).unwrap();
    let first = all_told(&node.engine.commit(sealed));
    node.ask(&mut cluster, remove("b", "ann")).unwrap();
    let again = all_told(&node.write(&mut cluster, worse()));
    let expected: Vec<_> =
        first.into_iter().map(|told| Ok(format!("again {}", told.unwrap()))).collect();
    assert_eq!(again, expected);
    assert!(shown(&node.engine).values().all(|board| board.members.is_empty()));
}

#[test]
fn a_batch_that_is_not_committed_leaves_no_trace_of_its_keys() {
    let mut cluster = Cluster::default();
    let node = node(&mut cluster);
    node.write(&mut cluster, [keyed(1, submit("a", "ann", 5))]);
    let before = (support::page(&node.engine, "a"), node.engine.vector());
    let writes = || {
        [
            keyed(1, submit("a", "ann", 5)),
            keyed(2, submit("a", "ann", 1)),
            create("c", board()).into(),
        ]
    };
    for is_sealed_again in [false, true] {
        let mut sealed = node.seal(writes());
        if is_sealed_again {
            let (known, taken) = cluster.append(1, &sealed).unwrap_err();
            node.engine.again(&mut sealed, known, taken, || node.now_ms);
        }
        let replies = node.engine.abort(sealed);
        assert_eq!(replies.len(), 3);
        assert!(replies.iter().all(|r| matches!(r.outcome, Err(Error::NotCommitted))));
        assert_eq!((support::page(&node.engine, "a"), node.engine.vector()), before);
        assert!(node.engine.board("c").is_err());
    }
    let replies = node.write(&mut cluster, writes());
    let expected = [
        Ok(format!("again {}", receipt("ann", 5, 1, None, 1))),
        Ok(receipt("ann", 6, 1, Some((5, 1)), 2)),
    ];
    assert_eq!(all_told(&replies[..2]), expected);
    assert!(node.engine.board("c").is_ok());
}

/// The client hears that its write is not committed, but it is; when it asks again it learns.
#[test]
fn a_write_in_doubt_is_answered_when_it_is_sent_again() {
    let mut cluster = Cluster::default();
    let node = node(&mut cluster);
    let mut sealed = node.seal([keyed(1, submit("a", "ann", 5))]);
    cluster.append(1, &sealed).unwrap();
    assert!(matches!(sealed.refuse()[0].outcome, Err(Error::NotCommitted)));
    assert!(node.engine.commit(sealed).is_empty());
    let replies = node.write(&mut cluster, [keyed(1, submit("a", "ann", 5))]);
    assert_eq!(all_told(&replies), [Ok(format!("again {}", receipt("ann", 5, 1, None, 1)))]);
}

/// Boards that another node ended and created anew: nothing that was sealed for the old one is left
/// when the batch is sealed again.
#[test]
fn sealing_again_forgets_the_first_time() {
    let mut cluster = Cluster::default();
    let (one, two) = (node(&mut cluster), Node::new(2));
    two.ask(&mut cluster, create("c", board())).unwrap();
    let old = one.engine.board("a").unwrap().id();
    let mut sealed = one.seal([
        drop_board("a").into(),
        create("c", board()).into(),
        submit("c", "ann", 1).into(),
        create("a", board()).into(),
    ]);
    assert_eq!(sealed.created().count(), 2);
    one.store(&mut cluster, &mut sealed);
    let created: Vec<_> = sealed.created().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(created, ["a"]);
    assert_eq!(sealed.dropped().collect::<Vec<_>>(), [old]);
    let outcomes = all_told(&one.engine.commit(sealed));
    assert_eq!(outcomes[1], Err(Error::NotCommitted));
    assert_eq!(outcomes[2], Err(Error::UnknownBoard("c".into())));
    assert_ne!(one.engine.board("a").unwrap().id(), old);
    assert_eq!(shown(&one.engine).len(), 2);
    assert_eq!(one.engine.stats().boards, 2);
}

const MEMBERS: [&str; 3] = ["ann", "bob", "cyd"];

fn command() -> impl Strategy<Value = Command> {
    let board = || select(&["a", "b", "c"][..]);
    let member = || select(&["ann", "bob", "cyd", ""][..]);
    let items = prop::collection::vec((member(), -1..3_i64), 0..4);
    prop_oneof![
        8 => (board(), member(), -1..3_i64)
            .prop_map(|(board, member, score)| submit(board, member, score)),
        2 => (board(), items).prop_map(|(board, items)| batch(board, &items)),
        3 => (board(), select(&MEMBERS[..])).prop_map(|(board, member)| remove(board, member)),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    (command(), prop::option::of(0..10_u8))
        .prop_map(|(command, number)| Write { command, key: number.map(key) })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Against a server to which every write is sent once and without a key: the same answers, with
    /// the same ranks and versions, and the same boards.
    #[test]
    fn a_repeat_is_as_if_it_had_not_been_sent(
        batches in prop::collection::vec(
            (prop::collection::vec(write(), 0..8), prop::bool::weighted(0.2), any::<bool>()),
            1..12,
        ),
    ) {
        let (mut cluster, mut plain) = (Cluster::default(), Server::new());
        let node = Node::new(1);
        for (name, config) in [("a", sums()), ("b", BoardConfig { ties: TieBreak::Last, ..board() })] {
            node.ask(&mut cluster, create(name, config)).unwrap();
            plain.ask(create(name, config)).unwrap();
        }
        let mut given: HashMap<WriteKey, (Command, String)> = HashMap::new();
        for (writes, is_aborted, is_terse) in batches {
            cluster.is_terse = is_terse;
            let mut sealed = node.seal(writes.iter().cloned());
            if is_aborted {
                let replies = node.engine.abort(sealed);
                prop_assert!(replies.iter().all(|reply| reply.outcome.is_err()));
                continue;
            }
            node.store(&mut cluster, &mut sealed);
            let replies = node.engine.commit(sealed);
            prop_assert_eq!(replies.len(), writes.len());
            for (reply, Write { command, key }) in replies.iter().zip(writes) {
                let expected = match key.and_then(|key| given.get(&key)) {
                    Some((first, json)) if *first == command => Ok(format!("again {json}")),
                    Some(_) => Err(Error::KeyReused),
                    None => {
                        let answer = told(&plain.ask(command.clone()));
                        if let (Some(key), Ok(json)) = (key, &answer) {
                            given.insert(key, (command, json.clone()));
                        }
                        answer
                    }
                };
                prop_assert_eq!(told(&reply.outcome), expected);
            }
            for name in ["a", "b"] {
                prop_assert_eq!(support::page(&node.engine, name), plain.page(name));
            }
        }
        prop_assert_eq!(given.len(), cluster.answers.len());
        let counts = |stats: rankwire_engine::Stats| {
            (stats.submits_total, stats.changes_total, stats.members, stats.dirty_members)
        };
        prop_assert_eq!(counts(node.engine.stats()), counts(plain.engine.stats()));
    }
}
