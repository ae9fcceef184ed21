//! What becomes of commands: the life of a batch, all or nothing, limits, and the JSON of every
//! answer.
#![allow(clippy::unwrap_used, reason = "a test that finds nothing to unwrap fails, as it should")]

mod support;

use std::time::{Duration, Instant};

use rankwire_engine::{
    Applied, BatchReceipt, BoardConfig, Command, Error, Limits, Order, Outcome, Policy, Score,
    ScoreType, Stats, Stop, Submit, TieBreak, answer,
};
use support::{Server, Storage, batch, create, drop_board, item, remove, submit, text, tickets};

fn board() -> BoardConfig {
    BoardConfig::default()
}

/// A server with one board, `b`.
fn server(config: BoardConfig) -> Server {
    let mut server = Server::new();
    server.ask(create("b", config)).unwrap();
    server
}

/// A server with one board of three members: `ada` 30, `bob` 20, `cyd` 20.
fn trio() -> Server {
    let mut server = server(board());
    server.ask(batch("b", &[("ada", 30), ("bob", 20), ("cyd", 20)])).unwrap();
    server
}

fn error<T: std::fmt::Debug>(result: Result<T, Error>) -> Error {
    result.unwrap_err()
}

fn not_committed(replies: &[rankwire_engine::Reply]) -> bool {
    replies.iter().all(|reply| reply.outcome.as_ref().is_err_and(|e| *e == Error::NotCommitted))
}

mod life_of_a_batch {
    use super::*;

    #[test]
    fn readers_see_a_submit_when_it_is_committed_and_not_before() {
        let mut server = server(board());
        let held = server.engine.board("b").unwrap();
        let before = held.snapshot();
        let ticket = server.engine.enqueue(submit("b", "ada", 10)).unwrap();
        assert_eq!(server.engine.stats().pending_ops, 1);
        let sealed = server.engine.seal(Duration::ZERO, || server.now_ms).unwrap();
        assert_eq!(sealed.number, 2);
        assert!(!sealed.bytes.is_empty());
        assert!(held.load().is_empty());
        assert_eq!(server.engine.stats().members, 0);
        assert_eq!(server.engine.stats().pending_ops, 0);

        let replies = server.commit(sealed);
        assert_eq!(tickets(&replies), [ticket]);
        assert_eq!(held.load().rank("ada"), Some(1));
        assert!(before.is_empty());
    }

    #[test]
    fn tickets_grow_and_replies_come_in_their_order() {
        let server = server(board());
        let first = server.engine.enqueue(submit("b", "ada", 1)).unwrap();
        let second = server.engine.enqueue(submit("nowhere", "ada", 1)).unwrap();
        let third = server.engine.enqueue(remove("b", "ada")).unwrap();
        let replies = server.engine.commit(server.seal([]));
        assert_eq!(tickets(&replies), [first, second, third]);
        assert!(first < second && second < third);
        assert!(replies[0].outcome.is_ok());
        assert!(replies[1].outcome.is_err());
        assert!(matches!(replies[2].outcome, Ok(Outcome::Gone)));
    }

    #[test]
    fn an_aborted_batch_leaves_no_trace() {
        let mut server = trio();
        server.ask(create("other", board())).unwrap();
        server.checkpoint();
        let before = (server.page("b"), text(server.engine.boards("", 10)));
        let sealed = server.seal([
            submit("b", "dan", 99),
            remove("b", "ada"),
            create("new", board()),
            drop_board("other"),
            submit("b", "\n", 1),
        ]);
        let number = sealed.number;
        let replies = server.engine.abort(sealed);
        assert!(not_committed(&replies[..4]));
        assert_eq!(replies[4].outcome.as_ref().unwrap_err(), &Error::MemberName);

        assert_eq!((server.page("b"), text(server.engine.boards("", 10))), before);
        assert!(!server.checkpoint());
        let stats = server.engine.stats();
        assert_eq!((stats.members, stats.boards, stats.dirty_members), (3, 2, 0));
        assert_eq!((stats.not_committed_total, stats.rejected_total), (4, 1));

        // The generation that the aborted removal would have raised is as it was, too.
        let sealed = server.seal([submit("b", "ada", 31)]);
        assert_eq!(sealed.number, number);
        server.commit(sealed);
        server.restart();
        assert_eq!(server.members("b"), ["ada", "bob", "cyd"]);
    }

    #[test]
    fn a_batch_refused_in_doubt_may_still_be_committed() {
        let mut server = trio();
        let mut sealed = server.seal([submit("b", "dan", 99), submit("b", "", 1)]);
        let replies = sealed.refuse();
        assert!(not_committed(&replies[..1]));
        assert_eq!(replies[1].outcome.as_ref().unwrap_err(), &Error::MemberName);
        assert_eq!(server.engine.board("b").unwrap().load().rank("dan"), None);
        assert!(sealed.refuse().is_empty());

        assert!(server.commit(sealed).is_empty());
        assert_eq!(server.members("b"), ["dan", "ada", "bob", "cyd"]);
        let stats = server.engine.stats();
        assert_eq!((stats.not_committed_total, stats.rejected_total), (1, 1));
    }

    #[test]
    fn a_batch_refused_in_doubt_may_still_be_aborted() {
        let mut server = trio();
        let before = server.page("b");
        let mut sealed = server.seal([submit("b", "dan", 99)]);
        assert_eq!(sealed.refuse().len(), 1);
        assert!(server.engine.abort(sealed).is_empty());
        assert_eq!(server.page("b"), before);
        assert_eq!(server.engine.stats().not_committed_total, 1);
        server.ask(submit("b", "dan", 1)).unwrap();
    }

    #[test]
    #[should_panic(expected = "neither committed nor aborted")]
    fn one_batch_is_under_way_at_a_time() {
        let server = server(board());
        let _lost = server.seal([submit("b", "ada", 1)]);
        server.seal([]);
    }

    #[test]
    fn commands_that_change_nothing_are_answered_without_bytes() {
        let mut server = trio();
        server.checkpoint();
        let version = server.engine.board("b").unwrap().load().version();
        let sealed = server.seal([
            create("b", board()),
            submit("b", "ada", 30),
            submit("b", "ada", 1),
            batch("b", &[("bob", 20), ("cyd", 19)]),
            batch("b", &[]),
            remove("b", "nobody"),
        ]);
        assert!(sealed.bytes.is_empty());
        let number = sealed.number;
        let outcomes: Vec<_> = server.commit(sealed).into_iter().map(|r| r.outcome).collect();
        assert_eq!(outcomes.len(), 6);
        assert!(matches!(outcomes[0], Ok(Outcome::Board { created: false, .. })));
        let receipt = support::json(outcomes[2].as_ref().unwrap());
        let expected = r#"{"board":"b","member":"ada","score":30,"rank":1,"previous_score":30,"#;
        assert!(receipt.starts_with(expected), "{receipt}");
        assert_eq!(server.engine.board("b").unwrap().load().version(), version);
        assert!(!server.checkpoint());
        assert_eq!(server.seal([submit("b", "ada", 31)]).number, number);
    }

    #[test]
    fn a_seal_without_commands_has_nothing_to_write_or_answer() {
        let mut server = server(board());
        let sealed = server.seal([]);
        assert!(sealed.bytes.is_empty());
        assert!(server.commit(sealed).is_empty());
    }

    #[test]
    fn a_waiting_seal_is_woken() {
        let server = server(board());
        let sealed = std::thread::scope(|scope| {
            let committer = scope.spawn(|| server.engine.seal(Duration::MAX, || server.now_ms));
            server.engine.enqueue(submit("b", "ada", 1)).unwrap();
            server.engine.wake();
            committer.join().unwrap().unwrap()
        });
        assert_eq!(server.engine.commit(sealed).len(), 1);
    }

    #[test]
    fn a_seal_waits_no_longer_than_its_patience() {
        let server = server(board());
        let start = Instant::now();
        let sealed = server.engine.seal(Duration::from_millis(20), || 0).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert!(sealed.bytes.is_empty());
    }

    #[test]
    fn counters_count() {
        let mut server = trio();
        server.ask_all([
            submit("b", "ada", 31),
            submit("b", "ada", 31),
            batch("b", &[("bob", 21), ("\n", 1)]),
            submit("c", "ada", 1),
            remove("b", "bob"),
        ]);
        let journal: usize = server.storage.journal.iter().map(|(_, _, bytes)| bytes.len()).sum();
        let expected = Stats {
            submits_total: 5,
            changes_total: 4,
            rejected_total: 2,
            not_committed_total: 0,
            batches_total: 3,
            journal_bytes_total: journal as u64,
            applied_records_total: 0,
            pending_ops: 0,
            boards: 1,
            members: 2,
            dirty_members: 3,
            oldest_read_versions: 0,
        };
        // Reads of other tests in this process count as well, so that one figure is left out.
        let stats = Stats { oldest_read_versions: 0, ..server.engine.stats() };
        assert_eq!(stats, expected);
    }
}

mod all_or_nothing {
    use super::*;

    /// The batch fails at its last item and leaves nothing, also nothing to checkpoint.
    #[track_caller]
    fn assert_refused(server: &mut Server, submits: Vec<Submit>, expected: Error) {
        server.checkpoint();
        let before = server.page("b");
        let index = submits.len() - 1;
        let sealed = server.seal([Command::Batch { board: "b".into(), submits }]);
        assert!(sealed.bytes.is_empty());
        let reply = server.commit(sealed).pop().unwrap();
        assert_eq!(error(reply.outcome), Error::Item { index, error: Box::new(expected) });
        assert_eq!(server.page("b"), before);
        assert!(!server.checkpoint());
        assert_eq!(server.engine.stats().dirty_members, 0);
    }

    fn good() -> Vec<Submit> {
        ["ada", "new", "bob"].map(|member| item(member, Score::Int(50), None)).into()
    }

    #[test]
    fn a_bad_item_undoes_those_before_it() {
        let future = support::START_MS + 60_001;
        for (bad, expected) in [
            (item("", Score::Int(1), None), Error::MemberName),
            (
                item("x", Score::Float(1.5), None),
                Error::Score("a score on this board is an integer"),
            ),
            (
                item("x", Score::Int(1), Some(future)),
                Error::At("lies more than 60 seconds in the future"),
            ),
        ] {
            let submits = [good(), vec![bad]].concat();
            assert_refused(&mut trio(), submits, expected);
        }
    }

    #[test]
    fn an_overflow_at_the_last_item_undoes_the_sums_before_it() {
        let mut server = server(BoardConfig { policy: Policy::Sum, ..board() });
        server.ask(submit("b", "ada", i64::MAX - 10)).unwrap();
        let submits = [6, 4, 1].map(|amount| item("ada", Score::Int(amount), None));
        assert_refused(&mut server, submits.into(), Error::Overflow("ada".into()));
        let submits = [-7, 6].map(|amount| item("ada", Score::Int(amount), None));
        let command = Command::Batch { board: "b".into(), submits: submits.into() };
        assert_eq!(server.json(command), r#"{"board":"b","submitted":2,"changed":2,"version":3}"#);
    }

    #[test]
    fn a_full_board_refuses_a_batch_as_a_whole() {
        let mut server = Server::limited(Limits { members: 3, ..Limits::default() });
        server.ask(create("b", board())).unwrap();
        server.ask(batch("b", &[("ada", 1), ("bob", 1)])).unwrap();
        assert_refused(
            &mut server,
            good()[..2].iter().cloned().chain([item("x", Score::Int(1), None)]).collect(),
            Error::TooManyMembers(3),
        );
        assert_eq!(server.members("b"), ["ada", "bob"]);
    }

    #[test]
    fn a_failed_batch_takes_nothing_of_its_neighbours_along() {
        let mut server = trio();
        let outcomes = server.ask_all([
            submit("b", "ada", 40),
            batch("b", &[("ada", 50), ("dan", 50), ("", 1)]),
            submit("b", "bob", 45),
        ]);
        assert!(outcomes[0].is_ok() && outcomes[1].is_err() && outcomes[2].is_ok());
        assert_eq!(server.members("b"), ["bob", "ada", "cyd"]);
        let live = server.page("b");
        server.restart();
        assert_eq!(server.page("b"), live);
    }

    #[test]
    fn a_batch_may_name_a_member_twice() {
        let mut server = server(board());
        let command = batch("b", &[("ada", 1), ("ada", 3), ("ada", 2)]);
        assert_eq!(server.json(command), r#"{"board":"b","submitted":3,"changed":2,"version":2}"#);
    }
}

mod limits {
    use super::*;
    use rankwire_engine::limits::SEALED_OPS;

    #[test]
    fn a_full_queue_refuses_and_recovers() {
        let mut server = Server::limited(Limits { pending_ops: 3, ..Limits::default() });
        server.ask(create("b", board())).unwrap();
        let engine = &server.engine;
        engine.enqueue(batch("b", &[("ada", 1), ("bob", 2)])).unwrap();
        assert_eq!(engine.enqueue(batch("b", &[("ada", 1), ("bob", 2)])), Err(Error::Busy));
        engine.enqueue(batch("b", &[])).unwrap();
        assert_eq!(engine.enqueue(batch("b", &[])), Err(Error::Busy));
        assert_eq!(engine.enqueue(submit("b", "ada", 1)), Err(Error::Busy));
        assert_eq!(engine.stats().pending_ops, 3);
        assert_eq!(server.ask_all([]).len(), 2);
        server.ask(submit("b", "ada", 3)).unwrap();
    }

    #[test]
    fn a_seal_takes_its_fill_and_leaves_the_rest() {
        let mut server = server(board());
        let items = |count| vec![("ada", 1); count];
        for count in [SEALED_OPS - 1, 1, 1, SEALED_OPS + 1, 1] {
            server.engine.enqueue(batch("b", &items(count))).unwrap();
        }
        for expected in [2, 1, 1, 1, 0] {
            assert_eq!(server.ask_all([]).len(), expected);
        }
    }

    #[test]
    fn a_stalled_engine_refuses_at_once_until_it_resumes() {
        let mut server = server(board());
        let ticket = server.engine.enqueue(submit("b", "ada", 1)).unwrap();
        let replies = server.engine.stall();
        assert_eq!(tickets(&replies), [ticket]);
        assert!(not_committed(&replies));
        assert_eq!(server.engine.enqueue(submit("b", "ada", 1)), Err(Error::NotCommitted));
        assert_eq!(server.engine.stats().not_committed_total, 2);
        assert_eq!(server.engine.stats().pending_ops, 0);
        assert!(server.ask_all([]).is_empty());
        server.engine.resume();
        server.ask(submit("b", "ada", 1)).unwrap();
    }

    #[test]
    fn a_closed_engine_seals_what_waits_and_ends() {
        let server = server(board());
        server.engine.enqueue(submit("b", "ada", 1)).unwrap();
        server.engine.close();
        assert_eq!(server.engine.enqueue(submit("b", "bob", 1)), Err(Error::Closed));
        server.engine.resume();
        assert_eq!(server.engine.enqueue(submit("b", "bob", 1)), Err(Error::Closed));
        assert_eq!(server.engine.commit(server.seal([])).len(), 1);
        assert!(server.engine.seal(Duration::MAX, || 0).is_none());
        assert_eq!(server.members("b"), ["ada"]);
    }

    #[test]
    fn closing_wakes_a_waiting_seal() {
        let server = server(board());
        std::thread::scope(|scope| {
            let committer = scope.spawn(|| server.engine.seal(Duration::MAX, || 0));
            server.engine.close();
            assert!(committer.join().unwrap().is_none());
        });
    }

    #[test]
    fn a_stalled_engine_can_be_closed() {
        let server = server(board());
        server.engine.stall();
        server.engine.close();
        assert_eq!(server.engine.enqueue(submit("b", "bob", 1)), Err(Error::Closed));
        assert!(server.engine.seal(Duration::ZERO, || 0).is_none());
    }

    #[test]
    fn the_last_board_that_fits_is_the_last() {
        let mut server = Server::limited(Limits { boards: 2, ..Limits::default() });
        let outcomes = server.ask_all(["a", "b", "c", "a"].map(|name| create(name, board())));
        assert!(outcomes[0].is_ok() && outcomes[1].is_ok() && outcomes[3].is_ok());
        assert_eq!(outcomes[2].as_ref().unwrap_err(), &Error::TooManyBoards(2));
        assert_eq!(error(server.ask(create("c", board()))), Error::TooManyBoards(2));
        server.ask(drop_board("a")).unwrap();
        server.ask(create("c", board())).unwrap();
    }

    #[test]
    fn a_dropped_board_makes_room_in_the_same_batch() {
        let mut server = Server::limited(Limits { boards: 1, ..Limits::default() });
        let commands = ["a", "b", "c"].map(|name| [create(name, board()), drop_board(name)]);
        let outcomes = server.ask_all(commands.into_iter().flatten());
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        server.ask(create("a", board())).unwrap();
        let outcomes = server.ask_all([drop_board("a"), create("b", board())]);
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        assert_eq!(server.engine.stats().boards, 1);
    }

    #[test]
    fn a_full_board_takes_moves_but_no_one_new() {
        let mut server = Server::limited(Limits { members: 2, ..Limits::default() });
        server.ask(create("b", board())).unwrap();
        server.ask(batch("b", &[("ada", 1), ("bob", 1)])).unwrap();
        assert_eq!(error(server.ask(submit("b", "cyd", 1))), Error::TooManyMembers(2));
        server.ask(submit("b", "ada", 2)).unwrap();
        let outcomes = server.ask_all([remove("b", "ada"), submit("b", "cyd", 1)]);
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }
}

mod boards {
    use super::*;

    #[test]
    fn creating_again_confirms_or_conflicts() {
        let mut server = Server::new();
        let other = BoardConfig { order: Order::Asc, ..board() };
        let outcomes = server.ask_all([
            create("b", board()),
            create("b", board()),
            create("b", other),
            create("-", board()),
        ]);
        assert!(matches!(outcomes[0], Ok(Outcome::Board { created: true, .. })));
        assert!(matches!(outcomes[1], Ok(Outcome::Board { created: false, .. })));
        assert_eq!(outcomes[2].as_ref().unwrap_err(), &Error::BoardConflict("b".into()));
        assert_eq!(outcomes[3].as_ref().unwrap_err(), &Error::BoardName);
        assert_eq!(error(server.ask(create("b", other))), Error::BoardConflict("b".into()));
        assert!(matches!(
            server.ask(create("b", board())),
            Ok(Outcome::Board { created: false, .. })
        ));
    }

    #[test]
    fn unknown_names_are_refused() {
        let mut server = server(board());
        let unknown = Error::UnknownBoard("c".into());
        for command in
            [drop_board("c"), submit("c", "ada", 1), batch("c", &[("ada", 1)]), remove("c", "ada")]
        {
            assert_eq!(error(server.ask(command)), unknown);
        }
        assert_eq!(error(server.engine.board("c")), unknown);
        assert_eq!(error(server.ask(remove("b", "ada"))), Error::UnknownMember("ada".into()));
        assert!(server.storage.journal[1..].is_empty());
    }

    /// Old members, their generations and the old id do not come back, and neither life's records
    /// reach the other.
    fn assert_lives_apart(drop_and_create: impl Fn(&mut Server)) {
        for checkpoints in 0..8 {
            let mut server = trio();
            server.ask(remove("b", "bob")).unwrap();
            if checkpoints & 1 != 0 {
                assert!(server.checkpoint());
            }
            let old = server.engine.board("b").unwrap();
            drop_and_create(&mut server);
            if checkpoints & 2 != 0 {
                assert!(server.checkpoint());
            }
            server.ask(submit("b", "bob", 1)).unwrap();
            if checkpoints & 4 != 0 {
                assert!(server.checkpoint());
            }
            let new = server.engine.board("b").unwrap();
            assert_ne!(old.id(), new.id());
            assert_ne!(old.seed(), new.seed());
            assert_eq!(old.load().len(), 2);
            assert_eq!(server.members("b"), ["bob", "eve"]);
            assert_eq!(server.engine.stats().members, 2);
            let live = server.page("b");
            server.restart();
            assert_eq!(server.page("b"), live);
            assert_eq!(server.engine.stats().members, 2);
            assert_eq!(server.engine.stats().boards, 1);
            server.checkpoint();
            assert!(server.storage.boards.keys().eq([&new.id()]));
        }
    }

    #[test]
    fn a_board_created_again_in_the_same_batch_is_another() {
        assert_lives_apart(|server| {
            let outcomes = server.ask_all([
                submit("b", "zoe", 90),
                drop_board("b"),
                create("b", BoardConfig { order: Order::Asc, ..board() }),
                submit("b", "dan", 5),
                drop_board("b"),
                create("b", BoardConfig { order: Order::Asc, ..board() }),
                submit("b", "eve", 5),
            ]);
            assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        });
    }

    #[test]
    fn a_board_created_again_later_is_another() {
        assert_lives_apart(|server| {
            server.ask(drop_board("b")).unwrap();
            assert!(server.engine.board("b").is_err());
            assert_eq!(error(server.ask(drop_board("b"))), Error::UnknownBoard("b".into()));
            let asc = BoardConfig { order: Order::Asc, ..board() };
            server.ask(create("b", asc)).unwrap();
            server.ask(submit("b", "eve", 5)).unwrap();
        });
    }

    #[test]
    fn a_board_that_lived_within_one_batch_leaves_nothing() {
        let mut server = Server::new();
        let outcomes =
            server.ask_all([create("b", board()), submit("b", "ada", 1), drop_board("b")]);
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        assert!(server.engine.board("b").is_err());
        assert_eq!(server.engine.stats().members, 0);
        assert_eq!(server.engine.stats().dirty_members, 0);
        server.restart();
        assert!(server.engine.board("b").is_err());
        assert_eq!(server.engine.stats().boards, 0);
        server.checkpoint();
        assert!(server.storage.boards.is_empty());
    }

    #[test]
    fn a_removed_member_starts_afresh() {
        for policy in [Policy::Best, Policy::Last, Policy::Sum] {
            let mut server = server(BoardConfig { policy, ..board() });
            server.ask(submit("b", "ada", 100)).unwrap();
            server.ask(remove("b", "ada")).unwrap();
            assert!(server.members("b").is_empty());
            assert_eq!(
                server.json(submit("b", "ada", 1)),
                r#"{"board":"b","member":"ada","score":1,"rank":1,"previous_score":null,"previous_rank":null,"changed":true,"version":3}"#
            );
            // The same within one batch, and after a restart from the journal and from rows.
            let outcomes = server.ask_all([remove("b", "ada"), submit("b", "ada", 2)]);
            assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
            let live = server.page("b");
            server.restart();
            assert_eq!(server.page("b"), live);
            server.checkpoint();
            server.ask_all([remove("b", "ada"), submit("b", "ada", 1)]);
            let live = server.page("b");
            assert!(live.contains(r#""score":1"#), "{live}");
            server.restart();
            assert_eq!(server.page("b"), live);
        }
    }
}

mod checkpoints {
    use super::*;
    use rankwire_engine::Recovery;
    use rankwire_engine::record::{BatchWriter, Record};

    #[test]
    fn a_checkpoint_has_what_changed_since_the_last_one() {
        let mut server = trio();
        server.ask(create("other", board())).unwrap();
        assert!(server.checkpoint());
        assert!(!server.checkpoint());
        server.ask_all([submit("b", "bob", 40), remove("b", "cyd"), submit("b", "ada", 1)]);
        let checkpoint = server.engine.checkpoint().unwrap();
        assert_eq!(checkpoint.vector, [(1, 4)]);
        assert!(checkpoint.dropped.is_empty());
        let [part] = &checkpoint.boards[..] else { panic!("{checkpoint:?}") };
        assert_eq!((part.board.name(), part.version(), part.len()), ("b", 5, 2));
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&part.rows(0, 10)).unwrap();
        let row = |member: &str| rows.iter().find(|row| row[0] == member).unwrap();
        // On a descending board the code of a score is its complement.
        let list = part.board.load();
        let stamp = list.get("bob").unwrap().stamp;
        assert_eq!(*row("bob"), serde_json::json!(["bob", 40, !40, stamp, 0]));
        assert_eq!(*row("cyd"), serde_json::json!(["cyd", null, null, null, 1]));
    }

    #[test]
    fn a_checkpoint_belongs_to_the_moment_it_was_taken() {
        let mut server = trio();
        let checkpoint = server.engine.checkpoint().unwrap();
        server.ask_all([remove("b", "ada"), submit("b", "bob", 50), drop_board("b")]);
        server.storage.store(&checkpoint);
        let engine = server.storage.recover_twice(9, Limits::default());
        assert!(engine.board("b").is_err());
        server.storage.journal.truncate(2);
        server.restart();
        assert_eq!(server.members("b"), ["ada", "bob", "cyd"]);
    }

    #[test]
    fn a_checkpoint_that_was_not_stored_comes_again_with_the_next() {
        let mut server = trio();
        server.ask(create("gone", board())).unwrap();
        server.ask(submit("gone", "ada", 1)).unwrap();
        let lost = server.engine.checkpoint().unwrap();
        assert_eq!(server.engine.stats().dirty_members, 0);
        server.ask_all([submit("b", "ada", 50), drop_board("gone")]);
        assert_eq!(server.engine.stats().dirty_members, 1);
        server.engine.restore_dirty(lost);
        assert_eq!(server.engine.stats().dirty_members, 3);

        let lost = server.engine.checkpoint().unwrap();
        assert_eq!(lost.dropped.len(), 1);
        server.engine.restore_dirty(lost);
        server.checkpoint();
        let live = server.page("b");
        server.storage.journal.clear();
        server.restart();
        assert_eq!(server.page("b"), live);
        assert!(server.engine.board("gone").is_err());
    }

    #[test]
    fn dropping_a_board_forgets_what_it_had_to_store() {
        let mut server = trio();
        assert_eq!(server.engine.stats().dirty_members, 3);
        server.ask(drop_board("b")).unwrap();
        let stats = server.engine.stats();
        assert_eq!((stats.dirty_members, stats.members, stats.boards), (0, 0, 0));
    }

    #[test]
    fn recovery_refuses_what_contradicts_itself() {
        let mut server = trio();
        server.checkpoint();
        let [(_, stored)] = Vec::from_iter(&server.storage.boards)[..] else { panic!() };
        let row = |member: &str| rankwire_engine::MemberRow {
            member: member.into(),
            key: Some((1, 1)),
            generation: 0,
        };
        let message = |reason| Error::Checkpoint { board: "b".into(), reason };
        let mut recovery = Recovery::new([], []);
        assert_eq!(
            recovery.board(&stored.row, vec![row("a"), row("a")]),
            Err(message("a member has two rows"))
        );
        let (longest, longer) = ("x".repeat(255), "x".repeat(256));
        assert_eq!(
            recovery.board(&stored.row, vec![row("a"), row(&longer)]),
            Err(message("a member's name is too long"))
        );
        recovery.board(&stored.row, vec![row("a"), row(&longest)]).unwrap();
        assert_eq!(
            recovery.board(&stored.row, vec![row("b")]),
            Err(message("the board has two rows"))
        );
    }

    #[test]
    fn a_journal_is_read_on_from_the_vector_and_without_gaps() {
        let server = trio();
        let (origin, number, bytes) = server.storage.journal[1].clone();
        let stopped = |stop| Ok(Applied { count: 0, stop: Some(stop) });
        let all = Ok(Applied { count: 1, stop: None });

        let engine = Recovery::new([], []).finish(9, Limits::default(), false);
        assert_eq!(engine.apply(&[(origin, number, &bytes)], false), stopped(Stop::Gap));
        assert_eq!(engine.apply(&[(origin, number, &bytes)], true), stopped(Stop::Gap));
        assert_eq!(engine.vector(), []);

        let engine = Recovery::new([(origin, number - 1)], []).finish(9, Limits::default(), false);
        assert_eq!(
            engine.apply(&[(origin, number, &bytes[1..])], false),
            Err(Error::Journal { origin, number, reason: "checksum mismatch" })
        );
        assert_eq!(engine.apply(&[(origin, number, &bytes)], false), stopped(Stop::Board));
        assert_eq!(engine.vector(), [(origin, number - 1)]);
        assert_eq!(engine.apply(&[(origin, number, &bytes)], true), all);
        assert_eq!(engine.vector(), [(origin, number)]);
        assert_eq!(engine.apply(&[(origin, number, b"seen and not read")], false), all);
        assert_eq!(engine.stats().boards, 0);
    }

    /// However often and late other origins tell of it.
    #[test]
    fn a_board_begins_once_and_ends_for_good() {
        let create = Record::Create { board: 5, name: "b", config: board(), seed: [0; 16] };
        let (member, bits, stamp, generation) = ("ada", 1, 1, 0);
        let score = Record::Score { board: 5, member, bits, stamp, generation };
        let end = Record::Drop { board: 5 };
        for (records, counts) in
            [(&[&create, &score, &create][..], (1, 1)), (&[&create, &end, &create, &score], (0, 0))]
        {
            let journal: Vec<_> =
                (1..).zip(records).map(|(origin, record)| alone(origin, record)).collect();
            let (at_once, one_by_one) = (Storage::default(), Storage::default());
            let at_once = at_once.replay(9, Limits::default());
            let one_by_one = one_by_one.replay(9, Limits::default());
            support::apply(&at_once, &journal);
            for batch in &journal {
                support::apply(&one_by_one, [batch]);
            }
            for engine in [at_once, one_by_one] {
                assert_eq!((engine.stats().boards, engine.stats().members), counts);
                assert_eq!(engine.stats().applied_records_total, journal.len() as u64);
            }
        }
    }

    /// The first batch of an origin, with one record.
    fn alone(origin: u64, record: &Record<'_>) -> (u64, u64, Vec<u8>) {
        let mut batch = BatchWriter::default();
        batch.push(record);
        (origin, 1, batch.finish(origin, 1))
    }

    #[test]
    fn ties_survive_restarts_while_the_wall_clock_is_behind() {
        for checkpoint in [false, true] {
            let mut server = server(board());
            server.ask(submit("b", "zoe", 10)).unwrap();
            for (member, behind_ms) in [("yan", 0), ("xia", 3_600_000), ("wim", 1)] {
                if checkpoint {
                    server.checkpoint();
                }
                server.restart();
                server.now_ms = support::START_MS - behind_ms;
                server.ask(submit("b", member, 10)).unwrap();
            }
            assert_eq!(server.members("b"), ["zoe", "yan", "xia", "wim"]);
        }
    }
}

mod semantics {
    use super::*;

    fn at(member: &str, score: f64, at_ms: i64) -> Command {
        let at_ms = Some(support::START_MS + at_ms);
        Command::Submit { board: "b".into(), submit: item(member, Score::Float(score), at_ms) }
    }

    #[test]
    fn best_keeps_the_better_score_and_the_earlier_time() {
        let mut server = server(board());
        server.ask_all([at("ada", 5.0, 10), at("bob", 5.0, 5), at("ada", 4.0, 0)]);
        assert_eq!(server.members("b"), ["bob", "ada"]);
        server.ask(at("ada", 5.0, 1)).unwrap();
        assert_eq!(server.members("b"), ["ada", "bob"]);
        server.ask(at("ada", 5.0, 20)).unwrap();
        assert_eq!(server.members("b"), ["ada", "bob"]);
    }

    #[test]
    fn last_keeps_the_later_time() {
        let mut server = server(BoardConfig { policy: Policy::Last, ..board() });
        server.ask_all([at("ada", 5.0, 10), at("ada", 9.0, 9)]);
        assert_eq!(server.members("b"), ["ada"]);
        let receipt = server.json(at("ada", 1.0, 11));
        assert!(receipt.contains(r#""score":1,"rank":1,"previous_score":5"#), "{receipt}");
        let receipt = server.json(at("ada", 2.0, 11));
        assert!(receipt.contains(r#""score":2,"#), "{receipt}");
        let receipt = server.json(at("ada", 1.0, 11));
        assert!(receipt.contains(r#""score":2,"#), "{receipt}");
    }

    #[test]
    fn sum_adds_and_zero_costs_no_place() {
        let mut server = server(BoardConfig { policy: Policy::Sum, ..board() });
        server.ask_all([at("ada", 5.0, 0), at("bob", 5.0, 1), at("ada", 0.0, 2)]);
        assert_eq!(server.members("b"), ["ada", "bob"]);
        server.ask_all([at("ada", -2.0, 3), at("ada", 2.0, 0)]);
        assert_eq!(server.members("b"), ["bob", "ada"]);
    }

    #[test]
    fn equal_scores_rank_as_the_board_says() {
        for (ties, expected) in [
            (TieBreak::First, ["cyd", "ada", "bob"]),
            (TieBreak::Last, ["ada", "bob", "cyd"]),
            (TieBreak::Member, ["ada", "bob", "cyd"]),
        ] {
            let mut server = server(BoardConfig { ties, ..board() });
            server.ask_all([at("bob", 1.0, 5), at("ada", 1.0, 5), at("cyd", 1.0, 4)]);
            assert_eq!(server.members("b"), expected);
        }
    }
}

mod json {
    use super::*;

    const FLOATS: BoardConfig = BoardConfig {
        score: ScoreType::Float64,
        order: Order::Asc,
        policy: Policy::Last,
        ties: TieBreak::Member,
        player_submits: true,
    };

    #[test]
    fn receipts() {
        let mut server = server(board());
        assert_eq!(
            server.json(submit("b", "ada", -5)),
            r#"{"board":"b","member":"ada","score":-5,"rank":1,"previous_score":null,"previous_rank":null,"changed":true,"version":1}"#
        );
        server.ask(submit("b", "bob", 7)).unwrap();
        assert_eq!(
            server.json(submit("b", "ada", 8)),
            r#"{"board":"b","member":"ada","score":8,"rank":1,"previous_score":-5,"previous_rank":2,"changed":true,"version":3}"#
        );
        assert_eq!(
            server.json(submit("b", "bob", 6)),
            r#"{"board":"b","member":"bob","score":7,"rank":2,"previous_score":7,"previous_rank":2,"changed":false,"version":3}"#
        );
        assert_eq!(
            server.json(batch("b", &[("bob", 9), ("ada", 1), ("cyd", 1)])),
            r#"{"board":"b","submitted":3,"changed":2,"version":5}"#
        );
        assert_eq!(server.json(remove("b", "cyd")), "");
        assert_eq!(server.json(drop_board("b")), "");
    }

    #[test]
    fn receipts_of_floats_in_ascending_order() {
        let mut server = server(FLOATS);
        let mut ask = |member: &str, score| {
            let submit = item(member, score, None);
            server.json(Command::Submit { board: "b".into(), submit })
        };
        assert_eq!(
            ask("\"q\" José", Score::Float(0.1)),
            r#"{"board":"b","member":"\"q\" José","score":0.1,"rank":1,"previous_score":null,"previous_rank":null,"changed":true,"version":1}"#
        );
        assert_eq!(
            ask("bob", Score::Int(-2)),
            r#"{"board":"b","member":"bob","score":-2.0,"rank":1,"previous_score":null,"previous_rank":null,"changed":true,"version":2}"#
        );
        assert_eq!(
            ask("bob", Score::Float(-0.0)),
            r#"{"board":"b","member":"bob","score":0.0,"rank":1,"previous_score":-2.0,"previous_rank":1,"changed":true,"version":3}"#
        );
    }

    #[test]
    fn pages_and_neighbours() {
        let server = trio();
        let board = server.engine.board("b").unwrap();
        let list = board.load();
        let ada = r#"{"rank":1,"member":"ada","score":30}"#;
        let bob = r#"{"rank":2,"member":"bob","score":20}"#;
        let cyd = r#"{"rank":3,"member":"cyd","score":20}"#;
        let page = |rows: &[&str]| {
            format!(r#"{{"board":"b","version":3,"total":3,"entries":[{}]}}"#, rows.join(","))
        };
        for (offset, limit, rows) in [
            (0, 2, &[ada, bob][..]),
            (1, 1, &[bob]),
            (2, 9, &[cyd]),
            (3, 9, &[]),
            (u64::MAX, usize::MAX, &[]),
            (0, 0, &[]),
        ] {
            assert_eq!(text(answer::page(&board, &list, offset, limit)), page(rows));
            let (version, json) = board.page(offset, limit);
            assert_eq!((version, text(json.to_vec())), (3, page(rows)));
        }
        let around = |member, radius| answer::around(&board, &list, member, radius).map(text);
        assert_eq!(around("ada", 1), Ok(page(&[ada, bob])));
        assert_eq!(around("bob", 0), Ok(page(&[bob])));
        assert_eq!(around("bob", usize::MAX), Ok(page(&[ada, bob, cyd])));
        assert_eq!(around("dan", 1), Err(Error::UnknownMember("dan".into())));
    }

    #[test]
    fn standings() {
        let server = trio();
        let board = server.engine.board("b").unwrap();
        let list = board.load();
        assert_eq!(
            answer::standing(&board, &list, "bob").map(text),
            Ok(r#"{"board":"b","version":3,"member":"bob","score":20,"rank":2,"total":3}"#.into())
        );
        assert_eq!(answer::standing(&board, &list, "dan"), Err(Error::UnknownMember("dan".into())));
        let friends = ["zoe", "cyd", "ada", "dan", "cyd", "zoe"].map(String::from);
        assert_eq!(
            text(answer::standings(&board, &list, &friends)),
            r#"{"board":"b","version":3,"total":3,"entries":[{"rank":1,"member":"ada","score":30},{"rank":3,"member":"cyd","score":20}],"missing":["dan","zoe"]}"#
        );
        assert_eq!(
            text(answer::standings(&board, &list, &[])),
            r#"{"board":"b","version":3,"total":3,"entries":[],"missing":[]}"#
        );
    }

    #[test]
    fn counts() {
        for (order, score) in [
            (Order::Desc, ScoreType::Int64),
            (Order::Asc, ScoreType::Int64),
            (Order::Desc, ScoreType::Float64),
            (Order::Asc, ScoreType::Float64),
        ] {
            let mut server = server(BoardConfig { order, score, ..board() });
            server.ask(batch("b", &[("ada", 30), ("bob", 20), ("cyd", 20), ("dan", -1)])).unwrap();
            let board = server.engine.board("b").unwrap();
            let count = |min: Option<i64>, max: Option<i64>| {
                let list = board.load();
                let (min, max) = (min.map(Score::Int), max.map(Score::Int));
                text(answer::count(&board, &list, min, max).unwrap())
            };
            let expected =
                |count| format!(r#"{{"board":"b","version":4,"count":{count},"total":4}}"#);
            assert_eq!(count(None, None), expected(4));
            assert_eq!(count(Some(20), None), expected(3));
            assert_eq!(count(None, Some(20)), expected(3));
            assert_eq!(count(Some(20), Some(20)), expected(2));
            assert_eq!(count(Some(21), Some(29)), expected(0));
            assert_eq!(count(Some(30), Some(20)), expected(0));
        }
        let server = trio();
        let board = server.engine.board("b").unwrap();
        let half = answer::count(&board, &board.load(), Some(Score::Float(0.5)), None);
        assert_eq!(half, Err(Error::Score("a score on this board is an integer")));
    }

    #[test]
    fn descriptions() {
        let mut server = trio();
        server.ask(create("a.2", FLOATS)).unwrap();
        let b = r#"{"board":"b","score":"int64","order":"desc","policy":"best","ties":"first","player_submits":false,"version":3,"total":3}"#;
        let a = r#"{"board":"a.2","score":"float64","order":"asc","policy":"last","ties":"member","player_submits":true,"version":0,"total":0}"#;
        assert_eq!(text(answer::description(&server.engine.board("b").unwrap())), b);
        assert_eq!(server.json(create("a.2", FLOATS)), a);
        assert_eq!(
            text(server.engine.boards("", 10)),
            format!(r#"{{"boards":[{a},{b}],"next":null}}"#)
        );
    }

    #[test]
    fn board_pages_meet_every_board_once() {
        let mut server = Server::new();
        let mut names: Vec<_> = (0..23).map(|i| format!("board-{i}")).collect();
        server.ask_all(names.iter().map(|name| create(name, board())));
        names.sort_unstable();
        for limit in [1, 2, 22, 23, 24, usize::MAX] {
            let (mut seen, mut after) = (Vec::new(), String::new());
            loop {
                let json = server.engine.boards(&after, limit);
                let page: serde_json::Value = serde_json::from_slice(&json).unwrap();
                let boards = page["boards"].as_array().unwrap();
                assert!(boards.len() <= limit);
                seen.extend(boards.iter().map(|b| b["board"].as_str().unwrap().to_owned()));
                let Some(next) = page["next"].as_str() else { break };
                assert_eq!(Some(next), seen.last().map(String::as_str));
                after = next.to_owned();
            }
            assert_eq!(seen, names);
        }
    }

    #[test]
    fn a_kept_page_is_never_an_old_one() {
        let mut server = trio();
        let board = server.engine.board("b").unwrap();
        let fresh = |limit| answer::page(&board, &board.load(), 0, limit);
        let kept = |limit| board.page(0, limit).1.to_vec();
        for score in 31..40 {
            for limit in [2, 2, 3, 2, 0] {
                assert_eq!(text(kept(limit)), text(fresh(limit)));
                assert_eq!(
                    text(board.page(1, limit).1.to_vec()),
                    text(answer::page(&board, &board.load(), 1, limit))
                );
            }
            let sealed = server.seal([submit("b", "bob", 1_000 + score)]);
            server.engine.abort(sealed);
            assert_eq!(text(kept(2)), text(fresh(2)));
            server.ask(submit("b", "cyd", score)).unwrap();
            assert_eq!(text(kept(2)), text(fresh(2)));
        }
        // Another life of the board has a page of its own, whatever its version.
        let outcomes = server.ask_all([
            drop_board("b"),
            create("b", BoardConfig::default()),
            submit("b", "eve", 1),
        ]);
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        assert_eq!(
            server.page("b"),
            r#"{"board":"b","version":1,"total":1,"entries":[{"rank":1,"member":"eve","score":1}]}"#
        );
    }
}

#[test]
fn receipts_are_send_so_that_any_thread_may_answer() {
    fn assert_send<T: Send + Sync>() {}
    assert_send::<Outcome>();
    assert_send::<BatchReceipt>();
    assert_send::<rankwire_engine::Engine>();
    assert_send::<rankwire_engine::Sealed>();
}
