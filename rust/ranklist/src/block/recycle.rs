//! Blocks that were just freed, kept for the next version.
//!
//! A version frees about as many blocks as it makes, of the same sizes. General allocators hand
//! memory out again long after it was freed, when it has left the processor's caches, and a block is
//! written in full as soon as it is made. So each thread keeps what it freed last and takes it again
//! first. That is worth a quarter of the speed of moves in a large list.
//!
//! A thread keeps up to [`KEPT`] bytes of each size. They are given back when it ends. Threads that
//! only read free nothing and keep nothing.

use std::cell::UnsafeCell;
use std::ptr::NonNull;

use super::{Head, class_bytes, deallocate};

/// Bytes of each size that a thread keeps at most: what two batches of 64 moves free.
const KEPT: usize = 256 << 10;

/// Blocks of more than 5 KiB, above this class, are too rare to be kept.
const CLASSES: usize = 30;

/// With debug assertions every block goes back at once, so that sanitizers see uses after that.
const IS_ON: bool = !cfg!(debug_assertions);

/// The blocks kept of one class: a stack, linked through the blocks.
#[derive(Clone, Copy)]
struct Stack {
    top: Option<NonNull<Link>>,
    bytes: usize,
}

/// What a kept block starts with, in place of its head.
struct Link {
    below: Option<NonNull<Link>>,
}

struct Stacks(UnsafeCell<[Stack; CLASSES]>);

thread_local! {
    static STACKS: Stacks = const {
        Stacks(UnsafeCell::new([Stack { top: None, bytes: 0 }; CLASSES]))
    };
}

/// A block of the class, if one is kept.
pub(super) fn take(class: u8) -> Option<NonNull<Head>> {
    on(class, |stack| {
        let top = stack.top?;
        // SAFETY: blocks on the stack belong to it, and start with a link.
        stack.top = unsafe { top.as_ref() }.below;
        stack.bytes -= class_bytes(class);
        Some(top.cast())
    })
    .flatten()
}

/// Keeps a block, whose owner gives it up, if there is room.
pub(super) fn keep(block: NonNull<Head>, class: u8) -> bool {
    let keep = |stack: &mut Stack| {
        if stack.bytes >= KEPT {
            return false;
        }
        let link = block.cast::<Link>();
        // SAFETY: the block is the stack's from now on, and larger than a link.
        unsafe { link.write(Link { below: stack.top }) };
        stack.top = Some(link);
        stack.bytes += class_bytes(class);
        true
    };
    on(class, keep).unwrap_or(false)
}

/// Calls `change` with the stack of a class, if blocks of the class are kept and the thread is not
/// about to end.
fn on<T>(class: u8, change: impl FnOnce(&mut Stack) -> T) -> Option<T> {
    if !IS_ON || usize::from(class) >= CLASSES {
        return None;
    }
    let change = |stacks: &Stacks| {
        // SAFETY: only this thread uses its stacks, and `change` does not come back here.
        let stacks = unsafe { &mut *stacks.0.get() };
        change(&mut stacks[usize::from(class)])
    };
    STACKS.try_with(change).ok()
}

impl Drop for Stacks {
    fn drop(&mut self) {
        for (class, stack) in self.0.get_mut().iter_mut().enumerate() {
            while let Some(top) = stack.top {
                // SAFETY: blocks on the stack belong to it, and start with a link. They were
                // allocated for their class.
                unsafe {
                    stack.top = top.as_ref().below;
                    deallocate(top.cast(), class as u8);
                }
            }
        }
    }
}
