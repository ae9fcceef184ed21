//! The writing side: a log of operations, and threads that turn it into versions together.
//!
//! Whoever wants to change a [`Versioned`] structure appends an operation to the log and then works
//! on until the operation is part of a published version. No thread owns that work. Any thread that
//! waits for its own operation builds the next version from the operations at the head of the log,
//! its own or others', publishes it by one compare-and-swap of the root, and hands every operation
//! of the batch its result. If a thread stops anywhere, for a page fault or for ever, the others do
//! its part.
//!
//! # Promises
//!
//! * **Linearizable.** A write takes effect at the compare-and-swap that publishes the first version
//!   which covers its entry; the operations of one batch take effect there together, in log order.
//!   This is the only step that readers can see. A read takes effect where it loads the root.
//! * **Exactly once.** Every operation has one position, fixed when it is appended, and is applied
//!   at that position in every version that covers it. Its submitter gets the result that the
//!   published version holds, whichever thread delivers it.
//! * **Lock-free.** Some thread completes an operation within a bounded number of steps of all
//!   threads together, wherever any of them are stopped. Appending is lock-free. From there on a
//!   submitter even needs only a bounded number of its own steps, see *Two failures* below.
//!   What this does not cover: the allocator, which may lock; the reclaimer, which may keep memory
//!   for as long as a stopped thread is pinned; the scheduler, which decides when a thread runs;
//!   and the bounded wait of *Politeness*.
//!
//! # The steps
//!
//! **Append.** The log is a Michael–Scott queue (1996): entries linked by `next`, and a tail from
//! which the end is found. An appender walks from the tail to the entry without a `next`, numbers
//! its own entries from there, and links the first of them by a compare-and-swap; a chain of
//! entries is linked in private before and appended by that same step, so its positions are
//! contiguous. Then it moves the tail to its last entry, if nobody else moved the tail meanwhile.
//! So the tail is a hint: at the end, or before it by at most what is being appended right now. A
//! queue that swaps the tail first would be faster and wrong here, because an appender that stops
//! between the swap and its link hides all later entries from everyone.
//!
//! **Build.** A builder pins, loads the root, and delivers the results of the version that it finds.
//! Then it walks the log from that version's last entry, takes at most [`BATCH`] operations, applies
//! them to a draft, and publishes the draft. If the compare-and-swap fails, somebody else has
//! published; the draft is undone and the thread starts again with what it finds.
//!
//! **Deliver.** A version carries the results of its batch. To deliver is to copy them into the
//! entries: the words with plain stores, then `done` with a release. All helpers copy from the same
//! version, so all store the same values, and it does not matter how many do, in which order, or
//! where one of them stops. Nobody builds on a version before delivering it, so when a version is
//! replaced, all its operations are done.
//!
//! **Reclaim.** An entry has two owners, its submitter and the log. A version names the entry before
//! its batch, `first`, and the last of the batch. Delivery walks from the one to the other, so these
//! entries stay in the log's hands until that version is replaced, and are retired through the epoch
//! in the moment when it is. A helper that is late is pinned since before that moment: it writes to
//! an entry that still exists, and what it writes is already there. The tail is moved past the
//! entries before they are retired, so that nobody who pins later can reach one. Snapshots do not
//! pin; they see the version and never the log.
//!
//! # Two failures
//!
//! Let an operation be appended with d operations before it and itself not yet applied. If the
//! submitter's compare-and-swap fails, then another one succeeded since the submitter loaded the
//! root. That other builder may have walked the log before the append, so the first failure proves
//! nothing. At the second, though, the winner had loaded what the first winner published, hence
//! after the append, so its batch was filled up to the operation or to `BATCH`. The same holds for
//! every failure after it. So after 1 + ⌈d / BATCH⌉ failures at most, the operation is applied. As
//! a submitter waits for its results, d is at most [`CHAIN`] times the number of writing threads.
//!
//! # Politeness
//!
//! If all waiters built, all but one would build in vain. So a builder leaves the number of its base
//! in `building`, and a waiter that finds the number of the version that it would build on lets the
//! builder go on: it spins, then yields the processor, but for [`PATIENCE`] at most; then it builds
//! whatever the hint says. A builder that has stopped costs each waiter this time once, since the
//! next version has another number. The hint decides who works first, never what is right.
//!
//! # Panics
//!
//! A [`Rule`] must be total. Should one panic all the same, the panic reaches the thread that was
//! building, the draft is dropped and nothing is published. The operation stays at the head of the
//! log and does the same to every thread that builds: no write returns any more, the memory stays
//! sound, and readers go on with the last version. Skipping the operation would hide a defect in
//! the structure, whose draft was half changed.

#![allow(unsafe_code, reason = "entries are shared by raw pointers; see *Reclaim* above")]

use std::ops::Deref;
use std::{ptr, slice};

use super::atomic::Ordering::{Acquire, Relaxed, Release};
use super::atomic::{self, AtomicBool, AtomicPtr, AtomicU64, thread};
use super::epoch::pin;
use super::garbage::{Garbage, Versioned};
use super::root::{Read, Root, Snapshot};

#[cfg(not(loom))]
use super::atomic::Arc;
// Loom learns from its own `Arc` alone which use of an entry comes before its end.
#[cfg(loom)]
use loom::sync::Arc;

#[cfg(test)]
mod tests;

/// How many words an outcome has. Two are enough to be caught between them.
pub(crate) const WORDS: usize = if cfg!(loom) { 2 } else { 12 };

/// An outcome as plain words, so that several helpers may store the same one without a lock.
pub(crate) type Words = [u64; WORDS];

/// The most operations that one version applies.
///
/// It bounds what a builder loses when another one wins, and how long readers see nothing new.
pub(crate) const BATCH: usize = 64;

/// The most operations that are appended as one chain. It bounds how many may be waiting: so many
/// times the number of writing threads.
pub(crate) const CHAIN: usize = 1024;

/// How many operations are announced to [`Rule::warm`] at once: about as many cache misses as one
/// core of today can have under way.
const GROUP: usize = 16;

/// What `building` holds when nobody builds. No version has this number.
const NOBODY: u64 = u64::MAX;

/// A private next version under construction. Dropping it frees what it made.
pub(crate) trait Draft: Sized {
    /// What becomes of it.
    type Version: Versioned;

    /// Starts the version that follows `base`.
    ///
    /// # Safety
    ///
    /// `base` must outlive the draft: the caller stays pinned until the draft is finished or gone.
    unsafe fn begin(base: &Self::Version) -> Self;

    /// The finished version, and the blocks of the base that it does not use.
    fn finish(self) -> (Self::Version, Vec<<Self::Version as Versioned>::Garbage>);

    /// Undoes a [`finish`](Self::finish): frees what only `version` reaches, that is, what is
    /// younger than the base with the number `base_no`.
    ///
    /// # Safety
    ///
    /// Nobody else may have seen `version`, and the caller must have been pinned since it loaded
    /// the base.
    unsafe fn discard(version: Self::Version, base_no: u64);
}

/// What an operation does.
///
/// It must be total, and a pure function of the draft, the operation and the position: several
/// threads may compute it for the same position, and all must get the same.
pub(crate) trait Rule<D: Draft>: Send + Sync + 'static {
    /// What is written to the log.
    type Op: Send + Sync + 'static;

    /// A hint that `ops` are the next to be applied, for prefetching.
    fn warm(&self, _draft: &D, _ops: &[&Self::Op]) {}

    /// Applies `op`, which is the `position`-th of the log, and returns its outcome.
    fn apply(&self, draft: &mut D, op: &Self::Op, position: u64) -> Words;
}

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Done {
    /// Its outcome, as the rule returned it.
    pub(crate) words: Words,
    /// Its place in the log. The first operation has position 1.
    pub(crate) position: u64,
    /// The number of the first version that shows it.
    pub(crate) version: u64,
}

/// One operation in the log.
struct Entry<Op> {
    /// `None` in the entry that stands before the first operation, and nowhere else.
    op: Option<Op>,
    /// Written by the appender until the entry is linked, and constant from then on.
    position: AtomicU64,
    /// Null at the end of the log.
    next: AtomicPtr<Entry<Op>>,
    /// These two are meaningful once `done` is true. Whoever stores them stores the same.
    words: [AtomicU64; WORDS],
    version: AtomicU64,
    done: AtomicBool,
}

impl<Op> Entry<Op> {
    fn new(op: Option<Op>) -> Arc<Self> {
        Arc::new(Self {
            op,
            position: AtomicU64::new(0),
            next: AtomicPtr::new(ptr::null_mut()),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
            version: AtomicU64::new(0),
            done: AtomicBool::new(false),
        })
    }

    fn position(&self) -> u64 {
        self.position.load(Relaxed)
    }

    fn is_done(&self) -> bool {
        self.done.load(Acquire)
    }

    /// Any number of threads may do this at once, with the same arguments.
    fn deliver(&self, words: &Words, version: u64) {
        for (at, (slot, word)) in self.words.iter().zip(words).enumerate() {
            if at == WORDS / 2 {
                reach(Point::Delivering);
            }
            slot.store(*word, Relaxed);
        }
        self.version.store(version, Relaxed);
        self.done.store(true, Release);
    }

    fn outcome(&self) -> Option<Done> {
        self.is_done().then(|| Done {
            words: std::array::from_fn(|at| self.words[at].load(Relaxed)),
            position: self.position(),
            version: self.version.load(Relaxed),
        })
    }
}

/// The log's share of an entry, to be given up when nobody can reach the entry from the log.
pub(crate) struct Share<Op>(*mut Entry<Op>);

// SAFETY: it stands for an `Arc<Entry<Op>>`, which may be sent under the same bound.
unsafe impl<Op: Send + Sync> Send for Share<Op> {}

impl<Op> Share<Op> {
    fn of(entry: &Arc<Entry<Op>>) -> Self {
        Self(Arc::into_raw(Arc::clone(entry)).cast_mut())
    }

    /// # Safety
    ///
    /// The log must reach the entry no more, and each share may be given up once.
    unsafe fn give_up(self) {
        // SAFETY: the pointer came from `Arc::into_raw` in `of`, and the caller vouches for once.
        drop(unsafe { Arc::from_raw(self.0) });
    }
}

/// What a version leaves behind: blocks of the structure, and entries of the log.
pub(crate) enum Waste<V: Versioned, Op> {
    /// A block that the next version does not use.
    Block(V::Garbage),
    /// An entry whose results are delivered.
    Entry(Share<Op>),
}

impl<V: Versioned, Op: Send + Sync + 'static> Garbage for Waste<V, Op> {
    fn birth(&self) -> u64 {
        match self {
            Self::Block(block) => block.birth(),
            // Snapshots never look at the log, so an entry must look too young for any of them.
            Self::Entry(_) => u64::MAX,
        }
    }

    unsafe fn free(self) {
        match self {
            // SAFETY: the caller promises for this value what `free` asks of the inner one.
            Self::Block(block) => unsafe { block.free() },
            // SAFETY: it was retired when the log had passed it, by the one thread that published.
            Self::Entry(share) => unsafe { share.give_up() },
        }
    }
}

/// A version with its place in the log.
pub(crate) struct Logged<V: Versioned, Op> {
    version: V,
    /// How many operations were applied so far.
    position: u64,
    /// The entry before this version's batch, and the last one of the batch.
    first: *mut Entry<Op>,
    last: *mut Entry<Op>,
    /// What the operations of the batch came to, in log order.
    results: Vec<Words>,
    /// Whether all of them have been copied to the entries. It saves work and decides nothing.
    delivered: AtomicBool,
}

// SAFETY: the pointers are followed by the log alone, to entries that may be shared and sent, and
// the rest may be shared and sent by itself.
unsafe impl<V: Versioned, Op: Send + Sync> Send for Logged<V, Op> {}
// SAFETY: as above.
unsafe impl<V: Versioned, Op: Send + Sync> Sync for Logged<V, Op> {}

impl<V: Versioned, Op> Logged<V, Op> {
    /// How many operations were applied so far.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }
}

impl<V: Versioned, Op: Send + Sync + 'static> Logged<V, Op> {
    /// Copies the results of a version to the entries of its batch.
    ///
    /// The caller is pinned since before it loaded the version.
    fn deliver(logged: &Self) {
        if logged.delivered.load(Acquire) {
            return;
        }
        let mut entry = logged.first;
        for words in &logged.results {
            // SAFETY: the entries of a version's batch are not retired before the version is, and
            // the version is not retired before this read began.
            entry = unsafe { &*entry }.next.load(Acquire);
            // SAFETY: as above.
            let entry = unsafe { &*entry };
            if !entry.is_done() {
                entry.deliver(words, logged.no());
            }
        }
        logged.delivered.store(true, Release);
    }
}

impl<V: Versioned, Op> Deref for Logged<V, Op> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.version
    }
}

impl<V: Versioned, Op: Send + Sync + 'static> Versioned for Logged<V, Op> {
    type Garbage = Waste<V, Op>;

    fn no(&self) -> u64 {
        self.version.no()
    }

    unsafe fn dismantle(&mut self) {
        // SAFETY: the caller promises for this value what `dismantle` asks of the inner one.
        unsafe { self.version.dismantle() };
        let mut entry = self.first;
        while !entry.is_null() {
            // SAFETY: entries before `first` were retired with earlier versions and those from it
            // on never, so the log's share of each is still there.
            let next = unsafe { &*entry }.next.load(Relaxed);
            // SAFETY: nobody uses the log any more, and the walk does not come back.
            unsafe { Share(entry).give_up() };
            entry = next;
        }
    }
}

/// A version to build on, which keeps the thread pinned.
type Base<'a, D, R> = Read<'a, Logged<<D as Draft>::Version, <R as Rule<D>>::Op>>;

/// A structure with its log. See the [module's text](self).
pub(crate) struct Log<D: Draft, R: Rule<D>> {
    root: atomic::Arc<Root<Logged<D::Version, R::Op>>>,
    /// From here the end of the log is found.
    tail: AtomicPtr<Entry<R::Op>>,
    /// The number of the version that somebody builds on, or [`NOBODY`]. A hint.
    building: AtomicU64,
    rule: R,
    batch: usize,
}

impl<D: Draft, R: Rule<D>> Log<D, R> {
    /// A log that starts with the version `first` and no operations.
    pub(crate) fn new(first: D::Version, rule: R) -> Self {
        Self::with_batch(first, rule, BATCH)
    }

    /// As [`new`](Self::new), with another limit for the operations of one version.
    fn with_batch(first: D::Version, rule: R, batch: usize) -> Self {
        let Share(start) = Share::of(&Entry::new(None));
        let root = Root::new(Logged {
            version: first,
            position: 0,
            first: start,
            last: start,
            results: Vec::new(),
            delivered: AtomicBool::new(true),
        });
        Self {
            root: atomic::Arc::new(root),
            tail: AtomicPtr::new(start),
            building: AtomicU64::new(NOBODY),
            rule,
            batch,
        }
    }

    /// The current version, for a short look: it keeps memory from being freed.
    pub(crate) fn read(&self) -> Base<'_, D, R> {
        self.root.read()
    }

    /// The current version, to keep.
    pub(crate) fn snapshot(&self) -> Snapshot<Logged<D::Version, R::Op>> {
        self.root.snapshot()
    }

    /// Writes `op` and returns when it is done.
    pub(crate) fn submit(&self, op: R::Op) -> Done {
        let entry = Entry::new(Some(op));
        self.append(slice::from_ref(&entry));
        self.settle(&entry)
    }

    /// Writes `ops` in this order and returns when all are done.
    ///
    /// Up to [`CHAIN`] of them have contiguous positions; more are appended piece by piece.
    pub(crate) fn submit_all(&self, ops: Vec<R::Op>) -> Vec<Done> {
        let mut done = Vec::with_capacity(ops.len());
        let mut ops = ops.into_iter();
        while ops.len() > 0 {
            let chain: Vec<_> = ops.by_ref().take(CHAIN).map(|op| Entry::new(Some(op))).collect();
            self.append(&chain);
            done.extend(chain.iter().map(|entry| self.settle(entry)));
        }
        done
    }

    /// Appends new entries, of which there is at least one, as one piece.
    fn append(&self, chain: &[Arc<Entry<R::Op>>]) {
        let (mut first, mut last) = (ptr::null_mut(), ptr::null_mut::<Entry<R::Op>>());
        for entry in chain.iter().rev() {
            entry.next.store(first, Relaxed);
            Share(first) = Share::of(entry);
            if last.is_null() {
                last = first;
            }
        }
        let _pin = pin();
        let tail = self.tail.load(Acquire);
        let mut end = tail;
        loop {
            // SAFETY: `end` was the tail or followed it after this thread pinned. The tail passes
            // an entry before the entry is retired, so this one lives while the thread is pinned.
            let entry = unsafe { &*end };
            let next = entry.next.load(Acquire);
            if !next.is_null() {
                end = next;
                continue;
            }
            for (position, new) in (entry.position() + 1..).zip(chain) {
                new.position.store(position, Relaxed);
            }
            match entry.next.compare_exchange(next, first, Release, Acquire) {
                Ok(_) => break,
                Err(other) => end = other,
            }
        }
        reach(Point::Appended);
        // Should it fail, then others have moved the tail, and forward as everyone does.
        let _ = self.tail.compare_exchange(tail, last, Release, Relaxed);
    }

    /// Works until `entry`, which was appended, is done.
    fn settle(&self, entry: &Entry<R::Op>) -> Done {
        let mut patience = Patience::default();
        loop {
            if let Some(done) = entry.outcome() {
                return done;
            }
            let base = self.root.read();
            reach(Point::Loaded);
            if !cfg!(feature = "broken-deliver") {
                Logged::deliver(&base);
            }
            if entry.is_done() {
                continue;
            }
            let no = base.no();
            let impolite = patience.is_over();
            if impolite || self.claim(no) {
                assert!(base.position < entry.position(), "a replaced version was not delivered");
                self.build(base);
                Logged::deliver(&self.root.read());
                if !impolite {
                    self.release(no);
                }
            } else {
                // A waiter that stayed pinned would keep the builder from freeing memory.
                drop(base);
                let busy = || self.building.load(Relaxed) == no && !entry.is_done();
                while busy() && patience.pause() {}
            }
        }
    }

    /// Says that this thread builds on version `no`, unless another said so before.
    fn claim(&self, no: u64) -> bool {
        let seen = self.building.load(Relaxed);
        seen != no && self.building.compare_exchange(seen, no, Relaxed, Relaxed).is_ok()
    }

    /// Says that version `no` is not being built on any more.
    fn release(&self, no: u64) {
        // Should it fail, then somebody builds on another version already.
        let _ = self.building.compare_exchange(no, NOBODY, Relaxed, Relaxed);
    }

    /// Builds the version after `base` and publishes it, if nobody else did.
    fn build(&self, base: Base<'_, D, R>) {
        let (ops, last) = self.waiting(&base);
        // SAFETY: `base` pins this thread until the draft is published or discarded.
        let mut draft = unsafe { D::begin(&base.version) };
        let results = self.apply(&mut draft, &ops, base.position);
        let (version, blocks) = draft.finish();
        let base_no = base.no();
        let next = Box::new(Logged {
            version,
            position: base.position + ops.len() as u64,
            first: base.last,
            last,
            results,
            delivered: AtomicBool::new(false),
        });
        let garbage = blocks.into_iter().map(Waste::Block).chain(self.passed(&base)).collect();
        reach(Point::Built);
        if cfg!(feature = "broken-early") {
            Logged::deliver(&next);
            thread::yield_now();
        }
        match self.root.publish(base, next, garbage) {
            Ok(()) => reach(Point::Published),
            Err((_base, refused)) => {
                reach(Point::Refused);
                // SAFETY: nobody saw it, and `base` still pins this thread.
                unsafe { D::discard(refused.version, base_no) };
            }
        }
    }

    /// The operations that the version after `base` shall apply, and the entry of the last one.
    fn waiting<'a>(&self, base: &'a Base<'_, D, R>) -> (Vec<&'a R::Op>, *mut Entry<R::Op>) {
        let mut ops = Vec::with_capacity(self.batch);
        let mut last = base.last;
        while ops.len() < self.batch {
            // SAFETY: neither `base.last` nor what follows it is retired before `base` is.
            let next = unsafe { &*last }.next.load(Acquire);
            if next.is_null() {
                break;
            }
            last = next;
            // SAFETY: as above.
            ops.extend(unsafe { &*last }.op.as_ref());
        }
        (ops, last)
    }

    /// Applies `ops`, which follow after `position`.
    fn apply(&self, draft: &mut D, ops: &[&R::Op], position: u64) -> Vec<Words> {
        let mut results = Vec::with_capacity(ops.len());
        for group in ops.chunks(GROUP) {
            self.rule.warm(draft, group);
            for op in group {
                let position = position + results.len() as u64 + 1;
                results.push(self.rule.apply(draft, op, position));
            }
        }
        results
    }

    /// The entries that the log needs no more once `base` is replaced: from the one before its
    /// batch to the last but one of the batch. Sees to it that the tail is past them.
    fn passed(&self, base: &Base<'_, D, R>) -> Vec<Waste<D::Version, R::Op>> {
        loop {
            let tail = self.tail.load(Acquire);
            // SAFETY: this thread is pinned, and the tail passes an entry before it is retired.
            if unsafe { &*tail }.position() >= base.position {
                break;
            }
            let _ = self.tail.compare_exchange(tail, base.last, Release, Relaxed);
        }
        let mut entry = base.first;
        let mut entries = Vec::with_capacity(base.results.len());
        while entry != base.last {
            entries.push(Waste::Entry(Share(entry)));
            // SAFETY: the entries of a version's batch are not retired before the version is.
            entry = unsafe { &*entry }.next.load(Acquire);
        }
        entries
    }
}

/// How long a waiter spins for a builder. A batch of a few cheap operations takes about as long, and
/// so may spare the system call. Spinning on instead of yielding made 2 to 8 threads on 2 processors
/// two to five times slower, since the builder may be waiting for the processor.
#[cfg(not(any(loom, shuttle)))]
const SPIN: std::time::Duration = std::time::Duration::from_micros(1);

/// How long a waiter lets others build, per operation, before it builds itself: longer than the
/// build of a full batch, which takes some 100 microseconds on a list of a million members and 200
/// at ten million. Otherwise a waiter builds what is being built, and both are slower for it.
#[cfg(not(any(loom, shuttle)))]
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_micros(500);

/// How long this thread has waited for others to build.
#[cfg(not(any(loom, shuttle)))]
#[derive(Default)]
struct Patience {
    since: Option<std::time::Instant>,
    over: bool,
}

#[cfg(not(any(loom, shuttle)))]
impl Patience {
    /// Waits a moment. False when it is time to stop.
    fn pause(&mut self) -> bool {
        let waited = self.since.get_or_insert_with(std::time::Instant::now).elapsed();
        if waited < SPIN {
            std::hint::spin_loop();
        } else {
            thread::yield_now();
        }
        self.over = waited >= PATIENCE;
        !self.over
    }

    fn is_over(&self) -> bool {
        self.over
    }
}

/// The most pauses of one operation in a model, where there is no time. None under loom, for which
/// the hints are too much: there, everybody builds at once.
#[cfg(any(loom, shuttle))]
pub(crate) const PATIENCE: u32 = if cfg!(loom) { 0 } else { 2 };

/// How often this thread has waited for others to build.
#[cfg(any(loom, shuttle))]
#[derive(Default)]
struct Patience {
    pauses: u32,
}

#[cfg(any(loom, shuttle))]
impl Patience {
    /// Waits a moment. False when it is time to stop.
    fn pause(&mut self) -> bool {
        thread::yield_now();
        self.pauses += 1;
        !self.is_over()
    }

    fn is_over(&self) -> bool {
        self.pauses == PATIENCE
    }
}

/// Where tests can stop a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// Its operation is linked, and the tail not moved yet.
    Appended,
    /// It has loaded the version that it might build on.
    Loaded,
    /// The next version is finished.
    Built,
    /// The next version is published, and its results not delivered yet.
    Published,
    /// Somebody else has published, and the next version is not discarded yet.
    Refused,
    /// Half the words of a result are stored.
    Delivering,
}

/// Marks that the thread has come to `point`. Does nothing but in tests.
fn reach(point: Point) {
    #[cfg(all(test, not(any(loom, shuttle))))]
    tests::reached(point);
    let _ = point;
}
