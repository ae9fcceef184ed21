//! Conversations in Protobuf.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use rankwire_hub::Config;
use rankwire_hub::centrifuge::{Body, Subscribe};
use serde_json::json;
use support::binary::{Binary, Said};
use support::{World, closed, quick};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

const TOP: &str = "board:b:top:2";

async fn connect(world: &World) -> Binary {
    Binary::connect(world.hub.address()).await
}

#[tokio::test]
async fn a_session_begins_and_watches() {
    let world = World::new(quick());
    let stream = TcpStream::connect(world.hub.address()).await.unwrap();
    let mut client = Binary::open(stream, world.hub.address()).await;
    client.send(1, Body::Connect { token: "".into() }).await;
    assert_eq!(client.next().await, (1, Said::Connected { ping_s: 25 }));

    client.subscribe(2, TOP, false).await;
    let (version, epoch) =
        (world.version("b"), format!("{:x}", world.engine.board("b").unwrap().id()));
    let offset = version + 1;
    let wanted = Said::Subscribed { epoch, offset, delta: false, recovered: false, state: None };
    assert_eq!(client.next().await, (2, wanted));
    let (0, Said::State(channel, state)) = client.next().await else { panic!("no state") };
    let entries = json!([{"member": "ann", "score": 30}, {"member": "bob", "score": 20}]);
    let wanted = json!({"version": version, "total": 3, "entries": entries});
    assert_eq!((channel.as_str(), state.offset, state.json()), (TOP, offset, wanted));

    world.submit("b", &[("bob", 40)]);
    let (0, Said::State(channel, state)) = client.next().await else { panic!("no state") };
    assert_eq!((channel.as_str(), state.offset), (TOP, offset + 1));
    assert_eq!(state.json()["entries"][0], json!({"member": "bob", "score": 40}));

    client.send(3, Body::Unsubscribe { channel: TOP.into() }).await;
    assert_eq!(client.next().await, (3, Said::Unsubscribed));
    world.submit("b", &[("bob", 41)]);
    client.send(4, Body::Ping).await;
    assert_eq!(client.next().await, (4, Said::Pong));
    assert_eq!(world.hub.stats().subscriptions, 0);
}

#[tokio::test]
async fn calls_and_errors_are_answered() {
    let world = World::new(quick());
    let mut client = connect(&world).await;
    client.rpc(2, "rank", r#"{"board":"b","member":"cid"}"#).await;
    let version = world.version("b");
    let standing = json!({"board": "b", "version": version, "member": "cid", "score": 10, "rank": 3, "total": 3});
    assert_eq!(client.next().await, (2, Said::Rpc(standing)));
    let errors = [
        ("rank", r#"{"board":"b","member":"zoe"}"#, 404),
        ("dance", "{}", 104),
        ("rank", "\u{0}", 107),
        ("rank", "", 107),
    ];
    for (id, (method, data, code)) in (3..).zip(errors) {
        client.rpc(id, method, data).await;
        assert_eq!(client.next().await, (id, Said::Error(code)), "{method} {data}");
    }
    let channels = [("board:no:top:1", 102), ("nonsense", 102), ("board:b:friends", 107)];
    for (id, (channel, code)) in (20..).zip(channels) {
        client.subscribe(id, channel, false).await;
        assert_eq!(client.next().await, (id, Said::Error(code)), "{channel}");
    }
    client.send(30, Body::Unavailable).await;
    assert_eq!(client.next().await, (30, Said::Error(108)));
}

#[tokio::test]
async fn a_subscription_ends_with_its_board() {
    let world = World::new(quick());
    let mut client = connect(&world).await;
    client.subscribe(2, TOP, false).await;
    client.next().await;
    client.next().await;
    world.delete("b");
    let over = Said::Over { channel: TOP.into(), code: 2500, reason: "board deleted".into() };
    assert_eq!(client.next().await, (0, over));
}

#[tokio::test]
async fn a_ping_is_a_zero_and_so_is_its_answer() {
    let ping_interval = Duration::from_millis(500);
    let pong_timeout = Duration::from_millis(400);
    let world = World::new(Config { ping_interval, pong_timeout, ..quick() });
    let mut client = connect(&world).await;
    for _ in 0..3 {
        assert_eq!(client.message().await, Message::binary(vec![0]));
        client.send_bytes(vec![0]).await;
    }
    // Answered pings keep it alive: it can still do something.
    client.send(2, Body::Ping).await;
    assert_eq!(client.next().await, (2, Said::Pong));
    assert_eq!(closed(&world.hub.stats(), 3012), 0);
}

#[tokio::test]
async fn recovery_gives_the_newest_state_or_none() {
    let world = World::new(quick());
    let epoch = format!("{:x}", world.engine.board("b").unwrap().id());
    let newest = world.version("b") + 1;
    for (offset, comes) in [(newest, false), (newest - 1, true), (1, true)] {
        let mut client = connect(&world).await;
        let epoch = epoch.as_str().into();
        let channel = TOP.into();
        let wish = Subscribe { channel, recover: true, offset, epoch, ..Subscribe::default() };
        client.send(2, Body::Subscribe(wish)).await;
        let (2, Said::Subscribed { recovered, offset: from, state, .. }) = client.next().await
        else {
            panic!("no reply");
        };
        assert_eq!((recovered, from, state.is_some()), (true, offset, comes));
        if let Some(state) = state {
            assert_eq!((state.offset, &state.json()["total"]), (newest, &json!(3)));
        }
        // Nothing comes that the client has.
        client.send(3, Body::Ping).await;
        assert_eq!(client.next().await, (3, Said::Pong));
    }
}

#[tokio::test]
async fn text_and_rubbish_end_a_session() {
    let world = World::new(quick());
    for rubbish in
        [&b"\x05\x08"[..], b"\x02\x08\x01", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"]
    {
        let mut client = connect(&world).await;
        client.send_bytes(rubbish.to_vec()).await;
        let Message::Close(Some(frame)) = client.message().await else { panic!("not closed") };
        assert_eq!(u16::from(frame.code), 3501, "{rubbish:?}");
    }
}
