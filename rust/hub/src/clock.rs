//! A worker's time: read once per turn of its loop, and the same for everything in that turn.
//!
//! Timers that every connection has do not exist. A worker's *beat* is a 25th of the ping interval,
//! a second by default; in each, a 25th of the slots is visited, and what concerns a connection from
//! time to time (a ping, whether it was answered, whether a token has expired) is done then.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Beats in a ping interval.
pub(crate) const BEATS: u32 = 25;

/// A worker's time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    /// Now.
    pub(crate) now: Instant,
    /// Milliseconds since the worker started.
    pub(crate) ms: u64,
    /// The length of a beat.
    pub(crate) unit: Duration,
    /// Beats since the worker started, from [`BEATS`] on so that there is a time before.
    pub(crate) beat: u32,
    /// Seconds since 1970.
    pub(crate) unix_s: u64,
}

impl Clock {
    pub(crate) fn new(ping_interval: Duration) -> Self {
        let unit = (ping_interval / BEATS).max(Duration::from_millis(1));
        let started = Instant::now();
        Self { started, now: started, ms: 0, unit, beat: BEATS, unix_s: unix_seconds() }
    }

    /// Reads the time.
    pub(crate) fn advance(&mut self) {
        self.now = Instant::now();
        let passed = self.now - self.started;
        self.ms = passed.as_millis() as u64;
        let beat = BEATS + (passed.as_nanos() / self.unit.as_nanos()) as u32;
        if beat != self.beat {
            self.beat = beat;
            self.unix_s = unix_seconds();
        }
    }

    /// How many beats a time takes, rounded up.
    pub(crate) fn beats(&self, time: Duration) -> u32 {
        time.as_nanos().div_ceil(self.unit.as_nanos()) as u32
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
