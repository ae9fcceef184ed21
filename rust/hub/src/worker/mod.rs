//! A worker: one thread with connections, views and times of its own, and nothing shared with other
//! workers but counters and the boards.
//!
//! # A turn
//!
//! The loop waits for sockets, takes in what they and other threads have, looks at the boards,
//! delivers a slice of the states that are on their way, and hands on the submits that came in. Each
//! step is bounded, so that none keeps the others waiting: a state for 20,000 watchers takes many
//! turns, and a command is answered in between.
//!
//! | file | does |
//! |---|---|
//! | `accept` | takes connections, or refuses them |
//! | `receive` | bytes in: the handshake, frames, messages |
//! | `session` | commands: connect, subscribe and their like |
//! | `rpc` | calls, submits and their replies |
//! | `relay` | both ends of a trunk |
//! | `deliver` | bytes out: states, replies, blocked sockets |
//! | `watch` | deadlines, pings, expiry, draining, and the end of connections |
//! | `stepped` | a worker without a thread, for counting instructions |

mod accept;
mod deliver;
mod receive;
mod relay;
mod rpc;
mod session;
#[cfg(feature = "stepped")]
pub(crate) mod stepped;
mod watch;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};
use rankwire_engine::{Door, Ticket, Write};
use slab::Slab;

use crate::boards::LOOK;
use crate::clock::Clock;
use crate::connection::{Connection, Socket};
use crate::inbox::{Inbox, Mail};
use crate::limits;
use crate::shared::Shared;
use crate::source::Source;
use crate::views::Views;
use accept::Acceptor;
use rpc::Pending;
use watch::{Deadlines, Drain};

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
const TRUNK: Token = Token(usize::MAX - 2);

/// Time between two looks when nobody watches anything.
const IDLE_LOOK: Duration = Duration::from_millis(100);

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;

/// A worker. It is made on its own thread, as what it shares it shares with itself only.
#[derive(Debug)]
pub(crate) struct Worker {
    number: usize,
    poll: Poll,
    hub: Arc<Shared>,
    clock: Clock,
    inbox: Arc<Inbox>,
    /// The same, as the engine knows it.
    door: Arc<dyn Door>,
    mail: Vec<Mail>,
    /// In the worker that takes connections.
    acceptor: Option<Acceptor>,
    connections: Slab<Connection>,
    /// Given to the next connection.
    generation: u32,
    views: Views,
    source: Source,
    /// Submits that came in during this turn.
    submits: Vec<(Ticket, Write)>,
    /// Who waits for an answer, by ticket.
    pending: Slab<Pending>,
    /// Sockets that have more to read than one turn allows.
    again: Vec<usize>,
    /// Sockets that were blocked, by slot and generation; some may not be any more.
    blocked: Vec<(u32, u32)>,
    deadlines: Deadlines,
    /// Slots to be freed at the end of the turn: until then they stand for who had them.
    ended: Vec<usize>,
    next_look: Instant,
    /// The last beat whose work is done.
    beat: u32,
    drain: Option<Drain>,
    /// The hub that has the boards has said more than one turn allows to take in.
    trunk_waits: bool,
    /// The hub that has the boards is gone.
    lost: bool,
    buffer: Box<[u8]>,
    payload: Vec<u8>,
    frame: Vec<u8>,
}

/// What a worker starts with.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) number: usize,
    pub(crate) poll: Poll,
    pub(crate) hub: Arc<Shared>,
    /// The letter boxes of all workers.
    pub(crate) inboxes: Arc<[Arc<Inbox>]>,
    /// Where connections come from, for the worker that takes them.
    pub(crate) listener: Option<std::net::TcpListener>,
    pub(crate) source: Source,
}

/// A poll and the letter box that wakes it.
pub(crate) fn post() -> io::Result<(Poll, Arc<Inbox>)> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WAKER)?;
    Ok((poll, Arc::new(Inbox::new(waker))))
}

impl Worker {
    pub(crate) fn new(start: Start) -> io::Result<Self> {
        let Start { number, poll, hub, inboxes, listener, mut source } = start;
        let clock = Clock::new(hub.config.ping_interval);
        let inbox = Arc::clone(&inboxes[number]);
        let places = hub.config.max_connections as usize / inboxes.len() + 1;
        source.register(poll.registry(), TRUNK)?;
        let acceptor = listener
            .map(|listener| Acceptor::new(listener, inboxes, poll.registry(), &hub.config, &clock))
            .transpose()?;
        Ok(Self {
            number,
            poll,
            clock,
            door: Arc::clone(&inbox) as Arc<dyn Door>,
            inbox,
            mail: Vec::new(),
            acceptor,
            // Never moved, and no page of it is touched before somebody comes.
            connections: Slab::with_capacity(places),
            generation: 0,
            views: Views::default(),
            source,
            submits: Vec::new(),
            pending: Slab::new(),
            again: Vec::new(),
            blocked: Vec::new(),
            deadlines: Deadlines::default(),
            ended: Vec::new(),
            next_look: clock.now,
            beat: clock.beat,
            drain: None,
            trunk_waits: false,
            lost: false,
            buffer: vec![0; limits::READ_BYTES].into(),
            payload: Vec::new(),
            frame: Vec::new(),
            hub,
        })
    }

    /// Serves until a drain is over.
    ///
    /// # Errors
    /// When nothing can be served any more: the kernel refuses, or the source of states is gone.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while !self.is_over() {
            let patience = self.patience();
            self.turn(&mut events, patience)?;
        }
        if self.lost { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    /// Waits for sockets, and does what there is to do.
    fn turn(&mut self, events: &mut Events, patience: Duration) -> io::Result<()> {
        match self.poll.poll(events, Some(patience)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        self.clock.advance();
        for event in &*events {
            self.turn_to(event);
        }
        self.read_mail();
        self.read_again();
        self.accept();
        self.look();
        self.spread();
        self.hand_on();
        self.bury();
        Ok(())
    }

    /// How long to wait for sockets.
    fn patience(&self) -> Duration {
        let accepting = self.acceptor.as_ref().is_some_and(Acceptor::is_busy);
        let more = !self.again.is_empty() || self.trunk_waits;
        if accepting || more || self.views.is_spreading() {
            return Duration::ZERO;
        }
        let door = self.acceptor.as_ref().and_then(Acceptor::next);
        let next = door.map_or(self.next_look, |door| door.min(self.next_look));
        next.saturating_duration_since(self.clock.now)
    }

    fn turn_to(&mut self, event: &mio::event::Event) {
        match event.token() {
            LISTENER => {
                if let Some(acceptor) = &mut self.acceptor {
                    acceptor.knock(self.clock.now);
                }
            }
            // The mail is read in every turn.
            WAKER => {}
            TRUNK => self.attend_trunk(),
            Token(slot) => {
                if event.is_writable() {
                    self.unblock(slot);
                }
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    self.receive(slot);
                }
            }
        }
    }

    fn read_mail(&mut self) {
        let mut mail = std::mem::take(&mut self.mail);
        self.inbox.take(&mut mail);
        for letter in mail.drain(..) {
            match letter {
                Mail::Accepted { socket, full } => self.admit(Socket::Tcp(socket), full),
                Mail::Trunk(socket) => self.admit_trunk(socket),
                Mail::Replies(replies) => self.answer(replies),
                Mail::Drain(within) => {
                    self.next_look = self.clock.now;
                    self.begin_drain(within);
                }
            }
        }
        self.mail = mail;
    }

    fn read_again(&mut self) {
        for slot in std::mem::take(&mut self.again) {
            if let Some(connection) = self.connections.get_mut(slot) {
                connection.again = false;
            }
            self.receive(slot);
        }
        if self.trunk_waits {
            self.attend_trunk();
        }
    }

    /// Does what time asks for.
    fn look(&mut self) {
        if self.clock.now < self.next_look {
            return;
        }
        let nobody = self.views.len() == 0 && self.drain.is_none();
        self.next_look =
            self.clock.now + if nobody { IDLE_LOOK.min(self.clock.unit) } else { LOOK };
        self.source.look(&mut self.views, self.hub.of_views(), self.clock.now);
        self.watch();
    }

    /// Hands on what came in during this turn, all at once.
    fn hand_on(&mut self) {
        self.send_submits();
        self.flush_trunk();
    }
}
