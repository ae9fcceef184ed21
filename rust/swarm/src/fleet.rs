//! A process that holds sockets: one loop around epoll, led over standard input.
//!
//! Runs at a lower priority than the program that leads it, so that the driver and the probe, which
//! are few and measure moments, do not wait behind thousands of receivers.

use std::io::{Stdout, stdin, stdout};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token, Waker};

use crate::Result;
use crate::clock::{SECOND, now, until};
use crate::connection::Connection;
use crate::control::{Answer, Order, Ready, Report, read_line, write_line};
use crate::disturb::{Disturbance, Why};
use crate::frame::Fault;
use crate::judge::Judge;
use crate::openings::Openings;
use crate::options::Options;
use crate::tally::Traffic;

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
    disturbance: Disturbance,
    /// Whether sockets that are lost come back.
    comes_back: bool,
    /// What came in during the counted time, once it is over.
    counted: Traffic,
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
        let limit = options.in_flight.unwrap_or(IN_FLIGHT);
        let openings = Openings::new(limit, options.ramp as f64 / options.share.1 as f64);
        Ok(Self {
            poll,
            orders,
            _waker: waker,
            answers: stdout(),
            counted: Traffic::default(),
            comes_back: options.retry,
            disturbance: Disturbance::new(),
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
            self.disturb(&mut buffer);
            self.open_some();
            self.answer_when_ready()?;
        }
    }

    /// How long nothing has to be done by itself.
    fn timeout(&self) -> Option<Duration> {
        let opening = if self.openings.are_done() {
            None
        } else if self.openings.are_full() {
            Some(Duration::from_secs(1))
        } else {
            Some(Duration::from_millis(1))
        };
        opening.into_iter().chain(self.disturbance.due().map(until)).min()
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
                self.openings.order(None);
                self.schedule(places);
                return Ok(());
            }
            Order::Reconnect(at_once) => {
                self.connections.iter_mut().for_each(|connection| *connection = None);
                self.openings.clear();
                self.openings.order(Some(at_once));
                self.schedule(0..self.connections.len());
                return Ok(());
            }
            Order::Settle => {
                self.openings.asked = Some(now() + PATIENCE);
                return Ok(());
            }
            Order::Churn(per_minute) => {
                self.disturbance.churn(per_minute);
                Answer::Done
            }
            Order::Pause(nanos) => {
                let open = self
                    .connections
                    .iter_mut()
                    .flatten()
                    .filter(|one| one.is_slow && one.is_ready());
                open.for_each(|connection| connection.is_paused = true);
                self.disturbance.pause(nanos);
                Answer::Done
            }
            Order::Cut { stay, at_once } => {
                self.cut(stay, at_once);
                Answer::Done
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

    /// Opens places that others wait for.
    fn schedule(&mut self, places: std::ops::Range<usize>) {
        let now = now();
        self.openings.asked = Some(u64::MAX);
        places.for_each(|place| self.openings.add(now, place));
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
            disturbed: self.disturbance.told.clone(),
            ..Report::default()
        }
    }

    fn ready(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter().flatten().filter(|connection| connection.is_ready())
    }

    fn open_some(&mut self) {
        let now = now();
        while let Some(place) = self.openings.next(now) {
            self.open(place);
        }
    }

    fn open(&mut self, place: usize) {
        let watcher = self.watcher(place);
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
        if connection.is_paused {
            return;
        }
        let was_ready = connection.is_ready();
        let outcome = connection.work(&mut self.judge, buffer, closing);
        let is_ready = connection.is_ready();
        // A subscription may have ended, which is made again.
        let has_ended = was_ready && !is_ready;
        self.openings.in_flight += u64::from(has_ended);
        match outcome {
            Ok(()) if has_ended => self.disturbance.closed(place, Why::Ended),
            Ok(()) if is_ready && !was_ready => {
                self.openings.is_ready();
                self.disturbance.is_back(place);
            }
            Ok(()) => {}
            Err(fault) => self.fail(place, &fault, !was_ready || !is_ready),
        }
    }

    /// Drops a socket; where that was asked for, it tries again later.
    fn fail(&mut self, place: usize, fault: &Fault, was_in_flight: bool) {
        self.connections[place] = None;
        self.openings.in_flight -= u64::from(was_in_flight);
        if was_in_flight && self.comes_back {
            self.disturbance.told.refusals.add(fault);
        } else {
            self.judge.errors.add(fault);
        }
        if self.comes_back {
            self.try_again(place);
        }
    }

    fn try_again(&mut self, place: usize) {
        let jitter = u64::from(u32::from_be_bytes(self.judge.mask())) % RETRY;
        self.openings.add(now() + RETRY + jitter, place);
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
        let is_done = self.openings.are_done();
        if self.openings.asked.is_none_or(|until| !is_done && now() < until) {
            return Ok(());
        }
        self.openings.asked = None;
        // The first order is done: from now on, sockets come back if that was asked for.
        self.comes_back |= self.judge.options.is_disturbed();
        let ready = Ready {
            sockets: self.ready().count() as u64,
            nanos: self.openings.since.take().map_or(0, |since| now() - since),
            latencies: self.openings.latencies.clone(),
        };
        write_line(&mut self.answers, &Answer::Ready(ready))
    }

    // What disturbs the sockets.

    fn disturb(&mut self, buffer: &mut [u8]) {
        let now = now();
        while self.disturbance.takes_turn(now) {
            self.close_one();
        }
        if self.disturbance.resumes(now) {
            (0..self.connections.len()).for_each(|place| self.resume(place, buffer));
        }
    }

    /// Closes a random socket, which comes back at once.
    fn close_one(&mut self) {
        let open = |one: &Option<Connection>| {
            one.as_ref().is_some_and(|one| one.is_ready() && !one.is_paused)
        };
        let count = self.connections.len();
        let start = u32::from_be_bytes(self.judge.mask()) as usize % count.max(1);
        let mut places = (0..count).map(|step| (start + step) % count);
        if let Some(place) = places.find(|place| open(&self.connections[*place])) {
            self.drop_and_return(place, Why::Churn);
        }
    }

    /// Drops all but those that stay.
    fn cut(&mut self, stay: u64, at_once: u64) {
        self.openings.order(Some(at_once));
        for place in 0..self.connections.len() {
            // Those that are not there come back already, or never.
            if self.watcher(place) >= stay && self.connections[place].is_some() {
                self.drop_and_return(place, Why::Cut);
            }
        }
    }

    fn drop_and_return(&mut self, place: usize, why: Why) {
        let dropped = self.connections[place].take();
        let was_ready = dropped.is_none_or(|one| one.is_ready());
        self.openings.in_flight -= u64::from(!was_ready);
        self.disturbance.closed(place, why);
        self.openings.add(now(), place);
    }

    /// Reads again what came while a socket did not read. If the server closed it meanwhile, it
    /// comes back.
    fn resume(&mut self, place: usize, buffer: &mut [u8]) {
        let Some(connection) = self.connections[place].as_mut().filter(|one| one.is_paused) else {
            return;
        };
        connection.is_paused = false;
        match connection.work(&mut self.judge, buffer, true) {
            Err(fault) if fault.starts_with("closed") || fault.starts_with("lost") => {
                self.connections[place] = None;
                self.disturbance.closed_slow(place, &fault);
                self.try_again(place);
            }
            Err(fault) => self.fail(place, &fault, false),
            Ok(()) => {}
        }
    }

    fn watcher(&self, place: usize) -> u64 {
        let (number, all) = self.judge.options.share;
        number + place as u64 * all
    }
}
