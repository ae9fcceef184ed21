//! A client's bytes through a decoder, in pieces, as a connection does it. Also of use to fuzzing.

use super::frame::{Broken, CONTROL_BYTES, Decoder, Event, HEAD_BYTES, Limits, room};

/// An event that outlives its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    Fragment,
}

impl From<Event<'_>> for Heard {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.to_owned()),
            Event::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Event::Ping(bytes) => Self::Ping(bytes.to_vec()),
            Event::Pong => Self::Pong,
            Event::Close(code) => Self::Close(code),
            Event::Fragment => Self::Fragment,
        }
    }
}

/// What a decoder makes of `pieces`, up to its first error. In between it sees that the decoder
/// leaves incomplete frames alone and asks for no more room than the limits allow.
pub(crate) fn feed(pieces: &[&[u8]], limits: &Limits) -> (Vec<Heard>, Option<Broken>) {
    let (mut decoder, mut buffer, mut heard) = (Decoder::default(), Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let before = buffer.clone();
            match decoder.next(&mut buffer, limits) {
                Ok(Some((size, event))) => {
                    heard.push(event.into());
                    buffer.drain(..size);
                }
                Ok(None) => {
                    assert_eq!(buffer, before);
                    let room = room(&buffer);
                    assert!(buffer.len() < room);
                    assert!(room <= HEAD_BYTES + limits.message_bytes.max(CONTROL_BYTES));
                    break;
                }
                Err(broken) => return (heard, Some(broken)),
            }
        }
    }
    (heard, None)
}
