//! One watcher's socket: opens, subscribes, answers pings and hands all that comes to the judge.

use std::borrow::Cow;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mio::net::TcpStream;
use socket2::{Domain, Socket, Type};

use crate::Result;
use crate::clock::now;
use crate::frame::{self, Fault, Frame, Opcode};
use crate::judge::Judge;
use crate::news::NO_NEWS;
use crate::protocol::{Command, Encoding, Message, Publication};
use crate::values::Target;
use crate::view::{Subscription, Taken};

/// Sources are 127.0.0.2 to 127.0.0.254, so that ports last for every number of sockets.
const SOURCES: u64 = 253;

/// The id of `connect`; subscriptions have the ids after it.
const CONNECT_ID: u32 = 1;

/// From this code on the end of a subscription means: subscribe again.
const SUBSCRIBE_AGAIN: u32 = 2500;

/// Bytes of the receive buffer of a socket that stops reading, so that its server notices soon.
const SLOW_BUFFER: usize = 4096;

/// A socket that watches.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    phase: Phase,
    /// The watcher that it is, for the token.
    user: u64,
    /// Which of the URLs it goes to.
    url: usize,
    /// When it was begun.
    pub(crate) begun: u64,
    /// Bytes of a frame that is not whole yet.
    input: Vec<u8>,
    /// Bytes that the socket has not taken yet.
    output: Vec<u8>,
    /// What it watches.
    pub(crate) subscriptions: Box<[Subscription]>,
    /// How many of them have no state yet.
    missing: usize,
    /// Whether it is one of those that stop reading for some time.
    pub(crate) is_slow: bool,
    /// Whether it does not read now.
    pub(crate) is_paused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// TCP is not through yet.
    Connecting,
    /// The handshake is on its way.
    Handshake,
    /// Frames come and go.
    Open,
}

/// Begins a connection without waiting for it. Loopback targets get a source address by `number`.
/// `receive_buffer` are bytes, where it is to be a small one.
pub(crate) fn begin(
    target: &Target,
    number: u64,
    receive_buffer: Option<usize>,
) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target.address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    // A connection that ends leaves nothing behind: neither here nor at the server.
    socket.set_linger(Some(Duration::ZERO))?;
    if target.address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
        let last = 2 + (number % SOURCES) as u8;
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into())?;
    }
    match socket.connect(&target.address.into()) {
        Err(error)
            if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
        {
            Err(error.into())
        }
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

impl Connection {
    /// Begins the connection of a watcher.
    pub(crate) fn begin(judge: &mut Judge, watcher: u64) -> Result<Self> {
        let Judge { options, channels, .. } = judge;
        let url = (watcher % options.urls.len() as u64) as usize;
        let is_slow = options.slow.is_some_and(|slow| watcher < slow.sockets);
        let subscriptions: Box<[Subscription]> = options
            .mix
            .channels(options.people, watcher)
            .into_iter()
            .map(|(template, name)| Subscription {
                channel: channels.number(&name, template),
                state: None,
                delta: false,
            })
            .collect();
        Ok(Self {
            stream: begin(&options.urls[url], watcher, is_slow.then_some(SLOW_BUFFER))?,
            phase: Phase::Connecting,
            user: options.people.user(watcher),
            url,
            begun: now(),
            input: Vec::new(),
            output: Vec::new(),
            missing: subscriptions.len(),
            subscriptions,
            is_slow,
            is_paused: false,
        })
    }

    /// The socket, to wait for.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Whether it has all of its first states.
    pub(crate) fn is_ready(&self) -> bool {
        self.phase == Phase::Open && self.missing == 0
    }

    /// Does what the socket is ready for. `closing` says that the server has sent its last byte.
    /// A fault ends the connection.
    pub(crate) fn work(
        &mut self,
        judge: &mut Judge,
        buffer: &mut [u8],
        closing: bool,
    ) -> std::result::Result<(), Fault> {
        if self.phase == Phase::Connecting {
            if !self.is_connected()? {
                return Ok(());
            }
            let target = &judge.options.urls[self.url];
            let subprotocol = judge.options.encoding.subprotocol();
            let request = match judge.options.encoding {
                Encoding::Plain => {
                    let channel = &judge.channels.get(self.subscriptions[0].channel).name;
                    let path = target.path.replace("{channel}", channel);
                    frame::request(&target.host, &path, subprotocol)
                }
                _ => frame::request(&target.host, &target.path, subprotocol),
            };
            self.output.extend_from_slice(request.as_bytes());
            self.phase = Phase::Handshake;
        }
        self.flush()?;
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err("closed without a code".to_owned()),
                Ok(count) => {
                    self.receive(judge, &buffer[..count])?;
                    // A read that leaves room has taken all there was, so the next byte is an event.
                    if count < buffer.len() && !closing {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(&error)),
            }
        }
    }

    fn is_connected(&self) -> std::result::Result<bool, Fault> {
        if let Ok(Some(error)) | Err(error) = self.stream.take_error() {
            return Err(format!("connect: {}", error.kind()));
        }
        Ok(self.stream.peer_addr().is_ok())
    }

    fn flush(&mut self) -> std::result::Result<(), Fault> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) if count == self.output.len() => self.output = Vec::new(),
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(&error)),
            }
        }
        Ok(())
    }

    fn receive(&mut self, judge: &mut Judge, bytes: &[u8]) -> std::result::Result<(), Fault> {
        if self.input.is_empty() {
            let taken = self.take(judge, bytes)?;
            self.input.extend_from_slice(&bytes[taken..]);
        } else {
            self.input.extend_from_slice(bytes);
            let input = std::mem::take(&mut self.input);
            let taken = self.take(judge, &input)?;
            self.input = input[taken..].to_vec();
        }
        Ok(())
    }

    /// Takes all that is whole, and returns how many bytes that was.
    fn take(&mut self, judge: &mut Judge, bytes: &[u8]) -> std::result::Result<usize, Fault> {
        let mut taken = 0;
        if self.phase == Phase::Handshake {
            match frame::response(bytes, judge.options.encoding.subprotocol())? {
                None => return Ok(0),
                Some(size) => taken = size,
            }
            self.phase = Phase::Open;
            self.subscribe(judge)?;
        }
        while let Some(frame) = frame::decode(&bytes[taken..])? {
            taken += frame.size;
            self.take_frame(judge, &frame)?;
        }
        Ok(taken)
    }

    /// Sends the first commands, in one frame.
    fn subscribe(&mut self, judge: &mut Judge) -> std::result::Result<(), Fault> {
        let encoding = judge.options.encoding;
        if encoding == Encoding::Plain {
            // The URL has said it all.
            self.missing -= usize::from(!judge.options.first_state);
            return Ok(());
        }
        let delta = judge.options.delta;
        let mut commands = Vec::new();
        let token = judge.options.token(self.user);
        encoding.put(CONNECT_ID, Command::Connect { token }, &mut commands);
        for (id, subscription) in (CONNECT_ID + 1..).zip(&self.subscriptions) {
            let channel = &judge.channels.get(subscription.channel).name;
            encoding.put(id, Command::Subscribe { channel, delta }, &mut commands);
        }
        self.send(judge, encoding.opcode(), &commands)
    }

    fn send(
        &mut self,
        judge: &mut Judge,
        opcode: Opcode,
        payload: &[u8],
    ) -> std::result::Result<(), Fault> {
        frame::encode(opcode, payload, judge.mask(), &mut self.output);
        self.flush()
    }

    fn take_frame(
        &mut self,
        judge: &mut Judge,
        frame: &Frame<'_>,
    ) -> std::result::Result<(), Fault> {
        judge.traffic.payload_bytes += frame.payload.len() as u64;
        judge.traffic.frame_bytes += frame.size as u64;
        let encoding = judge.options.encoding;
        match frame.opcode {
            Opcode::Ping => self.send(judge, Opcode::Pong, frame.payload),
            Opcode::Pong => Err("frame: a pong without a ping".to_owned()),
            Opcode::Close => Err(format!("closed: {}", frame::close_reason(frame.payload))),
            opcode if opcode != encoding.opcode() => Err("frame: wrong kind".to_owned()),
            _ => {
                let at = now();
                let mut rest = frame.payload;
                while let Some(message) = encoding.next(&mut rest)? {
                    self.take_message(judge, message, at)?;
                }
                Ok(())
            }
        }
    }

    fn take_message(
        &mut self,
        judge: &mut Judge,
        bytes: &[u8],
        at: u64,
    ) -> std::result::Result<(), Fault> {
        for subscription in &mut self.subscriptions {
            if let Some(taken) = judge.channels.take_checked(subscription, bytes) {
                let (taken, channel) = (taken?, subscription.channel);
                self.count(judge, channel, taken, bytes.len(), at);
                return Ok(());
            }
        }
        if judge.options.encoding == Encoding::Plain {
            let publication = Publication { data: Cow::Borrowed(bytes), delta: false, offset: 0 };
            return self.take_state(judge, 0, &publication, (Some(bytes), bytes.len()), at);
        }
        match judge.options.encoding.read(bytes)? {
            Message::Ping => {
                judge.traffic.pings += 1;
                let encoding = judge.options.encoding;
                self.send(judge, encoding.opcode(), encoding.pong())
            }
            Message::Connected => Ok(()),
            Message::Subscribed { id, delta, publications } => {
                let place = id.wrapping_sub(CONNECT_ID + 1) as usize;
                let subscription =
                    self.subscriptions.get_mut(place).ok_or("message: unknown id".to_owned())?;
                if judge.options.delta && !delta {
                    return Err("subscribe: no deltas".to_owned());
                }
                subscription.delta = delta;
                self.missing -= usize::from(!judge.options.first_state);
                for publication in &publications {
                    self.take_state(judge, place, publication, (None, bytes.len()), at)?;
                }
                Ok(())
            }
            Message::Published { channel, publication } => {
                let named = |subscription: &Subscription| {
                    *judge.channels.get(subscription.channel).name == *channel
                };
                let place = self.subscriptions.iter().position(named);
                let place = place.ok_or("message: not subscribed to".to_owned())?;
                self.take_state(judge, place, &publication, (Some(bytes), bytes.len()), at)
            }
            Message::Unsubscribed { channel, code }
                if code >= SUBSCRIBE_AGAIN && judge.options.is_disturbed() =>
            {
                self.subscribe_again(judge, &channel)
            }
            Message::Unsubscribed { code, .. } => Err(format!("unsubscribed: {code}")),
            Message::Refused { error, .. } => Err(error),
            Message::Answer { .. } => Err("message: an answer to nothing".to_owned()),
        }
    }

    /// Subscribes again to a channel that the server has ended. The next state is a first one.
    fn subscribe_again(
        &mut self,
        judge: &mut Judge,
        channel: &str,
    ) -> std::result::Result<(), Fault> {
        let named = |one: &Subscription| *judge.channels.get(one.channel).name == *channel;
        let place = self.subscriptions.iter().position(named);
        let place = place.ok_or("message: not subscribed to".to_owned())?;
        self.subscriptions[place].state = None;
        self.missing += 1;
        self.begun = now();
        let (encoding, delta) = (judge.options.encoding, judge.options.delta);
        let mut commands = Vec::new();
        let id = CONNECT_ID + 1 + place as u32;
        encoding.put(id, Command::Subscribe { channel, delta }, &mut commands);
        self.send(judge, encoding.opcode(), &commands)
    }

    /// Takes a state of a subscription. `message` are its bytes, if others will get the same ones,
    /// and how many they are.
    fn take_state(
        &mut self,
        judge: &mut Judge,
        place: usize,
        publication: &Publication<'_>,
        (message, size): (Option<&[u8]>, usize),
        at: u64,
    ) -> std::result::Result<(), Fault> {
        let subscription = &mut self.subscriptions[place];
        let taken = judge.channels.take(subscription, publication, message)?;
        let channel = subscription.channel;
        self.count(judge, channel, taken, size, at);
        Ok(())
    }

    fn count(&mut self, judge: &mut Judge, channel: u32, taken: Taken, size: usize, at: u64) {
        self.missing -= usize::from(taken.first);
        // What one gets late that does not read says nothing about the server.
        let news = if self.is_slow { NO_NEWS } else { taken.news };
        judge.count(channel, Taken { news, ..taken }, size, at);
    }
}

fn lost(error: &std::io::Error) -> Fault {
    format!("lost: {}", error.kind())
}
