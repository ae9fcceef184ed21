//! The Centrifuge client protocol v2 in JSON and in Protobuf: bytes in, commands out, and back.
//!
//! Pure: no I/O, no clock, no state between two messages. Whatever the bytes are, reading them ends
//! in a value or an error, never in a panic, and takes time and memory in proportion to them.
//!
//! # Messages
//!
//! A WebSocket message holds one or more commands, or one or more replies and pushes: in JSON
//! objects separated by newlines, in Protobuf each with its length before it as a varint. A command
//! carries an id that its reply repeats. An empty message, `{}` or a single zero byte, is a ping
//! from the server and a pong from the client. What the hub does not know is skipped, as the
//! protocol asks for.
//!
//! # Fields
//!
//! The names are those of JSON, the numbers those of Protobuf, as the descriptor in the official
//! SDKs has them. Only what the hub reads or writes is listed. A field that is 0, false or empty is
//! left out in both encodings.
//!
//! | message | fields |
//! |---|---|
//! | command | `id` 1, `connect` 4, `subscribe` 5, `unsubscribe` 6, `publish` 7, `presence` 8, `presence_stats` 9, `history` 10, `ping` 11, `send` 12, `rpc` 13, `refresh` 14, `sub_refresh` 15 |
//! | in a command: `connect`, `refresh` | `token` 1 |
//! | … `subscribe` | `channel` 1, `recover` 3, `epoch` 6, `offset` 7, `data` 8, `delta` 12 |
//! | … `unsubscribe` | `channel` 1 |
//! | … `rpc` | `data` 1, `method` 2 |
//! | … `send` | `data` 1 |
//! | reply | `id` 1, `error` 2, `push` 4, `connect` 5, `subscribe` 6, `unsubscribe` 7, `ping` 12, `rpc` 13, `refresh` 14 |
//! | in a reply: `error` | `code` 1, `message` 2, `temporary` 3 |
//! | … `connect` | `client` 1, `version` 2, `expires` 3, `ttl` 4, `ping` 7, `pong` 8 |
//! | … `subscribe` | `recoverable` 3, `epoch` 6, `publications` 7, `recovered` 8, `offset` 9, `positioned` 10, `was_recovering` 12, `delta` 13 |
//! | … `rpc` | `data` 1 |
//! | … `refresh` | `expires` 3, `ttl` 4 |
//! | … `push` | `channel` 2, `pub` 4, `unsubscribe` 7, `disconnect` 11 |
//! | in a push: `pub`, and `publications` | `data` 4, `offset` 6, `delta` 8 |
//! | … `unsubscribe` | `code` 2, `reason` 3 |
//! | … `disconnect` | `code` 1, `reason` 2 |
//!
//! # Layout
//!
//! `command` reads what clients send and `reply` writes what the server sends. [`client`] is the
//! other side of both. `message` writes fields in either encoding, `json` and `protobuf` know the
//! encodings themselves, and [`codes`] lists the errors.

pub mod client;
pub mod codes;
mod command;
mod json;
mod message;
mod protobuf;
mod reply;

pub use codes::{Close, CommandError};
pub use command::{Bad, Body, Command, Commands, Subscribe, commands};
pub use reply::{Connected, Data, Out, Publication, Subscribed};

/// How messages are written. A connection chooses at its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Text messages with JSON objects.
    Json,
    /// Binary messages; the WebSocket subprotocol `centrifuge-protobuf`.
    Protobuf,
}
