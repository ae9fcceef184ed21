//! Applying: durable batches of other origins become part of the boards.
//!
//! Batches come from the storage at the start, and from other nodes later; both ways are the same.
//! The next batch of an origin is applied, one that was seen is skipped, and anything else is left:
//! [`Stop`] says why. Records merge, so origins need no order among each other, with one exception:
//! a board must have been created before its records mean anything, and the board that had its name
//! must have ended. Either may stand in the batch of an origin that has not arrived yet, and then the
//! batch waits for it.
//!
//! Batches as the storage gives them may be *trusted*: each comes after what it builds on. What is
//! unknown then is not missing but long gone. A board whose name another one has was created before
//! that one, for a name is given again only when the end of the board that had it is durable; so it
//! has ended already, and is taken for gone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::committer::{Sketch, Writer};
use crate::draft::{Draft, WARM};
use crate::record::{self, BoardId, Record};
use crate::{Board, Error, Score};

/// A batch as the journal keeps it: origin, number, bytes.
pub type Batch<'a> = (u64, u64, &'a [u8]);

/// Why batches were left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The batch is not the next of its origin: those before it are missing.
    Gap,
    /// The batch tells of a board whose creation has not been seen, or creates one whose name another
    /// has, the end of which has not been seen.
    Board,
}

/// What became of batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// How many of them, from the first, are in now.
    pub count: usize,
    /// Why the next one is not; `None` when all are.
    pub stop: Option<Stop>,
}

/// Work in progress on batches.
pub(crate) struct Apply<'a> {
    writer: &'a mut Writer,
    /// Boards by name, as readers see them.
    names: &'a papaya::HashMap<Box<str>, Arc<Board>>,
    /// In the order in which the boards were met: of two of one name the later one gets it.
    drafts: Vec<Sketch>,
    by_id: HashMap<BoardId, usize>,
    /// Boards that begin, by name; of two the later one.
    fresh: HashMap<Box<str>, BoardId>,
    /// Boards that ended before they were seen.
    gone: HashSet<BoardId>,
    /// The last batch of each origin that the drafts include.
    vector: HashMap<u64, u64>,
    pub(crate) records: u64,
}

impl<'a> Apply<'a> {
    pub(crate) fn new(
        writer: &'a mut Writer,
        names: &'a papaya::HashMap<Box<str>, Arc<Board>>,
    ) -> Self {
        Self {
            writer,
            names,
            drafts: Vec::new(),
            by_id: HashMap::new(),
            fresh: HashMap::new(),
            gone: HashSet::new(),
            vector: HashMap::new(),
            records: 0,
        }
    }

    /// Drafts as many batches as can be applied. With `trust`, records of unknown boards are taken
    /// for those of boards that are long gone.
    ///
    /// # Errors
    /// [`Error::Journal`] for damaged bytes, or a board with too many members. The drafts must not
    /// be published then.
    pub(crate) fn run(&mut self, batches: &[Batch<'_>], trust: bool) -> Result<Applied, Error> {
        for (count, &(origin, number, bytes)) in batches.iter().enumerate() {
            let seen = self.seen(origin);
            if origin == self.writer.origin || number <= seen {
                continue;
            }
            if number != seen + 1 {
                return Ok(Applied { count, stop: Some(Stop::Gap) });
            }
            let records = record::decode(origin, number, bytes)?;
            if !trust && !self.knows_boards(&records) {
                return Ok(Applied { count, stop: Some(Stop::Board) });
            }
            for records in records.chunks(WARM) {
                self.warm(records);
                for record in records {
                    let applied = self.apply(record);
                    applied.map_err(|reason| Error::Journal { origin, number, reason })?;
                }
            }
            self.records += records.len() as u64;
            self.vector.insert(origin, number);
        }
        Ok(Applied { count: batches.len(), stop: None })
    }

    /// The drafts to publish, once the vector that goes with them is in force.
    pub(crate) fn finish(self) -> Vec<Sketch> {
        self.writer.vector.extend(self.vector);
        if self.writer.is_tracking {
            self.writer.dropped.extend(&self.gone);
        }
        self.writer.gone.extend(self.gone);
        self.drafts
    }

    fn seen(&self, origin: u64) -> u64 {
        let drafted = self.vector.get(&origin).or_else(|| self.writer.vector.get(&origin));
        drafted.copied().unwrap_or(0)
    }

    /// Whether everything has been seen that the records build on.
    fn knows_boards(&self, records: &[Record<'_>]) -> bool {
        let (mut created, mut ended) = (HashSet::new(), HashSet::new());
        let mut last = None;
        records.iter().all(|record| {
            let board = record.board();
            let is_known = last.replace(board) == Some(board)
                || created.contains(&board)
                || self.is_known(board);
            match record {
                Record::Create { name, .. } if !is_known => {
                    created.insert(board);
                    self.is_free(name, &ended)
                }
                Record::Drop { .. } => {
                    ended.insert(board);
                    is_known
                }
                _ => is_known,
            }
        })
    }

    /// Whether no board has a name, but for those that have `ended` in the batch. A name is given
    /// again only after the end of the board that had it is durable: if that end has not been seen,
    /// it is missing.
    fn is_free(&self, name: &str, ended: &HashSet<BoardId>) -> bool {
        let ends = |id: &BoardId| {
            ended.contains(id) || self.by_id.get(id).is_some_and(|at| self.drafts[*at].dropped)
        };
        self.names.pin().get(name).is_none_or(|board| ends(&board.id()))
            && self.fresh.get(name).is_none_or(ends)
    }

    /// Whether a board is or was there.
    fn is_known(&self, board: BoardId) -> bool {
        self.by_id.contains_key(&board)
            || self.writer.boards.contains_key(&board)
            || self.writer.gone.contains(&board)
            || self.gone.contains(&board)
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
                if self.is_known(board) {
                    return Ok(());
                }
                if self.is_free(name, &HashSet::new()) {
                    let fresh = Arc::new(Board::empty(board, name, config, seed));
                    let draft = Draft::begin(fresh, self.writer.is_tracking);
                    self.fresh.insert(name.into(), board);
                    self.add(Sketch { draft, fresh: true, dropped: false });
                } else {
                    // Only trusted batches get here: see the top of this file.
                    self.gone.insert(board);
                }
            }
            Record::Drop { board } => {
                if let Some(sketch) = self.sketch(board) {
                    sketch.dropped = true;
                } else {
                    self.gone.insert(board);
                }
            }
            Record::Fix { region, .. } if region != self.writer.region => {}
            Record::Score { board, member, stamp, .. }
            | Record::Fix { board, member, stamp, .. } => {
                self.writer.clock.observe(stamp);
                self.merge(board, member, record)?;
            }
            Record::Delete { board, member, .. } => self.merge(board, member, record)?,
        }
        Ok(())
    }

    fn merge(
        &mut self,
        board: BoardId,
        member: &str,
        record: &Record<'_>,
    ) -> Result<(), &'static str> {
        let base = self.writer.generation(board, member);
        self.draft(board).map_or(Ok(()), |draft| draft.merge(base, record))
    }

    /// The draft of a board that has not ended.
    fn draft(&mut self, board: BoardId) -> Option<&mut Draft> {
        let sketch = self.sketch(board)?;
        (!sketch.dropped).then_some(&mut sketch.draft)
    }

    /// What is drafted of a board, started if the batches tell of the board for the first time.
    fn sketch(&mut self, board: BoardId) -> Option<&mut Sketch> {
        if let Some(&index) = self.by_id.get(&board) {
            return Some(&mut self.drafts[index]);
        }
        let found = Arc::clone(self.writer.boards.get(&board)?);
        let draft = Draft::of(found, self.writer.is_tracking);
        Some(self.add(Sketch { draft, fresh: false, dropped: false }))
    }

    fn add(&mut self, sketch: Sketch) -> &mut Sketch {
        let index = self.drafts.len();
        self.by_id.insert(sketch.draft.board.id(), index);
        self.drafts.push(sketch);
        &mut self.drafts[index]
    }
}
