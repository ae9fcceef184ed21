//! What a client cannot make the server do: limits, timers, the handshake.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use rankwire_hub::Config;
use serde_json::{Value, json};
use support::{Client, World, quick, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const SHORT: Duration = Duration::from_millis(50);

/// Sends bytes and returns everything that comes until the server closes.
async fn raw(world: &World, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(world.hub.address()).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut response = Vec::new();
    within(stream.read_to_end(&mut response)).await.unwrap();
    String::from_utf8(response).unwrap()
}

#[tokio::test]
async fn other_requests_are_refused_with_a_reason() {
    let world = World::new(quick());
    let upgrade = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let path = "/connection/websocket";
    let cases = [
        (format!("GET / HTTP/1.1\r\n{upgrade}\r\n"), 404),
        ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 404),
        (format!("GET {path}/ HTTP/1.1\r\n{upgrade}\r\n"), 404),
        (format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"), 426),
        (format!("GET {path} HTTP/1.1\r\n{}\r\n", upgrade.replace("13", "12")), 426),
        (format!("GET {path} HTTP/1.1\r\n{upgrade}Sec-WebSocket-Protocol: mqtt\r\n\r\n"), 400),
        (format!("POST {path} HTTP/1.1\r\nHost: x\r\n\r\n"), 405),
        (format!("GET {path} HTTP/1.1\r\n\r\n"), 400),
        (format!("GET {path} HTTP/1.1\r\nOrigin: http://y\r\n{upgrade}\r\n"), 403),
        ("\u{16}\u{3}\u{1} TLS?\r\n\r\n".to_owned(), 400),
        (format!("GET {path} HTTP/1.1\r\nCookie: {}\r\n\r\n", "x".repeat(8192)), 431),
    ];
    for (request, status) in cases {
        let response = raw(&world, request.as_bytes()).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {response}");
        let (_, body) = response.split_once("\r\n\r\n").unwrap();
        let problem: Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["status"], status);
        assert!(response.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
    assert_eq!(world.hub.stats().connections_total, 0);
}

#[tokio::test]
async fn a_client_may_offer_the_protocol_and_a_query() {
    let world = World::new(quick());
    let address = world.hub.address();
    let url = format!("ws://{address}/connection/websocket?format=json");
    let mut request = url.into_client_request().unwrap();
    let offer = "mqtt, centrifuge-json".parse().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", offer);
    let stream = TcpStream::connect(address).await.unwrap();
    // The client of this test fails the handshake if the server does not choose.
    let mut client = Client::upgrade(stream, request).await.unwrap();
    client.send(r#"{"id":1,"connect":{}}"#).await;
    assert_eq!(client.next().await["id"], 1);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused_until_there_is_a_place() {
    let world = World::new(Config { max_connections: 2, ..quick() });
    let address = world.hub.address();
    let (first, mut second) = (world.connect().await, world.connect().await);
    let refused = Client::open_path(address, "/connection/websocket").await;
    let Err(Error::Http(response)) = refused.map(|_| ()) else { panic!("was not refused") };
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["Retry-After"], "5");
    assert_eq!(world.hub.stats().refused_total, 1);

    drop(first);
    let mut third = within(async {
        loop {
            if let Ok(client) = Client::open_path(address, "/connection/websocket").await {
                return client;
            }
        }
    })
    .await;
    third.send(r#"{"id":1,"connect":{}}"#).await;
    assert_eq!(third.next().await["id"], 1);
    second.subscribe("board:b:top:1").await;
}

#[tokio::test]
async fn subscriptions_beyond_the_limit_are_refused() {
    let world = World::new(quick());
    let mut client = world.connect().await;
    for n in 0..128 {
        client.subscribe(&format!("board:b:member:m{n}")).await;
    }
    client.send(r#"{"id":5,"subscribe":{"channel":"board:b:top:1"}}"#).await;
    let message = "limit exceeded: a connection has at most 128 subscriptions";
    assert_eq!(client.next().await, json!({"id": 5, "error": {"code": 106, "message": message}}));
    client.send(r#"{"id":6,"unsubscribe":{"channel":"board:b:member:m64"}}"#).await;
    client.next().await;
    client.subscribe("board:b:top:1").await;

    // All of them hear of a new member, the one in the reused slot too.
    world.submit("b", &[("zoe", 1)]);
    let mut channels = std::collections::HashSet::new();
    for _ in 0..128 {
        let push = client.next().await;
        channels.insert(push["push"]["channel"].as_str().unwrap().to_owned());
    }
    assert_eq!((channels.len(), channels.contains("board:b:top:1")), (128, true));
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_given_up() {
    let world = World::new(Config { handshake_timeout: SHORT, ..quick() });
    for begin in ["", "GET /connection/websocket HTTP/1.1\r\n"] {
        assert_eq!(raw(&world, begin.as_bytes()).await, "");
    }
}

#[tokio::test]
async fn a_client_that_does_not_connect_is_closed() {
    let world = World::new(Config { connect_timeout: SHORT, ..quick() });
    let client = Client::open(world.hub.address()).await;
    assert_eq!(client.closed().await, (3502, "stale".to_owned()));
}

#[tokio::test]
async fn a_client_that_does_not_answer_a_ping_is_closed() {
    let (ping_interval, pong_timeout) = (SHORT * 2, SHORT);
    let world = World::new(Config { ping_interval, pong_timeout, ..quick() });
    let mut client = world.connect().await;
    assert_eq!(client.next_or_ping().await, json!({}));
    assert_eq!(client.closed().await, (3012, "no pong".to_owned()));
}

#[tokio::test]
async fn a_client_that_answers_pings_stays() {
    let ping_interval = Duration::from_secs(2);
    let pong_timeout = Duration::from_millis(1900);
    let world = World::new(Config { ping_interval, pong_timeout, ..quick() });
    let mut client = world.connect().await;
    for _ in 0..2 {
        assert_eq!(client.next_or_ping().await, json!({}));
        client.send("{}").await;
    }
    client.subscribe("board:b:top:1").await;
}
