//! The client's side of RFC 6455: the opening request, its response, and frames. No I/O.
//!
//! Promises to be an independent judge: it shares no code with the server, and what the server must
//! not send is a [`Fault`], never tolerated. Fragments are legal and still a fault here, because
//! Rankwire says that it sends none.

/// Largest payload that is taken, in bytes: far above every view.
const LARGEST_PAYLOAD: u64 = 16 << 20;

/// Largest response to the opening request, in bytes.
const LARGEST_RESPONSE: usize = 16 << 10;

/// The key of the example in RFC 6455, section 1.3, and the answer that belongs to it. The key only
/// has to be answered rightly, so a constant one saves the generator from SHA-1.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What the server did wrong, in words.
pub(crate) type Fault = String;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    /// Text, which is UTF-8.
    Text = 1,
    /// Bytes.
    Binary = 2,
    /// The end of the connection: a code and a reason.
    Close = 8,
    /// A question whether the other side lives.
    Ping = 9,
    /// The answer to it.
    Pong = 10,
}

/// One whole frame of the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// What it holds.
    pub(crate) opcode: Opcode,
    /// The payload.
    pub(crate) payload: &'a [u8],
    /// Bytes of the frame, header included.
    pub(crate) size: usize,
}

/// The opening request. `subprotocol` is offered if it is not empty.
pub(crate) fn request(host: &str, path: &str, subprotocol: &str) -> String {
    let offer = if subprotocol.is_empty() {
        String::new()
    } else {
        format!("Sec-WebSocket-Protocol: {subprotocol}\r\n")
    };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{offer}\r\n"
    )
}

/// Checks the response to the request. Returns its size in bytes, or nothing while it is not whole.
pub(crate) fn response(bytes: &[u8], subprotocol: &str) -> Result<Option<usize>, Fault> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if bytes.len() > LARGEST_RESPONSE {
            Err("handshake: endless response".to_owned())
        } else {
            Ok(None)
        };
    };
    let head = str::from_utf8(&bytes[..end]).map_err(|_| "handshake: not text".to_owned())?;
    let (status, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    if !status.starts_with("HTTP/1.1 101 ") {
        return Err(format!("handshake: {}", status.trim_start_matches("HTTP/1.1 ")));
    }
    let header = |name: &str| {
        headers
            .split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value.trim()))
    };
    if header("sec-websocket-accept") != Some(ACCEPT) {
        return Err("handshake: wrong Sec-WebSocket-Accept".to_owned());
    }
    for (name, value) in [("upgrade", "websocket"), ("connection", "upgrade")] {
        if !header(name).is_some_and(|found| found.eq_ignore_ascii_case(value)) {
            return Err(format!("handshake: wrong {name}"));
        }
    }
    if header("sec-websocket-protocol").unwrap_or("") != subprotocol {
        return Err("handshake: wrong subprotocol".to_owned());
    }
    Ok(Some(end + 4))
}

/// Takes the first frame of some bytes, or nothing while it is not whole.
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Frame<'_>>, Fault> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    let fault = |what: &str| Err(format!("frame: {what}"));
    if first & 0x70 != 0 {
        return fault("reserved bits");
    }
    if second & 0x80 != 0 {
        return fault("masked");
    }
    if first & 0x80 == 0 {
        return fault("fragment");
    }
    let opcode = match first & 0x0f {
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        _ => return fault("unknown opcode"),
    };
    let wide = match second {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some((extended, rest)) = rest.split_at_checked(wide) else { return Ok(None) };
    let number = extended.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let (length, smallest) = match wide {
        0 => (u64::from(*second), 0),
        2 => (number, 126),
        _ => (number, 1 << 16),
    };
    if length < smallest {
        return fault("length not in its shortest form");
    }
    if length > LARGEST_PAYLOAD {
        return fault("too large");
    }
    if opcode as u8 >= 8 && length > 125 {
        return fault("control frame too large");
    }
    let size = 2 + wide + length as usize;
    Ok(rest.get(..length as usize).map(|payload| Frame { opcode, payload, size }))
}

/// Appends a frame. Clients have to mask; the mask has to be unpredictable only for those whose
/// payload an attacker chooses, so any number will do.
pub(crate) fn encode(opcode: Opcode, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    out.push(0x80 | opcode as u8);
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            out.push(0xfe);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0xff);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// The code and the reason of a close frame, as one text.
pub(crate) fn close_reason(payload: &[u8]) -> String {
    match payload {
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            format!("{code} {}", String::from_utf8_lossy(reason)).trim_end().to_owned()
        }
        _ => "no code".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

    fn server_frame(head: &[u8], payload: &[u8]) -> Vec<u8> {
        [head, payload].concat()
    }

    #[test]
    fn frames_of_all_lengths_are_taken_and_wait_for_their_last_byte() {
        let long = vec![7; 70_000];
        let cases: [(Vec<u8>, &[u8]); 5] = [
            (vec![0x81, 0], b""),
            (vec![0x81, 125], &long[..125]),
            (vec![0x82, 126, 0, 126], &long[..126]),
            (vec![0x82, 126, 0xff, 0xff], &long[..0xffff]),
            (vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70], &long),
        ];
        for (head, payload) in cases {
            let mut bytes = server_frame(&head, payload);
            let size = bytes.len();
            for cut in [1, head.len() - 1, size - 1] {
                assert_eq!(decode(&bytes[..cut]), Ok(None), "{size} {cut}");
            }
            bytes.extend_from_slice(b"next");
            let frame = decode(&bytes).unwrap().unwrap();
            assert_eq!((frame.payload, frame.size), (payload, size));
        }
    }

    #[test]
    fn what_a_server_must_not_send_is_a_fault() {
        let bad: [(&[u8], &str); 8] = [
            (&[0xc1, 0], "frame: reserved bits"),
            (&[0x81, 0x80], "frame: masked"),
            (&[0x01, 0], "frame: fragment"),
            (&[0x80, 0], "frame: unknown opcode"),
            (&[0x81, 126, 0, 125], "frame: length not in its shortest form"),
            (&[0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], "frame: length not in its shortest form"),
            (&[0x81, 127, 0, 0, 0, 0, 1, 0, 0, 1], "frame: too large"),
            (&[0x89, 126, 0, 126], "frame: control frame too large"),
        ];
        for (bytes, fault) in bad {
            assert_eq!(decode(bytes), Err(fault.to_owned()));
        }
    }

    #[test]
    fn client_frames_are_masked_and_read_back() {
        for length in [0, 1, 125, 126, 0xffff, 0x10000] {
            let payload: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            let mut out = Vec::new();
            encode(Opcode::Binary, &payload, [1, 2, 3, 4], &mut out);
            assert_eq!(out[1] & 0x80, 0x80);
            let mask_at = out.len() - payload.len() - 4;
            assert_eq!(out[mask_at..mask_at + 4], [1, 2, 3, 4]);
            // Without its mask it is what a server would send.
            let masked = out.split_off(mask_at);
            out[1] &= 0x7f;
            out.extend(masked[4..].iter().zip([1, 2, 3, 4].iter().cycle()).map(|(a, b)| a ^ b));
            assert_eq!(decode(&out).unwrap().unwrap().payload, payload);
        }
    }

    #[test]
    fn responses_are_checked() {
        let whole = format!("{ANSWER}\r\n");
        assert_eq!(response(whole.as_bytes(), ""), Ok(Some(whole.len())));
        assert_eq!(response(&whole.as_bytes()[..whole.len() - 1], ""), Ok(None));
        let chosen = format!("{ANSWER}Sec-WebSocket-Protocol: centrifuge-protobuf\r\n\r\n");
        assert!(response(chosen.as_bytes(), "centrifuge-protobuf").unwrap().is_some());
        for (text, offered) in [(&whole, "centrifuge-protobuf"), (&chosen, "")] {
            let fault = response(text.as_bytes(), offered).unwrap_err();
            assert_eq!(fault, "handshake: wrong subprotocol");
        }
        let refused = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\r\n";
        assert_eq!(response(refused, "").unwrap_err(), "handshake: 503 Service Unavailable");
        for (from, to, fault) in [
            ("s3pPLM", "s3pPLm", "handshake: wrong Sec-WebSocket-Accept"),
            ("Upgrade: websocket", "Upgrade: h2c", "handshake: wrong upgrade"),
            ("Connection: Upgrade", "Connection: close", "handshake: wrong connection"),
        ] {
            let text = whole.replace(from, to);
            assert_eq!(response(text.as_bytes(), "").unwrap_err(), fault);
        }
        assert!(response(&vec![b'x'; 20_000], "").is_err());
    }

    #[test]
    fn close_frames_tell_code_and_reason() {
        assert_eq!(close_reason(b"\x0b\xc0slow"), "3008 slow");
        assert_eq!(close_reason(b"\x0b\xc0"), "3008");
        assert_eq!(close_reason(b""), "no code");
    }
}
