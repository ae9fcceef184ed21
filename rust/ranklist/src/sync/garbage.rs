//! What a publish replaced, on its way to being freed.
//!
//! A [`Dead`] item is in one place at any time: in the hands of one thread, or on one [`Pile`].
//! Nothing here decides when an item may be freed.

#![allow(unsafe_code, reason = "items are owned by raw pointers while readers may look at them")]

use std::mem::take;
use std::ptr::{self, NonNull};

use super::atomic::Ordering::{Acquire, Relaxed, Release};
use super::atomic::{AtomicPtr, AtomicUsize};

/// A block that was replaced. A raw handle: dropping it does nothing.
pub(crate) trait Garbage: Send + 'static {
    /// The number of the version that made the block.
    ///
    /// May be smaller than that of the first version that was published with it; never greater.
    fn birth(&self) -> u64;

    /// Frees the block.
    ///
    /// # Safety
    ///
    /// Nobody can reach it any more, and this is called once for each block.
    unsafe fn free(self);
}

/// A version of a structure made of blocks. Dropping it leaves the blocks alone.
pub(crate) trait Versioned: Send + Sync + 'static {
    /// A block that a later version does without.
    type Garbage: Garbage;

    /// The number of this version. It grows along the published versions, not always by 1. The
    /// first is greater than 0, and all are below 2^63.
    fn no(&self) -> u64;

    /// Frees every block that this version reaches.
    ///
    /// # Safety
    ///
    /// Nobody else uses any of them, and this is called once, when the version's root is dropped.
    unsafe fn dismantle(&mut self);
}

/// What is left of a version that was replaced.
pub(super) enum Remains<V: Versioned> {
    /// A block that the next version does without.
    Block(V::Garbage),
    /// The version itself, without its blocks.
    Version(NonNull<V>),
}

/// An item that the current version no longer reaches.
pub(super) struct Dead<V: Versioned> {
    /// The number of the first version that does without it.
    pub(super) death: u64,
    /// What the clock showed when that version was published.
    pub(super) era: u64,
    /// The item.
    pub(super) remains: Remains<V>,
}

impl<V: Versioned> Dead<V> {
    /// The number of the first version that may have it.
    pub(super) fn birth(&self) -> u64 {
        match &self.remains {
            Remains::Block(block) => block.birth(),
            // SAFETY: it is freed by consuming this item, and nobody writes to a version.
            Remains::Version(version) => unsafe { version.as_ref() }.no(),
        }
    }

    /// Frees it.
    ///
    /// # Safety
    ///
    /// Nobody can reach it any more.
    pub(super) unsafe fn free(self) {
        match self.remains {
            // SAFETY: the caller's promise; consuming the item makes this the only call.
            Remains::Block(block) => unsafe { block.free() },
            // SAFETY: it came out of a box when it was published, and as above.
            Remains::Version(version) => drop(unsafe { Box::from_raw(version.as_ptr()) }),
        }
    }
}

/// A stack to which everybody can add, and from which one takes all there is.
///
/// That nobody takes a single entry keeps it simple: an entry's link is never read by two threads.
/// Whoever takes the pile has seen all that was done before its items were added.
pub(super) struct Pile<V: Versioned> {
    top: AtomicPtr<Batch<V>>,
    /// How many items the pile has, for statistics. Items on their way count as well.
    len: AtomicUsize,
}

struct Batch<V: Versioned> {
    dead: Vec<Dead<V>>,
    below: *mut Batch<V>,
}

impl<V: Versioned> Pile<V> {
    /// An empty pile.
    pub(super) fn new() -> Self {
        Self { top: AtomicPtr::new(ptr::null_mut()), len: AtomicUsize::new(0) }
    }

    /// How many items there are, more or less, while others add and take some.
    pub(super) fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// Adds items.
    pub(super) fn add(&self, mut dead: Vec<Dead<V>>) {
        // They may stay for long.
        dead.shrink_to_fit();
        self.len.fetch_add(dead.len(), Relaxed);
        let mut below = self.top.load(Relaxed);
        let batch = Box::into_raw(Box::new(Batch { dead, below }));
        while let Err(now) = self.top.compare_exchange_weak(below, batch, Release, Relaxed) {
            below = now;
            // SAFETY: the batch has not been published yet.
            unsafe { (*batch).below = below };
        }
    }

    /// Takes all items.
    pub(super) fn take(&self) -> Vec<Dead<V>> {
        if self.top.load(Relaxed).is_null() {
            return Vec::new();
        }
        let mut all = Vec::new();
        let mut top = self.top.swap(ptr::null_mut(), Acquire);
        while !top.is_null() {
            // SAFETY: it came out of a box in `add`, and the swap gave the whole stack to us alone.
            let mut batch = unsafe { Box::from_raw(top) };
            top = batch.below;
            if all.is_empty() {
                all = take(&mut batch.dead);
            } else {
                all.append(&mut batch.dead);
            }
            // A later batch at the same address makes no difference here, but loom's search needs
            // addresses that are the same whenever it repeats a run.
            #[cfg(loom)]
            Box::leak(batch);
        }
        self.len.fetch_sub(all.len(), Relaxed);
        all
    }
}
