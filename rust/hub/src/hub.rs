//! The handle to a running hub: start, look, stop.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rankwire_engine::Engine;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::config::Config;
use crate::server::serve;
use crate::shared::Shared;
use crate::stats::{Counters, Stats};
use crate::stop::Stop;

/// How long the runtime's threads may take to end after the last connection; tasks that are left
/// then are cut off.
const RUNTIME_END: Duration = Duration::from_secs(1);

/// A running hub. Dropping it shuts it down without grace.
#[derive(Debug)]
pub struct Hub {
    /// Where the hub listens.
    address: SocketAddr,
    /// Shared with everything in the hub that counts.
    counters: Arc<Counters>,
    /// Every task holds a receiver; the value is the grace period once the hub stops.
    stop: watch::Sender<Option<Duration>>,
    /// The thread that owns the runtime, until somebody has joined it.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Hub {
    /// Begins to listen and serves the boards of `engine` on threads of its own.
    ///
    /// # Errors
    /// When the configuration is invalid, the address cannot be had or no thread can be started.
    pub fn start(engine: Arc<Engine>, config: Config) -> io::Result<Self> {
        config.check()?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(config.threads)
            .thread_name("rankwire-hub")
            .enable_io()
            .enable_time()
            .build()?;
        let listener = listen(&runtime, config.address)?;
        let address = listener.local_addr()?;
        let counters = Arc::<Counters>::default();
        let shared = Arc::new(Shared::new(engine, config, Arc::clone(&counters)));
        let (stop, stopped) = watch::channel(None);
        let thread =
            std::thread::Builder::new().name("rankwire-hub-main".to_owned()).spawn(move || {
                runtime.block_on(serve(listener, shared, Stop::new(stopped)));
                runtime.shutdown_timeout(RUNTIME_END);
            })?;
        Ok(Self { address, counters, stop, thread: Mutex::new(Some(thread)) })
    }

    /// Where the hub listens; with the port that it got if it was told port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the hub has done so far and holds now.
    pub fn stats(&self) -> Stats {
        self.counters.snapshot()
    }

    /// Stops accepting, closes every connection with code 3001 "shutdown", which makes SDKs come
    /// back, and waits up to `grace` for clients to take it; then ends the hub's threads. Blocks.
    /// Does nothing if the hub was shut down before.
    pub fn shutdown(&self, grace: Duration) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            self.stop.send_replace(Some(grace));
            // A panic of that thread has ended the hub as well.
            let _ = thread.join();
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.shutdown(Duration::ZERO);
    }
}

/// Binds before any thread of the hub runs, so that the caller learns why it cannot be.
fn listen(runtime: &Runtime, address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let _inside = runtime.enter();
    TcpListener::from_std(listener)
}
