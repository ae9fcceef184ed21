//! Requests, good and bad, and the answers to them.

use super::handshake::{
    Ask, Endpoint, HEADERS, Options, Origins, REQUEST_BYTES, Refusal, Upgrade, end_of_head, health,
    parse, switch,
};
use crate::centrifuge::Encoding;

/// The key of RFC 6455, 1.3.
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const HOST: &str = "Host: play.example.com:8001\r\n";
const WISH: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";

fn options(origins: &Origins) -> Options<'_> {
    Options { origins, echo: true }
}

/// The head of a good request for a target, with some more fields.
fn request(target: &str, more: &str) -> String {
    format!("GET {target} HTTP/1.1\r\n{HOST}{WISH}{KEY}{more}\r\n")
}

fn ask(head: &str) -> Result<Ask<'_>, Refusal> {
    assert_eq!(end_of_head(head.as_bytes(), 0), Some(head.len()), "{head}");
    parse(head.as_bytes(), &options(&Origins::SameHost))
}

fn upgrade(head: &str) -> Upgrade<'_> {
    match ask(head) {
        Ok(Ask::Upgrade(upgrade)) => upgrade,
        other => panic!("{other:?} for {head}"),
    }
}

#[test]
fn the_end_of_a_head_is_found_once_whatever_the_pieces() {
    let bytes = b"GET / HTTP/1.1\r\nA: b\r\n\r\nframes\r\n\r\n";
    let end = 24;
    assert_eq!(&bytes[end - 4..end], b"\r\n\r\n");
    for seen in 0..end {
        assert_eq!(end_of_head(&bytes[..seen], 0), None);
        for now in seen..=bytes.len() {
            let expected = (now >= end).then_some(end);
            assert_eq!(end_of_head(&bytes[..now], seen), expected, "{seen} {now}");
        }
    }
    assert_eq!(end_of_head(bytes, bytes.len() + 100), None);
    assert_eq!(end_of_head(&bytes[..end], end), None, "searched again");
}

#[test]
fn paths() {
    assert_eq!(ask("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Ask::Health));
    assert_eq!(ask("GET /healthz HTTP/1.0\r\n\r\n"), Ok(Ask::Health));
    for (target, endpoint) in [
        ("/connection/websocket", Endpoint::Live),
        ("/connection/websocket?a=b", Endpoint::Live),
        ("/ws", Endpoint::Live),
        ("/echo", Endpoint::Echo),
    ] {
        assert_eq!(upgrade(&request(target, "")).endpoint, endpoint);
    }
    for target in ["/", "*", "/ws/", "/WS", "/connection", "/%77s", "http://a/ws", "/healthz/"] {
        assert_eq!(ask(&request(target, "")), Err(Refusal::Path), "{target}");
    }
    let options = Options { origins: &Origins::Any, echo: false };
    assert_eq!(parse(request("/echo", "").as_bytes(), &options), Err(Refusal::Path));
}

/// RFC 6455, 1.3 has the accept.
#[test]
fn a_switch_proves_that_the_request_was_read() {
    let answer = |more| {
        let mut out = b"before".to_vec();
        switch(&mut out, &upgrade(&request("/ws", more)));
        String::from_utf8(out).unwrap()
    };
    let expected = "beforeHTTP/1.1 101 Switching Protocols\r\nServer: rankwire\r\n\
        Upgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    assert_eq!(answer(""), format!("{expected}\r\n"));
    let name = "Sec-WebSocket-Protocol: centrifuge-protobuf\r\n";
    assert_eq!(answer(name), format!("{expected}{name}\r\n"));
}

#[test]
fn health_is_a_response() {
    let mut out = Vec::new();
    health(&mut out);
    let expected = "HTTP/1.1 200 OK\r\nServer: rankwire\r\nConnection: close\r\n\
        Content-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn good_requests_in_many_spellings() {
    for head in [
        format!(
            "GET /ws HTTP/1.1\r\n{HOST}upgrade: WebSocket\r\nCONNECTION: keep-alive, Upgrade\r\n\
                 sec-websocket-version: 13\r\n{KEY}\r\n"
        ),
        format!(
            "GET /ws HTTP/1.1\r\nConnection: a\r\nConnection: b ,\tUPGRADE , c\r\nUpgrade: h2c\r\n\
                 Upgrade: x,websocket\r\nSec-WebSocket-Version:13\r\n{KEY}Host:\r\n\r\n"
        ),
        format!("\r\nGET /ws HTTP/1.1\r\n{HOST}{WISH}{KEY}Content-Length: 0\r\n\r\n"),
        request("/ws", "Sec-WebSocket-Extensions: permessage-deflate\r\nX-Bytes: \u{e9}\r\n"),
    ] {
        upgrade(&head);
    }
}

#[test]
fn bad_requests_get_their_refusal() {
    let head = |line: &str, fields: &str| format!("{line}\r\n{fields}\r\n");
    let get = "GET /ws HTTP/1.1";
    let good = format!("{HOST}{WISH}{KEY}");
    let without = |field: &str, instead: &str| head(get, &good.replace(field, instead));
    let more = |field: &str| head(get, &format!("{good}{field}"));
    for (refusal, heads) in [
        (
            Refusal::Malformed,
            vec![
                head("", ""),
                head("hello", ""),
                head("GET /ws", &good),
                head("GET /ws HTTP/2.0", &good),
                head("GET  /ws HTTP/1.1", &good),
                head("GET /w s HTTP/1.1", &good),
                head(get, &format!("{good}a : b\r\n")),
                head(get, &format!("{good} folded\r\n")),
                head(get, &format!("{good}no colon\r\n")),
                head(get, &format!("{good}A: \u{0}\r\n")),
                head(get, &format!("{good}\nthe parser ends above this\r\n")),
                without(HOST, ""),
                more("hOST: play.example.com:8001\r\n"),
                more(KEY),
                more("Sec-WebSocket-Version: 13\r\n"),
                more("Origin: http://play.example.com\r\nOrigin: http://play.example.com\r\n"),
                more("Authorization: Bearer a\r\nAuthorization: Bearer a\r\n"),
                request("/ws?token=%4", ""),
                request("/ws?token=%4g", ""),
                request("/ws?token=%+4", ""),
                request("/ws?token=%ff", ""),
            ],
        ),
        (
            Refusal::Body,
            vec![
                more("Content-Length: 1\r\n"),
                more("Content-Length: 0\r\nContent-Length: 5\r\n"),
                more("Content-Length: x\r\n"),
                more("Transfer-Encoding: chunked\r\n"),
                more("Transfer-Encoding:\r\n"),
                head("GET /healthz HTTP/1.1", "Host: a\r\nContent-Length: 2\r\n"),
            ],
        ),
        (
            Refusal::Method,
            vec![
                head("POST /ws HTTP/1.1", &good),
                head("get /ws HTTP/1.1", &good),
                head("HEAD /healthz HTTP/1.1", &good),
            ],
        ),
        (
            Refusal::NoUpgrade,
            vec![
                head(get, HOST),
                head("GET /ws HTTP/1.0", &good),
                without("Upgrade: websocket\r\n", ""),
                without("Upgrade: websocket\r\n", "Upgrade: websockets\r\n"),
                without("Connection: Upgrade\r\n", ""),
                without("Connection: Upgrade\r\n", "Connection: close\r\n"),
                without("Sec-WebSocket-Version: 13\r\n", ""),
                without("Version: 13", "Version: 8"),
                without("Version: 13", "Version: 13, 8"),
            ],
        ),
        (
            Refusal::Key,
            vec![
                without(KEY, ""),
                without("dGhlIHNhbXBsZSBub25jZQ==", ""),
                without("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ"),
                without("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQA="),
                without("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"),
                without("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ==dGhl"),
                without("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub2-_ZQ=="),
            ],
        ),
        (
            Refusal::Subprotocol,
            vec![
                more("Sec-WebSocket-Protocol: mqtt\r\n"),
                more("Sec-WebSocket-Protocol: \r\n"),
                more("Sec-WebSocket-Protocol: Centrifuge-JSON\r\n"),
                request("/ws?format=xml", ""),
            ],
        ),
    ] {
        for head in heads {
            assert_eq!(ask(&head), Err(refusal), "{head}");
        }
    }
    // Bytes that are no text, where text is wanted.
    let mut bytes = more("Origin: http://?\r\n").into_bytes();
    let at = bytes.iter().position(|byte| *byte == b'?').unwrap();
    bytes[at] = 0xff;
    assert_eq!(parse(&bytes, &options(&Origins::Any)), Err(Refusal::Malformed));
}

#[test]
fn the_size_of_a_request_is_limited() {
    let room = REQUEST_BYTES - request("/ws", "A: \r\n").len();
    let fill = |size| format!("A: {}\r\n", "x".repeat(size));
    assert!(ask(&request("/ws", &fill(room))).is_ok());
    assert_eq!(ask(&request("/ws", &fill(room + 1))), Err(Refusal::TooLarge));

    let room = HEADERS - 5;
    assert!(ask(&request("/ws", &"A: b\r\n".repeat(room))).is_ok());
    assert_eq!(ask(&request("/ws", &"A: b\r\n".repeat(room + 1))), Err(Refusal::TooLarge));
}

#[test]
fn the_first_known_subprotocol_decides() {
    let (json, protobuf) = ("centrifuge-json", "centrifuge-protobuf");
    for (target, offers, encoding, subprotocol) in [
        ("/ws", &[][..], Encoding::Json, None),
        ("/ws?format=json", &[], Encoding::Json, None),
        ("/ws?a&format=protobuf&format=json", &[], Encoding::Protobuf, None),
        ("/ws?xformat=protobuf", &[], Encoding::Json, None),
        ("/ws", &[json], Encoding::Json, Some(json)),
        ("/ws", &[protobuf], Encoding::Protobuf, Some(protobuf)),
        (
            "/ws",
            &["mqtt, centrifuge-protobuf ,centrifuge-json"],
            Encoding::Protobuf,
            Some(protobuf),
        ),
        ("/ws", &["mqtt", json, protobuf], Encoding::Json, Some(json)),
        ("/ws?format=protobuf", &[json], Encoding::Json, Some(json)),
    ] {
        let offers = offers
            .iter()
            .map(|names| format!("Sec-WebSocket-Protocol: {names}\r\n"))
            .collect::<Vec<_>>();
        let head = request(target, &offers.concat());
        let upgrade = upgrade(&head);
        assert_eq!((upgrade.encoding, upgrade.subprotocol), (encoding, subprotocol), "{head}");
    }
}

#[test]
fn credentials() {
    for (target, field, credential) in [
        ("/ws", "", None),
        ("/ws", "Authorization: Bearer a.b-c_d\r\n", Some("a.b-c_d")),
        ("/ws", "authorization: bEARER   x \r\n", Some("x")),
        ("/ws", "Authorization: Bearer\r\n", None),
        ("/ws", "Authorization: Basic dTpw\r\n", None),
        ("/ws?token=a.b%2Dc%5f", "", Some("a.b-c_")),
        ("/ws?token=%C3%A9", "", Some("é")),
        ("/ws?a=b&token=t&token=u", "", Some("t")),
        ("/ws?token=a+b", "", Some("a+b")),
        ("/ws?token=", "", None),
        ("/ws?xtoken=t", "", None),
        ("/ws?token", "", None),
        ("/ws?token=t", "Authorization: Basic dTpw\r\n", Some("t")),
        ("/ws?token=%", "Authorization: Bearer x\r\n", Some("x")),
    ] {
        let head = request(target, field);
        let upgrade = upgrade(&head);
        let found = upgrade.credential.as_ref().map(|found| found.as_str().to_owned());
        assert_eq!(found.as_deref(), credential, "{head}");
    }
    let head = request("/ws?token=hush", "");
    assert!(!format!("{:?}", upgrade(&head)).contains("hush"));
}

#[test]
fn origins() {
    let list: Origins = "https://game.example  http://localhost:3000".parse().unwrap();
    for (origins, host, origin, good) in [
        (&Origins::SameHost, "example.com", "http://example.com", true),
        (&Origins::SameHost, "example.com:8001", "https://EXAMPLE.com:3000", true),
        (&Origins::SameHost, "127.0.0.1:8001", "http://127.0.0.1", true),
        (&Origins::SameHost, "[::1]:8001", "http://[::1]:3000", true),
        (&Origins::SameHost, "[::1]", "http://[::1]", true),
        (&Origins::SameHost, "[::1]:8001", "http://[::2]:8001", false),
        (&Origins::SameHost, "example.com", "http://evil.example", false),
        (&Origins::SameHost, "example.com", "http://example.com.evil.example", false),
        (&Origins::SameHost, "example.com", "http://evil.example:80@example.com", false),
        (&Origins::SameHost, "example.com", "http://example.com/", false),
        (&Origins::SameHost, "example.com", "http://example.com:80x", false),
        (&Origins::SameHost, "[::1]", "http://[::1]x", false),
        (&Origins::SameHost, "[::1", "http://[::1", false),
        (&Origins::SameHost, "example.com", "example.com", false),
        (&Origins::SameHost, "example.com", "null", false),
        (&Origins::SameHost, "example.com", "", false),
        (&Origins::SameHost, "", "http://", false),
        (&Origins::SameHost, ":80", "http://:80", false),
        (&Origins::Any, "example.com", "null", true),
        (&Origins::Any, "example.com", "http://evil.example", true),
        (&list, "example.com", "https://game.example", true),
        (&list, "example.com", "https://GAME.example", true),
        (&list, "example.com", "http://localhost:3000", true),
        (&list, "example.com", "http://localhost", false),
        (&list, "example.com", "http://game.example", false),
        (&list, "example.com", "https://game.example:8443", false),
        (&list, "example.com", "http://example.com", false),
        (&list, "example.com", "null", false),
    ] {
        let head =
            format!("GET /ws HTTP/1.1\r\nHost: {host}\r\n{WISH}{KEY}Origin: {origin}\r\n\r\n");
        let answer = parse(head.as_bytes(), &options(origins));
        assert_eq!(answer.is_ok(), good, "{head}");
        assert!(good || answer == Err(Refusal::Origin), "{head}");
    }
}

#[test]
fn the_setting_of_origins() {
    assert_eq!(" ".parse(), Ok(Origins::SameHost));
    assert_eq!("*".parse(), Ok(Origins::Any));
    let list = ["https://a.example", "chrome-extension://abc", "http://[::1]:80"];
    assert_eq!(list.join(" ").parse(), Ok(Origins::List(list.map(str::to_owned).to_vec())));
    for wrong in [
        "a.example",
        "https://a.example/",
        "https://*.example",
        "* https://a",
        "null",
        "://a",
        "h_t://a",
    ] {
        let error = wrong.parse::<Origins>().unwrap_err().to_string();
        assert!(error.contains("is not an origin like https://example.com"), "{wrong}: {error}");
    }
}

#[test]
fn refusals_are_responses_with_problem_details() {
    for (refusal, line, field) in [
        (Refusal::Malformed, "400 Bad Request", ""),
        (Refusal::TooLarge, "431 Request Header Fields Too Large", ""),
        (Refusal::Body, "400 Bad Request", ""),
        (Refusal::Path, "404 Not Found", ""),
        (Refusal::Method, "405 Method Not Allowed", "Allow: GET\r\n"),
        (Refusal::NoUpgrade, "426 Upgrade Required", "Sec-WebSocket-Version: 13\r\n"),
        (Refusal::Key, "400 Bad Request", ""),
        (Refusal::Origin, "403 Forbidden", ""),
        (Refusal::Subprotocol, "400 Bad Request", ""),
        (Refusal::Full, "503 Service Unavailable", "Retry-After: 5\r\n"),
    ] {
        let mut out = Vec::new();
        refusal.write(&mut out);
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let head = format!("{head}\r\n");
        assert!(head.starts_with(&format!("HTTP/1.1 {line}\r\nServer: rankwire\r\n")), "{head}");
        for field in [field, "Connection: close\r\n", "Content-Type: application/problem+json\r\n"]
        {
            assert!(head.contains(field), "{head}");
        }
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        let (status, title) = line.split_once(' ').unwrap();
        assert_eq!(problem["status"].to_string(), status);
        assert_eq!(problem["title"], title);
        assert_eq!(problem["detail"], refusal.to_string());
    }
}

#[test]
fn the_text_of_a_limit_is_true() {
    let text = Refusal::TooLarge.to_string();
    assert!(text.contains(&format!("{} KiB", REQUEST_BYTES / 1024)));
    assert!(text.contains(&format!("{HEADERS} header fields")));
}
