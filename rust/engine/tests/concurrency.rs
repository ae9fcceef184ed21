//! Many submitters, one committer, batches of other nodes and readers at the same time. Bounded by
//! counts, not by time.
#![allow(clippy::unwrap_used, reason = "a test that finds nothing to unwrap fails, as it should")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use rankwire_engine::{BoardConfig, Command, Engine, Error, Limits, Policy, Ticket};
use serde_json::Value;
use support::cluster::{Cluster, Journal, Node, merged, shown, visible};
use support::{Server, Storage, batch, create, page, remove, submit};

const SUBMITTERS: usize = 4;
const COMMANDS: usize = 400;
const READERS: usize = 2;
/// Far more than it takes, so that a committer that stands still fails the test.
const RETRIES: usize = 1_000_000;
const BOARDS: [&str; 2] = ["best", "sum"];

/// The commands of one submitter: members that all submitters share, so that they collide.
fn commands(submitter: usize) -> impl Iterator<Item = Command> {
    (0..COMMANDS).map(move |i| {
        let board = BOARDS[(i + submitter) % 2];
        let member = format!("m{}", (i * 7 + submitter * 3) % 50);
        let score = ((i * 31 + submitter) % 100).cast_signed() as i64;
        match i % 10 {
            0 => remove(board, &member),
            1 => batch(board, &[(&member, score), ("m0", 1), ("m1", score)]),
            2 => batch(board, &[(&member, 1), ("", 1)]),
            _ => submit(board, &member, score),
        }
    })
}

/// Queues everything, again and again where the queue is full.
fn enqueue_all(engine: &Engine, submitter: usize) -> Vec<Ticket> {
    let enqueue = |command: Command| {
        for _ in 0..RETRIES {
            match engine.enqueue(command.clone()) {
                Ok(ticket) => {
                    engine.wake();
                    return ticket;
                }
                Err(Error::Busy) => thread::yield_now(),
                Err(other) => panic!("{other}"),
            }
        }
        panic!("the queue stays full");
    };
    commands(submitter).map(enqueue).collect()
}

/// Seals until the engine is closed and empty; every seventh batch fails, every fifth is in doubt
/// for a while.
fn commit_all(engine: &Engine, storage: &mut Storage) -> Vec<Ticket> {
    let mut answered = Vec::new();
    let mut round = 0;
    while let Some(mut sealed) = engine.seal(Duration::MAX, || support::START_MS) {
        round += 1;
        if round % 5 == 0 {
            answered.extend(support::tickets(&sealed.refuse()));
        }
        let replies = if round % 7 == 0 {
            engine.abort(sealed)
        } else {
            storage.append(engine.origin(), &sealed);
            engine.commit(sealed)
        };
        answered.extend(support::tickets(&replies));
    }
    answered
}

/// Reads until told to stop, and checks that every answer is of one moment and none is older than
/// the one before.
fn read_all(engine: &Engine, stop: &AtomicBool) -> usize {
    let mut seen = [0; BOARDS.len()];
    let mut reads = 0;
    loop {
        let last = stop.load(Ordering::Acquire);
        for (name, seen) in BOARDS.iter().zip(&mut seen) {
            let board = engine.board(name).unwrap();
            let (version, json) = board.page(0, 100);
            assert!(version >= *seen, "{version} after {seen}");
            *seen = version;
            let page: Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(page["version"], version);
            let entries = page["entries"].as_array().unwrap();
            assert_eq!(page["total"], entries.len());
            let ranks = entries.iter().map(|entry| entry["rank"].as_u64().unwrap());
            assert!(ranks.eq(1..=entries.len() as u64));
            assert!(entries.is_sorted_by_key(|entry| -entry["score"].as_i64().unwrap()));
            let mut members: Vec<_> = entries.iter().map(|e| e["member"].as_str()).collect();
            members.sort_unstable();
            members.dedup();
            assert_eq!(members.len(), entries.len());
            reads += 1;
        }
        if last {
            return reads;
        }
    }
}

/// Does something at the end of a scope, also when that is a panic: nobody must wait for a thread
/// that is gone.
struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn every_ticket_is_answered_once_and_readers_see_one_moment_after_another() {
    let mut server = Server::limited(Limits { pending_ops: 64, ..Limits::default() });
    server.ask_all([
        support::create("best", BoardConfig::default()),
        support::create("sum", BoardConfig { policy: Policy::Sum, ..BoardConfig::default() }),
    ]);
    let Server { mut storage, engine, .. } = server;
    let start = Barrier::new(SUBMITTERS + READERS + 1);
    let (busy, stop) = (AtomicUsize::new(SUBMITTERS), AtomicBool::new(false));
    let given = Mutex::new(Vec::new());

    let mut answered = thread::scope(|scope| {
        let (engine, start, busy, stop, given) = (&engine, &start, &busy, &stop, &given);
        for submitter in 0..SUBMITTERS {
            scope.spawn(move || {
                let _last = Finally(|| {
                    if busy.fetch_sub(1, Ordering::AcqRel) == 1 {
                        engine.close();
                    }
                });
                start.wait();
                let tickets = enqueue_all(engine, submitter);
                assert!(tickets.is_sorted_by(|a, b| a < b));
                given.lock().unwrap().extend(tickets);
            });
        }
        for _ in 0..READERS {
            scope.spawn(move || {
                start.wait();
                assert!(read_all(engine, stop) > 0);
            });
        }
        let _end = Finally(|| {
            engine.close();
            stop.store(true, Ordering::Release);
        });
        start.wait();
        commit_all(engine, &mut storage)
    });

    let mut given = given.into_inner().unwrap();
    given.sort_unstable();
    answered.sort_unstable();
    assert_eq!(given.len(), SUBMITTERS * COMMANDS);
    assert_eq!(answered, given);

    let again = storage.replay(2, Limits::default());
    for name in BOARDS {
        assert_eq!(page(&again, name), page(&engine, name));
    }
}

/// A batch of another node for the board that the one under way is about: were it let in between,
/// the batch under way would no longer fit.
#[test]
fn a_batch_of_another_node_waits_for_the_one_under_way() {
    for is_committed in [true, false] {
        let (mut cluster, one, mut two) = pair();
        two.catch_up(&cluster);
        let before = shown(&two.engine);
        one.ask(&mut cluster, submit("best", "ann", 1)).unwrap();
        let sealed = two.seal([submit("best", "bob", 1).into()]);
        let is_in = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                support::apply(&two.engine, &cluster.missing(&two.engine.vector()));
                is_in.store(true, Ordering::Release);
            });
            // Enough for a thread that does not wait.
            for _ in 0..20_000 {
                thread::yield_now();
                assert!(!is_in.load(Ordering::Acquire));
            }
            assert_eq!(shown(&two.engine), before);
            let end = if is_committed { Engine::commit } else { Engine::abort };
            assert_eq!(end(&two.engine, sealed).len(), 1);
        });
        assert!(is_in.load(Ordering::Acquire));
        let members = two.engine.board("best").unwrap().load().len();
        assert_eq!(members, 1 + u64::from(is_committed));
    }
}

/// Two nodes, the first of which has created the boards.
fn pair() -> (Cluster, Node, Node) {
    let mut cluster = Cluster::default();
    let (one, two) = (Node::new(1), Node::new(2));
    one.ask(&mut cluster, create("best", BoardConfig::default())).unwrap();
    let sums = BoardConfig { policy: Policy::Sum, ..BoardConfig::default() };
    one.ask(&mut cluster, create("sum", sums)).unwrap();
    (cluster, one, two)
}

const TURNS: usize = 300;

/// Whoever seals in a loop lets batches of others in, and the other way round: each goes on until
/// the other one has had its turns.
#[test]
fn sealing_and_applying_take_turns() {
    let (mut cluster, one, two) = pair();
    // More than enough to go on with, so that neither is ever idle.
    for score in 0..TURNS {
        one.ask(&mut cluster, submit("best", &format!("m{score}"), 1)).unwrap();
    }
    let journal = cluster.of(1);
    let (sealed, applied) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let goes_on = |mine: &AtomicUsize, other: &AtomicUsize| {
        let mine = mine.fetch_add(1, Ordering::AcqRel);
        assert!(mine < RETRIES, "the other one never gets its turn");
        mine < TURNS || other.load(Ordering::Acquire) < TURNS
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            while goes_on(&sealed, &applied) {
                two.engine.commit(two.seal([submit("best", "own", 1).into()]));
            }
        });
        scope.spawn(|| {
            // The first batches again and again, the next one now and then.
            for count in (1..).map(|turn: usize| (turn / 2).min(journal.len() - 1)) {
                support::apply(&two.engine, [&journal[0], &journal[count]]);
                if !goes_on(&applied, &sealed) {
                    break;
                }
            }
        });
    });
    assert!(sealed.into_inner() >= TURNS && applied.into_inner() >= TURNS);
}

/// Of three commands each.
const BATCHES: usize = COMMANDS / 3;

/// Two nodes write as fast as they can while each takes in what the other one has written.
#[test]
fn nodes_that_write_and_exchange_at_the_same_time_end_up_the_same() {
    let (cluster, mut one, mut two) = pair();
    two.catch_up(&cluster);
    let cluster = Mutex::new(cluster);
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for (place, node) in [&one, &two].into_iter().enumerate() {
            let (cluster, start) = (&cluster, &start);
            let other = 2 - place as u64;
            let busy = Arc::new(AtomicBool::new(true));
            let writing = Arc::clone(&busy);
            scope.spawn(move || {
                let _end = Finally(|| writing.store(false, Ordering::Release));
                start.wait();
                let mut commands = commands(place);
                for _ in 0..BATCHES {
                    let some: Vec<_> = commands.by_ref().take(3).map(Into::into).collect();
                    let mut sealed = node.seal(some);
                    node.store(&mut cluster.lock().unwrap(), &mut sealed);
                    assert_eq!(node.engine.commit(sealed).len(), 3);
                }
            });
            scope.spawn(move || {
                start.wait();
                while busy.load(Ordering::Acquire) {
                    let news: Journal = {
                        let cluster = cluster.lock().unwrap();
                        let missing = cluster.missing(&node.engine.vector());
                        missing.into_iter().filter(|batch| batch.0 == other).collect()
                    };
                    support::apply(&node.engine, &news);
                    thread::yield_now();
                }
            });
        }
    });
    let cluster = cluster.into_inner().unwrap();
    let expected = visible(merged(&cluster.journal));
    for node in [&mut one, &mut two] {
        node.catch_up(&cluster);
        assert_eq!(shown(&node.engine), expected);
        node.checkpoint();
        assert_eq!(visible(support::cluster::stored(&node.tables)), expected);
    }
}
