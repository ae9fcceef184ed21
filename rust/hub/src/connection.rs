//! One socket: reads commands, writes replies and news, keeps the timers.
//!
//! A connection is one task that does one thing at a time. While it waits for the socket to take
//! bytes it reads no command, so a client that does not read its replies soon cannot send more;
//! and it collects no news, so a slow client gets the newest states later.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink, SinkExt, StreamExt};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::handshake::Socket;
use crate::limits;
use crate::protocol::{Close, Outbox, PING};
use crate::session::{Event, Session};
use crate::shared::Shared;
use crate::stop::Stop;

/// A WebSocket and its client's session.
pub(crate) struct Connection {
    /// Where frames come from and go to.
    socket: Socket,
    /// What the client has asked for.
    session: Session,
    /// The hub's parts that connections use.
    shared: Arc<Shared>,
    /// Fires when the hub shuts down.
    stop: Stop,
    /// What the client must do, or the server wants to do, when the timer fires.
    next: Next,
    /// The only timer of the connection, but for the one while it waits to write.
    timer: Pin<Box<Sleep>>,
}

/// What the timer of a connection is for.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// The client must have sent `connect`.
    Connect,
    /// The server pings.
    Ping,
    /// The client must have answered the ping of this time.
    Pong(Instant),
}

/// Why a connection is over.
#[derive(Debug)]
enum End {
    /// The client has left or cannot be reached.
    Gone,
    /// The hub ends it.
    Close(Close),
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        match error {
            Error::Capacity(_) => Close::BadRequest("message larger than 64 KiB").into(),
            Error::Utf8(_) => Close::Utf8.into(),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Gone,
            Error::Protocol(_) => Close::Protocol.into(),
            _ => Self::Gone,
        }
    }
}

/// A step of writing that can be taken up again: of [`Sink`], ready or flush.
type WriteStep = fn(Pin<&mut Socket>, &mut Context<'_>) -> Poll<Result<(), Error>>;

impl Connection {
    pub(crate) fn new(socket: Socket, shared: Arc<Shared>, stop: Stop) -> Self {
        let connection = shared.next_connection();
        let session = Session::new(Arc::clone(&shared), connection);
        let timer = Box::pin(sleep(shared.config.connect_timeout));
        Self { socket, session, shared, stop, next: Next::Connect, timer }
    }

    /// Serves the client until one of both ends it.
    pub(crate) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let end = loop {
            if let Err(end) = self.step().await {
                break end;
            }
        };
        drop(self.session);
        if let End::Close(close) = end {
            shared.counters.errors.add(u64::from(close.is_error()));
            shared.counters.closed_slow.add(u64::from(close == Close::Slow));
            let linger = Duration::from_secs(limits::LINGER_SECS);
            // Whether the client takes the code in time is its own business.
            let _ = timeout(linger, say_goodbye(self.socket, close)).await;
        }
    }

    async fn step(&mut self) -> Result<(), End> {
        tokio::select! {
            message = self.socket.next() => match message {
                Some(message) => self.receive(message?).await,
                None => Err(End::Gone),
            },
            () = self.session.mailbox().marked() => self.deliver().await,
            () = self.timer.as_mut() => self.time_is_up().await,
            () = self.stop.requested() => Err(Close::Shutdown.into()),
        }
    }

    async fn receive(&mut self, message: Message) -> Result<(), End> {
        match message {
            Message::Text(text) => self.execute(&text).await,
            Message::Binary(_) => Err(Close::BadRequest("a message must be text").into()),
            // The library answers pings and closes, and gives no raw frames.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => Ok(()),
        }
    }

    /// Executes the commands of one frame in order.
    async fn execute(&mut self, frame: &str) -> Result<(), End> {
        let mut out = Outbox::default();
        let mut bad = None;
        for line in frame.split('\n').filter(|line| !line.trim_ascii().is_empty()) {
            let outcome = self.session.execute(line, &mut out);
            if let Err(close) = outcome.and_then(|event| self.note(event)) {
                bad = Some(close);
                break;
            }
            if out.len() >= limits::REPLY_BYTES {
                self.write(out.take().into()).await?;
            }
        }
        if out.len() > 0 {
            self.write(out.take().into()).await?;
        }
        self.flush().await?;
        bad.map_or(Ok(()), |close| Err(close.into()))
    }

    /// Sets the timer for what comes after an event.
    fn note(&mut self, event: Event) -> Result<(), Close> {
        let interval = self.shared.config.ping_interval;
        match (event, self.next) {
            (Event::Command, _) => {}
            (Event::Connected, _) => {
                let part = 0.5 + self.shared.fraction(self.session.connection()) / 2.0;
                self.schedule(Next::Ping, Instant::now() + interval.mul_f64(part));
            }
            (Event::Pong, Next::Pong(pinged)) => self.schedule(Next::Ping, pinged + interval),
            (Event::Pong, _) => return Err(Close::BadRequest("a pong without a ping")),
        }
        Ok(())
    }

    async fn time_is_up(&mut self) -> Result<(), End> {
        match self.next {
            Next::Connect => Err(Close::Stale.into()),
            Next::Pong(_) => Err(Close::NoPong.into()),
            Next::Ping => {
                self.write(Utf8Bytes::from_static(PING)).await?;
                self.flush().await?;
                let now = Instant::now();
                self.schedule(Next::Pong(now), now + self.shared.config.pong_timeout);
                Ok(())
            }
        }
    }

    fn schedule(&mut self, next: Next, at: Instant) {
        self.next = next;
        self.timer.as_mut().reset(at);
    }

    /// Sends the newest state of every view that has a new one.
    async fn deliver(&mut self) -> Result<(), End> {
        for slot in self.session.mailbox().take() {
            // The state is looked up when the socket can take it, so that it is the newest.
            self.drive(<Socket as Sink<Message>>::poll_ready).await?;
            if let Some(push) = self.session.news(slot) {
                self.write(push).await?;
            }
        }
        self.flush().await
    }

    /// Puts one frame into the write buffer, when there is room for it.
    async fn write(&mut self, text: Utf8Bytes) -> Result<(), End> {
        self.drive(<Socket as Sink<Message>>::poll_ready).await?;
        Ok(self.socket.start_send_unpin(Message::Text(text))?)
    }

    async fn flush(&mut self) -> Result<(), End> {
        self.drive(<Socket as Sink<Message>>::poll_flush).await
    }

    /// Takes a step of writing to its end, as long as the client takes bytes.
    async fn drive(&mut self, step: WriteStep) -> Result<(), End> {
        loop {
            let before = self.socket.get_ref().written();
            tokio::select! {
                biased;
                done = poll_fn(|cx| step(Pin::new(&mut self.socket), cx)) => return Ok(done?),
                () = self.stop.requested() => return Err(Close::Shutdown.into()),
                () = sleep(self.shared.config.write_timeout) => {
                    if self.socket.get_ref().written() == before {
                        return Err(Close::Slow.into());
                    }
                }
            }
        }
    }
}

/// Sends the close code and waits until the client has closed its side too.
async fn say_goodbye(mut socket: Socket, close: Close) -> Result<(), Error> {
    socket.send(Message::Close(Some(close.frame()))).await?;
    Ok(socket.get_mut().finish().await?)
}
