//! Durable submits over WebSocket: so many on their way on each socket, several in one frame.
//!
//! Every receipt is checked against its submit. One thread, so that it can have a core of its own.

use std::borrow::Cow;
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::Deserialize;
use serde_json::json;

use crate::clock::{SECOND, now, seconds};
use crate::connection::begin;
use crate::fleet::raise_file_limit;
use crate::frame::{self, Fault, Opcode};
use crate::meter::Meter;
use crate::options::Options;
use crate::protocol::{Command, Encoding, Message};
use crate::tally::{Errors, Latencies, rounded};
use crate::values::Target;
use crate::{Result, tell};

/// Submits on their way for each socket, unless chosen otherwise.
const IN_FLIGHT: u64 = 64;

/// Most of them: as many as the server takes of one connection.
const MOST_IN_FLIGHT: u64 = 4096;

/// Most in one message: as many commands as the server takes.
const MOST_IN_MESSAGE: usize = 64;

/// The id of `connect`; submits have the ids after it.
const CONNECT_ID: u32 = 1;

/// Receipts that come later than this after the end are missing.
const PATIENCE: u64 = 30 * SECOND;

/// Bytes that are read at once, for all sockets.
const BUFFER_BYTES: usize = 256 << 10;

/// Scores are drawn from 1 to this.
const LARGEST_SCORE: u64 = (1 << 31) - 1;

#[derive(Deserialize)]
struct Receipt<'a> {
    #[serde(borrow)]
    board: Cow<'a, str>,
    #[serde(borrow)]
    member: Cow<'a, str>,
    score: f64,
    rank: u64,
    changed: bool,
    version: u64,
}

/// A submit that is on its way.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Id of the command; 0 while the slot is free.
    id: u32,
    member: u64,
    score: u64,
    sent: u64,
}

#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    /// Whether the request is sent, and whether frames come.
    asked: bool,
    open: bool,
    input: Vec<u8>,
    output: Vec<u8>,
    slots: Vec<Slot>,
    /// How often slots were filled.
    used: u32,
}

/// What all sockets share.
#[derive(Debug)]
struct Load {
    target: Target,
    token: String,
    encoding: Encoding,
    board: String,
    members: u64,
    random: u64,
    /// Whether new submits are sent.
    sending: bool,
    receipts: u64,
    changes: u64,
    in_flight: u64,
    latencies: Latencies,
    errors: Errors,
}

/// Runs `submit`; returns whether all was as it should be.
pub(crate) fn run(options: &Options) -> Result<bool> {
    raise_file_limit();
    let slots = options.in_flight.unwrap_or(IN_FLIGHT);
    if slots > MOST_IN_FLIGHT {
        return Err(format!("--in-flight: at most {MOST_IN_FLIGHT}").into());
    }
    let mut load = Load::new(options)?;
    let mut poll = Poll::new()?;
    let mut sockets = Vec::new();
    for number in 0..options.sockets {
        let mut stream = begin(&load.target, number, None)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(sockets.len()), interest)?;
        sockets.push(Some(Socket::new(stream, slots)));
    }
    let meter = Meter::start(options)?;
    let started = now();
    turn(&mut poll, &mut sockets, &mut load, started + (options.seconds * SECOND as f64) as u64)?;
    let (receipts, took) = (load.receipts, seconds(now() - started));
    let server = meter.stop(options)?;
    load.sending = false;
    turn(&mut poll, &mut sockets, &mut load, now() + PATIENCE)?;
    if load.in_flight > 0 {
        load.errors.add("submit: receipts are missing");
    }
    let is_right = load.errors.total() == 0 && receipts > 0;
    let result = json!({
        "command": "submit",
        "ok": is_right,
        "sockets": options.sockets,
        "in_flight": slots,
        "seconds": rounded(took),
        "receipts": receipts,
        "per_second": rounded(receipts as f64 / took),
        "latency": load.latencies.summary(),
        "receipts_in_all": load.receipts,
        "changes_in_all": load.changes,
        "server": server.tell(receipts),
        "errors": load.errors,
    });
    tell(options, &result)?;
    Ok(is_right)
}

/// Serves the sockets until a moment, or until nothing is on its way any more.
fn turn(poll: &mut Poll, sockets: &mut [Option<Socket>], load: &mut Load, end: u64) -> Result<()> {
    let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; BUFFER_BYTES]);
    while now() < end && (load.sending || load.in_flight > 0) {
        if sockets.iter().all(Option::is_none) {
            return Ok(());
        }
        match poll.poll(&mut events, Some(Duration::from_millis(10))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            let place = &mut sockets[event.token().0];
            let Some(socket) = place else { continue };
            let closing = event.is_read_closed() || event.is_error();
            if let Err(fault) = socket.work(load, &mut buffer, closing) {
                load.errors.add(&fault);
                *place = None;
            }
        }
    }
    Ok(())
}

impl Load {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            target: options.url()?.clone(),
            token: options.token(0).to_owned(),
            encoding: options.encoding,
            board: options.board.clone(),
            members: options.people.members,
            random: now() | 1,
            sending: true,
            receipts: 0,
            changes: 0,
            in_flight: 0,
            latencies: Latencies::default(),
            errors: Errors::default(),
        })
    }

    /// A random number below a limit, from Marsaglia's xorshift64.
    fn draw(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) % limit
    }

    /// Whether the receipt is the one of the submit.
    fn check(&mut self, slot: Slot, answer: &[u8]) -> std::result::Result<(), Fault> {
        let receipt: Receipt<'_> =
            serde_json::from_slice(answer).map_err(|error| format!("receipt: {error}"))?;
        // On a board that keeps the best score an unchanged one is another.
        let is_score = receipt.score.total_cmp(&(slot.score as f64)).is_eq() || !receipt.changed;
        let is_right = receipt.board == self.board
            && receipt.member.strip_prefix("player-") == Some(slot.member.to_string().as_str())
            && is_score
            && receipt.rank > 0
            && receipt.version > 0;
        if !is_right {
            return Err("receipt: not that of the submit".to_owned());
        }
        self.changes += u64::from(receipt.changed);
        Ok(())
    }
}

impl Socket {
    fn new(stream: TcpStream, slots: u64) -> Self {
        Self {
            stream,
            asked: false,
            open: false,
            input: Vec::new(),
            output: Vec::new(),
            slots: vec![Slot::default(); slots as usize],
            // Small ids are those of no slot.
            used: CONNECT_ID,
        }
    }

    fn work(
        &mut self,
        load: &mut Load,
        buffer: &mut [u8],
        closing: bool,
    ) -> std::result::Result<(), Fault> {
        if !self.asked {
            if let Ok(Some(error)) | Err(error) = self.stream.take_error() {
                return Err(format!("connect: {}", error.kind()));
            }
            if self.stream.peer_addr().is_err() {
                return Ok(());
            }
            self.asked = true;
            let subprotocol = load.encoding.subprotocol();
            let request = frame::request(&load.target.host, &load.target.path, subprotocol);
            self.output.extend_from_slice(request.as_bytes());
        }
        self.flush()?;
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err("closed without a code".to_owned()),
                Ok(count) => {
                    self.input.extend_from_slice(&buffer[..count]);
                    let input = std::mem::take(&mut self.input);
                    let taken = self.take(load, &input)?;
                    self.input = input;
                    self.input.drain(..taken);
                    self.fill(load)?;
                    if count < buffer.len() && !closing {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("lost: {}", error.kind())),
            }
        }
    }

    fn flush(&mut self) -> std::result::Result<(), Fault> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("lost: {}", error.kind())),
            }
        }
        Ok(())
    }

    fn take(&mut self, load: &mut Load, bytes: &[u8]) -> std::result::Result<usize, Fault> {
        let mut taken = 0;
        if !self.open {
            match frame::response(bytes, load.encoding.subprotocol())? {
                None => return Ok(0),
                Some(size) => taken = size,
            }
            let mut payload = Vec::new();
            load.encoding.put(CONNECT_ID, Command::Connect { token: &load.token }, &mut payload);
            frame::encode(load.encoding.opcode(), &payload, MASK, &mut self.output);
            self.open = true;
        }
        while let Some(frame) = frame::decode(&bytes[taken..])? {
            taken += frame.size;
            match frame.opcode {
                Opcode::Ping => {
                    frame::encode(Opcode::Pong, frame.payload, MASK, &mut self.output);
                }
                Opcode::Close => {
                    return Err(format!("closed: {}", frame::close_reason(frame.payload)));
                }
                opcode if opcode == load.encoding.opcode() => {
                    self.take_replies(load, frame.payload)?;
                }
                _ => return Err("frame: wrong kind".to_owned()),
            }
        }
        Ok(taken)
    }

    fn take_replies(
        &mut self,
        load: &mut Load,
        mut payload: &[u8],
    ) -> std::result::Result<(), Fault> {
        let at = now();
        while let Some(message) = load.encoding.next(&mut payload)? {
            match load.encoding.read(message)? {
                Message::Connected => {}
                Message::Ping => {
                    let encoding = load.encoding;
                    frame::encode(encoding.opcode(), encoding.pong(), MASK, &mut self.output);
                }
                Message::Answer { id, data } => {
                    let slot = self.free(load, id)?;
                    load.check(slot, &data)?;
                    load.receipts += 1;
                    load.latencies.record(at - slot.sent);
                }
                Message::Refused { id, error } => {
                    self.free(load, id)?;
                    load.errors.add(&error);
                }
                _ => return Err("message: neither a receipt nor a ping".to_owned()),
            }
        }
        Ok(())
    }

    /// Frees the slot of a command.
    fn free(&mut self, load: &mut Load, id: u32) -> std::result::Result<Slot, Fault> {
        let count = self.slots.len();
        let slot = &mut self.slots[id as usize % count];
        if id <= CONNECT_ID || slot.id != id {
            return Err("message: unknown id".to_owned());
        }
        load.in_flight -= 1;
        Ok(std::mem::take(slot))
    }

    /// Puts a submit into every free slot, many in one frame.
    fn fill(&mut self, load: &mut Load) -> std::result::Result<(), Fault> {
        let (mut payload, mut commands) = (Vec::new(), 0);
        if load.sending && self.open {
            let count = self.slots.len() as u32;
            let sent = now();
            // Ids tell the slot by their remainder, and none is used twice.
            self.used += 1;
            for place in 0..count {
                if self.slots[place as usize].id != 0 {
                    continue;
                }
                let id = self.used * count + place;
                let (member, score) = (load.draw(load.members), 1 + load.draw(LARGEST_SCORE));
                self.slots[place as usize] = Slot { id, member, score, sent };
                load.in_flight += 1;
                let board = &load.board;
                let data =
                    format!(r#"{{"board":"{board}","member":"player-{member}","score":{score}}}"#);
                load.encoding.put(id, Command::Rpc { method: "submit", data: &data }, &mut payload);
                commands += 1;
                if commands == MOST_IN_MESSAGE {
                    frame::encode(load.encoding.opcode(), &payload, MASK, &mut self.output);
                    (commands, payload) = (0, Vec::new());
                }
            }
        }
        if !payload.is_empty() {
            frame::encode(load.encoding.opcode(), &payload, MASK, &mut self.output);
        }
        self.flush()
    }
}

/// Any mask will do.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
