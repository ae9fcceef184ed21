//! `Recovery`.

use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use rankwire_engine::{BoardRow, Limits, MemberRow, Recovery};

use crate::convert::config;
use crate::engine::PyEngine;
use crate::errors::{invalid, to_py};

/// Member, code, stamp and generation as the storage keeps them.
type PyRow = (String, Option<i64>, Option<i64>, u32);

/// The recovery and the board whose rows are coming in.
struct State {
    recovery: Recovery,
    board: Option<BoardRow>,
    rows: Vec<MemberRow>,
}

impl State {
    /// Takes in the board whose rows are complete.
    fn flush(&mut self) -> PyResult<()> {
        let Some(board) = self.board.take() else { return Ok(()) };
        let rows = take(&mut self.rows);
        self.recovery.board(&board, rows).map_err(|error| to_py(&error))
    }
}

#[pyclass(frozen, name = "Recovery", module = "rankwire._core")]
pub struct PyRecovery {
    state: Mutex<Option<State>>,
}

impl PyRecovery {
    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> PyResult<T>) -> PyResult<T> {
        change(self.lock().as_mut().ok_or_else(finished)?)
    }
}

#[pymethods]
impl PyRecovery {
    #[new]
    fn new(vector: Vec<(u64, u64)>) -> Self {
        let state = State { recovery: Recovery::new(vector), board: None, rows: Vec::new() };
        Self { state: Mutex::new(Some(state)) }
    }

    fn board(
        &self,
        py: Python<'_>,
        id: u64,
        name: String,
        score: &str,
        order: &str,
        policy: &str,
        ties: &str,
        seed: [u8; 16],
        version: u64,
        player_submits: i64,
    ) -> PyResult<()> {
        let player_submits = match player_submits {
            0 => false,
            1 => true,
            _ => return Err(invalid("player_submits", "player_submits is 0 or 1")),
        };
        let config = config(score, order, policy, ties, player_submits)?;
        py.detach(|| {
            self.with(|state| {
                state.flush()?;
                state.board = Some(BoardRow { id, name, config, seed, version });
                Ok(())
            })
        })
    }

    fn members(&self, rows: Vec<PyRow>) -> PyResult<()> {
        self.with(|state| {
            state.rows.extend(rows.into_iter().map(|(member, code, stamp, generation)| {
                MemberRow { member, key: code.zip(stamp), generation }
            }));
            Ok(())
        })
    }

    fn replay(&self, py: Python<'_>, origin: u64, number: u64, batch: &[u8]) -> PyResult<()> {
        py.detach(|| {
            self.with(|state| {
                state.flush()?;
                state.recovery.replay(origin, number, batch).map_err(|error| to_py(&error))
            })
        })
    }

    fn finish(
        &self,
        py: Python<'_>,
        origin: u64,
        pending_ops: usize,
        boards: usize,
    ) -> PyResult<PyEngine> {
        py.detach(|| {
            let mut state = self.lock().take().ok_or_else(finished)?;
            state.flush()?;
            let limits = Limits { pending_ops, boards, ..Limits::default() };
            Ok(PyEngine { inner: Arc::new(state.recovery.finish(origin, limits)) })
        })
    }
}

fn finished() -> PyErr {
    PyRuntimeError::new_err("the recovery is already finished")
}
