//! Checkpoints: what changed since the last one, ready to be stored as plain rows.

use std::mem::take;
use std::sync::Arc;

use rankwire_ranklist::Snapshot;
use serde::Serialize;

use crate::draft::Ledger;
use crate::record::BoardId;
use crate::{Board, Score, answer};

/// What changed since the last checkpoint, as of one moment.
#[derive(Debug)]
pub struct Checkpoint {
    /// The last batch of every origin that the rows include.
    pub vector: Vec<(u64, u64)>,
    /// Boards that changed.
    pub boards: Vec<CheckpointBoard>,
    /// Boards that are gone with everything in them.
    pub dropped: Vec<BoardId>,
}

/// The part of a [`Checkpoint`] that concerns one board.
#[derive(Debug)]
pub struct CheckpointBoard {
    /// The board.
    pub board: Arc<Board>,
    /// Kept while the rows are written, which takes as long as the storage does.
    list: Snapshot,
    /// The members that changed, with their generations.
    members: Vec<(Box<str>, u32)>,
}

impl CheckpointBoard {
    pub(crate) fn new(board: Arc<Board>, ledger: &mut Ledger) -> Self {
        let dirty = take(&mut ledger.dirty);
        let with_generation = |member: Box<str>| {
            let generation = ledger.generation(&member);
            (member, generation)
        };
        let members = dirty.into_iter().map(with_generation).collect();
        Self { list: board.snapshot(), board, members }
    }

    /// The board's version that the rows belong to.
    pub fn version(&self) -> u64 {
        self.list.version()
    }

    /// How many members changed.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether only the board itself changed.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Rows `from..from + limit` as a JSON array of `[member, score, code, stamp, generation]`;
    /// score, code and stamp are `null` for a member that is gone. Code and stamp are given as
    /// signed integers of the same 64 bits, the code with its highest bit flipped, so that they
    /// sort in a signed column as they do unsigned.
    pub fn rows(&self, from: usize, limit: usize) -> Vec<u8> {
        let to = from.saturating_add(limit).min(self.members.len());
        let rows: Vec<_> =
            self.members[from.min(to)..to].iter().map(|member| self.row(member)).collect();
        answer::to_json(&rows)
    }

    fn row<'a>(&self, (member, generation): &'a (Box<str>, u32)) -> Row<'a> {
        let key = self.list.get(member);
        Row(
            member,
            key.map(|key| self.board.score(key)),
            key.map(|key| signed(key.score[0])),
            key.map(|key| key.stamp.cast_signed()),
            *generation,
        )
    }

    /// Marks everything in here as changed again.
    pub(crate) fn give_back(self, ledger: &mut Ledger) -> Arc<Board> {
        ledger.dirty.extend(self.members.into_iter().map(|(member, _)| member));
        self.board
    }
}

#[derive(Serialize)]
struct Row<'a>(&'a str, Option<Score>, Option<i64>, Option<i64>, u32);

const SIGN: u64 = 1 << 63;

/// A score code as storage keeps it; see [`CheckpointBoard::rows`].
pub(crate) fn signed(code: u64) -> i64 {
    (code ^ SIGN).cast_signed()
}

/// Inverse of [`signed`].
pub(crate) fn unsigned(stored: i64) -> u64 {
    stored.cast_unsigned() ^ SIGN
}
