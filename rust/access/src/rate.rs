//! Rates: a token bucket for each key or member that submitted lately.
//!
//! A bucket is kept as one number, the time at which it will be full again (the "virtual
//! scheduling" form of the GCRA, ITU-T I.371 appendix I): a submit moves that time ahead by what
//! it costs, and may not move it further than a burst from now. A full bucket says nothing, so it
//! may be forgotten at any time.
//!
//! Servers that share their rates tell each other what was spent. What was spent elsewhere is
//! debited here whether or not there is room, so it may move that time further, but not without
//! end: see [`Rate::debit`].

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::limits;

/// Parts of the table, so that threads seldom meet.
const SHARDS: usize = 64;

/// Most buckets of one part.
const SHARD_BUCKETS: usize = limits::BUCKETS / SHARDS;

/// Most owners of one part whose spending waits to be told.
const SHARD_SPENT: usize = limits::UNTOLD / SHARDS;

const NS_PER_S: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;
const BURST_NS: u64 = limits::BURST_S * NS_PER_S;

/// What an empty bucket lacks, and as much again: debits go no further.
const DEEPEST_NS: u64 = 2 * BURST_NS;

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
    shards: Box<[Mutex<Shard>]>,
    is_shared: AtomicBool,
}

#[derive(Default)]
struct Shard {
    buckets: Buckets,
    /// How many submits each owner made here since that was taken.
    spent: HashMap<Box<str>, u64>,
}

impl Rate {
    /// Allows each owner `per_second` submits, and after a pause
    /// [`BURST_S`](limits::BURST_S) times as many at once. 0 is no limit.
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            per_second: u64::from(per_second),
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            is_shared: AtomicBool::new(false),
        }
    }

    /// Takes `submits` out of the owner's bucket. More at once than a bucket holds are allowed
    /// when it is full, and have to be made up for afterwards.
    pub(crate) fn spend(&self, owner: &str, submits: u32, now_ms: u64) -> Result<(), RetryAfter> {
        if self.per_second == 0 || submits == 0 {
            return Ok(());
        }
        let cost_ns = self.cost_ns(submits.into());
        let at_ns = now_ms.saturating_mul(NS_PER_MS);
        let mut shard = self.shard(owner);
        shard.change(owner, at_ns, |full_at_ns| charge(full_at_ns, cost_ns, at_ns))?;
        if self.is_shared.load(Ordering::Relaxed) {
            shard.note(owner, submits.into());
        }
        Ok(())
    }

    /// Takes what the owner spent elsewhere out of its bucket, which may be empty already. A debit
    /// leaves no bucket more than a burst below empty; what is owed beyond that is forgiven.
    pub(crate) fn debit(&self, owner: &str, submits: u64, now_ms: u64) {
        if self.per_second == 0 || submits == 0 {
            return;
        }
        let cost_ns = self.cost_ns(submits);
        let at_ns = now_ms.saturating_mul(NS_PER_MS);
        let debit = |full_at_ns| Ok::<_, Infallible>(debited(full_at_ns, cost_ns, at_ns));
        let Ok(()) = self.shard(owner).change(owner, at_ns, debit);
    }

    /// Hands up to `most` owners with what each spent here since it was handed last to `each`, and
    /// returns how many they were. The first call begins to note what is spent.
    pub(crate) fn take_spent(&self, most: usize, mut each: impl FnMut(&str, u64)) -> usize {
        self.is_shared.store(true, Ordering::Relaxed);
        let mut taken = 0;
        for shard in &self.shards {
            let mut shard = lock(shard);
            for (owner, submits) in shard.spent.extract_if(|_, _| true).take(most - taken) {
                each(&owner, submits);
                taken += 1;
            }
        }
        taken
    }

    fn cost_ns(&self, submits: u64) -> u64 {
        submits.saturating_mul(NS_PER_S) / self.per_second
    }

    fn shard(&self, owner: &str) -> MutexGuard<'_, Shard> {
        // The hash that places an entry within its part is another one.
        lock(&self.shards[self.hasher.hash_one(owner) as usize % SHARDS])
    }
}

/// Each change leaves a part sound, so a panic elsewhere in a thread that held it is no harm.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    /// Moves the time at which the owner's bucket will be full; one that was forgotten is full.
    fn change<E>(
        &mut self,
        owner: &str,
        now_ns: u64,
        moved: impl FnOnce(u64) -> Result<u64, E>,
    ) -> Result<(), E> {
        if let Some(full_at_ns) = self.buckets.get_mut(owner) {
            *full_at_ns = moved(*full_at_ns)?;
            return Ok(());
        }
        if self.buckets.len() == SHARD_BUCKETS {
            make_room(&mut self.buckets, now_ns);
        }
        self.buckets.insert(owner.into(), moved(0)?);
        Ok(())
    }

    /// Remembers what was spent. When too many owners wait to be told of, no other one is added:
    /// who spends often is likely to be there.
    fn note(&mut self, owner: &str, submits: u64) {
        if let Some(spent) = self.spent.get_mut(owner) {
            *spent = spent.saturating_add(submits);
        } else if self.spent.len() < SHARD_SPENT {
            self.spent.insert(owner.into(), submits);
        }
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

/// When a bucket will be full after a debit.
fn debited(full_at_ns: u64, cost_ns: u64, now_ns: u64) -> u64 {
    let missing_ns = full_at_ns.saturating_sub(now_ns);
    // What the owner itself took too much of at once is not forgiven.
    let deepest_ns = DEEPEST_NS.max(missing_ns);
    now_ns.saturating_add(missing_ns.saturating_add(cost_ns).min(deepest_ns))
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
            self.shards.iter().map(|shard| lock(shard).buckets.len()).sum()
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
    fn debits_keep_the_table_bounded() {
        let rate = Rate::new(1);
        for owner in 0..limits::BUCKETS + limits::BUCKETS / 4 {
            rate.debit(&owner.to_string(), 1, 0);
        }
        assert!(rate.len() > limits::BUCKETS * 9 / 10);
        assert!(rate.len() <= limits::BUCKETS);
    }

    #[test]
    fn what_waits_to_be_told_is_bounded() {
        let rate = Rate::new(1_000);
        let taken = || {
            let mut told = HashMap::new();
            let count = rate.take_spent(usize::MAX, |owner, submits| {
                told.insert(owner.to_owned(), submits);
            });
            assert_eq!(count, told.len());
            told
        };
        crowd(&rate, 0);
        assert!(taken().is_empty(), "counted before anybody asked");
        assert_eq!(rate.spend("early", 1, 0), Ok(()));
        crowd(&rate, 1);
        assert_eq!(rate.spend("early", 2, 1), Ok(()));
        let told = taken();
        assert!(told.len() > limits::UNTOLD * 9 / 10);
        assert!(told.len() <= limits::UNTOLD);
        assert_eq!(told["early"], 3);
        assert!(taken().is_empty());
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
