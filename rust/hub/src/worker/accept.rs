//! Taking connections, or refusing them.
//!
//! One worker takes connections for all and deals them out in turn. A limited number is taken in a
//! turn and in a second, so that those who are in do not notice a rush; the others wait in the
//! kernel's queue. Beyond the limit of connections a client is told so by its handshake's answer.

use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, net};

use mio::net::TcpListener;
use mio::{Interest, Registry};

use super::{LISTENER, Worker};
use crate::bucket::Bucket;
use crate::clock::Clock;
use crate::config::Config;
use crate::connection::{Connection, Socket};
use crate::inbox::{Inbox, Mail};
use crate::limits;

/// Rest after a failed accept: the process is out of file descriptors, and trying again at once
/// would not give it one.
const REST: Duration = Duration::from_millis(100);

/// What a process without room leaves to others that may have some, before it refuses those who
/// are still waiting.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest that one of many processes hesitates at a knock which all of them hear: the kernel
/// wakes them in the same order every time, and without it the first one takes them all. In whole
/// milliseconds, which is what a poll waits in.
const HESITATION_MS: u64 = 3;

/// The part of a second whose connections may come at once.
const BURST: Duration = Duration::from_millis(100);

/// Takes connections.
#[derive(Debug)]
pub(super) struct Acceptor {
    listener: TcpListener,
    /// The workers, and whose turn it is.
    inboxes: Arc<[Arc<Inbox>]>,
    turn: usize,
    /// Somebody may be waiting in the kernel's queue.
    knocked: bool,
    /// Not before this time.
    rest: Instant,
    /// Whether those who wait have been left to others for a while.
    waited: bool,
    rate: Bucket,
    /// Draws how long to hesitate, if others hear the same knocks.
    chance: Option<RandomState>,
    knocks: u64,
    now: Instant,
}

impl Acceptor {
    pub(super) fn new(
        listener: net::TcpListener,
        inboxes: Arc<[Arc<Inbox>]>,
        registry: &Registry,
        config: &Config,
        clock: &Clock,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener);
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            listener,
            inboxes,
            turn: 0,
            knocked: true,
            rest: clock.now,
            waited: false,
            rate: Bucket::new(config.accepts_per_second, BURST, clock.now),
            chance: config.shares_listener.then(RandomState::new),
            knocks: 0,
            now: clock.now,
        })
    }

    /// Somebody is at the door, as was heard at `now`.
    pub(super) fn knock(&mut self, now: Instant) {
        if let Some(chance) = &self.chance
            && !self.knocked
        {
            self.knocks += 1;
            let hesitation = chance.hash_one(self.knocks) % (HESITATION_MS + 1);
            self.rest = self.rest.max(now + Duration::from_millis(hesitation));
        }
        self.knocked = true;
    }

    /// When the door has to be looked at again, if somebody is left waiting until a time.
    pub(super) fn next(&self) -> Option<Instant> {
        (self.knocked && self.rest > self.now).then_some(self.rest)
    }

    /// Whether somebody waits who could be taken at once.
    pub(super) fn is_busy(&self) -> bool {
        self.knocked && self.rate.has_some() && self.rest <= self.now
    }

    fn advance(&mut self, now: Instant) {
        self.now = now;
        self.rate.fill(now);
    }
}

impl Worker {
    /// Takes connections, as many as a turn and a second allow.
    pub(super) fn accept(&mut self) {
        let Some(acceptor) = &mut self.acceptor else { return };
        acceptor.advance(self.clock.now);
        if self.hub.config.shares_listener && acceptor.is_busy() {
            let full = self.hub.held() >= self.hub.config.max_connections;
            if full && !acceptor.waited {
                acceptor.rest = self.clock.now + PATIENCE;
            }
            acceptor.waited = full && !acceptor.waited;
        }
        for _ in 0..limits::ACCEPTS {
            if !acceptor.is_busy() {
                return;
            }
            match acceptor.listener.accept() {
                Ok((socket, _)) => {
                    acceptor.rate.take(1);
                    let held = self.hub.hold();
                    let most = self.hub.config.max_connections;
                    if held > most + limits::REFUSALS as u32 {
                        self.hub.counters.refused_total.add(1);
                        self.hub.release();
                        continue;
                    }
                    let full = held > most;
                    acceptor.turn = (acceptor.turn + 1) % acceptor.inboxes.len();
                    acceptor.inboxes[acceptor.turn].send(Mail::Accepted { socket, full });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => acceptor.knocked = false,
                // The client was gone before its turn came.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                    ) => {}
                Err(_) => acceptor.rest = self.clock.now + REST,
            }
        }
    }

    /// Gives an accepted socket a slot.
    pub(super) fn admit(&mut self, socket: Socket, full: bool) {
        if full {
            self.hub.counters.refused_total.add(1);
        }
        let slot = self.insert(socket, full);
        if let Some(slot) = slot {
            self.deadlines.asked(slot, self.connections[slot].generation, self.clock.now);
            // The request is there as a rule, and its event may have come before the slot.
            self.receive(slot);
        }
    }

    /// Gives a hub process a slot: a session from the start.
    pub(super) fn admit_trunk(&mut self, socket: Socket) {
        self.hub.hold();
        if let Some(slot) = self.insert(socket, false) {
            self.make_trunk(slot);
            self.receive(slot);
        }
    }

    fn insert(&mut self, mut socket: Socket, full: bool) -> Option<usize> {
        self.generation = self.generation.wrapping_add(1);
        let entry = self.connections.vacant_entry();
        let slot = entry.key();
        if socket.register(self.poll.registry(), mio::Token(slot)).is_err() || self.drain.is_some()
        {
            self.hub.release();
            return None;
        }
        let Self { generation, clock, .. } = self;
        entry.insert(Connection::new(socket, *generation, full, clock.ms, clock.beat));
        Some(slot)
    }

    /// Stops taking connections.
    pub(super) fn shut_door(&mut self) {
        self.acceptor = None;
    }
}
