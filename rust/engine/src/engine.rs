//! The engine: boards for readers, a queue for writers, one committer between them.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rankwire_ranklist::Snapshot;

use crate::apply::{Applied, Apply, Batch};
use crate::checkpoint::{Checkpoint, CheckpointBoard};
use crate::committer::{Seal, Sealed, Sketch, Turns, Writer};
use crate::door::{Door, Replies};
use crate::key::Answer;
use crate::limits::{self, Limits};
use crate::queue::{Queue, Queued, Ticket, Write};
use crate::record::{self, Record};
use crate::region::Primacy;
use crate::reply::Reply;
use crate::stats::{Counters, Stats};
use crate::{Board, Error, answer};

/// What an engine holds at one moment, for comparing nodes.
#[derive(Debug)]
pub struct Contents {
    /// The last batch of every origin that is in.
    pub vector: Vec<(u64, u64)>,
    /// Every board that is alive.
    pub boards: Vec<(Arc<Board>, Snapshot)>,
}

/// All boards of one server process; see the crate's front page for how the parts play together.
#[derive(Debug)]
pub struct Engine {
    origin: u64,
    limits: Limits,
    boards: papaya::HashMap<Box<str>, Arc<Board>>,
    queue: Queue,
    primacy: Primacy,
    /// Number of the last batch that was committed.
    last: AtomicU64,
    /// Taken for the length of a seal, a commit, batches of others or the start of a checkpoint;
    /// readers never.
    writer: Mutex<Writer>,
    /// Signalled when it may be another's turn to seal or to apply.
    turn: Condvar,
    /// Tells the lives of a board on different nodes apart; see [`Engine::life`].
    salt: u64,
    counters: Counters,
}

impl Engine {
    pub(crate) fn new(writer: Writer, limits: Limits) -> Self {
        let limits = Limits { members: limits.members.min(limits::MEMBERS), ..limits };
        let counters = Counters::default();
        let boards = || writer.boards.values();
        counters.members.store(boards().map(|board| board.load().len()).sum(), Relaxed);
        Self {
            origin: writer.origin,
            limits,
            boards: boards().map(|board| (board.name().into(), Arc::clone(board))).collect(),
            queue: Queue::new(limits.pending_ops),
            primacy: Primacy::default(),
            last: AtomicU64::new(0),
            salt: if writer.is_shared { writer.origin } else { 0 },
            writer: Mutex::new(writer),
            turn: Condvar::new(),
            counters,
        }
    }

    /// The id under which this process writes its journal, fresh at every start.
    pub fn origin(&self) -> u64 {
        self.origin
    }

    /// The number of the last batch that this engine has committed, 0 before the first. Never blocks.
    pub fn last(&self) -> u64 {
        self.last.load(Acquire)
    }

    /// Says which writes are taken here: with `writes` scores and removals, with `names` that boards
    /// are created and deleted. Others are refused with [`Error::NotPrimary`], which names `primary`,
    /// the region that takes them. At first, and with both, every write is taken. What is in the queue
    /// already stays there; the storage may still refuse it: [`abort_not_primary`](Self::abort_not_primary).
    pub fn set_primary(&self, primary: Option<String>, writes: bool, names: bool) {
        self.primacy.set(primary, writes, names);
    }

    /// Whether other nodes write as well.
    pub fn is_shared(&self) -> bool {
        self.salt != 0
    }

    /// A board, for reading. Never blocks.
    ///
    /// # Errors
    /// [`Error::UnknownBoard`].
    pub fn board(&self, name: &str) -> Result<Arc<Board>, Error> {
        let found = self.boards.pin().get(name).map(Arc::clone);
        found.ok_or_else(|| Error::UnknownBoard(name.to_owned()))
    }

    /// What versions of a board are counted in. With many nodes each counts for itself, in the order
    /// in which batches reached it; a node alone goes on counting when it is started again.
    pub fn life(&self, board: &Board) -> u64 {
        board.id() ^ self.salt
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

    /// Puts a write into the queue. Never waits for work or I/O.
    ///
    /// The committer is not woken: call [`wake`](Self::wake) when the commands at hand are in, so
    /// that those which arrive together share one commit.
    ///
    /// # Errors
    /// [`Error::NotPrimary`] when another region takes it, [`Error::Busy`] when the queue is full,
    /// [`Error::NotCommitted`] while the storage cannot commit, [`Error::Closed`] after
    /// [`close`](Self::close).
    pub fn enqueue(&self, write: impl Into<Write>) -> Result<Ticket, Error> {
        let write = write.into();
        self.primacy.check(&write.command)?;
        self.queue.push(write).inspect_err(|error| {
            if *error == Error::NotCommitted {
                self.counters.not_committed.fetch_add(1, Relaxed);
            }
        })
    }

    /// Puts the writes of a door into the queue, in order, as many as fit, and takes those out of
    /// `writes`. Their replies go to [`Door::deliver`] under the tickets given here, one for each
    /// command, unless the engine is dropped before. As with [`enqueue`](Self::enqueue) the
    /// committer is not woken.
    ///
    /// # Errors
    /// Those of [`enqueue`](Self::enqueue), about what is left in `writes` then: none of it is in
    /// the queue, and no reply will come. If another region takes one of them, all are left.
    pub fn send(
        &self,
        writes: &mut Vec<(Ticket, Write)>,
        door: &Arc<dyn Door>,
    ) -> Result<(), Error> {
        writes.iter().try_for_each(|(_, write)| self.primacy.check(&write.command))?;
        self.queue.send(writes, door).inspect_err(|error| {
            if *error == Error::NotCommitted {
                self.counters.not_committed.fetch_add(writes.len() as u64, Relaxed);
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
        writer.turns.sealer = true;
        let mut writer = self.wait_for_turn(writer, Writer::may_seal);
        writer.turns = Turns { sealer: false, sealed_last: true, ..writer.turns };
        assert!(!writer.under_way, "the batch before is neither committed nor aborted");
        let seal = Seal::new(&mut writer, &self.boards, self.limits, now_ms());
        let sealed = seal.run(commands);
        writer.under_way = true;
        Some(sealed)
    }

    /// Seals the commands of a batch again of which the storage has stored nothing, because it has
    /// answers to some of them, or because boards have taken the names of some. `known` and `taken`
    /// are these; whoever sent one of them gets the answer, or is asked to try again.
    pub fn again(
        &self,
        sealed: &mut Sealed,
        known: Vec<Answer>,
        taken: Vec<String>,
        now_ms: impl FnOnce() -> i64,
    ) {
        let mut writer = self.writer();
        let commands = take(&mut sealed.commands);
        let known = [take(&mut sealed.known), known].concat();
        let taken = [take(&mut sealed.taken), taken].concat();
        let seal = Seal::new(&mut writer, &self.boards, self.limits, now_ms());
        let again = seal.without(&known, &taken).run(commands);
        *sealed = Sealed { known, taken, ..again };
    }

    /// Applies durable batches of other origins, in the order given, as far as that is possible;
    /// [`Stop`](crate::Stop) says what can be in the way. Waits while a sealed batch is under way.
    /// Batches of this engine's own origin count as seen.
    ///
    /// # Errors
    /// [`Error::Journal`] when a batch is damaged or gives a board more than [`limits::MEMBERS`]
    /// members. None of the batches has been applied then.
    pub fn apply(&self, batches: &[Batch<'_>], trust: bool) -> Result<Applied, Error> {
        let mut writer = self.writer();
        writer.turns.appliers += 1;
        let mut writer = self.wait_for_turn(writer, Writer::may_apply);
        writer.turns.appliers -= 1;
        writer.turns.sealed_last = false;
        // Whoever waits for a turn has it when the lock is free, also if this panics.
        self.turn.notify_all();
        let mut apply = Apply::new(&mut writer, &self.boards);
        let applied = apply.run(batches, trust);
        if applied.is_ok() {
            self.counters.applied_records.fetch_add(apply.records, Relaxed);
            for sketch in apply.finish() {
                self.publish(&mut writer, sketch);
            }
        }
        drop(writer);
        self.counters.publications.fetch_add(1, Release);
        applied
    }

    /// The last batch of every origin that the boards include.
    pub fn vector(&self) -> Vec<(u64, u64)> {
        self.writer().vector.iter().map(|(origin, number)| (*origin, *number)).collect()
    }

    /// Whether changes are noted for checkpoints from now on. When not, those that were are
    /// forgotten.
    pub fn track(&self, is_tracking: bool) {
        let mut writer = self.writer();
        writer.is_tracking = is_tracking;
        if !is_tracking {
            let Writer { changed, ledgers, dropped, .. } = &mut *writer;
            for (board, _) in changed.drain() {
                if let Some(ledger) = ledgers.get_mut(&board) {
                    ledger.dirty.clear();
                }
            }
            dropped.clear();
            self.counters.dirty_members.store(0, Relaxed);
        }
    }

    /// Notes as changed what batches tell of that have been applied already. Others are noted when
    /// they are.
    ///
    /// # Errors
    /// [`Error::Journal`] when a batch is damaged; nothing is noted then.
    pub fn mark(&self, batches: &[Batch<'_>]) -> Result<(), Error> {
        // Before the lock is taken: who commits waits for it.
        let mut decoded = Vec::with_capacity(batches.len());
        for &(origin, number, bytes) in batches {
            decoded.push((origin, number, record::decode(origin, number, bytes)?));
        }
        let mut writer = self.writer();
        for (origin, number, records) in decoded {
            if writer.vector.get(&origin).is_some_and(|seen| number <= *seen) {
                for record in records {
                    self.mark_record(&mut writer, &record);
                }
            }
        }
        Ok(())
    }

    /// Every board as of one moment.
    pub fn contents(&self) -> Contents {
        let writer = self.writer();
        let boards = writer.boards.values();
        Contents {
            vector: writer.vector.iter().map(|(origin, number)| (*origin, *number)).collect(),
            boards: boards.map(|board| (Arc::clone(board), board.snapshot())).collect(),
        }
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
            self.last.store(sealed.number, Release);
            self.counters.journal_bytes.fetch_add(sealed.bytes.len() as u64, Relaxed);
        }
        for sketch in sealed.drafts.drain(..) {
            self.publish(&mut writer, sketch);
        }
        drop(writer);
        self.turn.notify_all();
        self.counters.batches.fetch_add(u64::from(!sealed.bytes.is_empty()), Relaxed);
        // After the publication: see `publications`.
        self.counters.publications.fetch_add(u64::from(!sealed.bytes.is_empty()), Release);
        self.counters.rejected.fetch_add(sealed.rejected, Relaxed);
        self.counters.submits.fetch_add(sealed.submits, Relaxed);
        self.counters.changes.fetch_add(sealed.changes, Relaxed);
        self.counters.not_committed.fetch_add(sealed.refused, Relaxed);
        sealed.replies.deliver()
    }

    /// Forgets a batch that the storage did not commit: every command that would have succeeded
    /// fails with [`Error::NotCommitted`]. Doors get their replies, and the others are returned.
    pub fn abort(&self, sealed: Sealed) -> Vec<Reply> {
        self.give_up(sealed, &Error::NotCommitted)
    }

    /// Forgets a batch that the storage refused because another region is the primary: as
    /// [`abort`](Self::abort) does, but everyone gets [`Error::NotPrimary`].
    pub fn abort_not_primary(&self, sealed: Sealed) -> Vec<Reply> {
        self.give_up(sealed, &self.primacy.refusal())
    }

    fn give_up(&self, mut sealed: Sealed, why: &Error) -> Vec<Reply> {
        self.writer().under_way = false;
        self.turn.notify_all();
        let replies = sealed.refusals(why);
        self.counters.rejected.fetch_add(sealed.rejected, Relaxed);
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

    /// Takes back a checkpoint that could not be stored: the next one includes what it had, unless
    /// changes are no longer [noted](Self::track).
    pub fn restore_dirty(&self, checkpoint: Checkpoint) {
        let mut writer = self.writer();
        if !writer.is_tracking {
            return;
        }
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

    /// How often boards were published: as long as it stays the same, no board has another version.
    /// Whoever has seen a number sees the boards of that time, or later ones.
    pub fn publications(&self) -> u64 {
        self.counters.publications.load(Acquire)
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
            self.counters.members.fetch_sub(before, Relaxed);
            self.forget(writer, &board);
            return;
        }
        if !draft.changed {
            return;
        }
        let after = draft.list.len();
        let mut news = draft.publish();
        if !writer.is_tracking {
            news.dirty.clear();
        }
        self.counters.members.fetch_add(after.wrapping_sub(before), Relaxed);
        let ledger = writer.ledgers.entry(board.id()).or_default();
        let dirty = ledger.dirty.len();
        ledger.absorb(news);
        self.counters.dirty_members.fetch_add((ledger.dirty.len() - dirty) as u64, Relaxed);
        if writer.is_tracking {
            writer.changed.insert(board.id(), Arc::clone(&board));
        }
        if fresh {
            writer.boards.insert(board.id(), Arc::clone(&board));
            self.boards.pin().insert(board.name().into(), board);
        }
    }

    /// Takes a board out that has ended.
    fn forget(&self, writer: &mut Writer, board: &Arc<Board>) {
        let id = board.id();
        writer.boards.remove(&id);
        let boards = self.boards.pin();
        if boards.get(board.name()).is_some_and(|named| named.id() == id) {
            boards.remove(board.name());
        }
        let dirty = writer.ledgers.remove(&id).map_or(0, |ledger| ledger.dirty.len());
        self.counters.dirty_members.fetch_sub(dirty as u64, Relaxed);
        writer.changed.remove(&id);
        writer.gone.insert(id);
        if writer.is_tracking {
            writer.dropped.insert(id);
        }
    }

    /// Notes as changed what a record tells of.
    fn mark_record(&self, writer: &mut Writer, record: &Record<'_>) {
        if matches!(*record, Record::Fix { region, .. } if region != writer.region) {
            return;
        }
        let id = record.board();
        let Some(board) = writer.boards.get(&id) else {
            writer.dropped.insert(id);
            return;
        };
        writer.changed.insert(id, Arc::clone(board));
        let (Record::Score { member, .. }
        | Record::Delete { member, .. }
        | Record::Fix { member, .. }) = *record
        else {
            return;
        };
        if writer.ledgers.entry(id).or_default().dirty.insert(member.into()) {
            self.counters.dirty_members.fetch_add(1, Relaxed);
        }
    }

    fn wait_for_turn<'a>(
        &self,
        writer: MutexGuard<'a, Writer>,
        may: impl Fn(&Writer) -> bool,
    ) -> MutexGuard<'a, Writer> {
        let waited = self.turn.wait_while(writer, |writer| !may(writer));
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything under the lock works on drafts first, so a panic leaves the state as it was and
    /// a poisoned lock is as good as any.
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what the writer knows, under its lock.
    pub(crate) fn with_writer<T>(&self, read: impl FnOnce(&Writer) -> T) -> T {
        read(&self.writer())
    }

    /// Goes through all boards, without a lock and in no order.
    pub(crate) fn each_board(&self, each: impl FnMut(&Arc<Board>)) {
        self.boards.pin().values().for_each(each);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::Recovery;
    use crate::record::BatchWriter;

    /// Far more than it takes, so that a thread that stands still fails the test.
    const PATIENCE: usize = 10_000_000;

    fn wait_until(engine: &Engine, is_so: impl Fn(&Writer) -> bool) {
        for _ in 0..PATIENCE {
            if is_so(&engine.writer()) {
                return;
            }
            thread::yield_now();
        }
        // Nobody must wait for a thread that is gone.
        engine.writer().under_way = false;
        engine.turn.notify_all();
        panic!("it never comes to that");
    }

    /// Two who apply and one who seals wait for the end of a batch: one applies, then the seal has
    /// its turn, then the other one applies.
    #[test]
    fn seals_and_batches_of_others_take_turns() {
        let engine = Recovery::new([], []).finish(1, Limits::default(), true);
        let batch = |origin| BatchWriter::default().finish(origin, 1);
        let seal = || engine.seal(Duration::ZERO, || 0).expect("the engine is open");
        let sealed = seal();
        thread::scope(|scope| {
            for origin in [2, 3] {
                let engine = &engine;
                scope.spawn(move || engine.apply(&[(origin, 1, &batch(origin))], false));
            }
            wait_until(&engine, |writer| writer.turns.appliers == 2);
            let next = scope.spawn(seal);
            wait_until(&engine, |writer| writer.turns.sealer);
            engine.commit(sealed);
            let sealed = next.join().expect("the seal ends");
            assert_eq!(engine.vector().len(), 1);
            engine.commit(sealed);
        });
        assert_eq!(engine.vector(), [(2, 1), (3, 1)]);
    }
}
