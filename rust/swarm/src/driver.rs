//! Submits scores at a rate, and knows when each version was made; and a probe that asks for ranks.
//!
//! The load is open: each submit has its moment, however long the ones before took, as long as a
//! connection is free. With rate 0 each connection submits again as soon as it has its receipt.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use crate::Result;
use crate::client::Client;
use crate::clock::{SECOND, now, until};
use crate::control::Times;
use crate::http::{Http, escaped};
use crate::options::{Options, Over, Target};
use crate::protocol::json;
use crate::tally::{Errors, Latencies};

/// Members at the top of the board that the driver moves in turns.
const MOVED: u64 = 10;

/// How long it sleeps at most before it looks whether it is to stop.
const LOOK: u64 = SECOND / 20;

/// One score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Submit {
    board: String,
    member: String,
    score: Number,
}

/// What a receipt says, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Receipt {
    version: u64,
    changed: bool,
}

/// What became of the submits.
#[derive(Debug, Default)]
pub(crate) struct Driven {
    /// When each version was made, by board, in the order of versions.
    pub(crate) times: Times,
    /// From sending to the receipt.
    pub(crate) latencies: Latencies,
    /// Submits that changed something.
    pub(crate) changes: u64,
    /// What went wrong.
    pub(crate) errors: Errors,
}

/// Where a driver gets its submits from.
#[derive(Debug)]
enum Source {
    /// Lines of a file, each once.
    List(VecDeque<Submit>),
    /// Ever better scores of ten members in turns: each changes every top 10.
    Top { board: String, next: u64, step: u64 },
}

/// A way to submit.
#[derive(Debug)]
enum Door {
    Http(Http),
    WebSocket(Client),
}

/// Threads that submit until they are stopped.
#[derive(Debug)]
pub(crate) struct Driver {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Driven>>,
}

impl Driver {
    /// Starts to submit, if the options say so.
    pub(crate) fn start(options: &Options) -> Result<Option<Self>> {
        let Some(rate) = options.drive else { return Ok(None) };
        let sources = sources(options)?;
        let stop = Arc::new(AtomicBool::new(false));
        let count = sources.len() as f64;
        let start = now();
        let mut threads = Vec::new();
        for (number, source) in sources.into_iter().enumerate() {
            let door = Door::open(options)?;
            let gap = if rate > 0.0 { count / rate * SECOND as f64 } else { 0.0 };
            let first = start + (gap / count * number as f64) as u64;
            let pace = Pace { first, gap };
            let stop = Arc::clone(&stop);
            threads.push(spawn(move || drive(door, source, pace, &stop)));
        }
        Ok(Some(Self { stop, threads }))
    }

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
        for rows in sum.times.values_mut() {
            rows.sort_unstable();
            // Scores of one commit may share a version; it was not made before the first of them.
            rows.dedup_by_key(|row| row.0);
        }
        sum
    }
}

impl Driven {
    fn merge(&mut self, other: Self) {
        for (board, rows) in other.times {
            self.times.entry(board).or_default().extend(rows);
        }
        self.latencies.merge(&other.latencies);
        self.changes += other.changes;
        self.errors.merge(&other.errors);
    }
}

/// When a thread submits.
#[derive(Debug, Clone, Copy)]
struct Pace {
    first: u64,
    /// Nanoseconds between two; 0 for as fast as it goes.
    gap: f64,
}

fn drive(mut door: Door, mut source: Source, pace: Pace, stop: &AtomicBool) -> Driven {
    let mut driven = Driven::default();
    for number in 0_u64.. {
        let due = pace.first + (pace.gap * number as f64) as u64;
        if !wait(due, stop) {
            break;
        }
        let Some(submit) = source.next() else { break };
        let sent = now();
        match door.submit(&submit) {
            Ok(receipt) => {
                let acked = now();
                driven.latencies.record(acked - sent);
                if receipt.changed {
                    driven.changes += 1;
                    let row = (receipt.version, sent, acked);
                    driven.times.entry(submit.board).or_default().push(row);
                }
            }
            Err(error) => {
                // The state of the connection is not known any more.
                driven.errors.add(&format!("driver: {error}"));
                break;
            }
        }
    }
    driven
}

/// Waits for a moment; returns whether to go on.
fn wait(due: u64, stop: &AtomicBool) -> bool {
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

impl Source {
    fn next(&mut self) -> Option<Submit> {
        match self {
            Self::List(submits) => submits.pop_front(),
            Self::Top { board, next, step } => {
                let score = *next;
                *next += *step;
                let member = format!("driver-{}", score % MOVED);
                Some(Submit { board: board.clone(), member, score: score.into() })
            }
        }
    }
}

/// The submits of each connection.
fn sources(options: &Options) -> Result<Vec<Source>> {
    let count = options.drive_connections;
    if let Some(file) = &options.submits {
        let mut lists = vec![VecDeque::new(); count as usize];
        for (number, submit) in read_submits(file)?.into_iter().enumerate() {
            lists[number % count as usize].push_back(submit);
        }
        return Ok(lists.into_iter().map(Source::List).collect());
    }
    let board = options.drive_board.clone();
    let best = best(&mut http(options)?, &board)?;
    let score = best.as_ref().and_then(|(_, score)| score.as_f64()).unwrap_or(0.0);
    let start = score.max(0.0) as u64 + 1;
    let top = |number| Source::Top { board: board.clone(), next: start + number, step: count };
    Ok((0..count).map(top).collect())
}

fn read_submits(file: &Path) -> Result<Vec<Submit>> {
    let text = std::fs::read_to_string(file)?;
    let read = |line| serde_json::from_str(line).map_err(|error| format!("{line}: {error}").into());
    text.lines().map(read).collect()
}

/// A connection to the HTTP API.
pub(crate) fn http(options: &Options) -> Result<Http> {
    Http::connect(options.http.as_ref().ok_or("--http is needed")?, &options.key)
}

/// The best member of a board and its score.
fn best(http: &mut Http, board: &str) -> Result<Option<(String, Number)>> {
    let path = format!("/v1/boards/{}/top?limit=1", escaped(board));
    let page = http.get(&path)?.ok_or_else(|| format!("there is no board {board}"))?;
    let entry = &page["entries"][0];
    Ok(match (&entry["member"], &entry["score"]) {
        (Value::String(member), Value::Number(score)) => Some((member.clone(), score.clone())),
        _ => None,
    })
}

impl Door {
    fn open(options: &Options) -> Result<Self> {
        Ok(match options.drive_over {
            Over::Http => Self::Http(http(options)?),
            Over::WebSocket => {
                Self::WebSocket(Client::connect(options.url()?, options.encoding, &options.key)?)
            }
        })
    }

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
        let target: &Target = options.url()?;
        let client = Client::connect(target, options.encoding, &options.key)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submits_are_dealt_out_and_each_changes_the_top() {
        let mut sources: Vec<_> = (0..2)
            .map(|number| Source::Top { board: "b".to_owned(), next: 100 + number, step: 2 })
            .collect();
        let made: Vec<Submit> = (0..20).filter_map(|number| sources[number % 2].next()).collect();
        let scores: Vec<_> = made.iter().map(|submit| submit.score.as_u64().unwrap()).collect();
        assert_eq!(scores, (100..120).collect::<Vec<_>>());
        // Whoever moves was not the best.
        assert!(made.windows(2).all(|pair| pair[0].member != pair[1].member));
    }

    #[test]
    fn versions_that_several_submits_share_count_from_the_first() {
        let mut times = Times::new();
        times.insert("b".to_owned(), vec![(2, 50, 60), (1, 10, 20), (2, 40, 70)]);
        let thread = spawn(move || Driven { times, ..Driven::default() });
        let driver = Driver { stop: Arc::default(), threads: vec![thread] };
        assert_eq!(driver.stop().times["b"], [(1, 10, 20), (2, 40, 70)]);
    }
}
