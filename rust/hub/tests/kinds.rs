//! What is counted by kind of view.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rankwire_hub::limits::SLICE;
use rankwire_hub::{Config, Hub, Stats, ViewKind};
use serde_json::json;
use support::{Client, World, crowd, open, quick, within};

const TOP: &str = "board:b:top:3";
const BOB: &str = "board:b:member:bob";

/// Views, subscriptions, publications, deliveries and states that were through, of one kind.
type Counted = (u64, u64, u64, u64, u64);

fn counted(stats: &Stats, kind: ViewKind) -> Counted {
    let view = stats.by_view[kind as usize];
    let through = view.fanout.counts.iter().sum();
    let (publications, deliveries) = (view.publications_total, view.deliveries_total);
    (view.views, view.subscriptions, publications, deliveries, through)
}

/// Waits until the figures of one kind of view are as wanted, and says which differ if they never
/// are.
async fn wait_for(hub: &Hub, kind: ViewKind, wanted: Counted) {
    let mut last = counted(&hub.stats(), kind);
    let is_there = async {
        while last != wanted {
            tokio::time::sleep(Duration::from_millis(2)).await;
            last = counted(&hub.stats(), kind);
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), is_there).await;
    assert!(in_time.is_ok(), "{kind:?}: {last:?} and not {wanted:?}");
}

async fn subscribe_to_friends(client: &mut Client, friends: &[&str]) {
    let channel = "board:b:friends";
    let subscribe = json!({"channel": channel, "data": {"members": friends}});
    client.send(&json!({"id": 2, "subscribe": subscribe}).to_string()).await;
    assert_eq!(client.next().await["id"], 2);
    client.publication(channel).await;
}

#[tokio::test]
async fn every_kind_of_view_is_counted_apart() {
    let world = World::new(quick());
    let (mut one, mut two) = (world.connect().await, world.connect().await);
    for channel in [TOP, "board:b:page:2-3", BOB, "board:b:around:bob:1"] {
        one.subscribe(channel).await;
    }
    subscribe_to_friends(&mut one, &["bob"]).await;
    one.send(r#"{"id":2,"subscribe":{"channel":"board:b:events"}}"#).await;
    assert_eq!(one.next().await["id"], 2);
    two.subscribe(TOP).await;
    subscribe_to_friends(&mut two, &["cid"]).await;

    world.submit("b", &[("bob", 25)]);
    for _ in 0..5 {
        assert_eq!(one.next().await["push"]["pub"]["data"]["version"], world.version("b"));
    }
    two.publication(TOP).await;
    for (kind, wanted) in [
        (ViewKind::Top, (1, 2, 1, 4, 1)),
        (ViewKind::Page, (1, 1, 1, 2, 1)),
        (ViewKind::Member, (1, 1, 1, 2, 1)),
        (ViewKind::Around, (1, 1, 1, 2, 1)),
        // Of two views one has changed.
        (ViewKind::Friends, (2, 2, 1, 3, 1)),
        (ViewKind::Events, (1, 1, 0, 0, 0)),
    ] {
        wait_for(&world.hub, kind, wanted).await;
    }
    let stats = world.hub.stats();
    let totals = (stats.views, stats.subscriptions, stats.publications_total);
    assert_eq!((totals, stats.deliveries_total), ((7, 8, 5), 13));
    // To write to a socket takes more than a microsecond.
    let took = stats.by_view[ViewKind::Top as usize].fanout.micros;
    assert!(took > 0 && took < 30_000_000, "{took}");

    one.send(&json!({"id": 5, "unsubscribe": {"channel": BOB}}).to_string()).await;
    assert_eq!(one.next().await["id"], 5);
    wait_for(&world.hub, ViewKind::Member, (0, 0, 1, 2, 1)).await;
    wait_for(&world.hub, ViewKind::Top, (1, 2, 1, 4, 1)).await;
    drop((one, two));
    world.empty().await;
    wait_for(&world.hub, ViewKind::Top, (0, 0, 1, 4, 1)).await;
    wait_for(&world.hub, ViewKind::Friends, (0, 0, 1, 3, 1)).await;
    wait_for(&world.hub, ViewKind::Events, (0, 0, 0, 0, 0)).await;
}

/// However many slices it takes to reach all watchers.
#[tokio::test]
async fn a_state_is_through_once() {
    let watchers = SLICE + 4;
    let world = World::new(quick());
    let mut clients = Vec::new();
    for _ in 0..watchers {
        let mut client = world.connect().await;
        client.subscribe(TOP).await;
        clients.push(client);
    }
    for (round, score) in (1..=3).zip(100..) {
        world.submit("b", &[("bob", score)]);
        for client in &mut clients {
            assert_eq!(client.publication(TOP).await["entries"][0]["score"], score);
        }
        let all = watchers as u64;
        wait_for(&world.hub, ViewKind::Top, (1, all, round, all * (round + 1), round)).await;
    }
}

/// Workers share nothing: each has a view of its own.
#[tokio::test]
async fn every_worker_has_its_own_way() {
    let world = World::new(Config { threads: 3, ..quick() });
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = world.connect().await;
        client.subscribe(TOP).await;
        clients.push(client);
    }
    world.submit("b", &[("bob", 99)]);
    for client in &mut clients {
        client.publication(TOP).await;
    }
    wait_for(&world.hub, ViewKind::Top, (3, 6, 3, 12, 3)).await;
}

/// A hub process with a beat of 200 ms, in which it also tells its figures.
fn attach(hub: &Hub) -> Hub {
    let (ping_interval, pong_timeout) = (Duration::from_secs(5), Duration::from_secs(4));
    let config = Config { ping_interval, pong_timeout, ..quick() };
    let (core, trunk) = UnixStream::pair().unwrap();
    hub.attach(core).unwrap();
    let listener = Hub::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    Hub::relay(trunk, listener, open(), config).unwrap()
}

#[tokio::test]
async fn hub_processes_count_what_they_publish_and_deliver() {
    let world = World::new(quick());
    let relay = attach(&world.hub);
    let mut here = world.connect().await;
    here.subscribe(TOP).await;
    let mut there = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(relay.address()).await;
        client.subscribe(TOP).await;
        there.push(client);
    }
    there[0].subscribe(BOB).await;
    // The first state of a view comes to a hub process like any other.
    wait_for(&world.hub, ViewKind::Top, (2, 3, 1, 3, 1)).await;
    wait_for(&world.hub, ViewKind::Member, (2, 1, 1, 1, 1)).await;

    world.submit("b", &[("bob", 25)]);
    here.publication(TOP).await;
    there[0].next().await;
    there[0].next().await;
    there[1].publication(TOP).await;
    wait_for(&world.hub, ViewKind::Top, (2, 3, 3, 6, 3)).await;
    // The hub with the boards publishes for the hub process, and delivers to nobody.
    wait_for(&world.hub, ViewKind::Member, (2, 1, 3, 2, 3)).await;
    assert_eq!(counted(&relay.stats(), ViewKind::Top), (1, 2, 2, 4, 2));
    assert_eq!(counted(&relay.stats(), ViewKind::Member), (1, 1, 2, 2, 2));

    // What a hub process has done stays when it is gone, and what it held goes with it.
    let ending = tokio::task::spawn_blocking(move || drop(relay));
    for client in there {
        assert_eq!(client.closed().await.0, 3001);
    }
    ending.await.unwrap();
    wait_for(&world.hub, ViewKind::Top, (1, 1, 3, 6, 3)).await;
    wait_for(&world.hub, ViewKind::Member, (0, 0, 3, 2, 3)).await;
}

/// Views for hub processes are theirs, and counted there.
#[tokio::test]
async fn a_hub_without_a_door_counts_what_its_processes_count() {
    let world = World::new(quick());
    let inside = Hub::start_inside(Arc::clone(&world.engine), open(), quick()).unwrap();
    let relay = attach(&inside);
    let mut client = Client::connect(relay.address()).await;
    client.subscribe(TOP).await;
    world.submit("b", &[("bob", 25)]);
    client.publication(TOP).await;
    wait_for(&relay, ViewKind::Top, (1, 1, 2, 2, 2)).await;
    wait_for(&inside, ViewKind::Top, (1, 1, 2, 2, 2)).await;
}

/// A blocked watcher misses states of its own views, and does not keep them from being through.
#[tokio::test]
async fn states_are_missed_by_kind() {
    let (channel, world) = ("board:b:top:100", World::new(quick()));
    let names = crowd();
    world.submit("b", &names.iter().map(|name| (name.as_str(), 5)).collect::<Vec<_>>());
    let mut slow = Client::connect_narrow(world.hub.address()).await;
    slow.subscribe(channel).await;
    let mut other = world.connect().await;
    other.subscribe("board:b:member:ann").await;
    let mut score = 100;
    within(async {
        while world.hub.stats().conflated_total < 10 {
            score += 1;
            world.submit("b", &[("ann", score)]);
            assert_eq!(other.publication("board:b:member:ann").await["score"], score);
        }
    })
    .await;
    world
        .wait_for(|stats| {
            let [top, .., events] = stats.by_view;
            let through: u64 = top.fanout.counts.iter().sum();
            assert_eq!((top.conflated_total, events.conflated_total), (stats.conflated_total, 0));
            through == top.publications_total && through > 10
        })
        .await;
}
