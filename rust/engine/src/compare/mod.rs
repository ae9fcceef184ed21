//! Comparing the boards of two regions that should hold the same, and finding what differs.
//!
//! A board has one id and one seed wherever it is, so its list has one shape: two regions tell each
//! other hashes of its nodes and go down where those differ. [`Engine::tops`] and
//! [`Engine::outline`] answer, a [`Comparison`] asks. What it finds are members that *may* differ,
//! for writes go on meanwhile: [`Engine::states`] tells, for chosen members, what a region held at
//! one moment, and what it had taken in by then.
//!
//! Members that were removed are not in the list. They are compared by sums of hashes, one for each
//! first byte of a hash of the name, then one for each second byte, and told by two bytes.
//!
//! The writer's lock is held for a look-up, for some thousand removals or for the states of some
//! members; hashes are computed without it, on versions of the boards.

mod answer;
mod codec;
mod descent;
mod removals;

use std::sync::Arc;

pub use descent::{Comparison, Progress};

use crate::record::BoardId;
use crate::repair::State;
use crate::{Board, Engine};

/// Members of a board as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct States {
    /// The last batch of every origin that is in.
    pub vector: Vec<(u64, u64)>,
    /// The board's name, and the states in the order of the members; nothing if there is no such
    /// board.
    pub board: Option<(String, Vec<State>)>,
}

impl Engine {
    /// A board by its identity.
    pub fn board_of(&self, board: BoardId) -> Option<Arc<Board>> {
        self.with_writer(|writer| writer.boards.get(&board).map(Arc::clone))
    }

    /// What this engine holds of some members of a board, and what it has taken in, both as of one
    /// moment. Holds the writer's lock for O(members).
    pub fn states(&self, board: BoardId, members: &[String]) -> States {
        self.with_writer(|writer| {
            let states = |found: &Board| {
                let list = found.load();
                let state = |member: &String| State {
                    generation: writer.generation(board, member),
                    key: list.get(member),
                };
                (found.name().to_owned(), members.iter().map(state).collect())
            };
            States {
                vector: writer.vector.iter().map(|(origin, number)| (*origin, *number)).collect(),
                board: writer.boards.get(&board).map(|board| states(board)),
            }
        })
    }
}
