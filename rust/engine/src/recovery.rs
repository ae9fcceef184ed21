//! From checkpoint rows and journal batches to an engine.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rankwire_ranklist::{Key, List, Seed};

use crate::checkpoint::unsigned;
use crate::clock::Clock;
use crate::committer::Writer;
use crate::config::BoardConfig;
use crate::draft::Draft;
use crate::engine::Engine;
use crate::limits::Limits;
use crate::record::{self, BoardId, Record};
use crate::{Board, Error, Score};

/// What a checkpoint says of a board.
#[derive(Debug, Clone)]
pub struct BoardRow {
    /// Identity of the board.
    pub id: BoardId,
    /// Its name.
    pub name: String,
    /// Its configuration.
    pub config: BoardConfig,
    /// Key of its list's member hash.
    pub seed: Seed,
    /// Version of the board that the member rows belong to.
    pub version: u64,
}

/// What a checkpoint says of a member: the fields of
/// [`CheckpointBoard::rows`](crate::CheckpointBoard::rows).
#[derive(Debug, Clone)]
pub struct MemberRow {
    /// The member.
    pub member: String,
    /// Code and stamp as stored; `None` for a member that is gone.
    pub key: Option<(i64, i64)>,
    /// How often the member has been deleted.
    pub generation: u32,
}

/// An engine that is being put together from storage.
///
/// First every board of the checkpoint with [`board`](Self::board), then the batches that the
/// checkpoint does not include with [`replay`](Self::replay), in the order in which they were
/// committed, then [`finish`](Self::finish).
#[derive(Debug)]
pub struct Recovery {
    vector: BTreeMap<u64, u64>,
    boards: HashMap<BoardId, Draft>,
    dropped: HashSet<BoardId>,
    clock: Clock,
}

impl Recovery {
    /// Starts from the vector of the checkpoint: the last batch of every origin it includes.
    pub fn new(vector: impl IntoIterator<Item = (u64, u64)>) -> Self {
        Self {
            vector: vector.into_iter().collect(),
            boards: HashMap::new(),
            dropped: HashSet::new(),
            clock: Clock::default(),
        }
    }

    /// Takes in a board of the checkpoint with all its members. O(n) when the rows come in rank
    /// order, O(n log n) otherwise.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the board or a member comes twice.
    pub fn board(&mut self, board: &BoardRow, rows: Vec<MemberRow>) -> Result<(), Error> {
        let mut generations = HashMap::new();
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            if row.generation > 0 {
                generations.insert(row.member.as_str().into(), row.generation);
            }
            if let Some((code, stamp)) = row.key {
                let key = Key { score: unsigned(code), stamp: stamp.cast_unsigned() };
                self.clock.observe(key.stamp);
                entries.push((row.member, key));
            }
        }
        let error = |reason| Error::Checkpoint { board: board.name.clone(), reason };
        let list = List::from_entries(board.config.ties.into(), board.seed, entries);
        let list = list.map_err(|_| error("a member has two rows"))?.with_version(board.version);
        let mut draft = Draft::of(board.id, &board.name, board.config, list);
        draft.ledger.generations = generations;
        let twin = self.boards.insert(board.id, draft);
        twin.map_or(Ok(()), |_| Err(error("the board has two rows")))
    }

    /// Applies a batch of the journal, unless the vector says that it is in already.
    ///
    /// # Errors
    /// [`Error::Journal`] when the bytes are damaged, or the batch is not the next of its origin.
    pub fn replay(&mut self, origin: u64, number: u64, bytes: &[u8]) -> Result<(), Error> {
        let seen = self.vector.get(&origin).copied().unwrap_or(0);
        if number <= seen {
            return Ok(());
        }
        if number != seen + 1 {
            return Err(Error::Journal { origin, number, reason: "a batch before it is missing" });
        }
        for record in record::decode(origin, number, bytes)? {
            self.apply(&record);
        }
        self.vector.insert(origin, number);
        Ok(())
    }

    /// The engine, which writes its own journal under `origin`: from batch 1 on, or after the last
    /// one if the origin has written before.
    pub fn finish(self, origin: u64, limits: Limits) -> Engine {
        let (mut ledgers, mut changed) = (HashMap::new(), HashMap::new());
        let mut boards = Vec::with_capacity(self.boards.len());
        for (id, draft) in self.boards {
            let board = Arc::new(Board::new(id, &draft.name, draft.config, draft.list));
            if draft.changed {
                changed.insert(id, Arc::clone(&board));
            }
            boards.push(board);
            ledgers.insert(id, draft.ledger);
        }
        let writer = Writer {
            origin,
            next: self.vector.get(&origin).map_or(1, |last| last + 1),
            clock: self.clock,
            ledgers,
            changed,
            dropped: self.dropped,
            vector: self.vector,
            under_way: false,
        };
        Engine::new(writer, boards, limits)
    }

    /// Records of a board that is gone change nothing, and a board begins once.
    fn apply(&mut self, record: &Record<'_>) {
        match *record {
            Record::Create { board, name, config, seed } => {
                if !self.dropped.contains(&board) {
                    let begin = || Draft::begin(board, name, config, seed);
                    self.boards.entry(board).or_insert_with(begin);
                }
            }
            Record::Drop { board } => {
                self.boards.remove(&board);
                self.dropped.insert(board);
            }
            Record::Score { board, member, bits, stamp, generation } => {
                self.clock.observe(stamp);
                if let Some(draft) = self.boards.get_mut(&board) {
                    let score = Score::from_bits(bits, draft.config.score);
                    draft.merge_score(member, score, stamp, generation);
                }
            }
            Record::Delete { board, member, generation } => {
                if let Some(draft) = self.boards.get_mut(&board) {
                    draft.merge_delete(member, generation);
                }
            }
        }
    }
}
