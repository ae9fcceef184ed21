//! A server in miniature: an engine, storage in memory and a clock that stands still.
#![allow(dead_code, reason = "every test file uses another part")]
#![allow(clippy::unwrap_used, reason = "a test that finds nothing to unwrap fails, as it should")]

pub(crate) mod cluster;
pub(crate) mod model;
pub(crate) mod regions;
pub(crate) mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rankwire_engine::{
    Applied, Board, BoardConfig, BoardRow, Checkpoint, Command, Engine, Error, Limits, MemberRow,
    Outcome, Recovery, Reply, Score, Sealed, Submit, Ticket,
};
use serde_json::Value;

/// When the clock starts, in milliseconds since 1970.
pub(crate) const START_MS: i64 = 1_700_000_000_000;

/// What a member row of the storage holds: the row's JSON after the member.
pub(crate) type StoredMember = (Option<(Score, i64, i64)>, u32);

#[derive(Debug, Clone)]
pub(crate) struct StoredBoard {
    pub(crate) row: BoardRow,
    pub(crate) members: BTreeMap<String, StoredMember>,
}

/// A journal and the tables of the last checkpoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct Storage {
    pub(crate) journal: Vec<(u64, u64, Vec<u8>)>,
    pub(crate) vector: Vec<(u64, u64)>,
    pub(crate) boards: BTreeMap<u64, StoredBoard>,
    pub(crate) gone: BTreeSet<u64>,
}

impl Storage {
    pub(crate) fn append(&mut self, origin: u64, sealed: &Sealed) {
        if !sealed.bytes.is_empty() {
            self.journal.push((origin, sealed.number, sealed.bytes.clone()));
        }
    }

    /// Writes a checkpoint into the tables, some rows at a time.
    pub(crate) fn store(&mut self, checkpoint: &Checkpoint) {
        for id in &checkpoint.dropped {
            self.boards.remove(id);
            self.gone.insert(*id);
        }
        for part in &checkpoint.boards {
            let board = &part.board;
            let row = BoardRow {
                id: board.id(),
                name: board.name().into(),
                config: board.config(),
                seed: board.seed(),
                version: part.version(),
            };
            let fresh = || StoredBoard { row: row.clone(), members: BTreeMap::new() };
            let stored = self.boards.entry(row.id).or_insert_with(fresh);
            stored.row = row;
            let mut count = 0;
            for from in (0..).step_by(3).take_while(|from| *from < part.len()) {
                let rows: Vec<Value> = serde_json::from_slice(&part.rows(from, 3)).unwrap();
                assert_eq!(rows.len(), 3.min(part.len() - from));
                count += rows.len();
                stored.members.extend(rows.iter().map(|row| read_row(board, row)));
            }
            assert_eq!(count, part.len());
            assert_eq!(part.is_empty(), count == 0);
            assert_eq!(part.rows(part.len(), 3), b"[]");
        }
        self.vector.clone_from(&checkpoint.vector);
    }

    /// From the tables and the journal's tail.
    pub(crate) fn recover(&self, origin: u64, limits: Limits) -> Engine {
        let engine = self.load().finish(origin, limits, false);
        let seen: BTreeMap<_, _> = self.vector.iter().copied().collect();
        let is_new =
            |batch: &&(u64, u64, Vec<u8>)| batch.1 > seen.get(&batch.0).copied().unwrap_or(0);
        apply(&engine, self.journal.iter().filter(is_new));
        engine
    }

    /// From the tables and the whole journal, every batch twice.
    pub(crate) fn recover_twice(&self, origin: u64, limits: Limits) -> Engine {
        let engine = self.load().finish(origin, limits, false);
        for batch in &self.journal {
            apply(&engine, [batch, batch]);
        }
        apply(&engine, &self.journal);
        engine
    }

    /// From the journal alone.
    pub(crate) fn replay(&self, origin: u64, limits: Limits) -> Engine {
        let engine = Recovery::new([], []).finish(origin, limits, false);
        apply(&engine, &self.journal);
        engine
    }

    /// The tables, with nothing of the journal.
    pub(crate) fn load(&self) -> Recovery {
        let mut recovery = Recovery::new(self.vector.iter().copied(), self.gone.iter().copied());
        for StoredBoard { row, members } in self.boards.values() {
            let member_row = |(member, (key, generation)): (&String, &StoredMember)| MemberRow {
                member: member.clone(),
                key: key.map(|(_, code, stamp)| (code, stamp)),
                generation: *generation,
            };
            recovery.board(row, members.iter().map(member_row)).unwrap();
        }
        recovery
    }
}

/// Takes a checkpoint, which must have as many members as the engine counts.
pub(crate) fn take_checkpoint(engine: &Engine) -> Option<Checkpoint> {
    let counted = engine.stats().dirty_members;
    let checkpoint = engine.checkpoint();
    let boards = checkpoint.iter().flat_map(|checkpoint| &checkpoint.boards);
    assert_eq!(boards.map(|part| part.len() as u64).sum::<u64>(), counted);
    assert_eq!(engine.stats().dirty_members, 0);
    checkpoint
}

/// Applies batches as a storage gives them, each after what it builds on, in one go.
#[expect(single_use_lifetimes, reason = "an argument's `impl Trait` takes no anonymous one")]
pub(crate) fn apply<'a>(
    engine: &Engine,
    batches: impl IntoIterator<Item = &'a (u64, u64, Vec<u8>)>,
) {
    let batches: Vec<_> = batches.into_iter().map(|(o, n, bytes)| (*o, *n, &bytes[..])).collect();
    let applied = engine.apply(&batches, true).unwrap();
    assert_eq!(applied, Applied { count: batches.len(), stop: None });
}

/// Reads `[member, score, code, stamp, generation]` and checks that code and score agree.
fn read_row(board: &Board, row: &Value) -> (String, StoredMember) {
    let fields = row.as_array().unwrap();
    assert_eq!(fields.len(), 5);
    let generation = fields[4].as_u64().unwrap().try_into().unwrap();
    let key = fields[2].as_i64().zip(fields[3].as_i64()).map(|(code, stamp)| {
        let config = board.config();
        let unsigned = code.cast_unsigned() ^ 1 << 63;
        let score = Score::from_code(unsigned, config.score, config.order);
        assert_eq!(fields[1], serde_json::to_value(score).unwrap());
        (score, code, stamp)
    });
    if key.is_none() {
        assert_eq!(fields[1..4], [Value::Null, Value::Null, Value::Null]);
    }
    (fields[0].as_str().unwrap().to_owned(), (key, generation))
}

/// An engine with its storage; every start has another origin.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) storage: Storage,
    pub(crate) engine: Engine,
    pub(crate) now_ms: i64,
    limits: Limits,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self::limited(Limits::default())
    }

    pub(crate) fn limited(limits: Limits) -> Self {
        let storage = Storage::default();
        let engine = storage.recover(1, limits);
        Self { storage, engine, now_ms: START_MS, limits }
    }

    /// Forgets everything that is not in storage.
    pub(crate) fn restart(&mut self) {
        self.engine = self.storage.recover(self.engine.origin() + 1, self.limits);
    }

    /// Queues the commands and seals one batch.
    pub(crate) fn seal(&self, commands: impl IntoIterator<Item = Command>) -> Sealed {
        for command in commands {
            self.engine.enqueue(command).unwrap();
        }
        self.engine.seal(Duration::ZERO, || self.now_ms).unwrap()
    }

    /// Journals a batch and publishes it.
    pub(crate) fn commit(&mut self, sealed: Sealed) -> Vec<Reply> {
        self.storage.append(self.engine.origin(), &sealed);
        self.engine.commit(sealed)
    }

    /// What becomes of the commands, in one batch.
    pub(crate) fn ask_all(
        &mut self,
        commands: impl IntoIterator<Item = Command>,
    ) -> Vec<Result<Outcome, Error>> {
        let sealed = self.seal(commands);
        self.commit(sealed).into_iter().map(|reply| reply.outcome).collect()
    }

    /// What becomes of a command that is alone in its batch.
    pub(crate) fn ask(&mut self, command: Command) -> Result<Outcome, Error> {
        self.ask_all([command]).pop().unwrap()
    }

    /// The JSON of a command that succeeds alone in its batch.
    pub(crate) fn json(&mut self, command: Command) -> String {
        json(&self.ask(command).unwrap())
    }

    /// Takes a checkpoint and stores it; whether there was anything to store.
    pub(crate) fn checkpoint(&mut self) -> bool {
        let checkpoint = take_checkpoint(&self.engine);
        if let Some(checkpoint) = &checkpoint {
            self.storage.store(checkpoint);
        }
        checkpoint.is_some()
    }

    /// The first page of a board.
    pub(crate) fn page(&self, board: &str) -> String {
        page(&self.engine, board)
    }

    /// The members of a board in rank order.
    pub(crate) fn members(&self, board: &str) -> Vec<String> {
        let board = self.engine.board(board).unwrap();
        board.load().iter().map(|entry| entry.member.to_owned()).collect()
    }
}

pub(crate) fn page(engine: &Engine, board: &str) -> String {
    text(engine.board(board).unwrap().page(0, 100).1.to_vec())
}

/// The JSON of an outcome, which is appended to what is there.
pub(crate) fn json(outcome: &Outcome) -> String {
    let mut out = b"before".to_vec();
    outcome.write_json(&mut out);
    text(out).strip_prefix("before").unwrap().to_owned()
}

pub(crate) fn text(json: Vec<u8>) -> String {
    String::from_utf8(json).unwrap()
}

pub(crate) fn tickets(replies: &[Reply]) -> Vec<Ticket> {
    replies.iter().map(|reply| reply.ticket).collect()
}

pub(crate) fn create(board: &str, config: BoardConfig) -> Command {
    Command::Create { board: board.into(), config }
}

pub(crate) fn drop_board(board: &str) -> Command {
    Command::Drop { board: board.into() }
}

pub(crate) fn remove(board: &str, member: &str) -> Command {
    Command::Remove { board: board.into(), member: member.into() }
}

pub(crate) fn item(member: &str, score: Score, at_ms: Option<i64>) -> Submit {
    Submit { member: member.into(), score, at_ms }
}

/// A submit of a whole number, now.
pub(crate) fn submit(board: &str, member: &str, score: i64) -> Command {
    Command::Submit { board: board.into(), submit: item(member, Score::Int(score), None) }
}

/// A batch of whole numbers, now.
pub(crate) fn batch(board: &str, items: &[(&str, i64)]) -> Command {
    let submits = items.iter().map(|(member, score)| item(member, Score::Int(*score), None));
    Command::Batch { board: board.into(), submits: submits.collect() }
}
