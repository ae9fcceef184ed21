//! What time does to connections: deadlines, pings, expiry, draining; and their end.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rankwire_access::Denied;

use super::Worker;
use crate::centrifuge::{Close, Out};
use crate::clock::BEATS;
use crate::connection::{Connection, Stage};
use crate::limits;
use crate::shared::Name;
use crate::ws::frame;

/// Time that an SDK has to bring a new token after the old one's end, in seconds. At the client the
/// timer rings when the token ends.
const REFRESH_GRACE_S: u64 = 10;

/// What every client has to have done by some time after it began. All of a kind have the same time,
/// so those who began first are first in line: no heap, and no timer for each.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// To have asked for a WebSocket.
    asking: VecDeque<Began>,
    /// To have said who it is.
    open: VecDeque<Began>,
    /// To have left.
    closing: VecDeque<Began>,
    /// To be sent away: those whose sessions have lasted long enough while answers are due to them.
    leaving: Vec<Began>,
}

#[derive(Debug, Clone, Copy)]
struct Began {
    slot: usize,
    generation: u32,
    at: Instant,
}

impl Deadlines {
    pub(super) fn asked(&mut self, slot: usize, generation: u32, at: Instant) {
        self.asking.push_back(Began { slot, generation, at });
    }

    pub(super) fn opened(&mut self, slot: usize, generation: u32, at: Instant) {
        self.open.push_back(Began { slot, generation, at });
    }
}

/// The end of all connections, spread over time so that clients do not come back all at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drain {
    began: Instant,
    within: Duration,
    /// How long clients may wait for the answers to their submits.
    patience: Duration,
    /// Connections at the beginning, and how many of them were visited.
    all: usize,
    visited: usize,
    /// The next slot to visit.
    slot: usize,
}

impl Worker {
    /// Does what is due. To be called every few milliseconds.
    pub(super) fn watch(&mut self) {
        self.watch_deadlines();
        self.watch_leaving();
        self.go_on_draining();
        self.forgive_standstill();
        while self.beat < self.clock.beat {
            self.beat += 1;
            self.watch_slots(self.beat);
            if self.beat == self.clock.beat {
                self.watch_blocked();
                self.report_figures();
            }
        }
    }

    /// After a time in which this process did not run nobody could be heard: everybody begins anew.
    fn forgive_standstill(&mut self) {
        let answer = self.clock.beats(self.hub.config.pong_timeout);
        if self.clock.beat - self.beat >= answer.max(2) {
            for (_, connection) in &mut self.connections {
                connection.heard = self.clock.beat;
            }
        }
    }

    fn watch_deadlines(&mut self) {
        let config = &self.hub.config;
        let (asking, open) = (config.handshake_timeout, config.connect_timeout);
        let linger = Duration::from_secs(limits::LINGER_SECS);
        while let Some(slot) = self.overdue(|d| &mut d.asking, asking, Stage::is_asking) {
            self.hub.counters.handshakes_failed_total.add(1);
            self.end(slot);
        }
        while let Some(slot) = self.overdue(|d| &mut d.open, open, |stage| stage == Stage::Open) {
            self.close(slot, Close::Stale);
        }
        let closing = |stage| stage == Stage::Closing;
        while let Some(slot) = self.overdue(|d| &mut d.closing, linger, closing) {
            self.end(slot);
        }
    }

    /// The next connection that should have left a stage by now.
    fn overdue(
        &mut self,
        line: impl Fn(&mut Deadlines) -> &mut VecDeque<Began>,
        time: Duration,
        still: impl Fn(Stage) -> bool,
    ) -> Option<usize> {
        let line = line(&mut self.deadlines);
        while let Some(first) = line.front().copied() {
            if self.clock.now < first.at + time {
                return None;
            }
            line.pop_front();
            let connection = self.connections.get(first.slot);
            if connection.is_some_and(|connection| {
                connection.generation == first.generation && still(connection.stage)
            }) {
                return Some(first.slot);
            }
        }
        None
    }

    /// Visits the slots whose turn it is: pings clients, and looks after those who were pinged some
    /// beats ago.
    fn watch_slots(&mut self, beat: u32) {
        let answer = self.clock.beats(self.hub.config.pong_timeout).min(BEATS - 1);
        let places = self.connections.capacity();
        for slot in ((beat % BEATS) as usize..places).step_by(BEATS as usize) {
            self.visit(slot);
        }
        let pinged = beat - answer;
        for slot in ((pinged % BEATS) as usize..places).step_by(BEATS as usize) {
            // Who is blocked is not read, and has to make progress instead: see `watch_blocked`.
            let silent = |c: &Connection| {
                c.is_live() && !c.is_trunk && c.blocked.is_none() && c.heard < pinged
            };
            if self.connections.get(slot).is_some_and(silent) {
                self.close(slot, Close::NoPong);
            }
        }
    }

    /// Pings a client, unless its time is over, or that of its session.
    fn visit(&mut self, slot: usize) {
        let Some(connection) = self.connections.get(slot) else { return };
        if !connection.is_live() || connection.is_trunk {
            return;
        }
        let now = self.clock.unix_s;
        if connection.expires.is_some_and(|expires| expires + REFRESH_GRACE_S < now) {
            self.close(slot, Close::Expired);
            return;
        }
        let vouched = connection.caller.as_ref().map(|caller| self.hub.access.vouch(caller, now));
        if vouched == Some(Err(Denied::Revoked)) {
            self.close(slot, Close::InvalidToken);
            return;
        }
        if connection.until <= self.clock.beat && self.send_off(slot) {
            return;
        }
        let connection = &self.connections[slot];
        let mut ping = std::mem::take(&mut self.payload);
        ping.clear();
        Out::new(connection.encoding, &mut ping).ping();
        self.send_message(slot, &ping);
        self.payload = ping;
    }

    /// The beat from which on a session that begins now has lasted long enough. Drawn within a tenth
    /// of what is set, so that clients who came together do not leave together.
    pub(super) fn end_of_session(&self, name: Name) -> u32 {
        let time = self.hub.config.session_time;
        if time.is_zero() {
            return u32::MAX;
        }
        let (beats, spread) = (self.clock.beats(time), self.clock.beats(time / 10));
        self.clock.beat + beats - spread + self.hub.draw(name, 2 * spread)
    }

    /// Tells a client to come back: now, or when what it has submitted is answered, and meanwhile it
    /// can submit nothing more. Returns whether it was now.
    fn send_off(&mut self, slot: usize) -> bool {
        let connection = &mut self.connections[slot];
        if connection.in_flight == 0 {
            self.close(slot, self.farewell());
            return true;
        }
        if !connection.is_leaving {
            connection.is_leaving = true;
            let Connection { generation, .. } = *connection;
            self.deadlines.leaving.push(Began { slot, generation, at: self.clock.now });
        }
        false
    }

    pub(super) fn farewell(&self) -> Close {
        if self.drain.is_some() { Close::Shutdown } else { Close::Reconnect }
    }

    fn watch_leaving(&mut self) {
        let patience = self.drain.map_or(self.hub.config.answer_timeout, |drain| drain.patience);
        let mut leaving = std::mem::take(&mut self.deadlines.leaving);
        leaving.retain(|one| {
            let connection = self.connections.get(one.slot);
            let Some(connection) = connection.filter(|found| found.generation == one.generation)
            else {
                return false;
            };
            if connection.in_flight > 0 && self.clock.now < one.at + patience {
                return true;
            }
            self.close(one.slot, self.farewell());
            false
        });
        // Nobody was added meanwhile.
        self.deadlines.leaving = leaving;
    }

    /// Cuts off clients that have taken no byte for too long.
    fn watch_blocked(&mut self) {
        let patience = self.clock.beats(self.hub.config.write_timeout);
        let mut blocked = std::mem::take(&mut self.blocked);
        blocked.retain(|(slot, generation)| {
            let slot = *slot as usize;
            let connection = self.connections.get_mut(slot);
            let Some(connection) = connection.filter(|one| one.generation == *generation) else {
                return false;
            };
            let moved = connection.blocked.as_ref().map(|blocked| blocked.moved);
            let waits = moved.is_some_and(|moved| self.clock.beat - moved < patience);
            connection.is_listed = waits;
            if moved.is_some() && !waits {
                self.cut_off(slot, Close::Slow);
            }
            waits
        });
        // Who was cut off is in no list any more, and nobody was blocked meanwhile.
        self.blocked = blocked;
    }

    /// Ends a connection with a code.
    pub(super) fn close(&mut self, slot: usize, close: Close) {
        let connection = &self.connections[slot];
        if matches!(connection.stage, Stage::Closing | Stage::Gone) {
            return;
        }
        self.hub.counters.closed.add(close.code());
        let mut goodbye = Vec::new();
        frame::close(&mut goodbye, close.code(), close.reason());
        self.send(slot, &goodbye);
        self.finish(slot);
    }

    /// Ends a connection whose client would not take a code.
    pub(super) fn cut_off(&mut self, slot: usize, close: Close) {
        if !matches!(self.connections[slot].stage, Stage::Closing | Stage::Gone) {
            self.hub.counters.closed.add(close.code());
        }
        self.end(slot);
    }

    /// The client says goodbye: says so too.
    pub(super) fn part(&mut self, slot: usize, code: Option<u16>) {
        let mut goodbye = Vec::new();
        match code {
            Some(code) => frame::close(&mut goodbye, code, ""),
            None => goodbye.extend_from_slice(&frame::header(frame::Opcode::Close, 0)),
        }
        self.send(slot, &goodbye);
        self.finish(slot);
    }

    /// Nothing more will be written but what waits; the client has some time to take it and leave.
    pub(super) fn finish(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        if connection.stage == Stage::Gone {
            return;
        }
        if connection.stage != Stage::Closing {
            self.leave(slot);
            let connection = &mut self.connections[slot];
            connection.stage = Stage::Closing;
            let Connection { generation, .. } = *connection;
            self.deadlines.closing.push_back(Began { slot, generation, at: self.clock.now });
        }
        let connection = &mut self.connections[slot];
        // Failing means that the client has left, which the next read will tell.
        if connection.blocked.is_none() && connection.socket().finish().is_err() {
            self.end(slot);
        }
    }

    /// Ends a connection for good, at once.
    pub(super) fn end(&mut self, slot: usize) {
        if self.connections[slot].stage == Stage::Gone {
            return;
        }
        self.leave(slot);
        let connection = &mut self.connections[slot];
        connection.stage = Stage::Gone;
        self.hub.counters.blocked.sub(u64::from(connection.blocked.take().is_some()));
        self.ended.push(slot);
    }

    /// Takes a connection out of everything that it takes part in.
    fn leave(&mut self, slot: usize) {
        let connection = &self.connections[slot];
        let name = (self.number, slot as u32, connection.generation);
        if matches!(connection.stage, Stage::Open | Stage::Connected | Stage::Echo) {
            self.hub.counters.connections.sub(u64::from(!connection.is_trunk));
        }
        if connection.is_trunk {
            self.hub.relay(name, None);
        }
        while !self.connections[slot].subscriptions.is_empty() {
            let last = self.connections[slot].subscriptions.len() - 1;
            self.unsubscribe_at(slot, last);
        }
    }

    /// Frees the slots of those who have left.
    pub(super) fn bury(&mut self) {
        for slot in std::mem::take(&mut self.ended) {
            // Closing the socket also takes it out of the poll.
            self.connections.remove(slot);
            self.hub.release();
        }
    }

    /// Begins to end all connections.
    pub(super) fn begin_drain(&mut self, within: Duration) {
        self.shut_door();
        let (began, all) = (self.clock.now, self.connections.len());
        let patience = within;
        let within = within.min(Duration::from_secs(1) * all as u32 / limits::DRAIN_PER_SECOND);
        self.drain = Some(Drain { began, within, patience, all, visited: 0, slot: 0 });
    }

    /// Closes as many connections as should be closed by now; until then they are served as ever.
    /// Those whose submits wait for their commit get the answer first.
    fn go_on_draining(&mut self) {
        let Some(mut drain) = self.drain else { return };
        let passed = self.clock.now - drain.began;
        let is_late = passed >= drain.within;
        let share = drain.all as u128 * passed.as_nanos() / drain.within.as_nanos().max(1);
        let due = (share as usize + 1).min(drain.all);
        while drain.visited < due && drain.slot < self.connections.capacity() {
            let slot = drain.slot;
            drain.slot += 1;
            drain.visited += usize::from(self.connections.contains(slot));
            self.send_away(slot, false);
        }
        // Further rounds take those who came late, and those who have waited long enough.
        if is_late {
            for slot in 0..self.connections.capacity() {
                self.send_away(slot, passed >= drain.patience);
            }
        } else if drain.slot >= self.connections.capacity() {
            drain.slot = 0;
        }
        self.drain = Some(drain);
    }

    fn send_away(&mut self, slot: usize, at_once: bool) {
        let Some(connection) = self.connections.get(slot) else { return };
        match connection.stage {
            Stage::Open | Stage::Connected if at_once => self.close(slot, Close::Shutdown),
            Stage::Open | Stage::Connected => {
                self.send_off(slot);
            }
            Stage::Asking { .. } | Stage::Echo => self.end(slot),
            Stage::Closing | Stage::Gone => {}
        }
    }

    /// Whether a drain is done, or has had its time.
    pub(super) fn is_over(&self) -> bool {
        self.drain.is_some_and(|drain| {
            let last = drain.began + drain.patience + Duration::from_secs(limits::LINGER_SECS);
            self.connections.is_empty() || self.clock.now > last
        })
    }
}

impl Stage {
    fn is_asking(self) -> bool {
        matches!(self, Self::Asking { .. })
    }
}
