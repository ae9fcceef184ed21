//! How many commands a client may send: so many a second, and three times as many at once.
//!
//! The generic cell rate algorithm (ITU-T I.371): one time says it all, the one at which the client
//! has used up what it may. A command moves it on by the time that it is worth; when it lies too far
//! ahead the command is refused, and moves nothing.

use crate::limits;

/// How many times a second's worth may come at once.
const BURST: u64 = 3;

/// The pace of one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Microseconds of the worker's clock at which everything is used up.
    used_up: u64,
    /// Commands that were refused since the last that was not.
    strikes: u8,
}

/// What is to be done with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    /// Refuse it.
    TooMany,
    /// The client does not listen: end the connection.
    Flood,
}

impl Pace {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self { used_up: now_ms * 1000, strikes: 0 }
    }

    /// Judges one command.
    pub(crate) fn step(&mut self, now_ms: u64, per_second: u32) -> Verdict {
        let (now, second) = (now_ms * 1000, 1_000_000);
        let used_up = self.used_up.max(now) + second / u64::from(per_second).max(1);
        if used_up > now + BURST * second {
            self.strikes = self.strikes.saturating_add(1);
            return if self.strikes > limits::STRIKES { Verdict::Flood } else { Verdict::TooMany };
        }
        *self = Self { used_up, strikes: 0 };
        Verdict::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_three_seconds_worth_and_then_it_is_the_rate() {
        let mut pace = Pace::new(0);
        for _ in 0..60 {
            assert_eq!(pace.step(0, 20), Verdict::Fine);
        }
        assert_eq!(pace.step(0, 20), Verdict::TooMany);
        assert_eq!(pace.step(49, 20), Verdict::TooMany);
        assert_eq!(pace.step(50, 20), Verdict::Fine);
        assert_eq!(pace.step(50, 20), Verdict::TooMany);
        // Who was silent for long has no more than a burst.
        for _ in 0..60 {
            assert_eq!(pace.step(1_000_000, 20), Verdict::Fine);
        }
        assert_eq!(pace.step(1_000_000, 20), Verdict::TooMany);
    }

    #[test]
    fn fast_paces_are_kept_too() {
        for per_second in [30, 700, 5000] {
            let mut pace = Pace::new(0);
            let allowed = (0..20_000).filter(|_| pace.step(0, per_second) == Verdict::Fine).count();
            let most = 3 * per_second as usize;
            assert!((most..=most + 1 + most / 1000).contains(&allowed), "{allowed} of {most}");
        }
    }

    #[test]
    fn who_goes_on_regardless_floods() {
        let mut pace = Pace::new(0);
        (0..3).for_each(|_| assert_eq!(pace.step(0, 1), Verdict::Fine));
        (0..limits::STRIKES).for_each(|_| assert_eq!(pace.step(0, 1), Verdict::TooMany));
        assert_eq!(pace.step(0, 1), Verdict::Flood);
        assert_eq!(pace.step(1000, 1), Verdict::Fine);
        assert_eq!(pace.step(1000, 1), Verdict::TooMany);
    }
}
