//! Reads requests made of good parts and any bytes, and looks at the answers.
#![no_main]

use libfuzzer_sys::arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use rankwire_hub::ws::handshake::{
    Ask, Options, Origins, Refusal, end_of_head, health, parse, switch,
};

#[derive(Arbitrary, Debug)]
struct Input {
    /// Begin with a good request line and the fields that have to be there.
    good: bool,
    parts: Vec<Part>,
    /// The setting of origins.
    setting: String,
    echo: bool,
    /// How many bytes come first, in the search for the end.
    first: u16,
}

#[derive(Arbitrary, Debug)]
enum Part {
    Known(u8),
    Text(String),
    Raw(Vec<u8>),
}

const GOOD: &str = "GET /ws?token=a%2Db&format=protobuf HTTP/1.1\r\nHost: a.example\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

const KNOWN: &[&str] = &[
    "GET ",
    "/ws",
    "/echo",
    "/healthz",
    "/connection/websocket",
    "?token=",
    "&format=",
    "protobuf",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    "Host: ",
    "Origin: ",
    "a.example",
    "http://",
    ":80",
    "[::1]",
    "Upgrade: ",
    "websocket",
    "Connection: ",
    "Upgrade",
    "Sec-WebSocket-Version: ",
    "13",
    "Sec-WebSocket-Key: ",
    "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol: ",
    "centrifuge-",
    "json",
    "Authorization: ",
    "Bearer ",
    "Content-Length: ",
    "0",
    "Transfer-Encoding: ",
    "%",
    ",",
    ": ",
    "\n",
    "\r\n",
    "\r\n\r\n",
];

fn write(part: &Part, out: &mut Vec<u8>) {
    match part {
        Part::Known(index) => out.extend(KNOWN[usize::from(*index) % KNOWN.len()].bytes()),
        Part::Text(text) => out.extend(text.bytes()),
        Part::Raw(bytes) => out.extend(bytes),
    }
}

/// The status of a response, which has to be a response and nothing else.
fn status(bytes: &[u8]) -> u16 {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let head = response.parse(bytes).expect("a response").unwrap();
    let length = response.headers.iter().find(|field| field.name == "Content-Length");
    let length = length.map_or(0, |field| str::from_utf8(field.value).unwrap().parse().unwrap());
    assert_eq!(bytes.len(), head + length);
    response.code.unwrap()
}

fuzz_target!(|input: Input| {
    let mut bytes = if input.good { GOOD.as_bytes().to_vec() } else { Vec::new() };
    for part in &input.parts {
        write(part, &mut bytes);
    }
    let end = end_of_head(&bytes, 0);
    let first = usize::from(input.first).min(bytes.len());
    assert_eq!(end_of_head(&bytes[..first], 0).or_else(|| end_of_head(&bytes, first)), end);

    let origins = input.setting.parse().unwrap_or(Origins::SameHost);
    let read = |head, origins| parse(head, &Options { origins, echo: input.echo });
    // Also what is no head must do no harm.
    let _ = read(&bytes, &origins);
    let Some(head) = end.map(|end| &bytes[..end]) else { return };
    let answer = read(head, &origins);
    let of_any = read(head, &Origins::Any);
    assert!(answer == of_any || answer == Err(Refusal::Origin));
    let mut out = Vec::new();
    match answer {
        Ok(Ask::Health) => {
            health(&mut out);
            assert_eq!(status(&out), 200);
        }
        Ok(Ask::Upgrade(upgrade)) => {
            switch(&mut out, &upgrade);
            assert_eq!(status(&out), 101);
            assert!(upgrade.credential.is_none_or(|text| !text.as_str().is_empty()));
        }
        Err(refusal) => {
            refusal.write(&mut out);
            assert!(status(&out) >= 400);
        }
    }
});
