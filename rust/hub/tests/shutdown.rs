//! How a hub ends and another one takes its place.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use rankwire_hub::{Config, Hub};
use support::{Client, World, open, quick};
use tokio::net::TcpStream;

const GRACE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn everybody_is_told_to_come_back_and_can() {
    let world = World::new(quick());
    let address = world.hub.address();
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = world.connect().await;
        client.subscribe("board:b:top:5").await;
        clients.push(client);
    }
    // One that never got beyond the TCP connection must not hold up the end.
    let _idle = TcpStream::connect(address).await.unwrap();
    let World { engine, hub } = world;
    let hub = Arc::new(hub);
    let ending = tokio::task::spawn_blocking({
        let hub = Arc::clone(&hub);
        move || hub.shutdown(GRACE)
    });
    for client in clients {
        assert_eq!(client.closed().await, (3001, "shutdown".to_owned()));
    }
    ending.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    let stats = hub.stats();
    assert_eq!((stats.connections, stats.subscriptions, stats.views), (0, 0, 0));
    hub.shutdown(GRACE);

    let hub = Hub::start(engine, open(), Config { address, ..quick() }).unwrap();
    let mut client = Client::connect(hub.address()).await;
    assert_eq!(client.subscribe("board:b:top:5").await["total"], 3);
}

#[tokio::test]
async fn the_grace_period_ends_with_clients_that_do_not_leave() {
    let world = World::new(quick());
    let mut client = world.connect().await;
    client.subscribe("board:b:top:5").await;
    // The client does not read, so it does not answer the close.
    tokio::task::spawn_blocking(move || world.hub.shutdown(Duration::ZERO)).await.unwrap();
}

#[test]
fn a_hub_that_cannot_start_says_why() {
    let world = World::new(quick());
    let address = world.hub.address();
    let engine = Arc::clone(&world.engine);
    let taken = Hub::start(engine, open(), Config { address, ..quick() }).unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    let invalid = Config { threads: 0, ..quick() };
    let invalid = Hub::start(Arc::clone(&world.engine), open(), invalid).unwrap_err();
    assert_eq!(invalid.kind(), std::io::ErrorKind::InvalidInput);
}
