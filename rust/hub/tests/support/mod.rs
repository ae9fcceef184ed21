//! A hub over an engine with data, and a client that speaks the protocol over a real socket.
#![allow(dead_code, reason = "every test file uses a part of it")]

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rankwire_access::{Access, Mode, Policy as AccessPolicy};
use rankwire_engine::{BoardConfig, Command, Engine, Limits, Policy, Recovery, Score, Submit};
use rankwire_hub::{CLOSE_CODES, Config, ERROR_CODES, Hub, Stats};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// Longer than anything here takes; no test depends on it in any other way.
const DEADLINE: Duration = Duration::from_secs(30);

/// A running hub and the engine behind it.
pub(crate) struct World {
    pub(crate) engine: Arc<Engine>,
    pub(crate) hub: Hub,
}

impl World {
    /// A hub with the board `b`, where `ann` has 30, `bob` 20 and `cid` 10.
    pub(crate) fn new(mut config: Config) -> Self {
        config.address = SocketAddr::from(([127, 0, 0, 1], 0));
        let engine = Arc::new(Recovery::new([]).finish(1, Limits::default()));
        let hub = Hub::start(Arc::clone(&engine), open(), config).unwrap();
        let world = Self { engine, hub };
        world.create("b");
        world.submit("b", &[("ann", 30), ("bob", 20), ("cid", 10)]);
        world
    }

    pub(crate) fn create(&self, board: &str) {
        let config = BoardConfig { policy: Policy::Last, ..BoardConfig::default() };
        self.run(Command::Create { board: board.to_owned(), config });
    }

    pub(crate) fn delete(&self, board: &str) {
        self.run(Command::Drop { board: board.to_owned() });
    }

    pub(crate) fn remove(&self, board: &str, member: &str) {
        self.run(Command::Remove { board: board.to_owned(), member: member.to_owned() });
    }

    pub(crate) fn submit(&self, board: &str, scores: &[(&str, i64)]) {
        let submit = |&(member, score): &(&str, i64)| Submit {
            member: member.to_owned(),
            score: Score::Int(score),
            at_ms: None,
        };
        let submits = scores.iter().map(submit).collect();
        self.run(Command::Batch { board: board.to_owned(), submits });
    }

    pub(crate) fn version(&self, board: &str) -> u64 {
        self.engine.board(board).unwrap().load().version()
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.hub.address()).await
    }

    /// Waits until the counters look as wanted.
    pub(crate) async fn wait_for(&self, wanted: impl Fn(&Stats) -> bool) {
        within(async {
            while !wanted(&self.hub.stats()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    fn run(&self, command: Command) {
        self.engine.enqueue(command).unwrap();
        let sealed = self.engine.seal(Duration::ZERO, || 1_700_000_000_000).unwrap();
        for reply in self.engine.commit(sealed) {
            reply.outcome.unwrap();
        }
    }
}

/// A configuration with short ticks.
pub(crate) fn quick() -> Config {
    let tick = Duration::from_millis(1);
    Config { tick, personal_tick: tick, ..Config::default() }
}

/// Everybody may do everything.
pub(crate) fn open() -> Arc<Access> {
    Arc::new(Access::new(AccessPolicy {
        mode: Mode::Open,
        anonymous_read: false,
        audience: None,
        issuer: None,
        key_submits_per_second: 0,
        member_submits_per_second: 0,
    }))
}

/// How many commands were answered with an error, by code.
pub(crate) fn failed(stats: &Stats, code: u16) -> u64 {
    stats.failed[ERROR_CODES.iter().position(|known| *known == code).unwrap()]
}

/// How many connections the hub has closed, by code.
pub(crate) fn closed(stats: &Stats, code: u16) -> u64 {
    stats.closed[CLOSE_CODES.iter().position(|known| *known == code).unwrap()]
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("took too long")
}

/// A WebSocket client.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    /// Objects of the last frame that were not asked for yet.
    objects: VecDeque<Value>,
}

impl Client {
    /// Opens a WebSocket and begins a session.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut client = Self::open(address).await;
        client.send(r#"{"id":1,"connect":{}}"#).await;
        assert_eq!(client.next().await["id"], 1);
        client
    }

    /// Opens a WebSocket.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::open_path(address, "/connection/websocket").await.unwrap()
    }

    pub(crate) async fn open_path(address: SocketAddr, path: &str) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::upgrade(stream, &format!("ws://{address}{path}")).await
    }

    /// Opens a WebSocket that takes next to nothing before it is read.
    pub(crate) async fn open_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(address).await.unwrap();
        Self::upgrade(stream, &format!("ws://{address}/connection/websocket")).await.unwrap()
    }

    pub(crate) async fn upgrade(
        stream: TcpStream,
        request: impl IntoClientRequest + Unpin,
    ) -> Result<Self, Error> {
        let (socket, _) = within(client_async(request, stream)).await?;
        Ok(Self { socket, objects: VecDeque::new() })
    }

    pub(crate) async fn send(&mut self, frame: &str) {
        self.send_message(Message::text(frame)).await;
    }

    pub(crate) async fn send_message(&mut self, message: Message) {
        within(self.socket.send(message)).await.unwrap();
    }

    /// The next object that is no ping; pings are answered.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            let object = self.next_or_ping().await;
            if object != json!({}) {
                return object;
            }
            self.send("{}").await;
        }
    }

    /// The next object.
    pub(crate) async fn next_or_ping(&mut self) -> Value {
        while self.objects.is_empty() {
            match within(self.socket.next()).await.unwrap().unwrap() {
                Message::Text(text) => {
                    let objects = text.split('\n').map(|line| serde_json::from_str(line).unwrap());
                    self.objects = objects.collect();
                }
                other => panic!("not a text frame: {other:?}"),
            }
        }
        self.objects.pop_front().unwrap()
    }

    /// The data of the next publication, which must be of this channel.
    pub(crate) async fn publication(&mut self, channel: &str) -> Value {
        let mut object = self.next().await;
        assert_eq!(object["push"]["channel"], channel, "{object}");
        object["push"]["pub"]["data"].take()
    }

    /// Reads publications of a channel up to the one with this version; returns it and how many
    /// there were.
    pub(crate) async fn publications_until(
        &mut self,
        channel: &str,
        version: u64,
    ) -> (Value, usize) {
        for count in 1.. {
            let data = self.publication(channel).await;
            if data["version"] == version {
                return (data, count);
            }
        }
        unreachable!()
    }

    /// Subscribes and returns the state that comes first.
    pub(crate) async fn subscribe(&mut self, channel: &str) -> Value {
        self.send(&json!({"id": 2, "subscribe": {"channel": channel, "flag": 1}}).to_string())
            .await;
        let reply = self.next().await;
        assert_eq!(reply["subscribe"]["recoverable"], true, "{reply}");
        self.publication(channel).await
    }

    /// Sends an RPC and returns its reply.
    pub(crate) async fn rpc(&mut self, method: &str, data: &str) -> Value {
        self.send(&format!(r#"{{"id":3,"rpc":{{"method":"{method}","data":{data}}}}}"#)).await;
        self.next().await
    }

    /// The code and the reason with which the server closes, after whatever else it sent.
    pub(crate) async fn closed(mut self) -> (u16, String) {
        within(async {
            while let Some(message) = self.socket.next().await {
                if let Message::Close(Some(frame)) = message.unwrap() {
                    return (frame.code.into(), frame.reason.to_string());
                }
            }
            panic!("closed without a code");
        })
        .await
    }
}

/// A text frame with any bytes in it.
pub(crate) fn text_frame(bytes: &'static [u8]) -> Frame {
    Frame::message(bytes, OpCode::Data(Data::Text), true)
}
