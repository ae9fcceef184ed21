//! `Recovery`.

use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use rankwire_engine::{BoardRow, Limits, MemberRow, Recovery};

use crate::convert::config;
use crate::engine::PyEngine;
use crate::errors::{corrupt, invalid, to_py};
use crate::pgcopy::Reader;

/// Member, code, stamp and generation as the storage keeps them.
type PyRow = (String, Option<i64>, Option<i64>, u32);

/// The recovery and the board whose rows are coming in.
struct State {
    recovery: Recovery,
    board: Option<BoardRow>,
    rows: Vec<MemberRow>,
    /// What came in of the board's rows as PostgreSQL copies them.
    copy: Reader,
}

impl State {
    /// Takes in the board whose rows are complete.
    fn flush(&mut self) -> PyResult<()> {
        let Some(board) = self.board.take() else { return Ok(()) };
        take(&mut self.copy).finish().map_err(corrupt)?;
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
    #[pyo3(signature = (vector, dropped=None))]
    fn new(vector: Vec<(u64, u64)>, dropped: Option<Vec<u64>>) -> Self {
        let recovery = Recovery::new(vector, dropped.unwrap_or_default());
        let state = State { recovery, board: None, rows: Vec::new(), copy: Reader::default() };
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

    fn copied(&self, py: Python<'_>, data: PyBackedBytes) -> PyResult<()> {
        py.detach(|| self.with(|state| state.copy.read(&data, &mut state.rows).map_err(corrupt)))
    }

    #[pyo3(signature = (origin, pending_ops, boards, shared=false))]
    fn finish(
        &self,
        py: Python<'_>,
        origin: u64,
        pending_ops: usize,
        boards: usize,
        shared: bool,
    ) -> PyResult<PyEngine> {
        py.detach(|| {
            let mut state = self.lock().take().ok_or_else(finished)?;
            state.flush()?;
            let limits = Limits { pending_ops, boards, ..Limits::default() };
            Ok(PyEngine::new(state.recovery.finish(origin, limits, shared)))
        })
    }
}

fn finished() -> PyErr {
    PyRuntimeError::new_err("the recovery is already finished")
}
