//! A worker without a thread: whoever has it says when it takes a turn, so that what a turn does
//! can be counted. Looks at the boards in every turn, and does not wait.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use mio::Events;
use rankwire_access::Access;
use rankwire_engine::Engine;

use super::{EVENTS, Start, Worker, post};
use crate::boards::Boards;
use crate::clock::Clock;
use crate::config::Config;
use crate::connection::Socket;
use crate::shared::Shared;
use crate::source::Source;

/// A hub of one worker that takes a turn when it is told to, and has no listener.
#[derive(Debug)]
pub struct Stepped {
    worker: Worker,
    events: Events,
}

impl Stepped {
    /// Serves the boards of `engine`.
    ///
    /// # Errors
    /// When the configuration is invalid, or the kernel refuses.
    pub fn new(engine: Arc<Engine>, access: Arc<Access>, config: Config) -> io::Result<Self> {
        config.check()?;
        let now = Clock::new(config.ping_interval).now;
        let source = Source::Boards(Box::new(Boards::new(engine, &config, now)));
        let (poll, inbox) = post()?;
        let hub = Arc::new(Shared::new(config, access, true));
        let start = Start { number: 0, poll, hub, inboxes: [inbox].into(), listener: None, source };
        Ok(Self { worker: Worker::new(start)?, events: Events::with_capacity(EVENTS) })
    }

    /// Takes a client in, who has the other end of this socket.
    ///
    /// # Errors
    /// When the socket is none.
    pub fn admit(&mut self, socket: UnixStream) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        self.worker.hub.hold();
        self.worker.admit(Socket::Unix(mio::net::UnixStream::from_std(socket)), false);
        Ok(())
    }

    /// Takes one turn: hears clients, publishes what has changed, and delivers a slice of it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn turn(&mut self) -> io::Result<()> {
        self.worker.next_look = self.worker.clock.now;
        self.worker.turn(&mut self.events, Duration::ZERO)
    }
}
