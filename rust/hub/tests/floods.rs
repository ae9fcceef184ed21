//! Clients that send more than they may, or something else than they should.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use rankwire_hub::Config;
use rankwire_hub::ws::frame::Opcode;
use serde_json::{Value, json};
use support::{Client, World, bare, closed, failed, guarded, masked, quick, rest_of, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HELLO: &str = r#"{"id":1,"connect":{}}"#;

/// A hub that counts what callers without credentials do.
fn world(config: Config) -> World {
    World::guarded(config, guarded(true))
}

/// Sends frames in one go, reads until the end and returns what came before it.
async fn send_all(world: &World, frames: &[Vec<u8>]) -> (Vec<Value>, u16) {
    let mut stream = bare(world.hub.address()).await;
    stream.write_all(&masked(Opcode::Text, HELLO.as_bytes())).await.unwrap();
    stream.write_all(&frames.concat()).await.unwrap();
    let (texts, code) = rest_of(&mut stream).await;
    let objects = texts.iter().flat_map(|text| text.split('\n'));
    (objects.map(|object| serde_json::from_str(object).unwrap()).collect(), code)
}

#[tokio::test]
async fn commands_beyond_the_pace_are_refused_and_then_it_ends() {
    let world = world(Config { commands_per_second: 20, ..quick() });
    let commands: Vec<_> = (2..400).map(|id| json!({"id": id, "ping": {}}).to_string()).collect();
    let frames: Vec<_> = commands
        .chunks(50)
        .map(|chunk| masked(Opcode::Text, chunk.join("\n").as_bytes()))
        .collect();
    let (objects, code) = send_all(&world, &frames).await;
    assert_eq!(code, 3013);
    let answered = objects.iter().filter(|object| object["error"].is_null()).count();
    // Three seconds' worth at once, and what the time that it took is worth.
    assert!((60..100).contains(&answered), "{answered}");
    let refused: Vec<_> = objects.iter().filter(|object| !object["error"].is_null()).collect();
    for object in &refused {
        assert_eq!(
            (&object["error"]["code"], &object["error"]["temporary"]),
            (&json!(111), &json!(true))
        );
    }
    assert!(refused.len() >= 100, "{}", refused.len());
    for (object, id) in objects.iter().zip(1..) {
        assert_eq!(object["id"], id);
    }
    let stats = world.hub.stats();
    assert_eq!((failed(&stats, 111), closed(&stats, 3013)), (refused.len() as u64, 1));
    world.empty().await;
}

#[tokio::test]
async fn pings_and_pongs_are_worth_commands() {
    let world = world(Config { commands_per_second: 20, ..quick() });
    for (frame, most) in [
        (masked(Opcode::Ping, b"x"), 100),
        // A pong of the protocol.
        (masked(Opcode::Text, b"{}"), 300),
    ] {
        let (_, code) = send_all(&world, &vec![frame; most]).await;
        assert_eq!(code, 3013);
    }
    world.empty().await;
}

#[tokio::test]
async fn subscriptions_beyond_the_limit_are_refused() {
    let world = world(Config { max_channels: 3, ..quick() });
    let mut client = world.connect().await;
    for n in 0..3 {
        client.subscribe(&format!("board:b:member:m{n}")).await;
    }
    for n in 3..30 {
        let channel = format!("board:b:member:m{n}");
        client.send(&json!({"id": 2, "subscribe": {"channel": channel}}).to_string()).await;
        assert_eq!(client.next().await["error"]["code"], 106);
    }
    assert_eq!((world.hub.stats().subscriptions, world.hub.stats().views), (3, 3));
    drop(client);
    world.empty().await;
}

#[tokio::test]
async fn frames_that_break_the_rules_end_the_connection() {
    let world = world(quick());
    let fragment = |opcode: Opcode, fin: bool, payload: &[u8]| {
        let mut frame = masked(opcode, payload);
        frame[0] = opcode as u8 | if fin { 0x80 } else { 0 };
        frame
    };
    let mut pieces = vec![fragment(Opcode::Text, false, b"{")];
    pieces.extend(std::iter::repeat_n(fragment(Opcode::Continuation, false, b""), 64));
    let cases = [
        // A frame without a mask.
        (vec![0x81, 2, b'{', b'}'], 1002),
        (vec![0xf1, 0x80, 0, 0, 0, 0], 1002),
        (fragment(Opcode::Continuation, true, b"x"), 1002),
        (masked(Opcode::Text, b"\xff"), 1007),
        // The head of a frame of 4 GB, of which nothing has to come.
        (vec![0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0], 3501),
        (masked(Opcode::Text, &vec![b' '; 32 * 1024 + 1]), 3501),
        (pieces.concat(), 3501),
    ];
    for (bytes, wanted) in cases {
        let (_, code) = send_all(&world, &[bytes]).await;
        assert_eq!(code, wanted);
    }
    world.empty().await;
}

/// What comes in small pieces is put together all the same.
#[tokio::test]
async fn bytes_may_come_one_at_a_time() {
    let world = world(quick());
    let mut stream = bare(world.hub.address()).await;
    stream.set_nodelay(true).unwrap();
    let frames = [masked(Opcode::Text, HELLO.as_bytes()), masked(Opcode::Text, b"oops")].concat();
    for byte in frames {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let (texts, code) = rest_of(&mut stream).await;
    assert_eq!((texts.len(), code), (1, 3501));
}

#[tokio::test]
async fn a_handshake_has_its_time_however_busy_it_is() {
    let handshake_timeout = Duration::from_millis(300);
    let world = world(Config { handshake_timeout, ..quick() });
    let mut stream = TcpStream::connect(world.hub.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let began = Instant::now();
    let mut request =
        "GET /connection/websocket HTTP/1.1\r\nX: ".bytes().chain(std::iter::repeat(b'x'));
    // It is closed although there is something from it all the time, long before it sent too much.
    let mut sent = 0;
    while stream.write_all(&[request.next().unwrap()]).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
        sent += 1;
        assert!(sent < 4000);
    }
    assert!(began.elapsed() >= handshake_timeout);
    assert_eq!(world.hub.stats().handshakes_failed_total, 1);
}

#[tokio::test]
async fn a_storm_of_connections_is_turned_away_and_does_not_disturb() {
    let world = world(Config { max_connections: 5, accepts_per_second: 2000, ..quick() });
    let address = world.hub.address();
    let mut inside = Vec::new();
    for _ in 0..5 {
        let mut client = world.connect().await;
        client.subscribe("board:b:top:1").await;
        inside.push(client);
    }
    let storm: Vec<_> = (0..400)
        .map(|_| {
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let request = "GET /connection/websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
                    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
                let _ = stream.write_all(request.as_bytes()).await;
                let mut response = Vec::new();
                let _ = stream.read_to_end(&mut response).await;
                String::from_utf8(response).unwrap()
            })
        })
        .collect();
    for score in 100..110 {
        world.submit("b", &[("ann", score)]);
        for client in &mut inside {
            assert_eq!(client.publication("board:b:top:1").await["entries"][0]["score"], score);
        }
    }
    let mut told = 0;
    for one in storm {
        let response = within(one).await.unwrap();
        // Those beyond a certain number are closed without a word.
        assert!(response.is_empty() || response.starts_with("HTTP/1.1 503 "), "{response}");
        told += usize::from(!response.is_empty());
    }
    assert!(told > 0);
    world.wait_for(|stats| stats.refused_total == 400).await;
    assert_eq!(world.hub.stats().connections, 5);
    drop(inside);
    world.empty().await;
    Client::connect(address).await;
}

#[tokio::test]
async fn more_connections_than_a_second_allows_wait() {
    let world = world(Config { accepts_per_second: 20, ..quick() });
    let address = world.hub.address();
    let began = Instant::now();
    let clients: Vec<_> = (0..12).map(|_| tokio::spawn(Client::connect(address))).collect();
    for client in clients {
        within(client).await.unwrap();
    }
    // Two at once, the others one every 50 ms; sooner would be too fast, later is a slow machine.
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    assert_eq!(world.hub.stats().connections_total, 12);
}
