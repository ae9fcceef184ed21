//! Bytes in: the handshake, then frames, then messages.
//!
//! All sockets of a worker are read into one buffer. What is not a whole request or frame yet is
//! kept by the connection, and no more than that: its size was held against the limits before.

use std::mem::take;

use super::Worker;
use crate::centrifuge::{Close, Encoding, commands};
use crate::connection::Stage;
use crate::limits;
use crate::pace::Verdict;
use crate::ws::frame::{self, Broken, Event, Limits};
use crate::ws::handshake::{self, Ask, Endpoint, Options, Refusal, Upgrade};

impl Worker {
    /// Reads what a socket has, as much as its turn allows.
    pub(super) fn receive(&mut self, slot: usize) {
        let mut buffer = take(&mut self.buffer);
        let mut turns = limits::READS;
        while let Some(connection) = self.connections.get_mut(slot) {
            connection.unread = true;
            if self.is_busy(slot) {
                break;
            }
            let connection = &mut self.connections[slot];
            if turns == 0 {
                // Once, or who sends without end would get more of every turn than of the last.
                if !connection.again {
                    connection.again = true;
                    self.again.push(slot);
                }
                break;
            }
            turns -= 1;
            let connection = &mut self.connections[slot];
            match connection.socket().read(&mut buffer) {
                Ok(None) => {
                    connection.unread = false;
                    break;
                }
                Ok(Some(bytes)) if bytes > 0 => {
                    connection.heard = self.clock.beat;
                    self.take_in(slot, &mut buffer[..bytes]);
                }
                Ok(_) | Err(_) => {
                    self.end(slot);
                    break;
                }
            }
        }
        self.buffer = buffer;
    }

    /// Whether a client has to take what it got before it is listened to.
    fn is_busy(&self, slot: usize) -> bool {
        let connection = &self.connections[slot];
        connection.stage == Stage::Gone
            || connection.blocked.is_some() && connection.stage != Stage::Closing
    }

    /// Goes on with what was read before the socket was blocked.
    pub(super) fn catch_up_reading(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get_mut(slot) {
            let mut bytes = take(&mut connection.partial);
            if !bytes.is_empty() {
                self.keep_rest(slot, &mut bytes);
            }
        }
        if self.connections.get(slot).is_some_and(|connection| connection.unread) {
            self.receive(slot);
        }
    }

    fn take_in(&mut self, slot: usize, bytes: &mut [u8]) {
        let mut whole = take(&mut self.connections[slot].partial);
        if whole.is_empty() {
            let used = self.digest(slot, bytes);
            if let Some(connection) = self.connections.get_mut(slot) {
                connection.partial = bytes[used..].to_vec();
            }
        } else {
            whole.extend_from_slice(bytes);
            self.keep_rest(slot, &mut whole);
        }
    }

    fn keep_rest(&mut self, slot: usize, bytes: &mut Vec<u8>) {
        let used = self.digest(slot, bytes);
        if used < bytes.len()
            && let Some(connection) = self.connections.get_mut(slot)
        {
            bytes.drain(..used);
            connection.partial = take(bytes);
        }
    }

    /// Takes in as much as there is of whole requests and frames. Returns how many bytes that was.
    fn digest(&mut self, slot: usize, bytes: &mut [u8]) -> usize {
        let mut used = 0;
        while used < bytes.len() && !self.is_busy(slot) {
            let step = match self.connections[slot].stage {
                Stage::Asking { searched, full } => {
                    self.ask(slot, &bytes[used..], searched as usize, full)
                }
                Stage::Open | Stage::Connected | Stage::Echo => {
                    self.frame_in(slot, &mut bytes[used..])
                }
                Stage::Closing | Stage::Gone => return bytes.len(),
            };
            match step {
                Some(step) => used += step,
                None => break,
            }
        }
        used
    }

    /// The handshake. `None` when the request is not complete.
    fn ask(&mut self, slot: usize, bytes: &[u8], searched: usize, full: bool) -> Option<usize> {
        let Some(end) = handshake::end_of_head(bytes, searched) else {
            if bytes.len() > handshake::REQUEST_BYTES {
                self.refuse(slot, Refusal::TooLarge);
            } else {
                let searched = bytes.len() as u32;
                self.connections[slot].stage = Stage::Asking { searched, full };
            }
            return None;
        };
        let config = &self.hub.config;
        let options = Options { origins: &config.origins, echo: config.echo_bytes.is_some() };
        match handshake::parse(&bytes[..end], &options) {
            Ok(Ask::Health) => {
                let mut response = Vec::new();
                handshake::health(&mut response);
                self.send(slot, &response);
                self.finish(slot);
            }
            Ok(Ask::Upgrade(_)) if full => self.refuse(slot, Refusal::Full),
            Ok(Ask::Upgrade(upgrade)) => self.switch(slot, &upgrade),
            Err(refusal) => self.refuse(slot, refusal),
        }
        Some(end)
    }

    fn refuse(&mut self, slot: usize, refusal: Refusal) {
        if refusal != Refusal::Full {
            self.hub.counters.handshakes_failed_total.add(1);
        }
        let mut response = Vec::new();
        refusal.write(&mut response);
        self.send(slot, &response);
        self.finish(slot);
    }

    fn switch(&mut self, slot: usize, upgrade: &Upgrade<'_>) {
        let mut response = take(&mut self.frame);
        response.clear();
        handshake::switch(&mut response, upgrade);
        let connection = &mut self.connections[slot];
        connection.encoding = upgrade.encoding;
        connection.credential =
            upgrade.credential.as_ref().map(|credential| credential.as_str().into());
        connection.stage = match upgrade.endpoint {
            Endpoint::Live => Stage::Open,
            Endpoint::Echo => Stage::Echo,
        };
        self.deadlines.opened(slot, connection.generation, self.clock.now);
        self.hub.counters.connections.add(1);
        self.hub.counters.connections_total.add(1);
        self.send(slot, &response);
        self.frame = response;
    }

    /// One frame. `None` when it is not complete.
    fn frame_in(&mut self, slot: usize, bytes: &mut [u8]) -> Option<usize> {
        let limits = self.limits_of(slot);
        // Put back unless the connection ends meanwhile: what the event says may lie in it.
        let mut decoder = take(&mut self.connections[slot].decoder);
        let step = match decoder.next(bytes, &limits) {
            Ok(None) => None,
            Ok(Some((step, event))) => {
                self.hear(slot, &event);
                Some(step)
            }
            Err(broken) => {
                self.close(
                    slot,
                    match broken {
                        Broken::Protocol(_) => Close::Protocol,
                        Broken::Utf8 => Close::Utf8,
                        // On 1009 one SDK stops and another comes back at once, again and again.
                        Broken::TooLarge => Close::BadRequest("message too large"),
                    },
                );
                return Some(bytes.len());
            }
        };
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.decoder = decoder;
        }
        step
    }

    fn limits_of(&self, slot: usize) -> Limits {
        let connection = &self.connections[slot];
        let (message_bytes, fragments) = match connection.stage {
            Stage::Echo => (self.hub.config.echo_bytes.unwrap_or_default(), u32::MAX),
            _ if connection.is_trunk => (limits::TRUNK_MESSAGE_BYTES, limits::FRAGMENTS),
            Stage::Connected => (limits::MESSAGE_BYTES, limits::FRAGMENTS),
            _ => (limits::FIRST_MESSAGE_BYTES, limits::FRAGMENTS),
        };
        Limits { message_bytes, fragments }
    }

    fn hear(&mut self, slot: usize, event: &Event<'_>) {
        let (stage, encoding) = (self.connections[slot].stage, self.connections[slot].encoding);
        match event {
            // A message has few of them, and is worth something when it is whole.
            Event::Fragment => {}
            Event::Pong => self.toll(slot),
            Event::Ping(payload) => self.pong(slot, payload),
            Event::Close(code) => self.part(slot, *code),
            Event::Text(text) if stage == Stage::Echo => {
                self.echo(slot, |out| frame::text(out, text.as_bytes()));
            }
            Event::Binary(bytes) if stage == Stage::Echo => {
                self.echo(slot, |out| frame::binary(out, bytes));
            }
            Event::Text(text) if encoding == Encoding::Json => self.message(slot, text.as_bytes()),
            Event::Binary(bytes) if encoding == Encoding::Protobuf => self.message(slot, bytes),
            Event::Text(_) => self.close(slot, Close::BadRequest("a message must be binary")),
            Event::Binary(_) => self.close(slot, Close::BadRequest("a message must be text")),
        }
    }

    /// Executes the commands of one message, in order.
    fn message(&mut self, slot: usize, message: &[u8]) {
        let encoding = self.connections[slot].encoding;
        let mut replies = take(&mut self.payload);
        replies.clear();
        let (mut bad, mut is_idle) = (None, true);
        for (number, command) in commands(encoding, message).enumerate() {
            is_idle = false;
            let outcome = match command {
                Ok(_) if number >= limits::COMMANDS && !self.connections[slot].is_trunk => {
                    Err(Close::BadRequest("too many commands in a message"))
                }
                Ok(command) => self.execute(slot, &command, &mut replies),
                Err(bad) => Err(bad.into()),
            };
            if let Err(close) = outcome {
                bad = Some(close);
                break;
            }
            // The commands of many clients: none is refused for the replies to the others.
            if self.connections[slot].is_trunk && replies.len() >= limits::REPLY_BYTES {
                self.send_message(slot, &replies);
                replies.clear();
            }
        }
        if !replies.is_empty() {
            self.send_message(slot, &replies);
        }
        self.payload = replies;
        if is_idle {
            self.toll(slot);
        }
        if let Some(close) = bad {
            self.close(slot, close);
        }
    }

    /// Answers a ping of the WebSocket protocol, which is worth a command.
    fn pong(&mut self, slot: usize, payload: &[u8]) {
        self.toll(slot);
        if self.connections[slot].stage != Stage::Closing {
            self.echo(slot, |out| frame::pong(out, payload));
        }
    }

    /// What is no command is worth one as well, or it could be sent without end.
    fn toll(&mut self, slot: usize) {
        let per_second = self.hub.config.commands_per_second;
        let connection = &mut self.connections[slot];
        let is_free = connection.stage == Stage::Echo || connection.is_trunk;
        if !is_free && connection.pace.step(self.clock.ms, per_second) != Verdict::Fine {
            self.close(slot, Close::TooManyRequests);
        }
    }

    fn echo(&mut self, slot: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = take(&mut self.frame);
        out.clear();
        write(&mut out);
        self.send(slot, &out);
        self.frame = out;
    }
}
