//! Random histories: after every commit, checkpoint and restart the engine holds what the model
//! holds, and so does everything that can be put together from storage.
#![allow(clippy::unwrap_used, reason = "a test that finds nothing to unwrap fails, as it should")]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use rankwire_engine::{
    BoardConfig, Checkpoint, Command, Engine, Error, Limits, Order, Outcome, Policy, Score,
    ScoreType, Submit, TieBreak, answer,
};
use support::model::{MAX_BOARDS, MAX_MEMBERS, Model, Time};
use support::{START_MS, Server, Storage, drop_board, item, remove, text};

const LIMITS: Limits = Limits { pending_ops: 1_000, boards: MAX_BOARDS, members: MAX_MEMBERS };

const BOARDS: [&str; 4] = ["a", "b", "c", "d"];
const MEMBERS: [&str; 7] = ["m", "m1", "m2", "m3", "é", "\"", "Z"];

#[derive(Debug, Clone)]
enum Step {
    Batch { now_ms: i64, commands: Vec<Command>, fate: Fate },
    TakeCheckpoint,
    StoreCheckpoint,
    LoseCheckpoint,
    Restart,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Commit,
    Abort,
    /// Everyone is told that the batch is not committed before it turns out which it is.
    RefuseAndCommit,
    RefuseAndAbort,
}

fn config() -> impl Strategy<Value = BoardConfig> {
    (
        select(&[ScoreType::Int64, ScoreType::Float64][..]),
        select(&[Order::Desc, Order::Asc][..]),
        select(&[Policy::Best, Policy::Last, Policy::Sum][..]),
        select(&[TieBreak::First, TieBreak::Last, TieBreak::Member][..]),
        any::<bool>(),
    )
        .prop_map(|(score, order, policy, ties, player_submits)| BoardConfig {
            score,
            order,
            policy,
            ties,
            player_submits,
        })
}

/// Mostly a few whole numbers and halves; now and then the ends of the ranges or no score at all.
fn score() -> impl Strategy<Value = Score> {
    prop_oneof![
        20 => (-1..=2_i64).prop_map(Score::Int),
        6 => select(&[-1.0, -0.0, 0.5, 1.0, 1.5][..]).prop_map(Score::Float),
        1 => select(&[i64::MIN, i64::MAX][..]).prop_map(Score::Int),
        1 => select(&[f64::MIN, f64::MAX, f64::NAN][..]).prop_map(Score::Float),
    ]
}

/// Mostly now; otherwise one of few times, some of them at the edge of what is allowed.
fn time() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        4 => Just(None),
        3 => (0..4_i64).prop_map(|ms| Some(START_MS + ms)),
        1 => (60_000..60_004_i64).prop_map(|ms| Some(START_MS + ms)),
    ]
}

fn submission() -> impl Strategy<Value = Submit> {
    let member = prop_oneof![60 => select(&MEMBERS[..]), 1 => Just("")];
    (member, score(), time()).prop_map(|(member, score, at_ms)| item(member, score, at_ms))
}

fn command() -> impl Strategy<Value = Command> {
    let board = || select(&BOARDS[..]).prop_map(String::from);
    let batch = prop::collection::vec(submission(), 0..6);
    prop_oneof![
        12 => (board(), submission())
            .prop_map(|(board, submit)| Command::Submit { board, submit }),
        3 => (board(), batch).prop_map(|(board, submits)| Command::Batch { board, submits }),
        4 => (board(), select(&MEMBERS[..])).prop_map(|(board, member)| remove(&board, member)),
        1 => board().prop_map(|board| drop_board(&board)),
        2 => (board(), config())
            .prop_map(|(board, config)| Command::Create { board, config }),
        1 => board().prop_map(|board| Command::Create { board, config: BoardConfig::default() }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        12 => Just(Fate::Commit),
        2 => Just(Fate::Abort),
        1 => Just(Fate::RefuseAndCommit),
        1 => Just(Fate::RefuseAndAbort),
    ];
    prop_oneof![
        10 => (0..4_i64, prop::collection::vec(command(), 0..6), fate).prop_map(
            |(ms, commands, fate)| Step::Batch { now_ms: START_MS + ms, commands, fate }
        ),
        2 => Just(Step::TakeCheckpoint),
        2 => Just(Step::StoreCheckpoint),
        1 => Just(Step::LoseCheckpoint),
        2 => Just(Step::Restart),
    ]
}

/// An engine and its model, side by side.
struct Pair {
    server: Server,
    model: Model,
    pending: Option<Checkpoint>,
}

impl Pair {
    fn new() -> Self {
        Self { server: Server::limited(LIMITS), model: Model::new(), pending: None }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Batch { now_ms, commands, fate } => self.batch(*now_ms, commands, *fate),
            Step::TakeCheckpoint => {
                if self.pending.is_none() {
                    self.pending = self.server.engine.checkpoint();
                    if self.pending.is_some() {
                        self.model.take();
                    }
                }
            }
            Step::StoreCheckpoint => self.store(),
            Step::LoseCheckpoint => {
                if let Some(checkpoint) = self.pending.take() {
                    self.server.engine.restore_dirty(checkpoint);
                    self.model.lose();
                }
            }
            Step::Restart => {
                self.pending = None;
                self.model.restart();
                self.server.restart();
                self.assert_storage_agrees();
            }
        }
        self.assert_reads_like_the_model();
    }

    fn batch(&mut self, now_ms: i64, commands: &[Command], fate: Fate) {
        let (expected, state) = self.model.batch(now_ms, commands);
        self.server.now_ms = now_ms;
        let mut sealed = self.server.seal(commands.iter().cloned());
        let mut replies = match fate {
            Fate::RefuseAndCommit | Fate::RefuseAndAbort => sealed.refuse(),
            Fate::Commit | Fate::Abort => Vec::new(),
        };
        if matches!(fate, Fate::Commit | Fate::RefuseAndCommit) {
            self.model.state = state;
            replies.extend(self.server.commit(sealed));
        } else {
            replies.extend(self.server.engine.abort(sealed));
        }
        assert_eq!(replies.len(), expected.len());
        for (reply, expected) in replies.into_iter().zip(expected) {
            let expected = if fate == Fate::Commit {
                expected
            } else {
                expected.and(Err(Error::NotCommitted))
            };
            assert_eq!(reply.outcome.map(told).map_err(plain), expected.map_err(plain));
        }
    }

    /// Storage must then hold the boards as they were when the checkpoint was taken.
    fn store(&mut self) {
        let Some(checkpoint) = self.pending.take() else { return };
        let expected = self.model.store();
        self.server.storage.store(&checkpoint);
        let stored = self.server.storage.boards.values();
        let stored: BTreeMap<_, _> = stored.map(|board| (board.row.name.clone(), board)).collect();
        assert!(stored.keys().eq(expected.keys()));
        for (name, board) in &expected {
            let (row, members) = (&stored[name].row, &stored[name].members);
            assert_eq!((row.config, row.version), (board.config, board.version));
            let known = board.members.keys().chain(board.removals.keys());
            let rows: BTreeMap<_, _> = known
                .map(|member| {
                    let removals = board.removals.get(member).copied().unwrap_or(0);
                    (member.clone(), (board.members.get(member).copied(), removals))
                })
                .collect();
            let key = |(score, _, stamp): (Score, i64, i64)| {
                (score, Time::of_stamp(stamp.cast_unsigned()))
            };
            let members: BTreeMap<_, _> = members
                .iter()
                .map(|(member, (stored, removals))| (member.clone(), (stored.map(key), *removals)))
                .collect();
            assert_eq!(members, rows, "{name}");
        }
    }

    /// Whatever way storage is read, it gives the engine that runs.
    fn assert_storage_agrees(&self) {
        let storage = &self.server.storage;
        let live = contents(&self.server.engine);
        for recover in [Storage::recover, Storage::recover_twice, Storage::replay] {
            assert_eq!(contents(&recover(storage, u64::MAX, LIMITS)), live);
        }
    }

    fn assert_reads_like_the_model(&self) {
        let Self { server, model, .. } = self;
        let stats = server.engine.stats();
        assert_eq!(stats.boards, model.state.boards.len() as u64);
        assert_eq!(stats.members, model.members() as u64);
        assert_eq!(stats.dirty_members, model.dirty() as u64);
        for name in BOARDS {
            let Some(expected) = model.state.boards.get(name) else {
                assert!(server.engine.board(name).is_err());
                continue;
            };
            let board = server.engine.board(name).unwrap();
            let list = board.load();
            assert_eq!(board.config(), expected.config);
            assert_eq!(server.page(name), expected.page(name, 1, 100));
            let entries: Vec<_> = list
                .iter()
                .map(|e| (e.member, board.score(e.key), Time::of_stamp(e.key.stamp)))
                .collect();
            assert_eq!(entries, expected.ranked());
            for member in MEMBERS {
                let standing = answer::standing(&board, &list, member).ok().map(text);
                assert_eq!(standing, expected.standing(name, member));
                let around = answer::around(&board, &list, member, 1).ok().map(text);
                let page = expected.rank(member).map(|r| expected.page(name, r.max(2) - 1, r + 1));
                assert_eq!(around, page);
            }
            for (min, max) in [(-1, 1), (0, 0), (1, i64::MAX), (2, 1)] {
                let bounds = (Some(Score::Int(min)), Some(Score::Int(max)));
                let count = list.count(board.codes(bounds.0, bounds.1).unwrap());
                assert_eq!(count, expected.count(min, max) as u64, "{min} to {max}");
            }
        }
    }
}

/// Everything there is to see of every board, down to the stamps.
fn contents(engine: &Engine) -> Vec<String> {
    let boards = BOARDS.into_iter().filter_map(|name| engine.board(name).ok());
    boards
        .map(|board| {
            let (id, seed, page) = (board.id(), board.seed(), support::page(engine, board.name()));
            let keys: Vec<_> = board.load().iter().map(|entry| entry.key).collect();
            format!("{id} {seed:?} {page} {keys:?}")
        })
        .collect()
}

/// What a caller is told; of boards only whether they are new.
fn told(outcome: Outcome) -> String {
    match outcome {
        Outcome::Board { created: true, .. } => "new board".into(),
        Outcome::Board { created: false, .. } => "board".into(),
        outcome => support::json(&outcome),
    }
}

/// The error without its wording.
fn plain(error: Error) -> Error {
    match error {
        Error::Score(_) => Error::Score(""),
        Error::At(_) => Error::At(""),
        Error::Item { index, error } => Error::Item { index, error: Box::new(plain(*error)) },
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn histories_go_as_the_model_says(
        configs in prop::array::uniform3(config()),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut pair = Pair::new();
        let create = |(board, config)| support::create(board, config);
        let commands = BOARDS.into_iter().zip(configs).map(create).collect();
        pair.run(&Step::Batch { now_ms: START_MS, commands, fate: Fate::Commit });
        for step in &steps {
            pair.run(step);
        }
        for step in [Step::Restart, Step::TakeCheckpoint, Step::StoreCheckpoint, Step::Restart] {
            pair.run(&step);
        }
    }

    /// On a board where the first wins, restarts and clocks that go back never let a later submit
    /// in front of an earlier one.
    #[test]
    fn first_come_first(
        steps in prop::collection::vec((0..30_i64, prop::bool::ANY, prop::bool::ANY), 1..20),
    ) {
        let mut server = Server::new();
        server.ask(support::create("b", BoardConfig::default())).unwrap();
        let mut names = Vec::new();
        for (place, (behind_ms, checkpoint, restart)) in (0..).zip(steps) {
            // Names that would rank the other way round.
            names.push(format!("m{:02}", 99 - place));
            server.now_ms = START_MS - behind_ms;
            server.ask(support::submit("b", &names[place], 7)).unwrap();
            if checkpoint {
                server.checkpoint();
            }
            if restart {
                server.restart();
            }
            prop_assert_eq!(server.members("b"), names.clone());
        }
    }
}
