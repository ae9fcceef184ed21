//! Sessions that have lasted long enough: their clients are told to come back, and not before they
//! have what is due to them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use rankwire_hub::Config;
use serde_json::{Value, json};
use support::{Client, World, closed, quick, within};

/// What SDKs take for: come back, somewhere else.
const COME_BACK: u16 = 3011;

const TIME: Duration = Duration::from_millis(500);

/// Sessions of a short time, which is looked at once a second.
fn short() -> Config {
    Config {
        session_time: TIME,
        ping_interval: Duration::from_secs(1),
        pong_timeout: Duration::from_millis(999),
        ..quick()
    }
}

fn submit(id: u64) -> String {
    let data = json!({"board": "b", "member": "bob", "score": 99});
    json!({"id": id, "rpc": {"method": "submit", "data": data}}).to_string()
}

/// Submits until that is refused, as the session is about to end. Returns how many wait now.
async fn submit_until_refused(world: &World, client: &mut Client) -> u64 {
    for waiting in 1.. {
        // Far fewer than a connection may have in flight.
        tokio::time::sleep(Duration::from_millis(2)).await;
        client.send(&submit(waiting)).await;
        let answer = within(async {
            loop {
                if world.engine.stats().pending_ops == waiting {
                    return None;
                }
                if let Some(object) = client.next_soon().await {
                    if object != json!({}) {
                        return Some(object);
                    }
                    client.send("{}").await;
                }
            }
        })
        .await;
        if let Some(refused) = answer {
            let message = "this connection is about to end: send it on the next one";
            let wanted = json!({"code": 503, "message": message, "temporary": true});
            assert_eq!(refused, json!({"id": waiting, "error": wanted}));
            return waiting - 1;
        }
    }
    unreachable!()
}

#[tokio::test]
async fn a_client_is_told_to_come_back_and_can() {
    let world = World::new(short());
    let began = Instant::now();
    let mut client = world.connect().await;
    client.subscribe("board:b:top:1").await;
    assert_eq!(client.closed_later().await, COME_BACK);
    // A tenth less than what is set, and a beat, which the session may have begun within.
    assert!(began.elapsed() >= TIME * 8 / 10, "{:?}", began.elapsed());
    world.empty().await;
    assert_eq!(closed(&world.hub.stats(), COME_BACK), 1);
    assert_eq!(world.connect().await.subscribe("board:b:top:1").await["total"], 3);
}

#[tokio::test]
async fn nobody_is_sent_away_who_has_not_been_there_for_long() {
    let world = World::new(Config { session_time: Duration::from_secs(60), ..short() });
    let mut client = world.connect().await;
    // Looked at several times.
    for _ in 0..3 {
        assert_eq!(client.next_or_ping().await, json!({}));
        client.send("{}").await;
    }
    client.subscribe("board:b:top:1").await;
    assert_eq!(closed(&world.hub.stats(), COME_BACK), 0);
}

#[tokio::test]
async fn answers_come_before_the_end() {
    let world = World::new(short());
    let mut client = world.connect().await;
    let waiting = submit_until_refused(&world, &mut client).await;
    assert!(waiting > 0);
    assert_eq!(closed(&world.hub.stats(), COME_BACK), 0);
    let sealed = world.engine.seal(Duration::ZERO, || 1_700_000_000_000).unwrap();
    world.engine.commit(sealed);
    for id in 1..=waiting {
        let answer: Value = client.next().await;
        assert_eq!((&answer["id"], &answer["rpc"]["data"]["score"]), (&json!(id), &json!(99)));
    }
    assert_eq!(client.closed_later().await, COME_BACK);
}

#[tokio::test]
async fn who_waits_in_vain_is_sent_away_in_the_end() {
    let world = World::new(Config { answer_timeout: TIME, ..short() });
    let mut client = world.connect().await;
    assert!(submit_until_refused(&world, &mut client).await > 0);
    assert_eq!(client.closed_later().await, COME_BACK);
    world.empty().await;
    assert_eq!(closed(&world.hub.stats(), COME_BACK), 1);
}
