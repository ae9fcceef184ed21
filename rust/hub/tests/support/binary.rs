//! A client that speaks Protobuf, written with the hub's own client side of the protocol.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rankwire_hub::centrifuge::client::{self, Answer, Push, Reply};
use rankwire_hub::centrifuge::{Body, Command, Data, Encoding, Publication, Subscribe};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::within;

/// A state as it came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    pub(crate) offset: u64,
    pub(crate) is_delta: bool,
    pub(crate) data: Vec<u8>,
}

impl State {
    fn of(Publication { offset, data }: Publication<'_>) -> Self {
        let is_delta = matches!(data, Data::Delta(_));
        let (Data::Json(data) | Data::Text(data) | Data::Delta(data)) = data;
        Self { offset, is_delta, data: data.to_vec() }
    }

    pub(crate) fn json(&self) -> Value {
        assert!(!self.is_delta, "{self:?}");
        serde_json::from_slice(&self.data).unwrap()
    }
}

/// What the server said, with its id.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    Ping,
    Connected { ping_s: u32 },
    Subscribed { epoch: String, offset: u64, delta: bool, recovered: bool, state: Option<State> },
    Unsubscribed,
    Rpc(Value),
    Pong,
    Error(u32),
    State(String, State),
    Over { channel: String, code: u32, reason: String },
    Other,
}

impl Said {
    fn of(answer: Answer<'_>) -> Self {
        match answer {
            Answer::Ping => Self::Ping,
            Answer::Connected(reply) => Self::Connected { ping_s: reply.ping_s },
            Answer::Subscribed(reply) => Self::Subscribed {
                epoch: reply.epoch.to_owned(),
                offset: reply.offset,
                delta: reply.delta,
                recovered: reply.recovered,
                state: reply.publication.map(State::of),
            },
            Answer::Unsubscribed => Self::Unsubscribed,
            Answer::Rpc(data) => Self::Rpc(serde_json::from_slice(data).unwrap()),
            Answer::Pong => Self::Pong,
            Answer::Error { code, .. } => Self::Error(code),
            Answer::Push { channel, push: Push::Publication(publication) } => {
                Self::State(channel.to_owned(), State::of(publication))
            }
            Answer::Push { channel, push: Push::Unsubscribe { code, reason } } => {
                Self::Over { channel: channel.to_owned(), code, reason: reason.to_owned() }
            }
            _ => Self::Other,
        }
    }
}

/// A WebSocket client with the subprotocol `centrifuge-protobuf`.
pub(crate) struct Binary {
    socket: WebSocketStream<TcpStream>,
    said: VecDeque<(u32, Said)>,
}

impl Binary {
    /// Opens a WebSocket and begins a session.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::connect_over(TcpStream::connect(address).await.unwrap(), address).await
    }

    pub(crate) async fn connect_over(stream: TcpStream, address: SocketAddr) -> Self {
        let mut client = Self::open(stream, address).await;
        client.send(1, Body::Connect { token: Cow::Borrowed("") }).await;
        assert!(matches!(client.next().await, (1, Said::Connected { .. })));
        client
    }

    pub(crate) async fn open(stream: TcpStream, address: SocketAddr) -> Self {
        let url = format!("ws://{address}/connection/websocket");
        let mut request = url.into_client_request().unwrap();
        let offer = "centrifuge-protobuf".parse().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", offer);
        let (socket, _) = within(client_async(request, stream)).await.unwrap();
        Self { socket, said: VecDeque::new() }
    }

    pub(crate) async fn send(&mut self, id: u32, body: Body<'_>) {
        let mut payload = Vec::new();
        client::command(Encoding::Protobuf, &Command { id, body }, &mut payload);
        self.send_bytes(payload).await;
    }

    pub(crate) async fn send_bytes(&mut self, payload: Vec<u8>) {
        within(self.socket.send(Message::binary(payload))).await.unwrap();
    }

    pub(crate) async fn subscribe(&mut self, id: u32, channel: &str, delta: bool) {
        let subscribe = Subscribe { channel: channel.into(), delta, ..Subscribe::default() };
        self.send(id, Body::Subscribe(subscribe)).await;
    }

    pub(crate) async fn rpc(&mut self, id: u32, method: &str, data: &str) {
        let data = (!data.is_empty()).then_some(data.as_bytes());
        self.send(id, Body::Rpc { method: method.into(), data }).await;
    }

    /// The next thing said that is no ping; pings are answered.
    pub(crate) async fn next(&mut self) -> (u32, Said) {
        loop {
            match self.next_or_ping().await {
                (_, Said::Ping) => self.send_bytes(vec![0]).await,
                other => return other,
            }
        }
    }

    pub(crate) async fn next_or_ping(&mut self) -> (u32, Said) {
        while self.said.is_empty() {
            let message = within(self.socket.next()).await.unwrap().unwrap();
            self.take(&message);
        }
        self.said.pop_front().unwrap()
    }

    /// The next thing said, if something comes within a moment.
    pub(crate) async fn next_soon(&mut self) -> Option<(u32, Said)> {
        if self.said.is_empty() {
            let soon = Duration::from_millis(1);
            let message = tokio::time::timeout(soon, self.socket.next()).await.ok()?;
            self.take(&message.unwrap().unwrap());
        }
        self.said.pop_front()
    }

    /// The next frame as it is.
    pub(crate) async fn message(&mut self) -> Message {
        within(self.socket.next()).await.unwrap().unwrap()
    }

    fn take(&mut self, message: &Message) {
        let Message::Binary(bytes) = message else { panic!("not a binary frame: {message:?}") };
        let owned = |reply: Reply<'_>| (reply.id, Said::of(reply.answer));
        self.said = client::replies(bytes).map(|reply| owned(reply.unwrap())).collect();
    }
}
