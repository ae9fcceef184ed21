//! The side of the client: commands out, in both encodings, and replies in, in Protobuf. For a hub
//! that is itself a client of another one, and for tests.

use super::message::{Message, append};
use super::protobuf::{Fields, Malformed, Value, prefixed, text};
use super::{Body, Command, Connected, Data, Encoding, Publication, Subscribed};

/// Appends a command to the payload of one WebSocket message, which is empty or holds commands of
/// the same encoding.
///
/// [`Body::Unavailable`] stands for five commands; it is written as the first of them, `publish`.
pub fn command(encoding: Encoding, command: &Command<'_>, payload: &mut Vec<u8>) {
    append(encoding, payload, |message| {
        message.number(1, "id", command.id);
        body(message, &command.body);
    });
}

fn body(message: &mut Message<'_>, body: &Body<'_>) {
    match body {
        Body::Pong => {}
        Body::Connect { token } => {
            message.message(4, "connect", |message| message.text(1, "token", token));
        }
        Body::Subscribe(subscribe) => message.message(5, "subscribe", |message| {
            message.text(1, "channel", &subscribe.channel);
            message.flag(3, "recover", subscribe.recover);
            message.text(6, "epoch", &subscribe.epoch);
            message.number(7, "offset", subscribe.offset);
            data(message, 8, subscribe.data);
            message.text(12, "delta", if subscribe.delta { "fossil" } else { "" });
        }),
        Body::Unsubscribe { channel } => {
            message.message(6, "unsubscribe", |message| message.text(1, "channel", channel));
        }
        Body::Unavailable => message.message(7, "publish", |_| {}),
        Body::Ping => message.message(11, "ping", |_| {}),
        Body::Send { data: sent } => {
            message.message(12, "send", |message| data(message, 1, *sent));
        }
        Body::Rpc { method, data: params } => message.message(13, "rpc", |message| {
            data(message, 1, *params);
            message.text(2, "method", method);
        }),
        Body::Refresh { token } => {
            message.message(14, "refresh", |message| message.text(1, "token", token));
        }
    }
}

fn data(message: &mut Message<'_>, field: u32, data: Option<&[u8]>) {
    message.data(field, "data", Data::Json(data.unwrap_or_default()));
}

/// Something that the server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The id of the command that it answers; 0 for a ping and for a push.
    pub id: u32,
    /// What it says.
    pub answer: Answer<'a>,
}

/// What the server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The server asks for a pong.
    Ping,
    /// To `connect`.
    Connected(Connected<'a>),
    /// To `subscribe`.
    Subscribed(Subscribed<'a>),
    /// To `unsubscribe`.
    Unsubscribed,
    /// To `rpc`: a JSON text.
    Rpc(&'a [u8]),
    /// To `refresh`.
    Refreshed {
        /// Seconds until the token expires, if it does.
        ttl: Option<u32>,
    },
    /// To `ping`.
    Pong,
    /// To any command.
    Error {
        /// See [`codes`](super::codes).
        code: u32,
        /// What is wrong.
        message: &'a str,
        /// Whether it may succeed later.
        temporary: bool,
    },
    /// Not asked for.
    Push {
        /// The channel that it is about; empty for the connection.
        channel: &'a str,
        /// The news.
        push: Push<'a>,
    },
    /// An answer to a command that this client does not have.
    Unknown,
}

/// News.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push<'a> {
    /// A state of the channel.
    Publication(Publication<'a>),
    /// The subscription is over.
    Unsubscribe {
        /// From 2500: subscribe again.
        code: u32,
        /// Why.
        reason: &'a str,
    },
    /// The connection is over.
    Disconnect {
        /// As in the close frame that follows.
        code: u32,
        /// Why.
        reason: &'a str,
    },
    /// To be ignored.
    Unknown,
}

/// The server does not speak the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a reply")]
pub struct BadReply;

impl From<Malformed> for BadReply {
    fn from(_: Malformed) -> Self {
        Self
    }
}

/// The replies and pushes of one message in their order; made by [`replies`].
#[derive(Debug)]
pub struct Replies<'a>(&'a [u8]);

/// Reads the replies and pushes of one message in Protobuf. Nothing follows after the first error.
pub fn replies(message: &[u8]) -> Replies<'_> {
    Replies(message)
}

impl<'a> Iterator for Replies<'a> {
    type Item = Result<Reply<'a>, BadReply>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let reply = prefixed(&mut self.0).and_then(reply);
        if reply.is_err() {
            self.0 = &[];
        }
        Some(reply.map_err(BadReply::from))
    }
}

/// Of several answers in one reply the last one counts.
fn reply(bytes: &[u8]) -> Result<Reply<'_>, Malformed> {
    let mut id = 0;
    let mut answer = None;
    for field in Fields(bytes) {
        match field? {
            (1, Value::Number(number)) => id = number as u32,
            (2, Value::Bytes(body)) => answer = Some(error(body)?),
            (4, Value::Bytes(body)) => answer = Some(push(body)?),
            (5, Value::Bytes(body)) => answer = Some(Answer::Connected(connected(body)?)),
            (6, Value::Bytes(body)) => answer = Some(Answer::Subscribed(subscribed(body)?)),
            (7, Value::Bytes(_)) => answer = Some(Answer::Unsubscribed),
            (12, Value::Bytes(_)) => answer = Some(Answer::Pong),
            (13, Value::Bytes(body)) => answer = Some(Answer::Rpc(bytes_of(body, 1)?)),
            (14, Value::Bytes(body)) => answer = Some(Answer::Refreshed { ttl: ttl(body)? }),
            _ => {}
        }
    }
    let otherwise = if id == 0 { Answer::Ping } else { Answer::Unknown };
    Ok(Reply { id, answer: answer.unwrap_or(otherwise) })
}

fn connected(body: &[u8]) -> Result<Connected<'_>, Malformed> {
    let mut connected = Connected { ttl: ttl(body)?, ..Connected::default() };
    for field in Fields(body) {
        match field? {
            (1, Value::Bytes(bytes)) => connected.client = text(bytes)?,
            (2, Value::Bytes(bytes)) => connected.version = text(bytes)?,
            (7, Value::Number(number)) => connected.ping_s = number as u32,
            _ => {}
        }
    }
    Ok(connected)
}

/// The time to live in a reply to `connect` or `refresh`: two fields that belong together.
fn ttl(body: &[u8]) -> Result<Option<u32>, Malformed> {
    let (mut expires, mut ttl) = (false, 0);
    for field in Fields(body) {
        match field? {
            (3, Value::Number(number)) => expires = number != 0,
            (4, Value::Number(number)) => ttl = number as u32,
            _ => {}
        }
    }
    Ok(expires.then_some(ttl))
}

fn subscribed(body: &[u8]) -> Result<Subscribed<'_>, Malformed> {
    let mut subscribed = Subscribed::default();
    for field in Fields(body) {
        match field? {
            (3, Value::Number(number)) => subscribed.recoverable = number != 0,
            (6, Value::Bytes(bytes)) => subscribed.epoch = text(bytes)?,
            (7, Value::Bytes(bytes)) => subscribed.publication = Some(publication(bytes)?),
            (8, Value::Number(number)) => subscribed.recovered = number != 0,
            (9, Value::Number(number)) => subscribed.offset = number,
            (10, Value::Number(number)) => subscribed.positioned = number != 0,
            (12, Value::Number(number)) => subscribed.was_recovering = number != 0,
            (13, Value::Number(number)) => subscribed.delta = number != 0,
            _ => {}
        }
    }
    Ok(subscribed)
}

fn publication(body: &[u8]) -> Result<Publication<'_>, Malformed> {
    let (mut offset, mut delta) = (0, false);
    for field in Fields(body) {
        match field? {
            (6, Value::Number(number)) => offset = number,
            (8, Value::Number(number)) => delta = number != 0,
            _ => {}
        }
    }
    let data = bytes_of(body, 4)?;
    Ok(Publication { offset, data: if delta { Data::Delta(data) } else { Data::Json(data) } })
}

fn push(body: &[u8]) -> Result<Answer<'_>, Malformed> {
    let channel = text(bytes_of(body, 2)?)?;
    let mut push = Push::Unknown;
    for field in Fields(body) {
        match field? {
            (4, Value::Bytes(body)) => push = Push::Publication(publication(body)?),
            (7, Value::Bytes(body)) => {
                let (code, reason) = (number_of(body, 2)? as u32, text(bytes_of(body, 3)?)?);
                push = Push::Unsubscribe { code, reason };
            }
            (11, Value::Bytes(body)) => {
                let (code, reason) = (number_of(body, 1)? as u32, text(bytes_of(body, 2)?)?);
                push = Push::Disconnect { code, reason };
            }
            _ => {}
        }
    }
    Ok(Answer::Push { channel, push })
}

fn error(body: &[u8]) -> Result<Answer<'_>, Malformed> {
    let code = number_of(body, 1)? as u32;
    let message = text(bytes_of(body, 2)?)?;
    Ok(Answer::Error { code, message, temporary: number_of(body, 3)? != 0 })
}

/// The bytes of one field; none if it is absent.
fn bytes_of(body: &[u8], field: u64) -> Result<&[u8], Malformed> {
    let mut found: &[u8] = &[];
    for next in Fields(body) {
        match next? {
            (number, Value::Bytes(bytes)) if number == field => found = bytes,
            _ => {}
        }
    }
    Ok(found)
}

/// The number in one field; 0 if it is absent.
fn number_of(body: &[u8], field: u64) -> Result<u64, Malformed> {
    let mut found = 0;
    for next in Fields(body) {
        match next? {
            (number, Value::Number(value)) if number == field => found = value,
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::super::codes::Close;
    use super::super::{Out, Subscribe, commands};
    use super::*;

    /// What commands and answers are made of.
    #[derive(Debug, Clone)]
    struct Parts {
        kind: usize,
        id: u32,
        texts: [String; 2],
        numbers: (u64, u32, Option<u32>),
        flags: [bool; 6],
        data: Option<&'static str>,
        is_delta: bool,
    }

    const JSON: [&str; 5] = ["7", "{}", r#"{"a":["\\","\"é😀"]}"#, "\"\\u0000\"", "[[[]]]"];

    fn parts() -> impl Strategy<Value = Parts> {
        let number = || prop_oneof![0..300u64, any::<u64>()];
        let small = || prop_oneof![0..300u32, any::<u32>()];
        let numbers = (number(), small(), proptest::option::of(1..=u32::MAX));
        let texts = [any::<String>(), any::<String>()];
        let data = proptest::option::of(select(&JSON));
        (0..100usize, 1..=u32::MAX, texts, numbers, any::<[bool; 6]>(), data, any::<bool>())
            .prop_map(|(kind, id, texts, numbers, flags, data, is_delta)| Parts {
                kind,
                id,
                texts,
                numbers,
                flags,
                data,
                is_delta,
            })
    }

    fn command_of(parts: &Parts) -> Command<'_> {
        let [first, second] = parts.texts.each_ref().map(|text| text.as_str().into());
        let data = parts.data.map(str::as_bytes);
        let body = match parts.kind % 9 {
            0 => return Command { id: 0, body: Body::Pong },
            1 => Body::Connect { token: first },
            2 => Body::Subscribe(Subscribe {
                channel: first,
                data,
                recover: parts.flags[0],
                offset: parts.numbers.0,
                epoch: second,
                delta: parts.flags[1],
            }),
            3 => Body::Unsubscribe { channel: first },
            4 => Body::Rpc { method: first, data },
            5 => Body::Refresh { token: first },
            6 => Body::Ping,
            7 => return Command { id: 0, body: Body::Send { data } },
            _ => Body::Unavailable,
        };
        Command { id: parts.id, body }
    }

    fn answer_of(parts: &Parts) -> Reply<'_> {
        let Parts { id, flags, .. } = *parts;
        let [first, second] = parts.texts.each_ref().map(String::as_str);
        // What must not be empty is not.
        let reason = if second.is_empty() { "why" } else { second };
        let (offset, small, ttl) = parts.numbers;
        let bytes = parts.data.unwrap_or("{}").as_bytes();
        let data = if parts.is_delta { Data::Delta(bytes) } else { Data::Json(bytes) };
        let publication = Publication { offset, data };
        let push = |channel, push| Reply { id: 0, answer: Answer::Push { channel, push } };
        let answer = match parts.kind % 11 {
            0 => return Reply { id: 0, answer: Answer::Ping },
            1 => {
                Answer::Connected(Connected { client: first, version: second, ping_s: small, ttl })
            }
            2 => Answer::Subscribed(Subscribed {
                recoverable: flags[0],
                positioned: flags[1],
                epoch: first,
                offset,
                delta: flags[2],
                was_recovering: flags[3],
                recovered: flags[4],
                publication: flags[5].then_some(publication),
            }),
            3 => Answer::Unsubscribed,
            4 => Answer::Rpc(bytes),
            5 => Answer::Refreshed { ttl },
            6 => Answer::Pong,
            7 => Answer::Error { code: small, message: reason, temporary: flags[0] },
            8 => return push(first, Push::Publication(publication)),
            9 => return push(first, Push::Unsubscribe { code: small, reason }),
            _ => {
                let (code, reason) = (3001, "shutdown");
                return push("", Push::Disconnect { code, reason });
            }
        };
        Reply { id, answer }
    }

    fn write(out: &mut Out<'_>, Reply { id, answer }: Reply<'_>) {
        match answer {
            Answer::Ping => out.ping(),
            Answer::Connected(reply) => out.connected(id, &reply),
            Answer::Subscribed(reply) => out.subscribed(id, &reply),
            Answer::Unsubscribed => out.unsubscribed(id),
            Answer::Rpc(data) => out.rpc(id, data),
            Answer::Refreshed { ttl } => out.refreshed(id, ttl),
            Answer::Pong => out.pong(id),
            Answer::Error { code, message, temporary } => out.error(id, code, message, temporary),
            Answer::Push { channel, push } => match push {
                Push::Publication(publication) => out.publication(channel, publication),
                Push::Unsubscribe { code, reason } => out.unsubscribe_push(channel, code, reason),
                Push::Disconnect { .. } => {
                    out.disconnect_push(Close::Shutdown);
                }
                Push::Unknown => unreachable!("nobody writes it"),
            },
            Answer::Unknown => unreachable!("nobody writes it"),
        }
    }

    fn written(encoding: Encoding, answers: &[Reply<'_>]) -> Vec<u8> {
        let mut payload = Vec::new();
        let mut out = Out::new(encoding, &mut payload);
        for answer in answers {
            write(&mut out, *answer);
        }
        payload
    }

    proptest! {
        #[test]
        fn commands_are_read_as_they_were_written(all in proptest::collection::vec(parts(), 0..5)) {
            for encoding in [Encoding::Json, Encoding::Protobuf] {
                let mut payload = Vec::new();
                for parts in &all {
                    command(encoding, &command_of(parts), &mut payload);
                }
                let read: Vec<_> = commands(encoding, &payload).collect();
                prop_assert_eq!(read, all.iter().map(|parts| Ok(command_of(parts))).collect::<Vec<_>>());
            }
        }

        #[test]
        fn answers_are_read_as_they_were_written(all in proptest::collection::vec(parts(), 0..5)) {
            let answers: Vec<_> = all.iter().map(answer_of).collect();
            let payload = written(Encoding::Protobuf, &answers);
            let read: Vec<_> = replies(&payload).collect();
            prop_assert_eq!(read, answers.into_iter().map(Ok).collect::<Vec<_>>());
        }

        #[test]
        fn answers_are_one_line_of_json_each(all in proptest::collection::vec(parts(), 1..5)) {
            let answers: Vec<_> = all.iter().map(answer_of).collect();
            let payload = String::from_utf8(written(Encoding::Json, &answers)).unwrap();
            let lines: Vec<_> = payload.split('\n').collect();
            prop_assert_eq!(lines.len(), answers.len());
            for (line, Reply { id, answer }) in lines.into_iter().zip(answers) {
                let object: serde_json::Value = serde_json::from_str(line).unwrap();
                prop_assert_eq!(object["id"].as_u64().unwrap_or(0), u64::from(id));
                if let Answer::Push { channel, push: Push::Publication(publication) } = answer {
                    let (push, news) = (&object["push"], &object["push"]["pub"]);
                    prop_assert_eq!(push["channel"].as_str().unwrap_or(""), channel);
                    let data: serde_json::Value = match publication.data {
                        Data::Delta(text) => str::from_utf8(text).unwrap().into(),
                        Data::Json(json) | Data::Text(json) => serde_json::from_slice(json).unwrap(),
                    };
                    prop_assert_eq!(&news["data"], &data);
                    let is_delta = matches!(publication.data, Data::Delta(_));
                    prop_assert_eq!(news["delta"] == true, is_delta);
                }
            }
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes in any::<Vec<u8>>(), cut in any::<prop::sample::Index>()) {
            for encoding in [Encoding::Json, Encoding::Protobuf] {
                prop_assert!(commands(encoding, &bytes).count() <= bytes.len());
            }
            prop_assert!(replies(&bytes).count() <= bytes.len());
            // The same for messages that are nearly right.
            let mut payload = written(Encoding::Protobuf, &[answer_of(&sample())]);
            let at = cut.index(payload.len());
            payload[at] = bytes.first().copied().unwrap_or(0xff);
            prop_assert!(replies(&payload).count() <= payload.len());
        }
    }

    fn sample() -> Parts {
        let texts = ["epoch".to_owned(), String::new()];
        let numbers = (300, 0, None);
        Parts { kind: 2, id: 7, texts, numbers, flags: [true; 6], data: None, is_delta: true }
    }

    #[test]
    fn what_a_client_does_not_know_is_told_from_a_ping() {
        let unknown_reply = Reply { id: 5, answer: Answer::Unknown };
        assert_eq!(replies(b"\x04\x08\x05\x42\x00").collect::<Vec<_>>(), [Ok(unknown_reply)]);
        let answer = Answer::Push { channel: "c", push: Push::Unknown };
        let join = b"\x07\x22\x05\x12\x01\x63\x2a\x00";
        assert_eq!(replies(join).collect::<Vec<_>>(), [Ok(Reply { id: 0, answer })]);
    }

    #[test]
    fn the_newest_of_several_missed_publications_counts() {
        // Two publications with the offsets 1 and 2.
        let message = b"\x0c\x08\x01\x32\x08\x3a\x02\x30\x01\x3a\x02\x30\x02";
        let Some(Ok(Reply { answer: Answer::Subscribed(reply), .. })) = replies(message).next()
        else {
            panic!("a reply to subscribe");
        };
        assert_eq!(reply.publication, Some(Publication { offset: 2, data: Data::Json(b"") }));
    }

    #[test]
    fn broken_replies_end_the_message() {
        for message in
            [&b"\x01\x08"[..], b"\x01\x07", b"\x04\x22\x02\x12\x05", b"\x05\x22\x03\x12\x01\xff"]
        {
            let message = [message, &[0]].concat();
            assert_eq!(replies(&message).collect::<Vec<_>>(), [Err(BadReply)], "{message:02x?}");
        }
    }

    #[test]
    fn what_sdks_need_is_never_left_out() {
        let mut payload = Vec::new();
        let mut out = Out::new(Encoding::Protobuf, &mut payload);
        out.refreshed(1, Some(0));
        out.error(2, 107, "", false);
        out.unsubscribe_push("c", 2500, "");
        let read: Vec<_> = replies(&payload).map(|reply| reply.unwrap().answer).collect();
        let reason = "no reason given";
        let push = Push::Unsubscribe { code: 2500, reason };
        let expected = [
            Answer::Refreshed { ttl: Some(1) },
            Answer::Error { code: 107, message: reason, temporary: false },
            Answer::Push { channel: "c", push },
        ];
        assert_eq!(read, expected);
    }
}
