//! Random conversations: whatever the fragments and the pieces, the same messages come out.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::feed::{Heard, feed};
use super::frame::{Limits, Opcode, masked};

const LIMITS: Limits = Limits { message_bytes: 70_000, fragments: 16 };

/// A message, where it is cut into fragments, and a control frame before each of these.
#[derive(Debug, Clone)]
struct Message {
    said: Heard,
    cuts: Vec<Index>,
    between: Vec<Heard>,
}

fn payload(heard: &Heard) -> (Opcode, Vec<u8>) {
    match heard {
        Heard::Text(text) => (Opcode::Text, text.clone().into_bytes()),
        Heard::Binary(bytes) => (Opcode::Binary, bytes.clone()),
        Heard::Ping(bytes) => (Opcode::Ping, bytes.clone()),
        Heard::Pong => (Opcode::Pong, b"any".to_vec()),
        Heard::Close(None) => (Opcode::Close, Vec::new()),
        Heard::Close(Some(code)) => {
            (Opcode::Close, [&code.to_be_bytes()[..], "tschüß".as_bytes()].concat())
        }
        Heard::Fragment => (Opcode::Continuation, Vec::new()),
    }
}

impl Message {
    /// Appends the frames to `bytes` and what is to be heard of them to `heard`.
    fn send(&self, mask: [u8; 4], bytes: &mut Vec<u8>, heard: &mut Vec<Heard>) {
        let (mut opcode, payload) = payload(&self.said);
        let mut cuts: Vec<_> = self.cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
        cuts.sort_unstable();
        let mut start = 0;
        let mut between = self.between.iter();
        for cut in cuts {
            let frame = bytes.len();
            masked(bytes, opcode, mask, &payload[start..cut]);
            bytes[frame] &= !0x80;
            heard.push(Heard::Fragment);
            if let Some(control) = between.next() {
                send_whole(control, mask, bytes);
                heard.push(control.clone());
            }
            (start, opcode) = (cut, Opcode::Continuation);
        }
        masked(bytes, opcode, mask, &payload[start..]);
        heard.push(self.said.clone());
    }
}

fn send_whole(heard: &Heard, mask: [u8; 4], bytes: &mut Vec<u8>) {
    let (opcode, payload) = payload(heard);
    masked(bytes, opcode, mask, &payload);
}

fn controls() -> impl Strategy<Value = Heard> {
    prop_oneof![
        vec(any::<u8>(), 0..=125).prop_map(Heard::Ping),
        Just(Heard::Pong),
        proptest::option::of(3000_u16..5000).prop_map(Heard::Close),
    ]
}

fn contents() -> impl Strategy<Value = Heard> {
    prop_oneof![
        8 => "\\PC{0,40}".prop_map(Heard::Text),
        4 => vec(any::<u8>(), 0..300).prop_map(Heard::Binary),
        1 => (any::<char>(), 10_000_usize..17_000)
            .prop_map(|(letter, times)| Heard::Text(letter.to_string().repeat(times))),
    ]
}

fn messages() -> impl Strategy<Value = Message> {
    (contents(), vec(any::<Index>(), 0..6), vec(controls(), 0..6))
        .prop_map(|(said, cuts, between)| Message { said, cuts, between })
}

proptest! {
    #[test]
    fn fragments_and_pieces_change_nothing(
        messages in vec((any::<[u8; 4]>(), messages()), 0..6),
        cuts in vec(any::<Index>(), 0..20),
        single in any::<bool>(),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (mask, message) in &messages {
            message.send(*mask, &mut bytes, &mut expected);
        }
        let pieces: Vec<_> = if single && bytes.len() < 4000 {
            bytes.chunks(1).collect()
        } else {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            cuts.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
        };
        prop_assert_eq!(feed(&pieces, &LIMITS), (expected, None));
    }
}
