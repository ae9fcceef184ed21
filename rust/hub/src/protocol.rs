//! The words of the Centrifuge client protocol v2 in JSON, as far as the hub speaks it.
//!
//! A text frame holds one or more JSON objects separated by newlines: commands from the client,
//! replies and pushes from the server. A command carries an id that its reply repeats; `{}` is a
//! ping from the server and a pong from the client. What clients add to commands and the hub does
//! not know is ignored, as the protocol asks for.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// The ping of the server.
pub(crate) const PING: &str = "{}";

/// One command as it comes in: an id and, at most, one of the others.
#[derive(Debug, Deserialize)]
pub(crate) struct Command<'a> {
    /// Repeated in the reply; 0 or absent when none is expected.
    #[serde(default)]
    pub(crate) id: u32,
    connect: Option<IgnoredAny>,
    #[serde(borrow)]
    subscribe: Option<ChannelRequest<'a>>,
    #[serde(borrow)]
    unsubscribe: Option<ChannelRequest<'a>>,
    #[serde(borrow)]
    rpc: Option<RpcRequest<'a>>,
    send: Option<IgnoredAny>,
    publish: Option<IgnoredAny>,
    history: Option<IgnoredAny>,
    presence: Option<IgnoredAny>,
    presence_stats: Option<IgnoredAny>,
    refresh: Option<IgnoredAny>,
    sub_refresh: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct ChannelRequest<'a> {
    #[serde(borrow, default)]
    channel: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
struct RpcRequest<'a> {
    #[serde(borrow, default)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// What a command asks for.
#[derive(Debug)]
pub(crate) enum Request<'a> {
    /// Begin the session.
    Connect,
    /// Watch a channel.
    Subscribe(Cow<'a, str>),
    /// Stop watching a channel.
    Unsubscribe(Cow<'a, str>),
    /// Call a method with parameters.
    Rpc(Cow<'a, str>, Option<&'a RawValue>),
    /// A message to the server that expects no reply.
    Send,
    /// Something that the protocol knows and the hub does not offer.
    Unavailable,
    /// The answer to a ping.
    Pong,
}

impl<'a> Command<'a> {
    /// The request in the command, or nothing if it is none. A command that holds several counts
    /// as the first of them.
    pub(crate) fn request(self) -> Option<Request<'a>> {
        let unavailable = [
            self.publish,
            self.history,
            self.presence,
            self.presence_stats,
            self.refresh,
            self.sub_refresh,
        ];
        let request = if self.connect.is_some() {
            Request::Connect
        } else if let Some(subscribe) = self.subscribe {
            Request::Subscribe(subscribe.channel)
        } else if let Some(unsubscribe) = self.unsubscribe {
            Request::Unsubscribe(unsubscribe.channel)
        } else if let Some(rpc) = self.rpc {
            Request::Rpc(rpc.method, rpc.data)
        } else if self.send.is_some() {
            Request::Send
        } else if unavailable.iter().any(Option::is_some) {
            Request::Unavailable
        } else if self.id == 0 {
            Request::Pong
        } else {
            return None;
        };
        Some(request)
    }
}

/// Why a command was answered with an error; the connection stays. None is temporary: asking again
/// would not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    /// A channel name of no view, or of a board that does not exist.
    #[error("{0}")]
    UnknownChannel(String),
    /// An RPC method that does not exist.
    #[error("method not found")]
    MethodNotFound,
    /// The channel is subscribed to.
    #[error("already subscribed")]
    AlreadySubscribed,
    /// The connection has as many subscriptions as it may have.
    #[error("limit exceeded: a connection has at most {0} subscriptions")]
    LimitExceeded(usize),
    /// Bad RPC parameters.
    #[error("bad request: {0}")]
    BadParams(String),
    /// A command that the hub does not offer.
    #[error("not available")]
    NotAvailable,
    /// An RPC about something that does not exist. A code of our own.
    #[error("{0}")]
    NotFound(String),
}

impl CommandError {
    fn code(&self) -> u32 {
        match self {
            Self::UnknownChannel(_) => 102,
            Self::MethodNotFound => 104,
            Self::AlreadySubscribed => 105,
            Self::LimitExceeded(_) => 106,
            Self::BadParams(_) => 107,
            Self::NotAvailable => 108,
            Self::NotFound(_) => 404,
        }
    }
}

/// Why the hub ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    /// The bytes are no WebSocket frames.
    Protocol,
    /// A text message that is not UTF-8.
    Utf8,
    /// The server is shutting down; come back.
    Shutdown,
    /// The client took no byte for too long.
    Slow,
    /// The client did not answer a ping.
    NoPong,
    /// The client does not speak the protocol; it would do the same again, so it should not come
    /// back. Also for messages that are too large: on the WebSocket code 1009 one SDK stops and
    /// another comes back at once, again and again.
    BadRequest(&'static str),
    /// The client did not send `connect`.
    Stale,
}

impl Close {
    fn code(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            Self::Utf8 => 1007,
            Self::Shutdown => 3001,
            Self::Slow => 3008,
            Self::NoPong => 3012,
            Self::BadRequest(_) => 3501,
            Self::Stale => 3502,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Protocol => "protocol error",
            Self::Utf8 => "text is not UTF-8",
            Self::Shutdown => "shutdown",
            Self::Slow => "slow",
            Self::NoPong => "no pong",
            Self::BadRequest(reason) => reason,
            Self::Stale => "stale",
        }
    }

    /// Whether the client did something wrong.
    pub(crate) fn is_error(self) -> bool {
        matches!(self, Self::Protocol | Self::Utf8 | Self::BadRequest(_) | Self::Stale)
    }

    pub(crate) fn frame(self) -> CloseFrame {
        CloseFrame { code: CloseCode::from(self.code()), reason: self.reason().into() }
    }
}

#[derive(Serialize)]
struct Reply<'a> {
    id: u32,
    #[serde(flatten)]
    body: Body<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Body<'a> {
    Connect { client: &'a str, version: &'a str, ping: u64, pong: bool },
    Subscribe {},
    Unsubscribe {},
    Error { code: u32, message: String },
}

/// Replies and pushes on their way into one text frame.
#[derive(Debug, Default)]
pub(crate) struct Outbox(String);

impl Outbox {
    pub(crate) fn connected(&mut self, id: u32, client: &str, ping_seconds: u64) {
        let version = concat!("rankwire ", env!("CARGO_PKG_VERSION"));
        self.reply(id, Body::Connect { client, version, ping: ping_seconds, pong: true });
    }

    pub(crate) fn subscribed(&mut self, id: u32) {
        self.reply(id, Body::Subscribe {});
    }

    pub(crate) fn unsubscribed(&mut self, id: u32) {
        self.reply(id, Body::Unsubscribe {});
    }

    /// The answer to an RPC, which is JSON already.
    pub(crate) fn answered(&mut self, id: u32, answer: &[u8]) {
        let answer = String::from_utf8_lossy(answer);
        self.line(&format!(r#"{{"id":{id},"rpc":{{"data":{answer}}}}}"#));
    }

    pub(crate) fn failed(&mut self, id: u32, error: &CommandError) {
        self.reply(id, Body::Error { code: error.code(), message: error.to_string() });
    }

    /// Appends one object as it is.
    pub(crate) fn line(&mut self, line: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(line);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Hands out the frame and begins an empty one.
    pub(crate) fn take(&mut self) -> String {
        std::mem::take(&mut self.0)
    }

    fn reply(&mut self, id: u32, body: Body<'_>) {
        self.line(&to_json(&Reply { id, body }));
    }
}

/// The push that ends a subscription whose board was deleted. The code makes SDKs subscribe again.
pub(crate) fn board_deleted(channel: &str) -> String {
    let channel = to_json(channel);
    format!(
        r#"{{"push":{{"channel":{channel},"unsubscribe":{{"code":2500,"reason":"board deleted"}}}}}}"#
    )
}

/// JSON of something whose keys are strings and whose numbers are finite.
pub(crate) fn to_json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("string keys and finite numbers")
}
