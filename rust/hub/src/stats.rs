//! Counters of the hub: plain atomics, read in one go.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The live counters. Relaxed everywhere: each is a total of its own that orders nothing.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: Counter,
    pub(crate) connections_total: Counter,
    pub(crate) refused: Counter,
    pub(crate) subscriptions: Counter,
    pub(crate) views: Counter,
    pub(crate) publications: Counter,
    pub(crate) deliveries: Counter,
    pub(crate) bytes_sent: Counter,
    pub(crate) commands: Counter,
    pub(crate) errors: Counter,
    pub(crate) closed_slow: Counter,
}

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

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What a hub has done since it started, and what it holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// WebSocket connections now, past their handshake.
    pub connections: u64,
    /// WebSocket connections ever.
    pub connections_total: u64,
    /// Connections refused because there were too many.
    pub refused_total: u64,
    /// Subscriptions now, of all connections.
    pub subscriptions: u64,
    /// Views that somebody watches now.
    pub views: u64,
    /// Times a state was encoded because it changed, the first state of a view included.
    pub publications_total: u64,
    /// States handed to a socket.
    pub deliveries_total: u64,
    /// Bytes written to sockets, handshakes and frame headers included.
    pub bytes_sent_total: u64,
    /// Commands read, without pongs.
    pub commands_total: u64,
    /// Commands answered with an error, and connections closed for what the client did wrong.
    pub errors_total: u64,
    /// Connections closed because the client took no byte for too long.
    pub closed_slow_total: u64,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            connections: self.connections.get(),
            connections_total: self.connections_total.get(),
            refused_total: self.refused.get(),
            subscriptions: self.subscriptions.get(),
            views: self.views.get(),
            publications_total: self.publications.get(),
            deliveries_total: self.deliveries.get(),
            bytes_sent_total: self.bytes_sent.get(),
            commands_total: self.commands.get(),
            errors_total: self.errors.get(),
            closed_slow_total: self.closed_slow.get(),
        }
    }
}
