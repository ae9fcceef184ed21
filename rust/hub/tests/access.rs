//! Who may do what over WebSocket, and for how long.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rankwire_access::{Access, KeyRecord, NewTokenKey, Scope, new_key, new_token_key, sign_token};
use rankwire_engine::BoardConfig;
use rankwire_hub::Config;
use serde_json::{Value, json};
use support::{Client, World, guarded, quick};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Those who issue credentials, and the hub's door.
struct Issuer {
    access: Arc<Access>,
    signer: NewTokenKey,
    records: Vec<KeyRecord>,
}

impl Issuer {
    fn new(anonymous_read: bool) -> Self {
        let signer = new_token_key("HS256", "one").unwrap();
        let access = guarded(anonymous_read);
        access.set_token_keys(jwks(&signer).as_bytes()).unwrap();
        Self { access, signer, records: Vec::new() }
    }

    /// A token of `ann` with some more claims, good for so many seconds.
    fn token(&self, seconds: i64, claims: Value) -> String {
        token(&self.signer, "ann", seconds, claims)
    }

    fn key(&mut self, scopes: &[Scope], boards: &[&str]) -> String {
        let key = new_key().unwrap();
        let boards = boards.iter().map(ToString::to_string).collect();
        let scopes = scopes.iter().copied().collect();
        self.records.push(KeyRecord { id: key.id, hash: key.hash, scopes, boards });
        self.access.set_keys(self.records.clone());
        key.text
    }

    fn world(&self, config: Config) -> World {
        World::guarded(config, Arc::clone(&self.access))
    }
}

fn jwks(key: &NewTokenKey) -> String {
    format!(r#"{{"keys":[{}]}}"#, key.public_jwk)
}

fn token(signer: &NewTokenKey, member: &str, seconds: i64, mut claims: Value) -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs().cast_signed();
    claims["sub"] = member.into();
    claims["exp"] = (now + seconds).into();
    sign_token(signer.private_jwk.as_bytes(), claims.to_string().as_bytes()).unwrap()
}

async fn say_hello(client: &mut Client, token: &str) {
    client.send(&json!({"id": 1, "connect": {"token": token}}).to_string()).await;
}

async fn connect(world: &World, token: &str) -> Client {
    let mut client = Client::open(world.hub.address()).await;
    say_hello(&mut client, token).await;
    let reply = client.next().await;
    assert!(reply["connect"]["client"].is_string(), "{reply}");
    client
}

async fn refused(world: &World, token: &str) -> u16 {
    let mut client = Client::open(world.hub.address()).await;
    say_hello(&mut client, token).await;
    client.closed().await.0
}

#[tokio::test]
async fn a_session_begins_with_a_good_credential() {
    let mut issuer = Issuer::new(false);
    let key = issuer.key(&[Scope::Read], &[]);
    let world = issuer.world(quick());
    connect(&world, &key).await;
    let mut client = Client::open(world.hub.address()).await;
    say_hello(&mut client, &issuer.token(60, json!({}))).await;
    let reply = client.next().await;
    assert_eq!(reply["connect"]["expires"], true);
    assert!((58..=60).contains(&reply["connect"]["ttl"].as_u64().unwrap()), "{reply}");

    let forged = token(&new_token_key("HS256", "one").unwrap(), "ann", 60, json!({}));
    let unknown = new_key().unwrap().text;
    for bad in ["", "rubbish", "rwk_", &forged, &unknown, &key[..key.len() - 1], &"x".repeat(5000)]
    {
        assert_eq!(refused(&world, bad).await, 3500, "{bad}");
    }
}

#[tokio::test]
async fn an_expired_token_can_be_replaced() {
    let issuer = Issuer::new(true);
    let world = issuer.world(quick());
    let mut client = Client::open(world.hub.address()).await;
    say_hello(&mut client, &issuer.token(-60, json!({}))).await;
    let error = json!({"code": 109, "message": "token expired"});
    assert_eq!(client.next().await, json!({"id": 1, "error": error}));
    say_hello(&mut client, &issuer.token(60, json!({}))).await;
    assert_eq!(client.next().await["connect"]["expires"], true);
}

#[tokio::test]
async fn callers_without_a_credential_may_read_if_so_set() {
    let world = Issuer::new(true).world(quick());
    let mut client = connect(&world, "").await;
    assert_eq!(client.subscribe("board:b:top:1").await["total"], 3);
    assert_eq!(refused(&world, "rubbish").await, 3500);
    let world = Issuer::new(false).world(quick());
    assert_eq!(refused(&world, "").await, 3500);
}

#[tokio::test]
async fn the_handshake_may_bring_the_credential() {
    let mut issuer = Issuer::new(false);
    let key = issuer.key(&[Scope::Read], &[]);
    let world = issuer.world(quick());
    let address = world.hub.address();
    let url = format!("ws://{address}/connection/websocket");
    let token = issuer.token(60, json!({}));
    for (query, header, good) in [
        (format!("?token={token}"), None, true),
        (format!("?token={key}"), None, true),
        (String::new(), Some(format!("Bearer {token}")), true),
        (String::new(), Some(format!("bearer  {key}")), true),
        ("?token=rubbish".to_owned(), Some(format!("Bearer {key}")), true),
        ("?token=rubbish".to_owned(), None, false),
        (format!("?token={key}"), Some("Bearer rubbish".to_owned()), false),
        (String::new(), Some(format!("Basic {key}")), false),
    ] {
        let mut request = format!("{url}{query}").into_client_request().unwrap();
        if let Some(header) = &header {
            request.headers_mut().insert("Authorization", header.parse().unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        let mut client = Client::upgrade(stream, request).await.unwrap();
        say_hello(&mut client, "").await;
        if good {
            assert!(client.next().await["connect"]["client"].is_string(), "{query} {header:?}");
            client.subscribe("board:b:top:1").await;
        } else {
            assert_eq!(client.closed().await.0, 3500, "{query} {header:?}");
        }
    }
}

#[tokio::test]
async fn a_token_is_refreshed_by_its_owner_only() {
    let issuer = Issuer::new(true);
    let world = issuer.world(quick());
    let refresh = |token: &str| json!({"id": 9, "refresh": {"token": token}}).to_string();
    let mut client = connect(&world, &issuer.token(60, json!({"boards": ["b"]}))).await;
    client.send(&refresh(&issuer.token(900, json!({"boards": ["other"]})))).await;
    let reply = client.next().await;
    assert!((898..=900).contains(&reply["refresh"]["ttl"].as_u64().unwrap()), "{reply}");
    // What the new token says counts from now on.
    client.send(r#"{"id":2,"subscribe":{"channel":"board:b:top:1"}}"#).await;
    assert_eq!(client.next().await["error"]["code"], 103);
    client.send(&refresh(&issuer.token(-60, json!({})))).await;
    assert_eq!(client.next().await["error"]["code"], 109);
    client.send(&refresh(&token(&issuer.signer, "bob", 60, json!({})))).await;
    assert_eq!(client.closed().await.0, 3500);
    // Nor does somebody become another.
    let mut anonymous = connect(&world, "").await;
    anonymous.send(&refresh(&issuer.token(60, json!({})))).await;
    assert_eq!(anonymous.closed().await.0, 3500);
}

/// A configuration in which everybody is looked at every half second.
fn watchful() -> Config {
    let ping_interval = Duration::from_millis(500);
    let pong_timeout = Duration::from_millis(450);
    Config { ping_interval, pong_timeout, ..quick() }
}

#[tokio::test]
async fn a_session_ends_some_time_after_its_token() {
    let issuer = Issuer::new(true);
    let world = issuer.world(watchful());
    // Still good: clocks may differ by some seconds.
    let mut client = connect(&world, &issuer.token(-3, json!({}))).await;
    client.subscribe("board:b:top:1").await;
    let stays = connect(&world, &issuer.token(3600, json!({}))).await;
    let staying = tokio::spawn(stays.closed_later());
    assert_eq!(client.closed_later().await, 3005);
    world.wait_for(|stats| (stats.connections, stats.subscriptions) == (1, 0)).await;
    staying.abort();
}

#[tokio::test]
async fn a_key_that_is_taken_away_ends_its_sessions() {
    let mut issuer = Issuer::new(false);
    let (first, second) = (issuer.key(&[Scope::Read], &[]), issuer.key(&[Scope::Read], &[]));
    let world = issuer.world(watchful());
    let (mut gone, stays) = (connect(&world, &first).await, connect(&world, &second).await);
    let player = connect(&world, &issuer.token(3600, json!({}))).await;
    gone.subscribe("board:b:top:1").await;
    issuer.access.set_keys(issuer.records[1..].to_vec());
    let staying = tokio::spawn(stays.closed_later());
    let playing = tokio::spawn(player.closed_later());
    assert_eq!(gone.closed_later().await, 3500);
    assert!(!staying.is_finished() && !playing.is_finished());
    // The same with the key that tokens are signed with.
    let other = new_token_key("HS256", "two").unwrap();
    issuer.access.set_token_keys(jwks(&other).as_bytes()).unwrap();
    assert_eq!(playing.await.unwrap(), 3500);
    assert!(!staying.is_finished());
    staying.abort();
}

/// What somebody is answered: 0 for fine, or the code of the error.
type Answers = [u64; 10];

/// Reads of `open` and of `other`; submits of ann to `open`, of bob to `open`, of ann to `shut`,
/// which takes none of players, and of ann to `other`; subscriptions to `open` and to `other`;
/// a submit without a member to `open`, and one to a board that does not exist.
async fn try_all(client: &mut Client) -> Answers {
    let mut answers = Vec::new();
    for board in ["open", "other"] {
        let mut codes = Vec::new();
        for method in ["rank", "top", "around", "count"] {
            let data = match method {
                "rank" | "around" => json!({"board": board, "member": "ann"}),
                _ => json!({"board": board}),
            };
            codes.push(code(&client.rpc(method, &data.to_string()).await));
        }
        assert!(codes.windows(2).all(|pair| pair[0] == pair[1]), "{codes:?}");
        answers.push(codes[0]);
    }
    for (board, member) in [("open", "ann"), ("open", "bob"), ("shut", "ann"), ("other", "ann")] {
        let data = json!({"board": board, "member": member, "score": 1});
        answers.push(code(&client.rpc("submit", &data.to_string()).await));
    }
    for board in ["open", "other"] {
        let channel = format!("board:{board}:member:ann");
        client.send(&json!({"id": 2, "subscribe": {"channel": channel}}).to_string()).await;
        let reply = client.next().await;
        answers.push(code(&reply));
        if code(&reply) == 0 {
            client.publication(&channel).await;
            client.send(&json!({"id": 4, "unsubscribe": {"channel": channel}}).to_string()).await;
            assert_eq!(client.next().await["id"], 4);
        }
    }
    answers.push(code(&client.rpc("submit", r#"{"board":"open","score":1}"#).await));
    answers.push(code(&client.rpc("submit", r#"{"board":"no","member":"ann","score":1}"#).await));
    answers.try_into().unwrap()
}

fn code(reply: &Value) -> u64 {
    reply["error"]["code"].as_u64().unwrap_or(0)
}

fn boards(world: &World) {
    for (board, player_submits) in [("open", true), ("shut", false), ("other", true)] {
        world.create_as(board, BoardConfig { player_submits, ..BoardConfig::default() });
        world.submit(board, &[("ann", 5), ("bob", 6)]);
    }
}

#[tokio::test]
async fn callers_may_do_what_the_table_says() {
    let mut issuer = Issuer::new(true);
    let mut key = |scopes: &[Scope], boards: &[&str]| issuer.key(scopes, boards);
    let (read, submit) = (key(&[Scope::Read], &[]), key(&[Scope::Submit], &[]));
    let admin = key(&[Scope::Admin, Scope::Operator], &[]);
    let some = key(&[Scope::Read, Scope::Submit], &["op*", "no"]);
    let player = |claims| issuer.token(600, claims);
    let table: [(&str, String, Answers); 8] = [
        // Without a member it is not known whose score it is.
        ("anonymous", String::new(), [0, 0, 101, 101, 101, 101, 0, 0, 107, 101]),
        ("a player", player(json!({})), [0, 0, 0, 103, 103, 0, 0, 0, 0, 103]),
        (
            "a player who reads",
            player(json!({"scope": "read"})),
            [0, 0, 103, 103, 103, 103, 0, 0, 103, 103],
        ),
        (
            "a player of two boards",
            player(json!({"boards": ["open", "sh*"], "scope": "submit read"})),
            [0, 103, 0, 103, 103, 103, 0, 103, 0, 103],
        ),
        ("a key to read", read, [0, 0, 103, 103, 103, 103, 0, 0, 107, 103]),
        ("a key to submit", submit, [103, 103, 0, 0, 0, 0, 103, 103, 107, 404]),
        ("a key to manage", admin, [103, 103, 103, 103, 103, 103, 103, 103, 107, 103]),
        ("a key for some boards", some, [0, 103, 0, 0, 103, 103, 0, 103, 107, 404]),
    ];
    let world = issuer.world(quick());
    boards(&world);
    let _committer = world.committer();
    for (who, token, wanted) in table {
        let mut client = connect(&world, &token).await;
        assert_eq!(try_all(&mut client).await, wanted, "{who}");
    }

    let world = World::new(quick());
    boards(&world);
    let _committer = world.committer();
    let mut client = connect(&world, "anything").await;
    assert_eq!(try_all(&mut client).await, [0, 0, 0, 0, 0, 0, 0, 0, 107, 404], "everybody");
}
