//! Time in nanoseconds: one clock that all processes of a machine share, and one that counts only
//! while a thread works.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds in a second.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// Nanoseconds of `CLOCK_MONOTONIC`, which is the same in all processes of this machine.
pub(crate) fn now() -> u64 {
    nanos(clock_gettime(ClockId::Monotonic))
}

/// Nanoseconds of processor time that the calling thread has used.
pub(crate) fn thread_cpu() -> u64 {
    nanos(clock_gettime(ClockId::ThreadCPUTime))
}

/// Nanoseconds as seconds, for people and for results.
pub(crate) fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

/// How long it is from now to a moment; zero when it has passed.
pub(crate) fn until(moment: u64) -> Duration {
    Duration::from_nanos(moment.saturating_sub(now()))
}

/// These clocks begin at the start of the machine or of the thread, so no part is negative.
fn nanos(time: Timespec) -> u64 {
    time.tv_sec.unsigned_abs() * SECOND + time.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_go_forward() {
        let (wall, cpu) = (now(), thread_cpu());
        std::thread::sleep(Duration::from_millis(5));
        assert!(now() - wall >= 5_000_000);
        assert!(thread_cpu() >= cpu);
        assert_eq!(until(wall), Duration::ZERO);
    }
}
