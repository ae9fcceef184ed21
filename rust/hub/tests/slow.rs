//! Clients that take less than they are sent.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rankwire_hub::Config;
use rankwire_hub::ws::frame::Opcode;
use serde_json::json;
use support::{Client, World, closed, crowd, masked, narrow, quick, shake_hands, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const TOP: &str = "board:b:top:100";
const PAGE: &str = "board:b:page:1-100";

/// A board whose best hundred are a state of some 16 KB.
fn world(config: Config) -> World {
    let world = World::new(config);
    let names = crowd();
    world.submit("b", &names.iter().map(|name| (name.as_str(), 5)).collect::<Vec<_>>());
    world
}

/// Scores that change every state of the board.
struct Scores(i64);

impl Scores {
    fn next(&mut self, world: &World) -> i64 {
        self.0 += 1;
        world.submit("b", &[("ann", self.0)]);
        self.0
    }

    /// Changes states until a socket takes no more.
    async fn block(&mut self, world: &World) {
        within(async {
            while world.hub.stats().blocked == 0 {
                self.next(world);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_blocked_client_gets_the_present_later_and_others_get_everything() {
    let world = world(quick());
    let mut scores = Scores(100);
    let mut slow = Client::connect_narrow(world.hub.address()).await;
    slow.subscribe(TOP).await;
    scores.block(&world).await;
    let (before, mut other) = (world.hub.stats(), world.connect().await);
    other.subscribe("board:b:top:1").await;
    for _ in 0..100 {
        let score = scores.next(&world);
        assert_eq!(other.publication("board:b:top:1").await["entries"][0]["score"], score);
    }
    // The page may still be on its way to the slow one when the other has its state.
    world.wait_for(|stats| stats.conflated_total >= before.conflated_total + 50).await;
    let (state, count) = slow.publications_until(TOP, world.version("b")).await;
    assert_eq!(state["entries"][0]["score"], scores.0);
    // What was counted as delivered has come, and nothing else: one was in the socket half-way, and
    // the present came after it. The first states of the two subscriptions were counted as well.
    let after = world.hub.stats();
    assert_eq!(count as u64 + 1 + 101, after.deliveries_total);
    assert!(after.deliveries_total - before.deliveries_total <= 101 + 1, "more than the present");
    world.wait_for(|stats| stats.blocked == 0).await;
}

/// Calls of a client that is blocked.
const CALLS: u64 = 300;

#[tokio::test]
async fn replies_to_a_blocked_client_are_not_lost() {
    let world = world(quick());
    let mut scores = Scores(100);
    let mut slow = Client::connect_narrow(world.hub.address()).await;
    slow.subscribe(TOP).await;
    scores.block(&world).await;
    for id in 10..10 + CALLS {
        let call =
            json!({"id": id, "rpc": {"method": "rank", "data": {"board": "b", "member": "bob"}}});
        slow.send(&call.to_string()).await;
    }
    let mut next = 10;
    while next < 10 + CALLS {
        scores.next(&world);
        let object = slow.next().await;
        if object["push"].is_null() {
            assert_eq!(object["id"], next);
            assert_eq!(object["rpc"]["data"]["score"], 20, "{object}");
            next += 1;
        }
    }
    let (state, _) = slow.publications_until(TOP, world.version("b")).await;
    assert_eq!(state["entries"][0]["score"], scores.0);
}

/// A client that asks for more and more and reads nothing is not listened to any more, so what
/// waits for it stays small; when it reads again it gets every answer.
#[tokio::test]
async fn who_reads_nothing_is_not_listened_to() {
    let world = world(quick());
    let mut client = Client::connect_narrow(world.hub.address()).await;
    let (mut sent, mut heard) = (1, 0);
    // The socket takes no more commands: all buffers in between are full.
    loop {
        sent += 1;
        let data = json!({"board": "b", "limit": 100});
        let call =
            json!({"id": sent, "rpc": {"method": "top", "data": data}, "x": "y".repeat(900)});
        if !client.try_send(&call.to_string()).await {
            break;
        }
        heard = heard.max(world.hub.stats().commands_total);
        assert!(sent < 100_000, "the hub takes commands without end");
    }
    // Each of these answers has 16 KB, and more than some of them are in no buffer of the system.
    let stats = world.hub.stats();
    assert_eq!((stats.blocked, stats.connections, closed(&stats, 3008)), (1, 1, 0));
    assert!(stats.commands_total < 600, "{} commands of {sent}", stats.commands_total);
    for id in 2..=sent {
        assert_eq!(client.next_flushing().await["id"], id);
    }
}

fn url(world: &World) -> String {
    format!("ws://{}/connection/websocket", world.hub.address())
}

/// Subscribes over a bare socket that takes next to nothing.
async fn bare(world: &World) -> TcpStream {
    let mut stream = narrow(world.hub.address()).await;
    shake_hands(&mut stream).await;
    let subscribe = json!({"id": 2, "subscribe": {"channel": TOP}}).to_string();
    for command in [r#"{"id":1,"connect":{}}"#, &subscribe] {
        stream.write_all(&masked(Opcode::Text, command.as_bytes())).await.unwrap();
    }
    stream
}

#[tokio::test]
async fn no_progress_ends_a_connection_and_a_trickle_does_not() {
    let ping_interval = Duration::from_secs(10);
    let (write_timeout, pong_timeout) = (Duration::from_millis(1500), Duration::from_secs(9));
    let world = world(Config { ping_interval, pong_timeout, write_timeout, ..quick() });
    let mut scores = Scores(100);
    let (_stuck, mut trickling) = (bare(&world).await, bare(&world).await);
    world.wait_for(|stats| stats.subscriptions == 2).await;
    let mut bytes = [0; 2048];
    let mut over = None;
    let began = Instant::now();
    // Until the stuck one is gone, and then as long again.
    while over.is_none_or(|over| began.elapsed() < over * 2) {
        scores.next(&world);
        assert!(
            within(trickling.read(&mut bytes)).await.unwrap() > 0,
            "the trickling one was closed"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
        if over.is_none() && closed(&world.hub.stats(), 3008) == 1 {
            over = Some(began.elapsed());
        }
        assert!(began.elapsed() < Duration::from_secs(20), "nobody was closed");
    }
    let stats = world.hub.stats();
    assert_eq!((closed(&stats, 3008), stats.connections, stats.subscriptions), (1, 1, 1));
    drop(trickling);
    world.empty().await;
}

/// A client that is behind all the time answers pings, and its answers are read.
#[tokio::test]
async fn a_client_that_is_always_behind_is_heard() {
    let ping_interval = Duration::from_secs(1);
    let pong_timeout = Duration::from_millis(600);
    let world = world(Config { ping_interval, pong_timeout, ..quick() });
    let mut scores = Scores(100);
    let mut slow = Client::connect_narrow(world.hub.address()).await;
    slow.subscribe(TOP).await;
    scores.block(&world).await;
    let (mut pings, mut asked, mut answered) = (0, 2, 2);
    while pings < 4 || answered < 6 {
        for _ in 0..10 {
            scores.next(&world);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let object = slow.next_or_ping().await;
        if object == json!({}) {
            pings += 1;
            slow.send("{}").await;
            asked += 1;
            slow.send(&json!({"id": asked, "ping": {}}).to_string()).await;
        } else if object["push"].is_null() {
            answered += 1;
            assert_eq!(object["id"], answered, "{object}");
        }
    }
    assert_eq!(world.hub.stats().closed.iter().sum::<u64>(), 0);
}

/// Nor does one of its views keep it from the others.
#[tokio::test]
async fn every_view_of_a_slow_client_gets_its_turn() {
    let world = world(quick());
    let mut scores = Scores(100);
    let mut slow = Client::connect_narrow(world.hub.address()).await;
    let channels = [TOP, PAGE, "board:b:top:99", "board:b:top:98"];
    for channel in channels {
        slow.send(&json!({"id": 2, "subscribe": {"channel": channel}}).to_string()).await;
        while slow.next().await["push"]["channel"] != channel {}
    }
    scores.block(&world).await;
    let mut counts = HashMap::new();
    for read in 0..160 {
        for _ in 0..2 {
            scores.next(&world);
            tokio::time::sleep(Duration::from_millis(6)).await;
        }
        let object = slow.next().await;
        // Not what was in the buffers when it was blocked first.
        if read >= 40 {
            *counts.entry(object["push"]["channel"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        }
    }
    for channel in channels {
        assert!(counts.get(channel).is_some_and(|count| *count >= 10), "{counts:?}");
    }
}

/// A client that vanishes while its socket is blocked leaves nothing behind.
#[tokio::test]
async fn who_leaves_while_blocked_is_forgotten() {
    let world = world(quick());
    let mut scores = Scores(100);
    let stuck = bare(&world).await;
    world.wait_for(|stats| stats.subscriptions == 1).await;
    scores.block(&world).await;
    drop(stuck);
    world.empty().await;
    let request = url(&world).into_client_request().unwrap();
    let stream = TcpStream::connect(world.hub.address()).await.unwrap();
    Client::upgrade(stream, request).await.unwrap();
}
