//! A thread that asks for the rank of a board's best member, again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};

use crate::Result;
use crate::client::Client;
use crate::clock::{SECOND, now};
use crate::driver::{http, wait};
use crate::options::Options;
use crate::protocol::json;
use crate::source::best;
use crate::tally::{Errors, Latencies};

/// A thread that asks for the rank of a board's best member, again and again.
#[derive(Debug)]
pub(crate) struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(Latencies, Errors)>,
}

impl Probe {
    /// Starts to ask, if the options say so.
    pub(crate) fn start(options: &Options) -> Result<Option<Self>> {
        let Some(millis) = options.probe_ms else { return Ok(None) };
        let board = &options.drive_board;
        let (member, _) = best(&mut http(options)?, board)?.ok_or("the board is empty")?;
        let data = format!(r#"{{"board":{},"member":{}}}"#, json(board), json(&member));
        let client = Client::connect(options.url()?, options.encoding, &options.key)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = spawn(move || ask(client, &data, millis * (SECOND / 1000), &stopped));
        Ok(Some(Self { stop, thread }))
    }

    /// Stops, and returns how long the answers took and what went wrong.
    pub(crate) fn stop(self) -> (Latencies, Errors) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|_| {
            let mut errors = Errors::default();
            errors.add("probe: panicked");
            (Latencies::default(), errors)
        })
    }
}

fn ask(mut client: Client, data: &str, gap: u64, stop: &AtomicBool) -> (Latencies, Errors) {
    let (mut latencies, mut errors) = (Latencies::default(), Errors::default());
    let mut due = now();
    while wait(due, stop) {
        // When the answer before came too late, this question has waited since its moment.
        let late = now() > due + gap / 2;
        let sent = if late { due } else { now() };
        match client.call("rank", data) {
            Ok(_) => latencies.record(now() - sent),
            Err(error) => {
                errors.add(&format!("probe: {error}"));
                break;
            }
        }
        due += gap;
    }
    (latencies, errors)
}
