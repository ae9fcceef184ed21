//! Submits scores at a rate, and knows when what was made.
//!
//! The load is open: each submit has its moment, however long the ones before took, as long as a
//! connection is free. With rate 0 each connection submits again as soon as it has its receipt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};

use serde::Deserialize;

use crate::Result;
use crate::client::Client;
use crate::clock::{SECOND, now, until};
use crate::figures::Figures;
use crate::http::Http;
use crate::options::{Options, TimedBy};
use crate::plan::Timeline;
use crate::protocol::{Encoding, json};
use crate::source::{Source, Submit};
use crate::tally::{Errors, Latencies};
use crate::times::Times;
use crate::values::{Over, Target};

/// How long it sleeps at most before it looks whether it is to stop.
const LOOK: u64 = SECOND / 20;

/// What a receipt says, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Receipt {
    version: u64,
    changed: bool,
}

/// What became of the submits.
#[derive(Debug, Default)]
pub(crate) struct Driven {
    /// When what was made.
    pub(crate) times: Times,
    /// From sending to the receipt.
    pub(crate) latencies: Latencies,
    /// Submits that changed something.
    pub(crate) changes: u64,
    /// By connection, in the order in which submits are dealt out to them: how many it has sent, and
    /// to how many it has receipts.
    pub(crate) hands: Vec<(u64, u64)>,
    /// What went wrong.
    pub(crate) errors: Errors,
}

/// A way to submit.
#[derive(Debug)]
enum Door {
    Http(Http),
    WebSocket(Client),
}

/// Where a door leads, so that it can be opened again.
#[derive(Debug, Clone)]
struct Entrance {
    over: Over,
    target: Target,
    encoding: Encoding,
    key: String,
}

/// A driver that is ready to start.
#[derive(Debug)]
pub(crate) struct Driver {
    rate: f64,
    timed_by: TimedBy,
    hands: Vec<(Entrance, Door, Source)>,
}

/// Threads that submit until they are stopped.
#[derive(Debug)]
pub(crate) struct Driving {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Driven>>,
}

impl Driver {
    /// The driver of `--drive`, if there is one: with its submits read and its connections open.
    pub(crate) fn prepare(options: &Options) -> Result<Option<Self>> {
        let Some(rate) = options.drive else { return Ok(None) };
        let (over, count) = (options.drive_over, options.drive_connections);
        let sources = match &options.submits {
            Some(file) => Source::lists(file, count)?,
            None => Source::tops(&mut http(options)?, &options.drive_board, count)?,
        };
        Ok(Some(Self::new(options, rate, over, sources)?))
    }

    /// The same for `--drive-ws`.
    pub(crate) fn prepare_second(options: &Options) -> Result<Option<Self>> {
        let (Some(rate), Some(file)) = (options.drive_ws, &options.submits_ws) else {
            return Ok(None);
        };
        let sources = Source::lists(file, options.drive_ws_connections)?;
        Ok(Some(Self::new(options, rate, Over::WebSocket, sources)?))
    }

    fn new(options: &Options, rate: f64, over: Over, sources: Vec<Source>) -> Result<Self> {
        let mut hands = Vec::new();
        for (number, source) in (0..).zip(sources) {
            let entrance = Entrance::new(options, over, number)?;
            hands.push((entrance.clone(), entrance.open()?, source));
        }
        Ok(Self { rate, timed_by: options.timed_by, hands })
    }

    /// Starts to submit.
    pub(crate) fn start(self, timeline: &Timeline, figures: &Figures) -> Driving {
        let stop = Arc::new(AtomicBool::new(false));
        let hands = self.hands.len() as u64;
        let mut threads = Vec::new();
        for (first, (entrance, door, source)) in (0..).zip(self.hands) {
            let timeline = timeline.clone();
            let pace = Pace { timeline, rate: self.rate, first, step: hands };
            let hand = Hand {
                entrance,
                door,
                source,
                pace,
                figures: figures.clone(),
                timed_by: self.timed_by,
                stop: Arc::clone(&stop),
                driven: Driven::default(),
            };
            threads.push(spawn(move || hand.drive()));
        }
        Driving { stop, threads }
    }
}

impl Driving {
    /// Stops after the submits that are on their way.
    pub(crate) fn stop(self) -> Driven {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Driven::default();
        for thread in self.threads {
            match thread.join() {
                Ok(driven) => sum.merge(driven),
                Err(_) => sum.errors.add("driver: panicked"),
            }
        }
        sum.times.sort();
        sum
    }
}

impl Driven {
    fn merge(&mut self, other: Self) {
        self.times.merge(other.times);
        self.latencies.merge(&other.latencies);
        self.changes += other.changes;
        self.hands.extend(other.hands);
        self.errors.merge(&other.errors);
    }
}

/// When a thread submits: every so many submits of all.
#[derive(Debug, Clone)]
struct Pace {
    timeline: Timeline,
    /// Submits a second of all threads; 0 for as fast as it goes.
    rate: f64,
    first: u64,
    step: u64,
}

impl Pace {
    /// The moment of this thread's submit of a number; nothing if it is at once.
    fn due(&self, number: u64) -> Option<u64> {
        let due = || self.timeline.due(self.rate, self.first + self.step * number);
        (self.rate > 0.0).then(due)
    }
}

/// One thread and its connection.
#[derive(Debug)]
struct Hand {
    entrance: Entrance,
    door: Door,
    source: Source,
    pace: Pace,
    figures: Figures,
    timed_by: TimedBy,
    stop: Arc<AtomicBool>,
    driven: Driven,
}

impl Hand {
    fn drive(mut self) -> Driven {
        let mut submitted = 0;
        for number in 0.. {
            let due = self.pace.due(number);
            if !wait(due.unwrap_or_default(), &self.stop) {
                break;
            }
            let Some(submit) = self.source.next() else {
                // At a rate, the load would be smaller than was asked for.
                if due.is_some_and(|due| due < self.pace.timeline.end()) {
                    self.driven.errors.add("driver: no submits are left");
                }
                break;
            };
            submitted += 1;
            if !self.submit(submit, due) {
                break;
            }
        }
        self.driven.hands = vec![(submitted, self.driven.latencies.summary().count)];
        self.driven
    }

    /// Submits; returns whether there is a connection for the next one.
    fn submit(&mut self, submit: Submit, due: Option<u64>) -> bool {
        let sent = now();
        match self.door.submit(&submit) {
            Ok(receipt) => {
                let acked = now();
                self.driven.latencies.record(acked - sent);
                self.figures.record(self.entrance.kind(), due.unwrap_or(sent), acked);
                if receipt.changed {
                    self.driven.changes += 1;
                    let times = &mut self.driven.times;
                    match self.timed_by {
                        TimedBy::Version => times.made(submit, receipt.version, sent, acked),
                        TimedBy::Content => times.shown(submit, sent, acked),
                    }
                }
                true
            }
            Err(error) => {
                self.driven.errors.add(&format!("driver: {error}"));
                // The state of the connection is not known any more.
                match self.entrance.open() {
                    Ok(door) => self.door = door,
                    Err(error) => {
                        self.driven.errors.add(&format!("driver: {error}"));
                        return false;
                    }
                }
                true
            }
        }
    }
}

/// Waits for a moment; returns whether to go on.
pub(crate) fn wait(due: u64, stop: &AtomicBool) -> bool {
    loop {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        let now = now();
        if now >= due {
            return true;
        }
        sleep(until(due.min(now + LOOK)));
    }
}

/// A connection to the HTTP API: to the first, if there are several.
pub(crate) fn http(options: &Options) -> Result<Http> {
    Http::connect(options.http(0)?, &options.key)
}

impl Entrance {
    fn new(options: &Options, over: Over, number: u64) -> Result<Self> {
        let target = match over {
            Over::Http => options.http(number)?,
            Over::WebSocket => options.url_of(number)?,
        };
        let (encoding, key) = (options.encoding, options.key.clone());
        Ok(Self { over, target: target.clone(), encoding, key })
    }

    fn open(&self) -> Result<Door> {
        let Self { target, key, .. } = self;
        Ok(match self.over {
            Over::Http => Door::Http(Http::connect(target, key)?),
            Over::WebSocket => Door::WebSocket(Client::connect(target, self.encoding, key)?),
        })
    }

    /// What its submits are called among the figures.
    fn kind(&self) -> &'static str {
        match self.over {
            Over::Http => "submit_http",
            Over::WebSocket => "submit_ws",
        }
    }
}

impl Door {
    fn submit(&mut self, submit: &Submit) -> Result<Receipt> {
        let answer = match self {
            Self::Http(http) => {
                let path = format!("/v1/boards/{}/scores", submit.board);
                let Submit { member, score, .. } = submit;
                let body = format!(r#"{{"member":{},"score":{score}}}"#, json(member));
                match http.call("POST", &path, &body)? {
                    (200, answer) => answer,
                    (status, answer) => {
                        let text = String::from_utf8_lossy(&answer);
                        return Err(format!("{status} {text}").into());
                    }
                }
            }
            Self::WebSocket(client) => client.call("submit", &json(submit))?,
        };
        Ok(serde_json::from_slice(&answer)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Phase;

    #[test]
    fn threads_take_turns_at_the_rate_of_all() {
        let timeline = Timeline::new(SECOND, &Phase::parse_all("a:1:1").unwrap());
        let pace = |first| Pace { timeline: timeline.clone(), rate: 4.0, first, step: 2 };
        let due = |first, number| pace(first).due(number).unwrap() - SECOND;
        let quarter = SECOND / 4;
        let moments = [due(0, 0), due(1, 0), due(0, 1), due(1, 1)];
        assert_eq!(moments, [0, quarter, 2 * quarter, 3 * quarter]);
        assert_eq!(Pace { rate: 0.0, ..pace(0) }.due(7), None);
    }
}
