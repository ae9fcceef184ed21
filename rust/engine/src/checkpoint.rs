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
        answer::to_json(&self.each(from, limit).collect::<Vec<_>>())
    }

    /// The same rows one by one.
    pub fn each(&self, from: usize, limit: usize) -> impl Iterator<Item = CheckpointRow<'_>> {
        let to = from.saturating_add(limit).min(self.members.len());
        self.members[from.min(to)..to].iter().map(|(member, generation)| {
            let key = self.list.get(member);
            CheckpointRow(
                member,
                key.map(|key| self.board.score(key)),
                key.map(|key| signed(key.score[0])),
                key.map(|key| key.stamp.cast_signed()),
                *generation,
            )
        })
    }

    /// Marks everything in here as changed again.
    pub(crate) fn give_back(self, ledger: &mut Ledger) -> Arc<Board> {
        ledger.dirty.extend(self.members.into_iter().map(|(member, _)| member));
        self.board
    }
}

/// A member as storage keeps it: member, score, code, stamp, generation; see
/// [`CheckpointBoard::rows`].
#[derive(Debug, Serialize)]
pub struct CheckpointRow<'a>(
    pub &'a str,
    pub Option<Score>,
    pub Option<i64>,
    pub Option<i64>,
    pub u32,
);

const SIGN: u64 = 1 << 63;

/// A score code as storage keeps it; see [`CheckpointBoard::rows`].
pub(crate) fn signed(code: u64) -> i64 {
    (code ^ SIGN).cast_signed()
}

/// Inverse of [`signed`].
pub(crate) fn unsigned(stored: i64) -> u64 {
    stored.cast_unsigned() ^ SIGN
}
