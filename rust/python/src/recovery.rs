//! `Recovery`.

use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use rankwire_engine::{BoardRow, Limits, MemberRow, Recovery, region_id};

use crate::convert::config;
use crate::engine::PyEngine;
use crate::errors::{corrupt, invalid, to_py};
use crate::loading::Loader;
use crate::pgcopy::Reader;

/// Member, code, stamp and generation as the storage keeps them.
type PyRow = (String, Option<i64>, Option<i64>, u32);

struct State {
    loader: Loader,
    /// What came in of a board's rows as PostgreSQL copies them.
    copy: Reader,
}

impl State {
    /// Takes in the board whose rows are complete, if there is one.
    fn flush(&mut self) -> PyResult<()> {
        let read = take(&mut self.copy).finish().map_err(corrupt);
        let built = self.loader.end().map_err(|error| to_py(&error));
        read.and(built)
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
        let state = State { loader: Loader::new(recovery), copy: Reader::default() };
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
                state.loader.begin(BoardRow { id, name, config, seed, version });
                Ok(())
            })
        })
    }

    fn members(&self, py: Python<'_>, rows: Vec<PyRow>) -> PyResult<()> {
        let row = |(member, code, stamp, generation): PyRow| MemberRow {
            member,
            key: code.zip(stamp),
            generation,
        };
        py.detach(|| {
            self.with(|state| {
                state.loader.rows.extend(rows.into_iter().map(row));
                state.loader.hand_on();
                Ok(())
            })
        })
    }

    fn copied(&self, py: Python<'_>, data: PyBackedBytes) -> PyResult<()> {
        py.detach(|| {
            self.with(|state| {
                state.copy.read(&data, &mut state.loader.rows).map_err(corrupt)?;
                state.loader.hand_on();
                Ok(())
            })
        })
    }

    #[pyo3(signature = (origin, pending_ops, boards, shared=false, region=""))]
    fn finish(
        &self,
        py: Python<'_>,
        origin: u64,
        pending_ops: usize,
        boards: usize,
        shared: bool,
        region: &str,
    ) -> PyResult<PyEngine> {
        py.detach(|| {
            let mut state = self.lock().take().ok_or_else(finished)?;
            state.flush()?;
            let recovery = state.loader.into_recovery().ok_or_else(finished)?;
            let limits = Limits { pending_ops, boards, ..Limits::default() };
            let region = if region.is_empty() { 0 } else { region_id(region) };
            PyEngine::new(recovery.of_region(region).finish(origin, limits, shared))
        })
    }
}

fn finished() -> PyErr {
    PyRuntimeError::new_err("the recovery is already finished")
}
