//! A hub without boards and the hub that has them: clients cannot tell one from the other.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rankwire_access::{Access, new_token_key, sign_token};
use rankwire_engine::BoardConfig;
use rankwire_hub::{Config, Hub, delta};
use serde_json::{Value, json};
use support::{Client, World, crowd, guarded, open, quick, within};

const TOP: &str = "board:b:top:2";

/// A beat of 20 ms, in which a relay also tells its figures.
fn config() -> Config {
    let (ping_interval, pong_timeout) = (Duration::from_millis(500), Duration::from_millis(450));
    Config { ping_interval, pong_timeout, ..quick() }
}

fn relay_for(world: &World, access: Arc<Access>, config: Config) -> Hub {
    let (core, relay) = UnixStream::pair().unwrap();
    world.hub.attach(core).unwrap();
    let listener = Hub::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    Hub::relay(relay, listener, access, config).unwrap()
}

fn relay(world: &World) -> Hub {
    relay_for(world, open(), quick())
}

#[tokio::test]
async fn a_view_is_subscribed_once_for_all() {
    let world = World::new(quick());
    let relay = relay(&world);
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = Client::connect(relay.address()).await;
        let state = client.subscribe(TOP).await;
        assert_eq!(
            (&state["version"], &state["entries"][0]["score"]),
            (&json!(world.version("b")), &json!(30))
        );
        clients.push(client);
    }
    assert_eq!((relay.stats().subscriptions, relay.stats().views), (10, 1));
    for score in 100..110 {
        world.submit("b", &[("bob", score)]);
        for client in &mut clients {
            assert_eq!(
                client.publication(TOP).await["entries"][0],
                json!({"member": "bob", "score": score})
            );
        }
    }
    // One for the relay; its own figures are added once it has told them.
    world.wait_for(|stats| stats.subscriptions <= 11 && stats.views <= 2).await;
    drop(clients);
    world.wait_for(|stats| (stats.subscriptions, stats.views) == (0, 0)).await;
}

#[tokio::test]
async fn all_kinds_of_views_pass() {
    let world = World::new(quick());
    let relay = relay(&world);
    let (mut here, mut there) = (world.connect().await, Client::connect(relay.address()).await);
    let channels =
        ["top:3", "page:2-3", "member:bob", "member:zoe", "around:bob:1", "around:zoe:1"];
    for channel in channels.map(|rest| format!("board:b:{rest}")) {
        assert_eq!(there.subscribe(&channel).await, here.subscribe(&channel).await, "{channel}");
    }
    world.submit("b", &[("zoe", 25)]);
    let mut news = [Vec::new(), Vec::new()];
    for (client, news) in [&mut here, &mut there].into_iter().zip(&mut news) {
        for _ in channels {
            news.push(client.next().await.to_string());
        }
        news.sort();
    }
    assert_eq!(news[0], news[1]);
    for (channel, code) in [
        ("board:no:top:1", 102),
        ("nonsense", 102),
        ("board:b:top:0", 102),
        ("board:b:friends", 107),
    ] {
        let subscribe = json!({"id": 2, "subscribe": {"channel": channel}}).to_string();
        here.send(&subscribe).await;
        there.send(&subscribe).await;
        let answer = there.next().await;
        assert_eq!((&answer, &answer["error"]["code"]), (&here.next().await, &json!(code)));
    }
    // What was refused is not subscribed to, and can be once it is there.
    world.create("no");
    assert_eq!(there.subscribe("board:no:top:1").await["total"], 0);
}

#[tokio::test]
async fn everybody_has_friends_of_their_own() {
    let world = World::new(quick());
    let relay = relay(&world);
    let channel = "board:b:friends";
    let mut clients = Vec::new();
    for friends in [["ann", "zoe"], ["bob", "zoe"]] {
        let mut client = Client::connect(relay.address()).await;
        let data = json!({"members": friends});
        client
            .send(&json!({"id": 2, "subscribe": {"channel": channel, "data": data}}).to_string())
            .await;
        assert_eq!(client.next().await["id"], 2);
        let state = client.publication(channel).await;
        assert_eq!(state["entries"][0]["member"], friends[0], "{state}");
        clients.push((client, friends[0]));
    }
    world.submit("b", &[("zoe", 1)]);
    for (client, first) in &mut clients {
        let entries = client.publication(channel).await["entries"].take();
        assert_eq!((&entries[0]["member"], &entries[1]["member"]), (&json!(first), &json!("zoe")));
    }
}

#[tokio::test]
async fn a_deleted_board_is_told_of_once_and_can_come_back() {
    let world = World::new(quick());
    let relay = relay(&world);
    for address in [world.hub.address(), relay.address()] {
        let mut client = Client::connect(address).await;
        let channel = "board:b:events";
        client.send(&json!({"id": 2, "subscribe": {"channel": channel}}).to_string()).await;
        assert_eq!(client.next().await["subscribe"]["recoverable"], true);
        client.subscribe(TOP).await;
        world.delete("b");
        let (mut events, mut overs) = (Vec::new(), Vec::new());
        while overs.len() < 2 {
            let mut push = client.next().await["push"].take();
            let name = push["channel"].as_str().unwrap().to_owned();
            if push["pub"].is_null() {
                assert_eq!(push["unsubscribe"], json!({"code": 2500, "reason": "board deleted"}));
                overs.push(name);
            } else {
                assert!(!overs.contains(&name), "news after the end");
                events.push((name, push["pub"]["data"].take()));
            }
        }
        assert_eq!(events, [(channel.to_owned(), json!({"event": "deleted"}))]);
        world.create("b");
        world.submit("b", &[("ann", 1)]);
        assert_eq!(client.subscribe(TOP).await["total"], 1);
        world.submit("b", &[("ann", 2)]);
        assert_eq!(client.publication(TOP).await["entries"][0]["score"], 2);
    }
}

/// A view that is over stays as long as somebody does not know; that is no matter to its successor.
#[tokio::test]
async fn an_old_view_does_not_take_the_new_one_with_it() {
    let channel = "board:b:top:100";
    let world = World::new(quick());
    let names = crowd();
    let scores: Vec<_> = names.iter().map(|name| (name.as_str(), 5)).collect();
    world.submit("b", &scores);
    let relay = relay(&world);
    let mut quick = Client::connect(relay.address()).await;
    let mut slow = Client::connect_narrow(relay.address()).await;
    quick.subscribe(channel).await;
    slow.subscribe(channel).await;
    let mut score = 100;
    while relay.stats().blocked == 0 {
        score += 1;
        world.submit("b", &[("ann", score)]);
        quick.publications_until(channel, world.version("b")).await;
    }
    world.delete("b");
    assert_eq!(quick.next().await["push"]["unsubscribe"]["code"], 2500);
    world.create("b");
    assert_eq!(quick.subscribe(channel).await["total"], 0);
    while slow.next().await["push"]["unsubscribe"].is_null() {}
    assert_eq!(slow.subscribe(channel).await["total"], 0);
    for score in 1..5 {
        world.submit("b", &[("ann", score)]);
        for client in [&mut quick, &mut slow] {
            assert_eq!(client.publication(channel).await["entries"][0]["score"], score);
        }
    }
}

#[tokio::test]
async fn calls_pass_there_and_back() {
    let world = World::new(quick());
    let relay = relay(&world);
    let _committer = world.committer();
    let (mut here, mut there) = (world.connect().await, Client::connect(relay.address()).await);
    let calls = [
        ("rank", r#"{"board":"b","member":"cid"}"#),
        ("rank", r#"{"board":"b","member":"zoe"}"#),
        ("rank", r#"{"board":"no","member":"zoe"}"#),
        ("top", r#"{"board":"b","limit":1,"offset":1}"#),
        ("top", r#"{"board":"b","limit":0}"#),
        ("around", r#"{"board":"b","member":"bob","radius":1}"#),
        ("count", r#"{"board":"b","min":15}"#),
        ("count", r#"{"board":"b","min":"x"}"#),
        ("player-submit", r#"{"board":"b","member":"ann","score":1}"#),
        ("dance", "{}"),
        ("submit", r#"{"board":"b","member":"cid"}"#),
        ("submit", r#"{"board":"no","member":"cid","score":1}"#),
        ("submit", r#"{"board":"b","member":"cid","score":0.5}"#),
        ("submit", r#"{"board":"b","member":"cid","score":1,"at":"2999-01-01T00:00:00Z"}"#),
    ];
    for (method, data) in calls {
        assert_eq!(there.rpc(method, data).await, here.rpc(method, data).await, "{method} {data}");
    }
    let reply = there.rpc("submit", r#"{"board":"b","member":"a\"é","score":77}"#).await;
    assert_eq!(
        (&reply["rpc"]["data"]["rank"], &reply["rpc"]["data"]["version"]),
        (&json!(1), &json!(world.version("b")))
    );
    // Many at once, each answered once.
    let ids = 100..150u64;
    let call = |id| json!({"id": id, "rpc": {"method": "submit", "data": {"board": "b", "member": "m", "score": id}}});
    there.send(&ids.clone().map(|id| call(id).to_string()).collect::<Vec<_>>().join("\n")).await;
    for id in ids {
        let reply = there.next().await;
        assert_eq!((&reply["id"], &reply["rpc"]["data"]["score"]), (&json!(id), &json!(id)));
    }
}

#[tokio::test]
async fn players_submit_where_boards_take_it() {
    let world = World::new(quick());
    world.create_as("open", BoardConfig { player_submits: true, ..BoardConfig::default() });
    let signer = new_token_key("HS256", "one").unwrap();
    let access = guarded(false);
    access.set_token_keys(format!(r#"{{"keys":[{}]}}"#, signer.public_jwk).as_bytes()).unwrap();
    let relay = relay_for(&world, access, quick());
    let _committer = world.committer();
    let claims = json!({"sub": "ann", "exp": 4_000_000_000u32});
    let token = sign_token(signer.private_jwk.as_bytes(), claims.to_string().as_bytes()).unwrap();
    let mut client = Client::open(relay.address()).await;
    client.send(&json!({"id": 1, "connect": {"token": token}}).to_string()).await;
    client.next().await;
    for (data, code) in [
        (r#"{"board":"open","score":9}"#, json!(null)),
        (r#"{"board":"open","member":"ann","score":8}"#, json!(null)),
        (r#"{"board":"open","member":"bob","score":9}"#, json!(103)),
        (r#"{"board":"b","score":9}"#, json!(103)),
        (r#"{"board":"no","score":9}"#, json!(103)),
    ] {
        let reply = client.rpc("submit", data).await;
        assert_eq!(reply["error"]["code"], code, "{data}: {reply}");
    }
    assert_eq!(world.version("open"), 2);
    let strangers = Client::open(relay.address()).await;
    let mut strangers = strangers;
    strangers.send(r#"{"id":1,"connect":{}}"#).await;
    assert_eq!(strangers.closed().await.0, 3500);
}

#[tokio::test]
async fn deltas_are_made_by_the_relay() {
    let world = World::new(quick());
    let names = crowd();
    world.submit("b", &names.iter().map(|name| (name.as_str(), 5)).collect::<Vec<_>>());
    let relay = relay(&world);
    let channel = "board:b:top:50";
    let mut client = Client::connect(relay.address()).await;
    client
        .send(&json!({"id": 2, "subscribe": {"channel": channel, "delta": "fossil"}}).to_string())
        .await;
    assert_eq!(client.next().await["subscribe"]["delta"], true);
    let mut text = client.publication(channel).await.as_str().unwrap().as_bytes().to_vec();
    for score in 100..110 {
        world.submit("b", &[("ann", score)]);
        let push = client.next().await["push"]["pub"].take();
        assert_eq!(push["delta"], true, "{push}");
        let mut new = Vec::new();
        delta::apply(&text, push["data"].as_str().unwrap().as_bytes(), &mut new, 1 << 20).unwrap();
        let state: Value = serde_json::from_slice(&new).unwrap();
        assert_eq!(
            (&state["version"], &state["entries"][0]["score"]),
            (&json!(world.version("b")), &json!(score))
        );
        text = new;
    }
}

#[tokio::test]
async fn clients_recover_wherever_they_come_back() {
    let world = World::new(quick());
    let relay = relay(&world);
    let (here, there) = (world.hub.address(), relay.address());
    let epoch = format!("{:x}", world.engine.life(&world.engine.board("b").unwrap()));
    for (from, to) in [(here, there), (there, here)] {
        let mut client = Client::connect(from).await;
        client.send(&json!({"id": 2, "subscribe": {"channel": TOP}}).to_string()).await;
        let reply = client.next().await["subscribe"].take();
        let offset = client.next().await["push"]["pub"]["offset"].take();
        assert_eq!((&reply["epoch"], &reply["offset"]), (&json!(epoch), &offset));
        let wish = json!({"channel": TOP, "recover": true, "epoch": epoch, "offset": offset});
        let wish = json!({"id": 2, "subscribe": wish}).to_string();
        let mut same = Client::connect(to).await;
        same.send(&wish).await;
        let reply = same.next().await["subscribe"].take();
        assert_eq!((&reply["recovered"], &reply["publications"]), (&json!(true), &json!(null)));
        drop((client, same));
        world.wait_for(|stats| stats.views == 0).await;
        world.submit("b", &[("ann", world.version("b").cast_signed() + 1000)]);
        let mut later = Client::connect(to).await;
        later.send(&wish).await;
        let reply = later.next().await["subscribe"].take();
        assert_eq!(reply["recovered"], true);
        assert_eq!(reply["publications"][0]["data"]["version"], world.version("b"));
        drop(later);
        world.wait_for(|stats| stats.views == 0).await;
    }
}

/// Answers to a subscription that was given up are not taken for those to its successor.
#[tokio::test]
async fn who_comes_back_at_once_gets_one_state_of_each() {
    let world = World::new(quick());
    let relay = relay(&world);
    let mut client = Client::connect(relay.address()).await;
    for round in 0..20 {
        let subscribe = |id: u64| json!({"id": id, "subscribe": {"channel": TOP}}).to_string();
        let unsubscribe = |id: u64| json!({"id": id, "unsubscribe": {"channel": TOP}}).to_string();
        let frame = [subscribe(2), unsubscribe(3), subscribe(4), unsubscribe(5), subscribe(6)];
        client.send(&frame.join("\n")).await;
        for id in [3, 5] {
            assert_eq!(client.next().await, json!({"id": id, "unsubscribe": {}}));
        }
        assert_eq!(client.next().await["id"], 6);
        assert_eq!(client.publication(TOP).await["total"], 3);
        world.submit("b", &[("ann", 100 + round)]);
        assert_eq!(client.publication(TOP).await["entries"][0]["score"], 100 + round);
        client.send(&unsubscribe(7)).await;
        assert_eq!(client.next().await["id"], 7);
    }
    world.wait_for(|stats| (stats.subscriptions, stats.views) == (0, 0)).await;
}

/// The replies to what one client asks do not count against another's, or against its own.
#[tokio::test]
async fn a_lot_at_once_is_not_too_much() {
    let world = World::new(quick());
    let names = crowd();
    world.submit("b", &names.iter().map(|name| (name.as_str(), 5)).collect::<Vec<_>>());
    let relay = relay(&world);
    let mut client = Client::connect(relay.address()).await;
    let subscribe = |(id, name): (u64, &String)| {
        json!({"id": id, "subscribe": {"channel": format!("board:b:around:{name}:50")}}).to_string()
    };
    let frame: Vec<_> = (2..).zip(&names).map(subscribe).take(40).collect();
    client.send(&frame.join("\n")).await;
    let (mut replies, mut states) = (0, 0);
    while replies < 40 || states < 40 {
        let object = client.next().await;
        assert!(object["error"].is_null(), "{object}");
        if object["push"].is_null() { replies += 1 } else { states += 1 }
    }
}

#[tokio::test]
async fn figures_add_up_at_the_core() {
    let world = World::new(config());
    let (one, two) = (relay_for(&world, open(), config()), relay_for(&world, open(), config()));
    let mut clients = Vec::new();
    for address in [world.hub.address(), one.address(), two.address(), two.address()] {
        let mut client = Client::connect(address).await;
        client.subscribe(TOP).await;
        clients.push(client);
    }
    // What relays ask of the core is not counted again.
    world
        .wait_for(|stats| (stats.connections, stats.subscriptions, stats.views) == (4, 4, 3))
        .await;
    drop(clients);
    world.empty().await;
    // What a relay holds goes with it.
    let _last = Client::connect(one.address()).await;
    world.wait_for(|stats| stats.connections == 1).await;
    tokio::task::spawn_blocking(move || drop(one)).await.unwrap();
    world.wait_for(|stats| stats.connections == 0).await;
    assert!(!two.has_failed());
}

#[tokio::test]
async fn a_relay_ends_with_its_core() {
    let world = World::new(quick());
    let relay = relay(&world);
    let mut client = Client::connect(relay.address()).await;
    client.subscribe(TOP).await;
    assert!(!relay.has_failed());
    let hub = world.hub;
    tokio::task::spawn_blocking(move || drop(hub)).await.unwrap();
    assert_eq!(client.closed().await, (3001, "shutdown".to_owned()));
    within(async {
        while !relay.has_failed() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_stopped_relay_gives_back_what_it_had() {
    let world = World::new(quick());
    let relay = relay(&world);
    let (mut here, mut there) = (world.connect().await, Client::connect(relay.address()).await);
    here.subscribe(TOP).await;
    there.subscribe(TOP).await;
    there.subscribe("board:b:member:ann").await;
    let relay = Arc::new(relay);
    let ending = tokio::task::spawn_blocking({
        let relay = Arc::clone(&relay);
        move || relay.shutdown(Duration::from_secs(5))
    });
    assert_eq!(there.closed().await.0, 3001);
    ending.await.unwrap();
    world
        .wait_for(|stats| (stats.connections, stats.subscriptions, stats.views) == (1, 1, 1))
        .await;
    world.submit("b", &[("bob", 77)]);
    assert_eq!(here.publication(TOP).await["entries"][0]["score"], 77);
    assert!(!relay.has_failed() && !world.hub.has_failed());
}
