//! One view of a worker: its newest state, its frames and who watches it.
//!
//! A state is encoded once per [`Form`] that somebody needs, as the whole WebSocket frame, and every
//! watcher gets the same bytes. There is no queue: a watcher that missed states gets the newest.
//!
//! A *delta* leads from one published state to the next. Whether a watcher can use it is decided by
//! numbers: states of a view are numbered, and each subscription remembers the number of the state
//! that its client has. So a watcher that missed one, for whatever reason, gets the full state.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::centrifuge::{Data, Encoding, Out, Publication};
use crate::channel::Subject;
use crate::content::{Content, Parts};
use crate::delta;
use crate::ws::frame;

/// How a publication can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// JSON, the state as an object.
    Json,
    /// JSON for clients that get deltas, the state as a string.
    JsonText,
    /// JSON, the way from the state before.
    JsonDelta,
    /// Protobuf, the whole state.
    Protobuf,
    /// Protobuf, the way from the state before.
    ProtobufDelta,
}

/// How many there are.
const FORMS: usize = 5;

impl Form {
    /// The form for a client, `by_delta` if it can use one now.
    fn of(encoding: Encoding, delta: bool, by_delta: bool) -> Self {
        match (encoding, delta, by_delta) {
            (Encoding::Json, _, true) => Self::JsonDelta,
            (Encoding::Json, true, false) => Self::JsonText,
            (Encoding::Json, false, false) => Self::Json,
            (Encoding::Protobuf, _, true) => Self::ProtobufDelta,
            (Encoding::Protobuf, _, false) => Self::Protobuf,
        }
    }

    fn encoding(self) -> Encoding {
        match self {
            Self::Json | Self::JsonText | Self::JsonDelta => Encoding::Json,
            Self::Protobuf | Self::ProtobufDelta => Encoding::Protobuf,
        }
    }
}

/// A publication as a WebSocket frame, shared by everybody who gets it.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    bytes: Rc<[u8]>,
    /// Where the header ends.
    header: usize,
}

impl Frame {
    /// A frame around one or more messages of the protocol.
    pub(crate) fn new(encoding: Encoding, message: &[u8]) -> Self {
        let opcode = match encoding {
            Encoding::Json => frame::Opcode::Text,
            Encoding::Protobuf => frame::Opcode::Binary,
        };
        let header = frame::header(opcode, message.len());
        Self { bytes: [&header, message].concat().into(), header: header.len() }
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> &Rc<[u8]> {
        &self.bytes
    }

    /// What is in it.
    pub(crate) fn message(&self) -> &[u8] {
        &self.bytes[self.header..]
    }
}

/// A watcher of a view.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watcher {
    /// The connection.
    pub(crate) slot: u32,
    /// Which of its subscriptions.
    pub(crate) place: u32,
}

/// The newest published state.
#[derive(Debug)]
pub(crate) struct State {
    /// Position in the channel: the board's version plus 1, as positions begin with 1.
    pub(crate) offset: u64,
    /// The JSON object; empty as long as there is nothing to tell.
    data: Vec<u8>,
    parts: Parts,
}

/// Something to look at, and everybody who does.
#[derive(Debug)]
pub(crate) struct View {
    /// Tells this view from others that had its place in the table.
    pub(crate) serial: u64,
    /// The name that clients know it by.
    pub(crate) channel: Box<str>,
    /// What it shows of its board.
    pub(crate) subject: Subject,
    /// Identity of the board's life: positions of one epoch mean nothing in another.
    pub(crate) epoch: Arc<str>,
    /// Kept by the source of states: see there.
    pub(crate) place: Place,
    /// Who watches it, in no order. The place of a watcher is kept in its subscription.
    pub(crate) watchers: Vec<Watcher>,
    /// How many of the watchers want deltas.
    pub(crate) deltas: u32,
    /// The newest published state; nothing before the first.
    pub(crate) state: Option<State>,
    /// Number of that state; 0 before the first.
    pub(crate) number: u32,
    /// The way from the state before, if it is shorter than the state.
    delta: Option<Vec<u8>>,
    /// The publication of the newest state, in the forms that were needed so far.
    frames: Option<Box<[Option<Frame>; FORMS]>>,
    /// Not to be published before.
    pub(crate) due: Instant,
    /// When the newest state was published.
    pub(crate) published: Instant,
    /// Whether it stands in the source's queue of those that may have changed.
    pub(crate) waiting: bool,
    /// Since when a state is on its way to the watchers; nothing while none is.
    pub(crate) spreading: Option<Instant>,
    /// Set once there will be no other state: what its watchers are told.
    pub(crate) end: Option<End>,
}

/// Where a view stands in the lists of a local source.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    /// The board's group.
    pub(crate) group: u32,
    /// Index in the list of the group's views, or of all personal views.
    pub(crate) index: u32,
    /// Version of the board that was looked at last; for personal views.
    pub(crate) looked: u64,
}

/// Why a view is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) code: u32,
    pub(crate) reason: String,
}

impl View {
    pub(crate) fn new(serial: u64, channel: &str, subject: Subject, now: Instant) -> Self {
        Self {
            serial,
            channel: channel.into(),
            subject,
            epoch: "".into(),
            place: Place::default(),
            watchers: Vec::new(),
            deltas: 0,
            state: None,
            number: 0,
            delta: None,
            frames: None,
            due: now,
            published: now,
            waiting: false,
            spreading: None,
            end: None,
        }
    }

    /// What tells the newest state from others.
    pub(crate) fn parts(&self) -> Option<Parts> {
        self.state.as_ref().map(|state| state.parts)
    }

    /// Takes a new state for the newest.
    pub(crate) fn publish(&mut self, content: Content, now: Instant, deltas: &mut delta::Encoder) {
        let Content { version, data, parts } = content;
        self.delta = self.way_to(&data, deltas);
        self.state = Some(State { offset: version + 1, data, parts });
        self.number = self.number.wrapping_add(1).max(1);
        self.frames = None;
        self.published = now;
    }

    fn way_to(&self, data: &[u8], deltas: &mut delta::Encoder) -> Option<Vec<u8>> {
        let old = self.state.as_ref().filter(|_| self.deltas > 0)?;
        let mut delta = Vec::new();
        deltas.encode(&old.data, data, &mut delta);
        (delta.len() < data.len()).then_some(delta)
    }

    /// The publication for a client that has the state numbered `seen`. Nothing before the first.
    pub(crate) fn frame(&mut self, encoding: Encoding, delta: bool, seen: u32) -> Option<&Frame> {
        let follows = seen != 0 && seen.wrapping_add(1).max(1) == self.number;
        let form = Form::of(encoding, delta, delta && follows && self.delta.is_some());
        let state = self.state.as_ref().filter(|state| !state.data.is_empty())?;
        let (channel, delta) = (&self.channel, self.delta.as_deref().unwrap_or_default());
        let frames = self.frames.get_or_insert_default();
        Some(frames[form as usize].get_or_insert_with(|| state.write(form, channel, delta)))
    }

    /// The newest state for a reply; nothing before the first, and where there is none.
    pub(crate) fn publication(&self, encoding: Encoding, delta: bool) -> Option<Publication<'_>> {
        let State { offset, data, .. } =
            self.state.as_ref().filter(|state| !state.data.is_empty())?;
        let data = match Form::of(encoding, delta, false) {
            Form::Json => Data::Json(data),
            _ => Data::Text(data),
        };
        Some(Publication { offset: *offset, data })
    }

    /// Gives up frames that hardly anybody would share.
    pub(crate) fn forget_frames(&mut self) {
        self.frames = None;
    }

    /// What a client that has the state numbered `seen` is told when the view is over: the last
    /// state, and that there will be no other.
    pub(crate) fn farewell(&self, encoding: Encoding, delta: bool, seen: u32) -> Vec<u8> {
        let mut message = Vec::new();
        let Some(end) = &self.end else { return message };
        let mut out = Out::new(encoding, &mut message);
        let last = self.publication(encoding, delta).filter(|_| seen != self.number);
        if let Some(publication) = last {
            out.publication(&self.channel, publication);
        }
        out.unsubscribe_push(&self.channel, end.code, &end.reason);
        message
    }
}

impl State {
    fn write(&self, form: Form, channel: &str, delta: &[u8]) -> Frame {
        let data = match form {
            Form::Json => Data::Json(&self.data),
            Form::JsonText | Form::Protobuf => Data::Text(&self.data),
            Form::JsonDelta | Form::ProtobufDelta => Data::Delta(delta),
        };
        let mut message = Vec::with_capacity(self.data.len() + channel.len() + 64);
        let publication = Publication { offset: self.offset, data };
        Out::new(form.encoding(), &mut message).publication(channel, publication);
        Frame::new(form.encoding(), &message)
    }
}
