//! Where a worker's views get their states from: boards in this process, or another hub.

use std::io;
use std::time::Instant;

use mio::{Registry, Token};

use crate::boards::Boards;
use crate::centrifuge::CommandError;
use crate::channel::Subject;
use crate::stats::Counters;
use crate::trunk::Trunk;
use crate::views::{ViewId, Views};

/// A client that waits for the first state of a view: its slot and generation.
pub(crate) type Waiter = (u32, u32);

/// What a client said of its subscription that the reply depends on.
#[derive(Debug)]
pub(crate) struct Wish {
    /// Of the command.
    pub(crate) id: u32,
    /// Whether the client has been here before, and what it has.
    pub(crate) recover: bool,
    pub(crate) offset: u64,
    pub(crate) epoch: String,
}

/// A source of states.
#[derive(Debug)]
pub(crate) enum Source {
    /// The boards are here.
    Boards(Box<Boards>),
    /// The boards are in another process, at the other end of a socket.
    Trunk(Box<Trunk>),
}

impl Source {
    /// Announces what the source has to be woken for.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Boards(_) => Ok(()),
            Self::Trunk(trunk) => trunk.register(registry, token),
        }
    }

    /// The view of a channel, made if nobody watches it, with its first state if that is at hand.
    /// `data` is what came with the subscription.
    pub(crate) fn open(
        &mut self,
        views: &mut Views,
        (board, channel, subject): (&str, &str, Subject),
        data: Option<&[u8]>,
        now: Instant,
    ) -> Result<ViewId, CommandError> {
        match self {
            Self::Boards(boards) => boards.open(views, (board, channel, subject), now),
            Self::Trunk(trunk) => Ok(trunk.open(views, (board, channel, subject), data, now)),
        }
    }

    /// Drops a view that has no watchers any more.
    pub(crate) fn close(&mut self, views: &mut Views, view: ViewId) {
        match self {
            Self::Boards(boards) => boards.close(views, view),
            Self::Trunk(trunk) => trunk.close(views, view),
        }
    }

    /// Publishes what a view shows now, if that can be known here.
    pub(crate) fn renew(&mut self, views: &mut Views, view: ViewId, now: Instant) {
        if let Self::Boards(boards) = self {
            boards.renew(views, view, now);
        }
    }

    /// Publishes what is due.
    pub(crate) fn look(&mut self, views: &mut Views, counters: &Counters, now: Instant) {
        match self {
            Self::Boards(boards) => boards.look(views, counters, now),
            // The other hub has looked.
            Self::Trunk(_) => {}
        }
    }

    /// A client waits for the first state of a view no longer.
    pub(crate) fn forget(&mut self, view: ViewId, slot: u32) {
        if let Self::Trunk(trunk) = self {
            trunk.forget(view, slot);
        }
    }

    /// Keeps a client waiting for the first state of a view.
    pub(crate) fn wait(&mut self, view: ViewId, waiter: Waiter, wish: Wish) {
        if let Self::Trunk(trunk) = self {
            trunk.wait(view, waiter, wish);
        }
    }
}
