//! How long something took, again and again: a histogram of plain atomics.

use std::time::Duration;

use crate::stats::Counter;

/// Bounds of the buckets of times, each included; longer times have a bucket of their own.
pub const TIME_BOUNDS: [Duration; 12] = [
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
];

/// How many buckets of times there are.
const TIME_BUCKETS: usize = TIME_BOUNDS.len() + 1;

/// A histogram that many threads add to.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    counts: [Counter; TIME_BUCKETS],
    micros: Counter,
}

impl Timer {
    pub(crate) fn count(&self, time: Duration) {
        self.counts[TIME_BOUNDS.partition_point(|bound| *bound < time)].add(1);
        self.micros.add(time.as_micros() as u64);
    }

    pub(crate) fn snapshot(&self) -> Times {
        Times { counts: self.counts.each_ref().map(Counter::get), micros: self.micros.get() }
    }
}

/// How long something took, how often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// By bucket, in the order of [`TIME_BOUNDS`]; the last is for longer times.
    pub counts: [u64; TIME_BUCKETS],
    /// All of them together, in microseconds.
    pub micros: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_includes_its_bound() {
        let timer = Timer::default();
        for bound in TIME_BOUNDS {
            timer.count(bound);
        }
        assert_eq!(timer.snapshot().counts, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
        for bound in TIME_BOUNDS {
            timer.count(bound + Duration::from_nanos(1));
        }
        let twice = timer.snapshot();
        assert_eq!(twice.counts, [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1]);
        assert_eq!(twice.micros, 2 * 4_444_000);
    }
}
