//! Counters of the engine: plain atomics, read in one go.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The live counters. Relaxed everywhere: each is a total of its own that orders nothing.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) submits: AtomicU64,
    pub(crate) changes: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) not_committed: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) applied_records: AtomicU64,
    pub(crate) publications: AtomicU64,
    pub(crate) journal_bytes: AtomicU64,
    pub(crate) members: AtomicU64,
    pub(crate) dirty_members: AtomicU64,
}

/// What an engine has done since it started, and what it holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Scores submitted and answered, changed or not; items of batches count one each.
    pub submits_total: u64,
    /// Of these, how many changed a member.
    pub changes_total: u64,
    /// Commands refused because of what they asked for.
    pub rejected_total: u64,
    /// Commands refused because the storage could not commit.
    pub not_committed_total: u64,
    /// Journal batches committed.
    pub batches_total: u64,
    /// Their size in bytes.
    pub journal_bytes_total: u64,
    /// Records of other origins' batches applied, those of the start included.
    pub applied_records_total: u64,
    /// Ops waiting for the committer now.
    pub pending_ops: u64,
    /// Boards now.
    pub boards: u64,
    /// Members on all boards now.
    pub members: u64,
    /// Members changed since the last checkpoint.
    pub dirty_members: u64,
    /// Versions published, by all boards together, since the oldest short read began that is still
    /// going on; 0 if there is none. Memory is freed up to there.
    pub oldest_read_versions: u64,
}

impl Counters {
    pub(crate) fn snapshot(&self, pending_ops: usize, boards: usize) -> Stats {
        Stats {
            submits_total: self.submits.load(Relaxed),
            changes_total: self.changes.load(Relaxed),
            rejected_total: self.rejected.load(Relaxed),
            not_committed_total: self.not_committed.load(Relaxed),
            batches_total: self.batches.load(Relaxed),
            journal_bytes_total: self.journal_bytes.load(Relaxed),
            applied_records_total: self.applied_records.load(Relaxed),
            pending_ops: pending_ops as u64,
            boards: boards as u64,
            members: self.members.load(Relaxed),
            dirty_members: self.dirty_members.load(Relaxed),
            oldest_read_versions: rankwire_ranklist::oldest_read().unwrap_or(0),
        }
    }
}
