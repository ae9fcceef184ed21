//! HTTP reads at a rate: one thread, one loop around epoll, and every answer is judged.
//!
//! The load is open: each read is due at its moment, and waits in a queue while no connection is
//! free. Its latency counts from that moment. What the queue has no place for is an error.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use serde::Serialize;

use crate::Result;
use crate::answer::{Question, Verdict};
use crate::clock::{SECOND, now, until};
use crate::connection::begin;
use crate::figures::Figures;
use crate::options::Options;
use crate::plan::Timeline;
use crate::reader::Reader;
use crate::tally::Errors;
use crate::values::Target;

/// Reads that wait for a connection; more are dropped.
const WAITING: usize = 20_000;

/// An answer that comes later than this is none, also after the end.
const PATIENCE: u64 = 10 * SECOND;

/// How long it sleeps at most before it looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// How long it waits before it begins a connection anew.
const RETRY: u64 = SECOND / 4;

/// Bytes that are read at once, for all connections.
const BUFFER_BYTES: usize = 64 << 10;

/// What became of the reads.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Told {
    /// Reads that were due.
    pub(crate) due: u64,
    /// Answers that can be right.
    pub(crate) answers: u64,
    /// Those of them that said that the member never played.
    pub(crate) not_found: u64,
    /// What went wrong.
    #[serde(skip)]
    pub(crate) errors: Errors,
}

/// A read on its way.
#[derive(Debug)]
struct Asked {
    question: Question,
    due: u64,
    sent: u64,
}

/// A place for a connection.
#[derive(Debug)]
struct Place {
    target: Target,
    /// Nothing until it is begun, and begun anew.
    reader: Option<Reader>,
    asked: Option<Asked>,
    /// It is not begun before.
    not_before: u64,
}

/// A thread that reads until it is stopped.
#[derive(Debug)]
pub(crate) struct Reads {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Told>>,
}

/// What the thread works with.
#[derive(Debug)]
struct Loop {
    poll: Poll,
    places: Vec<Place>,
    /// The place whose turn it is.
    next: usize,
    waiting: VecDeque<(u64, Question)>,
    timeline: Timeline,
    /// Reads a second.
    rate: f64,
    draw: Draw,
    key: String,
    figures: Figures,
    told: Told,
}

/// Random questions.
#[derive(Debug)]
struct Draw {
    board: String,
    members: u64,
    cohorts: u64,
    random: u64,
}

impl Reads {
    /// Starts to read, if the options say so.
    pub(crate) fn start(
        options: &Options,
        timeline: &Timeline,
        figures: &Figures,
    ) -> Result<Option<Self>> {
        let Some(rate) = options.reads else { return Ok(None) };
        let mut work = Loop::new(options, rate, timeline.clone(), figures.clone())?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = spawn(move || {
            work.run(&stopped)?;
            Ok(work.told)
        });
        Ok(Some(Self { stop, thread }))
    }

    /// Stops after the reads that were due.
    pub(crate) fn stop(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        let fault = match self.thread.join() {
            Ok(Ok(told)) => return told,
            Ok(Err(error)) => format!("read: {error}"),
            Err(_) => "read: panicked".to_owned(),
        };
        let mut told = Told::default();
        told.errors.add(&fault);
        told
    }
}

impl Loop {
    fn new(options: &Options, rate: f64, timeline: Timeline, figures: Figures) -> Result<Self> {
        let place = |number| {
            let target = options.http(number)?.clone();
            Ok(Place { target, reader: None, asked: None, not_before: 0 })
        };
        Ok(Self {
            poll: Poll::new()?,
            places: (0..options.reads_connections).map(place).collect::<Result<_>>()?,
            next: 0,
            waiting: VecDeque::new(),
            timeline,
            rate,
            draw: Draw {
                board: options.drive_board.clone(),
                members: options.people.members,
                cohorts: options.people.cohorts,
                random: 0x9e37_79b9_7f4a_7c15,
            },
            key: options.key.clone(),
            figures,
            told: Told::default(),
        })
    }

    fn run(&mut self, stop: &AtomicBool) -> Result<()> {
        let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; BUFFER_BYTES]);
        let mut end = None;
        loop {
            if end.is_none() && stop.load(Ordering::Relaxed) {
                end = Some(now() + PATIENCE);
            }
            if end.is_none() {
                self.take_due();
            }
            self.begin_some();
            self.send_some();
            let on_its_way = self.places.iter().filter(|place| place.asked.is_some()).count();
            let missing = on_its_way + self.waiting.len();
            if let Some(end) = end
                && (missing == 0 || now() > end)
            {
                (0..missing).for_each(|_| self.told.errors.add("read: no answer"));
                return Ok(());
            }
            match self.poll.poll(&mut events, Some(self.timeout(end.is_some()))) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                    return Err(error.into());
                }
                _ => {}
            }
            for event in &events {
                let closing = event.is_read_closed() || event.is_error();
                self.work(event.token().0, &mut buffer, closing);
            }
            self.give_up();
        }
    }

    /// Until the next read is due; no longer than a look.
    fn timeout(&self, is_over: bool) -> Duration {
        if is_over { LOOK } else { until(self.due()).min(LOOK) }
    }

    fn due(&self) -> u64 {
        self.timeline.due(self.rate, self.told.due).min(self.timeline.end())
    }

    /// Puts what is due by now into the queue.
    fn take_due(&mut self) {
        // Nothing is due after the end, however late it is stopped.
        let now = now().min(self.timeline.end() - 1);
        loop {
            let due = self.timeline.due(self.rate, self.told.due);
            if due > now {
                return;
            }
            self.told.due += 1;
            if self.waiting.len() < WAITING {
                self.waiting.push_back((due, self.draw.question()));
            } else {
                self.told.errors.add("read: dropped, as too many are waiting");
            }
        }
    }

    fn begin_some(&mut self) {
        let now = now();
        for number in 0..self.places.len() {
            let place = &self.places[number];
            if place.reader.is_none() && place.not_before <= now {
                let begun = begin(&place.target, number as u64, None).and_then(|stream| {
                    let mut reader = Reader::new(stream);
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    self.poll.registry().register(reader.stream(), Token(number), interest)?;
                    Ok(reader)
                });
                match begun {
                    Ok(reader) => self.places[number].reader = Some(reader),
                    Err(error) => self.fail(number, &format!("read: connect: {error}")),
                }
            }
        }
    }

    fn send_some(&mut self) {
        let (first, count) = (self.next, self.places.len());
        for turn in 0..count {
            if self.waiting.is_empty() {
                return;
            }
            // In turns, so that none is idle for long.
            let number = (first + turn) % count;
            let place = &mut self.places[number];
            let Some(reader) = place.reader.as_mut().filter(|_| place.asked.is_none()) else {
                continue;
            };
            let Some((due, question)) = self.waiting.pop_front() else { return };
            let request = request(&place.target, &question.path(), &self.key);
            let sent = reader.send(&request);
            place.asked = Some(Asked { question, due, sent: now() });
            self.next = number + 1;
            if let Err(fault) = sent {
                self.fail(number, &fault);
            }
        }
    }

    fn work(&mut self, number: usize, buffer: &mut [u8], closing: bool) {
        let Place { reader: Some(reader), asked, .. } = &mut self.places[number] else { return };
        let judge = |status, body: &[u8]| {
            let asked = asked.as_ref().ok_or("read: an answer to nothing")?;
            asked.question.judge(status, body)
        };
        let worked = reader.work(buffer, closing, judge);
        let is_closed = reader.is_closed;
        let Ok(Some(judged)) = worked else {
            match worked {
                // A server may close what nobody uses.
                Err(_) if is_closed && asked.is_none() => self.places[number].reader = None,
                Err(fault) => self.fail(number, &fault),
                Ok(_) => {}
            }
            return;
        };
        match (judged, asked.take()) {
            (Ok(verdict), Some(asked)) => {
                self.told.answers += 1;
                self.told.not_found += u64::from(verdict == Verdict::NotFound);
                self.figures.record(asked.question.kind.name(), asked.due, now());
            }
            (Err(fault), _) => self.told.errors.add(&fault),
            (Ok(_), None) => {}
        }
        if is_closed {
            self.places[number].reader = None;
        }
    }

    /// Drops a connection with what was asked on it; it is begun anew soon.
    fn fail(&mut self, number: usize, fault: &str) {
        self.told.errors.add(fault);
        let place = &mut self.places[number];
        place.reader = None;
        place.asked = None;
        place.not_before = now() + RETRY;
    }

    fn give_up(&mut self) {
        let now = now();
        for number in 0..self.places.len() {
            let asked = self.places[number].asked.as_ref();
            if asked.is_some_and(|asked| now > asked.sent + PATIENCE) {
                self.fail(number, "read: no answer");
            }
        }
    }
}

impl Draw {
    fn question(&mut self) -> Question {
        let random = &mut self.random;
        // Marsaglia's xorshift64.
        let draw = |limit| {
            *random ^= *random << 13;
            *random ^= *random >> 7;
            *random ^= *random << 17;
            (*random >> 16) % limit
        };
        Question::draw(&self.board, self.members, self.cohorts, draw)
    }
}

fn request(target: &Target, path: &str, key: &str) -> String {
    let key =
        if key.is_empty() { String::new() } else { format!("Authorization: Bearer {key}\r\n") };
    format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{key}\r\n", target.host)
}
