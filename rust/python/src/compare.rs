//! `Comparison`, and what an engine answers to one.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use rankwire_engine::{Comparison, Engine, Error, Key, Score, State, unix_millis};

use crate::engine::PyEngine;
use crate::errors::to_py;

/// Generation, code, stamp.
type PyState = (u32, Option<u64>, u64);

/// A vector; and of the board its name and the states, if it is there.
type PyStates = (HashMap<u64, u64>, Option<(String, Vec<PyState>)>);

/// Answers are made with the interpreter released: a hash that was never asked for takes a while.
fn detached<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> PyResult<T> {
    py.detach(work).map_err(|error| to_py(&error))
}

#[pyfunction]
pub fn tops<'py>(py: Python<'py>, engine: &PyEngine, after: u64) -> Bound<'py, PyBytes> {
    let tops = py.detach(|| engine.inner.tops(after));
    PyBytes::new(py, &tops)
}

#[pyfunction]
pub fn outline<'py>(
    py: Python<'py>,
    engine: &PyEngine,
    asks: PyBackedBytes,
) -> PyResult<Bound<'py, PyBytes>> {
    let answers = detached(py, || engine.inner.outline(&asks))?;
    Ok(PyBytes::new(py, &answers))
}

#[pyfunction]
pub fn states(py: Python<'_>, engine: &PyEngine, board: u64, members: Vec<String>) -> PyStates {
    let states = py.detach(|| engine.inner.states(board, &members));
    let state = |State { generation, key }: State| {
        (generation, key.map(|key| key.score[0]), key.map_or(0, |key| key.stamp))
    };
    let board = states.board.map(|(name, held)| (name, held.into_iter().map(state).collect()));
    (states.vector.into_iter().collect(), board)
}

#[pyfunction]
pub fn shown(
    py: Python<'_>,
    engine: &PyEngine,
    board: u64,
    code: u64,
    stamp: u64,
) -> PyResult<Option<(Py<PyAny>, i64)>> {
    let Some(board) = engine.inner.board_of(board) else { return Ok(None) };
    let score = match board.score(Key { score: [code], stamp }) {
        Score::Int(int) => int.into_py_any(py)?,
        Score::Float(float) => float.into_py_any(py)?,
    };
    Ok(Some((score, unix_millis(stamp))))
}

#[pyclass(frozen, name = "Comparison", module = "rankwire._core")]
pub struct PyComparison {
    engine: Arc<Engine>,
    comparison: Mutex<Comparison>,
}

impl PyComparison {
    fn lock(&self) -> MutexGuard<'_, Comparison> {
        self.comparison.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl PyComparison {
    #[new]
    fn new(engine: &PyEngine, limit: usize) -> Self {
        let comparison = Mutex::new(Comparison::new(limit));
        Self { engine: Arc::clone(&engine.inner), comparison }
    }

    fn boards(&self, py: Python<'_>, after: u64, tops: PyBackedBytes) -> PyResult<Option<u64>> {
        detached(py, || self.lock().boards(&self.engine, after, &tops))
    }

    fn begin(&self, py: Python<'_>, boards: Vec<u64>) {
        py.detach(|| self.lock().begin(&self.engine, &boards));
    }

    fn ask<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let asks = py.detach(|| self.lock().ask())?;
        Some(PyBytes::new(py, &asks))
    }

    fn take(&self, py: Python<'_>, answer: PyBackedBytes) -> PyResult<()> {
        detached(py, || self.lock().take(&self.engine, &answer))
    }

    fn found(&self, py: Python<'_>) -> Vec<(u64, Vec<String>)> {
        py.detach(|| {
            let found = self.lock().found();
            let named = |(board, members): (u64, BTreeSet<Box<str>>)| {
                (board, members.into_iter().map(String::from).collect())
            };
            found.into_iter().map(named).collect()
        })
    }

    #[getter]
    fn only_here(&self) -> Vec<u64> {
        self.lock().progress().only_here.iter().copied().collect()
    }

    #[getter]
    fn only_there(&self) -> Vec<u64> {
        self.lock().progress().only_there.iter().copied().collect()
    }

    #[getter]
    fn board_count(&self) -> u64 {
        self.lock().progress().boards
    }

    #[getter]
    fn member_count(&self) -> u64 {
        self.lock().progress().members
    }

    #[getter]
    fn is_stopped(&self) -> bool {
        self.lock().progress().is_stopped
    }
}
