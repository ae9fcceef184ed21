//! Both ends of a trunk: see the module `trunk`.

use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use rankwire_access::Caller;

use super::Worker;
use super::rpc::Pending;
use crate::centrifuge::client::{Answer, Push, Reply, replies};
use crate::centrifuge::{CommandError, Data, Encoding, Out, Publication};
use crate::channel::Subject;
use crate::connection::Stage;
use crate::content::Content;
use crate::limits;
use crate::source::Source;
use crate::trunk::{Asked, Trunk};
use crate::view::End;
use crate::views::ViewId;

/// How long clients have to go elsewhere when the hub with the boards is gone.
const LAST_DRAIN: Duration = Duration::from_secs(2);

impl Worker {
    /// The end with the boards: a hub process has a session from the start.
    pub(super) fn make_trunk(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        connection.is_trunk = true;
        connection.stage = Stage::Connected;
        connection.encoding = Encoding::Protobuf;
        connection.caller = Some(Arc::new(Caller::Everybody));
    }

    /// Sends a call to the hub that has the boards.
    pub(super) fn forward(&mut self, ticket: u64, method: &str, data: &[u8]) {
        if let Source::Trunk(trunk) = &mut self.source {
            trunk.call(ticket, method, data);
        }
    }

    /// Sends what this turn had for the hub that has the boards.
    pub(super) fn flush_trunk(&mut self) {
        if let Source::Trunk(trunk) = &mut self.source
            && trunk.flush().is_err()
        {
            self.lose_trunk();
        }
    }

    /// Tells the hub that has the boards how this one does.
    pub(super) fn report_figures(&mut self) {
        if let Source::Trunk(trunk) = &mut self.source {
            trunk.tell(&self.hub.stats().to_bytes());
        }
    }

    /// Takes in what the hub that has the boards says.
    pub(super) fn attend_trunk(&mut self) {
        let mut buffer = take(&mut self.buffer);
        self.trunk_waits = true;
        for _ in 0..limits::READS {
            let Source::Trunk(trunk) = &mut self.source else { break };
            match trunk.read(&mut buffer) {
                Ok(Some(messages)) => {
                    for message in messages {
                        self.hear_trunk(&message);
                    }
                }
                Ok(None) => {
                    self.trunk_waits = false;
                    break;
                }
                Err(_) => {
                    self.lose_trunk();
                    break;
                }
            }
        }
        self.buffer = buffer;
    }

    fn lose_trunk(&mut self) {
        self.trunk_waits = false;
        self.lost = true;
        if self.drain.is_none() {
            self.begin_drain(LAST_DRAIN);
        }
    }

    fn trunk(&mut self) -> Option<&mut Trunk> {
        match &mut self.source {
            Source::Trunk(trunk) => Some(trunk),
            Source::Boards(_) => None,
        }
    }

    fn hear_trunk(&mut self, message: &[u8]) {
        for reply in replies(message) {
            let Ok(Reply { id, answer }) = reply else {
                self.lose_trunk();
                return;
            };
            self.take_answer(id, answer);
        }
    }

    fn take_answer(&mut self, id: u32, answer: Answer<'_>) {
        if let Answer::Push { channel, push } = answer {
            let Some(view) = self.trunk().and_then(|trunk| trunk.view_of(channel)) else { return };
            match push {
                Push::Publication(publication) => self.take_state(view, publication),
                Push::Unsubscribe { code, reason } => {
                    self.views.end(view, End { code, reason: reason.to_owned() });
                }
                Push::Disconnect { .. } | Push::Unknown => {}
            }
            return;
        }
        match self.trunk().and_then(|trunk| trunk.asked(id)) {
            Some(Asked::Call(ticket)) => self.take_result(ticket, answer),
            Some(Asked::Subscribe(channel)) => {
                let view = self.trunk().and_then(|trunk| trunk.answered(id, &channel));
                if let Some(view) = view {
                    self.take_subscription(view, answer);
                }
            }
            None => {}
        }
    }

    fn take_subscription(&mut self, view: ViewId, answer: Answer<'_>) {
        match answer {
            Answer::Subscribed(reply) => {
                self.views[view].epoch = reply.epoch.into();
                // The state comes next, but where there is none.
                if self.views[view].subject == Subject::Events {
                    let data = Data::Json(&[]);
                    self.take_state(view, Publication { offset: reply.offset, data });
                }
            }
            Answer::Error { code, message, temporary } => {
                let error = CommandError::Relayed { code, message: message.to_owned(), temporary };
                self.turn_away(view, &error);
            }
            _ => self.turn_away(view, &CommandError::Internal),
        }
    }

    fn take_state(&mut self, view: ViewId, publication: Publication<'_>) {
        let Publication { offset, data: Data::Json(data) | Data::Text(data) } = publication else {
            return;
        };
        let content = Content::relayed(offset.saturating_sub(1), data.to_vec());
        let kind = self.views[view].subject.kind();
        self.hub.counters.of(kind).publications_total.add(1);
        self.views.publish(view, content, self.clock.now);
        let waiting = self.trunk().map(|trunk| trunk.waiting(view)).unwrap_or_default();
        for ((slot, generation), wish) in waiting {
            if let Some(place) = self.place_waiting(slot, generation, view) {
                let mut replies = take(&mut self.payload);
                replies.clear();
                self.welcome(slot as usize, place, &wish, &mut replies);
                self.send_message(slot as usize, &replies);
                self.payload = replies;
            }
        }
    }

    /// Nobody can watch a view: those who wait for it are told why.
    fn turn_away(&mut self, view: ViewId, error: &CommandError) {
        let waiting = self.trunk().map(|trunk| trunk.waiting(view)).unwrap_or_default();
        for ((slot, generation), wish) in waiting {
            if let Some(place) = self.place_waiting(slot, generation, view) {
                let slot = slot as usize;
                let mut replies = take(&mut self.payload);
                replies.clear();
                self.fail(slot, wish.id, error, &mut replies);
                self.send_message(slot, &replies);
                self.payload = replies;
                // Sending may have ended the connection, and its subscriptions with it.
                if self.connections[slot].subscriptions.get(place).is_some() {
                    self.unsubscribe_at(slot, place);
                }
            }
        }
    }

    fn place_waiting(&self, slot: u32, generation: u32, view: ViewId) -> Option<usize> {
        let connection = self.connections.get(slot as usize)?;
        let same = connection.generation == generation;
        same.then(|| connection.subscriptions.iter().position(|one| one.view == view))?
    }

    fn take_result(&mut self, ticket: u64, answer: Answer<'_>) {
        let Some(pending) = self.pending.try_remove(ticket as usize) else { return };
        let Pending { slot, id, .. } = pending;
        let Some(connection) = self.awaiting(pending) else { return };
        let encoding = connection.encoding;
        let mut replies = take(&mut self.payload);
        replies.clear();
        match answer {
            Answer::Rpc(data) => Out::new(encoding, &mut replies).rpc(id, data),
            Answer::Error { code, message, temporary } => {
                let error = CommandError::Relayed { code, message: message.to_owned(), temporary };
                self.fail(slot as usize, id, &error, &mut replies);
            }
            _ => self.fail(slot as usize, id, &CommandError::Internal, &mut replies),
        }
        self.send_message(slot as usize, &replies);
        self.payload = replies;
        self.depart(slot as usize);
    }
}
