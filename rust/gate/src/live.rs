//! A worker of the hub with clients at the other ends of its sockets. The kernel's part is not counted.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rankwire_access::{Access, Mode, Policy};
use rankwire_engine::Engine;
use rankwire_hub::centrifuge::{Body, Encoding, Subscribe};
use rankwire_hub::{Config, Stepped};

use crate::boards::settle;
use crate::game::{self, Source};
use crate::protocol::{masked, message};
use crate::{Measured, Path, once};

pub(crate) const PATHS: &[Path] = &[
    ("live-publish-json", || publications(Encoding::Json, false, 1)),
    ("live-publish-delta", || publications(Encoding::Protobuf, true, 1)),
    ("live-spread-json-200", || publications(Encoding::Json, false, WATCHERS)),
    ("live-spread-delta-200", || publications(Encoding::Protobuf, true, WATCHERS)),
    ("live-submit-json", || submits(Encoding::Json)),
    ("live-submit-protobuf", || submits(Encoding::Protobuf)),
];

/// As many sockets as a process of usual limits may have, less than the hub serves in one turn.
const WATCHERS: usize = 200;
const ROUNDS: u64 = 50;
/// Publications or turns before anything is counted.
const AGING: u64 = 5;
/// Submits of a client in one turn.
const SUBMITS: u32 = 16;
const JSON_PATH: &str = "/connection/websocket";
const PROTOBUF_PATH: &str = "/connection/websocket?format=protobuf";

/// A worker, its engine and its clients.
struct World {
    engine: Arc<Engine>,
    hub: Stepped,
    clients: Vec<UnixStream>,
    source: Source,
}

/// No work but that which is asked for: every state is due at once, and no ping comes between.
fn config() -> Config {
    Config {
        tick: Duration::from_nanos(1),
        deliveries_per_second: 1_000_000_000,
        ping_interval: Duration::from_secs(3600),
        commands_per_second: 1_000_000,
        ..Config::default()
    }
}

impl World {
    fn new() -> Result<Self, Box<dyn Error>> {
        let mut source = Source::new();
        let engine = Arc::new(game::engine(&mut source)?);
        let access = Access::new(Policy {
            mode: Mode::Open,
            anonymous_read: false,
            audience: None,
            issuer: None,
            key_submits_per_second: 0,
            member_submits_per_second: 0,
        });
        let hub = Stepped::new(Arc::clone(&engine), Arc::new(access), config())?;
        Ok(Self { engine, hub, clients: Vec::new(), source })
    }

    /// A client with a session.
    fn connect(&mut self, encoding: Encoding) -> Result<usize, Box<dyn Error>> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        self.hub.admit(theirs)?;
        let client = self.clients.len();
        self.clients.push(ours);
        let path = if encoding == Encoding::Json { JSON_PATH } else { PROTOBUF_PATH };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: gate\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.say(client, request.as_bytes())?;
        self.command(client, encoding, 1, Body::Connect { token: "".into() })?;
        Ok(client)
    }

    fn command(
        &mut self,
        client: usize,
        encoding: Encoding,
        id: u32,
        body: Body<'_>,
    ) -> Result<(), Box<dyn Error>> {
        let mut frame = Vec::new();
        masked(&mut frame, encoding, &message(encoding, id, body));
        self.say(client, &frame)
    }

    /// Sends something, and waits for the answer.
    fn say(&mut self, client: usize, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        self.clients[client].write_all(bytes)?;
        self.hub.turn()?;
        if self.hear(client)? == 0 {
            return Err("the hub did not answer".into());
        }
        Ok(())
    }

    /// How many bytes there are for a client, which are taken.
    fn hear(&mut self, client: usize) -> Result<usize, Box<dyn Error>> {
        let (mut buffer, mut bytes) = ([0; 16 * 1024], 0);
        loop {
            match self.clients[client].read(&mut buffer) {
                Ok(0) => return Err("the hub has closed the connection".into()),
                Ok(more) => bytes += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(bytes),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A game after which the list of the ten best is another one.
    fn lead(&mut self, round: u64) {
        let score = 3_000_000 + (round * 10).cast_signed();
        let commands = game::game(self.source.member(), score).into();
        settle(&self.engine, commands, &mut Vec::new());
    }
}

/// Publishes new states of one view to its watchers. Counted by delivery.
fn publications(encoding: Encoding, delta: bool, watchers: usize) -> Measured {
    let mut world = World::new()?;
    for _ in 0..watchers {
        let client = world.connect(encoding)?;
        let channel = "board:global:top:10".into();
        let subscribe = Subscribe { channel, delta, ..Subscribe::default() };
        world.command(client, encoding, 2, Body::Subscribe(subscribe))?;
    }
    for round in 0..AGING + ROUNDS {
        world.lead(round);
        let mut turn = || world.hub.turn().expect("the kernel takes part");
        once(round, AGING, &mut turn);
        for client in 0..watchers {
            if world.hear(client)? == 0 {
                return Err("a state was not delivered".into());
            }
        }
    }
    Ok(ROUNDS * watchers as u64)
}

/// Takes in submits, many of one client at once, and tells their outcomes; the commit in between is
/// not counted. Counted by submit.
fn submits(encoding: Encoding) -> Measured {
    let mut world = World::new()?;
    let client = world.connect(encoding)?;
    for round in 0..AGING + ROUNDS {
        let mut frames = Vec::new();
        for id in 1..=SUBMITS {
            let (member, score) = (world.source.member(), world.source.score(2_000_000));
            let data = format!(
                r#"{{"board":"global","member":"{}","score":{score}}}"#,
                game::name(member)
            );
            let body = Body::Rpc { method: "submit".into(), data: Some(data.as_bytes()) };
            masked(&mut frames, encoding, &message(encoding, id, body));
        }
        world.clients[client].write_all(&frames)?;
        let World { engine, hub, .. } = &mut world;
        let mut turn = || hub.turn().expect("the kernel takes part");
        once(round, AGING, &mut turn);
        settle(engine, Vec::new(), &mut Vec::new());
        once(round, AGING, &mut turn);
        if world.hear(client)? == 0 {
            return Err("submits were not answered".into());
        }
    }
    Ok(ROUNDS * u64::from(SUBMITS))
}
