//! The atomics of this module tree: those of `std`, or those of a model checker.
//!
//! All code under `sync` takes its atomics, fences, thread-locals and statics from here, and none
//! from `std`, so that `RUSTFLAGS="--cfg loom"` lets loom try every order of its steps, and
//! `--cfg shuttle` lets shuttle try many. An ordinary build gets plain re-exports.

#[cfg(loom)]
pub(crate) use loom::{
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
    thread,
};

#[cfg(shuttle)]
pub(crate) use shuttle::{
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
    thread,
};

#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::{
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
    thread,
};

/// Plain under the checkers too: loom's `Arc` cannot be a receiver. Models join their threads before
/// they drop what they shared.
pub(crate) use std::sync::Arc;

/// Declares one value for the whole process and one for each thread. The model checkers make fresh
/// ones for each run.
#[cfg(not(any(loom, shuttle)))]
macro_rules! statics {
    (process $process:ident: $P:ty = $p:expr; thread $thread:ident: $T:ty = $t:expr;) => {
        static $process: $P = $p;
        std::thread_local! { static $thread: $T = const { $t }; }
    };
}

/// As above, with loom's statics.
#[cfg(loom)]
macro_rules! statics {
    (process $process:ident: $P:ty = $p:expr; thread $thread:ident: $T:ty = $t:expr;) => {
        loom::lazy_static! { static ref $process: $P = $p; }
        loom::thread_local! { static $thread: $T = $t; }
    };
}

/// As above, with shuttle's statics.
#[cfg(shuttle)]
macro_rules! statics {
    (process $process:ident: $P:ty = $p:expr; thread $thread:ident: $T:ty = $t:expr;) => {
        shuttle::lazy_static! { static ref $process: $P = $p; }
        shuttle::thread_local! { static $thread: $T = $t; }
    };
}

pub(crate) use statics;
