//! What reads ask for: which boards, pages and profiles, how often, how many different ones, and
//! what a cache of them would save.
//!
//! [`Traffic`] is told of every read and keeps three answers for each [`Kind`] of what is read:
//!
//! - [`Minutes`] of [`SpaceSaving`]: the names that were read most in the last whole minute.
//! - a [`Day`] of [`HyperLogLog`]s: how many different names were read in the last 24 hours.
//! - a [`Curve`]: the miss ratio that an LRU cache of any number of entries would have.
//!
//! Beside it, [`Frequency`] tells a cache whether what comes in is asked for more often than what
//! would have to leave.
//!
//! The crate does no I/O, starts no thread and is told the time, in milliseconds from any origin
//! that stays the same. Everything has a fixed bound: a kind takes about a megabyte however many
//! names there are. A record takes about 50 nanoseconds, and allocates nothing for a name that is
//! known. Names are hashed with a secret key ([`Names`]), so that nobody who chooses names can
//! choose which of them meet.
#![forbid(unsafe_code)]

mod curve;
mod distances;
mod frequency;
mod heavy;
mod names;
mod recency;
mod traffic;
mod unique;

pub use curve::{Curve, Fresh, SAMPLES};
pub use frequency::Frequency;
pub use heavy::{Heavy, Minutes, SpaceSaving, heaviest};
pub use names::{Entropy, Names};
pub use traffic::{Kind, Traffic};
pub use unique::{Day, HyperLogLog};

/// A count as a real number.
fn real(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count above 2^53 may be off by one")]
    let real = count as f64;
    real
}
