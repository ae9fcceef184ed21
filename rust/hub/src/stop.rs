//! How every task learns that the hub shuts down.

use std::time::Duration;

use tokio::sync::watch;

/// Tells a task that the hub shuts down.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<Option<Duration>>);

impl Stop {
    /// The receiver of the hub's signal, whose value is the grace period once the hub stops.
    pub(crate) fn new(signal: watch::Receiver<Option<Duration>>) -> Self {
        Self(signal)
    }

    /// Waits for the shutdown; returns at once when it has begun. Cancel safe.
    pub(crate) async fn requested(&mut self) {
        // Fails only when the hub is gone, which is a shutdown too.
        let _ = self.0.wait_for(Option::is_some).await;
    }

    /// How long connections may take to end.
    pub(crate) fn grace(&self) -> Duration {
        self.0.borrow().unwrap_or_default()
    }
}
