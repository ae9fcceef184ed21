//! A hub over an engine with data, and a client that speaks the protocol over a real socket.
#![allow(dead_code, reason = "every test file uses a part of it")]

pub(crate) mod binary;

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rankwire_access::{Access, Mode, Policy as AccessPolicy};
use rankwire_engine::{
    Answer, BoardConfig, Command, Engine, Hash, Limits, Policy, Recovery, Score, Sealed, Submit,
};
use rankwire_hub::ws::frame::{self, Opcode};
use rankwire_hub::{CLOSE_CODES, Config, ERROR_CODES, Hub, Stats};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// The engine's time.
const NOW_MS: i64 = 1_700_000_000_000;

/// Longer than anything here takes; no test depends on it in any other way.
const DEADLINE: Duration = Duration::from_secs(30);

/// A running hub and the engine behind it.
pub(crate) struct World {
    pub(crate) engine: Arc<Engine>,
    pub(crate) hub: Hub,
}

impl World {
    /// A hub with the board `b`, where `ann` has 30, `bob` 20 and `cid` 10.
    pub(crate) fn new(config: Config) -> Self {
        Self::guarded(config, open())
    }

    /// The same, with rules of its own about who may do what.
    pub(crate) fn guarded(config: Config, access: Arc<Access>) -> Self {
        Self::limited(config, access, Limits::default())
    }

    /// The same, with limits of its own for the engine.
    pub(crate) fn limited(config: Config, access: Arc<Access>, limits: Limits) -> Self {
        let world = Self::around(Recovery::new([], []).finish(1, limits, false), access, config);
        world.create("b");
        world.submit("b", &[("ann", 30), ("bob", 20), ("cid", 10)]);
        world
    }

    /// One of many nodes, which has no boards yet.
    pub(crate) fn node(config: Config, origin: u64) -> Self {
        Self::around(Recovery::new([], []).finish(origin, Limits::default(), true), open(), config)
    }

    fn around(engine: Engine, access: Arc<Access>, mut config: Config) -> Self {
        config.address = SocketAddr::from(([127, 0, 0, 1], 0));
        let engine = Arc::new(engine);
        let hub = Hub::start(Arc::clone(&engine), access, config).unwrap();
        Self { engine, hub }
    }

    pub(crate) fn create(&self, board: &str) {
        self.create_as(board, BoardConfig::default());
    }

    /// Creates a board whose last scores count.
    pub(crate) fn create_as(&self, board: &str, config: BoardConfig) {
        let config = BoardConfig { policy: Policy::Last, ..config };
        self.run(Command::Create { board: board.to_owned(), config });
    }

    /// Commits what comes in until it is dropped, and keeps answers as a storage does.
    pub(crate) fn committer(&self) -> Committer {
        let (engine, stop) = (Arc::clone(&self.engine), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut kept = HashMap::new();
            while !stopped.load(Ordering::Relaxed) {
                let Some(mut sealed) = engine.seal(Duration::from_millis(5), || NOW_MS) else {
                    return;
                };
                keep(&engine, &mut sealed, &mut kept);
                engine.commit(sealed);
            }
        });
        Committer { stop, thread: Some(thread) }
    }

    /// Waits until nobody is there and nothing is left of those who were.
    pub(crate) async fn empty(&self) {
        self.wait_for(|s| (s.connections, s.subscriptions, s.views, s.blocked) == (0, 0, 0, 0))
            .await;
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

    /// Does something, and returns what stands in the journal then.
    pub(crate) fn run(&self, command: Command) -> Vec<u8> {
        self.engine.enqueue(command).unwrap();
        let sealed = self.engine.seal(Duration::ZERO, || NOW_MS).unwrap();
        let bytes = sealed.bytes.clone();
        for reply in self.engine.commit(sealed) {
            reply.outcome.unwrap();
        }
        bytes
    }
}

/// Keeps the answers of a batch, but seals it again without what was answered before.
fn keep(engine: &Engine, sealed: &mut Sealed, kept: &mut HashMap<Hash, Answer>) {
    loop {
        let keys = sealed.answers.iter().map(|answer| &answer.key).chain(&sealed.doubted);
        let known: Vec<_> = keys.filter_map(|key| kept.get(key).cloned()).collect();
        if known.is_empty() {
            break;
        }
        engine.again(sealed, known, Vec::new(), || NOW_MS);
    }
    kept.extend(sealed.answers.iter().map(|answer| (answer.key, answer.clone())));
}

/// A thread that commits.
pub(crate) struct Committer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Members with names of 120 bytes, to make states of some 16 KB.
pub(crate) fn crowd() -> Vec<String> {
    (0..100).map(|n| format!("{n:0>120}")).collect()
}

/// A configuration with short ticks.
pub(crate) fn quick() -> Config {
    let tick = Duration::from_millis(1);
    Config { tick, personal_tick: tick, ..Config::default() }
}

/// Everybody may do everything.
pub(crate) fn open() -> Arc<Access> {
    Arc::new(Access::new(policy(Mode::Open, false)))
}

/// Only known callers may do something, and perhaps everybody may read.
pub(crate) fn guarded(anonymous_read: bool) -> Arc<Access> {
    Arc::new(Access::new(policy(Mode::Keys, anonymous_read)))
}

fn policy(mode: Mode, anonymous_read: bool) -> AccessPolicy {
    AccessPolicy {
        mode,
        anonymous_read,
        audience: None,
        issuer: None,
        key_submits_per_second: 0,
        member_submits_per_second: 0,
    }
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

    /// The same over a socket that takes next to nothing before it is read.
    pub(crate) async fn connect_narrow(address: SocketAddr) -> Self {
        let mut client = Self::open_narrow(address).await;
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
        let stream = narrow(address).await;
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

    /// Sends a frame unless no more go into the socket for a while. What was begun is still sent.
    pub(crate) async fn try_send(&mut self, frame: &str) -> bool {
        let a_while = Duration::from_millis(500);
        tokio::time::timeout(a_while, self.socket.send(Message::text(frame))).await.is_ok()
    }

    /// The next object, while what could not be sent before is sent.
    pub(crate) async fn next_flushing(&mut self) -> Value {
        while self.objects.is_empty() {
            let soon = Duration::from_millis(1);
            let _ = tokio::time::timeout(soon, self.socket.flush()).await;
            let Ok(message) = tokio::time::timeout(soon, self.socket.next()).await else {
                continue;
            };
            self.take(message.unwrap().unwrap());
        }
        self.objects.pop_front().unwrap()
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
            let message = within(self.socket.next()).await.unwrap().unwrap();
            self.take(message);
        }
        self.objects.pop_front().unwrap()
    }

    /// The next object, a ping too, if one comes within a moment.
    pub(crate) async fn next_soon(&mut self) -> Option<Value> {
        if self.objects.is_empty() {
            let soon = Duration::from_millis(1);
            let Ok(message) = tokio::time::timeout(soon, self.socket.next()).await else {
                return None;
            };
            self.take(message.unwrap().unwrap());
        }
        self.objects.pop_front()
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Text(text) => {
                let objects = text.split('\n').map(|line| serde_json::from_str(line).unwrap());
                self.objects = objects.collect();
            }
            other => panic!("not a text frame: {other:?}"),
        }
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

    /// Says goodbye and waits for the answer.
    pub(crate) async fn leave(mut self) {
        within(self.socket.close(None)).await.unwrap();
        while let Some(Ok(_)) = within(self.socket.next()).await {}
    }

    /// Sends what ends a connection, and goes when it has.
    pub(crate) async fn misbehave(mut self) {
        self.send("rubbish").await;
        assert_eq!(self.closed().await.0, 3501);
    }

    /// The code with which the server closes, however long that takes: pings are answered.
    pub(crate) async fn closed_later(mut self) -> u16 {
        loop {
            match within(self.socket.next()).await.expect("closed without a code").unwrap() {
                Message::Text(text) if text.as_str() == "{}" => self.send("{}").await,
                Message::Close(Some(frame)) => return frame.code.into(),
                _ => {}
            }
        }
    }

    /// The next object, or the code with which the server closes.
    pub(crate) async fn next_or_closed(&mut self) -> Result<Value, u16> {
        while self.objects.is_empty() {
            match within(self.socket.next()).await.expect("closed without a code").unwrap() {
                Message::Close(Some(frame)) => return Err(frame.code.into()),
                message => self.take(message),
            }
        }
        Ok(self.objects.pop_front().unwrap())
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

/// A socket that takes next to nothing before it is read.
pub(crate) async fn narrow(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(address).await.unwrap()
}

/// A WebSocket over which anything can be sent.
pub(crate) async fn bare(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    shake_hands(&mut stream).await;
    stream
}

/// Sends the request and reads the answer.
pub(crate) async fn shake_hands(stream: &mut TcpStream) {
    let request = "GET /connection/websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    while !response.ends_with(b"\r\n\r\n") {
        response.push(within(stream.read_u8()).await.unwrap());
    }
    assert!(response.starts_with(b"HTTP/1.1 101 "), "{}", response.escape_ascii());
}

/// A masked frame.
pub(crate) fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame::masked(&mut frame, opcode, [1, 2, 3, 4], payload);
    frame
}

/// The texts that come, and the code with which the server closes.
pub(crate) async fn rest_of(stream: &mut TcpStream) -> (Vec<String>, u16) {
    let (mut bytes, mut texts) = (Vec::new(), Vec::new());
    loop {
        while let Some(frame) = frame::server_frame(&bytes, 1 << 20).unwrap() {
            let text = String::from_utf8_lossy(frame.payload).into_owned();
            match frame.opcode {
                Opcode::Close => {
                    return (texts, u16::from_be_bytes([frame.payload[0], frame.payload[1]]));
                }
                Opcode::Text => texts.push(text),
                _ => {}
            }
            bytes.drain(..frame.size);
        }
        let read = within(stream.read_buf(&mut bytes)).await.unwrap();
        assert!(read > 0, "closed without a code after {texts:?}");
    }
}

/// A text frame with any bytes in it.
pub(crate) fn text_frame(bytes: &'static [u8]) -> Frame {
    Frame::message(bytes, OpCode::Data(Data::Text), true)
}
