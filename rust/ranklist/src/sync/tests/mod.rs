//! Tests of the epochs, the slots and the root, on a toy structure.
//!
//! * [`threads`]: real threads and single-threaded properties. Part of an ordinary `cargo test`.
//! * [`models`]: small scenes of two or three threads. Loom runs them in every order of their steps
//!   up to a number of preemptions, and shuttle in many random orders:
//!
//!   ```text
//!   RUSTFLAGS="--cfg loom" cargo test -p rankwire-ranklist --lib --release sync::tests
//!   RUSTFLAGS="--cfg shuttle" cargo test -p rankwire-ranklist --lib --release sync::tests
//!   ```
//!
//!   `LOOM_MAX_PREEMPTIONS` in the environment overrides the number, for all scenes.
//!
//! Loom also checks that freeing a block is ordered after every look at it, not only that it comes
//! later. Shuttle takes every atomic operation as sequentially consistent.

mod toy;

#[cfg(any(loom, shuttle))]
mod models;
#[cfg(not(any(loom, shuttle)))]
mod threads;
