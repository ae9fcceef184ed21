//! What watchers see while boards change.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use rankwire_hub::Config;
use serde_json::json;
use support::{Client, World, closed, quick};

const TOP: &str = "board:b:top:2";

/// A tick that never comes.
fn frozen() -> Config {
    Config { tick: Duration::from_secs(86_400), ..Config::default() }
}

#[tokio::test]
async fn every_change_of_the_state_is_published() {
    let world = World::new(quick());
    let mut client = world.connect().await;
    assert_eq!(client.subscribe(TOP).await["entries"][0], json!({"member": "ann", "score": 30}));

    world.submit("b", &[("bob", 40)]);
    let state = client.publication(TOP).await;
    assert_eq!(state["version"], world.version("b"));
    assert_eq!(state["entries"][0], json!({"member": "bob", "score": 40}));

    // Not among the best two, but the total is another one: that takes a little longer.
    world.submit("b", &[("dan", 1)]);
    let state = client.publication(TOP).await;
    assert_eq!((&state["total"], state["entries"].as_array().unwrap().len()), (&json!(4), 2));
}

#[tokio::test]
async fn what_drifts_waits_and_what_happens_does_not() {
    let personal_tick = Duration::from_secs(3600);
    let world = World::new(Config { personal_tick, ..quick() });
    let mut client = world.connect().await;
    client.subscribe(TOP).await;
    for n in 0..20 {
        world.submit("b", &[(&format!("m{n}"), 1)]);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    world.submit("b", &[("bob", 25)]);
    let state = client.publication(TOP).await;
    assert_eq!((&state["total"], &state["entries"][1]["score"]), (&json!(23), &json!(25)));
}

#[tokio::test]
async fn a_change_of_the_version_alone_is_not_published() {
    let world = World::new(quick());
    let mut client = world.connect().await;
    client.subscribe(TOP).await;
    client.subscribe("board:b:member:ann").await;
    // Neither view shows this, whenever a tick looks.
    for score in 1..10 {
        world.submit("b", &[("cid", score)]);
    }
    world.submit("b", &[("bob", 25)]);
    let state = client.publication(TOP).await;
    assert_eq!(state["entries"][1], json!({"member": "bob", "score": 25}));
    world.submit("b", &[("ann", 31)]);
    for _ in 0..2 {
        let state = client.next().await;
        assert_eq!(state["push"]["pub"]["data"]["version"], world.version("b"), "{state}");
    }
    assert_eq!(world.hub.stats().publications_total, 3);
}

#[tokio::test]
async fn a_member_is_watched_before_it_comes_and_after_it_goes() {
    let world = World::new(quick());
    let channel = "board:b:member:dan";
    let mut client = world.connect().await;
    let state = client.subscribe(channel).await;
    assert_eq!(
        (&state["score"], &state["rank"], &state["total"]),
        (&json!(null), &json!(null), &json!(3))
    );

    world.submit("b", &[("dan", 25)]);
    let state = client.publication(channel).await;
    assert_eq!(
        (&state["score"], &state["rank"], &state["total"]),
        (&json!(25), &json!(2), &json!(4))
    );

    world.remove("b", "dan");
    let state = client.publication(channel).await;
    assert_eq!(
        (&state["score"], &state["rank"], &state["total"]),
        (&json!(null), &json!(null), &json!(3))
    );
}

#[tokio::test]
async fn changes_between_two_ticks_become_one_publication() {
    let tick = Duration::from_millis(50);
    let world = World::new(Config { tick, ..Config::default() });
    let mut client = world.connect().await;
    client.subscribe(TOP).await;
    let start = Instant::now();
    for score in 100..2000 {
        world.submit("b", &[("ann", score)]);
    }
    let (state, count) = client.publications_until(TOP, world.version("b")).await;
    assert_eq!(state["entries"][0]["score"], 1999);
    let ticks = start.elapsed().as_millis() / tick.as_millis() + 1;
    assert!(count as u128 <= ticks, "{count} publications in {ticks} ticks");
}

#[tokio::test]
async fn watchers_of_a_view_share_its_states() {
    let world = World::new(quick());
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = world.connect().await;
        client.subscribe(TOP).await;
        clients.push(client);
    }
    let stats = world.hub.stats();
    assert_eq!((stats.views, stats.subscriptions), (1, 10));
    assert_eq!((stats.publications_total, stats.deliveries_total), (0, 10));
    world.submit("b", &[("ann", 99)]);
    for client in &mut clients {
        assert_eq!(client.publication(TOP).await["entries"][0]["score"], 99);
    }
    let stats = world.hub.stats();
    assert_eq!((stats.publications_total, stats.deliveries_total), (1, 20));
}

#[tokio::test]
async fn views_end_with_their_last_watcher() {
    let world = World::new(quick());
    let (mut one, mut two) = (world.connect().await, world.connect().await);
    one.subscribe(TOP).await;
    one.subscribe("board:b:member:ann").await;
    two.subscribe(TOP).await;
    assert_eq!(world.hub.stats().views, 2);

    one.send(&json!({"id": 5, "unsubscribe": {"channel": TOP}}).to_string()).await;
    assert_eq!(one.next().await, json!({"id": 5, "unsubscribe": {}}));
    assert_eq!((world.hub.stats().views, world.hub.stats().subscriptions), (2, 2));
    world.submit("b", &[("bob", 99)]);
    // The first client has left the top and only hears of the member.
    assert_eq!(one.publication("board:b:member:ann").await["rank"], 2);
    two.publication(TOP).await;

    drop((one, two));
    world
        .wait_for(|stats| (stats.connections, stats.subscriptions, stats.views) == (0, 0, 0))
        .await;
    // To leave without a word is no error.
    assert_eq!(world.hub.stats().failed.iter().sum::<u64>(), 0);
}

#[tokio::test]
async fn a_deleted_board_ends_its_subscriptions() {
    let world = World::new(quick());
    world.create("other");
    let mut client = world.connect().await;
    client.subscribe("board:other:top:5").await;
    client.subscribe("board:other:member:ann").await;
    client.subscribe(TOP).await;
    world.delete("other");
    for _ in 0..2 {
        let push = client.next().await;
        let over = json!({"code": 2500, "reason": "board deleted"});
        assert_eq!(push["push"]["unsubscribe"], over, "{push}");
    }
    client.send(r#"{"id":5,"subscribe":{"channel":"board:other:top:5"}}"#).await;
    assert_eq!(client.next().await["error"]["code"], 102);
    world.submit("b", &[("ann", 99)]);
    assert_eq!(client.publication(TOP).await["total"], 3);
    assert_eq!((world.hub.stats().views, world.hub.stats().subscriptions), (1, 1));
}

#[tokio::test]
async fn a_board_that_comes_back_is_another_one() {
    for config in [quick(), frozen()] {
        let world = World::new(config);
        let (mut old, mut new) = (world.connect().await, world.connect().await);
        old.subscribe(TOP).await;
        world.delete("b");
        world.create("b");
        // Also when no tick has noticed yet.
        assert_eq!(new.subscribe(TOP).await["total"], 0);
        let push = old.next().await;
        assert_eq!(push["push"]["unsubscribe"]["code"], 2500, "{push}");
        assert_eq!(old.subscribe(TOP).await["total"], 0);
        assert_eq!((world.hub.stats().views, world.hub.stats().subscriptions), (1, 2));
    }
}

#[tokio::test]
async fn a_view_that_begins_between_ticks_shows_the_present() {
    let world = World::new(frozen());
    let mut client = world.connect().await;
    assert_eq!(client.subscribe(TOP).await["entries"][0]["score"], 30);
    world.submit("b", &[("ann", 99)]);
    let other = "board:b:top:1";
    assert_eq!(client.subscribe(other).await["entries"][0]["score"], 99);
}

/// Members with long names, to make publications of some 20 KB.
fn crowd() -> Vec<String> {
    (0..100).map(|n| format!("{n:0>120}")).collect()
}

#[tokio::test]
async fn a_slow_watcher_gets_fewer_and_newer_states() {
    let channel = "board:b:top:100";
    let world = World::new(quick());
    let names = crowd();
    let crowd: Vec<_> = names.iter().map(|name| (name.as_str(), 5)).collect();
    world.submit("b", &crowd);
    let mut slow = Client::open_narrow(world.hub.address()).await;
    slow.send(r#"{"id":1,"connect":{}}"#).await;
    slow.next().await;
    slow.subscribe(channel).await;

    // More states than all buffers between the two can hold.
    let mut score = 100;
    while world.hub.stats().publications_total < 1000 {
        score += 1;
        world.submit("b", &[("ann", score)]);
        tokio::task::yield_now().await;
    }
    let (state, count) = slow.publications_until(channel, world.version("b")).await;
    assert_eq!(state["entries"][0]["score"], score);
    assert!(count < 500, "{count} of 1000 states were kept for a client that did not read");
    assert_eq!(closed(&world.hub.stats(), 3008), 0);
}

#[tokio::test]
async fn a_watcher_that_takes_nothing_is_closed_and_others_are_not() {
    let channel = "board:b:top:100";
    let write_timeout = Duration::from_millis(100);
    let (ping_interval, pong_timeout) = (Duration::from_millis(2500), Duration::from_millis(2400));
    let world = World::new(Config { write_timeout, ping_interval, pong_timeout, ..quick() });
    let names = crowd();
    let crowd: Vec<_> = names.iter().map(|name| (name.as_str(), 5)).collect();
    world.submit("b", &crowd);
    let mut stuck = Client::open_narrow(world.hub.address()).await;
    stuck.send(r#"{"id":1,"connect":{}}"#).await;
    stuck.next().await;
    stuck.subscribe(channel).await;
    let mut other = world.connect().await;
    other.subscribe("board:b:member:ann").await;

    let mut score = 100;
    while closed(&world.hub.stats(), 3008) == 0 {
        score += 1;
        world.submit("b", &[("ann", score)]);
        assert_eq!(other.publication("board:b:member:ann").await["score"], score);
    }
    world.wait_for(|stats| (stats.connections, stats.subscriptions) == (1, 1)).await;
}
