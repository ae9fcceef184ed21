//! The client's side of the Centrifuge client protocol v2, in JSON and in Protobuf. No I/O.
//!
//! Source: <https://centrifugal.dev/docs/transports/client_protocol> and `client.proto` there.
//! Commands of one frame are JSON lines, or Protobuf messages each after its length; so are replies.
//! With delta compression JSON carries the data of a publication as a string, so that a delta fits.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::frame::{Fault, Opcode};
use crate::protobuf::{Value, put_bytes, put_number, put_varint, take_bytes, take_field};

/// How commands and replies are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Lines of JSON in text frames.
    Json,
    /// Messages with their lengths in binary frames.
    Protobuf,
    /// States as they are in text frames, without commands: another protocol.
    Plain,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Command<'a> {
    /// Begin; the token is empty for callers without one.
    Connect { token: &'a str },
    /// Watch a channel, with Fossil deltas if asked for.
    Subscribe { channel: &'a str, delta: bool },
    /// Call a method; the data is JSON.
    Rpc { method: &'a str, data: &'a str },
}

/// What a server says.
#[derive(Debug, PartialEq)]
pub(crate) enum Message<'a> {
    /// The server asks whether we live.
    Ping,
    /// The answer to `connect`.
    Connected,
    /// The answer to a `subscribe`.
    Subscribed {
        /// Id of the command.
        id: u32,
        /// Whether deltas may come.
        delta: bool,
        /// What was published already.
        publications: Vec<Publication<'a>>,
    },
    /// The answer to an RPC.
    Answer {
        /// Id of the command.
        id: u32,
        /// JSON.
        data: Cow<'a, [u8]>,
    },
    /// A command was refused.
    Refused {
        /// Id of the command.
        id: u32,
        /// Code and message.
        error: String,
    },
    /// A new state.
    Published {
        /// Of which channel.
        channel: Cow<'a, str>,
        /// The state or what is new in it.
        publication: Publication<'a>,
    },
    /// The server ended a subscription.
    Unsubscribed {
        /// Which.
        channel: Cow<'a, str>,
        /// Why.
        code: u32,
    },
}

/// A state of a channel, or a delta to it.
#[derive(Debug, PartialEq)]
pub(crate) struct Publication<'a> {
    /// The state as JSON, or the delta.
    pub(crate) data: Cow<'a, [u8]>,
    /// Whether it is a delta to the state before.
    pub(crate) delta: bool,
    /// The position in the channel; 0 if the channel has none.
    pub(crate) offset: u64,
}

impl Encoding {
    /// The subprotocol that is offered at the handshake; JSON is what servers speak without one.
    pub(crate) fn subprotocol(self) -> &'static str {
        match self {
            Self::Json | Self::Plain => "",
            Self::Protobuf => "centrifuge-protobuf",
        }
    }

    /// What kind of frames hold it.
    pub(crate) fn opcode(self) -> Opcode {
        match self {
            Self::Json | Self::Plain => Opcode::Text,
            Self::Protobuf => Opcode::Binary,
        }
    }

    /// The answer to a ping.
    pub(crate) fn pong(self) -> &'static [u8] {
        match self {
            Self::Json | Self::Plain => b"{}",
            Self::Protobuf => b"\0",
        }
    }

    /// Appends a command to those of a frame.
    pub(crate) fn put(self, id: u32, command: Command<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Json | Self::Plain => {
                if !out.is_empty() {
                    out.push(b'\n');
                }
                out.extend_from_slice(json_command(id, command).as_bytes());
            }
            Self::Protobuf => {
                let message = protobuf_command(id, command);
                put_varint(message.len() as u64, out);
                out.extend_from_slice(&message);
            }
        }
    }

    /// Takes the next message's bytes off the front of a frame's payload; nothing at its end.
    pub(crate) fn next<'a>(self, payload: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Fault> {
        if payload.is_empty() {
            return Ok(None);
        }
        match self {
            Self::Plain => Ok(Some(std::mem::take(payload))),
            Self::Json => {
                let end = payload.iter().position(|byte| *byte == b'\n').unwrap_or(payload.len());
                let (line, rest) = payload.split_at(end);
                *payload = rest.get(1..).unwrap_or_default();
                Ok(Some(line))
            }
            Self::Protobuf => take_bytes(payload).map(Some).ok_or_else(broken),
        }
    }

    /// Reads one message.
    pub(crate) fn read(self, message: &[u8]) -> Result<Message<'_>, Fault> {
        match self {
            Self::Json | Self::Plain => read_json(message),
            Self::Protobuf => read_protobuf(message).ok_or_else(broken)?,
        }
    }
}

fn broken() -> Fault {
    "message: broken Protobuf".to_owned()
}

fn unexpected() -> Fault {
    "message: neither a reply nor a push".to_owned()
}

fn refusal(code: u32, message: &str) -> String {
    format!("refused: {code} {message}")
}

// JSON.

fn json_command(id: u32, command: Command<'_>) -> String {
    match command {
        Command::Connect { token: "" } => format!(r#"{{"id":{id},"connect":{{}}}}"#),
        Command::Connect { token } => {
            format!(r#"{{"id":{id},"connect":{{"token":{}}}}}"#, json(token))
        }
        Command::Subscribe { channel, delta } => {
            let delta = if delta { r#","delta":"fossil""# } else { "" };
            format!(r#"{{"id":{id},"subscribe":{{"channel":{}{delta}}}}}"#, json(channel))
        }
        Command::Rpc { method, data } => {
            format!(r#"{{"id":{id},"rpc":{{"method":{},"data":{data}}}}}"#, json(method))
        }
    }
}

/// JSON of something that has one, which texts and plain structs do.
pub(crate) fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[derive(Deserialize)]
struct JsonReply<'a> {
    #[serde(default)]
    id: u32,
    #[serde(borrow)]
    error: Option<JsonError<'a>>,
    #[serde(borrow)]
    push: Option<JsonPush<'a>>,
    connect: Option<serde::de::IgnoredAny>,
    #[serde(borrow)]
    subscribe: Option<JsonSubscribed<'a>>,
    #[serde(borrow)]
    rpc: Option<JsonAnswer<'a>>,
}

#[derive(Deserialize)]
struct JsonError<'a> {
    code: u32,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
}

#[derive(Deserialize)]
struct JsonPush<'a> {
    #[serde(borrow, default)]
    channel: Cow<'a, str>,
    #[serde(borrow, rename = "pub")]
    publication: Option<JsonPublication<'a>>,
    #[serde(borrow)]
    unsubscribe: Option<JsonError<'a>>,
}

#[derive(Deserialize)]
struct JsonPublication<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(default)]
    delta: bool,
    #[serde(default)]
    offset: u64,
}

#[derive(Deserialize)]
struct JsonSubscribed<'a> {
    #[serde(default)]
    delta: bool,
    #[serde(borrow, default)]
    publications: Vec<JsonPublication<'a>>,
}

#[derive(Deserialize)]
struct JsonAnswer<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

impl<'a> JsonPublication<'a> {
    fn into_publication(self) -> Result<Publication<'a>, Fault> {
        let raw = self.data.get();
        let data = if raw.starts_with('"') {
            let text: String = serde_json::from_str(raw).map_err(|error| fault(&error))?;
            Cow::Owned(text.into_bytes())
        } else if self.delta {
            return Err("message: a delta that is no text".to_owned());
        } else {
            Cow::Borrowed(raw.as_bytes())
        };
        Ok(Publication { data, delta: self.delta, offset: self.offset })
    }
}

fn fault(error: &serde_json::Error) -> Fault {
    format!("message: {error}")
}

fn read_json(message: &[u8]) -> Result<Message<'_>, Fault> {
    if message == b"{}" {
        return Ok(Message::Ping);
    }
    let text = str::from_utf8(message).map_err(|_| "message: not UTF-8".to_owned())?;
    let reply: JsonReply<'_> = serde_json::from_str(text).map_err(|error| fault(&error))?;
    let id = reply.id;
    if let Some(error) = reply.error {
        return Ok(Message::Refused { id, error: refusal(error.code, &error.message) });
    }
    if let Some(push) = reply.push {
        let channel = push.channel;
        return match (push.publication, push.unsubscribe) {
            (Some(publication), None) => {
                let publication = publication.into_publication()?;
                Ok(Message::Published { channel, publication })
            }
            (None, Some(end)) => Ok(Message::Unsubscribed { channel, code: end.code }),
            _ => Err(unexpected()),
        };
    }
    if let Some(subscribed) = reply.subscribe {
        let publications = subscribed.publications.into_iter();
        let publications =
            publications.map(JsonPublication::into_publication).collect::<Result<_, _>>()?;
        return Ok(Message::Subscribed { id, delta: subscribed.delta, publications });
    }
    match (reply.connect, reply.rpc) {
        (Some(_), None) => Ok(Message::Connected),
        (None, Some(answer)) => {
            Ok(Message::Answer { id, data: Cow::Borrowed(answer.data.get().as_bytes()) })
        }
        _ => Err(unexpected()),
    }
}

// Protobuf.

fn protobuf_command(id: u32, command: Command<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    let field = match command {
        Command::Connect { token } => {
            if !token.is_empty() {
                put_bytes(1, token.as_bytes(), &mut body);
            }
            4
        }
        Command::Subscribe { channel, delta } => {
            put_bytes(1, channel.as_bytes(), &mut body);
            if delta {
                put_bytes(12, b"fossil", &mut body);
            }
            5
        }
        Command::Rpc { method, data } => {
            put_bytes(1, data.as_bytes(), &mut body);
            put_bytes(2, method.as_bytes(), &mut body);
            13
        }
    };
    let mut message = Vec::new();
    put_number(1, u64::from(id), &mut message);
    put_bytes(field, &body, &mut message);
    message
}

/// Nothing if the message is broken; a fault if it is whole and makes no sense.
fn read_protobuf(mut message: &[u8]) -> Option<Result<Message<'_>, Fault>> {
    if message.is_empty() {
        return Some(Ok(Message::Ping));
    }
    let (mut id, mut body) = (0, None);
    while !message.is_empty() {
        match take_field(&mut message)? {
            (1, value) => id = u32::try_from(value.number()).ok()?,
            (field @ (2 | 4 | 5 | 6 | 13), value) => body = Some((field, value.bytes())),
            _ => {}
        }
    }
    let message = match body {
        Some((2, body)) => {
            let (code, text) = code_and_text(body, 1, 2)?;
            Message::Refused { id, error: refusal(code, &text) }
        }
        Some((4, body)) => return protobuf_push(body),
        Some((5, _)) => Message::Connected,
        Some((6, body)) => protobuf_subscribed(id, body)?,
        Some((_, mut body)) => {
            let mut data: &[u8] = &[];
            while !body.is_empty() {
                if let (1, value) = take_field(&mut body)? {
                    data = value.bytes();
                }
            }
            Message::Answer { id, data: Cow::Borrowed(data) }
        }
        None => return Some(Err(unexpected())),
    };
    Some(Ok(message))
}

fn protobuf_push(mut push: &[u8]) -> Option<Result<Message<'_>, Fault>> {
    let (mut channel, mut publication, mut end) = ("", None, None);
    while !push.is_empty() {
        match take_field(&mut push)? {
            (2, value) => channel = str::from_utf8(value.bytes()).ok()?,
            (4, value) => publication = Some(protobuf_publication(value.bytes())?),
            (7, value) => end = Some(code_and_text(value.bytes(), 2, 3)?.0),
            _ => {}
        }
    }
    let channel = Cow::Borrowed(channel);
    Some(match (publication, end) {
        (Some(publication), None) => Ok(Message::Published { channel, publication }),
        (None, Some(code)) => Ok(Message::Unsubscribed { channel, code }),
        _ => Err(unexpected()),
    })
}

fn protobuf_subscribed(id: u32, mut body: &[u8]) -> Option<Message<'_>> {
    let (mut delta, mut publications) = (false, Vec::new());
    while !body.is_empty() {
        match take_field(&mut body)? {
            (7, value) => publications.push(protobuf_publication(value.bytes())?),
            (13, value) => delta = value.number() != 0,
            _ => {}
        }
    }
    Some(Message::Subscribed { id, delta, publications })
}

fn protobuf_publication(mut body: &[u8]) -> Option<Publication<'_>> {
    let (mut data, mut delta, mut offset): (&[u8], _, _) = (&[], false, 0);
    while !body.is_empty() {
        match take_field(&mut body)? {
            (4, value) => data = value.bytes(),
            (6, value) => offset = value.number(),
            (8, value) => delta = value.number() != 0,
            _ => {}
        }
    }
    Some(Publication { data: Cow::Borrowed(data), delta, offset })
}

fn code_and_text(mut body: &[u8], code: u32, text: u32) -> Option<(u32, String)> {
    let mut found = (0, String::new());
    while !body.is_empty() {
        match take_field(&mut body)? {
            (field, Value::Number(number)) if field == code => {
                found.0 = u32::try_from(number).ok()?;
            }
            (field, Value::Bytes(bytes)) if field == text => {
                found.1 = String::from_utf8_lossy(bytes).into_owned();
            }
            _ => {}
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(data: &[u8], delta: bool, offset: u64) -> Publication<'_> {
        Publication { data: Cow::Borrowed(data), delta, offset }
    }

    fn frame(encoding: Encoding, commands: &[Command<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        for (id, command) in (1..).zip(commands) {
            encoding.put(id, *command, &mut out);
        }
        out
    }

    const COMMANDS: [Command<'_>; 4] = [
        Command::Connect { token: "" },
        Command::Connect { token: "a\"b" },
        Command::Subscribe { channel: "board:a:top:1", delta: true },
        Command::Rpc { method: "rank", data: r#"{"board":"a"}"# },
    ];

    #[test]
    fn commands_are_json_lines() {
        let text = String::from_utf8(frame(Encoding::Json, &COMMANDS)).unwrap();
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                r#"{"id":1,"connect":{}}"#,
                r#"{"id":2,"connect":{"token":"a\"b"}}"#,
                r#"{"id":3,"subscribe":{"channel":"board:a:top:1","delta":"fossil"}}"#,
                r#"{"id":4,"rpc":{"method":"rank","data":{"board":"a"}}}"#,
            ]
        );
    }

    #[test]
    fn commands_are_protobuf_messages_with_lengths() {
        let bytes = frame(Encoding::Protobuf, &COMMANDS);
        let mut expected = vec![4, 0x08, 1, 0x22, 0];
        expected.extend_from_slice(&[9, 0x08, 2, 0x22, 5, 0x0a, 3, b'a', b'"', b'b']);
        expected.extend_from_slice(&[27, 0x08, 3, 0x2a, 23, 0x0a, 13]);
        expected.extend_from_slice(b"board:a:top:1\x62\x06fossil");
        expected.extend_from_slice(&[25, 0x08, 4, 0x6a, 21, 0x0a, 13]);
        expected.extend_from_slice(b"{\"board\":\"a\"}\x12\x04rank");
        assert_eq!(bytes, expected);
    }

    #[test]
    fn json_frames_are_taken_apart_and_read() {
        let payload = br#"{}
{"id":1,"connect":{"client":"x","ping":25,"pong":true}}
{"id":2,"subscribe":{"delta":true,"publications":[{"data":"{\"version\":1}","offset":2}]}}
{"push":{"channel":"c","pub":{"data":{"version":2},"offset":3}}}
{"push":{"channel":"c","pub":{"data":"1\n1:x;","delta":true}}}
{"push":{"channel":"c","unsubscribe":{"code":2500,"reason":"board deleted"}}}
{"id":3,"rpc":{"data":{"rank":1}}}
{"id":4,"error":{"code":102,"message":"unknown channel"}}"#;
        let mut rest = &payload[..];
        let mut read = Vec::new();
        while let Some(line) = Encoding::Json.next(&mut rest).unwrap() {
            read.push(Encoding::Json.read(line).unwrap());
        }
        let published = |publication| Message::Published { channel: "c".into(), publication };
        assert_eq!(
            read,
            [
                Message::Ping,
                Message::Connected,
                Message::Subscribed {
                    id: 2,
                    delta: true,
                    publications: vec![publication(b"{\"version\":1}", false, 2)],
                },
                published(publication(b"{\"version\":2}", false, 3)),
                published(publication(b"1\n1:x;", true, 0)),
                Message::Unsubscribed { channel: "c".into(), code: 2500 },
                Message::Answer { id: 3, data: b"{\"rank\":1}"[..].into() },
                Message::Refused { id: 4, error: "refused: 102 unknown channel".to_owned() },
            ]
        );
    }

    /// Makes a message that holds one field in another.
    fn nested(outer: u32, inner: u32, bytes: &[u8]) -> Vec<u8> {
        let (mut body, mut message) = (Vec::new(), Vec::new());
        put_bytes(inner, bytes, &mut body);
        put_bytes(outer, &body, &mut message);
        message
    }

    #[test]
    fn protobuf_frames_are_taken_apart_and_read() {
        let mut published = Vec::new();
        put_bytes(4, b"1\n1:x;", &mut published);
        put_number(6, 9, &mut published);
        put_number(8, 1, &mut published);
        let mut push = Vec::new();
        put_bytes(2, b"c", &mut push);
        put_bytes(4, &published, &mut push);
        let mut push_message = Vec::new();
        put_bytes(4, &push, &mut push_message);
        let mut subscribed = Vec::new();
        put_number(1, 2, &mut subscribed);
        let mut result = vec![13 << 3, 1];
        put_bytes(7, &published, &mut result);
        put_bytes(6, &result, &mut subscribed);
        let mut refused = Vec::new();
        put_number(1, 4, &mut refused);
        put_bytes(2, &[0x08, 103, 0x12, 2, b'n', b'o'], &mut refused);
        let mut answer = Vec::new();
        put_number(1, 3, &mut answer);
        answer.extend(nested(13, 1, b"{}"));
        let mut unsubscribed = Vec::new();
        put_bytes(4, &[0x12, 1, b'c', 0x3a, 3, 0x10, 0xc4, 0x13], &mut unsubscribed);
        let mut payload = Vec::new();
        for message in [&[][..], &push_message, &subscribed, &refused, &answer, &unsubscribed] {
            put_varint(message.len() as u64, &mut payload);
            payload.extend_from_slice(message);
        }
        let mut rest = &payload[..];
        let mut read = Vec::new();
        while let Some(message) = Encoding::Protobuf.next(&mut rest).unwrap() {
            read.push(Encoding::Protobuf.read(message).unwrap());
        }
        let one = || publication(b"1\n1:x;", true, 9);
        assert_eq!(
            read,
            [
                Message::Ping,
                Message::Published { channel: "c".into(), publication: one() },
                Message::Subscribed { id: 2, delta: true, publications: vec![one()] },
                Message::Refused { id: 4, error: "refused: 103 no".to_owned() },
                Message::Answer { id: 3, data: b"{}"[..].into() },
                Message::Unsubscribed { channel: "c".into(), code: 2500 },
            ]
        );
    }

    #[test]
    fn nonsense_is_a_fault() {
        for line in [
            "",
            "[]",
            "{",
            r#"{"id":1}"#,
            r#"{"push":{}}"#,
            r#"{"push":{"channel":"c","pub":{"data":{},"delta":true}}}"#,
            "{\"push\":{\"channel\":\"\u{0}\"}}",
        ] {
            assert!(Encoding::Json.read(line.as_bytes()).is_err(), "{line}");
        }
        assert!(Encoding::Json.read(b"{\"id\":1,\"connect\":{\"client\":\"\xff\"}}").is_err());
        for message in [&[0x08, 1][..], &[0x22, 0], &[0x22, 2, 0], &[0x2b]] {
            assert!(Encoding::Protobuf.read(message).is_err(), "{message:?}");
        }
        assert!(Encoding::Protobuf.next(&mut &[5, 1][..]).is_err());
    }
}
