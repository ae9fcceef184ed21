//! Clients that go from one node to another, which count the versions of a board differently.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use rankwire_engine::{BoardConfig, Command, Policy, Score, Submit};
use serde_json::{Value, json};
use support::{Client, World, quick};

const TOP: &str = "board:b:top:2";

/// A batch of one score.
fn one(member: &str, score: i64) -> Command {
    let submit = Submit { member: member.to_owned(), score: Score::Int(score), at_ms: None };
    Command::Batch { board: "b".to_owned(), submits: vec![submit] }
}

/// Subscribes with what the client knows, and returns the reply.
async fn subscribe(client: &mut Client, known: &Value) -> Value {
    let mut wish = json!({"channel": TOP});
    if !known.is_null() {
        wish["recover"] = true.into();
        wish["epoch"] = known["epoch"].clone();
        wish["offset"] = known["offset"].clone();
    }
    client.send(&json!({"id": 2, "subscribe": wish}).to_string()).await;
    client.next().await["subscribe"].take()
}

#[tokio::test]
async fn what_was_seen_on_another_node_is_not_taken_for_the_state_of_this_one() {
    let (one_node, other) = (World::node(quick(), 7), World::node(quick(), 8));
    let config = BoardConfig { policy: Policy::Last, ..BoardConfig::default() };
    let create = Command::Create { board: "b".to_owned(), config };
    let mut batches = vec![one_node.run(create)];
    batches.extend([("ann", 1), ("bob", 2)].map(|(m, s)| one_node.run(one(m, s))));
    let batches: Vec<_> = (1..).zip(&batches).map(|(n, bytes)| (7, n, bytes.as_slice())).collect();
    assert_eq!(other.engine.apply(&batches, false).unwrap().stop, None);
    other.run(one("ann", 3));
    one_node.run(one("ann", 4));
    let board = |world: &World| world.engine.board("b").unwrap();
    assert_eq!(board(&one_node).id(), board(&other).id());
    // The same number on both, and each has something else under it.
    assert_eq!(one_node.version("b"), other.version("b"));

    let mut client = one_node.connect().await;
    let known = subscribe(&mut client, &Value::Null).await;
    assert_eq!(client.publication(TOP).await["entries"][0], json!({"member": "ann", "score": 4}));
    // Where it was it has the newest state.
    let mut again = one_node.connect().await;
    let reply = subscribe(&mut again, &known).await;
    assert_eq!((&reply["recovered"], &reply["publications"]), (&json!(true), &json!(null)));
    let mut elsewhere = other.connect().await;
    let reply = subscribe(&mut elsewhere, &known).await;
    assert_eq!((&reply["was_recovering"], &reply["recovered"]), (&json!(true), &json!(null)));
    assert_ne!(reply["epoch"], known["epoch"]);
    // Where publications go that a reply does not carry, when nothing was recovered.
    let state = elsewhere.publication(TOP).await;
    assert_eq!(state["entries"][0], json!({"member": "ann", "score": 3}));
}
