//! Blocks: the memory that versions are made of.
//!
//! A version is a graph of *blocks*, each one allocation with a [`Head`] in front. Two rules make
//! it safe to read a version without a lock while the next one is being built:
//!
//! * A block that a published version reaches is never written again, but for the cached hash of a
//!   tree node, which is an atomic.
//! * It is freed only when nobody can hold a version that reaches it; see [`crate::sync`].
//!
//! A [`Maker`] builds the next version. Blocks that it made itself are *private*: their `birth` is
//! the number that it works under, nobody else knows them, and it changes them in place. Any other
//! block it copies, and notes the old one as *replaced*.
//!
//! Numbers also give savepoints. To freeze what has been built so far, the maker goes on under a
//! higher number: everything up to there is then copied before it is changed, as if it were
//! published, and giving up what came after is freeing the blocks with a higher birth.
//!
//! A parent is never older than its child: whoever writes a pointer into a block has made that
//! block, now. So a walk that looks for blocks after some number need not enter older ones.

#![allow(unsafe_code, reason = "this module owns the memory of all versions")]

mod recycle;

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::take;
use std::ptr::{self, NonNull};
use std::slice;

/// What every block starts with.
#[repr(C, align(16))]
pub(crate) struct Head {
    /// Number of the version that made the block.
    birth: u64,
    /// Rows, items or bytes in use; the kind of block says which.
    len: u32,
    class: u8,
}

/// Bytes of a [`Head`].
pub(crate) const HEAD: usize = size_of::<Head>();

/// A pointer to a block. Copying it copies no ownership: whoever frees a block says why he may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct Block(NonNull<Head>);

// SAFETY: a block is plain memory that belongs to no thread. Who may write it and when is said in
// the module's rules.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    /// Allocates a block of at least `bytes`, the head included. What follows the head is not
    /// initialised.
    fn alloc(bytes: usize, birth: u64, len: usize) -> Self {
        let class = class_of(bytes);
        let head = recycle::take(class).unwrap_or_else(|| allocate(class));
        #[cfg(test)]
        count_live(1, class_bytes(class));
        // SAFETY: the memory is fresh, aligned for a head and large enough for it.
        unsafe { head.write(Head { birth, len: len as u32, class }) };
        Self(head)
    }

    /// Frees the memory.
    ///
    /// # Safety
    ///
    /// Nobody reads or writes the block from now on.
    pub(crate) unsafe fn free(self) {
        let class = self.head().class;
        #[cfg(test)]
        count_live(-1, class_bytes(class));
        if !recycle::keep(self.0, class) {
            // SAFETY: the block was allocated for its class, and the caller gives it up.
            unsafe { deallocate(self.0, class) };
        }
    }

    fn head(&self) -> &Head {
        // SAFETY: holders of a block use it only while it is allocated.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn birth(self) -> u64 {
        self.head().birth
    }

    pub(crate) fn len(self) -> usize {
        self.head().len as usize
    }

    /// Changes the length of a private block.
    pub(crate) fn set_len(self, len: usize) {
        // SAFETY: only makers change lengths, and only of blocks that nobody else knows.
        unsafe { (*self.0.as_ptr()).len = len as u32 };
    }

    /// Bytes that the block takes, the head included.
    pub(crate) fn bytes(self) -> usize {
        class_bytes(self.head().class)
    }

    /// Whether a block of `bytes` would be of the same size class.
    pub(crate) fn is_of_class_for(self, bytes: usize) -> bool {
        self.head().class == class_of(bytes)
    }

    /// A pointer `offset` bytes into the block, which must be within [`bytes`](Self::bytes).
    pub(crate) fn at<T>(self, offset: usize) -> *mut T {
        debug_assert!(offset <= self.bytes());
        // SAFETY: the offset stays within the allocation, or one past its end.
        unsafe { self.0.as_ptr().byte_add(offset).cast() }
    }

    /// `len` items that start `offset` bytes into the block.
    ///
    /// # Safety
    ///
    /// They lie within the block, are initialised and aligned, and are not written during `'a`;
    /// the block lives as long.
    pub(crate) unsafe fn items<'a, T>(self, offset: usize, len: usize) -> &'a [T] {
        // SAFETY: the caller's promise.
        unsafe { slice::from_raw_parts(self.at(offset), len) }
    }

    /// Asks the processor to fetch the `lines` cache lines from `offset` on, and waits for nothing.
    pub(crate) fn prefetch(self, offset: usize, lines: usize) {
        let first = self.0.as_ptr().cast::<u8>().wrapping_add(offset);
        for line in 0..lines {
            prefetch(first.wrapping_add(line * 64));
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn prefetch(address: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch is a hint, and is allowed to name any address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}

#[cfg(not(target_arch = "x86_64"))]
fn prefetch(_address: *const u8) {}

/// Size classes: multiples of 16 bytes up to 128, then four to a doubling. Those of the common
/// allocators are the same, so what a class rounds up is used and not lost.
fn class_of(bytes: usize) -> u8 {
    if bytes <= 128 {
        return bytes.div_ceil(16).max(1) as u8;
    }
    let last = bytes - 1;
    let doubling = last.ilog2();
    let quarter = (last >> (doubling - 2)) as u32 & 3;
    (9 + 4 * (doubling - 7) + quarter) as u8
}

fn class_bytes(class: u8) -> usize {
    if class <= 8 {
        return usize::from(class) * 16;
    }
    let (doubling, quarter) = ((class - 9) / 4 + 7, (class - 9) % 4);
    usize::from(5 + quarter) << (doubling - 2)
}

fn layout(class: u8) -> Layout {
    Layout::from_size_align(class_bytes(class), align_of::<Head>()).expect("classes are small")
}

fn allocate(class: u8) -> NonNull<Head> {
    let layout = layout(class);
    // SAFETY: no class is of size 0.
    let memory = unsafe { alloc(layout) };
    NonNull::new(memory.cast()).unwrap_or_else(|| handle_alloc_error(layout))
}

/// # Safety
///
/// The memory came from [`allocate`] for this class, and nobody uses it.
unsafe fn deallocate(memory: NonNull<Head>, class: u8) {
    // SAFETY: the caller's promise.
    unsafe { dealloc(memory.as_ptr().cast(), layout(class)) };
}

#[cfg(test)]
thread_local! {
    static LIVE: std::cell::Cell<(i64, i64)> = const { std::cell::Cell::new((0, 0)) };
}

/// The blocks that this thread has allocated less those that it has freed, and their bytes.
#[cfg(test)]
pub(crate) fn live() -> (i64, i64) {
    LIVE.get()
}

#[cfg(test)]
fn count_live(blocks: i64, bytes: usize) {
    let (live, live_bytes) = LIVE.get();
    LIVE.set((live + blocks, live_bytes + blocks * bytes.cast_signed() as i64));
}

/// The memory of a version under construction; see the module.
#[derive(Debug)]
pub(crate) struct Maker {
    /// The number that is worked under.
    birth: u64,
    /// Blocks that the version under construction does not use any more and others may: those of
    /// the base, and those frozen by a savepoint.
    replaced: Vec<Block>,
}

impl Maker {
    /// A maker of what comes after the version numbered `base`.
    pub(crate) fn after(base: u64) -> Self {
        Self { birth: base + 1, replaced: Vec::new() }
    }

    /// The number that blocks are made under now.
    pub(crate) fn birth(&self) -> u64 {
        self.birth
    }

    /// Whether the block may be changed in place.
    pub(crate) fn owns(&self, block: Block) -> bool {
        block.birth() == self.birth
    }

    /// A fresh block of at least `bytes`, the head included.
    pub(crate) fn make(&mut self, bytes: usize, len: usize) -> Block {
        Block::alloc(bytes, self.birth, len)
    }

    /// A private copy of a block.
    pub(crate) fn copy(&mut self, block: Block) -> Block {
        let bytes = block.bytes();
        let copy = Block::alloc(bytes, self.birth, block.len());
        // SAFETY: both blocks are of one class and hold so many bytes; the copy is private.
        unsafe { ptr::copy_nonoverlapping(block.at::<u8>(HEAD), copy.at(HEAD), bytes - HEAD) };
        copy
    }

    /// Takes back a block that the version under construction no longer uses.
    pub(crate) fn release(&mut self, block: Block) {
        if self.owns(block) {
            // SAFETY: the block is private and the version under construction has let go of it.
            unsafe { block.free() };
        } else {
            self.replaced.push(block);
        }
    }

    /// Freezes what was made so far. Returns the place to go back to.
    pub(crate) fn freeze(&mut self) -> Frozen {
        self.birth += 1;
        Frozen { birth: self.birth - 1, replaced: self.replaced.len() }
    }

    /// Takes in again what was replaced after `place`, and frees what was both made and replaced
    /// since. The caller frees what is made and still used.
    pub(crate) fn thaw(&mut self, place: Frozen) {
        for block in self.replaced.drain(place.replaced..) {
            if block.birth() > place.birth {
                // SAFETY: the version under construction made it, and has let go of it.
                unsafe { block.free() };
            }
        }
    }

    /// The blocks that were replaced, once the version is finished.
    pub(crate) fn take_replaced(&mut self) -> Vec<Block> {
        take(&mut self.replaced)
    }
}

/// A savepoint of a [`Maker`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frozen {
    /// Blocks with a higher birth came later.
    pub(crate) birth: u64,
    replaced: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_what_they_are_asked_for_and_waste_little() {
        for bytes in 1..100_000 {
            let held = class_bytes(class_of(bytes));
            assert!(held >= bytes, "{bytes}");
            assert!(held < bytes + 16 || held * 4 <= bytes * 5 + 4, "{bytes}: {held}");
            assert_eq!(class_bytes(class_of(held)), held);
        }
    }
}
