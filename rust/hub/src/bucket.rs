//! A rate of things that cost different amounts: a token bucket in whole numbers.

use std::time::{Duration, Instant};

/// Parts of one thing, so that a thousandth of a millisecond's worth is not lost.
const PARTS: i64 = 1_000_000;

/// Fills up steadily, and is emptied by what happens. It may be overdrawn by one large thing, which
/// delays what comes after it.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_second: i64,
    /// No more than this is in it, in parts.
    most: i64,
    level: i64,
    filled: Instant,
}

impl Bucket {
    /// A bucket that holds as many things as come in a `burst`, and at least one. Begins full.
    pub(crate) fn new(per_second: u32, burst: Duration, now: Instant) -> Self {
        let per_second = i64::from(per_second);
        let most = per_second.saturating_mul(micros(burst)).max(PARTS);
        Self { per_second, most, level: most, filled: now }
    }

    /// Adds what has come since the last time.
    pub(crate) fn fill(&mut self, now: Instant) {
        let came = self.per_second.saturating_mul(micros(now - self.filled));
        self.level = self.level.saturating_add(came).min(self.most);
        self.filled = now;
    }

    /// Whether anything may happen now.
    pub(crate) fn has_some(&self) -> bool {
        self.level >= PARTS
    }

    /// Takes out what happened.
    pub(crate) fn take(&mut self, things: usize) {
        let parts = i64::try_from(things).unwrap_or(i64::MAX).saturating_mul(PARTS);
        self.level = self.level.saturating_sub(parts);
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_thing_delays_what_comes_after_it() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut bucket = Bucket::new(1000, Duration::from_millis(100), start);
        bucket.take(300);
        for (ms, has_some) in [(0, false), (200, false), (201, true)] {
            bucket.fill(at(ms));
            assert_eq!(bucket.has_some(), has_some, "{ms}");
        }
        // Never more than a burst, however long nothing happened.
        bucket.fill(at(1_000_000));
        bucket.take(100);
        assert!(!bucket.has_some());
    }

    #[test]
    fn even_the_slowest_rate_allows_one() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1, Duration::from_millis(10), start);
        assert!(bucket.has_some());
        bucket.take(1);
        bucket.fill(start + Duration::from_millis(999));
        assert!(!bucket.has_some());
        bucket.fill(start + Duration::from_secs(1));
        assert!(bucket.has_some());
    }
}
