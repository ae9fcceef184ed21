//! One client's socket and what the worker keeps for it: some 200 bytes, and nothing that grows
//! with what is sent to it.
//!
//! # Sending
//!
//! There is no write buffer. A frame goes from the shared bytes into the socket. When the socket
//! takes only a part, the connection is *blocked*: it keeps the rest of that one frame, as a frame
//! cannot be abandoned half-way, and marks each subscription whose state it misses. Once the
//! socket takes bytes again, it gets the newest state of those. Replies to commands may not be
//! missed; they wait behind the frame, and no more commands are read meanwhile.

use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;
use std::sync::Arc;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rankwire_access::Caller;
use smallvec::SmallVec;

use crate::centrifuge::Encoding;
use crate::limits;
use crate::pace::Pace;
use crate::views::ViewId;
use crate::ws::frame::Decoder;

/// A stream of bytes to a client.
#[derive(Debug)]
pub(crate) enum Socket {
    /// A client.
    Tcp(TcpStream),
    /// A hub process on this machine.
    Unix(UnixStream),
}

impl Socket {
    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(socket) => socket,
            Self::Unix(socket) => socket,
        }
    }

    /// Announces the socket for both directions, once for all: events come when something changes.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(self.source(), token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Reads what is there: nothing is the end, `None` that nothing is there now.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        patient(|| match self {
            Self::Tcp(socket) => socket.read(into),
            Self::Unix(socket) => socket.read(into),
        })
    }

    /// Writes what the socket takes; 0 if that is nothing.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = patient(|| match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        })?;
        Ok(written.unwrap_or(0))
    }

    /// Says that nothing more will be written.
    pub(crate) fn finish(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.shutdown(std::net::Shutdown::Write),
            Self::Unix(socket) => socket.shutdown(std::net::Shutdown::Write),
        }
    }
}

/// Tries again when a signal came in between; `None` when the socket is not ready.
fn patient(mut io: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match io() {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The request is not complete; so many bytes of it were searched for its end.
    Asking { searched: u32, full: bool },
    /// A WebSocket whose client has not said who it is.
    Open,
    /// A session.
    Connected,
    /// For tests: what comes in goes out.
    Echo,
    /// The last bytes are on their way; the client has until the linger is over to leave.
    Closing,
    /// Over; the slot is free after this turn.
    Gone,
}

/// What a client watches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscription {
    pub(crate) view: ViewId,
    /// Where it stands in the view's list of watchers.
    pub(crate) index: u32,
    /// Number of the state that the client has; 0 for none.
    pub(crate) seen: u32,
    /// Whether the client wants deltas.
    pub(crate) delta: bool,
    /// Whether a state was missed because the socket was blocked.
    pub(crate) missed: bool,
    /// Whether the client has not got its reply yet: the first state is on its way to this process.
    pub(crate) pending: bool,
}

/// What a blocked socket still has to take.
#[derive(Debug, Default)]
pub(crate) struct Blocked {
    /// The frame that was begun.
    frame: Option<Rc<[u8]>>,
    /// So much of it is gone.
    gone: usize,
    /// Replies, and the close frame, that come after it.
    replies: Vec<u8>,
    /// The beat in which bytes moved last.
    pub(crate) moved: u32,
}

/// What became of bytes that were to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Sent {
    /// The socket has them all.
    Done,
    /// The socket has a part, and is blocked from now on.
    Begun,
    /// They wait behind others.
    Waits,
    /// The socket was blocked before; nothing was sent, as the bytes may be missed.
    Missed,
    /// Too much waits already.
    Slow,
    /// The client is gone.
    Gone,
}

/// A client.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "none of them follows from another")]
pub(crate) struct Connection {
    socket: Socket,
    /// Tells this connection from others that had its slot.
    pub(crate) generation: u32,
    pub(crate) stage: Stage,
    pub(crate) encoding: Encoding,
    /// A hub process, not a client: trusted, and larger in every way.
    pub(crate) is_trunk: bool,
    /// The session has lasted long enough: nothing more is taken on, and it ends with what it waits for.
    pub(crate) is_leaving: bool,
    /// Whether it stands in the worker's list of blocked sockets; it may not be blocked any more.
    pub(crate) is_listed: bool,
    /// There may be bytes in the socket that nobody has asked for yet.
    pub(crate) unread: bool,
    /// Whether it stands in the worker's list of sockets to read again.
    pub(crate) again: bool,
    pub(crate) decoder: Decoder,
    /// What is not a whole request or frame yet, or was read while the socket was blocked.
    pub(crate) partial: Vec<u8>,
    pub(crate) blocked: Option<Box<Blocked>>,
    /// Who it is; nobody before `connect`.
    pub(crate) caller: Option<Arc<Caller>>,
    pub(crate) subscriptions: SmallVec<[Subscription; 2]>,
    /// Which of them comes first when the client catches up, so that each gets its turn.
    pub(crate) turn: u32,
    pub(crate) pace: Pace,
    /// Submits that wait for their commit.
    pub(crate) in_flight: u32,
    /// The beat in which the client was heard last, or took bytes that had waited for it.
    pub(crate) heard: u32,
    /// The beat from which on the session has lasted long enough.
    pub(crate) until: u32,
    /// When the token is no good any more, in seconds since 1970.
    pub(crate) expires: Option<u64>,
    /// From the handshake, for `connect` without a token.
    pub(crate) credential: Option<Box<str>>,
}

impl Connection {
    pub(crate) fn new(socket: Socket, generation: u32, full: bool, now_ms: u64, beat: u32) -> Self {
        Self {
            socket,
            generation,
            stage: Stage::Asking { searched: 0, full },
            encoding: Encoding::Json,
            is_trunk: false,
            is_leaving: false,
            is_listed: false,
            unread: true,
            again: false,
            decoder: Decoder::default(),
            partial: Vec::new(),
            blocked: None,
            caller: None,
            subscriptions: SmallVec::new(),
            turn: 0,
            pace: Pace::new(now_ms),
            in_flight: 0,
            heard: beat,
            until: u32::MAX,
            expires: None,
            credential: None,
        }
    }

    pub(crate) fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Whether a session has begun and not ended.
    pub(crate) fn is_live(&self) -> bool {
        self.stage == Stage::Connected
    }

    /// Sends a state, or misses it.
    pub(crate) fn push(&mut self, frame: &Rc<[u8]>, beat: u32) -> Sent {
        if self.blocked.is_some() {
            return Sent::Missed;
        }
        match self.socket.write(frame) {
            Ok(gone) if gone == frame.len() => Sent::Done,
            Ok(gone) => {
                let frame = Some(Rc::clone(frame));
                self.blocked =
                    Some(Box::new(Blocked { frame, gone, replies: Vec::new(), moved: beat }));
                Sent::Begun
            }
            Err(_) => Sent::Gone,
        }
    }

    /// Sends what the client may not miss.
    pub(crate) fn send(&mut self, bytes: &[u8], beat: u32) -> Sent {
        if let Some(blocked) = &mut self.blocked {
            let most = match self.caller.as_deref() {
                _ if self.is_trunk => limits::TRUNK_BYTES,
                Some(Caller::Key { .. } | Caller::Everybody) => limits::KEY_WAITING_BYTES,
                _ => limits::WAITING_BYTES,
            };
            if blocked.replies.len() + bytes.len() > most {
                return Sent::Slow;
            }
            blocked.replies.extend_from_slice(bytes);
            return Sent::Waits;
        }
        match self.socket.write(bytes) {
            Ok(gone) if gone == bytes.len() => Sent::Done,
            Ok(gone) => {
                let replies = bytes[gone..].to_vec();
                self.blocked =
                    Some(Box::new(Blocked { frame: None, gone: 0, replies, moved: beat }));
                Sent::Begun
            }
            Err(_) => Sent::Gone,
        }
    }

    /// Goes on where the socket took no more: `Done` when nothing is left, or `Waits`, or `Gone`.
    pub(crate) fn resume(&mut self, beat: u32) -> Sent {
        let Some(mut blocked) = self.blocked.take() else { return Sent::Done };
        match blocked.write(&mut self.socket) {
            Err(_) => Sent::Gone,
            Ok(_) if blocked.is_empty() => {
                self.heard = beat;
                Sent::Done
            }
            Ok(moved) => {
                if moved > 0 {
                    blocked.moved = beat;
                    self.heard = beat;
                }
                self.blocked = Some(blocked);
                Sent::Waits
            }
        }
    }
}

impl Blocked {
    fn write(&mut self, socket: &mut Socket) -> io::Result<usize> {
        let mut moved = 0;
        if let Some(frame) = &self.frame {
            let rest = &frame[self.gone..];
            let written = socket.write(rest)?;
            self.gone += written;
            moved += written;
            if written < rest.len() {
                return Ok(moved);
            }
            self.frame = None;
        }
        let written = if self.replies.is_empty() { 0 } else { socket.write(&self.replies)? };
        self.replies.drain(..written);
        Ok(moved + written)
    }

    fn is_empty(&self) -> bool {
        self.frame.is_none() && self.replies.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_costs_what_the_front_page_says() {
        assert!(size_of::<Connection>() <= 208, "{}", size_of::<Connection>());
        assert_eq!(size_of::<Subscription>(), 16);
    }
}
