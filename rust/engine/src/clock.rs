//! Stamps: a hybrid logical clock in one `u64`.
//!
//! The upper 48 bits are milliseconds since 0001-01-01T00:00Z, the lower 16 bits a counter that
//! orders what happens within a millisecond. Stamps are the tie-break of equal scores and the
//! order of policy `last`, so they are part of the data: every node that holds a record breaks
//! ties alike. The year-1 epoch lets historic imports (`at` before 1970) keep their order; 48 bits
//! reach to the year 8920.
//!
//! Live submits take strictly increasing stamps from [`Clock::tick`], also when the wall clock
//! steps back. A submit that names its own time gets counter 0: the stamp is then a function of
//! the submit alone, so a retry or a replay in any order yields the same board. If it lies ahead,
//! by [`AT_AHEAD_MS`] at most, the clock follows, so that later submits still have later stamps.

use crate::Error;
use crate::limits::AT_AHEAD_MS;

/// When a score was reached: hybrid logical clock, see the module documentation.
pub type Stamp = u64;

/// Milliseconds from 0001-01-01 to 1970-01-01 in the proleptic Gregorian calendar.
const EPOCH_MS: i64 = 62_135_596_800_000;
const COUNTER_BITS: u32 = 16;
const MILLIS_LIMIT: i64 = 1 << 48;

/// Source of strictly increasing stamps for one origin.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    last: Stamp,
}

impl Clock {
    /// The next stamp at wall-clock time `now_ms` (milliseconds since 1970). Runs ahead of the
    /// wall clock rather than repeat or go back.
    pub(crate) fn tick(&mut self, now_ms: i64) -> Stamp {
        self.last = self.last.saturating_add(1).max(encode(now_ms));
        self.last
    }

    /// Never hand out a stamp at or before `seen`: called for every recorded stamp, when it is
    /// recorded and when it is read back.
    pub(crate) fn observe(&mut self, seen: Stamp) {
        self.last = self.last.max(seen);
    }
}

/// The stamp of a submit that names its own time `at_ms` (milliseconds since 1970, may be
/// negative).
///
/// # Errors
/// [`Error::At`] before year 1 or more than [`AT_AHEAD_MS`] ahead of `now_ms`.
pub(crate) fn explicit(at_ms: i64, now_ms: i64) -> Result<Stamp, Error> {
    if at_ms > now_ms.saturating_add(AT_AHEAD_MS) {
        return Err(Error::At("lies more than 60 seconds in the future"));
    }
    if at_ms < -EPOCH_MS {
        return Err(Error::At("lies before the year 1"));
    }
    Ok(encode(at_ms))
}

/// The wall-clock part of a stamp, milliseconds since 1970.
pub fn unix_millis(stamp: Stamp) -> i64 {
    (stamp >> COUNTER_BITS).cast_signed() - EPOCH_MS
}

fn encode(unix_ms: i64) -> Stamp {
    let millis = (unix_ms.saturating_add(EPOCH_MS)).clamp(0, MILLIS_LIMIT - 1);
    millis.cast_unsigned() << COUNTER_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_increase_when_the_wall_clock_stands_or_steps_back() {
        let mut clock = Clock::default();
        let stamps = [5_000, 5_000, 4_000, 5_001].map(|now| clock.tick(now));
        assert!(stamps.is_sorted_by(|a, b| a < b), "{stamps:?}");
        assert_eq!(unix_millis(stamps[3]), 5_001);
    }

    #[test]
    fn a_clock_stays_behind_nothing_it_has_seen() {
        let mut clock = Clock::default();
        clock.observe(encode(9_000));
        assert!(clock.tick(1) > encode(9_000));
    }

    #[test]
    fn explicit_times_keep_their_order_across_1970_and_refuse_the_future() {
        let year_1916 = -1_704_153_600_000;
        let old = explicit(year_1916, 0).unwrap();
        assert!(old < explicit(0, 0).unwrap());
        assert_eq!(unix_millis(old), year_1916);
        assert!(explicit(AT_AHEAD_MS, 0).is_ok());
        assert!(explicit(AT_AHEAD_MS + 1, 0).is_err());
        assert!(explicit(-EPOCH_MS, 0).is_ok());
        assert!(explicit(-EPOCH_MS - 1, 0).is_err());
    }
}
