//! Commands on their way to the committer: a bounded queue.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::BoardConfig;
use crate::{Error, Score, limits};

/// Identifies a command until its reply. Tickets of one engine grow in queue order.
pub type Ticket = u64;

/// One submitted score.
#[derive(Debug, Clone, PartialEq)]
pub struct Submit {
    /// Who scored.
    pub member: String,
    /// The score; for policy `sum` the amount to add.
    pub score: Score,
    /// When it was reached, in milliseconds since 1970; absent means when the server takes it.
    pub at_ms: Option<i64>,
}

/// One thing a caller wants changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Create a board, or confirm that it exists with this configuration.
    Create {
        /// Name of the board.
        board: String,
        /// Its configuration.
        config: BoardConfig,
    },
    /// Delete a board with everything in it.
    Drop {
        /// Name of the board.
        board: String,
    },
    /// Submit one score and learn the rank it gives.
    Submit {
        /// Name of the board.
        board: String,
        /// The score.
        submit: Submit,
    },
    /// Submit many scores, all or nothing.
    Batch {
        /// Name of the board.
        board: String,
        /// The scores, applied in this order.
        submits: Vec<Submit>,
    },
    /// Remove a member from a board.
    Remove {
        /// Name of the board.
        board: String,
        /// Who is removed.
        member: String,
    },
}

impl Command {
    /// How much of the queue's limit the command takes up.
    pub(crate) fn ops(&self) -> usize {
        match self {
            Self::Batch { submits, .. } => submits.len().max(1),
            _ => 1,
        }
    }
}

/// Whether commands are taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    /// The storage cannot commit: refuse at once rather than let callers wait.
    Stalled,
    Closed,
}

#[derive(Debug)]
struct Waiting {
    commands: VecDeque<(Ticket, Command)>,
    ops: usize,
    next: Ticket,
    door: Door,
}

/// The queue. The lock is held for a push or a drain, never across work or I/O.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    limit_ops: usize,
}

impl Queue {
    pub(crate) fn new(limit_ops: usize) -> Self {
        let waiting = Waiting { commands: VecDeque::new(), ops: 0, next: 1, door: Door::Open };
        Self { waiting: Mutex::new(waiting), filled: Condvar::new(), limit_ops }
    }

    /// Appends a command, without waking anyone: see [`wake`](Self::wake).
    pub(crate) fn push(&self, command: Command) -> Result<Ticket, Error> {
        let mut waiting = self.lock();
        match waiting.door {
            Door::Open => {}
            Door::Stalled => return Err(Error::NotCommitted),
            Door::Closed => return Err(Error::Closed),
        }
        if waiting.ops + command.ops() > self.limit_ops {
            return Err(Error::Busy);
        }
        let ticket = waiting.next;
        waiting.next += 1;
        waiting.ops += command.ops();
        waiting.commands.push_back((ticket, command));
        Ok(ticket)
    }

    /// Wakes the committer if it waits.
    pub(crate) fn wake(&self) {
        self.filled.notify_one();
    }

    /// Waits up to `patience` for commands and takes at most [`limits::SEALED_OPS`] ops of them,
    /// but at least one command if there is any. `None` when the queue is closed and empty.
    pub(crate) fn take(&self, patience: Duration) -> Option<Vec<(Ticket, Command)>> {
        let idle =
            |waiting: &mut Waiting| waiting.commands.is_empty() && waiting.door != Door::Closed;
        let waited = self.filled.wait_timeout_while(self.lock(), patience, idle);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if waiting.commands.is_empty() && waiting.door == Door::Closed {
            return None;
        }
        Some(waiting.drain(limits::SEALED_OPS))
    }

    /// Takes everything that waits.
    pub(crate) fn take_all(&self) -> Vec<(Ticket, Command)> {
        self.lock().drain(usize::MAX)
    }

    /// While stalled, commands are refused with [`Error::NotCommitted`].
    pub(crate) fn set_stalled(&self, stalled: bool) {
        let mut waiting = self.lock();
        if waiting.door != Door::Closed {
            waiting.door = if stalled { Door::Stalled } else { Door::Open };
        }
    }

    /// Refuses commands from now on; what waits is still handed out.
    pub(crate) fn close(&self) {
        self.lock().door = Door::Closed;
        self.filled.notify_all();
    }

    /// How many ops wait.
    pub(crate) fn ops(&self) -> usize {
        self.lock().ops
    }

    /// A panic while the lock is held cannot leave the queue half-changed, so a poisoned lock is
    /// as good as any.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// The oldest commands: as many as fit into `ops`, and one in any case.
    fn drain(&mut self, ops: usize) -> Vec<(Ticket, Command)> {
        let mut taken_ops = 0;
        let mut count = 0;
        for (_, command) in &self.commands {
            let after = taken_ops + command.ops();
            if count > 0 && after > ops {
                break;
            }
            (taken_ops, count) = (after, count + 1);
        }
        self.ops -= taken_ops;
        self.commands.drain(..count).collect()
    }
}
