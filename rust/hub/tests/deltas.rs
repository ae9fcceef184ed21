//! Deltas: whatever a client misses, leaves or comes back to, what it makes of them is the board.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;
use std::time::Duration;

use rankwire_hub::Config;
use rankwire_hub::centrifuge::{Body, Subscribe};
use rankwire_hub::delta;
use serde_json::{Value, json};
use support::binary::{Binary, Said, State};
use support::{Client, World, crowd, narrow, quick};
use tokio::net::TcpStream;

const TOP: &str = "board:b:top:60";
const ROWS: usize = 60;

/// What the view shows at each version, taken from the board.
type History = HashMap<u64, Value>;

fn note(world: &World, history: &mut History) {
    let board = world.engine.board("b").unwrap();
    let list = board.load();
    let rows = list
        .page(0, ROWS)
        .map(|entry| json!({"member": entry.member, "score": board.score(entry.key)}));
    let state = json!({"version": list.version(), "total": list.len(), "entries": rows.collect::<Vec<_>>()});
    history.insert(list.version(), state);
}

/// A connection in either encoding.
enum Link {
    Json(Client),
    Protobuf(Binary),
}

/// What a watcher hears.
#[derive(Debug)]
enum Heard {
    /// The subscription begins; with a state if it recovered one.
    Begins {
        recovered: bool,
        state: Option<State>,
    },
    State(State),
    Left,
}

impl Link {
    async fn connect(world: &World, is_json: bool, is_slow: bool) -> Self {
        let address = world.hub.address();
        if is_json {
            Self::Json(if is_slow {
                Client::connect_narrow(address).await
            } else {
                Client::connect(address).await
            })
        } else {
            let stream = if is_slow {
                narrow(address).await
            } else {
                TcpStream::connect(address).await.unwrap()
            };
            Self::Protobuf(Binary::connect_over(stream, address).await)
        }
    }

    async fn subscribe(&mut self, recover: Option<(&str, u64)>) {
        let (epoch, offset) = recover.unwrap_or_default();
        let recover = recover.is_some();
        match self {
            Self::Json(client) => {
                let wish = json!({"channel": TOP, "delta": "fossil", "recover": recover,
                    "epoch": epoch, "offset": offset});
                client.send(&json!({"id": 2, "subscribe": wish}).to_string()).await;
            }
            Self::Protobuf(client) => {
                let (channel, epoch) = (TOP.into(), epoch.into());
                let wish = Subscribe { channel, recover, epoch, offset, delta: true, data: None };
                client.send(2, Body::Subscribe(wish)).await;
            }
        }
    }

    async fn unsubscribe(&mut self) {
        match self {
            Self::Json(client) => {
                client.send(&json!({"id": 3, "unsubscribe": {"channel": TOP}}).to_string()).await;
            }
            Self::Protobuf(client) => {
                client.send(3, Body::Unsubscribe { channel: TOP.into() }).await;
            }
        }
    }

    /// What comes next; nothing if nothing comes soon and it need not.
    async fn hear(&mut self, must: bool) -> Option<Heard> {
        match self {
            Self::Json(client) => {
                let object = if must { client.next().await } else { client.next_soon().await? };
                Some(heard_json(&object))
            }
            Self::Protobuf(client) => {
                let said = if must { client.next().await } else { client.next_soon().await? };
                Some(match said {
                    (2, Said::Subscribed { delta: true, recovered, state, .. }) => {
                        Heard::Begins { recovered, state }
                    }
                    (3, Said::Unsubscribed) => Heard::Left,
                    (0, Said::State(channel, state)) if channel == TOP => Heard::State(state),
                    other => panic!("{other:?}"),
                })
            }
        }
    }
}

fn heard_json(object: &Value) -> Heard {
    // For clients that get deltas every state is a string.
    let state = |publication: &Value| State {
        offset: publication["offset"].as_u64().unwrap(),
        is_delta: publication["delta"] == true,
        data: publication["data"].as_str().unwrap().as_bytes().to_vec(),
    };
    if object["id"] == 3 {
        return Heard::Left;
    }
    if object["id"] == 2 {
        let reply = &object["subscribe"];
        assert_eq!(reply["delta"], true, "{object}");
        let recovered = reply["recovered"] == true;
        return Heard::Begins { recovered, state: reply["publications"].get(0).map(state) };
    }
    assert_eq!(object["push"]["channel"], TOP, "{object}");
    Heard::State(state(&object["push"]["pub"]))
}

/// A client that knows the view by what it was sent.
struct Watcher {
    name: String,
    is_json: bool,
    is_slow: bool,
    link: Link,
    /// The text that the next delta is to be applied to.
    text: Option<Vec<u8>>,
    offset: u64,
    subscribed: bool,
    deltas: usize,
    fulls: usize,
}

impl Watcher {
    async fn new(world: &World, is_json: bool, is_slow: bool) -> Self {
        let mut link = Link::connect(world, is_json, is_slow).await;
        link.subscribe(None).await;
        let name = format!("json {is_json} slow {is_slow}");
        let (text, offset, subscribed, deltas, fulls) = (None, 0, true, 0, 0);
        Self { name, is_json, is_slow, link, text, offset, subscribed, deltas, fulls }
    }

    fn take(&mut self, state: State, history: &History) {
        let State { offset, is_delta, data } = state;
        assert!(self.subscribed, "{}: a state after the end", self.name);
        // Who comes back may get again what it has, and never anything older.
        let least = self.offset + u64::from(self.text.is_some());
        assert!(offset >= least, "{}: {offset} after {}", self.name, self.offset);
        let text = if is_delta {
            self.deltas += 1;
            let old =
                self.text.as_ref().unwrap_or_else(|| panic!("{}: begins with a delta", self.name));
            let mut text = Vec::new();
            delta::apply(old, &data, &mut text, 1 << 20).unwrap();
            text
        } else {
            self.fulls += 1;
            data
        };
        let shown: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(shown["version"], offset - 1);
        assert_eq!(shown, history[&(offset - 1)], "{}", self.name);
        (self.text, self.offset) = (Some(text), offset);
    }

    fn hear(&mut self, heard: Heard, history: &History) {
        match heard {
            Heard::State(state) => self.take(state, history),
            Heard::Begins { recovered, state } => {
                self.text = None;
                if let Some(state) = state {
                    assert!(recovered && !state.is_delta, "{}: {state:?}", self.name);
                    self.take(state, history);
                }
            }
            Heard::Left => panic!("{}: left", self.name),
        }
    }

    async fn read(&mut self, most: usize, history: &History) {
        for _ in 0..most {
            let Some(heard) = self.link.hear(false).await else { return };
            self.hear(heard, history);
        }
    }

    async fn resubscribe(&mut self, recover: Option<&str>, history: &History) {
        self.link.unsubscribe().await;
        loop {
            match self.link.hear(true).await.unwrap() {
                Heard::Left => break,
                heard => self.hear(heard, history),
            }
        }
        let recover = recover.map(|epoch| (epoch, self.offset));
        self.text = None;
        self.link.subscribe(recover).await;
    }

    async fn reconnect(&mut self, world: &World, recover: Option<&str>) {
        self.link = Link::connect(world, self.is_json, self.is_slow).await;
        self.text = None;
        self.link.subscribe(recover.map(|epoch| (epoch, self.offset))).await;
    }
}

/// Numbers that look random, the same in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn score(&mut self) -> i64 {
        i64::try_from(self.below(1000)).unwrap()
    }

    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % most
    }
}

async fn storm(seed: u64) {
    // No pings in between.
    let (ping_interval, pong_timeout) = (Duration::from_secs(86_400), Duration::from_secs(3600));
    let world = World::new(Config { ping_interval, pong_timeout, ..quick() });
    let epoch = format!("{:x}", world.engine.board("b").unwrap().id());
    let names = crowd();
    let mut history = History::new();
    world.submit("b", &names.iter().map(|name| (name.as_str(), 5)).collect::<Vec<_>>());
    note(&world, &mut history);
    let mut watchers = Vec::new();
    for (is_json, is_slow) in [(true, false), (true, true), (false, false), (false, true)] {
        watchers.push(Watcher::new(&world, is_json, is_slow).await);
    }
    let mut random = Random(seed);
    for step in 0..400 {
        let name = &names[random.below(names.len())];
        match random.below(20) {
            0..3 => world.submit("b", &[(name, random.score())]),
            3..14 => {
                let scores: Vec<_> =
                    names.iter().map(|name| (name.as_str(), random.score())).collect();
                world.submit("b", &scores);
            }
            14 => world.submit("b", &[(&format!("new {step} \"\\é\u{1f600}"), random.score())]),
            action => {
                let watcher = &mut watchers[random.below(4)];
                let recover = (random.below(2) == 0).then_some(epoch.as_str());
                match action {
                    18 | 19 if watcher.is_slow && random.below(3) > 0 => {}
                    18 => watcher.resubscribe(recover, &history).await,
                    19 => watcher.reconnect(&world, recover).await,
                    _ if watcher.is_slow && random.below(16) > 0 => watcher.read(1, &history).await,
                    _ => watcher.read(50, &history).await,
                }
            }
        }
        note(&world, &mut history);
        // So many states are published that a slow one that reads none cannot have them all.
        let published = world.hub.stats().publications_total;
        if random.below(4) > 0 {
            world.submit("b", &[("ann", step + 1000)]);
            note(&world, &mut history);
            world.wait_for(|stats| stats.publications_total > published).await;
        }
    }
    // Some were behind, and got a whole state later.
    assert!(world.hub.stats().conflated_total > 10, "{:?}", world.hub.stats());
    world.submit("b", &[("last", 10_000)]);
    note(&world, &mut history);
    let last = world.version("b") + 1;
    for watcher in &mut watchers {
        while watcher.offset != last {
            let heard = watcher.link.hear(true).await.unwrap();
            watcher.hear(heard, &history);
        }
        assert!(watcher.fulls > 0 && watcher.deltas > 0, "{}", watcher.name);
    }
}

#[tokio::test]
async fn what_deltas_make_is_what_the_board_has() {
    for seed in 1..=2 {
        storm(seed).await;
    }
}

/// Clients with and without deltas share a view and get what each asked for.
#[tokio::test]
async fn deltas_are_for_those_who_asked_and_smaller() {
    let world = World::new(quick());
    let names = crowd();
    world.submit("b", &names.iter().map(|name| (name.as_str(), 5)).collect::<Vec<_>>());
    let mut plain = world.connect().await;
    plain.subscribe(TOP).await;
    let mut watcher = Watcher::new(&world, true, false).await;
    let mut history = History::new();
    note(&world, &mut history);
    for _ in 0..2 {
        let heard = watcher.link.hear(true).await.unwrap();
        watcher.hear(heard, &history);
    }
    for score in 100..120 {
        world.submit("b", &[("ann", score)]);
        note(&world, &mut history);
        assert_eq!(plain.publication(TOP).await, history[&world.version("b")]);
        let Some(Heard::State(state)) = watcher.link.hear(true).await else { panic!("no state") };
        assert!(state.is_delta && state.data.len() < 200, "{state:?}");
        watcher.take(state, &history);
    }
    assert_eq!((watcher.fulls, watcher.deltas), (1, 20));
}

/// The client has the state, so it gets none, and the next one is whole: what a delta would be
/// applied to, this server cannot know.
#[tokio::test]
async fn after_a_recovery_without_a_state_comes_a_whole_one() {
    let world = World::new(quick());
    let epoch = format!("{:x}", world.engine.board("b").unwrap().id());
    for is_json in [true, false] {
        let mut keeper = world.connect().await;
        keeper.subscribe(TOP).await;
        let mut history = History::new();
        note(&world, &mut history);
        let mut watcher = Watcher::new(&world, is_json, false).await;
        while watcher.text.is_none() {
            let heard = watcher.link.hear(true).await.unwrap();
            watcher.hear(heard, &history);
        }
        watcher.reconnect(&world, Some(&epoch)).await;
        let heard = watcher.link.hear(true).await.unwrap();
        assert!(matches!(heard, Heard::Begins { recovered: true, state: None }), "{heard:?}");
        world.submit("b", &[("bob", 50 + i64::from(is_json))]);
        note(&world, &mut history);
        let heard = watcher.link.hear(true).await.unwrap();
        watcher.hear(heard, &history);
        assert_eq!((watcher.fulls, watcher.deltas), (2, 0));
    }
}
