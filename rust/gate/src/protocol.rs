//! The codecs of the live door: frames, and commands in both encodings.

use std::hint::black_box;

use rankwire_hub::centrifuge::{Body, Command, Encoding, Subscribe, client, commands};
use rankwire_hub::delta::Encoder;
use rankwire_hub::ws::frame::{self, Decoder, Event, Limits, Opcode};

use crate::{Measured, Path, measured};

pub(crate) const PATHS: &[Path] = &[
    ("frame-mask", mask),
    ("frame-encode", encode),
    ("frame-decode", decode),
    ("command-subscribe-json", || command(Encoding::Json, &subscribe())),
    ("command-subscribe-protobuf", || command(Encoding::Protobuf, &subscribe())),
    ("command-submit-json", || command(Encoding::Json, &submit())),
    ("command-submit-protobuf", || command(Encoding::Protobuf, &submit())),
    ("delta-encode", delta),
];

const ROUNDS: usize = 1000;
const MASK: [u8; 4] = [0x5A, 0xC3, 0x17, 0x88];
const LIMITS: Limits = Limits { message_bytes: 32 * 1024, fragments: 64 };
const SUBMIT: &[u8] =
    br#"{"board":"cohort-17","member":"member-0000000001742","score":123450,"id":"7f3a9c"}"#;

fn subscribe() -> Body<'static> {
    let channel = "board:cohort-17:top:10".into();
    Body::Subscribe(Subscribe { channel, delta: true, ..Subscribe::default() })
}

fn submit() -> Body<'static> {
    Body::Rpc { method: "submit".into(), data: Some(SUBMIT) }
}

/// A message with this command.
pub(crate) fn message(encoding: Encoding, id: u32, body: Body<'_>) -> Vec<u8> {
    let mut message = Vec::new();
    client::command(encoding, &Command { id, body }, &mut message);
    message
}

/// Appends it as a client sends it.
pub(crate) fn masked(out: &mut Vec<u8>, encoding: Encoding, message: &[u8]) {
    let opcode = match encoding {
        Encoding::Json => Opcode::Text,
        Encoding::Protobuf => Opcode::Binary,
    };
    frame::masked(out, opcode, MASK, message);
}

fn mask() -> Measured {
    let message = message(Encoding::Json, 7, submit());
    let mut out = Vec::with_capacity(ROUNDS * 256);
    measured(&mut || (0..ROUNDS).for_each(|_| masked(&mut out, Encoding::Json, &message)));
    Ok(ROUNDS as u64)
}

fn encode() -> Measured {
    let state = state(0);
    let mut out = Vec::with_capacity(ROUNDS * (state.len() + 16));
    measured(&mut || (0..ROUNDS).for_each(|_| frame::text(&mut out, &state)));
    Ok(ROUNDS as u64)
}

fn decode() -> Measured {
    let message = message(Encoding::Json, 7, submit());
    let mut input = Vec::new();
    (0..ROUNDS).for_each(|_| masked(&mut input, Encoding::Json, &message));
    let (mut decoder, mut used, mut count) = (Decoder::default(), 0, 0);
    measured(&mut || {
        while let Ok(Some((size, Event::Text(text)))) = decoder.next(&mut input[used..], &LIMITS) {
            black_box(text);
            used += size;
            count += 1;
        }
    });
    Ok(count)
}

fn command(encoding: Encoding, body: &Body<'_>) -> Measured {
    let message = message(encoding, 7, body.clone());
    let mut count = 0;
    measured(&mut || {
        for _ in 0..ROUNDS {
            count += commands(encoding, black_box(&message)).flat_map(black_box).count();
        }
    });
    Ok(count as u64)
}

/// A state of the ten best, the last of whom has a score of its own.
fn state(last: usize) -> Vec<u8> {
    let row = |n: usize| {
        let score = if n == 9 { 900_000 + last } else { 1_000_000 - n };
        format!(r#"{{"member":"member-{:013}","score":{score}}}"#, n * 1742)
    };
    let rows: Vec<_> = (0..10).map(row).collect();
    format!(r#"{{"version":{},"total":20000,"entries":[{}]}}"#, 170 + last, rows.join(",")).into()
}

fn delta() -> Measured {
    let (old, new) = (state(0), state(1));
    let (mut encoder, mut out) = (Encoder::default(), Vec::with_capacity(1024));
    encoder.encode(&old, &new, &mut out);
    measured(&mut || {
        for _ in 0..ROUNDS {
            out.clear();
            encoder.encode(black_box(&old), &new, &mut out);
        }
    });
    Ok(ROUNDS as u64)
}
