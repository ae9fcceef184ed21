//! The handle to a running hub: start, look, stop.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rankwire_access::Access;
use rankwire_engine::Engine;
use socket2::{Domain, Protocol, Socket, Type};

use crate::boards::Boards;
use crate::clock::Clock;
use crate::config::Config;
use crate::connection;
use crate::inbox::{Inbox, Mail};
use crate::limits;
use crate::shared::Shared;
use crate::source::Source;
use crate::stats::Stats;
use crate::trunk::Trunk;
use crate::worker::{Start, Worker, post};

/// Bytes in the kernel that a socket may have before it takes no more: what a slow client gets late.
const UNSENT_BYTES: u32 = 16 * 1024;

/// After this time without an acknowledgement the kernel takes a client for gone.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// A running hub. Dropping it shuts it down without grace.
#[derive(Debug)]
pub struct Hub {
    /// Where the hub listens, if it has a door.
    address: Option<SocketAddr>,
    shared: Arc<Shared>,
    inboxes: Arc<[Arc<Inbox>]>,
    /// Whose turn it is to take a hub process for a client.
    turn: AtomicUsize,
    /// Set when a worker ended and was not told to.
    failed: Arc<AtomicBool>,
    /// The workers, until somebody has joined them.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Where a hub gets its states from.
#[derive(Debug)]
enum Origin {
    Engine(Arc<Engine>),
    Trunk(UnixStream),
}

impl Hub {
    /// Begins to listen and serves the boards of `engine` on threads of its own.
    ///
    /// # Errors
    /// When the configuration is invalid, the address cannot be had or no thread can be started.
    pub fn start(engine: Arc<Engine>, access: Arc<Access>, config: Config) -> io::Result<Self> {
        config.check()?;
        let listener = listen(config.address)?;
        Self::run(&Origin::Engine(engine), access, config, Some(listener))
    }

    /// The same without a door: for hub processes only, see [`attach`](Self::attach).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_inside(
        engine: Arc<Engine>,
        access: Arc<Access>,
        config: Config,
    ) -> io::Result<Self> {
        config.check()?;
        Self::run(&Origin::Engine(engine), access, config, None)
    }

    /// Serves the boards of another hub, which is at the other end of `trunk` and was told so by
    /// [`attach`](Self::attach). Takes connections from `listener`, which other processes may share.
    /// Has one worker, whatever the configuration says, and ends when the other hub does.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn relay(
        trunk: UnixStream,
        listener: TcpListener,
        access: Arc<Access>,
        config: Config,
    ) -> io::Result<Self> {
        trunk.set_nonblocking(true)?;
        let config = Config { threads: 1, shares_listener: true, ..config };
        config.check()?;
        Self::run(&Origin::Trunk(trunk), access, config, Some(listener))
    }

    /// Binds a listener that hub processes share, for [`relay`](Self::relay).
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
        listen(address)
    }

    /// Takes another hub for a client that may do everything.
    ///
    /// # Errors
    /// When the socket is none.
    pub fn attach(&self, trunk: UnixStream) -> io::Result<()> {
        trunk.set_nonblocking(true)?;
        let trunk = mio::net::UnixStream::from_std(trunk);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.inboxes.len();
        self.inboxes[turn].send(Mail::Trunk(connection::Socket::Unix(trunk)));
        Ok(())
    }

    /// Where the hub listens; with the port that it got if it was told port 0. Port 0 of any
    /// address if it has no door.
    pub fn address(&self) -> SocketAddr {
        self.address.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// What the hub and its hub processes have done so far and hold now.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Whether a worker has ended that was not told to: by a panic, or because the other end of
    /// its trunk is gone. The process should end then.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Stops accepting, closes connections one after the other over `within`, with code 3001, which
    /// makes SDKs come back, and ends the hub's threads. Blocks for that long and up to two
    /// seconds more. Does nothing if the hub was shut down before.
    pub fn shutdown(&self, within: Duration) {
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        if threads.is_empty() {
            return;
        }
        for inbox in &*self.inboxes {
            inbox.send(Mail::Drain(within));
        }
        for thread in threads {
            // Panics do not come through: see `work`.
            let _ = thread.join();
        }
    }

    fn run(
        origin: &Origin,
        access: Arc<Access>,
        config: Config,
        mut listener: Option<TcpListener>,
    ) -> io::Result<Self> {
        let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let shared = Arc::new(Shared::new(config, access, listener.is_some()));
        let posts = (0..shared.config.threads).map(|_| post()).collect::<io::Result<Vec<_>>>()?;
        let inboxes: Arc<[_]> = posts.iter().map(|(_, inbox)| Arc::clone(inbox)).collect();
        let failed = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (number, (poll, _)) in posts.into_iter().enumerate() {
            let start = Start {
                number,
                poll,
                hub: Arc::clone(&shared),
                inboxes: Arc::clone(&inboxes),
                listener: listener.take(),
                source: source(origin, &shared.config)?,
            };
            let failed = Arc::clone(&failed);
            let name = format!("rankwire-hub-{number}");
            threads.push(std::thread::Builder::new().name(name).spawn(move || {
                if !work(start) {
                    failed.store(true, Ordering::Relaxed);
                }
            })?);
        }
        let (turn, threads) = (AtomicUsize::new(0), Mutex::new(threads));
        Ok(Self { address, shared, inboxes, turn, failed, threads })
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.shutdown(Duration::ZERO);
    }
}

/// Runs a worker to its end. Returns whether that was well.
fn work(start: Start) -> bool {
    let run = AssertUnwindSafe(|| Worker::new(start).and_then(Worker::run));
    // What a panic leaves behind is dropped with the worker; counters may be off by one.
    matches!(catch_unwind(run), Ok(Ok(())))
}

fn source(origin: &Origin, config: &Config) -> io::Result<Source> {
    Ok(match origin {
        Origin::Engine(engine) => {
            let now = Clock::new(config.ping_interval).now;
            Source::Boards(Box::new(Boards::new(Arc::clone(engine), config, now)))
        }
        Origin::Trunk(trunk) => {
            let socket = mio::net::UnixStream::from_std(trunk.try_clone()?);
            Source::Trunk(Box::new(Trunk::new(connection::Socket::Unix(socket))))
        }
    })
}

/// Binds before any thread of the hub runs, so that the caller learns why it cannot be.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit these, if they stand before the first of them knocks.
    socket.set_tcp_nodelay(true)?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        // Not in every kernel: without it slow clients get older states.
        let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
    }
    socket.bind(&address.into())?;
    socket.listen(limits::BACKLOG)?;
    Ok(socket.into())
}
