//! What one client has asked for: executes its commands and collects its news. No I/O.

use std::sync::Arc;

use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::mailbox::Mailbox;
use crate::protocol::{Close, Command, CommandError, Outbox, Request, board_deleted};
use crate::rpc;
use crate::shared::Shared;
use crate::views::{View, Watcher};

/// The session of one connection. Dropping it ends its subscriptions.
#[derive(Debug)]
pub(crate) struct Session {
    /// The hub's parts that sessions use.
    shared: Arc<Shared>,
    /// Number of the connection, unique in this hub.
    connection: u64,
    /// Whether `connect` was answered.
    connected: bool,
    /// Marked by the views; clones lie in their watchers.
    mailbox: Arc<Mailbox>,
    /// The subscriptions by slot; at most [`Config::max_channels`](crate::Config::max_channels).
    slots: Vec<Option<Subscription>>,
}

#[derive(Debug)]
struct Subscription {
    /// What the client watches.
    view: Arc<View>,
    /// Number of the state that the client got last; 0 for none.
    seen: u64,
}

/// What a command means to the connection's timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The session has begun.
    Connected,
    /// The client answered a ping.
    Pong,
    /// Anything else.
    Command,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, connection: u64) -> Self {
        shared.counters.connections.add(1);
        shared.counters.connections_total.add(1);
        let mailbox = Arc::default();
        Self { shared, connection, connected: false, mailbox, slots: Vec::new() }
    }

    /// Number of the connection, unique in this hub.
    pub(crate) fn connection(&self) -> u64 {
        self.connection
    }

    /// Marked when [`news`](Self::news) has something.
    pub(crate) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// Executes one command and puts its reply into `out`.
    pub(crate) fn execute(&mut self, line: &str, out: &mut Outbox) -> Result<Event, Close> {
        let command: Command<'_> =
            serde_json::from_str(line).map_err(|_| Close::BadRequest("not a command"))?;
        let id = command.id;
        let request = command.request().ok_or(Close::BadRequest("unknown command"))?;
        match (&request, self.connected) {
            (Request::Connect, true) => return Err(Close::BadRequest("already connected")),
            (Request::Connect, false) | (_, true) => {}
            (_, false) => return Err(Close::BadRequest("connect must come first")),
        }
        if id == 0 && !matches!(request, Request::Pong | Request::Send) {
            return Err(Close::BadRequest("a command needs an id"));
        }
        if matches!(request, Request::Pong) {
            return Ok(Event::Pong);
        }
        self.shared.counters.commands.add(1);
        if matches!(request, Request::Connect) {
            self.connect(id, out);
            return Ok(Event::Connected);
        }
        if let Err(error) = self.reply(id, request, out) {
            self.shared.counters.errors.add(1);
            out.failed(id, &error);
        }
        Ok(Event::Command)
    }

    /// What the subscription in `slot` has for the client: a new state, or that it is over.
    pub(crate) fn news(&mut self, slot: usize) -> Option<Utf8Bytes> {
        let subscription = self.slots.get_mut(slot)?.as_mut()?;
        let Some(state) = subscription.view.state() else {
            let push = board_deleted(subscription.view.channel());
            self.release(slot);
            return Some(push.into());
        };
        if state.number == subscription.seen {
            return None;
        }
        subscription.seen = state.number;
        self.shared.counters.deliveries.add(1);
        Some(state.push.clone())
    }

    fn connect(&mut self, id: u32, out: &mut Outbox) {
        self.connected = true;
        let client = self.shared.client_id(self.connection);
        out.connected(id, &client, self.shared.config.ping_seconds());
    }

    fn reply(
        &mut self,
        id: u32,
        request: Request<'_>,
        out: &mut Outbox,
    ) -> Result<(), CommandError> {
        match request {
            Request::Subscribe(channel) => self.subscribe(id, &channel, out)?,
            Request::Unsubscribe(channel) => {
                if let Some(slot) = self.slot_of(&channel) {
                    self.release(slot);
                }
                out.unsubscribed(id);
            }
            Request::Rpc(method, data) => {
                out.answered(id, &rpc::call(&self.shared.engine, &method, data)?);
            }
            Request::Unavailable => return Err(CommandError::NotAvailable),
            Request::Connect | Request::Send | Request::Pong => {}
        }
        Ok(())
    }

    fn subscribe(&mut self, id: u32, channel: &str, out: &mut Outbox) -> Result<(), CommandError> {
        if self.slot_of(channel).is_some() {
            return Err(CommandError::AlreadySubscribed);
        }
        let slot = self.free_slot()?;
        let (connection, mailbox) = (self.connection, Arc::clone(&self.mailbox));
        let view = self.shared.registry.watch(channel, Watcher { connection, mailbox, slot })?;
        let subscription = Some(Subscription { view, seen: 0 });
        match self.slots.get_mut(slot) {
            Some(free) => *free = subscription,
            None => self.slots.push(subscription),
        }
        out.subscribed(id);
        if let Some(push) = self.news(slot) {
            out.line(&push);
        }
        Ok(())
    }

    fn slot_of(&self, channel: &str) -> Option<usize> {
        self.slots.iter().position(|slot| {
            slot.as_ref().is_some_and(|subscription| subscription.view.channel() == channel)
        })
    }

    fn free_slot(&self) -> Result<usize, CommandError> {
        let limit = self.shared.config.max_channels;
        let free = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if free < limit { Ok(free) } else { Err(CommandError::LimitExceeded(limit)) }
    }

    fn release(&mut self, slot: usize) {
        if let Some(subscription) = self.slots[slot].take() {
            self.shared.registry.unwatch(&subscription.view, self.connection);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        (0..self.slots.len()).for_each(|slot| self.release(slot));
        self.shared.counters.connections.sub(1);
    }
}
