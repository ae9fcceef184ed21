//! Rates: a token bucket for each key or member that submitted lately.
//!
//! A bucket is kept as one number, the time at which it will be full again (the "virtual
//! scheduling" form of the GCRA, ITU-T I.371 appendix I): a submit moves that time ahead by what
//! it costs, and may not move it further than a burst from now. A full bucket says nothing, so it
//! may be forgotten at any time.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use crate::limits;

/// Parts of the table, so that threads seldom meet.
const SHARDS: usize = 64;

/// Most buckets of one part.
const SHARD_BUCKETS: usize = limits::BUCKETS / SHARDS;

const NS_PER_S: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;
const BURST_NS: u64 = limits::BURST_S * NS_PER_S;

/// A rate was reached; the same will be allowed after so many milliseconds, at least 1, unless
/// the caller submits elsewhere meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many submits; try again in {0} ms")]
pub struct RetryAfter(pub u64);

/// When the bucket of each owner will be full, in nanoseconds of the clock.
type Buckets = HashMap<Box<str>, u64>;

/// Buckets of one rate.
///
/// At most [`limits::BUCKETS`], in 64 parts of the same size. When a part is full, the full
/// buckets in it are forgotten, which changes nothing; if there are none, the one that would be
/// full soonest, whose owner gets a full one a little early.
pub(crate) struct Rate {
    per_second: u64,
    hasher: RandomState,
    shards: Box<[Mutex<Buckets>]>,
}

impl Rate {
    /// Allows each owner `per_second` submits, and after a pause
    /// [`BURST_S`](limits::BURST_S) times as many at once. 0 is no limit.
    pub(crate) fn new(per_second: u32) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { per_second: u64::from(per_second), hasher: RandomState::new(), shards }
    }

    /// Takes `submits` out of the owner's bucket. More at once than a bucket holds are allowed
    /// when it is full, and have to be made up for afterwards.
    pub(crate) fn spend(&self, owner: &str, submits: u32, now_ms: u64) -> Result<(), RetryAfter> {
        if self.per_second == 0 || submits == 0 {
            return Ok(());
        }
        let cost_ns = u64::from(submits) * NS_PER_S / self.per_second;
        let at_ns = now_ms.saturating_mul(NS_PER_MS);
        // The hash that places an entry within its part is another one.
        let shard = &self.shards[self.hasher.hash_one(owner) as usize % SHARDS];
        // Each step below leaves the table sound, so a panic elsewhere in this thread is no harm.
        let mut buckets = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_at_ns) = buckets.get_mut(owner) {
            *full_at_ns = charge(*full_at_ns, cost_ns, at_ns)?;
            return Ok(());
        }
        if buckets.len() == SHARD_BUCKETS {
            make_room(&mut buckets, at_ns);
        }
        buckets.insert(owner.into(), charge(0, cost_ns, at_ns)?);
        Ok(())
    }
}

/// When a bucket will be full after a charge.
fn charge(full_at_ns: u64, cost_ns: u64, now_ns: u64) -> Result<u64, RetryAfter> {
    let missing_ns = full_at_ns.saturating_sub(now_ns);
    // What a full bucket cannot hold only needs it to be full.
    let room_ns = BURST_NS.saturating_sub(cost_ns);
    match missing_ns.checked_sub(room_ns) {
        None | Some(0) => Ok((now_ns + missing_ns).saturating_add(cost_ns)),
        Some(wait_ns) => Err(RetryAfter(wait_ns.div_ceil(NS_PER_MS))),
    }
}

/// Forgets the full buckets, or else the one that is full soonest.
fn make_room(buckets: &mut Buckets, now_ns: u64) {
    buckets.retain(|_, full_at_ns| *full_at_ns > now_ns);
    if buckets.len() == SHARD_BUCKETS {
        let soonest = buckets.iter().min_by_key(|(_, full_at_ns)| **full_at_ns);
        if let Some(owner) = soonest.map(|(owner, _)| owner.clone()) {
            buckets.remove(&owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Rate {
        /// How many buckets there are.
        fn len(&self) -> usize {
            self.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
        }
    }

    /// One owner after the other, more than there is room for.
    fn crowd(rate: &Rate, now_ms: u64) {
        for owner in 0..limits::BUCKETS + limits::BUCKETS / 4 {
            assert_eq!(rate.spend(&format!("{now_ms} {owner}"), 1, now_ms), Ok(()));
        }
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_owes_least() {
        let rate = Rate::new(1);
        assert_eq!(rate.spend("debtor", 3, 0), Ok(()));
        crowd(&rate, 0);
        assert!(rate.len() > limits::BUCKETS * 9 / 10);
        assert!(rate.len() <= limits::BUCKETS);
        assert_eq!(rate.spend("debtor", 1, 0), Err(RetryAfter(1_000)));
        // The crowd's buckets are full again, the debtor's is not: room is made without it.
        crowd(&rate, 1_500);
        assert!(rate.len() <= limits::BUCKETS);
        assert_eq!(rate.spend("debtor", 2, 1_500), Err(RetryAfter(500)));
    }

    #[test]
    fn only_full_buckets_are_forgotten_while_there_are_some() {
        let mut buckets: Buckets =
            (0..SHARD_BUCKETS).map(|n| (n.to_string().into(), n as u64)).collect();
        make_room(&mut buckets, 10);
        assert_eq!(buckets.len(), SHARD_BUCKETS - 11);
        assert!(!buckets.contains_key("10"));
        assert!(buckets.contains_key("11"));
        buckets.extend((0..11).map(|n| (format!("new {n}").into(), u64::MAX)));
        make_room(&mut buckets, 10);
        assert_eq!(buckets.len(), SHARD_BUCKETS - 1);
        assert!(!buckets.contains_key("11"));
    }
}
