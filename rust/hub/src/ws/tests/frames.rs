//! Single frames: the examples of RFC 6455, every limit, and everything that is wrong.

use super::feed::{Heard, feed};
use super::frame::{
    Broken, Decoder, HEAD_BYTES, Limits, Opcode, ServerFrame, binary, close, header, masked, pong,
    room, server_frame, text,
};

const LIMITS: Limits = Limits { message_bytes: 1 << 17, fragments: 3 };

fn hear(bytes: &[u8]) -> (Vec<Heard>, Option<Broken>) {
    feed(&[bytes], &LIMITS)
}

fn said(text: &str) -> Heard {
    Heard::Text(text.to_owned())
}

/// A frame whose mask is zero, so that it can be read; `first` has the flags and the opcode.
fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            frame.push(0xfe);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0xff);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

#[test]
fn an_idle_decoder_is_one_pointer() {
    assert_eq!(size_of::<Decoder>(), size_of::<usize>());
}

/// RFC 6455, 5.7.
#[test]
fn examples_of_the_standard() {
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(hear(&hello), (vec![said("Hello")], None));
    let mut own = Vec::new();
    masked(&mut own, Opcode::Text, [0x37, 0xfa, 0x21, 0x3d], b"Hello");
    assert_eq!(own, hello);

    let pong_hello = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(hear(&pong_hello), (vec![Heard::Pong], None));

    let fragmented = [plain(0x01, b"Hel"), plain(0x80, b"lo")].concat();
    assert_eq!(hear(&fragmented), (vec![Heard::Fragment, said("Hello")], None));

    let mut own = Vec::new();
    text(&mut own, b"Hello");
    assert_eq!(own, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    own.clear();
    pong(&mut own, b"Hello");
    assert_eq!(own, [0x8a, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    own.clear();
    binary(&mut own, &[7; 256]);
    assert_eq!(own, [&[0x82, 0x7e, 0x01, 0x00][..], &[7; 256]].concat());
    own.clear();
    binary(&mut own, &vec![7; 65536]);
    assert_eq!(own[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!(own.len(), 10 + 65536);
}

#[test]
fn lengths_around_their_forms() {
    for (length, size) in [(0, 2), (1, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)] {
        let payload = vec![b'x'; length];
        assert_eq!(header(Opcode::Binary, length).len(), size);
        assert_eq!(hear(&plain(0x82, &payload)), (vec![Heard::Binary(payload.clone())], None));

        let mut own = Vec::new();
        masked(&mut own, Opcode::Binary, [1, 2, 3, 4], &payload);
        assert_eq!(own.len(), size + 4 + length);
        assert_eq!(hear(&own), (vec![Heard::Binary(payload.clone())], None));

        let mut server = Vec::new();
        binary(&mut server, &payload);
        let (fin, opcode) = (true, Opcode::Binary);
        let frame = ServerFrame { size: server.len(), fin, opcode, payload: &payload };
        assert_eq!(server_frame(&server, length), Ok(Some(frame)));
        for cut in [0, 1, size - 1, server.len() - 1] {
            assert_eq!(server_frame(&server[..cut], length), Ok(None), "{cut} of {length}");
        }
        if let Some(less) = length.checked_sub(1) {
            assert_eq!(server_frame(&server[..size], less), Err(Broken::TooLarge));
        }
    }
}

#[test]
fn a_mask_changes_every_byte_of_any_length() {
    let payload: Vec<u8> = (0..40).collect();
    let mask = [0x11, 0x22, 0x44, 0x88];
    for length in 0..payload.len() {
        let mut frame = Vec::new();
        masked(&mut frame, Opcode::Binary, mask, &payload[..length]);
        for (at, byte) in frame[6..].iter().enumerate() {
            assert_eq!(*byte, payload[at] ^ mask[at % 4]);
        }
        assert_eq!(hear(&frame), (vec![Heard::Binary(payload[..length].to_vec())], None));
    }
}

#[test]
fn what_is_wrong_gets_its_code() {
    let part = plain(0x01, b"a");
    let length = |first, form: &[u8]| [&[first], form].concat();
    let cases: &[(&str, Vec<u8>, u16)] = &[
        ("reserved bit 1", plain(0xc1, b""), 1002),
        ("reserved bit 2", plain(0xa1, b""), 1002),
        ("reserved bit 3", plain(0x91, b""), 1002),
        ("opcode 3", plain(0x83, b""), 1002),
        ("opcode 7", plain(0x87, b""), 1002),
        ("opcode 11", plain(0x8b, b""), 1002),
        ("opcode 15", plain(0x8f, b""), 1002),
        ("no mask", vec![0x81, 0x00], 1002),
        ("ping in parts", plain(0x09, b""), 1002),
        ("close in parts", plain(0x08, b""), 1002),
        ("ping of 126 bytes", plain(0x89, &[0; 126]), 1002),
        ("close of 126 bytes", plain(0x88, &[0; 126]), 1002),
        ("pong in the form for 8 bytes", length(0x8a, &[0xff]), 1002),
        ("125 in 2 bytes", length(0x82, &[0xfe, 0, 125]), 1002),
        ("65535 in 8 bytes", length(0x82, &[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), 1002),
        ("top bit of a length", length(0x82, &[0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]), 1002),
        ("largest length", length(0x82, &[0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255]), 1009),
        ("a rest of nothing", plain(0x80, b"a"), 1002),
        ("a part of nothing", plain(0x00, b"a"), 1002),
        ("text within text", [part.clone(), plain(0x81, b"")].concat(), 1002),
        ("parts within text", [part.clone(), plain(0x01, b"")].concat(), 1002),
        ("bytes within text", [part.clone(), plain(0x82, b"")].concat(), 1002),
        ("bytes that are not text", plain(0x81, b"\xff"), 1007),
        ("half a character", plain(0x81, "é".as_bytes().split_at(1).0), 1007),
        ("a surrogate", plain(0x81, b"\xed\xa0\x80"), 1007),
        ("half a character, in parts", [part.clone(), plain(0x80, b"\xc3")].concat(), 1007),
        ("a wrong part, early", [part.clone(), plain(0x00, b"\xf4\x90")].concat(), 1007),
        ("a wrong first part", plain(0x01, b"a\xff"), 1007),
        ("half a close code", plain(0x88, &[3]), 1002),
        ("a reason that is not text", plain(0x88, &[3, 0xe8, 0xff]), 1007),
    ];
    for (what, bytes, code) in cases {
        let (_, broken) = hear(bytes);
        assert_eq!(broken.map(Broken::code), Some(*code), "{what}");
    }
    // The text that is wrong so early was right in the part before.
    assert_eq!(hear(&part), (vec![Heard::Fragment], None));
}

#[test]
fn close_codes() {
    assert_eq!(hear(&plain(0x88, b"")), (vec![Heard::Close(None)], None));
    for code in 0..=u16::MAX {
        let bytes = plain(0x88, &code.to_be_bytes());
        let good = matches!(code, 1000 | 1001 | 1002 | 1003 | 3000..5000)
            || [1007, 1008, 1009, 1010, 1011].contains(&code);
        match hear(&bytes) {
            (heard, None) => assert!(good && heard == [Heard::Close(Some(code))], "{code}"),
            (_, Some(broken)) => assert!(!good && broken.code() == 1002, "{code}"),
        }
    }
}

#[test]
fn control_frames_come_between_fragments() {
    let most = vec![b'p'; 125];
    let bytes = [plain(0x01, b"\xc3"), plain(0x89, &most), plain(0x8a, b"q"), plain(0x80, b"\xa9")]
        .concat();
    let heard = vec![Heard::Fragment, Heard::Ping(most), Heard::Pong, said("é")];
    assert_eq!(hear(&bytes), (heard, None));
}

#[test]
fn limits_hold_exactly() {
    let limits = Limits { message_bytes: 300, fragments: 3 };
    let bytes = |length| plain(0x82, &vec![0; length]);
    let whole = |length| Heard::Binary(vec![0; length]);
    assert_eq!(feed(&[&bytes(300)[..]], &limits), (vec![whole(300)], None));
    // The head alone is enough to refuse, without its mask.
    assert_eq!(feed(&[&bytes(301)[..4]], &limits), (vec![], Some(Broken::TooLarge)));

    let parts = |first, rest| [plain(0x02, &vec![0; first]), plain(0x80, &vec![0; rest])].concat();
    let heard = vec![Heard::Fragment, whole(300)];
    assert_eq!(feed(&[&parts(120, 180)[..]], &limits), (heard, None));
    let heard = vec![Heard::Fragment];
    assert_eq!(feed(&[&parts(120, 181)[..]], &limits), (heard, Some(Broken::TooLarge)));

    let (first, more, last) = (plain(0x02, b""), plain(0x00, b""), plain(0x80, b""));
    let three = [&first[..], &more, &last];
    let heard = vec![Heard::Fragment, Heard::Fragment, whole(0)];
    assert_eq!(feed(&three, &limits), (heard, None));
    let four = [&first[..], &more, &more, &last];
    let heard = vec![Heard::Fragment; 3];
    assert_eq!(feed(&four, &limits), (heard, Some(Broken::TooLarge)));
}

#[test]
fn nothing_is_kept_of_a_message_that_is_over() {
    let mut decoder = Decoder::default();
    let mut bytes = [plain(0x01, b"Hel"), plain(0x80, b"lo")].concat();
    let mut at = 0;
    while let Ok(Some((size, _))) = decoder.next(&mut bytes[at..], &LIMITS) {
        at += size;
    }
    assert_eq!(at, bytes.len());
    assert_eq!(format!("{decoder:?}"), "Decoder(None)");
}

#[test]
fn room_is_the_size_of_the_frame() {
    let frame = plain(0x82, &[0; 200]);
    assert_eq!(room(&frame[..4]), frame.len());
    assert_eq!(room(&frame[..3]), HEAD_BYTES);
    assert_eq!(room(&plain(0x89, b"12")), 8);
}

#[test]
fn reasons_are_cut_at_a_character() {
    for (reason, kept) in [
        ("", 0),
        ("bye", 3),
        (&"x".repeat(123), 123),
        (&"x".repeat(124), 123),
        (&"é".repeat(62), 122),
    ] {
        let mut frame = Vec::new();
        close(&mut frame, 3001, reason);
        assert_eq!(frame[..4], [0x88, kept as u8 + 2, 0x0b, 0xb9], "{reason}");
        assert_eq!(frame[4..], reason.as_bytes()[..kept], "{reason}");
    }
}

#[test]
fn a_pong_is_a_control_frame_whatever_it_says() {
    let mut frame = Vec::new();
    pong(&mut frame, &[1; 126]);
    assert_eq!(frame, [&[0x8a, 125][..], &[1; 125]].concat());
}

#[test]
fn a_server_masks_nothing() {
    assert!(matches!(server_frame(&plain(0x81, b"a"), 10), Err(Broken::Protocol(_))));
    let part = server_frame(&[0x01, 0x01, b'a', 0xff], 10);
    let frame = ServerFrame { size: 3, fin: false, opcode: Opcode::Text, payload: b"a" };
    assert_eq!(part, Ok(Some(frame)));
}
