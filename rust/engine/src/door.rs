//! Where replies go: back to whoever calls the committer, or through a [`Door`].

use std::fmt::Debug;
use std::sync::Arc;

use crate::reply::Reply;

/// A way into the engine that takes the replies to its commands itself; see
/// [`Engine::send`](crate::Engine::send).
///
/// There are few doors, one for each thread that sends: every batch looks through those it met.
pub trait Door: Send + Sync + Debug {
    /// Takes the replies to commands of one batch, at least one, in the order in which they were
    /// sent. When a batch is committed, readers already see it.
    ///
    /// Runs on the committer's thread while all later commands wait, so it must neither block nor
    /// panic. No lock of the engine is held: it may read boards and send commands.
    fn deliver(&self, replies: Vec<Reply>);
}

/// The replies of a batch, by whose they are.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    /// Those for the caller of the committer.
    rest: Vec<Reply>,
    doors: Vec<(Arc<dyn Door>, Vec<Reply>)>,
}

impl Replies {
    /// Room for replies that come through no door.
    pub(crate) fn with_capacity(rest: usize) -> Self {
        Self { rest: Vec::with_capacity(rest), doors: Vec::new() }
    }

    /// Adds the reply to a command that came through `door`.
    pub(crate) fn push(&mut self, door: Option<Arc<dyn Door>>, reply: Reply) {
        let Some(door) = door else { return self.rest.push(reply) };
        match self.doors.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &door)) {
            Some((_, replies)) => replies.push(reply),
            None => self.doors.push((door, vec![reply])),
        }
    }

    /// All replies, those of each door together.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Reply> {
        self.doors.iter_mut().flat_map(|(_, replies)| replies).chain(&mut self.rest)
    }

    /// Hands every door its replies and returns the rest.
    pub(crate) fn deliver(self) -> Vec<Reply> {
        for (door, replies) in self.doors {
            door.deliver(replies);
        }
        self.rest
    }
}
