//! Boards that are built while their rows are still being read.
//!
//! Entering a member into a list costs as much as reading its row, and the two have nothing to do
//! with each other. So the rows of a large board go to a thread that builds, a few thousand at a
//! time, and whoever reads goes on reading. Small boards are built when their rows are complete, as
//! a thread for each would cost more than it saves.

use std::mem::{replace, take};
use std::panic::resume_unwind;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use rankwire_engine::{BoardRow, Error, MemberRow, Recovery};

/// Rows that go to the builder at a time, and how many a small board has at most.
const TOGETHER: usize = 4096;
/// How many times as many may wait for it; whoever reads waits when it is behind.
const WAITING: usize = 16;

/// A recovery, and the board whose rows are coming in.
pub struct Loader {
    stage: Stage,
    board: Option<BoardRow>,
    /// Rows that are not with the builder.
    pub rows: Vec<MemberRow>,
}

enum Stage {
    Idle(Recovery),
    Building {
        rows: SyncSender<Vec<MemberRow>>,
        builder: JoinHandle<Built>,
    },
    /// Only within a step from one of these to the other.
    Between,
}

type Built = (Recovery, Result<(), Error>);

impl Loader {
    pub fn new(recovery: Recovery) -> Self {
        Self { stage: Stage::Idle(recovery), board: None, rows: Vec::new() }
    }

    /// Begins a board. The one before must have been ended.
    pub fn begin(&mut self, board: BoardRow) {
        self.board = Some(board);
    }

    /// Hands rows to the builder if there are many. To be called now and then.
    pub fn hand_on(&mut self) {
        if self.rows.len() < TOGETHER {
            return;
        }
        if let Some(board) = self.board.take() {
            self.stage = match replace(&mut self.stage, Stage::Between) {
                Stage::Idle(recovery) => start(recovery, board),
                other => other,
            };
        }
        if let Stage::Building { rows, .. } = &self.stage {
            // A builder that has met an error takes no more. It tells at the end.
            let _ = rows.send(replace(&mut self.rows, Vec::with_capacity(TOGETHER)));
        }
    }

    /// Ends the board, if there is one: all its rows have come.
    pub fn end(&mut self) -> Result<(), Error> {
        let rest = take(&mut self.rows);
        let (recovery, built) = match (replace(&mut self.stage, Stage::Between), self.board.take())
        {
            (Stage::Idle(mut recovery), Some(board)) => {
                let built = recovery.board(&board, rest);
                (recovery, built)
            }
            (Stage::Building { rows, builder }, _) => {
                let _ = rows.send(rest);
                drop(rows);
                builder.join().unwrap_or_else(|panic| resume_unwind(panic))
            }
            (stage, _) => {
                self.stage = stage;
                return Ok(());
            }
        };
        self.stage = Stage::Idle(recovery);
        built
    }

    /// The recovery; `None` while a board is being built, or when building one has panicked.
    pub fn into_recovery(self) -> Option<Recovery> {
        match self.stage {
            Stage::Idle(recovery) => Some(recovery),
            Stage::Building { .. } | Stage::Between => None,
        }
    }
}

fn start(mut recovery: Recovery, board: BoardRow) -> Stage {
    let (rows, coming) = sync_channel::<Vec<MemberRow>>(WAITING);
    let build = move || {
        let built = recovery.board(&board, coming.into_iter().flatten());
        (recovery, built)
    };
    Stage::Building { rows, builder: thread::spawn(build) }
}
