//! Submits with an id: they count once, through whichever hub they come again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rankwire_access::{Access, KeyRecord, NewTokenKey, Scope, new_key, new_token_key, sign_token};
use rankwire_engine::BoardConfig;
use rankwire_hub::Hub;
use serde_json::{Value, json};
use support::{Client, World, failed, guarded, open, quick};

/// A submit to a board where the last one counts: each that counts is answered differently.
fn submit(id: u64, board: &str, member: &str, name: &str) -> String {
    let data = json!({"board": board, "member": member, "score": 99, "id": name});
    json!({"id": id, "rpc": {"method": "submit", "data": data}}).to_string()
}

fn relay_for(world: &World, access: Arc<Access>) -> Hub {
    let (core, relay) = UnixStream::pair().unwrap();
    world.hub.attach(core).unwrap();
    let listener = Hub::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    Hub::relay(relay, listener, access, quick()).unwrap()
}

/// Sends a submit and returns the receipt.
async fn receipt(client: &mut Client, board: &str, member: &str, name: &str) -> Value {
    client.send(&submit(7, board, member, name)).await;
    let reply = client.next().await;
    assert!(reply["rpc"]["data"]["version"].is_u64(), "{reply}");
    reply["rpc"]["data"].clone()
}

#[tokio::test]
async fn a_repeat_gets_the_receipt_of_the_first_time() {
    let world = World::new(quick());
    let relay = relay_for(&world, open());
    let (mut here, mut there) = (world.connect().await, Client::connect(relay.address()).await);
    let _committer = world.committer();
    let before = world.version("b");
    // Those of one message are committed together.
    let frame: Vec<_> = (2..22).map(|id| submit(id, "b", "bob", "one")).collect();
    here.send(&frame.join("\n")).await;
    let first = here.next().await["rpc"]["data"].take();
    assert_eq!((&first["previous_score"], &first["version"]), (&json!(20), &json!(before + 1)));
    for id in 3..22 {
        assert_eq!(here.next().await, json!({"id": id, "rpc": {"data": first}}));
    }
    // And those that come later, from anywhere.
    for client in [&mut there, &mut here] {
        assert_eq!(receipt(client, "b", "bob", "one").await, first);
    }
    assert_eq!(world.version("b"), before + 1);
    let second = receipt(&mut there, "b", "bob", "two").await;
    assert_eq!(second["previous_score"], 99);
    assert_eq!(receipt(&mut here, "b", "bob", "two").await, second);
}

#[tokio::test]
async fn another_submit_with_the_id_is_refused() {
    let world = World::new(quick());
    let relay = relay_for(&world, open());
    let committer = world.committer();
    let (mut here, mut there) = (world.connect().await, Client::connect(relay.address()).await);
    receipt(&mut here, "b", "bob", "one").await;
    let before = world.version("b");
    let wanted = json!({"code": 422, "message": "the id was used for another submit"});
    let bad = json!({"code": 107, "message": "bad request: id: a key is 1 to 128 printable ASCII characters"});
    for client in [&mut here, &mut there] {
        for data in [
            r#"{"board":"b","member":"bob","score":98,"id":"one"}"#,
            r#"{"board":"b","member":"ann","score":99,"id":"one"}"#,
            r#"{"board":"no","member":"bob","score":99,"id":"one"}"#,
            r#"{"board":"b","member":"bob","score":99,"at":"2020-01-01T00:00:00Z","id":"one"}"#,
        ] {
            assert_eq!(client.rpc("submit", data).await, json!({"id": 3, "error": wanted}));
        }
        let data = r#"{"board":"b","member":"bob","score":99,"id":""}"#;
        assert_eq!(client.rpc("submit", data).await, json!({"id": 3, "error": bad}));
    }
    assert_eq!(world.version("b"), before);
    assert_eq!(failed(&world.hub.stats(), 422), 4);
    assert_eq!(failed(&relay.stats(), 422), 4);
    // Whose an id is, only hub processes say.
    for client in [&mut here, &mut there] {
        for data in [
            r#"{"scope":"key:a","submit":{"board":"b","member":"bob","score":99,"id":"two"}}"#,
            r#"{"board":"b","member":"bob","score":99,"id":"two","scope":"key:a"}"#,
        ] {
            assert_eq!(client.rpc("submit", data).await["error"]["code"], 107);
        }
    }
    assert_eq!(world.version("b"), before);
    // What was refused is not remembered.
    let data = r#"{"board":"late","member":"bob","score":99,"id":"late"}"#;
    assert_eq!(here.rpc("submit", data).await["error"]["code"], 404);
    drop(committer);
    world.create("late");
    let _committer = world.committer();
    assert_eq!(here.rpc("submit", data).await["rpc"]["data"]["version"], 1);
}

/// Who may submit, with two keys and the tokens of players.
struct People {
    access: Arc<Access>,
    signer: NewTokenKey,
    keys: Vec<(String, String)>,
}

impl People {
    fn new() -> Self {
        let (access, signer) = (guarded(false), new_token_key("HS256", "one").unwrap());
        let jwks = format!(r#"{{"keys":[{}]}}"#, signer.public_jwk);
        access.set_token_keys(jwks.as_bytes()).unwrap();
        let keys = [new_key().unwrap(), new_key().unwrap()];
        let record = |key: &rankwire_access::NewKey| KeyRecord {
            id: key.id.clone(),
            hash: key.hash,
            scopes: [Scope::Submit].into_iter().collect(),
            boards: Vec::new(),
        };
        access.set_keys(keys.iter().map(record).collect());
        let keys = keys.into_iter().map(|key| (key.id, key.text)).collect();
        Self { access, signer, keys }
    }

    fn token(&self, member: &str) -> String {
        let claims = json!({"sub": member, "exp": 4_000_000_000_u64}).to_string();
        sign_token(self.signer.private_jwk.as_bytes(), claims.as_bytes()).unwrap()
    }
}

async fn connect(address: SocketAddr, token: &str) -> Client {
    let mut client = Client::open(address).await;
    client.send(&json!({"id": 1, "connect": {"token": token}}).to_string()).await;
    assert!(client.next().await["connect"]["client"].is_string());
    client
}

/// On the trunk they are still those of who sent them.
#[tokio::test]
async fn ids_are_their_callers_own_through_every_hub() {
    let people = People::new();
    let world = World::guarded(quick(), Arc::clone(&people.access));
    world.create_as("open", BoardConfig { player_submits: true, ..BoardConfig::default() });
    let relays = [(); 2].map(|()| relay_for(&world, Arc::clone(&people.access)));
    let _committer = world.committer();
    let (id, key) = &people.keys[0];
    // A player may be called like a key.
    let mut receipts = Vec::new();
    for credential in [key, &people.keys[1].1, &people.token(id)] {
        let mut answers = Vec::new();
        for hub in [&relays[0], &world.hub, &relays[1]] {
            let mut client = connect(hub.address(), credential).await;
            for _ in 0..2 {
                answers.push(receipt(&mut client, "open", id, "one").await);
            }
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        receipts.push(answers.swap_remove(0));
    }
    let versions: Vec<_> = receipts.iter().map(|receipt| &receipt["version"]).collect();
    assert_eq!(versions, [1, 2, 3]);
}
