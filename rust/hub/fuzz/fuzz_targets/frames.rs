//! Decodes what a client could send in one piece and in many, and compares.
#![no_main]

use libfuzzer_sys::arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use rankwire_hub::ws::frame;
use rankwire_hub::ws::frame::{Limits, server_frame};

#[path = "../../src/ws/tests/feed.rs"]
mod feed;

use feed::{Heard, feed};

#[derive(Arbitrary, Debug)]
struct Input {
    message_bytes: u8,
    fragments: u8,
    frames: Vec<Frame>,
    /// Sizes of pieces, over and over.
    pieces: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
enum Frame {
    /// A good frame that may come at this point, with any payload.
    Good { kind: u8, last: bool, mask: [u8; 4], payload: Vec<u8> },
    /// A length in the form for 2 or 8 bytes, whatever it is.
    Long { first: u8, eight: bool, length: u64, rest: Vec<u8> },
    /// Any bytes.
    Raw(Vec<u8>),
}

impl Frame {
    /// Appends the frame. `open` says whether a message has begun and not ended.
    fn write(&self, open: &mut bool, out: &mut Vec<u8>) {
        match self {
            Self::Good { kind, last, mask, payload } => {
                let opcode = match kind % 8 {
                    0 => 8,
                    1 => 9,
                    2 => 10,
                    _ if *open => 0,
                    data => 1 + data % 2,
                };
                let last = *last || opcode > 2;
                *open = if opcode > 2 { *open } else { !last };
                let payload = &payload[..payload.len().min(125)];
                out.extend([u8::from(last) << 7 | opcode, 0x80 | payload.len() as u8]);
                out.extend(mask);
                out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
            }
            Self::Long { first, eight: false, length, rest } => {
                out.extend([*first, 0xfe]);
                out.extend((*length as u16).to_be_bytes());
                out.extend(rest);
            }
            Self::Long { first, eight: true, length, rest } => {
                out.extend([*first, 0xff]);
                out.extend(length.to_be_bytes());
                out.extend(rest);
            }
            Self::Raw(bytes) => out.extend(bytes),
        }
    }
}

fn pieces<'a>(mut bytes: &'a [u8], sizes: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut sizes = sizes.iter().cycle();
    while !bytes.is_empty() {
        let size = sizes.next().map_or(1, |size| usize::from(*size).clamp(1, bytes.len()));
        let (piece, rest) = bytes.split_at(size);
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fuzz_target!(|input: Input| {
    let (mut open, mut bytes) = (false, Vec::new());
    for frame in &input.frames {
        frame.write(&mut open, &mut bytes);
    }
    let limits = Limits {
        message_bytes: usize::from(input.message_bytes),
        fragments: u32::from(input.fragments),
    };
    let whole = feed(&[&bytes], &limits);
    assert_eq!(feed(&pieces(&bytes, &input.pieces), &limits), whole);
    for heard in &whole.0 {
        assert!(match heard {
            Heard::Text(text) => text.len() <= limits.message_bytes,
            Heard::Binary(bytes) => bytes.len() <= limits.message_bytes,
            Heard::Ping(bytes) => bytes.len() <= frame::CONTROL_BYTES,
            Heard::Pong | Heard::Close(_) | Heard::Fragment => true,
        });
    }
    if let Ok(Some(frame)) = server_frame(&bytes, limits.message_bytes) {
        assert!(frame.size <= bytes.len() && frame.payload.len() <= limits.message_bytes);
    }
});
