//! A hub that has no boards: a client of the hub that has them.
//!
//! One process holds about as many sockets as it may have files open, so a host that is to serve
//! more runs several hub processes. Each is connected to the process with the boards by one socket,
//! the *trunk*, and speaks the same protocol on it that clients speak: for each view that any of its
//! clients watches it subscribes once, and what it gets it hands on to all of them. States are
//! conflated before they come here and shared after, calls go there and back, and who may do what is
//! decided here, where the credentials are.
//!
//! What makes a trunk different from a client: it comes from the process itself and not from a
//! door, so it is trusted and has no limits; the lists of `friends` get a label each; a player's
//! submit says that it is one ([`PLAYER_SUBMIT`](crate::call::PLAYER_SUBMIT)), because whether a
//! board takes it is written with the board; and a submit with an id says whose id it is.
//!
//! If the other side is gone the hub ends: whoever started it decides what comes next.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::time::Instant;

use mio::{Registry, Token};

use crate::centrifuge::client;
use crate::centrifuge::{Body, Command, Encoding, Subscribe};
use crate::channel::Subject;
use crate::connection::Socket;
use crate::limits;
use crate::source::{Waiter, Wish};
use crate::views::{ViewId, Views};
use crate::ws::frame::{self, Opcode};

/// Frames between processes of one program need no protection from proxies in between.
const NO_MASK: [u8; 4] = [0; 4];

/// Largest frame of the other hub: an answer of a thousand rows with the longest names.
const FRAME_BYTES: usize = 1024 * 1024;

/// What a command to the other hub was for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The states of a channel.
    Subscribe(Box<str>),
    /// The answer for who holds this ticket.
    Call(u64),
}

/// What is known of a channel over there.
#[derive(Debug, Clone, Copy)]
struct There {
    view: ViewId,
    /// Id of the command that subscribed to it. A view may have had the channel before, and what
    /// comes until the answer is about that one.
    asked: u32,
    answered: bool,
}

/// The way to the hub that has the boards.
#[derive(Debug)]
pub(crate) struct Trunk {
    socket: Socket,
    /// What came and is not a whole frame yet.
    incoming: Vec<u8>,
    /// Frames that the socket has not taken yet.
    outgoing: Vec<u8>,
    /// Commands of this turn.
    commands: Vec<u8>,
    /// Id of the last command.
    last: u32,
    asked: HashMap<u32, Asked>,
    /// The views by the channels that they have over there.
    by_channel: HashMap<Box<str>, There>,
    channels: HashMap<ViewId, Box<str>>,
    /// Clients that wait for the first state of a view.
    waiting: HashMap<ViewId, Vec<(Waiter, Wish)>>,
    /// Labels given to lists of friends.
    labels: u64,
}

impl Trunk {
    pub(crate) fn new(socket: Socket) -> Self {
        Self {
            socket,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            commands: Vec::new(),
            last: 0,
            asked: HashMap::new(),
            by_channel: HashMap::new(),
            channels: HashMap::new(),
            waiting: HashMap::new(),
            labels: 0,
        }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.register(registry, token)
    }

    /// The view of a channel. If nobody watches it its states are asked for.
    pub(crate) fn open(
        &mut self,
        views: &mut Views,
        (board, channel, subject): (&str, &str, Subject),
        data: Option<&[u8]>,
        now: Instant,
    ) -> ViewId {
        if let Some(view) = views.find(channel) {
            return view;
        }
        let there: Box<str> = if subject.is_shared() {
            channel.into()
        } else {
            self.labels += 1;
            format!("board:{board}:friends:{}", self.labels).into()
        };
        let view = views.create(channel, subject, now);
        let subscribe = Subscribe { channel: Cow::Borrowed(&there), data, ..Subscribe::default() };
        self.ask(Body::Subscribe(subscribe), Some(Asked::Subscribe(there.clone())));
        self.channels.insert(view, there.clone());
        self.by_channel.insert(there, There { view, asked: self.last, answered: false });
        view
    }

    /// Drops a view that has no watchers any more.
    pub(crate) fn close(&mut self, views: &mut Views, view: ViewId) {
        let gone = views.remove(view);
        self.waiting.remove(&view);
        let Some(there) = self.channels.remove(&view) else { return };
        // Another view may have the channel now: this one ended, and not all watchers knew yet.
        if self.by_channel.get(&there).is_some_and(|known| known.view == view) {
            self.by_channel.remove(&there);
        }
        if gone.end.is_none() {
            self.ask(Body::Unsubscribe { channel: Cow::Borrowed(&there) }, None);
        }
    }

    /// Keeps a client waiting for the first state of a view.
    pub(crate) fn wait(&mut self, view: ViewId, waiter: Waiter, wish: Wish) {
        self.waiting.entry(view).or_default().push((waiter, wish));
    }

    /// Those who wait for the first state of a view; they wait no longer.
    pub(crate) fn waiting(&mut self, view: ViewId) -> Vec<(Waiter, Wish)> {
        self.waiting.remove(&view).unwrap_or_default()
    }

    /// The view of a channel over there, if news of it is meant for that one.
    pub(crate) fn view_of(&self, channel: &str) -> Option<ViewId> {
        self.by_channel.get(channel).filter(|there| there.answered).map(|there| there.view)
    }

    /// The view of a channel over there whose subscription is answered now, if it still wants it.
    pub(crate) fn answered(&mut self, id: u32, channel: &str) -> Option<ViewId> {
        let there = self.by_channel.get_mut(channel).filter(|there| there.asked == id)?;
        there.answered = true;
        Some(there.view)
    }

    /// A client waits for the first state of a view no longer.
    pub(crate) fn forget(&mut self, view: ViewId, slot: u32) {
        if let Some(waiting) = self.waiting.get_mut(&view) {
            waiting.retain(|((waiter, _), _)| *waiter != slot);
        }
    }

    /// What the command with this id was for.
    pub(crate) fn asked(&mut self, id: u32) -> Option<Asked> {
        self.asked.remove(&id)
    }

    /// Makes a call for who holds the ticket.
    pub(crate) fn call(&mut self, ticket: u64, method: &str, data: &[u8]) {
        let body = Body::Rpc { method: Cow::Borrowed(method), data: Some(data) };
        self.ask(body, Some(Asked::Call(ticket)));
    }

    /// Tells the other hub something that needs no answer.
    pub(crate) fn tell(&mut self, data: &[u8]) {
        let command = Command { id: 0, body: Body::Send { data: Some(data) } };
        client::command(Encoding::Protobuf, &command, &mut self.commands);
    }

    fn ask(&mut self, body: Body<'_>, why: Option<Asked>) {
        self.last = self.last.wrapping_add(1).max(1);
        if let Some(why) = why {
            self.asked.insert(self.last, why);
        }
        let command = Command { id: self.last, body };
        client::command(Encoding::Protobuf, &command, &mut self.commands);
        if self.commands.len() > limits::TRUNK_MESSAGE_BYTES / 2 {
            self.close_frame();
        }
    }

    fn close_frame(&mut self) {
        frame::masked(&mut self.outgoing, Opcode::Binary, NO_MASK, &self.commands);
        self.commands.clear();
    }

    /// Writes what there is to write, as much as the socket takes.
    ///
    /// # Errors
    /// When the other side is gone, or takes nothing for so long that it is as good as gone.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if !self.commands.is_empty() {
            self.close_frame();
        }
        if self.outgoing.is_empty() {
            return Ok(());
        }
        let written = self.socket.write(&self.outgoing)?;
        self.outgoing.drain(..written);
        if self.outgoing.len() > limits::TRUNK_BYTES {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(())
    }

    /// Reads into `buffer` and returns the messages that are whole now; nothing when there is no
    /// more to read.
    ///
    /// # Errors
    /// When the other side is gone.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<Vec<Vec<u8>>>> {
        let Some(bytes) = self.socket.read(buffer)? else { return Ok(None) };
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.incoming.extend_from_slice(&buffer[..bytes]);
        let mut messages = Vec::new();
        let mut used = 0;
        while let Some(frame) =
            frame::server_frame(&self.incoming[used..], FRAME_BYTES).map_err(|_| broken())?
        {
            match frame.opcode {
                Opcode::Binary => messages.push(frame.payload.to_vec()),
                Opcode::Close => return Err(io::ErrorKind::ConnectionAborted.into()),
                _ => {}
            }
            used += frame.size;
        }
        self.incoming.drain(..used);
        Ok(Some(messages))
    }
}

fn broken() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
