//! Which writes an engine takes when another region is the primary, and what those are told whose
//! writes it does not take. And the names that a batch gives and takes.
#![allow(clippy::unwrap_used, reason = "a test that finds nothing to unwrap fails, as it should")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rankwire_engine::record::{BatchWriter, Record};
use rankwire_engine::{
    BoardConfig, Command, Door, Engine, Error, Limits, Names, Recovery, Reply, Ticket, Write,
    names_of,
};
use support::{START_MS, batch, create, drop_board, remove, submit};

fn engine() -> Engine {
    let engine = Recovery::new([], []).finish(1, Limits::default(), true);
    engine.enqueue(create("b", BoardConfig::default())).unwrap();
    engine.commit(engine.seal(Duration::ZERO, || START_MS).unwrap());
    engine
}

fn scores() -> [Command; 3] {
    [submit("b", "ada", 1), batch("b", &[("bob", 2)]), remove("b", "ada")]
}

fn names() -> [Command; 2] {
    [create("c", BoardConfig::default()), drop_board("b")]
}

fn repair(engine: &Engine) -> Command {
    let life = engine.board("b").unwrap().id();
    Command::Repair { board: "b".into(), life, items: Vec::new() }
}

fn not_primary(name: Option<&str>) -> Error {
    Error::NotPrimary(name.map(str::to_owned))
}

#[test]
fn only_the_writes_that_belong_here_are_queued() {
    let engine = engine();
    for (writes, takes_names) in [(true, true), (true, false), (false, true), (false, false)] {
        engine.set_primary(Some("us".into()), writes, takes_names);
        let before = engine.stats().pending_ops;
        for (commands, is_taken) in [(&scores()[..], writes), (&names()[..], takes_names)] {
            for command in commands {
                match engine.enqueue(command.clone()) {
                    Ok(_) => assert!(is_taken, "{command:?}"),
                    Err(error) => assert_eq!((error, is_taken), (not_primary(Some("us")), false)),
                }
            }
        }
        engine.enqueue(repair(&engine)).unwrap();
        let taken = if writes { 3 } else { 0 } + if takes_names { 2 } else { 0 } + 1;
        assert_eq!(engine.stats().pending_ops - before, taken);
    }
    engine.set_primary(None, false, true);
    assert_eq!(engine.enqueue(submit("b", "ada", 1)), Err(not_primary(None)));
    engine.set_primary(None, true, true);
    engine.enqueue(submit("b", "ada", 1)).unwrap();
}

#[test]
fn refusals_name_the_primary_region() {
    let text = not_primary(Some("us")).to_string();
    assert_eq!(text, r#"only the primary region takes this write, and that is "us""#);
    assert!(not_primary(None).to_string().ends_with("none is known now"));
}

#[derive(Debug, Default)]
struct Deaf(Mutex<Vec<(Ticket, Error)>>);

impl Door for Deaf {
    fn deliver(&self, replies: Vec<Reply>) {
        let errors = replies.into_iter().map(|reply| (reply.ticket, reply.outcome.unwrap_err()));
        self.0.lock().unwrap().extend(errors);
    }
}

#[test]
fn doors_keep_the_writes_that_belong_elsewhere() {
    let engine = engine();
    let door = Arc::new(Deaf::default());
    let as_door: Arc<dyn Door> = Arc::<Deaf>::clone(&door);
    let writes = || vec![(1, Write::from(submit("b", "ada", 1))), (2, remove("b", "bob").into())];
    engine.set_primary(Some("us".into()), false, true);
    let mut left = writes();
    assert_eq!(engine.send(&mut left, &as_door), Err(not_primary(Some("us"))));
    assert_eq!((left, engine.stats().pending_ops), (writes(), 0));
    engine.set_primary(Some("us".into()), true, false);
    let mut left = [writes(), vec![(3, drop_board("b").into())]].concat();
    assert_eq!(engine.send(&mut left, &as_door), Err(not_primary(Some("us"))));
    assert_eq!((left.len(), engine.stats().pending_ops), (3, 0));
    left.pop();
    assert_eq!(engine.send(&mut left, &as_door), Ok(()));
    assert_eq!((left.len(), engine.stats().pending_ops), (0, 2));
}

/// The storage knows first that another region has become the primary.
#[test]
fn a_fenced_batch_is_forgotten_and_everyone_is_told_why() {
    let engine = engine();
    let door = Arc::new(Deaf::default());
    let as_door: Arc<dyn Door> = Arc::<Deaf>::clone(&door);
    let page = support::page(&engine, "b");
    let own = engine.enqueue(submit("b", "ada", 1)).unwrap();
    let wrong = engine.enqueue(submit("nowhere", "ada", 1)).unwrap();
    engine.send(&mut vec![(9, submit("b", "bob", 1).into())], &as_door).unwrap();
    let sealed = engine.seal(Duration::ZERO, || START_MS).unwrap();
    engine.set_primary(Some("us".into()), false, false);
    let replies = engine.abort_not_primary(sealed);
    let told: Vec<_> = replies.into_iter().map(|r| (r.ticket, r.outcome.unwrap_err())).collect();
    let unknown = Error::UnknownBoard("nowhere".into());
    assert_eq!(told, [(own, not_primary(Some("us"))), (wrong, unknown)]);
    assert_eq!(*door.0.lock().unwrap(), [(9, not_primary(Some("us")))]);
    assert_eq!((support::page(&engine, "b"), engine.last()), (page, 1));
    // The number is free, and the next batch can be sealed.
    engine.set_primary(None, true, true);
    engine.enqueue(submit("b", "ada", 1)).unwrap();
    let sealed = engine.seal(Duration::ZERO, || START_MS).unwrap();
    assert_eq!(sealed.number, 2);
    engine.commit(sealed);
}

#[test]
fn the_last_batch_is_the_last_that_is_durable() {
    let engine = Recovery::new([(7, 3)], []).finish(1, Limits::default(), true);
    let mut seen = vec![engine.last()];
    for command in [create("b", BoardConfig::default()), submit("b", "ada", 1)] {
        engine.enqueue(command).unwrap();
        let sealed = engine.seal(Duration::ZERO, || START_MS).unwrap();
        seen.push(engine.last());
        engine.commit(sealed);
        seen.push(engine.last());
    }
    // One that is not better changes nothing, and one of another origin is not ours.
    engine.enqueue(submit("b", "ada", 1)).unwrap();
    engine.commit(engine.seal(Duration::ZERO, || START_MS).unwrap());
    support::apply(&engine, [&(7, 4, BatchWriter::default().finish(7, 4))]);
    seen.push(engine.last());
    assert_eq!(seen, [0, 0, 1, 1, 2, 2]);
}

#[test]
fn a_batch_tells_its_names() {
    let engine = engine();
    let old = engine.board("b").unwrap().id();
    let config = BoardConfig::default();
    let commands = [
        submit("b", "ada", 1),
        drop_board("b"),
        create("b", config),
        create("c", config),
        drop_board("c"),
        create("a", config),
    ];
    for command in commands {
        engine.enqueue(command).unwrap();
    }
    let sealed = engine.seal(Duration::ZERO, || START_MS).unwrap();
    let names = names_of(1, sealed.number, &sealed.bytes).unwrap();
    let created: Vec<_> = sealed.created().map(|(name, id)| (name.to_owned(), id)).collect();
    assert_eq!(names, Names { created: created.clone(), dropped: sealed.dropped().collect() });
    assert_eq!(created.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(names.dropped, [old]);
    assert!(matches!(names_of(2, sealed.number, &sealed.bytes), Err(Error::Journal { .. })));
    let mut score = BatchWriter::default();
    score.push(&Record::Score { board: 1, member: "m", bits: 0, stamp: 1, generation: 0 });
    let none = Names { created: Vec::new(), dropped: Vec::new() };
    assert_eq!(names_of(1, 1, &score.finish(1, 1)), Ok(none));
}
