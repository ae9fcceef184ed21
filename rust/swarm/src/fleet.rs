//! A process that holds sockets: one loop around epoll, led over standard input.
//!
//! Runs at a lower priority than the program that leads it, so that the driver and the probe, which
//! are few and measure moments, do not wait behind thousands of receivers.

use std::collections::VecDeque;
use std::io::{Stdout, stdin, stdout};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token, Waker};

use crate::Result;
use crate::clock::{SECOND, now};
use crate::connection::Connection;
use crate::control::{Answer, Order, Ready, Report, read_line, write_line};
use crate::frame::Fault;
use crate::judge::Judge;
use crate::options::Options;
use crate::tally::{Latencies, Traffic};

/// Bytes that are read at once, for all sockets.
const BUFFER_BYTES: usize = 256 << 10;

/// Events that are taken at once.
const EVENTS: usize = 1024;

/// The token of the waker; sockets have their places.
const ORDERS: Token = Token(usize::MAX);

/// A socket without its first state after so long has failed.
const PATIENCE: u64 = 30 * SECOND;

/// How long a socket waits before it tries again, at least; at most twice as long.
const RETRY: u64 = SECOND / 4;

/// Sockets on their way at the same time, unless chosen otherwise.
const IN_FLIGHT: u64 = 256;

/// Runs until there are no more orders.
pub(crate) fn run(options: Options) -> Result<()> {
    options.url()?;
    rustix::process::nice(10)?;
    raise_file_limit();
    Swarm::new(options)?.run()
}

/// Lets this process open as many files as it may.
pub(crate) fn raise_file_limit() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: limit.maximum, ..limit };
    // If it may not, opening too many sockets will say so.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, all);
}

#[derive(Debug)]
struct Swarm {
    poll: Poll,
    orders: Receiver<Order>,
    /// Kept, because a waker that is dropped takes its last call with it.
    _waker: Arc<Waker>,
    answers: Stdout,
    judge: Judge,
    /// By place; the token of a socket is its place.
    connections: Vec<Option<Connection>>,
    openings: Openings,
    /// What came in during the counted time, once it is over.
    counted: Traffic,
}

/// Which sockets are to be opened, and how fast.
#[derive(Debug)]
struct Openings {
    /// When the order came; nothing while there is none.
    since: Option<u64>,
    /// Places to open, each not before its time.
    waiting: VecDeque<(u64, usize)>,
    /// Sockets on their way to their first states.
    in_flight: u64,
    /// Most of them.
    limit: u64,
    /// New sockets a second; nothing for as fast as it goes.
    rate: Option<f64>,
    /// How many were begun since the order.
    begun: u64,
    /// From the order until each was ready.
    latencies: Latencies,
}

impl Openings {
    /// Whether another one may begin now.
    fn may_begin(&self, now: u64) -> bool {
        let Some(since) = self.since else { return true };
        let due = self.rate.is_none_or(|rate| {
            let elapsed = (now - since) as f64 / SECOND as f64;
            self.begun as f64 <= elapsed * rate
        });
        due && self.in_flight < self.limit
    }

    fn are_done(&self) -> bool {
        self.in_flight == 0 && self.waiting.is_empty()
    }
}

impl Swarm {
    fn new(options: Options) -> Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), ORDERS)?);
        let (sender, orders) = channel();
        let alarm = Arc::clone(&waker);
        std::thread::spawn(move || {
            let mut input = stdin().lock();
            while let Ok(Some(order)) = read_line(&mut input) {
                if sender.send(order).and(Ok(alarm.wake())).is_err() {
                    return;
                }
            }
            drop(sender);
            // Nothing can be done about a loop that cannot be woken; it is ending then.
            let _ = alarm.wake();
        });
        let openings = Openings {
            since: None,
            waiting: VecDeque::new(),
            in_flight: 0,
            limit: options.in_flight.unwrap_or(IN_FLIGHT),
            rate: Some(options.ramp as f64 / options.share.1 as f64),
            begun: 0,
            latencies: Latencies::default(),
        };
        Ok(Self {
            poll,
            orders,
            _waker: waker,
            answers: stdout(),
            counted: Traffic::default(),
            judge: Judge::new(options),
            connections: Vec::new(),
            openings,
        })
    }

    fn run(mut self) -> Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut looked = now();
        loop {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                    return Err(error.into());
                }
                _ => {}
            }
            for event in &events {
                if event.token() == ORDERS {
                    if !self.take_orders()? {
                        return Ok(());
                    }
                } else {
                    let closing = event.is_read_closed() || event.is_error();
                    self.work(event.token().0, &mut buffer, closing);
                }
            }
            if now() - looked > SECOND {
                looked = now();
                self.give_up();
            }
            self.open_some();
            self.answer_when_ready()?;
        }
    }

    /// How long nothing has to be done by itself.
    fn timeout(&self) -> Option<Duration> {
        if self.openings.are_done() {
            None
        } else if self.openings.waiting.is_empty() || self.openings.in_flight >= self.openings.limit
        {
            Some(Duration::from_secs(1))
        } else {
            Some(Duration::from_millis(1))
        }
    }

    /// Returns whether there may be more orders.
    fn take_orders(&mut self) -> Result<bool> {
        loop {
            match self.orders.try_recv() {
                Ok(order) => self.take_order(order)?,
                Err(TryRecvError::Empty) => return Ok(true),
                Err(TryRecvError::Disconnected) => return Ok(false),
            }
        }
    }

    fn take_order(&mut self, order: Order) -> Result<()> {
        let answer = match order {
            Order::Open(sockets) => {
                let places = self.connections.len()..sockets as usize;
                self.connections.resize_with(places.end.max(places.start), || None);
                self.schedule(places);
                return Ok(());
            }
            Order::Reconnect(at_once) => {
                self.openings.limit = at_once;
                self.openings.rate = None;
                self.connections.iter_mut().for_each(|connection| *connection = None);
                self.openings.in_flight = 0;
                self.openings.waiting.clear();
                self.schedule(0..self.connections.len());
                return Ok(());
            }
            Order::Begin => {
                self.judge.traffic = Traffic::new(self.judge.options.mix.templates.len());
                Answer::Done
            }
            Order::End => {
                self.counted = self.judge.traffic.clone();
                Answer::Done
            }
            Order::States => {
                let open = self.connections.iter().flatten();
                let subscriptions: Vec<_> = open.flat_map(|one| &one.subscriptions).collect();
                Answer::States(self.judge.seen(&subscriptions))
            }
            Order::Report { times, phases } => {
                let mut report = self.report();
                self.judge.tell(&times, &phases, &mut report);
                Answer::Report(Box::new(report))
            }
        };
        write_line(&mut self.answers, &answer)
    }

    fn schedule(&mut self, places: std::ops::Range<usize>) {
        let now = now();
        self.openings.since = Some(now);
        self.openings.begun = 0;
        self.openings.latencies = Latencies::default();
        self.openings.waiting.extend(places.map(|place| (now, place)));
    }

    fn report(&self) -> Report {
        let mut subscriptions = vec![0; self.judge.options.mix.templates.len()];
        for subscription in self.ready().flat_map(|one| &one.subscriptions) {
            subscriptions[self.judge.channels.get(subscription.channel).template] += 1;
        }
        Report {
            sockets: self.ready().count() as u64,
            subscriptions,
            traffic: self.counted.clone(),
            errors: self.judge.errors.clone(),
            ..Report::default()
        }
    }

    fn ready(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter().flatten().filter(|connection| connection.is_ready())
    }

    fn open_some(&mut self) {
        let now = now();
        while self.openings.may_begin(now) {
            match self.openings.waiting.front() {
                Some((due, place)) if *due <= now => {
                    let place = *place;
                    self.openings.waiting.pop_front();
                    self.open(place);
                }
                _ => return,
            }
        }
    }

    fn open(&mut self, place: usize) {
        self.openings.begun += 1;
        self.openings.in_flight += 1;
        let (number, all) = self.judge.options.share;
        let watcher = number + place as u64 * all;
        let begun = Connection::begin(&mut self.judge, watcher).and_then(|mut connection| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(connection.stream(), Token(place), interest)?;
            Ok(connection)
        });
        match begun {
            Ok(connection) => self.connections[place] = Some(connection),
            Err(error) => self.fail(place, &format!("connect: {error}"), true),
        }
    }

    fn work(&mut self, place: usize, buffer: &mut [u8], closing: bool) {
        // An event may be of a socket that was dropped after it came.
        let Some(connection) = &mut self.connections[place] else { return };
        let was_ready = connection.is_ready();
        match connection.work(&mut self.judge, buffer, closing) {
            Ok(()) if connection.is_ready() && !was_ready => {
                self.openings.in_flight -= 1;
                if let Some(since) = self.openings.since {
                    self.openings.latencies.record(now() - since);
                }
            }
            Ok(()) => {}
            Err(fault) => self.fail(place, &fault, !was_ready),
        }
    }

    /// Drops a socket; where that was asked for, it tries again later.
    fn fail(&mut self, place: usize, fault: &Fault, was_in_flight: bool) {
        self.connections[place] = None;
        self.judge.errors.add(fault);
        self.openings.in_flight -= u64::from(was_in_flight);
        if self.judge.options.retry {
            let jitter = u64::from(u32::from_be_bytes(self.judge.mask())) % RETRY;
            self.openings.waiting.push_back((now() + RETRY + jitter, place));
        }
    }

    /// Fails those that took too long for their first states.
    fn give_up(&mut self) {
        if self.openings.in_flight == 0 {
            return;
        }
        let now = now();
        for place in 0..self.connections.len() {
            let late = self.connections[place]
                .as_ref()
                .is_some_and(|one| !one.is_ready() && now - one.begun > PATIENCE);
            if late {
                self.fail(place, &"no state within 30 s".to_owned(), true);
            }
        }
    }

    fn answer_when_ready(&mut self) -> Result<()> {
        let Some(since) = self.openings.since.filter(|_| self.openings.are_done()) else {
            return Ok(());
        };
        self.openings.since = None;
        let ready = Ready {
            sockets: self.ready().count() as u64,
            nanos: now() - since,
            latencies: self.openings.latencies.clone(),
        };
        write_line(&mut self.answers, &Answer::Ready(ready))
    }
}
