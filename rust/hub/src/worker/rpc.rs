//! Calls: reads are answered at once, submits when they are durable.
//!
//! Submits that come in during a turn go to the engine together, and their replies come back
//! together: as many as were committed at once, sorted by connection, one message for each.

use std::mem::take;

use rankwire_access::{Action, Caller};
use rankwire_engine::{Error, Outcome, Reply};

use super::Worker;
use crate::call::{self, SubmitCall};
use crate::centrifuge::{CommandError, Out};
use crate::connection::Connection;
use crate::limits;
use crate::source::Source;
use crate::stats::Stats;

/// Who waits for the answer to a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    /// Of the command.
    pub(crate) id: u32,
}

impl Worker {
    /// Executes a call.
    pub(super) fn call(
        &mut self,
        slot: usize,
        id: u32,
        method: &str,
        data: &[u8],
        replies: &mut Vec<u8>,
    ) -> Result<(), CommandError> {
        match method {
            "submit" => self.submit(slot, id, data, false),
            // From a hub process, whose client is a player.
            call::PLAYER_SUBMIT if self.connections[slot].is_trunk => {
                self.submit(slot, id, data, true)
            }
            _ => self.read(slot, id, method, data, replies),
        }
    }

    fn read(
        &mut self,
        slot: usize,
        id: u32,
        method: &str,
        data: &[u8],
        replies: &mut Vec<u8>,
    ) -> Result<(), CommandError> {
        let allowed = |board: &str| self.check(slot, &Action::Read { board });
        match &self.source {
            Source::Boards(boards) => {
                let answer = call::read(boards.engine(), method, data, allowed)?;
                Out::new(self.connections[slot].encoding, replies).rpc(id, &answer);
            }
            Source::Trunk(_) => {
                call::check_read(method, data, allowed)?;
                self.check_in_flight(slot)?;
                let pending = self.expect(slot, id);
                self.forward(pending, method, data);
            }
        }
        Ok(())
    }

    fn submit(
        &mut self,
        slot: usize,
        id: u32,
        data: &[u8],
        for_player: bool,
    ) -> Result<(), CommandError> {
        let Connection { caller, is_trunk, .. } = &self.connections[slot];
        let caller = caller.as_deref().ok_or(CommandError::Unauthorized)?;
        let is_player = caller.member().is_some();
        let call =
            if *is_trunk { SubmitCall::relayed(data)? } else { SubmitCall::read(data, caller)? };
        self.check_in_flight(slot)?;
        self.check_submit(slot, &call, is_player || for_player)?;
        if self.connections[slot].is_leaving {
            return Err(CommandError::Leaving);
        }
        self.spend(slot)?;
        self.hub.counters.submits_total.add(u64::from(!self.connections[slot].is_trunk));
        let pending = self.expect(slot, id);
        if matches!(self.source, Source::Trunk(_)) {
            let method = if is_player { call::PLAYER_SUBMIT } else { "submit" };
            let data = call.to_json();
            self.forward(pending, method, &data);
        } else {
            self.submits.push((pending, call.into_write()));
        }
        Ok(())
    }

    /// Whether a submit is allowed, which for players depends on the board as well.
    fn check_submit(
        &self,
        slot: usize,
        call: &SubmitCall,
        by_player: bool,
    ) -> Result<(), CommandError> {
        let player_submits = match &self.source {
            Source::Boards(boards) if by_player => {
                let board = boards.engine().board(&call.board);
                board.is_ok_and(|board| board.config().player_submits)
            }
            // The hub that has the boards looks.
            Source::Boards(_) | Source::Trunk(_) => true,
        };
        if by_player && !player_submits {
            return Err(CommandError::PermissionDenied);
        }
        let (board, member) = (&*call.board, &*call.submit.member);
        self.check(slot, &Action::Submit { board, member, player_submits })
    }

    /// Whether a connection may wait for one answer more.
    fn check_in_flight(&self, slot: usize) -> Result<(), CommandError> {
        let Connection { caller, in_flight, is_trunk, .. } = &self.connections[slot];
        let most = match caller.as_deref() {
            _ if *is_trunk => u32::MAX,
            Some(Caller::Key { .. } | Caller::Everybody) => limits::KEY_IN_FLIGHT,
            _ => limits::IN_FLIGHT,
        };
        if *in_flight < most { Ok(()) } else { Err(CommandError::TooManyRequests) }
    }

    /// Counts a submit against the caller's rate.
    fn spend(&self, slot: usize) -> Result<(), CommandError> {
        let access = &self.hub.access;
        let caller = self.connections[slot].caller.as_deref().ok_or(CommandError::Unauthorized)?;
        access.spend(caller, 1, access.clock_ms()).map_err(|_| CommandError::TooManyRequests)
    }

    /// Notes who waits for an answer. Returns its ticket.
    fn expect(&mut self, slot: usize, id: u32) -> u64 {
        let connection = &mut self.connections[slot];
        connection.in_flight += 1;
        let generation = connection.generation;
        self.pending.insert(Pending { slot: slot as u32, generation, id }) as u64
    }

    /// Hands the submits of this turn to the engine.
    pub(super) fn send_submits(&mut self) {
        let Source::Boards(boards) = &self.source else { return };
        if self.submits.is_empty() {
            return;
        }
        let mut submits = take(&mut self.submits);
        let sent = boards.engine().send(&mut submits, &self.door);
        boards.engine().wake();
        if let Err(error) = sent {
            let refuse = |(ticket, _)| Reply { ticket, outcome: Err(error.clone()) };
            let refused = submits.drain(..).map(refuse).collect();
            self.answer(refused);
        }
        self.submits = submits;
    }

    /// Answers those who wait for what was committed.
    pub(super) fn answer(&mut self, replies: Vec<Reply>) {
        let mut answers: Vec<(Pending, Result<Outcome, Error>)> = replies
            .into_iter()
            .filter_map(|reply| {
                Some((self.pending.try_remove(reply.ticket as usize)?, reply.outcome))
            })
            .collect();
        answers.sort_by_key(|(pending, _)| pending.slot);
        let mut message = take(&mut self.payload);
        let mut json = Vec::new();
        for of_one in answers.chunk_by(|(a, _), (b, _)| a.slot == b.slot) {
            message.clear();
            let slot = of_one[0].0.slot as usize;
            for (pending, outcome) in of_one {
                let Some(connection) = self.awaiting(*pending) else { continue };
                match outcome {
                    Ok(outcome) => {
                        json.clear();
                        outcome.write_json(&mut json);
                        Out::new(connection.encoding, &mut message).rpc(pending.id, &json);
                    }
                    Err(error) => self.fail(slot, pending.id, &call::refusal(error), &mut message),
                }
                if message.len() >= limits::REPLY_BYTES {
                    self.send_message(slot, &message);
                    message.clear();
                }
            }
            if !message.is_empty() {
                self.send_message(slot, &message);
            }
            self.depart(slot);
        }
        message.clear();
        self.payload = message;
    }

    /// The connection that waits for an answer, if it still does. It waits for one less now.
    pub(super) fn awaiting(&mut self, pending: Pending) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(pending.slot as usize)?;
        if connection.generation != pending.generation || !connection.is_live() {
            return None;
        }
        connection.in_flight -= 1;
        Some(connection)
    }

    /// Ends a session that only waited for its answers, with the last of them: whoever submits one
    /// after the other is never refused.
    pub(super) fn depart(&mut self, slot: usize) {
        let is_done = |one: &Connection| one.is_leaving && one.in_flight == 0;
        if self.connections.get(slot).is_some_and(is_done) {
            self.close(slot, self.farewell());
        }
    }

    /// Takes note of the figures of a hub process.
    pub(super) fn take_figures(&mut self, slot: usize, data: &[u8]) {
        let connection = &self.connections[slot];
        if connection.is_trunk
            && let Some(stats) = Stats::from_bytes(data)
        {
            let name = (self.number, slot as u32, connection.generation);
            self.hub.relay(name, Some(Box::new(stats)));
        }
    }
}
