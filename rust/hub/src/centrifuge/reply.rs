//! What the server says: replies and pushes.

use super::Encoding;
use super::codes::{Close, CommandError};
use super::message::{Message, append};

/// The payload of one WebSocket message, to which replies and pushes are appended.
#[derive(Debug)]
pub struct Out<'a> {
    encoding: Encoding,
    payload: &'a mut Vec<u8>,
}

/// The reply to `connect`. It always says that the server wants pongs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connected<'a> {
    /// Id of the connection, not empty: one SDK fails without it.
    pub client: &'a str,
    /// Name and version of the server.
    pub version: &'a str,
    /// Seconds between two pings; the client gives up some seconds later.
    pub ping_s: u32,
    /// Seconds until the token expires, if it does. 0 is sent as 1, because an SDK fails if the
    /// field is absent.
    pub ttl: Option<u32>,
}

/// The reply to `subscribe`.
#[allow(clippy::struct_excessive_bools, reason = "the protocol has them")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Subscribed<'a> {
    /// Whether the client shall ask for what it missed when it comes back.
    pub recoverable: bool,
    /// Whether offset and epoch mean something.
    pub positioned: bool,
    /// What the offsets belong to.
    pub epoch: &'a str,
    /// Offset of the newest publication; while recovering the one that the client asked from.
    pub offset: u64,
    /// Whether publications come as deltas: then none is [`Data::Json`].
    pub delta: bool,
    /// Whether the client asked to recover.
    pub was_recovering: bool,
    /// Whether it now has everything.
    pub recovered: bool,
    /// What it missed. When several are read, this is the newest.
    pub publication: Option<Publication<'a>>,
}

/// One state of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publication<'a> {
    /// Its position, from 1. 0 means that the channel has no positions.
    pub offset: u64,
    /// The state, or how it differs from the one before.
    pub data: Data<'a>,
}

/// The data of a publication.
///
/// JSON texts are compact: without newlines between the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data<'a> {
    /// A JSON text for clients that did not ask for deltas. Protobuf does not tell it from `Text`;
    /// what is read from Protobuf is this one.
    Json(&'a [u8]),
    /// A JSON text for clients that asked for deltas; in JSON it becomes a string.
    Text(&'a [u8]),
    /// The delta to the text of the publication before. In JSON, where it becomes a string, it must
    /// be UTF-8.
    Delta(&'a [u8]),
}

impl<'a> Out<'a> {
    /// Appends to `payload`, which is empty or holds messages of the same encoding.
    pub fn new(encoding: Encoding, payload: &'a mut Vec<u8>) -> Self {
        Self { encoding, payload }
    }

    /// Answers `connect`.
    pub fn connected(&mut self, id: u32, reply: &Connected<'_>) {
        self.reply(id, 5, "connect", |message| {
            message.text(1, "client", reply.client);
            message.text(2, "version", reply.version);
            expires(message, reply.ttl);
            message.number(7, "ping", reply.ping_s);
            message.flag(8, "pong", true);
        });
    }

    /// Answers `subscribe`.
    pub fn subscribed(&mut self, id: u32, reply: &Subscribed<'_>) {
        self.reply(id, 6, "subscribe", |message| {
            message.flag(3, "recoverable", reply.recoverable);
            message.text(6, "epoch", reply.epoch);
            if let Some(publication) = reply.publication {
                message.list_of_one(7, "publications", |message| publication.write(message));
            }
            message.flag(8, "recovered", reply.recovered);
            message.number(9, "offset", reply.offset);
            message.flag(10, "positioned", reply.positioned);
            message.flag(12, "was_recovering", reply.was_recovering);
            message.flag(13, "delta", reply.delta);
        });
    }

    /// Answers `unsubscribe`.
    pub fn unsubscribed(&mut self, id: u32) {
        self.reply(id, 7, "unsubscribe", |_| {});
    }

    /// Answers `rpc` with a compact JSON text.
    pub fn rpc(&mut self, id: u32, data: &[u8]) {
        self.reply(id, 13, "rpc", |message| message.data(1, "data", Data::Json(data)));
    }

    /// Answers `refresh`: the seconds until the new token expires, if it does; 0 is sent as 1.
    pub fn refreshed(&mut self, id: u32, ttl: Option<u32>) {
        self.reply(id, 14, "refresh", |message| expires(message, ttl));
    }

    /// Answers `ping`.
    pub fn pong(&mut self, id: u32) {
        self.reply(id, 12, "ping", |_| {});
    }

    /// Answers any command with why it failed.
    pub fn failed(&mut self, id: u32, error: &CommandError) {
        self.error(id, error.code(), &error.to_string(), error.is_temporary());
    }

    /// Answers any command with an error.
    pub fn error(&mut self, id: u32, code: u32, message: &str, temporary: bool) {
        self.reply(id, 2, "error", |error| {
            error.number(1, "code", code);
            error.text(2, "message", worded(message));
            error.flag(3, "temporary", temporary);
        });
    }

    /// Asks for a pong.
    pub fn ping(&mut self) {
        append(self.encoding, self.payload, |_| {});
    }

    /// Pushes a state of a channel.
    pub fn publication(&mut self, channel: &str, publication: Publication<'_>) {
        self.push(channel, 4, "pub", |message| publication.write(message));
    }

    /// Pushes that a subscription is over. Codes from 2500 make SDKs subscribe again.
    pub fn unsubscribe_push(&mut self, channel: &str, code: u32, reason: &str) {
        self.push(channel, 7, "unsubscribe", |message| {
            message.number(2, "code", code);
            message.text(3, "reason", worded(reason));
        });
    }

    /// Pushes that the connection is over; the close frame says the same.
    pub fn disconnect_push(&mut self, close: Close) {
        self.push("", 11, "disconnect", |message| {
            message.number(1, "code", close.code());
            message.text(2, "reason", worded(close.reason()));
        });
    }

    fn reply(&mut self, id: u32, field: u32, name: &str, write: impl FnOnce(&mut Message<'_>)) {
        append(self.encoding, self.payload, |message| {
            message.number(1, "id", id);
            message.message(field, name, write);
        });
    }

    fn push(
        &mut self,
        channel: &str,
        field: u32,
        name: &str,
        write: impl FnOnce(&mut Message<'_>),
    ) {
        append(self.encoding, self.payload, |message| {
            message.message(4, "push", |message| {
                message.text(2, "channel", channel);
                message.message(field, name, write);
            });
        });
    }
}

impl Publication<'_> {
    fn write(self, message: &mut Message<'_>) {
        message.data(4, "data", self.data);
        message.number(6, "offset", self.offset);
        message.flag(8, "delta", matches!(self.data, Data::Delta(_)));
    }
}

fn expires(message: &mut Message<'_>, ttl: Option<u32>) {
    if let Some(ttl) = ttl {
        message.flag(3, "expires", true);
        message.number(4, "ttl", ttl.max(1));
    }
}

/// The text, or another one if it is empty: SDKs fail if it is absent.
fn worded(text: &str) -> &str {
    if text.is_empty() { "no reason given" } else { text }
}
