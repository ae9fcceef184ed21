//! Commands: what a client asks for, and what it gets at once.

use std::borrow::Cow;
use std::sync::Arc;

use rankwire_access::{Action, Caller, Denied, Unauthorized};
use serde::Deserialize;

use super::Worker;
use crate::centrifuge::{
    Body, Close, Command, CommandError, Connected, Encoding, Out, Subscribe, Subscribed,
};
use crate::channel::{self, Subject};
use crate::connection::{Connection, Stage, Subscription};
use crate::limits;
use crate::pace::Verdict;
use crate::source::Wish;
use crate::view::Watcher;

/// What the server calls itself.
const VERSION: &str = concat!("rankwire ", env!("CARGO_PKG_VERSION"));

/// The data of a subscription to friends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Friends {
    members: Vec<String>,
}

impl Worker {
    /// Executes one command. Its reply goes into `replies`, now or, for some, later.
    pub(super) fn execute(
        &mut self,
        slot: usize,
        command: &Command<'_>,
        replies: &mut Vec<u8>,
    ) -> Result<(), Close> {
        let connection = &mut self.connections[slot];
        match (&command.body, connection.stage) {
            (Body::Connect { .. }, Stage::Connected) => {
                return Err(Close::BadRequest("already connected"));
            }
            (Body::Connect { .. }, Stage::Open) | (_, Stage::Connected) => {}
            (_, Stage::Open) => return Err(Close::BadRequest("connect must come first")),
            // Closed by a command before this one.
            _ => return Ok(()),
        }
        let verdict = self.judge(slot);
        if matches!(command.body, Body::Pong) {
            return if verdict == Verdict::Flood { Err(Close::TooManyRequests) } else { Ok(()) };
        }
        // What comes through a trunk was counted where it came in.
        let counted = u64::from(!self.connections[slot].is_trunk);
        self.hub.counters.commands_total.add(counted);
        let outcome = match verdict {
            Verdict::Flood => return Err(Close::TooManyRequests),
            Verdict::TooMany => Err(CommandError::TooManyRequests),
            Verdict::Fine if replies.len() >= limits::REPLY_BYTES => {
                Err(CommandError::TooManyRequests)
            }
            Verdict::Fine => self.obey(slot, command, replies)?,
        };
        // What has no id has no reply, not even this one.
        if let Err(error) = outcome
            && command.id != 0
        {
            self.fail(slot, command.id, &error, replies);
        }
        Ok(())
    }

    /// Whether a client may send another command now. Servers, which have keys, always may.
    fn judge(&mut self, slot: usize) -> Verdict {
        let per_second = self.hub.config.commands_per_second;
        let connection = &mut self.connections[slot];
        match connection.caller.as_deref() {
            Some(Caller::Key { .. } | Caller::Everybody) => Verdict::Fine,
            _ => connection.pace.step(self.clock.ms, per_second),
        }
    }

    fn obey(
        &mut self,
        slot: usize,
        command: &Command<'_>,
        replies: &mut Vec<u8>,
    ) -> Result<Result<(), CommandError>, Close> {
        let id = command.id;
        let mut out = Out::new(self.connections[slot].encoding, replies);
        Ok(match &command.body {
            Body::Connect { token } => return self.connect(slot, id, token, replies),
            Body::Refresh { token } => return self.refresh(slot, id, token, replies),
            Body::Subscribe(request) => self.subscribe(slot, id, request, replies),
            Body::Unsubscribe { channel } => {
                if let Some(place) = self.place_of(slot, channel) {
                    self.unsubscribe_at(slot, place);
                }
                out.unsubscribed(id);
                Ok(())
            }
            Body::Rpc { method, data } => {
                self.call(slot, id, method, data.unwrap_or_default(), replies)
            }
            Body::Ping => {
                out.pong(id);
                Ok(())
            }
            Body::Send { data } => {
                self.take_figures(slot, data.unwrap_or_default());
                Ok(())
            }
            Body::Unavailable => Err(CommandError::NotAvailable),
            Body::Pong => Ok(()),
        })
    }

    /// Answers a command with an error.
    pub(super) fn fail(
        &mut self,
        slot: usize,
        id: u32,
        error: &CommandError,
        replies: &mut Vec<u8>,
    ) {
        let connection = &self.connections[slot];
        if !connection.is_trunk {
            self.hub.counters.failed.add(error.code() as u16);
        }
        Out::new(connection.encoding, replies).failed(id, error);
    }

    /// Begins the session of whoever the token, or else the handshake, speaks for.
    fn connect(
        &mut self,
        slot: usize,
        id: u32,
        token: &str,
        replies: &mut Vec<u8>,
    ) -> Result<Result<(), CommandError>, Close> {
        let connection = &self.connections[slot];
        let brought = connection.credential.as_deref();
        let credential = if token.is_empty() { brought } else { Some(token) };
        let Some(caller) = self.identify(credential)? else {
            return Ok(Err(CommandError::TokenExpired));
        };
        let ttl = self.become_caller(slot, caller);
        let name = (self.number, slot as u32, self.connections[slot].generation);
        let until = self.end_of_session(name);
        let connection = &mut self.connections[slot];
        connection.credential = None;
        connection.stage = Stage::Connected;
        connection.until = until;
        let client = self.hub.client_id(name);
        let ping_s = self.hub.config.ping_seconds();
        let reply = Connected { client: &client, version: VERSION, ping_s, ttl };
        Out::new(connection.encoding, replies).connected(id, &reply);
        Ok(Ok(()))
    }

    /// Goes on with a new token of the same caller.
    fn refresh(
        &mut self,
        slot: usize,
        id: u32,
        token: &str,
        replies: &mut Vec<u8>,
    ) -> Result<Result<(), CommandError>, Close> {
        let Some(caller) = self.identify(Some(token))? else {
            return Ok(Err(CommandError::TokenExpired));
        };
        let old = self.connections[slot].caller.as_ref();
        if old.is_none_or(|old| (old.kind(), old.name()) != (caller.kind(), caller.name())) {
            return Err(Close::InvalidToken);
        }
        let ttl = self.become_caller(slot, caller);
        Out::new(self.connections[slot].encoding, replies).refreshed(id, ttl);
        Ok(Ok(()))
    }

    /// Who a credential speaks for; nobody if it has expired, so that the client fetches another.
    fn identify(&self, credential: Option<&str>) -> Result<Option<Arc<Caller>>, Close> {
        match self.hub.access.identify(credential, self.clock.unix_s) {
            Ok(caller) => Ok(Some(caller)),
            Err(Unauthorized::Expired) => Ok(None),
            Err(_) => Err(Close::InvalidToken),
        }
    }

    /// Makes a connection one of the caller. Returns in how many seconds that ends.
    fn become_caller(&mut self, slot: usize, caller: Arc<Caller>) -> Option<u32> {
        let connection = &mut self.connections[slot];
        connection.expires = caller.expires_s();
        connection.caller = Some(caller);
        let left = connection.expires?.saturating_sub(self.clock.unix_s).max(1);
        Some(u32::try_from(left).unwrap_or(u32::MAX))
    }

    fn subscribe(
        &mut self,
        slot: usize,
        id: u32,
        request: &Subscribe<'_>,
        replies: &mut Vec<u8>,
    ) -> Result<(), CommandError> {
        let unknown = || CommandError::UnknownChannel("unknown channel".to_owned());
        let (board, mut subject) = channel::parse(&request.channel).ok_or_else(unknown)?;
        self.check(slot, &Action::Read { board })?;
        let connection = &self.connections[slot];
        if !connection.is_trunk {
            let limit = self.hub.config.max_channels;
            if connection.subscriptions.len() >= limit {
                return Err(CommandError::LimitExceeded(limit));
            }
            if self.place_of(slot, &request.channel).is_some() {
                return Err(CommandError::AlreadySubscribed);
            }
        }
        if let Subject::Friends(members) = &mut subject {
            *members = friends(request.data.unwrap_or_default())?;
        }
        let before = self.views.len();
        let views = &mut self.views;
        let what = (board, &*request.channel, subject);
        let view = self.source.open(views, what, request.data, self.clock.now)?;
        let made = (views.len() - before) as u64;
        self.hub.of_views().of(views[view].subject.kind()).views.add(made);
        let place = self.join(slot, view, request.delta);
        let wish = Wish {
            id,
            recover: request.recover,
            offset: request.offset,
            epoch: request.epoch.clone().into_owned(),
        };
        if let Some(state) = &self.views[view].state {
            let is_ahead = wish.recover && *wish.epoch == *self.views[view].epoch;
            if is_ahead && wish.offset > state.offset {
                self.source.renew(&mut self.views, view, self.clock.now);
            }
            self.welcome(slot, place, &wish, replies);
        } else {
            self.connections[slot].subscriptions[place].pending = true;
            self.source.wait(view, (slot as u32, self.connections[slot].generation), wish);
        }
        Ok(())
    }

    fn join(&mut self, slot: usize, view: u32, delta: bool) -> usize {
        let subscriptions = &mut self.connections[slot].subscriptions;
        let place = subscriptions.len();
        let watcher = Watcher { slot: slot as u32, place: place as u32 };
        let index = self.views.join(view, watcher, delta);
        let (seen, missed, pending) = (0, false, false);
        subscriptions.push(Subscription { view, index, seen, delta, missed, pending });
        let counted = u64::from(!self.connections[slot].is_trunk);
        let kind = self.views[view].subject.kind();
        self.hub.counters.of(kind).subscriptions.add(counted);
        place
    }

    /// Answers a subscription with the newest state.
    ///
    /// Recovery has the semantics of a cache: whoever has the newest state gets nothing more,
    /// whoever has an older one gets the newest. Positions of another epoch mean nothing here.
    pub(super) fn welcome(
        &mut self,
        slot: usize,
        place: usize,
        wish: &Wish,
        replies: &mut Vec<u8>,
    ) {
        let Self { connections, views, hub, .. } = self;
        let Connection { subscriptions, encoding, is_trunk, .. } = &mut connections[slot];
        let subscription = &mut subscriptions[place];
        let view = &mut views[subscription.view];
        let offset = view.state.as_ref().map_or(0, |state| state.offset);
        let recovered = wish.recover && *wish.epoch == *view.epoch;
        let has_it = recovered && wish.offset >= offset;
        let state = view.publication(*encoding, subscription.delta).filter(|_| !has_it);
        subscription.seen = view.number;
        subscription.pending = false;
        let counted = u64::from(state.is_some() && !*is_trunk);
        hub.counters.of(view.subject.kind()).deliveries_total.add(counted);
        let reply = Subscribed {
            recoverable: true,
            positioned: true,
            epoch: &view.epoch,
            offset: if recovered { wish.offset } else { offset },
            delta: subscription.delta,
            was_recovering: wish.recover,
            recovered,
            publication: state.filter(|_| recovered),
        };
        Out::new(*encoding, replies).subscribed(wish.id, &reply);
        // A client that has the state by recovery could not use a delta from it.
        if has_it && subscription.delta {
            subscription.seen = 0;
        }
        if !recovered && let Some(frame) = view.frame(*encoding, subscription.delta, 0) {
            append(*encoding, replies, frame.message());
        }
    }

    /// Where a connection keeps its subscription to a channel.
    fn place_of(&self, slot: usize, channel: &str) -> Option<usize> {
        let mut subscriptions = self.connections[slot].subscriptions.iter();
        let place = match self.views.find(channel) {
            Some(view) => subscriptions.position(|one| one.view == view),
            None => None,
        };
        // A view that nobody else finds: its own, or one that is over.
        let is_here = |one: &Subscription| *self.views[one.view].channel == *channel;
        place.or_else(|| self.connections[slot].subscriptions.iter().position(is_here))
    }

    /// Ends a subscription.
    pub(super) fn unsubscribe_at(&mut self, slot: usize, place: usize) {
        let Self { connections, views, source, hub, .. } = self;
        let counted = u64::from(!connections[slot].is_trunk);
        let subscriptions = &mut connections[slot].subscriptions;
        let Subscription { view, index, delta, pending, .. } = subscriptions.swap_remove(place);
        let kind = views[view].subject.kind();
        hub.counters.of(kind).subscriptions.sub(counted);
        if pending {
            source.forget(view, slot as u32);
        }
        if let Some(moved) = subscriptions.get(place) {
            views[moved.view].watchers[moved.index as usize].place = place as u32;
        }
        if let Some(moved) = views.leave(view, index, delta) {
            let connection = &mut connections[moved.slot as usize];
            connection.subscriptions[moved.place as usize].index = index;
        }
        if views[view].watchers.is_empty() {
            source.close(views, view);
            hub.of_views().of(kind).views.sub(1);
        }
    }

    /// Whether the caller of a connection may do something.
    pub(super) fn check(&self, slot: usize, action: &Action<'_>) -> Result<(), CommandError> {
        let caller = self.connections[slot].caller.as_deref();
        let caller = caller.ok_or(CommandError::Unauthorized)?;
        self.hub.access.check(caller, action, self.clock.unix_s).map_err(|denied| match denied {
            Denied::Anonymous => CommandError::Unauthorized,
            Denied::Expired => CommandError::TokenExpired,
            Denied::Forbidden(_) | Denied::Revoked => CommandError::PermissionDenied,
        })
    }
}

/// Appends messages that are written already.
fn append(encoding: Encoding, payload: &mut Vec<u8>, messages: &[u8]) {
    if encoding == Encoding::Json && !payload.is_empty() {
        payload.push(b'\n');
    }
    payload.extend_from_slice(messages);
}

/// The members that a subscription names.
fn friends(data: &[u8]) -> Result<Box<[String]>, CommandError> {
    let bad = |what: Cow<'static, str>| CommandError::BadParams(what.into_owned());
    let Ok(Friends { members }) = serde_json::from_slice(data) else {
        return Err(bad(r#"data: must be {"members":[...]} with names"#.into()));
    };
    if members.is_empty() || members.len() > limits::ROWS {
        return Err(bad(format!("members: 1 to {} names", limits::ROWS).into()));
    }
    for member in &members {
        rankwire_engine::check_member(member)
            .map_err(|error| bad(format!("members: {error}").into()))?;
    }
    Ok(members.into())
}
