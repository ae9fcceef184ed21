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

    /// A number up to `most` for one connection, the same at every call, that nobody can foresee.
    pub(crate) fn draw(&self, name: Name, most: u32) -> u32 {
        (self.secret.hash_one(name) % (u64::from(most) + 1)) as u32
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

#[cfg(test)]
mod tests {
    use rankwire_access::{Mode, Policy};

    use super::*;

    #[test]
    fn what_is_drawn_is_anything_up_to_the_most_and_stays() {
        let access = Access::new(Policy {
            mode: Mode::Open,
            anonymous_read: false,
            audience: None,
            issuer: None,
            key_submits_per_second: 0,
            member_submits_per_second: 0,
        });
        let shared = Shared::new(Config::default(), Arc::new(access), true);
        let mut found = [0; 4];
        for slot in 0..1000 {
            let drawn = shared.draw((0, slot, 1), 3);
            assert_eq!(shared.draw((0, slot, 1), 3), drawn);
            found[drawn as usize] += 1;
        }
        // By chance below 150 once in 10^13 runs.
        assert!(found.iter().all(|count| *count > 150), "{found:?}");
        assert_eq!(shared.draw((0, 0, 1), 0), 0);
    }
}
