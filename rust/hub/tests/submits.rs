//! Submits over WebSocket: answered when they are durable, once, to whom they belong.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rankwire_engine::{BoardConfig, Limits, ScoreType, Sealed};
use serde_json::{Value, json};
use support::{Client, World, failed, open, quick, within};

/// The batch of so many submits, once all of them are on their way.
async fn seal(world: &World, submits: u64) -> Sealed {
    wait(world, submits).await;
    world.engine.seal(Duration::ZERO, || 1_700_000_000_000).unwrap()
}

/// Waits until so many submits wait to be sealed.
async fn wait(world: &World, submits: u64) {
    within(async {
        while world.engine.stats().pending_ops != submits {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

fn submit(id: u64, data: &Value) -> String {
    json!({"id": id, "rpc": {"method": "submit", "data": data}}).to_string()
}

fn score(member: &str, score: i64) -> Value {
    json!({"board": "b", "member": member, "score": score})
}

/// Sends something and waits for its answer, which must be the next thing that comes.
async fn ping(client: &mut Client, id: u64) {
    client.send(&json!({"id": id, "ping": {}}).to_string()).await;
    assert_eq!(client.next().await, json!({"id": id, "ping": {}}));
}

#[tokio::test]
async fn the_answer_comes_with_the_commit_and_not_before() {
    let world = World::new(quick());
    let mut client = world.connect().await;
    client.send(&submit(2, &score("bob", 99))).await;
    let sealed = seal(&world, 1).await;
    ping(&mut client, 3).await;
    let before = world.version("b");
    assert!(world.engine.commit(sealed).is_empty());
    let receipt = json!({"board": "b", "member": "bob", "score": 99, "rank": 1, "previous_score": 20,
        "previous_rank": 2, "changed": true, "version": before + 1});
    assert_eq!(client.next().await, json!({"id": 2, "rpc": {"data": receipt}}));
    assert_eq!(world.version("b"), before + 1);
}

/// Whoever has a receipt sees the version that it names.
#[tokio::test]
async fn readers_see_what_a_receipt_says() {
    let world = World::new(quick());
    let _committer = world.committer();
    let (mut writer, mut reader) = (world.connect().await, world.connect().await);
    for value in 100..200 {
        writer.send(&submit(2, &score("cid", value))).await;
        let receipt = writer.next().await["rpc"]["data"].take();
        assert!(receipt["version"].as_u64().unwrap() <= world.version("b"));
        let read = reader.rpc("rank", r#"{"board":"b","member":"cid"}"#).await;
        assert_eq!(read["rpc"]["data"]["score"], value);
    }
}

#[tokio::test]
async fn what_is_not_committed_is_said_so() {
    let world = World::new(quick());
    let mut client = world.connect().await;
    client.send(&submit(2, &score("bob", 99))).await;
    let sealed = seal(&world, 1).await;
    world.engine.abort(sealed);
    let wanted = json!({"code": 100, "message": "internal error", "temporary": true});
    assert_eq!(client.next().await, json!({"id": 2, "error": wanted}));
    // Refused before it is queued, and while it is.
    world.engine.stall();
    client.send(&submit(3, &score("bob", 99))).await;
    assert_eq!(client.next().await, json!({"id": 3, "error": wanted}));
    world.engine.resume();
    client.send(&submit(4, &score("bob", 99))).await;
    wait(&world, 1).await;
    world.engine.stall();
    assert_eq!(client.next().await, json!({"id": 4, "error": wanted}));
}

#[tokio::test]
async fn a_full_queue_refuses_what_does_not_fit() {
    let limits = Limits { pending_ops: 3, ..Limits::default() };
    let world = World::limited(quick(), open(), limits);
    let mut client = world.connect().await;
    let frame: Vec<_> = (2..7).map(|id| submit(id, &score("bob", 50))).collect();
    client.send(&frame.join("\n")).await;
    for id in 5..7 {
        let object = client.next().await;
        assert_eq!((&object["id"], &object["error"]["code"]), (&json!(id), &json!(111)));
        assert_eq!(object["error"]["temporary"], true);
    }
    let sealed = seal(&world, 3).await;
    world.engine.commit(sealed);
    for id in 2..5 {
        let object = client.next().await;
        assert_eq!((&object["id"], &object["rpc"]["data"]["score"]), (&json!(id), &json!(50)));
    }
}

#[tokio::test]
async fn errors_of_submits_name_their_field() {
    let world = World::new(quick());
    let _committer = world.committer();
    let mut client = world.connect().await;
    let cases = [
        (r#"{"board":"no","member":"a","score":1}"#, 404, "no board named"),
        (r#"{"board":"b","member":"a","score":0.5}"#, 107, "bad request: score: "),
        (
            r#"{"board":"b","member":"a","score":1,"at":"2999-01-01T00:00:00Z"}"#,
            107,
            "bad request: at: ",
        ),
        (r#"{"board":"b","score":1}"#, 107, "bad request: member: "),
        (r#"{"board":"b","member":"a","score":1,"x":1}"#, 107, "bad request: data: "),
    ];
    for (data, code, text) in cases {
        let reply = client.rpc("submit", data).await;
        assert_eq!(reply["error"]["code"], code, "{data}: {reply}");
        assert!(reply["error"]["message"].as_str().unwrap().contains(text), "{reply}");
    }
}

#[tokio::test]
async fn times_and_fractions_arrive() {
    let world = World::new(quick());
    world.create_as("f", BoardConfig { score: ScoreType::Float64, ..BoardConfig::default() });
    let _committer = world.committer();
    let mut client = world.connect().await;
    let at = |at: &str, score: f64| json!({"board": "f", "member": "a", "score": score, "at": at});
    for (at, changed) in [
        (at("2023-11-14T22:00:00+00:00", 2.5), true),
        // Before the other one: on a board where the last score counts it changes nothing.
        (at("2023-11-14T22:30:00+01:00", -0.25), false),
        (at("2023-11-14T22:00:00.001Z", 1e300), true),
    ] {
        let reply = client.rpc("submit", &at.to_string()).await;
        assert_eq!(reply["rpc"]["data"]["changed"], changed, "{at}: {reply}");
        if changed {
            assert_eq!(reply["rpc"]["data"]["score"], at["score"]);
        }
    }
}

#[tokio::test]
async fn many_submits_of_many_clients_are_answered_once_each() {
    const CLIENTS: u64 = 6;
    const EACH: u64 = 200;
    let world = World::new(quick());
    let _committer = world.committer();
    let mut tasks = Vec::new();
    for number in 0..CLIENTS {
        let mut client = world.connect().await;
        tasks.push(tokio::spawn(async move {
            let mut open: HashSet<u64> = HashSet::new();
            let id_of = |n| 1000 * (number + 1) + n;
            for chunk in 0..EACH / 20 {
                let ids: Vec<_> = (0..20).map(|n| id_of(chunk * 20 + n)).collect();
                open.extend(&ids);
                let frame = ids
                    .iter()
                    .map(|id| submit(*id, &score(&format!("m{number}"), id.cast_signed())));
                client.send(&frame.collect::<Vec<_>>().join("\n")).await;
            }
            while !open.is_empty() {
                let object = client.next().await;
                let id = object["id"].as_u64().unwrap();
                assert!(open.remove(&id), "not asked, or twice: {object}");
                let receipt = &object["rpc"]["data"];
                assert_eq!(
                    (receipt["score"].as_u64(), receipt["member"].as_str().unwrap().to_owned()),
                    (Some(id), format!("m{number}")),
                    "{object}"
                );
            }
            ping(&mut client, 5).await;
        }));
    }
    for task in tasks {
        within(task).await.unwrap();
    }
    assert_eq!(world.hub.stats().submits_total, CLIENTS * EACH);
}

#[tokio::test]
async fn more_in_flight_than_allowed_is_refused() {
    // Everybody, as owners of keys, may have so many.
    const MOST: u64 = rankwire_hub::limits::KEY_IN_FLIGHT as u64;
    let world = World::new(quick());
    let mut client = world.connect().await;
    let ids: Vec<u64> = (2..2 + MOST + 3).collect();
    for chunk in ids.chunks(64) {
        let frame: Vec<_> =
            chunk.iter().map(|id| submit(*id, &score("bob", id.cast_signed()))).collect();
        client.send(&frame.join("\n")).await;
    }
    for id in &ids[MOST as usize..] {
        let object = client.next().await;
        assert_eq!((object["id"].as_u64(), &object["error"]["code"]), (Some(*id), &json!(111)));
    }
    world.engine.commit(seal(&world, MOST).await);
    for id in &ids[..MOST as usize] {
        assert_eq!(client.next().await["id"], *id);
    }
    // All places are free again.
    let _committer = world.committer();
    client.send(&submit(9, &score("bob", 1))).await;
    assert_eq!(client.next().await["rpc"]["data"]["score"], 1);
}

/// Answers go to who asked, not to who has the slot now.
#[tokio::test]
async fn who_leaves_gets_no_answer_and_neither_does_the_next_one() {
    let world = World::new(quick());
    for round in 0..20 {
        let mut gone = world.connect().await;
        gone.send(&submit(7, &score("bob", round))).await;
        let sealed = seal(&world, 1).await;
        drop(gone);
        world.empty().await;
        // Takes the only free slot. The same id, to be taken for the other one.
        let mut next = world.connect().await;
        world.engine.commit(sealed);
        next.send(r#"{"id":7,"ping":{}}"#).await;
        assert_eq!(next.next().await, json!({"id": 7, "ping": {}}));
        ping(&mut next, 8).await;
        drop(next);
        world.empty().await;
    }
    assert_eq!(failed(&world.hub.stats(), 100), 0);
    assert_eq!(world.engine.board("b").unwrap().load().entry("bob").unwrap().rank, 2);
}

/// A server that goes down says what became of the submits that it took.
#[tokio::test]
async fn a_drain_waits_for_commits() {
    let world = World::new(quick());
    let mut busy = world.connect().await;
    let idle = world.connect().await;
    busy.send(&submit(2, &score("bob", 99))).await;
    let sealed = seal(&world, 1).await;
    let hub = Arc::new(world.hub);
    let ending = tokio::task::spawn_blocking({
        let hub = Arc::clone(&hub);
        move || hub.shutdown(Duration::from_secs(20))
    });
    assert_eq!(idle.closed().await.0, 3001);
    // A commit that takes long, compared with what a drain of two connections would.
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Nothing new is taken in meanwhile.
    busy.send(&submit(3, &score("bob", 100))).await;
    let object = busy.next().await;
    assert_eq!((&object["id"], &object["error"]["code"]), (&json!(3), &json!(503)));
    world.engine.commit(sealed);
    assert_eq!(busy.next().await["rpc"]["data"]["score"], 99);
    assert_eq!(busy.closed().await, (3001, "shutdown".to_owned()));
    ending.await.unwrap();
}

/// Submits one after the other, which is never refused, until the server closes. Returns its code.
async fn submit_on(mut client: Client) -> u16 {
    for id in 2.. {
        if client.try_send(&submit(id, &score("bob", 99))).await {
            match client.next_or_closed().await {
                Ok(answer) => assert_eq!(answer["rpc"]["data"]["score"], 99, "{answer}"),
                Err(code) => return code,
            }
        }
    }
    unreachable!()
}

/// Until its turn comes a client is served as ever, though others were told to leave before.
#[tokio::test]
async fn a_drain_refuses_nobody_who_waits_for_answers() {
    let world = World::new(quick());
    let _committer = world.committer();
    let first = world.connect().await;
    let mut others = Vec::new();
    for _ in 0..100 {
        others.push(tokio::spawn(submit_on(world.connect().await)));
    }
    let hub = Arc::new(world.hub);
    let ending = tokio::task::spawn_blocking(move || hub.shutdown(Duration::from_secs(20)));
    assert_eq!(first.closed().await.0, 3001);
    for other in others {
        assert_eq!(other.await.unwrap(), 3001);
    }
    ending.await.unwrap();
}

/// Another region takes the submits: their callers are told which.
#[tokio::test]
async fn submits_that_belong_to_another_region_are_refused() {
    let world = World::new(quick());
    let mut client = world.connect().await;
    world.engine.set_primary(Some("us".into()), false, false);
    let before = world.version("b");
    let message = r#"only the primary region takes this write, and that is "us""#;
    let wanted = json!({"code": 421, "message": message});
    let answer = client.rpc("submit", &score("bob", 99).to_string()).await;
    assert_eq!(answer["error"], wanted);
    assert_eq!((world.version("b"), world.engine.stats().pending_ops), (before, 0));
    assert_eq!(failed(&world.hub.stats(), 421), 1);
}
