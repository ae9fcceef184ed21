//! Commands on their way to the committer: a bounded queue.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::BoardConfig;
use crate::door::Door;
use crate::key::WriteKey;
use crate::record::BoardId;
use crate::repair::Repair;
use crate::{Error, Score, limits};

/// Identifies a command until its reply. Those that the engine gives grow in queue order; a
/// [`Door`] gives its commands tickets of its own.
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
    /// Bring members to states that another region has; each that is still as it was seen.
    Repair {
        /// Name of the board.
        board: String,
        /// Which life of it was seen: a board that was deleted and created again is another.
        life: BoardId,
        /// The members, at most [`limits::REPAIR_ITEMS`].
        items: Vec<Repair>,
    },
}

impl Command {
    /// How much of the queue's limit the command takes up.
    pub(crate) fn ops(&self) -> usize {
        match self {
            Self::Batch { submits, .. } => submits.len().max(1),
            Self::Repair { items, .. } => items.len().max(1),
            _ => 1,
        }
    }
}

/// A command with the key that makes it safe to send again, if it has one.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// What is to change.
    pub command: Command,
    /// Which write this is.
    pub key: Option<WriteKey>,
}

impl From<Command> for Write {
    fn from(command: Command) -> Self {
        Self { command, key: None }
    }
}

/// A write that waits, and where the reply goes.
#[derive(Debug, Clone)]
pub(crate) struct Queued {
    pub(crate) ticket: Ticket,
    pub(crate) write: Write,
    /// `None` for the caller of the committer.
    pub(crate) door: Option<Arc<dyn Door>>,
}

/// Whether commands are taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intake {
    Open,
    /// The storage cannot commit: refuse at once rather than let callers wait.
    Stalled,
    Closed,
}

#[derive(Debug)]
struct Waiting {
    commands: VecDeque<Queued>,
    ops: usize,
    next: Ticket,
    intake: Intake,
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
        let waiting = Waiting { commands: VecDeque::new(), ops: 0, next: 1, intake: Intake::Open };
        Self { waiting: Mutex::new(waiting), filled: Condvar::new(), limit_ops }
    }

    /// Appends a write, without waking anyone: see [`wake`](Self::wake).
    pub(crate) fn push(&self, write: Write) -> Result<Ticket, Error> {
        let mut waiting = self.lock();
        waiting.check_open()?;
        if waiting.ops + write.command.ops() > self.limit_ops {
            return Err(Error::Busy);
        }
        let ticket = waiting.next;
        waiting.next += 1;
        waiting.append(Queued { ticket, write, door: None });
        Ok(ticket)
    }

    /// Appends writes of a door, as many as fit, and takes them out of `writes`. Wakes nobody
    /// either.
    pub(crate) fn send(
        &self,
        writes: &mut Vec<(Ticket, Write)>,
        door: &Arc<dyn Door>,
    ) -> Result<(), Error> {
        let mut waiting = self.lock();
        waiting.check_open()?;
        let mut ops = waiting.ops;
        let fits = |(_, write): &&(Ticket, Write)| {
            ops += write.command.ops();
            ops <= self.limit_ops
        };
        let count = writes.iter().take_while(fits).count();
        for (ticket, write) in writes.drain(..count) {
            waiting.append(Queued { ticket, write, door: Some(Arc::clone(door)) });
        }
        if writes.is_empty() { Ok(()) } else { Err(Error::Busy) }
    }

    /// Wakes the committer if it waits.
    pub(crate) fn wake(&self) {
        self.filled.notify_one();
    }

    /// Waits up to `patience` for commands and takes at most [`limits::SEALED_OPS`] ops of them,
    /// but at least one command if there is any. `None` when the queue is closed and empty.
    pub(crate) fn take(&self, patience: Duration) -> Option<Vec<Queued>> {
        let idle =
            |waiting: &mut Waiting| waiting.commands.is_empty() && waiting.intake != Intake::Closed;
        let waited = self.filled.wait_timeout_while(self.lock(), patience, idle);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if waiting.commands.is_empty() && waiting.intake == Intake::Closed {
            return None;
        }
        Some(waiting.drain(limits::SEALED_OPS))
    }

    /// Takes everything that waits.
    pub(crate) fn take_all(&self) -> Vec<Queued> {
        self.lock().drain(usize::MAX)
    }

    /// While stalled, commands are refused with [`Error::NotCommitted`].
    pub(crate) fn set_stalled(&self, stalled: bool) {
        let mut waiting = self.lock();
        if waiting.intake != Intake::Closed {
            waiting.intake = if stalled { Intake::Stalled } else { Intake::Open };
        }
    }

    /// Refuses commands from now on; what waits is still handed out.
    pub(crate) fn close(&self) {
        self.lock().intake = Intake::Closed;
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
    fn check_open(&self) -> Result<(), Error> {
        match self.intake {
            Intake::Open => Ok(()),
            Intake::Stalled => Err(Error::NotCommitted),
            Intake::Closed => Err(Error::Closed),
        }
    }

    fn append(&mut self, queued: Queued) {
        self.ops += queued.write.command.ops();
        self.commands.push_back(queued);
    }

    /// The oldest commands: as many as fit into `ops`, and one in any case.
    fn drain(&mut self, ops: usize) -> Vec<Queued> {
        let mut taken_ops = 0;
        let mut count = 0;
        for queued in &self.commands {
            let after = taken_ops + queued.write.command.ops();
            if count > 0 && after > ops {
                break;
            }
            (taken_ops, count) = (after, count + 1);
        }
        self.ops -= taken_ops;
        self.commands.drain(..count).collect()
    }
}
