//! Which sockets are to be opened, and how fast. No I/O.

use std::collections::VecDeque;

use crate::clock::{SECOND, now};
use crate::tally::Latencies;

/// What is to be opened.
#[derive(Debug)]
pub(crate) struct Openings {
    /// When the order came; nothing while there is none.
    pub(crate) since: Option<u64>,
    /// Whether somebody waits to hear that all are open, and until when.
    pub(crate) asked: Option<u64>,
    /// Places to open, each not before its time.
    waiting: VecDeque<(u64, usize)>,
    /// Sockets on their way to their first states.
    pub(crate) in_flight: u64,
    /// Most of them.
    limit: u64,
    /// New sockets a second; nothing for as fast as it goes.
    rate: Option<f64>,
    /// How many were begun since the order.
    begun: u64,
    /// From the order until each was ready.
    pub(crate) latencies: Latencies,
}

impl Openings {
    /// Nothing is to be opened yet.
    pub(crate) fn new(limit: u64, rate: f64) -> Self {
        Self {
            since: None,
            asked: None,
            waiting: VecDeque::new(),
            in_flight: 0,
            limit,
            rate: Some(rate),
            begun: 0,
            latencies: Latencies::default(),
        }
    }

    /// Begins to count and to limit what is opened. `at_once` instead of a rate limits what is on
    /// its way.
    pub(crate) fn order(&mut self, at_once: Option<u64>) {
        if let Some(at_once) = at_once {
            self.limit = at_once;
            self.rate = None;
        }
        self.since = Some(now());
        self.begun = 0;
        self.latencies = Latencies::default();
    }

    /// Adds a place that is not opened before a moment.
    pub(crate) fn add(&mut self, due: u64, place: usize) {
        self.waiting.push_back((due, place));
    }

    /// Forgets all that wait.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.in_flight = 0;
    }

    /// The next place to open now. It is on its way then.
    pub(crate) fn next(&mut self, now: u64) -> Option<usize> {
        if !self.may_begin(now) || self.waiting.front().is_none_or(|(due, _)| *due > now) {
            return None;
        }
        self.begun += 1;
        self.in_flight += 1;
        self.waiting.pop_front().map(|(_, place)| place)
    }

    /// A place has its first states.
    pub(crate) fn is_ready(&mut self) {
        self.in_flight -= 1;
        if let Some(since) = self.since {
            self.latencies.record(now() - since);
        }
    }

    /// Whether nothing waits and nothing is on its way.
    pub(crate) fn are_done(&self) -> bool {
        self.in_flight == 0 && self.waiting.is_empty()
    }

    /// Whether nothing can be begun before something else happens.
    pub(crate) fn are_full(&self) -> bool {
        self.waiting.is_empty() || self.in_flight >= self.limit
    }

    /// Whether another one may begin now.
    fn may_begin(&self, now: u64) -> bool {
        let due = self.since.zip(self.rate).is_none_or(|(since, rate)| {
            let elapsed = now.saturating_sub(since) as f64 / SECOND as f64;
            self.begun as f64 <= elapsed * rate
        });
        due && self.in_flight < self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_keep_to_their_rate_and_limit() {
        let mut openings = Openings::new(3, 10.0);
        openings.order(None);
        let start = openings.since.unwrap();
        (0..9).for_each(|place| openings.add(start, place));
        assert_eq!([openings.next(start), openings.next(start)], [Some(0), None]);
        let later = start + SECOND;
        assert_eq!([openings.next(later), openings.next(later)], [Some(1), Some(2)]);
        // Three are on their way.
        assert_eq!((openings.next(later), openings.are_full()), (None, true));
        openings.is_ready();
        assert_eq!(openings.next(later), Some(3));
        openings.order(Some(5));
        let later = openings.since.unwrap();
        assert_eq!([(); 3].map(|()| openings.next(later)), [Some(4), Some(5), None]);
        assert!(!openings.are_done());
        openings.clear();
        assert!(openings.are_done());
        openings.add(later + 1, 7);
        assert_eq!([openings.next(later), openings.next(later + 1)], [None, Some(7)]);
    }
}
