//! Counters of the hub: plain atomics, read in one go.
//!
//! Workers count, anybody reads. A hub process that serves as another's fan-out sends its figures
//! to it, so figures also go over a wire: [`Stats::to_bytes`].

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Close codes that are counted apart; all others are counted under 0.
pub const CLOSE_CODES: [u16; 11] = [0, 1002, 1007, 3001, 3005, 3008, 3012, 3013, 3500, 3501, 3502];

/// Error codes that are counted apart; all others are counted under 0.
pub const ERROR_CODES: [u16; 14] =
    [0, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 111, 404, 422];

/// One number that many threads change.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Takes back `n` that were added before.
    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counters by code, for a fixed list of codes.
#[derive(Debug)]
pub(crate) struct ByCode<const N: usize> {
    codes: &'static [u16; N],
    counts: [Counter; N],
}

impl<const N: usize> ByCode<N> {
    fn new(codes: &'static [u16; N]) -> Self {
        Self { codes, counts: std::array::from_fn(|_| Counter::default()) }
    }

    pub(crate) fn add(&self, code: u16) {
        let index = self.codes.iter().position(|known| *known == code).unwrap_or(0);
        self.counts[index].add(1);
    }
}

macro_rules! stats {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        /// The live counters. Relaxed everywhere: each is a total of its own that orders nothing.
        #[derive(Debug)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)+
            /// Connections closed by the hub, by close code.
            pub(crate) closed: ByCode<{ CLOSE_CODES.len() }>,
            /// Commands answered with an error, by its code.
            pub(crate) failed: ByCode<{ ERROR_CODES.len() }>,
        }

        impl Default for Counters {
            fn default() -> Self {
                Self {
                    $($name: Counter::default(),)+
                    closed: ByCode::new(&CLOSE_CODES),
                    failed: ByCode::new(&ERROR_CODES),
                }
            }
        }

        /// What a hub has done since it started, and what it holds now.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: u64,)+
            /// Connections that the hub closed, in the order of [`CLOSE_CODES`].
            pub closed: [u64; CLOSE_CODES.len()],
            /// Commands answered with an error, in the order of [`ERROR_CODES`].
            pub failed: [u64; ERROR_CODES.len()],
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> Stats {
                Stats {
                    $($name: self.$name.get(),)+
                    closed: self.closed.counts.each_ref().map(Counter::get),
                    failed: self.failed.counts.each_ref().map(Counter::get),
                }
            }
        }

        impl Stats {
            /// Every figure that is not by code, with its name.
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)+]
            }

            fn each(&mut self) -> impl Iterator<Item = &mut u64> {
                [$(&mut self.$name,)+].into_iter().chain(&mut self.closed).chain(&mut self.failed)
            }
        }
    };
}

stats! {
    /// WebSocket connections now, past their handshake.
    connections;
    /// WebSocket connections ever.
    connections_total;
    /// Connections refused because there were too many.
    refused_total;
    /// Handshakes that were no good, or not done in time.
    handshakes_failed_total;
    /// Subscriptions now, of all connections.
    subscriptions;
    /// Views that somebody watches now.
    views;
    /// Times a state was published because it changed.
    publications_total;
    /// States handed to a socket.
    deliveries_total;
    /// Deliveries that a blocked socket could not take: it got a newer state later.
    conflated_total;
    /// Bytes written to sockets, handshakes and frame headers included.
    bytes_sent_total;
    /// Commands read, without pongs.
    commands_total;
    /// Submits that came in over WebSocket.
    submits_total;
    /// Sockets that take no more bytes now.
    blocked;
}

impl Stats {
    /// The figures as little-endian numbers, for [`from_bytes`](Self::from_bytes) of the same build.
    pub(crate) fn to_bytes(mut self) -> Vec<u8> {
        self.each().flat_map(|figure| figure.to_le_bytes()).collect()
    }

    /// Inverse of [`to_bytes`](Self::to_bytes); nothing if the length is another.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut stats = Self::default();
        let mut words = bytes.chunks_exact(8);
        for figure in stats.each() {
            *figure = u64::from_le_bytes(words.next()?.try_into().ok()?);
        }
        (words.next().is_none() && words.remainder().is_empty()).then_some(stats)
    }

    /// What stays when the hub is gone: totals, and not what it held.
    pub(crate) fn past(self) -> Self {
        Self { connections: 0, subscriptions: 0, views: 0, blocked: 0, ..self }
    }

    /// Adds the figures of another hub.
    pub(crate) fn add(&mut self, mut other: Self) {
        for (mine, theirs) in self.each().zip(other.each()) {
            *mine += *theirs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_go_over_a_wire_and_add_up() {
        let counters = Counters::default();
        counters.connections.add(3);
        counters.blocked.add(7);
        counters.closed.add(3008);
        counters.closed.add(4999);
        counters.failed.add(102);
        let stats = counters.snapshot();
        assert_eq!(Stats::from_bytes(&stats.to_bytes()), Some(stats));
        assert_eq!(Stats::from_bytes(&stats.to_bytes()[1..]), None);
        assert_eq!(Stats::from_bytes(&[&stats.to_bytes()[..], &[0]].concat()), None);
        let mut sum = stats;
        sum.add(stats);
        assert_eq!((sum.connections, sum.blocked, sum.failed[3]), (6, 14, 2));
        assert_eq!((sum.closed[0], sum.closed[5]), (2, 2));
    }
}
