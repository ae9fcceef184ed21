//! What became of a command.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::key::Repeat;
use crate::queue::Ticket;
use crate::repair::Repaired;
use crate::{Board, Error, Score, answer};

/// A command's ticket and what became of it.
#[derive(Debug)]
pub struct Reply {
    /// The ticket that [`Engine::enqueue`](crate::Engine::enqueue) gave, or the one given to
    /// [`Engine::send`](crate::Engine::send).
    pub ticket: Ticket,
    /// The result, or why nothing was done.
    pub outcome: Result<Outcome, Error>,
}

/// What a command did.
#[derive(Debug)]
pub enum Outcome {
    /// A single submit was taken.
    Submitted(Receipt),
    /// A batch was taken.
    Batch(BatchReceipt),
    /// The board exists as asked for.
    Board {
        /// Whether this command created it.
        created: bool,
        /// The JSON of its description, as of before the commit.
        description: Box<[u8]>,
    },
    /// The board or the member is gone.
    Gone,
    /// Members were brought to the states of another region.
    Repaired(Repaired),
    /// The write came before under the same key; this is what it was answered then.
    Repeat(Repeat),
}

impl Outcome {
    pub(crate) fn board(created: bool, board: &Board) -> Self {
        Self::Board { created, description: answer::description(board).into() }
    }

    /// Appends the JSON that callers get; nothing for [`Gone`](Self::Gone).
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Submitted(receipt) => answer::write_json(receipt, out),
            Self::Batch(receipt) => answer::write_json(receipt, out),
            Self::Board { description, .. } => out.extend_from_slice(description),
            Self::Repaired(repaired) => answer::write_json(repaired, out),
            Self::Gone => {}
            Self::Repeat(repeat) => out.extend_from_slice(repeat.json()),
        }
    }
}

/// The answer to a single submit. Ranks count from 1 and are those right after the submit.
#[derive(Debug, Serialize)]
pub struct Receipt {
    #[serde(serialize_with = "name")]
    pub(crate) board: Arc<Board>,
    pub(crate) member: String,
    pub(crate) score: Score,
    pub(crate) rank: u64,
    pub(crate) previous_score: Option<Score>,
    pub(crate) previous_rank: Option<u64>,
    pub(crate) changed: bool,
    pub(crate) version: u64,
}

/// The answer to a batch.
#[derive(Debug, Serialize)]
pub struct BatchReceipt {
    #[serde(serialize_with = "name")]
    pub(crate) board: Arc<Board>,
    pub(crate) submitted: usize,
    pub(crate) changed: usize,
    pub(crate) version: u64,
}

fn name<S: Serializer>(board: &Arc<Board>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(board.name())
}
