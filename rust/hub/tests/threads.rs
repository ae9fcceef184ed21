//! A hub with several workers, and what connections leave behind: nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use rankwire_hub::Config;
use serde_json::json;
use support::{Client, World, quick};

const TOP: &str = "board:b:top:3";

#[tokio::test]
async fn every_worker_serves_its_share() {
    let world = World::new(Config { threads: 3, ..quick() });
    let _committer = world.committer();
    let mut clients = Vec::new();
    for _ in 0..9 {
        let mut client = world.connect().await;
        assert_eq!(client.subscribe(TOP).await["total"], 3);
        clients.push(client);
    }
    // Each worker has a view of its own for its three clients.
    let stats = world.hub.stats();
    assert_eq!((stats.connections, stats.subscriptions, stats.views), (9, 9, 3));
    for (score, number) in (100..).zip(0..clients.len()) {
        let data = json!({"board": "b", "member": "ann", "score": score});
        let call = json!({"id": 3, "rpc": {"method": "submit", "data": data}});
        clients[number].send(&call.to_string()).await;
        let (mut answered, mut seen) = (false, false);
        while !(answered && seen) {
            let object = clients[number].next().await;
            answered |= object["id"] == 3 && object["rpc"]["data"]["score"] == score;
            seen |= object["push"]["pub"]["data"]["entries"][0]["score"] == score;
        }
        for (_, client) in clients.iter_mut().enumerate().filter(|(other, _)| *other != number) {
            assert_eq!(client.publication(TOP).await["entries"][0]["score"], score);
        }
    }
    assert!(!world.hub.has_failed());
    let hub = Arc::new(world.hub);
    let ending = tokio::task::spawn_blocking({
        let hub = Arc::clone(&hub);
        move || hub.shutdown(Duration::from_secs(10))
    });
    for client in clients {
        assert_eq!(client.closed().await.0, 3001);
    }
    ending.await.unwrap();
    let stats = hub.stats();
    assert_eq!((stats.connections, stats.subscriptions, stats.views), (0, 0, 0));
    assert!(!hub.has_failed());
}

/// Ids of clients are all different, whichever worker gave them.
#[tokio::test]
async fn clients_have_different_ids() {
    let world = World::new(Config { threads: 3, ..quick() });
    let mut ids = std::collections::HashSet::new();
    for _ in 0..30 {
        let mut client = Client::open(world.hub.address()).await;
        client.send(r#"{"id":1,"connect":{}}"#).await;
        ids.insert(client.next().await["connect"]["client"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 30);
}

/// Thousands come and go, some properly and some not, and watch shared and personal views.
#[tokio::test]
async fn who_has_gone_leaves_nothing_behind() {
    const ROUNDS: i64 = 100;
    const EACH: u32 = 20;
    let world = World::new(Config { max_connections: EACH + 1, threads: 2, ..quick() });
    let mut witness = world.connect().await;
    witness.subscribe(TOP).await;
    for round in 0..ROUNDS {
        let mut clients = Vec::new();
        for number in 0..EACH {
            let mut client = world.connect().await;
            let member = format!("m{}", number % 7);
            let subscribe = |id, channel: String| {
                json!({"id": id, "subscribe": {"channel": channel}}).to_string()
            };
            let frame = [
                subscribe(2, TOP.to_owned()),
                subscribe(3, format!("board:b:member:{member}")),
                subscribe(4, format!("board:b:around:{member}:2")),
                json!({"id": 5, "subscribe": {"channel": "board:b:friends", "data": {"members": [member]}}}).to_string(),
                subscribe(6, "board:b:events".to_owned()),
                json!({"id": 7, "unsubscribe": {"channel": TOP}}).to_string(),
                json!({"id": 8, "ping": {}}).to_string(),
            ];
            client.send(&frame.join("\n")).await;
            clients.push(client);
        }
        world.submit("b", &[("ann", 100 + round)]);
        for client in &mut clients {
            while client.next().await["id"] != 8 {}
        }
        for (number, client) in clients.into_iter().enumerate() {
            match number % 3 {
                0 => drop(client),
                1 => client.leave().await,
                _ => client.misbehave().await,
            }
        }
        world.wait_for(|stats| stats.connections == 1).await;
        assert_eq!(witness.publication(TOP).await["entries"][0]["score"], 100 + round);
    }
    // There was a place for everybody: none was held by somebody who had gone.
    world.wait_for(|stats| (stats.subscriptions, stats.views, stats.blocked) == (1, 1, 0)).await;
    let stats = world.hub.stats();
    assert_eq!((stats.connections_total, stats.refused_total), (2001, 0));
    drop(witness);
    world.empty().await;
}
