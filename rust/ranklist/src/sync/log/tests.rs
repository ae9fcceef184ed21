//! The log under model checkers and under real threads.

#[cfg(not(any(loom, shuttle)))]
mod cost;
#[cfg(loom)]
mod exhaustive;
#[cfg(shuttle)]
mod random;
#[cfg(not(any(loom, shuttle)))]
mod threads;
mod toy;

#[cfg(not(any(loom, shuttle)))]
pub(super) use threads::reached;
