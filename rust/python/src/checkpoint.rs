//! `Checkpoint`.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::{PyIndexError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rankwire_engine::{Checkpoint, Engine};

use crate::pgcopy;

/// Id, name, score, order, policy, ties, seed, version, whether players may submit, and number of
/// changed members.
type BoardRow<'py> =
    (u64, String, String, String, String, String, Bound<'py, PyBytes>, u64, bool, usize);

#[pyclass(frozen, name = "Checkpoint", module = "rankwire._core")]
pub struct PyCheckpoint {
    engine: Arc<Engine>,
    checkpoint: Mutex<Option<Checkpoint>>,
}

impl PyCheckpoint {
    pub fn new(engine: Arc<Engine>, checkpoint: Checkpoint) -> Self {
        Self { engine, checkpoint: Mutex::new(Some(checkpoint)) }
    }

    fn with<T>(&self, read: impl FnOnce(&Checkpoint) -> PyResult<T>) -> PyResult<T> {
        let checkpoint = self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner);
        read(checkpoint.as_ref().ok_or_else(given_back)?)
    }
}

#[pymethods]
impl PyCheckpoint {
    #[getter]
    fn vector(&self) -> PyResult<Vec<(u64, u64)>> {
        self.with(|checkpoint| Ok(checkpoint.vector.clone()))
    }

    #[getter]
    fn dropped(&self) -> PyResult<Vec<u64>> {
        self.with(|checkpoint| Ok(checkpoint.dropped.clone()))
    }

    #[getter]
    fn boards<'py>(&self, py: Python<'py>) -> PyResult<Vec<BoardRow<'py>>> {
        self.with(|checkpoint| {
            let row = |changed: &rankwire_engine::CheckpointBoard| -> BoardRow<'py> {
                let (board, config) = (&changed.board, changed.board.config());
                let [score, order, policy, ties] = config.words().map(str::to_owned);
                let seed = PyBytes::new(py, &board.seed());
                let name = board.name().to_owned();
                let (version, members) = (changed.version(), changed.len());
                let players = config.player_submits;
                (board.id(), name, score, order, policy, ties, seed, version, players, members)
            };
            Ok(checkpoint.boards.iter().map(row).collect())
        })
    }

    fn rows<'py>(
        &self,
        py: Python<'py>,
        board: usize,
        start: usize,
        limit: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let json = py.detach(|| {
            self.with(|checkpoint| {
                let board = checkpoint.boards.get(board);
                let board = board.ok_or_else(|| PyIndexError::new_err("no such board"))?;
                Ok(board.rows(start, limit))
            })
        })?;
        Ok(PyBytes::new(py, &json))
    }

    fn copy<'py>(
        &self,
        py: Python<'py>,
        board: usize,
        start: usize,
        limit: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let tuples = py.detach(|| {
            self.with(|checkpoint| {
                let board = checkpoint.boards.get(board);
                let board = board.ok_or_else(|| PyIndexError::new_err("no such board"))?;
                Ok(pgcopy::write(board, start, limit))
            })
        })?;
        Ok(PyBytes::new(py, &tuples))
    }

    fn give_back(&self) -> PyResult<()> {
        let mut checkpoint = self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner);
        self.engine.restore_dirty(checkpoint.take().ok_or_else(given_back)?);
        Ok(())
    }
}

fn given_back() -> PyErr {
    PyRuntimeError::new_err("the checkpoint is already given back")
}
