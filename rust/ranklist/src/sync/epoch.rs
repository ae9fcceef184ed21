//! Epochs: how long a block must be kept for the threads that are in the middle of a short read.
//!
//! A process-wide clock counts the publishes of all roots. A thread that starts to read *pins*
//! itself: it writes the time, its *era*, where everybody can see it, and takes it back when it has
//! done. A block that a publish replaced gets that publish's time as its *death*. It is freed when
//! no pin is older than that.
//!
//! Pinning takes a fixed number of steps and no read-modify-write. Readers never free anything.
//!
//! # Why it is safe
//!
//! Let a publish make block x unreachable by its compare-and-swap C on a root, and then move the
//! clock to d, the death of x. Let a thread S compute a [`horizon`] h >= d, and free x. Let R be a
//! reader: it reads the clock, stores what it read as its era e, executes the fence F, and only
//! then loads the root. Suppose R's load returned a version from before C, so that R may look at x.
//!
//! 1. **e < d.** Otherwise R read the clock at d or later. All changes of the clock are atomic
//!    additions, which continue each other's release sequence, so R's acquiring read synchronizes
//!    with the addition that made it d. C comes before that addition, hence before R's load of the
//!    root, which then could not have returned a version from before C. It does not matter which
//!    roots' publishes moved the clock on from there.
//! 2. **C happens before S's fence G**, in [`horizon`]. Since d <= h, and h is at most what S read
//!    from the clock just before G, that read synchronizes with the addition that made it d.
//! 3. **F precedes G** in the order of all sequentially consistent fences. If G preceded F, then R's
//!    load, which follows F, could not miss C, which happens before G.
//! 4. So S, which looks at the eras after G, sees R's era e, or what was stored there later. If it
//!    saw e, then h <= e < d, and x is not freed. If it saw something later, then R had ended that
//!    pin. Every store to an era is a release and S acquires it, so all that R read under that pin
//!    happens before x is freed.
//!
//! The same holds if R pins itself once and loads the root several times, and for a thread's record
//! that another thread takes over.
//!
//! # When a pinned thread is stopped
//!
//! Everybody else goes on, at the same speed, but nothing that any root retires from then on is
//! freed until the thread goes on. That is the price of cheap reads, and the reason why a read must
//! be short, must not wait for anything, and cannot be moved to another thread. [`oldest_pin`] tells
//! how long this has been going on, in publishes.
//!
//! # Limits
//!
//! The process keeps one record of 128 bytes for each thread that ever ran at the same time as the
//! others and pinned itself: as many as the most threads, not as all threads.

#![allow(unsafe_code, reason = "records of threads are shared by raw pointers and never freed")]

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;

use super::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use super::atomic::{AtomicBool, AtomicPtr, AtomicU64, fence, statics};

/// The era of a thread that is not pinned. The clock starts above it.
const NOT_PINNED: u64 = 0;

/// What all threads share.
struct Domain {
    clock: Clock,
    /// The newest record; the others hang behind it. Records are never removed.
    locals: AtomicPtr<Local>,
}

/// The clock has its cache line to itself: every publish writes it, and every pin reads it.
#[repr(align(128))]
struct Clock(AtomicU64);

/// The record of one thread. Its cache line is written by that thread alone.
#[repr(align(128))]
struct Local {
    /// What the clock showed when the thread pinned itself, or [`NOT_PINNED`].
    era: AtomicU64,
    /// Whether a thread has this record.
    taken: AtomicBool,
    /// How many pins the thread has. For the thread that has the record.
    depth: Cell<usize>,
    /// Whether the last pin has to give the record back. For the thread that has the record.
    orphan: Cell<bool>,
    /// Set before the record is published, and never again.
    next: Cell<*const Local>,
}

// SAFETY: `depth` and `orphan` are used by the thread that has the record alone, and are handed from
// one to the next by the release and acquire of `taken`. `next` is written before the record is
// published, and only read afterwards. The rest is atomic.
unsafe impl Sync for Local {}

statics! {
    process DOMAIN: Domain =
        Domain { clock: Clock(AtomicU64::new(1)), locals: AtomicPtr::new(ptr::null_mut()) };
    thread HANDLE: Handle = Handle(Cell::new(None));
}

/// A thread's hold on its record. Gives it back when the thread ends.
struct Handle(Cell<Option<&'static Local>>);

impl Handle {
    /// This thread's record. It is taken when the thread pins itself for the first time.
    fn local(&self) -> &'static Local {
        self.0.get().unwrap_or_else(|| {
            let local = Local::take();
            self.0.set(Some(local));
            local
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(local) = self.0.get() {
            // Another thread-local value may hold a pin that is dropped after this one.
            if local.depth.get() == 0 {
                local.give_back();
            } else {
                local.orphan.set(true);
            }
        }
    }
}

impl Local {
    /// A record that no other thread has.
    fn take() -> &'static Self {
        let free = locals().find(|local| {
            !local.taken.load(Relaxed)
                && local.taken.compare_exchange(false, true, Acquire, Relaxed).is_ok()
        });
        free.unwrap_or_else(Self::add)
    }

    /// A new record.
    fn add() -> &'static Self {
        let local: &'static Self = Box::leak(Box::new(Self {
            era: AtomicU64::new(NOT_PINNED),
            taken: AtomicBool::new(true),
            depth: Cell::new(0),
            orphan: Cell::new(false),
            next: Cell::new(ptr::null()),
        }));
        let mut first = DOMAIN.locals.load(Relaxed);
        loop {
            local.next.set(first);
            let this = ptr::from_ref(local).cast_mut();
            match DOMAIN.locals.compare_exchange_weak(first, this, Release, Relaxed) {
                Ok(_) => return local,
                Err(now) => first = now,
            }
        }
    }

    fn give_back(&self) {
        self.orphan.set(false);
        self.taken.store(false, Release);
    }
}

/// All records, taken or not.
fn locals() -> impl Iterator<Item = &'static Local> {
    // SAFETY: records are leaked, so a pointer to one is good forever; acquiring the first makes
    // what its thread wrote before publishing it visible, and the same of all behind it.
    let first = unsafe { DOMAIN.locals.load(Acquire).as_ref::<'static>() };
    // SAFETY: as above.
    std::iter::successors(first, |local| unsafe { local.next.get().as_ref::<'static>() })
}

/// The eras of all threads that are pinned.
fn eras() -> impl Iterator<Item = u64> {
    locals().map(|local| local.era.load(Acquire)).filter(|&era| era != NOT_PINNED)
}

/// Keeps what the thread can reach from now on from being freed. It belongs to its thread.
pub(crate) struct Pin {
    local: &'static Local,
    here: PhantomData<*const ()>,
}

/// Pins the thread. Pins nest: the first of several counts.
pub(crate) fn pin() -> Pin {
    // A thread that is ending may have given its record back already. It gets one for this pin.
    let local = HANDLE.try_with(Handle::local).unwrap_or_else(|_| {
        let local = Local::take();
        local.orphan.set(true);
        local
    });
    let depth = local.depth.get();
    local.depth.set(depth + 1);
    if depth == 0 {
        // Releases the reads of the pin before: whoever sees this era need not have seen its end.
        local.era.store(DOMAIN.clock.0.load(Acquire), Release);
        fence(SeqCst);
    }
    Pin { local, here: PhantomData }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let depth = self.local.depth.get() - 1;
        self.local.depth.set(depth);
        if depth == 0 {
            self.local.era.store(NOT_PINNED, Release);
            if self.local.orphan.get() {
                self.local.give_back();
            }
        }
    }
}

/// Moves the clock on, after a publish. Returns the time of death of what it replaced.
pub(crate) fn tick() -> u64 {
    DOMAIN.clock.0.fetch_add(1, AcqRel) + 1
}

/// What died at this time or before is out of reach of all threads that are pinned.
///
/// Looks at every thread's record.
pub(crate) fn horizon() -> u64 {
    let now = DOMAIN.clock.0.load(Acquire);
    fence(SeqCst);
    eras().fold(now, u64::min)
}

/// How many publishes ago, of all roots together, the oldest pin was made. `None` if there is none.
///
/// A number that keeps growing means that a thread has stopped within a read, and that no memory is
/// freed until it goes on.
pub(crate) fn oldest_pin() -> Option<u64> {
    let oldest = eras().min()?;
    Some(DOMAIN.clock.0.load(Relaxed).saturating_sub(oldest))
}

/// How many records there are, taken or not.
#[cfg(all(test, not(any(loom, shuttle))))]
pub(crate) fn records() -> usize {
    locals().count()
}
