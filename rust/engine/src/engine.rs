//! The engine: boards for readers, a queue for writers, one committer between them.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::checkpoint::{Checkpoint, CheckpointBoard};
use crate::committer::{Seal, Sealed, Sketch, Writer};
use crate::door::{Door, Replies};
use crate::limits::{self, Limits};
use crate::queue::{Command, Queue, Queued, Ticket};
use crate::reply::Reply;
use crate::stats::{Counters, Stats};
use crate::{Board, Error, answer};

/// All boards of one server process; see the crate's front page for how the parts play together.
#[derive(Debug)]
pub struct Engine {
    origin: u64,
    limits: Limits,
    boards: papaya::HashMap<Box<str>, Arc<Board>>,
    queue: Queue,
    /// Taken for the length of a seal, a commit or the start of a checkpoint; readers never.
    writer: Mutex<Writer>,
    counters: Counters,
}

impl Engine {
    pub(crate) fn new(writer: Writer, boards: Vec<Arc<Board>>, limits: Limits) -> Self {
        let limits = Limits { members: limits.members.min(limits::MEMBERS), ..limits };
        let counters = Counters::default();
        counters.members.store(boards.iter().map(|board| board.load().len()).sum(), Relaxed);
        let dirty: usize = writer.ledgers.values().map(|ledger| ledger.dirty.len()).sum();
        counters.dirty_members.store(dirty as u64, Relaxed);
        Self {
            origin: writer.origin,
            limits,
            boards: boards.into_iter().map(|board| (board.name().into(), board)).collect(),
            queue: Queue::new(limits.pending_ops),
            writer: Mutex::new(writer),
            counters,
        }
    }

    /// The id under which this process writes its journal, fresh at every start.
    pub fn origin(&self) -> u64 {
        self.origin
    }

    /// A board, for reading. Never blocks.
    ///
    /// # Errors
    /// [`Error::UnknownBoard`].
    pub fn board(&self, name: &str) -> Result<Arc<Board>, Error> {
        let found = self.boards.pin().get(name).map(Arc::clone);
        found.ok_or_else(|| Error::UnknownBoard(name.to_owned()))
    }

    /// The descriptions of up to `limit` boards whose names come after `after`, by name, as JSON.
    /// O(boards · log limit).
    pub fn boards(&self, after: &str, limit: usize) -> Vec<u8> {
        let pin = self.boards.pin();
        let mut page = BTreeMap::new();
        let mut more = false;
        for (name, board) in pin.iter().filter(|(name, _)| ***name > *after) {
            page.insert(name, &**board);
            if page.len() > limit {
                page.pop_last();
                more = true;
            }
        }
        let boards: Vec<_> = page.into_values().collect();
        answer::descriptions(&boards, more)
    }

    /// Puts a command into the queue. Never waits for work or I/O.
    ///
    /// The committer is not woken: call [`wake`](Self::wake) when the commands at hand are in, so
    /// that those which arrive together share one commit.
    ///
    /// # Errors
    /// [`Error::Busy`] when the queue is full, [`Error::NotCommitted`] while the storage cannot
    /// commit, [`Error::Closed`] after [`close`](Self::close).
    pub fn enqueue(&self, command: Command) -> Result<Ticket, Error> {
        self.queue.push(command).inspect_err(|error| {
            if *error == Error::NotCommitted {
                self.counters.not_committed.fetch_add(1, Relaxed);
            }
        })
    }

    /// Puts the commands of a door into the queue, in order, as many as fit, and takes those out of
    /// `commands`. Their replies go to [`Door::deliver`] under the tickets given here, one for each
    /// command, unless the engine is dropped before. As with [`enqueue`](Self::enqueue) the
    /// committer is not woken.
    ///
    /// # Errors
    /// Those of [`enqueue`](Self::enqueue), about what is left in `commands` then: none of it is in
    /// the queue, and no reply will come.
    pub fn send(
        &self,
        commands: &mut Vec<(Ticket, Command)>,
        door: &Arc<dyn Door>,
    ) -> Result<(), Error> {
        self.queue.send(commands, door).inspect_err(|error| {
            if *error == Error::NotCommitted {
                self.counters.not_committed.fetch_add(commands.len() as u64, Relaxed);
            }
        })
    }

    /// Wakes the committer if it waits in [`seal`](Self::seal).
    pub fn wake(&self) {
        self.queue.wake();
    }

    /// Waits up to `patience` for commands and applies them to drafts. `now_ms` gives the wall
    /// clock in milliseconds since 1970, asked once commands are there.
    ///
    /// Returns `None` when the engine is closed and everything is sealed. A batch without
    /// commands has no bytes and no replies.
    ///
    /// # Panics
    /// When the batch sealed before was neither committed nor aborted.
    pub fn seal(&self, patience: Duration, now_ms: impl FnOnce() -> i64) -> Option<Sealed> {
        let commands = self.queue.take(patience)?;
        let mut writer = self.writer();
        assert!(!writer.under_way, "the batch before is neither committed nor aborted");
        let mut sealed = Seal::new(&mut writer, &self.boards, self.limits, now_ms()).run(commands);
        writer.under_way = true;
        let rejected = sealed.replies.iter_mut().filter(|reply| reply.outcome.is_err()).count();
        self.counters.rejected.fetch_add(rejected as u64, Relaxed);
        Some(sealed)
    }

    /// Publishes a batch whose bytes are durable. Then doors get their replies, and the others are
    /// returned.
    pub fn commit(&self, mut sealed: Sealed) -> Vec<Reply> {
        let mut writer = self.writer();
        writer.under_way = false;
        if !sealed.bytes.is_empty() {
            let origin = writer.origin;
            writer.vector.insert(origin, sealed.number);
            writer.next = sealed.number + 1;
            self.counters.journal_bytes.fetch_add(sealed.bytes.len() as u64, Relaxed);
        }
        for sketch in sealed.drafts.drain(..) {
            self.publish(&mut writer, sketch);
        }
        drop(writer);
        // After the publication: see `commits`.
        self.counters.batches.fetch_add(u64::from(!sealed.bytes.is_empty()), Release);
        self.counters.submits.fetch_add(sealed.submits, Relaxed);
        self.counters.changes.fetch_add(sealed.changes, Relaxed);
        self.counters.not_committed.fetch_add(sealed.refused, Relaxed);
        sealed.replies.deliver()
    }

    /// Forgets a batch that the storage did not commit: every command that would have succeeded
    /// fails with [`Error::NotCommitted`]. Doors get their replies, and the others are returned.
    pub fn abort(&self, mut sealed: Sealed) -> Vec<Reply> {
        self.writer().under_way = false;
        let replies = sealed.refusals();
        self.counters.not_committed.fetch_add(sealed.refused, Relaxed);
        replies.deliver()
    }

    /// Refuses new commands with [`Error::NotCommitted`] while the storage cannot commit, and
    /// answers everything that waits already likewise. Doors get their replies, and the others are
    /// returned.
    pub fn stall(&self) -> Vec<Reply> {
        self.queue.set_stalled(true);
        let waiting = self.queue.take_all();
        self.counters.not_committed.fetch_add(waiting.len() as u64, Relaxed);
        let mut replies = Replies::default();
        for Queued { ticket, door, .. } in waiting {
            replies.push(door, Reply { ticket, outcome: Err(Error::NotCommitted) });
        }
        replies.deliver()
    }

    /// Takes commands in again after [`stall`](Self::stall).
    pub fn resume(&self) {
        self.queue.set_stalled(false);
    }

    /// Refuses new commands from now on; those in the queue are still sealed.
    pub fn close(&self) {
        self.queue.close();
    }

    /// What changed since the last checkpoint, or `None` when nothing did. Once it is stored
    /// nothing more is needed; otherwise hand it to [`restore_dirty`](Self::restore_dirty).
    ///
    /// Takes as long as naming the changed members does, without reading them.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        let mut writer = self.writer();
        let Writer { ledgers, changed, dropped, vector, .. } = &mut *writer;
        if changed.is_empty() && dropped.is_empty() {
            return None;
        }
        let part = |(id, board)| Some(CheckpointBoard::new(board, ledgers.get_mut(&id)?));
        self.counters.dirty_members.store(0, Relaxed);
        Some(Checkpoint {
            vector: vector.iter().map(|(origin, number)| (*origin, *number)).collect(),
            boards: take(changed).into_iter().filter_map(part).collect(),
            dropped: take(dropped).into_iter().collect(),
        })
    }

    /// Takes back a checkpoint that could not be stored: the next one includes what it had.
    pub fn restore_dirty(&self, checkpoint: Checkpoint) {
        let mut writer = self.writer();
        let Writer { ledgers, changed, dropped, .. } = &mut *writer;
        for board in checkpoint.boards {
            let id = board.board.id();
            // A board dropped in the meantime has no ledger.
            if let Some(ledger) = ledgers.get_mut(&id) {
                let dirty = ledger.dirty.len();
                changed.insert(id, board.give_back(ledger));
                self.counters.dirty_members.fetch_add((ledger.dirty.len() - dirty) as u64, Relaxed);
            }
        }
        dropped.extend(checkpoint.dropped);
    }

    /// How many batches with changes were committed: as long as it stays the same, no board has
    /// another version. Whoever has seen a number sees the boards of that time, or later ones.
    pub fn commits(&self) -> u64 {
        self.counters.batches.load(Acquire)
    }

    /// What the engine has done and holds.
    pub fn stats(&self) -> Stats {
        self.counters.snapshot(self.queue.ops(), self.boards.len())
    }

    fn publish(&self, writer: &mut Writer, sketch: Sketch) {
        let Sketch { draft, fresh, dropped } = sketch;
        let board = Arc::clone(&draft.board);
        let before = if fresh { 0 } else { board.load().len() };
        if dropped {
            if !fresh {
                self.boards.pin().remove(board.name());
                self.counters.members.fetch_sub(before, Relaxed);
            }
            let dirty = writer.ledgers.remove(&board.id()).map_or(0, |ledger| ledger.dirty.len());
            self.counters.dirty_members.fetch_sub(dirty as u64, Relaxed);
            writer.changed.remove(&board.id());
            writer.dropped.insert(board.id());
            return;
        }
        if !draft.changed {
            return;
        }
        let after = draft.list.len();
        let news = draft.publish();
        self.counters.members.fetch_add(after.wrapping_sub(before), Relaxed);
        let ledger = writer.ledgers.entry(board.id()).or_default();
        let dirty = ledger.dirty.len();
        ledger.absorb(news);
        self.counters.dirty_members.fetch_add((ledger.dirty.len() - dirty) as u64, Relaxed);
        writer.changed.insert(board.id(), Arc::clone(&board));
        if fresh {
            self.boards.pin().insert(board.name().into(), board);
        }
    }

    /// Everything under the lock works on drafts first, so a panic leaves the state as it was and
    /// a poisoned lock is as good as any.
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
