//! Drives the views: one look at all boards per tick.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, sleep};

use crate::views::Registry;

/// Views encoded before other tasks of the runtime get a turn.
const BATCH_VIEWS: usize = 64;

/// Keeps a ticker running until it is dropped. A panic in one tick, which the process reports as any
/// other, does not freeze the views: the next ticker takes over.
pub(crate) async fn keep_running(registry: Arc<Registry>, tick: Duration) {
    let mut tickers = JoinSet::new();
    loop {
        tickers.spawn(run(Arc::clone(&registry), tick));
        tickers.join_next().await;
        sleep(tick).await;
    }
}

/// Refreshes the views once per `tick`, until the runtime ends. When encoding takes longer than a
/// tick the next one starts a whole tick later, so that sockets are served in between.
async fn run(registry: Arc<Registry>, tick: Duration) {
    let mut interval = tokio::time::interval(tick);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let due = registry.due();
        for view in due.ended {
            view.end();
        }
        for batch in due.changed.chunks(BATCH_VIEWS) {
            for (view, list) in batch {
                registry.refresh(view, list);
            }
            tokio::task::yield_now().await;
        }
    }
}
