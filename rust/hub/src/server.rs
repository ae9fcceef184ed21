//! Accepts connections and gives each its own task; refuses those beyond the limit.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::connection::Connection;
use crate::shared::Shared;
use crate::stop::Stop;
use crate::{handshake, limits, ticker};

/// Wait after a failed accept: the process is out of file descriptors, and trying again at once
/// would not give it one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` fires, then waits at most the grace period for the connections to end.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stop: Stop) {
    let ticker =
        tokio::spawn(ticker::keep_running(Arc::clone(&shared.registry), shared.config.tick));
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
