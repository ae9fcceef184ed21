//! What the connections of a hub have in common.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rankwire_engine::Engine;

use crate::config::Config;
use crate::stats::Counters;
use crate::views::Registry;

/// What all connections of a hub use.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Answers RPCs.
    pub(crate) engine: Arc<Engine>,
    /// The views, also refreshed by the ticker.
    pub(crate) registry: Arc<Registry>,
    /// As given by the operator.
    pub(crate) config: Config,
    /// Read by [`Hub::stats`](crate::Hub::stats).
    pub(crate) counters: Arc<Counters>,
    /// Number of the connection that comes next.
    next_connection: AtomicU64,
    /// A secret of this hub, for ids that clients cannot guess and for spreading timers.
    secret: RandomState,
}

impl Shared {
    pub(crate) fn new(engine: Arc<Engine>, config: Config, counters: Arc<Counters>) -> Self {
        let registry = Registry::new(Arc::clone(&engine), Arc::clone(&counters));
        Self {
            engine,
            registry: Arc::new(registry),
            config,
            counters,
            next_connection: AtomicU64::new(0),
            secret: RandomState::new(),
        }
    }

    /// A number that no other connection of this hub has.
    pub(crate) fn next_connection(&self) -> u64 {
        self.next_connection.fetch_add(1, Ordering::Relaxed)
    }

    /// The id that a client is told: 128 bits that others cannot guess.
    pub(crate) fn client_id(&self, connection: u64) -> String {
        let half = |n: u8| self.secret.hash_one((connection, n));
        format!("{:016x}{:016x}", half(0), half(1))
    }

    /// A number from 0 to 1 that belongs to the connection, evenly spread over connections.
    pub(crate) fn fraction(&self, connection: u64) -> f64 {
        f64::from(self.secret.hash_one(connection) as u32) / f64::from(u32::MAX)
    }
}
