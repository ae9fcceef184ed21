//! What the workers of a hub have in common. Read by all, and written rarely.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rankwire_access::Access;

use crate::config::Config;
use crate::stats::{Counters, Stats};

/// A connection by worker, slot and generation.
pub(crate) type Name = (usize, u32, u32);

/// Figures of hub processes.
#[derive(Debug, Default)]
struct Relays {
    now: HashMap<Name, Box<Stats>>,
    /// The totals of those that are gone.
    past: Stats,
}

/// What all workers use.
#[derive(Debug)]
pub(crate) struct Shared {
    /// As given by the operator.
    pub(crate) config: Config,
    /// Who may do what.
    pub(crate) access: Arc<Access>,
    /// Read by [`Hub::stats`](crate::Hub::stats).
    pub(crate) counters: Counters,
    /// Where the views of hub processes are counted, which count them again: read by nobody.
    unread: Counters,
    /// Whether clients come in here, and not only hub processes.
    has_door: bool,
    /// Connections of all workers, from the accept to the end.
    held: AtomicU32,
    /// The newest figures of the hub processes that are clients of this one.
    relays: Mutex<Relays>,
    /// A secret of this hub, for ids that clients cannot guess.
    secret: RandomState,
}

impl Shared {
    pub(crate) fn new(config: Config, access: Arc<Access>, has_door: bool) -> Self {
        Self {
            has_door,
            unread: Counters::default(),
            config,
            access,
            counters: Counters::default(),
            held: AtomicU32::new(0),
            relays: Mutex::default(),
            secret: RandomState::new(),
        }
    }

    /// Where views are counted.
    pub(crate) fn of_views(&self) -> &Counters {
        if self.has_door { &self.counters } else { &self.unread }
    }

    /// The id that a client is told: 128 bits that others cannot guess.
    pub(crate) fn client_id(&self, name: Name) -> String {
        let half = |n: u8| self.secret.hash_one((name, n));
        format!("{:016x}{:016x}", half(0), half(1))
    }

    /// Counts a connection that was accepted. Returns how many there are with it.
    pub(crate) fn hold(&self) -> u32 {
        self.held.fetch_add(1, Relaxed) + 1
    }

    /// Counts a connection that has ended.
    pub(crate) fn release(&self) {
        self.held.fetch_sub(1, Relaxed);
    }

    /// Connections of all workers.
    pub(crate) fn held(&self) -> u32 {
        self.held.load(Relaxed)
    }

    /// Takes note of another hub's figures; of its end, without.
    pub(crate) fn relay(&self, name: Name, stats: Option<Box<Stats>>) {
        let mut relays = self.relays();
        match stats {
            Some(stats) => {
                relays.now.insert(name, stats);
            }
            None => {
                if let Some(last) = relays.now.remove(&name) {
                    relays.past.add(last.past());
                }
            }
        }
    }

    /// The figures of this hub and of those that are its clients.
    pub(crate) fn stats(&self) -> Stats {
        let mut sum = self.counters.snapshot();
        let relays = self.relays();
        sum.add(relays.past);
        for relay in relays.now.values() {
            sum.add(**relay);
        }
        sum
    }

    fn relays(&self) -> MutexGuard<'_, Relays> {
        self.relays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
