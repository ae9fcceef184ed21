//! `Engine` and `Sealed`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};
use rankwire_engine::record::{self, Record};
use rankwire_engine::{
    Answer, Batch, Command, Engine, Error, Hash, Score, Sealed, Snapshot, Stop, Submit, answer,
    unix_millis,
};

use crate::checkpoint::PyCheckpoint;
use crate::convert::{
    PyAnswer, PyKey, PyReply, PyScore, PySubmit, config, encode, kept, keyed,
    known as known_answer, replies,
};
use crate::errors::to_py;
use crate::pages::{MOST_ENTRIES, Pages};
use crate::region::{PyRepair, repair};
use crate::traffic::{PyTraffic, Watched};

/// From this many ops on, work on a batch is done with the interpreter released: below it, taking
/// the interpreter back would cost more than the work.
const DETACH_OPS: u64 = 512;

/// A batch of the journal: origin, number, bytes.
type PyBatch = (u64, u64, PyBackedBytes);

/// A board and its contents: id, name, version, members, digest.
type PyDigest = (u64, String, u64, u64, String);

#[pyclass(frozen, name = "Engine", module = "rankwire._core")]
pub struct PyEngine {
    pub inner: Arc<Engine>,
    clock: Arc<Clock>,
    /// Whether reads are told to `traffic`.
    watches: AtomicBool,
    traffic: Arc<Watched>,
    pages: Pages,
}

/// What stamps are made of: this machine's clock, or another one that was read now and then, whose
/// time goes on with the monotonic clock in between. Nobody can turn that one back.
struct Clock {
    started: Instant,
    /// Milliseconds since 1970 when this was made, by the other clock; 0 if there is none.
    base_ms: AtomicI64,
}

impl Clock {
    fn now_ms(&self) -> i64 {
        match self.base_ms.load(Relaxed) {
            0 => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                millis(since)
            }
            base_ms => base_ms.saturating_add(millis(self.started.elapsed())),
        }
    }

    fn set(&self, now_ms: i64) {
        self.base_ms.store(now_ms.saturating_sub(millis(self.started.elapsed())), Relaxed);
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl PyEngine {
    pub fn new(inner: Engine) -> PyResult<Self> {
        let clock = Clock { started: Instant::now(), base_ms: AtomicI64::new(0) };
        Ok(Self {
            inner: Arc::new(inner),
            clock: Arc::new(clock),
            watches: AtomicBool::new(false),
            traffic: Arc::new(Watched::new()?),
            pages: Pages::default(),
        })
    }
}

#[pymethods]
impl PyEngine {
    #[getter]
    fn origin(&self) -> u64 {
        self.inner.origin()
    }

    fn last(&self) -> u64 {
        self.inner.last()
    }

    #[pyo3(signature = (board, score, order, policy, ties, player_submits=false, key=None))]
    fn create_board(
        &self,
        board: String,
        score: &str,
        order: &str,
        policy: &str,
        ties: &str,
        player_submits: bool,
        key: Option<PyKey>,
    ) -> PyResult<u64> {
        let config = config(score, order, policy, ties, player_submits)?;
        self.enqueue(Command::Create { board, config }, key)
    }

    #[pyo3(signature = (board, key=None))]
    fn drop_board(&self, board: String, key: Option<PyKey>) -> PyResult<u64> {
        self.enqueue(Command::Drop { board }, key)
    }

    #[pyo3(signature = (board, member, score, at_ms=None, key=None))]
    fn submit(
        &self,
        board: String,
        member: String,
        score: PyScore,
        at_ms: Option<i64>,
        key: Option<PyKey>,
    ) -> PyResult<u64> {
        let submit = Submit { member, score: score.0, at_ms };
        self.enqueue(Command::Submit { board, submit }, key)
    }

    #[pyo3(signature = (board, items, key=None))]
    fn submit_batch(
        &self,
        board: String,
        items: Vec<PySubmit>,
        key: Option<PyKey>,
    ) -> PyResult<u64> {
        let submits = items.into_iter().map(Submit::from).collect();
        self.enqueue(Command::Batch { board, submits }, key)
    }

    #[pyo3(signature = (board, member, key=None))]
    fn remove_member(&self, board: String, member: String, key: Option<PyKey>) -> PyResult<u64> {
        self.enqueue(Command::Remove { board, member }, key)
    }

    #[pyo3(signature = (board, life, items, key=None))]
    fn repair(
        &self,
        board: String,
        life: u64,
        items: Vec<PyRepair>,
        key: Option<PyKey>,
    ) -> PyResult<u64> {
        self.enqueue(repair(board, life, items)?, key)
    }

    fn set_primary(&self, primary: Option<String>, writes: bool, names: bool) {
        self.inner.set_primary(primary, writes, names);
    }

    fn wake(&self) {
        self.inner.wake();
    }

    fn seal(&self, py: Python<'_>, patience: f64) -> PyResult<Option<PySealed>> {
        let patience = Duration::try_from_secs_f64(patience)
            .map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        let pending = self.inner.stats().pending_ops;
        // Where other nodes write, their batches may have to be waited for.
        let is_short = (1..DETACH_OPS).contains(&pending) && !self.inner.is_shared();
        let seal = || self.inner.seal(patience, || self.clock.now_ms());
        let sealed = if is_short { seal() } else { py.detach(seal) };
        Ok(sealed.map(|sealed| PySealed {
            number: sealed.number,
            engine: Arc::clone(&self.inner),
            clock: Arc::clone(&self.clock),
            detach: !is_short && pending > 0,
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

    #[pyo3(signature = (batches, trust=false))]
    fn apply(
        &self,
        py: Python<'_>,
        batches: Vec<PyBatch>,
        trust: bool,
    ) -> PyResult<(usize, &'static str)> {
        let applied = py.detach(|| self.inner.apply(&borrowed(&batches), trust));
        let applied = applied.map_err(|error| to_py(&error))?;
        let stop = match applied.stop {
            None => "",
            Some(Stop::Gap) => "gap",
            Some(Stop::Board) => "board",
        };
        Ok((applied.count, stop))
    }

    fn mark(&self, py: Python<'_>, batches: Vec<PyBatch>) -> PyResult<()> {
        let marked = py.detach(|| self.inner.mark(&borrowed(&batches)));
        marked.map_err(|error| to_py(&error))
    }

    fn track(&self, py: Python<'_>, on: bool) {
        py.detach(|| self.inner.track(on));
    }

    fn vector(&self, py: Python<'_>) -> HashMap<u64, u64> {
        py.detach(|| self.inner.vector()).into_iter().collect()
    }

    fn digest(&self, py: Python<'_>) -> (Vec<(u64, u64)>, Vec<PyDigest>) {
        py.detach(|| {
            let contents = self.inner.contents();
            let digest = |(board, list): &(Arc<rankwire_engine::Board>, Snapshot)| -> PyDigest {
                let digest = format!("{:016x}", list.digest());
                (board.id(), board.name().to_owned(), list.version(), list.len(), digest)
            };
            let mut digests: Vec<_> = contents.boards.iter().map(digest).collect();
            digests.sort_unstable_by(|a, b| a.1.cmp(&b.1));
            (contents.vector, digests)
        })
    }

    fn set_time(&self, ms: i64) {
        self.clock.set(ms);
    }

    fn board_id(&self, board: &str) -> PyResult<u64> {
        Ok(self.board(board)?.id())
    }

    fn page<'py>(
        &self,
        py: Python<'py>,
        board: &str,
        offset: u64,
        limit: usize,
    ) -> PyResult<(Bound<'py, PyBytes>, u64, u64)> {
        let board = self.board(board)?;
        let (json, version) = if offset == 0 && limit <= MOST_ENTRIES {
            self.pages.first(py, &board, limit)
        } else {
            let (version, json) = board.page(offset, limit);
            (PyBytes::new(py, &json), version)
        };
        if self.watches.load(Relaxed) {
            self.traffic.page(board.name(), offset, limit, version);
        }
        Ok((json, board.id(), version))
    }

    fn standing<'py>(
        &self,
        py: Python<'py>,
        board: &str,
        member: &str,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let board = self.read(board)?;
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
        let board = self.read(board)?;
        let json = answer::around(&board, &board.load(), member, radius);
        bytes(py, json)
    }

    fn standings<'py>(
        &self,
        py: Python<'py>,
        board: &str,
        members: Vec<String>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let board = self.read(board)?;
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
        let board = self.read(board)?;
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

    #[getter]
    fn traffic(&self) -> PyTraffic {
        PyTraffic(Arc::clone(&self.traffic))
    }

    fn watch_traffic(&self, on: bool) {
        self.watches.store(on, Relaxed);
    }

    fn keep_pages(&self, boards: Vec<String>, most_bytes: usize) -> PyResult<()> {
        self.pages.keep(boards, most_bytes)
    }

    fn page_stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.pages.stats(py)
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
        dict.set_item("applied_records_total", stats.applied_records_total)?;
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

    /// A board that is read by other ways than by page.
    fn read(&self, name: &str) -> PyResult<Arc<rankwire_engine::Board>> {
        let board = self.board(name)?;
        if self.watches.load(Relaxed) {
            self.traffic.board(name);
        }
        Ok(board)
    }

    fn enqueue(&self, command: Command, key: Option<PyKey>) -> PyResult<u64> {
        self.inner.enqueue(keyed(command, key)?).map_err(|error| to_py(&error))
    }
}

/// An answer for Python. Whoever makes one has let go of the board's version by then: making Python
/// objects may run anything.
fn bytes(py: Python<'_>, json: Result<Vec<u8>, Error>) -> PyResult<Bound<'_, PyBytes>> {
    json.map(|json| PyBytes::new(py, &json)).map_err(|error| to_py(&error))
}

fn borrowed(batches: &[PyBatch]) -> Vec<Batch<'_>> {
    batches.iter().map(|(origin, number, bytes)| (*origin, *number, &**bytes)).collect()
}

/// What a batch of the journal tells, for people.
#[pyfunction]
pub fn records<'py>(
    py: Python<'py>,
    origin: u64,
    number: u64,
    batch: &[u8],
) -> PyResult<Vec<Bound<'py, PyDict>>> {
    let records = record::decode(origin, number, batch).map_err(|error| to_py(&error))?;
    records.iter().map(|record| describe(py, record)).collect()
}

fn describe<'py>(py: Python<'py>, record: &Record<'_>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("board", record.board())?;
    match *record {
        Record::Create { name, config, .. } => {
            dict.set_item("type", "create")?;
            dict.set_item("name", name)?;
            let [score, order, policy, ties] = config.words();
            dict.set_item("config", (score, order, policy, ties, config.player_submits))?;
        }
        Record::Drop { .. } => dict.set_item("type", "drop")?,
        Record::Score { member, bits, stamp, generation, .. } => {
            dict.set_item("type", "score")?;
            dict.set_item("member", member)?;
            dict.set_item("bits", bits)?;
            dict.set_item("stamp_ms", unix_millis(stamp))?;
            dict.set_item("generation", generation)?;
        }
        Record::Delete { member, generation, .. } => {
            dict.set_item("type", "delete")?;
            dict.set_item("member", member)?;
            dict.set_item("generation", generation)?;
        }
        Record::Fix { member, bits, stamp, generation, region, .. } => {
            dict.set_item("type", "fix")?;
            dict.set_item("member", member)?;
            dict.set_item("bits", bits)?;
            dict.set_item("stamp_ms", unix_millis(stamp))?;
            dict.set_item("generation", generation)?;
            dict.set_item("region", region)?;
        }
    }
    Ok(dict)
}

#[pyclass(frozen, name = "Sealed", module = "rankwire._core")]
pub struct PySealed {
    #[pyo3(get)]
    number: u64,
    engine: Arc<Engine>,
    clock: Arc<Clock>,
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

    #[getter]
    fn created(&self) -> PyResult<Vec<(String, u64)>> {
        self.with(|sealed| sealed.created().map(|(name, id)| (name.to_owned(), id)).collect())
    }

    #[getter]
    fn dropped(&self) -> PyResult<Vec<u64>> {
        self.with(|sealed| sealed.dropped().collect())
    }

    #[getter]
    fn is_repair(&self) -> PyResult<bool> {
        self.with(|sealed| sealed.is_repair)
    }

    #[getter]
    fn answers<'py>(&self, py: Python<'py>) -> PyResult<Vec<PyAnswer<'py>>> {
        self.with(|sealed| sealed.answers.iter().map(|answer| kept(py, answer)).collect())
    }

    #[getter]
    fn doubted<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        self.with(|sealed| sealed.doubted.iter().map(|key| PyBytes::new(py, key)).collect())
    }

    fn again(
        &self,
        py: Python<'_>,
        known: Vec<(Hash, Hash, Vec<u8>)>,
        taken: Vec<String>,
    ) -> PyResult<()> {
        let known = known.into_iter().map(known_answer).collect::<Vec<Answer>>();
        py.detach(|| {
            self.with(|sealed| {
                self.engine.again(sealed, known, taken, || self.clock.now_ms());
            })
        })
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

    fn abort_not_primary<'py>(&self, py: Python<'py>) -> PyResult<Vec<PyReply<'py>>> {
        replies(py, encode(self.engine.abort_not_primary(self.take()?)))
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
