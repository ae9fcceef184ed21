//! The root: the current version, short reads, long snapshots, and publishing.
//!
//! Who frees what: a publisher frees what its publish, and those before it, replaced and nobody
//! needs any more; a snapshot that is released frees what only it needed. What a thread in a short
//! read may still see waits, on the root, for the next publish or release to look again. Readers
//! never free anything.
//!
//! A root takes 40 bytes beside its version. There may be a million of them.

#![allow(unsafe_code, reason = "versions are shared by raw pointers; see `epoch` and `slots`")]

use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;

use super::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use super::atomic::{Arc, AtomicPtr, AtomicU64, fence};
use super::epoch::{self, Pin};
use super::garbage::{Dead, Pile, Remains};
pub(crate) use super::garbage::{Garbage, Versioned};
use super::slots::{Slot, Slots};

/// Where the versions of one structure are published.
pub(crate) struct Root<V: Versioned> {
    current: AtomicPtr<V>,
    /// What no snapshot needs and a short read may still see.
    limbo: Pile<V>,
    /// No item in limbo died before this time, and `u64::MAX` if there is none. As long as a stopped
    /// reader holds back even that item, publishing need not look at all the others.
    oldest: AtomicU64,
    slots: Slots<V>,
}

/// What a root keeps beside its current version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RootMemory {
    /// Versions that a snapshot holds. A snapshot and its clones count once.
    pub(crate) snapshots: usize,
    /// Blocks and versions that were replaced and that a snapshot needs.
    pub(crate) parked: usize,
    /// Blocks and versions that were replaced and that a thread in a short read may still see.
    pub(crate) waiting: usize,
}

impl<V: Versioned> Root<V> {
    /// A root whose current version is `first`.
    pub(crate) fn new(first: V) -> Self {
        Self {
            current: AtomicPtr::new(Box::into_raw(Box::new(first))),
            limbo: Pile::new(),
            oldest: AtomicU64::new(u64::MAX),
            slots: Slots::new(),
        }
    }

    /// The current version, for a short read. Takes a fixed number of steps.
    ///
    /// Holds up the freeing of memory in the whole process until it is dropped.
    pub(crate) fn read(&self) -> Read<'_, V> {
        let pin = epoch::pin();
        Read { version: self.load(), _pin: pin, root: PhantomData }
    }

    /// The current version, for as long as it takes, on any thread.
    pub(crate) fn snapshot(self: &Arc<Self>) -> Snapshot<V> {
        let first = self.read();
        let slot = self.slots.claim(first.no());
        fence(SeqCst);
        let version = self.load();
        // SAFETY: the version was current after the thread was pinned, and it still is.
        let parked = slot.hold(unsafe { version.as_ref() }.no());
        drop(first);
        if !parked.is_empty() {
            self.reclaim(self.slots.park(parked));
        }
        let slot = NonNull::from(slot);
        Snapshot(Arc::new(Hold { root: Arc::clone(self), slot, version }))
    }

    /// Replaces the version that `base` holds by `next`, if it is still the current one.
    ///
    /// `garbage` are the blocks that `base` reaches and `next` does not. They are retired, and what
    /// nobody needs by now is freed, after the end of `base`. If somebody else has published since
    /// `base` was read, both are given back, as `next` shares blocks with `base`, and `garbage` is
    /// forgotten: it is still in use.
    pub(crate) fn publish<'a>(
        &self,
        base: Read<'a, V>,
        next: Box<V>,
        garbage: Vec<V::Garbage>,
    ) -> Result<(), (Read<'a, V>, Box<V>)> {
        self.replace(base.version, base, next, garbage)
    }

    /// The same as [`publish`](Self::publish), from a snapshot of this root.
    pub(crate) fn publish_from(
        &self,
        base: Snapshot<V>,
        next: Box<V>,
        garbage: Vec<V::Garbage>,
    ) -> Result<(), (Snapshot<V>, Box<V>)> {
        self.replace(base.0.version, base, next, garbage)
    }

    /// What is kept by now. Numbers of different moments, while others publish.
    pub(crate) fn memory(&self) -> RootMemory {
        RootMemory {
            snapshots: self.slots.iter().filter(|slot| slot.is_claimed()).count(),
            parked: self.slots.iter().map(Slot::parked).sum(),
            waiting: self.limbo.len(),
        }
    }

    fn load(&self) -> NonNull<V> {
        // SAFETY: there is a current version at any time.
        unsafe { NonNull::new_unchecked(self.current.load(Acquire)) }
    }

    /// Publishes `next` over `old`, which `base` keeps from being freed.
    fn replace<B: Deref<Target = V>>(
        &self,
        old: NonNull<V>,
        base: B,
        next: Box<V>,
        mut garbage: Vec<V::Garbage>,
    ) -> Result<(), (B, Box<V>)> {
        let death = next.no();
        debug_assert!(base.no() < death, "version numbers grow");
        let next = Box::into_raw(next);
        let Ok(old) = self.exchange(old.as_ptr(), next) else {
            // SAFETY: it came out of a box just now, and has not been published.
            return Err((base, unsafe { Box::from_raw(next) }));
        };
        let era = epoch::tick();
        // First, so that neither this thread's pin nor its snapshot keeps what it replaced.
        drop(base);
        if cfg!(feature = "broken-reclaim") {
            // SAFETY: there is none. This is a test double.
            garbage.drain(..).for_each(|block| unsafe { block.free() });
        }
        // SAFETY: it was the current version.
        let old = Remains::Version(unsafe { NonNull::new_unchecked(old) });
        let remains = garbage.into_iter().map(Remains::Block).chain([old]);
        let dead = remains.map(|remains| Dead { death, era, remains }).collect();
        fence(SeqCst);
        self.reclaim(self.slots.park(dead));
        Ok(())
    }

    #[cfg(not(feature = "broken-publish"))]
    fn exchange(&self, old: *mut V, next: *mut V) -> Result<*mut V, *mut V> {
        // `base` holds `old`, so no other version can have come to its address.
        self.current.compare_exchange(old, next, AcqRel, Relaxed)
    }

    #[cfg(feature = "broken-publish")]
    fn exchange(&self, _: *mut V, next: *mut V) -> Result<*mut V, *mut V> {
        Ok(self.current.swap(next, AcqRel))
    }

    /// Frees what no short read can see any more, of `dead`, which no snapshot needs, and of limbo.
    fn reclaim(&self, mut dead: Vec<Dead<V>>) {
        let horizon = epoch::horizon();
        if self.oldest.load(Relaxed) <= horizon {
            // Before taking the pile: whoever adds to it later sets the time again.
            self.oldest.swap(u64::MAX, AcqRel);
            dead.append(&mut self.limbo.take());
        }
        let waiting: Vec<_> = dead.extract_if(.., |dead| dead.era > horizon).collect();
        if let Some(oldest) = waiting.iter().map(|dead| dead.era).min() {
            self.limbo.add(waiting);
            self.oldest.fetch_min(oldest, Release);
        }
        for dead in dead {
            // SAFETY: the current version does without it, no slot needs it, see `slots`, and no
            // thread in a short read can see it, see `epoch`.
            unsafe { dead.free() };
        }
    }
}

impl<V: Versioned> Drop for Root<V> {
    fn drop(&mut self) {
        let mut dead = self.limbo.take();
        for slot in self.slots.iter() {
            dead.append(&mut slot.unpark());
        }
        for dead in dead {
            // SAFETY: reads borrow the root and snapshots share it, so there are none left.
            unsafe { dead.free() };
        }
        // SAFETY: it came out of a box when it was published, and as above.
        unsafe { Box::from_raw(self.load().as_ptr()).dismantle() };
    }
}

/// A version of a root, for a short read. It belongs to its thread, and must not outlive a wait.
pub(crate) struct Read<'a, V: Versioned> {
    version: NonNull<V>,
    /// Also keeps this type from being sent to or shared with another thread.
    _pin: Pin,
    /// The root outlives its reads.
    root: PhantomData<&'a Root<V>>,
}

impl<V: Versioned> Deref for Read<'_, V> {
    type Target = V;

    fn deref(&self) -> &V {
        // SAFETY: it was current after the pin, which keeps it from being freed; see `epoch`.
        unsafe { self.version.as_ref() }
    }
}

/// A version of a root, for as long as it takes. Clones share one hold on it.
pub(crate) struct Snapshot<V: Versioned>(Arc<Hold<V>>);

impl<V: Versioned> Clone for Snapshot<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V: Versioned> Deref for Snapshot<V> {
    type Target = V;

    fn deref(&self) -> &V {
        // SAFETY: the slot keeps it from being freed; see `slots`.
        unsafe { self.0.version.as_ref() }
    }
}

/// A claim on a version. Released when the last snapshot of it is dropped.
struct Hold<V: Versioned> {
    root: Arc<Root<V>>,
    slot: NonNull<Slot<V>>,
    version: NonNull<V>,
}

// SAFETY: the slot is made of atomics and lives as long as the root, and the version is both `Send`
// and `Sync`.
unsafe impl<V: Versioned> Send for Hold<V> {}
// SAFETY: as above.
unsafe impl<V: Versioned> Sync for Hold<V> {}

impl<V: Versioned> Drop for Hold<V> {
    fn drop(&mut self) {
        // SAFETY: the slot lives as long as the root.
        let mut parked = unsafe { self.slot.as_ref() }.release();
        if cfg!(feature = "broken-leak") {
            parked.clear();
        }
        self.root.reclaim(self.root.slots.park(parked));
    }
}
