//! `Engine` and `Sealed`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use rankwire_engine::{Command, Engine, Error, Score, Sealed, Submit, answer};

use crate::checkpoint::PyCheckpoint;
use crate::convert::{PyReply, PyScore, PySubmit, config, encode, replies};
use crate::errors::to_py;

/// From this many ops on, work on a batch is done with the interpreter released: below it, taking
/// the interpreter back would cost more than the work.
const DETACH_OPS: u64 = 512;

#[pyclass(frozen, name = "Engine", module = "rankwire._core")]
pub struct PyEngine {
    pub inner: Arc<Engine>,
}

#[pymethods]
impl PyEngine {
    #[getter]
    fn origin(&self) -> u64 {
        self.inner.origin()
    }

    #[pyo3(signature = (board, score, order, policy, ties, player_submits=false))]
    fn create_board(
        &self,
        board: String,
        score: &str,
        order: &str,
        policy: &str,
        ties: &str,
        player_submits: bool,
    ) -> PyResult<u64> {
        let config = config(score, order, policy, ties, player_submits)?;
        self.enqueue(Command::Create { board, config })
    }

    fn drop_board(&self, board: String) -> PyResult<u64> {
        self.enqueue(Command::Drop { board })
    }

    #[pyo3(signature = (board, member, score, at_ms=None))]
    fn submit(
        &self,
        board: String,
        member: String,
        score: PyScore,
        at_ms: Option<i64>,
    ) -> PyResult<u64> {
        self.enqueue(Command::Submit { board, submit: Submit { member, score: score.0, at_ms } })
    }

    fn submit_batch(&self, board: String, items: Vec<PySubmit>) -> PyResult<u64> {
        let submits = items.into_iter().map(Submit::from).collect();
        self.enqueue(Command::Batch { board, submits })
    }

    fn remove_member(&self, board: String, member: String) -> PyResult<u64> {
        self.enqueue(Command::Remove { board, member })
    }

    fn wake(&self) {
        self.inner.wake();
    }

    fn seal(&self, py: Python<'_>, patience: f64) -> PyResult<Option<PySealed>> {
        let patience = Duration::try_from_secs_f64(patience)
            .map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        let pending = self.inner.stats().pending_ops;
        let seal = || self.inner.seal(patience, now_ms);
        let sealed = if (1..DETACH_OPS).contains(&pending) { seal() } else { py.detach(seal) };
        Ok(sealed.map(|sealed| PySealed {
            number: sealed.number,
            engine: Arc::clone(&self.inner),
            detach: pending >= DETACH_OPS,
            sealed: Mutex::new(Some(sealed)),
        }))
    }

    fn stall<'py>(&self, py: Python<'py>) -> PyResult<Vec<PyReply<'py>>> {
        replies(py, encode(self.inner.stall()))
    }

    fn resume(&self) {
        self.inner.resume();
    }

    fn close(&self) {
        self.inner.close();
    }

    fn checkpoint(&self, py: Python<'_>) -> Option<PyCheckpoint> {
        let checkpoint = py.detach(|| self.inner.checkpoint())?;
        Some(PyCheckpoint::new(Arc::clone(&self.inner), checkpoint))
    }

    fn page<'py>(
        &self,
        py: Python<'py>,
        board: &str,
        offset: u64,
        limit: usize,
    ) -> PyResult<(Bound<'py, PyBytes>, u64, u64)> {
        let board = self.board(board)?;
        let (version, json) = board.page(offset, limit);
        Ok((PyBytes::new(py, &json), board.id(), version))
    }

    fn standing<'py>(
        &self,
        py: Python<'py>,
        board: &str,
        member: &str,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let board = self.board(board)?;
        let json = answer::standing(&board, &board.load(), member);
        bytes(py, json)
    }

    fn around<'py>(
        &self,
        py: Python<'py>,
        board: &str,
        member: &str,
        radius: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let board = self.board(board)?;
        let json = answer::around(&board, &board.load(), member, radius);
        bytes(py, json)
    }

    fn standings<'py>(
        &self,
        py: Python<'py>,
        board: &str,
        members: Vec<String>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let board = self.board(board)?;
        let json = answer::standings(&board, &board.load(), &members);
        bytes(py, Ok(json))
    }

    #[pyo3(signature = (board, min=None, max=None))]
    fn count<'py>(
        &self,
        py: Python<'py>,
        board: &str,
        min: Option<PyScore>,
        max: Option<PyScore>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let board = self.board(board)?;
        let bound = |bound: Option<PyScore>| -> Option<Score> { bound.map(|PyScore(score)| score) };
        let json = answer::count(&board, &board.load(), bound(min), bound(max));
        bytes(py, json)
    }

    fn describe<'py>(&self, py: Python<'py>, board: &str) -> PyResult<Bound<'py, PyBytes>> {
        bytes(py, Ok(answer::description(&*self.board(board)?)))
    }

    fn player_submits(&self, board: &str) -> PyResult<bool> {
        Ok(self.board(board)?.config().player_submits)
    }

    fn boards<'py>(&self, py: Python<'py>, after: &str, limit: usize) -> Bound<'py, PyBytes> {
        let json = py.detach(|| self.inner.boards(after, limit));
        PyBytes::new(py, &json)
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.inner.stats();
        let dict = PyDict::new(py);
        dict.set_item("submits_total", stats.submits_total)?;
        dict.set_item("changes_total", stats.changes_total)?;
        dict.set_item("rejected_total", stats.rejected_total)?;
        dict.set_item("not_committed_total", stats.not_committed_total)?;
        dict.set_item("batches_total", stats.batches_total)?;
        dict.set_item("journal_bytes_total", stats.journal_bytes_total)?;
        dict.set_item("pending_ops", stats.pending_ops)?;
        dict.set_item("boards", stats.boards)?;
        dict.set_item("members", stats.members)?;
        dict.set_item("dirty_members", stats.dirty_members)?;
        dict.set_item("oldest_read_versions", stats.oldest_read_versions)?;
        Ok(dict)
    }
}

impl PyEngine {
    fn board(&self, name: &str) -> PyResult<Arc<rankwire_engine::Board>> {
        self.inner.board(name).map_err(|error| to_py(&error))
    }

    fn enqueue(&self, command: Command) -> PyResult<u64> {
        self.inner.enqueue(command).map_err(|error| to_py(&error))
    }
}

/// An answer for Python. Whoever makes one has let go of the board's version by then: making Python
/// objects may run anything.
fn bytes(py: Python<'_>, json: Result<Vec<u8>, Error>) -> PyResult<Bound<'_, PyBytes>> {
    json.map(|json| PyBytes::new(py, &json)).map_err(|error| to_py(&error))
}

/// Milliseconds since 1970.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[pyclass(frozen, name = "Sealed", module = "rankwire._core")]
pub struct PySealed {
    #[pyo3(get)]
    number: u64,
    engine: Arc<Engine>,
    /// Whether the batch is large enough to release the interpreter for it.
    detach: bool,
    /// Taken by whoever decides the batch's fate.
    sealed: Mutex<Option<Sealed>>,
}

#[pymethods]
impl PySealed {
    #[getter]
    fn bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.with(|sealed| PyBytes::new(py, &sealed.bytes))
    }

    fn refuse<'py>(&self, py: Python<'py>) -> PyResult<Vec<PyReply<'py>>> {
        replies(py, encode(self.with(Sealed::refuse)?))
    }

    fn commit<'py>(&self, py: Python<'py>) -> PyResult<Vec<PyReply<'py>>> {
        let sealed = self.take()?;
        let commit = || encode(self.engine.commit(sealed));
        replies(py, if self.detach { py.detach(commit) } else { commit() })
    }

    fn abort<'py>(&self, py: Python<'py>) -> PyResult<Vec<PyReply<'py>>> {
        replies(py, encode(self.engine.abort(self.take()?)))
    }
}

impl PySealed {
    fn with<T>(&self, use_it: impl FnOnce(&mut Sealed) -> T) -> PyResult<T> {
        let mut sealed = self.sealed.lock().unwrap_or_else(PoisonError::into_inner);
        sealed.as_mut().map(use_it).ok_or_else(decided)
    }

    fn take(&self) -> PyResult<Sealed> {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or_else(decided)
    }
}

fn decided() -> PyErr {
    PyRuntimeError::new_err("the batch is already committed or aborted")
}
