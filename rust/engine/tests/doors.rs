//! Doors: replies reach the one that sent the command, in order, once, and not before readers can
//! see what they tell of.
#![allow(clippy::unwrap_used, reason = "a test that finds nothing to unwrap fails, as it should")]

mod support;

use std::mem::take;
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use rankwire_engine::{
    BoardConfig, Command, Door, Engine, Error, Limits, Outcome, Policy, Recovery, Reply, Sealed,
    Ticket, Write, WriteKey,
};
use serde_json::Value;
use support::cluster::{Cluster, Node};
use support::{START_MS, batch, create, drop_board, remove, submit, tickets};

/// What a door was told of a command.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    /// The version of its receipt.
    Version(u64),
    /// Succeeded without a version.
    Done,
    Failed(Error),
}

/// A door that writes down what it gets.
#[derive(Debug)]
struct Recorder {
    engine: Weak<Engine>,
    delivered: Mutex<Vec<Vec<(Ticket, Told)>>>,
}

impl Recorder {
    fn new(engine: &Arc<Engine>) -> Arc<Self> {
        Arc::new(Self { engine: Arc::downgrade(engine), delivered: Mutex::default() })
    }

    /// What came since the last call, one list for each delivery.
    fn take(&self) -> Vec<Vec<(Ticket, Told)>> {
        take(&mut *self.delivered.lock().unwrap())
    }

    fn told(&self, reply: &Reply) -> Told {
        let outcome = match &reply.outcome {
            Ok(outcome) => outcome,
            Err(error) => return Told::Failed(error.clone()),
        };
        let Ok(receipt) = serde_json::from_str::<Value>(&support::json(outcome)) else {
            return Told::Done;
        };
        let version = receipt["version"].as_u64().unwrap();
        let engine = self.engine.upgrade().unwrap();
        let board = engine.board(receipt["board"].as_str().unwrap()).unwrap();
        assert!(board.load().version() >= version, "told before it can be seen");
        Told::Version(version)
    }
}

impl Door for Recorder {
    fn deliver(&self, replies: Vec<Reply>) {
        let told = replies.iter().map(|reply| (reply.ticket, self.told(reply))).collect();
        self.delivered.lock().unwrap().push(told);
    }
}

/// An engine with the boards `b` and `c`, where every submit counts.
fn engine(limits: Limits) -> Arc<Engine> {
    let engine = Arc::new(Recovery::new([], []).finish(1, limits, false));
    for name in ["b", "c"] {
        engine
            .enqueue(create(name, BoardConfig { policy: Policy::Last, ..BoardConfig::default() }))
            .unwrap();
    }
    assert_eq!(engine.commit(seal(&engine)).len(), 2);
    engine
}

fn seal(engine: &Engine) -> Sealed {
    engine.seal(Duration::ZERO, || START_MS).unwrap()
}

#[track_caller]
fn send<const N: usize>(engine: &Engine, door: &Arc<Recorder>, commands: [(Ticket, Command); N]) {
    let mut writes = commands.map(plain).into();
    let door: Arc<dyn Door> = Arc::<Recorder>::clone(door);
    assert_eq!(engine.send(&mut writes, &door), Ok(()));
    assert!(writes.is_empty());
}

/// A write without a key.
fn plain((ticket, command): (Ticket, Command)) -> (Ticket, Write) {
    (ticket, command.into())
}

fn failed(ticket: Ticket, error: Error) -> (Ticket, Told) {
    (ticket, Told::Failed(error))
}

#[test]
fn every_door_gets_its_own_replies_and_the_committer_the_rest() {
    let engine = engine(Limits::default());
    let (left, right) = (Recorder::new(&engine), Recorder::new(&engine));
    send(&engine, &left, [(7, submit("b", "ada", 1)), (3, submit("c", "ada", 1))]);
    let own = engine.enqueue(submit("b", "ada", 2)).unwrap();
    send(&engine, &right, [(7, submit("b", "ada", 3)), (0, submit("nowhere", "ada", 1))]);
    send(&engine, &left, [(8, batch("b", &[("ada", 4), ("bob", 5)])), (9, remove("b", "bob"))]);
    let sealed = seal(&engine);
    assert!(left.take().is_empty());
    assert_eq!(tickets(&engine.commit(sealed)), [own]);
    let version = Told::Version;
    let expected = vec![(7, version(1)), (3, version(1)), (8, version(5)), (9, Told::Done)];
    assert_eq!(left.take(), [expected]);
    let unknown = Error::UnknownBoard("nowhere".into());
    assert_eq!(right.take(), [vec![(7, version(3)), failed(0, unknown)]]);
    let stats = engine.stats();
    assert_eq!((stats.submits_total, stats.rejected_total, stats.pending_ops), (6, 1, 0));
}

#[test]
fn an_aborted_batch_is_told_to_doors() {
    let engine = engine(Limits::default());
    let door = Recorder::new(&engine);
    send(&engine, &door, [(1, submit("b", "ada", 1)), (2, submit("b", "\n", 1))]);
    let own = engine.enqueue(submit("b", "bob", 1)).unwrap();
    assert_eq!(tickets(&engine.abort(seal(&engine))), [own]);
    let expected = vec![failed(1, Error::NotCommitted), failed(2, Error::MemberName)];
    assert_eq!(door.take(), [expected]);
    let stats = engine.stats();
    assert_eq!((stats.not_committed_total, stats.rejected_total), (2, 1));
}

#[test]
fn a_batch_refused_in_doubt_is_told_to_doors_once() {
    let engine = engine(Limits::default());
    let door = Recorder::new(&engine);
    for held in [true, false] {
        send(&engine, &door, [(1, submit("b", "ada", 1)), (2, drop_board("nowhere"))]);
        let own = engine.enqueue(submit("b", "bob", 1)).unwrap();
        let mut sealed = seal(&engine);
        assert_eq!(tickets(&sealed.refuse()), [own]);
        let unknown = Error::UnknownBoard("nowhere".into());
        assert_eq!(door.take(), [vec![failed(1, Error::NotCommitted), failed(2, unknown)]]);
        assert!(sealed.refuse().is_empty());
        let replies = if held { engine.commit(sealed) } else { engine.abort(sealed) };
        assert!(replies.is_empty());
        assert!(door.take().is_empty());
    }
    assert_eq!(engine.board("b").unwrap().load().len(), 2);
    assert_eq!(engine.stats().not_committed_total, 4);
}

#[test]
fn a_stalled_engine_refuses_what_doors_sent_and_send() {
    let engine = engine(Limits::default());
    let door = Recorder::new(&engine);
    send(&engine, &door, [(1, submit("b", "ada", 1)), (2, submit("b", "bob", 1))]);
    let own = engine.enqueue(submit("b", "bob", 1)).unwrap();
    assert_eq!(tickets(&engine.stall()), [own]);
    let refused = [1, 2].map(|ticket| failed(ticket, Error::NotCommitted));
    assert_eq!(door.take(), [refused.to_vec()]);

    let as_door: Arc<dyn Door> = Arc::<Recorder>::clone(&door);
    let writes = [3, 4].map(|ticket| plain((ticket, submit("b", "ada", 1))));
    let mut left = writes.to_vec();
    assert_eq!(engine.send(&mut left, &as_door), Err(Error::NotCommitted));
    assert_eq!(left, writes);
    assert_eq!(engine.stats().not_committed_total, 5);
    assert_eq!(engine.stats().pending_ops, 0);
    engine.resume();
    assert_eq!(engine.send(&mut left, &as_door), Ok(()));
    assert!(engine.commit(seal(&engine)).is_empty());
    assert_eq!(door.take(), [vec![(3, Told::Version(1)), (4, Told::Version(2))]]);
}

#[test]
fn a_closed_engine_answers_what_doors_sent_before() {
    let engine = engine(Limits::default());
    let door = Recorder::new(&engine);
    send(&engine, &door, [(1, submit("b", "ada", 1))]);
    engine.close();
    let as_door: Arc<dyn Door> = Arc::<Recorder>::clone(&door);
    let mut left = vec![plain((2, submit("b", "ada", 1)))];
    assert_eq!(engine.send(&mut left, &as_door), Err(Error::Closed));
    assert_eq!(left.len(), 1);
    assert!(engine.commit(seal(&engine)).is_empty());
    assert_eq!(door.take(), [vec![(1, Told::Version(1))]]);
    assert!(engine.seal(Duration::MAX, || START_MS).is_none());
    assert_eq!(engine.stats().not_committed_total, 0);
}

#[test]
fn a_full_queue_takes_what_fits_in_order() {
    let engine = engine(Limits { pending_ops: 3, ..Limits::default() });
    let door = Recorder::new(&engine);
    let as_door: Arc<dyn Door> = Arc::<Recorder>::clone(&door);
    engine.enqueue(submit("c", "ada", 1)).unwrap();
    let two = batch("b", &[("ada", 2), ("bob", 2)]);
    let writes = [(1, submit("b", "ada", 1)), (2, two), (3, submit("b", "ada", 3))].map(plain);
    let mut left = writes.to_vec();
    assert_eq!(engine.send(&mut left, &as_door), Err(Error::Busy));
    // The small command behind the large one would fit, but the order counts for more.
    assert_eq!(left, writes[1..]);
    assert_eq!(engine.stats().pending_ops, 2);
    assert_eq!(engine.commit(seal(&engine)).len(), 1);
    assert_eq!(engine.send(&mut left, &as_door), Ok(()));
    assert_eq!(engine.send(&mut left, &as_door), Ok(()));
    engine.commit(seal(&engine));
    let answered: Vec<_> = door.take().concat().into_iter().map(|(ticket, _)| ticket).collect();
    assert_eq!(answered, [1, 2, 3]);
}

/// However often the batch is sealed until the storage takes it.
#[test]
fn doors_get_answers_to_writes_that_came_before() {
    let mut cluster = Cluster::default();
    let node = Node::new(1);
    node.ask(&mut cluster, create("b", BoardConfig::default())).unwrap();
    let kept = Arc::new(Keeper::default());
    let door: Arc<dyn Door> = Arc::<Keeper>::clone(&kept);
    let keyed = |ticket: Ticket, text: &str, score| {
        let key = Some(WriteKey::new("", text).unwrap());
        (ticket, Write { command: submit("b", "ada", score), key })
    };
    node.engine.send(&mut vec![keyed(1, "x", 1), keyed(2, "y", 2)], &door).unwrap();
    assert!(node.write(&mut cluster, []).is_empty());
    let first = kept.take();

    cluster.is_terse = true;
    let mut writes = vec![
        keyed(3, "y", 2),
        plain((4, submit("b", "ada", 3))),
        keyed(5, "x", 1),
        keyed(6, "x", 2),
    ];
    node.engine.send(&mut writes, &door).unwrap();
    let own = node.engine.enqueue(keyed(0, "x", 1).1).unwrap();
    let mut sealed = node.seal([]);
    node.store(&mut cluster, &mut sealed);
    assert_eq!(cluster.refusals, 2);
    assert!(kept.take().is_empty());
    assert_eq!(tickets(&node.engine.commit(sealed)), [own]);
    let told = kept.take();
    let told: Vec<_> = told.iter().map(|(ticket, told)| (*ticket, &**told)).collect();
    let (x, y) = (format!("again {}", first[0].1), format!("again {}", first[1].1));
    assert_eq!(told[0], (3, &*y));
    assert!(told[1].1.contains(r#""score":3,"#) && told[1].1.contains(r#""version":3"#));
    assert_eq!(told[2], (5, &*x));
    assert_eq!(told[3], (6, &*Error::KeyReused.to_string()));
    assert_eq!(told.len(), 4);
}

/// Keeps what it is told: JSON, with a mark in front if it was told before, or what is wrong.
#[derive(Debug, Default)]
struct Keeper(Mutex<Vec<(Ticket, String)>>);

impl Keeper {
    fn take(&self) -> Vec<(Ticket, String)> {
        take(&mut *self.0.lock().unwrap())
    }
}

impl Door for Keeper {
    fn deliver(&self, replies: Vec<Reply>) {
        let told = |reply: Reply| match reply.outcome {
            Ok(outcome @ Outcome::Repeat(_)) => format!("again {}", support::json(&outcome)),
            Ok(outcome) => support::json(&outcome),
            Err(error) => error.to_string(),
        };
        let told = replies.into_iter().map(|reply| (reply.ticket, told(reply)));
        self.0.lock().unwrap().extend(told);
    }
}

/// It would hang if a lock of the engine were held.
#[test]
fn a_door_may_use_the_engine_while_it_gets_replies() {
    #[derive(Debug)]
    struct Echo(Weak<Engine>, Mutex<Vec<Ticket>>);
    impl Door for Echo {
        fn deliver(&self, replies: Vec<Reply>) {
            let engine = self.0.upgrade().unwrap();
            self.1.lock().unwrap().extend(tickets(&replies));
            // Refused in a stall, which is as well: it must only not hang.
            let _ = engine.enqueue(submit("b", "echo", 1));
            engine.checkpoint();
            engine.stats();
        }
    }
    let engine = engine(Limits::default());
    let echo = Arc::new(Echo(Arc::downgrade(&engine), Mutex::default()));
    let door: Arc<dyn Door> = Arc::<Echo>::clone(&echo);
    for ticket in 0..3 {
        engine
            .send(&mut vec![plain((ticket, submit("b", &ticket.to_string(), 1)))], &door)
            .unwrap();
        engine.commit(seal(&engine));
    }
    engine.send(&mut vec![plain((3, submit("b", "x", 1)))], &door).unwrap();
    engine.stall();
    assert_eq!(*echo.1.lock().unwrap(), [0, 1, 2, 3]);
}

const DOORS: u64 = 3;
const COMMANDS: u64 = 2_000;

/// Several doors and plain callers at once, with batches that fail: every command is answered once,
/// to its door, in order.
#[test]
fn doors_at_work_together_get_every_reply_once_and_in_order() {
    let engine = engine(Limits { pending_ops: 100, ..Limits::default() });
    let doors: Vec<_> = (0..DOORS).map(|_| Recorder::new(&engine)).collect();
    let (mut answered, mut own) = thread::scope(|scope| {
        let engine = &engine;
        let committer = scope.spawn(|| commit_all(engine));
        let own: Vec<_> = {
            let _end = Closing(engine);
            let send = |door| scope.spawn(move || send_all(engine, door));
            let senders: Vec<_> = doors.iter().map(send).collect();
            senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
        };
        (committer.join().unwrap(), own)
    });
    answered.sort_unstable();
    own.sort_unstable();
    assert_eq!(answered, own);
    for door in doors {
        let answered = door.take().concat().into_iter().map(|(ticket, _)| ticket);
        assert!(answered.eq(0..COMMANDS));
    }
}

/// Closes the engine at the end of a scope, also when that is a panic: nobody must wait for a thread
/// that is gone.
struct Closing<'a>(&'a Engine);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Seals until the engine is closed and empty; every seventh batch fails, every fifth is in doubt
/// for a while. The tickets that are answered to no door.
fn commit_all(engine: &Engine) -> Vec<Ticket> {
    let _end = Closing(engine);
    let (mut rest, mut round) = (Vec::new(), 0);
    while let Some(mut sealed) = engine.seal(Duration::MAX, || START_MS) {
        round += 1;
        if round % 5 == 0 {
            rest.extend(tickets(&sealed.refuse()));
        }
        let end = if round % 7 == 0 { Engine::abort } else { Engine::commit };
        rest.extend(tickets(&end(engine, sealed)));
    }
    rest
}

/// Sends a door's commands some at a time, and commands of no door between them, whose tickets it
/// returns.
fn send_all(engine: &Engine, door: &Arc<Recorder>) -> Vec<Ticket> {
    let as_door: Arc<dyn Door> = Arc::<Recorder>::clone(door);
    let (mut own, mut next, mut waiting) = (Vec::new(), 0, Vec::new());
    while next < COMMANDS || !waiting.is_empty() {
        for ticket in (next..COMMANDS).take(7) {
            let member = (ticket % 20).to_string();
            waiting.push(plain((ticket, submit(["b", "c"][ticket as usize % 2], &member, 1))));
            next = ticket + 1;
        }
        match engine.send(&mut waiting, &as_door) {
            Ok(()) => own.extend(engine.enqueue(submit("b", "own", 1)).ok()),
            Err(error) => assert_eq!(error, Error::Busy),
        }
        engine.wake();
        thread::yield_now();
    }
    own
}
