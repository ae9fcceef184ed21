//! Claims of long snapshots: which versions are still needed, and what is kept for them.
//!
//! A snapshot has a *slot* of its root, which shows the number of its version. Whoever retires an
//! item looks at all slots, and *parks* the item on one whose snapshot still needs it. When that
//! snapshot is released, what is parked there is looked at again. So a snapshot costs the items
//! that its own version needs, and no thread has to hold a pin for it.
//!
//! An item that was born in version b and is dead from version d on is needed by the versions from
//! b to d - 1, since versions follow each other in one chain.
//!
//! # Why nothing is freed too early
//!
//! A snapshot cannot know which version it will get before it has claimed a slot for it, as the
//! root may move on in between. So it claims a slot with the number a0 of the version that it sees
//! first; as long as the slot is *registering*, everything that dies after a0 counts as needed.
//! Then it executes a fence F, loads the root again, and puts the number a >= a0 of what it got in
//! the slot.
//!
//! Let a publish replace a version by its compare-and-swap C and then execute the fence G before it
//! looks at the slots. If the snapshot's second load returned a version from before C, then F
//! precedes G, since otherwise that load could not miss C, which happens before G. So whoever looks
//! at the slots after G sees the claim, or what was stored there later: the exact number, or the end
//! of this snapshot. The same holds for whoever takes the item off a pile later and looks again,
//! because adding to a pile and taking it carries the order on.
//!
//! A claim never moves from one slot to another. If it could, a look at one slot after the other
//! might miss it in both. That is why clones of a snapshot share one slot.
//!
//! # Why nothing is kept for ever
//!
//! Whoever parks an item on a slot executes a fence and reads the slot's claim again. Whoever changes
//! a claim, to its exact number or to free, executes a fence and looks for parked items. Of two such
//! threads the one with the later fence sees what the other did: either the parker finds the claim
//! changed, or the other finds the item. Both then take what is parked on the slot and look at it
//! again. So an item stays on a slot only as long as the claim for which it was put there.
//!
//! # Limits
//!
//! Slots are made in blocks of 8, as many as there are snapshots at one time, and freed with the
//! root. Every publish looks at all of them. Whoever hands out snapshots bounds their number.

#![allow(unsafe_code, reason = "blocks of slots are shared by raw pointers until the root drops")]

use std::array;
use std::ptr;

use super::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use super::atomic::{AtomicPtr, AtomicU64, fence};
use super::garbage::{Dead, Pile, Versioned};

/// How many slots are made at once.
const SLOTS: usize = 8;

/// Which versions a slot needs: none, one (its number shifted left), or, with [`REGISTERING`], every
/// one from its number on.
type Claim = u64;

/// The claim of a slot that nobody has.
const FREE: Claim = 0;

/// Set while the snapshot does not know its version yet.
const REGISTERING: Claim = 1;

/// The claim of one snapshot.
pub(super) struct Slot<V: Versioned> {
    claim: AtomicU64,
    parked: Pile<V>,
}

impl<V: Versioned> Slot<V> {
    fn new(claim: Claim) -> Self {
        Self { claim: AtomicU64::new(claim), parked: Pile::new() }
    }

    /// Whether a snapshot has this slot.
    pub(super) fn is_claimed(&self) -> bool {
        self.claim.load(Relaxed) != FREE
    }

    /// How many items are parked here.
    pub(super) fn parked(&self) -> usize {
        self.parked.len()
    }

    /// Takes what is parked here.
    pub(super) fn unpark(&self) -> Vec<Dead<V>> {
        self.parked.take()
    }

    /// Says which version the snapshot has. Returns what may no longer be needed.
    pub(super) fn hold(&self, no: u64) -> Vec<Dead<V>> {
        self.change(no << 1)
    }

    /// Gives the slot back. Returns what may no longer be needed.
    pub(super) fn release(&self) -> Vec<Dead<V>> {
        self.change(FREE)
    }

    fn change(&self, claim: Claim) -> Vec<Dead<V>> {
        self.claim.store(claim, Release);
        fence(SeqCst);
        self.unpark()
    }
}

/// Whether `claim` covers a version that has `dead`.
fn needs<V: Versioned>(claim: Claim, dead: &Dead<V>) -> bool {
    let no = claim >> 1;
    claim != FREE && no < dead.death && (claim & REGISTERING != 0 || dead.birth() <= no)
}

struct Block<V: Versioned> {
    slots: [Slot<V>; SLOTS],
    next: *mut Block<V>,
}

/// The slots of a root. It has none before its first snapshot.
pub(super) struct Slots<V: Versioned> {
    /// The newest block. Blocks are only ever added.
    first: AtomicPtr<Block<V>>,
}

impl<V: Versioned> Slots<V> {
    /// No slots.
    pub(super) fn new() -> Self {
        Self { first: AtomicPtr::new(ptr::null_mut()) }
    }

    /// All slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot<V>> {
        // SAFETY: blocks live as long as `self`, and acquiring the first makes it and those behind
        // it visible; their links are never changed again.
        let first = unsafe { self.first.load(Acquire).as_ref() };
        // SAFETY: as above.
        let blocks = std::iter::successors(first, |block| unsafe { block.next.as_ref() });
        blocks.flat_map(|block| &block.slots)
    }

    /// Claims a slot for a snapshot of version `no` or a later one.
    pub(super) fn claim(&self, no: u64) -> &Slot<V> {
        let claim = no << 1 | REGISTERING;
        let free = self.iter().find(|slot| {
            !slot.is_claimed() && slot.claim.compare_exchange(FREE, claim, AcqRel, Relaxed).is_ok()
        });
        free.unwrap_or_else(|| self.add(claim))
    }

    /// Adds a block, and returns its first slot, which has `claim`.
    fn add(&self, claim: Claim) -> &Slot<V> {
        let slots = array::from_fn(|i| Slot::new(if i == 0 { claim } else { FREE }));
        let mut next = self.first.load(Relaxed);
        let block = Box::into_raw(Box::new(Block { slots, next }));
        while let Err(now) = self.first.compare_exchange_weak(next, block, Release, Relaxed) {
            next = now;
            // SAFETY: the block has not been published yet.
            unsafe { (*block).next = next };
        }
        // SAFETY: blocks live as long as `self`, and are only read from now on.
        unsafe { &(*block).slots[0] }
    }

    /// Parks what a snapshot needs, and returns the rest.
    ///
    /// The caller has executed a sequentially consistent fence after the publish that made the items
    /// garbage, or has them from a thread that has.
    pub(super) fn park(&self, mut dead: Vec<Dead<V>>) -> Vec<Dead<V>> {
        let mut free = Vec::new();
        while !dead.is_empty() {
            let mut again = Vec::new();
            for slot in self.iter() {
                let claim = slot.claim.load(Acquire);
                let needed: Vec<_> = dead.extract_if(.., |dead| needs(claim, dead)).collect();
                if needed.is_empty() {
                    continue;
                }
                slot.parked.add(needed);
                fence(SeqCst);
                if slot.claim.load(Acquire) != claim {
                    again.append(&mut slot.unpark());
                }
            }
            free.append(&mut dead);
            dead = again;
        }
        free
    }
}

impl<V: Versioned> Drop for Slots<V> {
    fn drop(&mut self) {
        let mut block = self.first.load(Relaxed);
        while !block.is_null() {
            // SAFETY: it came out of a box in `add`, and nobody else has `self` any more.
            block = unsafe { Box::from_raw(block) }.next;
        }
    }
}
