//! From checkpoint rows and journal batches to an engine.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rankwire_ranklist::{Key, Seed, Shared};

use crate::checkpoint::unsigned;
use crate::clock::Clock;
use crate::committer::Writer;
use crate::config::BoardConfig;
use crate::draft::{Draft, Ledger, WARM};
use crate::engine::Engine;
use crate::limits::{self, Limits};
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
    boards: HashMap<BoardId, Arc<Board>>,
    /// Of the boards that have no draft.
    ledgers: HashMap<BoardId, Ledger>,
    /// What the journal makes of the boards that it tells of.
    drafts: HashMap<BoardId, Draft>,
    dropped: HashSet<BoardId>,
    clock: Clock,
}

impl Recovery {
    /// Starts from the vector of the checkpoint: the last batch of every origin it includes.
    pub fn new(vector: impl IntoIterator<Item = (u64, u64)>) -> Self {
        Self {
            vector: vector.into_iter().collect(),
            boards: HashMap::new(),
            ledgers: HashMap::new(),
            drafts: HashMap::new(),
            dropped: HashSet::new(),
            clock: Clock::default(),
        }
    }

    /// Takes in a board of the checkpoint with all its members. O(n) when the rows come in rank
    /// order, O(n log n) otherwise.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the board or a member comes twice, a member's name is longer than
    /// [`limits::STORED_MEMBER_BYTES`], or there are more than [`limits::MEMBERS`] members.
    pub fn board(&mut self, board: &BoardRow, rows: Vec<MemberRow>) -> Result<(), Error> {
        let error = |reason| Error::Checkpoint { board: board.name.clone(), reason };
        let mut generations = HashMap::new();
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            if row.member.len() > limits::STORED_MEMBER_BYTES {
                return Err(error("a member's name is too long"));
            }
            if row.generation > 0 {
                generations.insert(row.member.as_str().into(), row.generation);
            }
            if let Some((code, stamp)) = row.key {
                let key = Key { score: [unsigned(code)], stamp: stamp.cast_unsigned() };
                self.clock.observe(key.stamp);
                entries.push((row.member, key));
            }
        }
        if entries.len() as u64 > limits::MEMBERS {
            return Err(error("the board has too many members"));
        }
        let BoardRow { id, config, seed, version, .. } = *board;
        let list = Shared::from_entries(config.ties.into(), seed, version, entries);
        let list = list.map_err(|_| error("a member has two rows"))?;
        self.ledgers.insert(id, Ledger { generations, ..Ledger::default() });
        let twin = self.boards.insert(id, Arc::new(Board::new(id, &board.name, config, list)));
        twin.map_or(Ok(()), |_| Err(error("the board has two rows")))
    }

    /// Applies a batch of the journal, unless the vector says that it is in already.
    ///
    /// # Errors
    /// [`Error::Journal`] when the bytes are damaged, the batch is not the next of its origin, or it
    /// gives a board more than [`limits::MEMBERS`] members.
    pub fn replay(&mut self, origin: u64, number: u64, bytes: &[u8]) -> Result<(), Error> {
        let seen = self.vector.get(&origin).copied().unwrap_or(0);
        if number <= seen {
            return Ok(());
        }
        if number != seen + 1 {
            return Err(Error::Journal { origin, number, reason: "a batch before it is missing" });
        }
        for records in record::decode(origin, number, bytes)?.chunks(WARM) {
            self.warm(records);
            for record in records {
                let applied = self.apply(record);
                applied.map_err(|reason| Error::Journal { origin, number, reason })?;
            }
        }
        self.vector.insert(origin, number);
        Ok(())
    }

    /// The engine, which writes its own journal under `origin`: from batch 1 on, or after the last
    /// one if the origin has written before.
    pub fn finish(self, origin: u64, limits: Limits) -> Engine {
        let (mut ledgers, mut changed) = (self.ledgers, HashMap::new());
        for (id, draft) in self.drafts {
            if draft.changed {
                changed.insert(id, Arc::clone(&draft.board));
            }
            ledgers.insert(id, draft.publish());
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
        Engine::new(writer, self.boards.into_values().collect(), limits)
    }

    /// Announces the scores among records that come next to their boards.
    fn warm(&mut self, records: &[Record<'_>]) {
        let mut scores = Vec::with_capacity(records.len());
        for record in records {
            if let Record::Score { board, member, bits, .. } = *record {
                scores.push((board, member, bits));
            }
        }
        scores.sort_by_key(|(board, ..)| *board);
        for run in scores.chunk_by(|a, b| a.0 == b.0) {
            if let Some(draft) = self.draft(run[0].0) {
                let score = draft.board.config().score;
                let of = |&(_, member, bits)| (member, Score::from_bits(bits, score));
                draft.warm(run.iter().map(of));
            }
        }
    }

    /// Records of a board that is gone change nothing, and a board begins once.
    fn apply(&mut self, record: &Record<'_>) -> Result<(), &'static str> {
        match *record {
            Record::Create { board, name, config, seed } => {
                if !self.dropped.contains(&board)
                    && let Entry::Vacant(vacant) = self.boards.entry(board)
                {
                    let fresh = vacant.insert(Arc::new(Board::empty(board, name, config, seed)));
                    self.drafts.insert(board, Draft::begin(Arc::clone(fresh)));
                }
            }
            Record::Drop { board } => {
                self.boards.remove(&board);
                self.ledgers.remove(&board);
                self.drafts.remove(&board);
                self.dropped.insert(board);
            }
            Record::Score { board, member, bits, stamp, generation } => {
                self.clock.observe(stamp);
                if let Some(draft) = self.draft(board) {
                    let score = Score::from_bits(bits, draft.board.config().score);
                    draft.merge_score(member, score, stamp, generation)?;
                }
            }
            Record::Delete { board, member, generation } => {
                if let Some(draft) = self.draft(board) {
                    draft.merge_delete(member, generation);
                }
            }
        }
        Ok(())
    }

    /// The draft of a board, started if the journal tells of the board for the first time.
    fn draft(&mut self, board: BoardId) -> Option<&mut Draft> {
        match self.drafts.entry(board) {
            Entry::Occupied(draft) => Some(draft.into_mut()),
            Entry::Vacant(vacant) => {
                let draft = Draft::of(Arc::clone(self.boards.get(&board)?));
                let ledger = self.ledgers.remove(&board).unwrap_or_default();
                Some(vacant.insert(Draft { ledger, ..draft }))
            }
        }
    }
}
