//! What clients ask for.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::codes::Close;
use super::{Encoding, json, protobuf};

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command<'a> {
    /// Repeated in the reply. 0 for [`Body::Pong`], and for a [`Body::Send`] that has none; these
    /// two have no reply.
    pub id: u32,
    /// What it asks for.
    pub body: Body<'a>,
}

/// What a command asks for.
///
/// Data is the JSON text that the client sent, not yet looked at: in JSON it is well-formed, in
/// Protobuf it may be any bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'a> {
    /// The answer to a ping of the server.
    Pong,
    /// Begin the session. Server-side subscriptions that the client remembers are ignored.
    Connect {
        /// An API key or a player's token; empty for none.
        token: Cow<'a, str>,
    },
    /// Watch a channel.
    Subscribe(Subscribe<'a>),
    /// Stop watching a channel.
    Unsubscribe {
        /// The name of the channel.
        channel: Cow<'a, str>,
    },
    /// Call a method.
    Rpc {
        /// The name of the method.
        method: Cow<'a, str>,
        /// Its parameters.
        data: Option<&'a [u8]>,
    },
    /// Go on with a new token.
    Refresh {
        /// The new token.
        token: Cow<'a, str>,
    },
    /// Asks for an empty reply.
    Ping,
    /// A message to the server that expects no reply.
    Send {
        /// The message.
        data: Option<&'a [u8]>,
    },
    /// Something that the protocol knows and the hub does not offer.
    Unavailable,
}

/// A wish to watch a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Subscribe<'a> {
    /// The name of the channel.
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
    /// Parameters, for channels that have some; see [`Body`] about data.
    #[serde(borrow, deserialize_with = "json::data")]
    pub data: Option<&'a [u8]>,
    /// Whether the client knows a state of the channel already: the one at `offset` in `epoch`.
    pub recover: bool,
    /// Offset of the newest publication that the client has.
    pub offset: u64,
    /// The epoch that the offset belongs to.
    #[serde(borrow)]
    pub epoch: Cow<'a, str>,
    /// Whether the client wants publications as Fossil deltas. Other formats count as none.
    #[serde(deserialize_with = "json::fossil")]
    pub delta: bool,
}

/// The client does not speak the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Bad(pub &'static str);

impl From<Bad> for Close {
    fn from(bad: Bad) -> Self {
        Self::BadRequest(bad.0)
    }
}

const NOT_A_COMMAND: Bad = Bad("not a command");

/// A command as both encodings have it: an id and, at most, one of the others.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Parts<'a> {
    pub(super) id: u32,
    #[serde(borrow)]
    pub(super) connect: Option<Token<'a>>,
    #[serde(borrow)]
    pub(super) subscribe: Option<Subscribe<'a>>,
    #[serde(borrow)]
    pub(super) unsubscribe: Option<Channel<'a>>,
    #[serde(borrow)]
    pub(super) rpc: Option<Rpc<'a>>,
    #[serde(borrow)]
    pub(super) refresh: Option<Token<'a>>,
    pub(super) ping: Option<IgnoredAny>,
    #[serde(borrow)]
    pub(super) send: Option<Message<'a>>,
    #[serde(
        rename = "publish",
        alias = "presence",
        alias = "presence_stats",
        alias = "history",
        alias = "sub_refresh"
    )]
    pub(super) unavailable: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Token<'a> {
    #[serde(borrow)]
    pub(super) token: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Channel<'a> {
    #[serde(borrow)]
    pub(super) channel: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Rpc<'a> {
    #[serde(borrow)]
    pub(super) method: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "json::data")]
    pub(super) data: Option<&'a [u8]>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message<'a> {
    #[serde(borrow, deserialize_with = "json::data")]
    pub(super) data: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    /// The command that they make. If they make several, the first of these counts.
    fn command(self) -> Result<Command<'a>, Bad> {
        let id = self.id;
        let body = if let Some(Rpc { method, data }) = self.rpc {
            Body::Rpc { method, data }
        } else if let Some(Token { token }) = self.connect {
            Body::Connect { token }
        } else if let Some(subscribe) = self.subscribe {
            Body::Subscribe(subscribe)
        } else if let Some(Channel { channel }) = self.unsubscribe {
            Body::Unsubscribe { channel }
        } else if let Some(Token { token }) = self.refresh {
            Body::Refresh { token }
        } else if self.ping.is_some() {
            Body::Ping
        } else if let Some(Message { data }) = self.send {
            return Ok(Command { id, body: Body::Send { data } });
        } else if self.unavailable.is_some() {
            Body::Unavailable
        } else if id == 0 {
            return Ok(Command { id, body: Body::Pong });
        } else {
            return Err(Bad("unknown command"));
        };
        if id == 0 { Err(Bad("a command needs an id")) } else { Ok(Command { id, body }) }
    }
}

/// The commands of one message in their order; made by [`commands`].
#[derive(Debug)]
pub struct Commands<'a>(Rest<'a>);

/// What is still to be read of a message.
#[derive(Debug)]
enum Rest<'a> {
    Json(std::str::Split<'a, char>),
    Protobuf(&'a [u8]),
    NotUtf8,
    Nothing,
}

/// Reads the commands of one message in their order. JSON has one on each line, blank lines are
/// skipped; Protobuf has a length before each. Nothing follows after the first that is [`Bad`].
pub fn commands(encoding: Encoding, message: &[u8]) -> Commands<'_> {
    Commands(match encoding {
        Encoding::Json => {
            std::str::from_utf8(message).map_or(Rest::NotUtf8, |text| Rest::Json(text.split('\n')))
        }
        Encoding::Protobuf => Rest::Protobuf(message),
    })
}

impl<'a> Rest<'a> {
    fn next(&mut self) -> Option<Result<Parts<'a>, Bad>> {
        match self {
            Self::Json(lines) => {
                let line = lines.map(str::trim_ascii).find(|line| !line.is_empty())?;
                Some(json::command(line).map_err(|_| NOT_A_COMMAND))
            }
            Self::Protobuf([]) | Self::Nothing => None,
            Self::Protobuf(rest) => {
                let parts = protobuf::prefixed(rest).and_then(protobuf::command);
                Some(parts.map_err(|_| NOT_A_COMMAND))
            }
            Self::NotUtf8 => Some(Err(NOT_A_COMMAND)),
        }
    }
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<Command<'a>, Bad>;

    fn next(&mut self) -> Option<Self::Item> {
        let command = self.0.next()?.and_then(Parts::command);
        if command.is_err() {
            self.0 = Rest::Nothing;
        }
        Some(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Vec<Result<Command<'_>, Bad>> {
        commands(Encoding::Json, text.as_bytes()).collect()
    }

    fn protobuf(message: &[u8]) -> Vec<Result<Command<'_>, Bad>> {
        commands(Encoding::Protobuf, message).collect()
    }

    const PONG: Result<Command<'_>, Bad> = Ok(Command { id: 0, body: Body::Pong });
    const BAD: Result<Command<'_>, Bad> = Err(NOT_A_COMMAND);

    #[test]
    fn blank_lines_are_skipped() {
        assert_eq!(json(""), []);
        assert_eq!(json("\n \r\n"), []);
        assert_eq!(json("\n{}\r\n\n{}\n"), [PONG, PONG]);
    }

    #[test]
    fn what_is_no_command_is_bad_and_ends_the_message() {
        let not_json =
            ["x", "[]", "7", "null", "{", "{} {}", r#"{"id":-1}"#, r#"{"id":4294967296}"#];
        let not_typed = [r#"{"id":1,"rpc":{"method":7}}"#, r#"{"id":1,"subscribe":"a"}"#];
        for line in not_json.into_iter().chain(not_typed) {
            assert_eq!(json(&format!("{{}}\n{line}\n{{}}")), [PONG, BAD], "{line}");
        }
        assert_eq!(commands(Encoding::Json, b"{}\n\xff").collect::<Vec<_>>(), [BAD]);
    }

    #[test]
    fn only_pong_and_send_need_no_id() {
        let send = Ok(Command { id: 0, body: Body::Send { data: None } });
        assert_eq!(json("{}\n{\"send\":{}}"), [PONG, send.clone()]);
        assert_eq!(protobuf(b"\x00\x02\x62\x00"), [PONG, send]);
        let others =
            ["connect", "subscribe", "unsubscribe", "rpc", "refresh", "ping", "publish", "history"];
        let no_id = [Err(Bad("a command needs an id"))];
        for name in others {
            assert_eq!(json(&format!(r#"{{"{name}":{{}}}}"#)), no_id, "{name}");
        }
        for field in [4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15u8] {
            assert_eq!(protobuf(&[2, field << 3 | 2, 0]), no_id, "field {field}");
        }
        let unknown = [Err(Bad("unknown command"))];
        assert_eq!(json(r#"{"id":1,"dance":{}}"#), unknown);
        assert_eq!(protobuf(b"\x02\x08\x01"), unknown);
    }

    #[test]
    fn what_needs_no_unescaping_is_borrowed() {
        let text = r#"{"id":1,"rpc":{"method":"rank","data": {"board" : "\u0061"} }}"#;
        let Ok(Command { body: Body::Rpc { method, data }, .. }) = json(text).remove(0) else {
            panic!("an rpc");
        };
        assert!(matches!(method, Cow::Borrowed("rank")));
        assert_eq!(data, Some(&br#"{"board" : "\u0061"}"#[..]));
    }

    #[test]
    fn deep_data_is_not_climbed_into() {
        let deep = "[".repeat(200_000) + &"]".repeat(200_000);
        let known = format!(r#"{{"id":1,"rpc":{{"method":"a","data":{deep}}}}}"#);
        let body = Body::Rpc { method: "a".into(), data: Some(deep.as_bytes()) };
        assert_eq!(json(&known), [Ok(Command { id: 1, body })]);
        assert_eq!(json(&format!(r#"{{"unknown":{deep}}}"#)), [PONG]);
    }

    #[test]
    fn null_is_absent_and_other_deltas_are_none() {
        let text = r#"{"id":1,"subscribe":{"channel":"c","data":null,"delta":"other"}}"#;
        let wish = Subscribe { channel: "c".into(), ..Subscribe::default() };
        let expected = [Ok(Command { id: 1, body: Body::Subscribe(wish) })];
        assert_eq!(json(text), expected);
        let message = b"\x0e\x08\x01\x2a\x0a\x0a\x01c\x42\x00\x62\x03vcd";
        assert_eq!(protobuf(message), expected);
    }

    #[test]
    fn broken_protobuf_is_bad() {
        let broken: [&[u8]; 9] = [
            b"\x05\x08\x01",                                 // shorter than it says
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",     // far longer than memory
            b"\x80",                                         // a length without an end
            b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", // a varint of 11 bytes
            b"\x02\x00\x01",                                 // field 0
            b"\x02\x0b\x0c",                                 // a group
            b"\x03\x08\x01\x2a",                             // a field without a value
            b"\x07\x08\x01\x32\x03\x0a\x01\xff",             // not UTF-8
            b"\x06\x08\x01\x32\x02\x0a\x05",                 // a string that is too short
        ];
        for message in broken {
            assert_eq!(protobuf(message), [BAD], "{message:02x?}");
            let after_pong = [&[0], message, &[0]].concat();
            assert_eq!(protobuf(&after_pong)[0], PONG);
            assert!(protobuf(&after_pong).len() == 2, "{message:02x?}");
        }
    }

    #[test]
    fn unknown_fields_of_every_type_are_skipped() {
        let message = [
            &[32][..],
            &[0x80, 0x01, 0x05],                   // 16: varint
            &[0x85, 0x01, 1, 2, 3, 4],             // 16: 32 bits
            &[0x81, 0x01, 1, 2, 3, 4, 5, 6, 7, 8], // 16: 64 bits
            &[0x82, 0x01, 2, 0xff, 0xff],          // 16: bytes
            &[0x28, 0x01],                         // subscribe as a varint
            &[0x58, 0x01],                         // ping as a varint
            &[0x08, 0x07],                         // id
            &[0x5a, 0x00],                         // ping
        ]
        .concat();
        assert_eq!(message.len(), 33);
        assert_eq!(protobuf(&message), [Ok(Command { id: 7, body: Body::Ping })]);
    }

    #[test]
    fn parts_of_a_repeated_message_add_up() {
        let message = b"\x0d\x08\x01\x6a\x03\x0a\x01\x37\x6a\x04\x12\x02\x75\x70";
        let message = [&[message.len() as u8 - 1], &message[1..]].concat();
        let body = Body::Rpc { method: "up".into(), data: Some(b"7") };
        assert_eq!(protobuf(&message), [Ok(Command { id: 1, body })]);
    }
}
