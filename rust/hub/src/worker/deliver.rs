//! Bytes out: states to watchers, replies to clients, and what blocked sockets still have to take.

use std::mem::take;

use super::Worker;
use crate::centrifuge::{Close, Encoding};
use crate::connection::{Sent, Stage, Subscription};
use crate::limits;
use crate::stats::Tally;
use crate::ws::frame::{self, Opcode};

impl Worker {
    /// Delivers a slice of the states that are on their way.
    pub(super) fn spread(&mut self) {
        let (mut left, mut tally) = (limits::SLICE, Tally::default());
        while left > 0
            && let Some((view, from, to)) = self.views.next_slice(left)
        {
            left -= (from - to) as usize;
            for index in (to..from).rev() {
                // Whoever stood here may have left, and the last of the list has come instead.
                if let Some(watcher) =
                    self.views.get_mut(view).and_then(|view| view.watchers.get(index as usize))
                {
                    let watcher = *watcher;
                    self.deliver(watcher.slot as usize, watcher.place as usize, &mut tally);
                }
            }
            if let Some((kind, since)) = self.views.rest(view, to == 0) {
                self.hub.of_views().of(kind).fanout.count(since.elapsed());
            }
        }
        self.hub.counters.add(&tally);
    }

    /// Sends a subscription the newest state of its view, if its client has another.
    fn deliver(&mut self, slot: usize, place: usize, tally: &mut Tally) {
        let Self { connections, views, clock, .. } = self;
        let connection = &mut connections[slot];
        let subscription = connection.subscriptions[place];
        let view = &mut views[subscription.view];
        if subscription.pending {
            return;
        }
        if view.end.is_some() {
            self.bid_farewell(slot, place);
            return;
        }
        let (number, kind) = (view.number, view.subject.kind());
        if subscription.seen == number {
            return;
        }
        let (encoding, delta) = (connection.encoding, subscription.delta);
        let Some(frame) = view.frame(encoding, delta, subscription.seen) else { return };
        let sent = connection.push(frame.bytes(), clock.beat);
        let bytes = frame.bytes().len();
        let subscription = &mut connection.subscriptions[place];
        subscription.missed = sent == Sent::Missed;
        match sent {
            Sent::Done | Sent::Begun => {
                subscription.seen = number;
                // What goes through a trunk is counted where it comes out.
                if !connection.is_trunk {
                    tally.delivered(kind, bytes);
                }
            }
            Sent::Missed => tally.missed(kind),
            Sent::Waits | Sent::Slow | Sent::Gone => {}
        }
        self.note(slot, sent);
    }

    /// Tells a client that a view is over, if its socket takes that now.
    fn bid_farewell(&mut self, slot: usize, place: usize) {
        let connection = &mut self.connections[slot];
        let view = connection.subscriptions[place].view;
        if connection.blocked.is_some() {
            connection.subscriptions[place].missed = true;
            return;
        }
        let Subscription { delta, seen, .. } = connection.subscriptions[place];
        let message = self.views[view].farewell(connection.encoding, delta, seen);
        self.unsubscribe_at(slot, place);
        self.send_message(slot, &message);
    }

    /// Sends messages of the protocol as one frame.
    pub(super) fn send_message(&mut self, slot: usize, message: &[u8]) {
        let mut out = take(&mut self.frame);
        out.clear();
        let opcode = match self.connections[slot].encoding {
            Encoding::Json => Opcode::Text,
            Encoding::Protobuf => Opcode::Binary,
        };
        out.extend_from_slice(&frame::header(opcode, message.len()));
        out.extend_from_slice(message);
        self.send(slot, &out);
        self.frame = out;
    }

    /// Sends what a client may not miss.
    pub(super) fn send(&mut self, slot: usize, bytes: &[u8]) {
        let sent = self.connections[slot].send(bytes, self.clock.beat);
        if sent != Sent::Slow && sent != Sent::Gone && !self.connections[slot].is_trunk {
            self.hub.counters.bytes_sent_total.add(bytes.len() as u64);
        }
        self.note(slot, sent);
    }

    /// Takes note of what became of bytes.
    fn note(&mut self, slot: usize, sent: Sent) {
        match sent {
            Sent::Done | Sent::Waits | Sent::Missed => {}
            Sent::Begun => {
                self.hub.counters.blocked.add(1);
                let connection = &mut self.connections[slot];
                if !connection.is_listed {
                    connection.is_listed = true;
                    self.blocked.push((slot as u32, connection.generation));
                }
            }
            Sent::Slow => self.cut_off(slot, Close::Slow),
            Sent::Gone => self.end(slot),
        }
    }

    /// Goes on with a socket that takes bytes again.
    pub(super) fn unblock(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.blocked.is_none() || connection.stage == Stage::Gone {
            return;
        }
        let sent = connection.resume(self.clock.beat);
        if sent != Sent::Waits {
            self.hub.counters.blocked.sub(1);
        }
        match sent {
            Sent::Done if connection.stage == Stage::Closing => self.finish(slot),
            // Commands first: who is always behind would never be heard.
            Sent::Done => {
                self.catch_up_reading(slot);
                self.catch_up(slot);
            }
            Sent::Gone => self.end(slot),
            _ => {}
        }
    }

    /// Sends the newest state of every view of which a state was missed, as far as the socket takes
    /// them. The next time goes on after the view that it was blocked by.
    fn catch_up(&mut self, slot: usize) {
        let mut tally = Tally::default();
        let mut left = self.connections[slot].subscriptions.len();
        while left > 0 && self.connections[slot].blocked.is_none() {
            left -= 1;
            let connection = &mut self.connections[slot];
            let place = connection.turn as usize % connection.subscriptions.len().max(1);
            let Some(subscription) = connection.subscriptions.get(place) else { break };
            let (missed, view) = (subscription.missed, subscription.view);
            connection.turn = place as u32 + 1;
            if missed {
                self.deliver(slot, place, &mut tally);
                // An ended view's subscription is gone, and another stands in its place.
                let connection = &mut self.connections[slot];
                if connection.subscriptions.get(place).is_some_and(|stands| stands.view != view) {
                    connection.turn = place as u32;
                }
            }
        }
        self.hub.counters.add(&tally);
    }
}
