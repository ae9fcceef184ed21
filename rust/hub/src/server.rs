//! Accepts connections and gives each its own task; refuses those beyond the limit.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rankwire_engine::Engine;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::config::Config;
use crate::connection::Connection;
use crate::hub::Stop;
use crate::limits;
use crate::stats::Counters;
use crate::views::Registry;
use crate::{handshake, ticker};

/// Wait after a failed accept: the process is out of file descriptors, and trying again at once
/// would not give it one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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

/// Serves until `stop` fires, then waits at most the grace period for the connections to end.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stop: Stop) {
    let ticker = tokio::spawn(ticker::run(Arc::clone(&shared.registry), shared.config.tick));
    let limit = shared.config.max_connections;
    let places = Arc::new(Semaphore::new(limit as usize));
    let refusals = Arc::new(Semaphore::new(limits::REFUSALS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.requested() => break,
        };
        let Ok((stream, _)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            tokio::spawn(connect(stream, place, Arc::clone(&shared), stop.clone()));
            continue;
        }
        shared.counters.refused.add(1);
        if let Ok(place) = Arc::clone(&refusals).try_acquire_owned() {
            tokio::spawn(refuse(stream, place, Arc::clone(&shared)));
        }
    }
    drop(listener);
    ticker.abort();
    // All places are free again when all connections have ended. The semaphore is never closed.
    let _ = timeout(stop.grace(), places.acquire_many(limit)).await;
}

/// Serves one client, and gives its place back at the end.
async fn connect(
    stream: TcpStream,
    place: OwnedSemaphorePermit,
    shared: Arc<Shared>,
    mut stop: Stop,
) {
    // Without it a small frame may wait for the client's acknowledgement of the last one. Failing
    // means that the socket is gone, which the handshake will see.
    let _ = stream.set_nodelay(true);
    let socket = tokio::select! {
        socket = handshake::accept(stream, false, &shared) => socket,
        () = stop.requested() => None,
    };
    if let Some(socket) = socket {
        Connection::new(socket, shared, stop).run().await;
    }
    drop(place);
}

/// Tells one client that there is no place for it.
async fn refuse(stream: TcpStream, place: OwnedSemaphorePermit, shared: Arc<Shared>) {
    handshake::accept(stream, true, &shared).await;
    drop(place);
}
