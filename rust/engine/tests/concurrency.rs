//! Many submitters, one committer and readers at the same time. Bounded by counts, not by time.
#![allow(clippy::unwrap_used, reason = "a test that finds nothing to unwrap fails, as it should")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Duration;

use rankwire_engine::{BoardConfig, Command, Engine, Error, Limits, Policy, Ticket};
use serde_json::Value;
use support::{Server, Storage, batch, page, remove, submit};

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
