//! Publishing versions of a structure to threads that never wait for each other.
//!
//! A [`Root`] holds the current version of an immutable structure made of heap blocks. A version
//! shares most of its blocks with the one before it. Whoever publishes a version also says which
//! blocks the version before reaches and the new one does not: the garbage. This module frees the
//! garbage, no sooner than it is safe and without ever making anybody wait:
//!
//! * [`Root::read`] is for short reads. It takes a fixed number of steps, on any number of threads,
//!   and holds up the freeing of memory in the whole process for as long as it lasts ([`epoch`]).
//! * [`Root::snapshot`] is for reads that may last for hours or cross threads. It keeps the blocks
//!   that its version needs, and nothing else ([`slots`]).
//! * [`Root::publish`] is one compare-and-swap. Of writers that start from the same version exactly
//!   one gets through, and the others learn of it.
//!
//! No operation takes a lock. A thread that is stopped anywhere stops no other thread, but memory
//! can pile up behind it: see [`epoch`] for what is kept and how to notice.
//!
//! The module knows nothing of what the versions contain. It touches a block through [`Garbage`]
//! only, and a version through [`Versioned`].
//!
//! [`Root`]: root::Root
//! [`Root::read`]: root::Root::read
//! [`Root::snapshot`]: root::Root::snapshot
//! [`Root::publish`]: root::Root::publish
//! [`Garbage`]: root::Garbage
//! [`Versioned`]: root::Versioned

pub(crate) mod atomic;
pub(crate) mod epoch;
mod garbage;
pub(crate) mod log;
pub(crate) mod root;
mod slots;
#[cfg(test)]
mod tests;
