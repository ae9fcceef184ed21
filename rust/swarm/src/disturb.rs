//! Sockets that close and come back during a run: now and then, all at once, or as they were slow;
//! and those that subscribe again.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::{SECOND, now};
use crate::tally::{Errors, Latencies};

/// Why a socket comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its turn to close had come.
    Churn,
    /// All were dropped.
    Cut,
    /// It did not read, and the server closed it.
    Slow,
    /// The server has ended a subscription.
    Ended,
}

/// What became of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Disturbed {
    /// From closing to the first states, of those whose turn it was.
    churn: Latencies,
    /// The same, of those that were dropped with all others.
    cut: Latencies,
    /// The same, of those that the server closed as they did not read.
    slow: Latencies,
    /// From the end of a subscription to the first state of the next one.
    ended: Latencies,
    /// Why slow ones were closed.
    closed: Errors,
    /// Attempts to come back that were refused or lost, and made again.
    pub(crate) refusals: Errors,
}

/// What goes on in a process.
#[derive(Debug)]
pub(crate) struct Disturbance {
    /// Nanoseconds between two sockets that close; nothing for none.
    gap: Option<f64>,
    /// When the next one closes.
    next: f64,
    /// When slow sockets read again.
    paused_until: Option<u64>,
    /// Those that are not back yet, since when.
    returning: HashMap<usize, (Why, u64)>,
    /// What became of the others.
    pub(crate) told: Disturbed,
}

impl Disturbed {
    /// Adds that of another process.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.churn.merge(&other.churn);
        self.cut.merge(&other.cut);
        self.slow.merge(&other.slow);
        self.ended.merge(&other.ended);
        self.closed.merge(&other.closed);
        self.refusals.merge(&other.refusals);
    }

    /// What is told of those whose turn it was.
    pub(crate) fn tell_churn(&self) -> Value {
        back(&self.churn)
    }

    /// What is told of those that were dropped with all others.
    pub(crate) fn tell_cut(&self) -> Value {
        back(&self.cut)
    }

    /// What is told of those whose subscription has ended.
    pub(crate) fn tell_ended(&self) -> Value {
        back(&self.ended)
    }

    /// What is told of those that did not read.
    pub(crate) fn tell_slow(&self) -> Value {
        let mut told = back(&self.slow);
        told["closed"] = json!(self.closed);
        told
    }
}

fn back(latencies: &Latencies) -> Value {
    let summary = latencies.summary();
    json!({"reconnects": summary.count, "latency": summary})
}

impl Disturbance {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            gap: None,
            next: 0.0,
            paused_until: None,
            returning: HashMap::new(),
            told: Disturbed::default(),
        }
    }

    /// Begins to close so many sockets a minute, or ends.
    pub(crate) fn churn(&mut self, per_minute: f64) {
        self.gap = (per_minute > 0.0).then(|| 60.0 * SECOND as f64 / per_minute);
        self.next = now() as f64 + self.gap.unwrap_or_default();
    }

    /// Whether a socket is to close now; counts it as closed.
    pub(crate) fn takes_turn(&mut self, now: u64) -> bool {
        let Some(gap) = self.gap.filter(|_| self.next <= now as f64) else { return false };
        self.next += gap;
        true
    }

    /// Slow sockets do not read for some time.
    pub(crate) fn pause(&mut self, nanos: u64) {
        self.paused_until = Some(now() + nanos);
    }

    /// Whether slow sockets are to read again now; says so once.
    pub(crate) fn resumes(&mut self, now: u64) -> bool {
        self.paused_until.take_if(|until| *until <= now).is_some()
    }

    /// When something has to be done; nothing if never.
    pub(crate) fn due(&self) -> Option<u64> {
        let turn = self.gap.map(|_| self.next as u64);
        turn.into_iter().chain(self.paused_until).min()
    }

    /// A socket was closed and is to come back. If it was not back from before, it still counts
    /// from then.
    pub(crate) fn closed(&mut self, place: usize, why: Why) {
        self.returning.entry(place).or_insert_with(|| (why, now()));
    }

    /// The server closed a socket that did not read.
    pub(crate) fn closed_slow(&mut self, place: usize, fault: &str) {
        self.told.closed.add(fault);
        self.closed(place, Why::Slow);
    }

    /// A socket has its first states.
    pub(crate) fn is_back(&mut self, place: usize) {
        let Some((why, since)) = self.returning.remove(&place) else { return };
        let latencies = match why {
            Why::Churn => &mut self.told.churn,
            Why::Cut => &mut self.told.cut,
            Why::Slow => &mut self.told.slow,
            Why::Ended => &mut self.told.ended,
        };
        latencies.record(now() - since);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_spread_evenly() {
        let mut disturbance = Disturbance::new();
        assert!(!disturbance.takes_turn(u64::MAX) && disturbance.due().is_none());
        disturbance.churn(600.0);
        let start = disturbance.due().unwrap();
        let mut turns = Vec::new();
        for step in 0..100 {
            let moment = start + step * SECOND / 100;
            while disturbance.takes_turn(moment) {
                turns.push(step);
            }
        }
        assert!(turns.len().abs_diff(10) <= 1, "{turns:?}");
        assert!(turns.windows(2).all(|pair| pair[1].abs_diff(pair[0] + 10) <= 1), "{turns:?}");
        disturbance.churn(0.0);
        assert!(!disturbance.takes_turn(u64::MAX));
    }

    #[test]
    fn who_comes_back_counts_from_its_first_closing() {
        let mut disturbance = Disturbance::new();
        disturbance.closed(3, Why::Churn);
        disturbance.closed(3, Why::Cut);
        disturbance.closed_slow(4, "closed: 3008 slow");
        disturbance.closed(6, Why::Ended);
        for place in [3, 3, 4, 5, 6] {
            disturbance.is_back(place);
        }
        let mut sum = Disturbed::default();
        let sent = serde_json::to_string(&disturbance.told).unwrap();
        sum.merge(&serde_json::from_str(&sent).unwrap());
        let counts = [sum.tell_churn(), sum.tell_cut(), sum.tell_slow(), sum.tell_ended()];
        assert_eq!(
            counts.each_ref().map(|told| &told["reconnects"]),
            [&json!(1), &json!(0), &json!(1), &json!(1)]
        );
        assert_eq!(counts[2]["closed"], json!({"closed: 3008 slow": 1}));
    }

    #[test]
    fn a_pause_ends_once() {
        let mut disturbance = Disturbance::new();
        disturbance.pause(SECOND);
        let end = disturbance.due().unwrap();
        assert!(!disturbance.resumes(end - 1) && disturbance.resumes(end));
        assert!(!disturbance.resumes(u64::MAX) && disturbance.due().is_none());
    }
}
