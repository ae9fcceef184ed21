//! `Standings`, `Board` and `Snapshot`: boards in memory.
//!
//! Two rules hold throughout. A short read of a board ends before a Python object is made, because
//! making one may collect garbage or change threads, and until the read ends no board frees memory:
//! so answers are copied out first. And what may take long is done with the interpreter released,
//! on a snapshot.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::vec;

use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use rankwire_engine::Error;
use rankwire_engine::local::{Board, Column, Ranks, Row, Snapshot, Standings, random_seed};

use crate::convert::{PyScores, scores, word};
use crate::errors::{invalid, to_py};
use crate::tuples;

/// From this many entries or items on, work is done with the interpreter released: below it, taking
/// the interpreter back would cost more than the work.
const DETACH_ITEMS: usize = 256;

/// How many entries an iteration copies at a time.
const CHUNK: usize = 256;

/// What both a board and a snapshot answer.
#[pyclass(frozen, subclass, name = "Standings", module = "rankwire._core")]
pub struct PyStandings {
    source: Source,
}

#[derive(Clone)]
enum Source {
    Board(Arc<Board>),
    Snapshot(Arc<dyn Snapshot>),
}

impl Source {
    /// Asks the newest version. Nothing in `ask` may call Python.
    fn ask<T>(&self, ask: impl FnOnce(&dyn Standings) -> T) -> T {
        match self {
            Self::Board(board) => ask(&*board.read()),
            Self::Snapshot(snapshot) => ask(&**snapshot),
        }
    }

    /// The newest version, to be kept.
    fn keep(&self) -> Arc<dyn Snapshot> {
        match self {
            Self::Board(board) => board.snapshot(),
            Self::Snapshot(snapshot) => Arc::clone(snapshot),
        }
    }

    /// Asks for entries, of which there may be `at_most` so many.
    fn entries<'py>(
        &self,
        py: Python<'py>,
        at_most: usize,
        ask: impl FnOnce(&dyn Standings) -> Vec<Row> + Send,
    ) -> PyResult<Bound<'py, PyList>> {
        let rows =
            if at_most < DETACH_ITEMS { self.ask(ask) } else { py.detach(|| ask(&*self.keep())) };
        list(py, rows.into_iter().map(|row| tuples::entry(py, row)))
    }
}

fn list<'py>(
    py: Python<'py>,
    items: impl Iterator<Item = PyResult<Bound<'py, PyAny>>>,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for item in items {
        list.append(item?)?;
    }
    Ok(list)
}

/// A number of entries or a place among them.
fn natural<T: TryFrom<i64>>(field: &'static str, number: i64) -> PyResult<T> {
    T::try_from(number).map_err(|_| invalid(field, format!("{field} is not negative")))
}

#[pymethods]
impl PyStandings {
    #[getter]
    fn version(&self) -> u64 {
        self.source.ask(|standings| standings.version())
    }

    fn __len__(&self) -> PyResult<usize> {
        Ok(self.source.ask(|standings| standings.len()).try_into()?)
    }

    fn __contains__(&self, member: &Bound<'_, PyAny>) -> bool {
        // What is no text, or no Unicode, is no member.
        let Ok(member) = member.extract::<Cow<'_, str>>() else { return false };
        self.source.ask(|standings| standings.contains(&member))
    }

    fn __iter__(&self) -> Iteration {
        Iteration::new(self.source.keep(), Yields::Members)
    }

    fn entries(&self) -> Iteration {
        Iteration::new(self.source.keep(), Yields::Entries)
    }

    #[pyo3(signature = (member, mode="ordinal"))]
    fn rank(&self, member: &str, mode: &str) -> PyResult<Option<u64>> {
        let rank: fn(&Ranks) -> u64 = match mode {
            "ordinal" => return Ok(self.source.ask(|standings| standings.rank(member))),
            "competition" => |ranks| ranks.competition,
            "dense" => |ranks| ranks.dense,
            "modified" => |ranks| ranks.modified,
            _ => {
                let modes = "a mode is ordinal, competition, dense or modified";
                return Err(invalid("mode", modes));
            }
        };
        Ok(self.source.ask(|standings| standings.ranks(member)).as_ref().map(rank))
    }

    fn ranks<'py>(&self, py: Python<'py>, member: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let ranks = self.source.ask(|standings| standings.ranks(member));
        ranks.map(|ranks| tuples::ranks(py, ranks)).transpose()
    }

    fn standing<'py>(&self, py: Python<'py>, member: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let row = self.source.ask(|standings| standings.standing(member));
        row.map(|row| tuples::entry(py, row)).transpose()
    }

    fn select<'py>(&self, py: Python<'py>, rank: i64) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(offset) = rank.checked_sub(1).and_then(|offset| u64::try_from(offset).ok()) else {
            return Err(invalid("rank", "ranks count from 1"));
        };
        let row = self.source.ask(|standings| standings.page(offset, 1)).pop();
        row.map(|row| tuples::entry(py, row)).transpose()
    }

    fn page<'py>(&self, py: Python<'py>, offset: i64, limit: i64) -> PyResult<Bound<'py, PyList>> {
        let (offset, limit) = (natural("offset", offset)?, natural("limit", limit)?);
        self.source.entries(py, limit, move |standings| standings.page(offset, limit))
    }

    fn top<'py>(&self, py: Python<'py>, n: i64) -> PyResult<Bound<'py, PyList>> {
        let n = natural("n", n)?;
        self.source.entries(py, n, move |standings| standings.page(0, n))
    }

    fn around<'py>(
        &self,
        py: Python<'py>,
        member: &str,
        radius: i64,
    ) -> PyResult<Bound<'py, PyList>> {
        let radius: usize = natural("radius", radius)?;
        let at_most = radius.saturating_mul(2).saturating_add(1);
        self.source.entries(py, at_most, move |standings| standings.around(member, radius))
    }

    #[pyo3(signature = (min=None, max=None))]
    fn count(&self, min: Option<PyScores>, max: Option<PyScores>) -> PyResult<u64> {
        let (min, max) = (min.map(|min| min.0), max.map(|max| max.0));
        let count = self.source.ask(|standings| standings.count(min.as_ref(), max.as_ref()));
        count.map_err(|error| to_py(&error))
    }

    fn digest(&self, py: Python<'_>) -> u64 {
        let snapshot = self.source.keep();
        py.detach(|| snapshot.digest())
    }
}

#[pyclass(frozen, extends = PyStandings, name = "Board", module = "rankwire._core")]
pub struct PyBoard {
    inner: Arc<Board>,
}

#[pymethods]
impl PyBoard {
    #[new]
    #[pyo3(signature = (*, columns=None, policy="best", ties="first", seed=None))]
    fn new(
        columns: Option<Vec<(String, String)>>,
        policy: &str,
        ties: &str,
        seed: Option<&[u8]>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let columns = columns.map_or_else(
            || Ok(vec![Column::default()]),
            |columns| columns.iter().map(column).collect(),
        )?;
        let seed = match seed {
            Some(seed) => seed.try_into().map_err(|_| invalid("seed", "a seed has 16 bytes"))?,
            None => random_seed().map_err(|error| to_py(&error))?,
        };
        let board = Board::new(&columns, word("policy", policy)?, word("ties", ties)?, seed)
            .map_err(|error| invalid("columns", error.to_string()))?;
        let inner = Arc::new(board);
        let standings = PyStandings { source: Source::Board(Arc::clone(&inner)) };
        Ok(PyClassInitializer::from(standings).add_subclass(Self { inner }))
    }

    /// Keeps the interpreter: it takes less time than giving it back would. Now and then a submit
    /// waits, for a bounded time, for a version that another thread builds. That thread goes on
    /// meanwhile, for building needs no interpreter.
    fn submit<'py>(
        &self,
        py: Python<'py>,
        member: &str,
        score: PyScores,
    ) -> PyResult<Bound<'py, PyAny>> {
        tuples::submitted(py, self.inner.submit(member, &score.0))
    }

    fn submit_many<'py>(
        &self,
        py: Python<'py>,
        items: Vec<(String, Bound<'py, PyAny>)>,
    ) -> PyResult<Bound<'py, PyList>> {
        let items = items.into_iter().enumerate().map(|(index, (member, score))| {
            Ok((member, scores(&score).map_err(|error| item(index, error))?))
        });
        let items = items.collect::<Result<Vec<_>, _>>().map_err(|error| to_py(&error))?;
        let submit = || self.inner.submit_all(&items);
        let done = if items.len() < DETACH_ITEMS { submit() } else { py.detach(submit) };
        let done = done.map_err(|error| to_py(&error))?.into_iter().enumerate();
        let done = done.map(|(index, done)| done.map_err(|error| item(index, error)));
        list(py, done.map(|done| tuples::submitted(py, done)))
    }

    fn remove(&self, member: &str) -> bool {
        self.inner.remove(member)
    }

    fn snapshot(&self, py: Python<'_>) -> PyResult<Py<PySnapshot>> {
        let inner = self.inner.snapshot();
        let standings = PyStandings { source: Source::Snapshot(Arc::clone(&inner)) };
        Py::new(py, PyClassInitializer::from(standings).add_subclass(PySnapshot { inner }))
    }

    fn __repr__(&self) -> String {
        let read = self.inner.read();
        format!("<Board of {} members, version {}>", read.len(), read.version())
    }
}

#[pyclass(frozen, extends = PyStandings, name = "Snapshot", module = "rankwire._core")]
pub struct PySnapshot {
    inner: Arc<dyn Snapshot>,
}

#[pymethods]
impl PySnapshot {
    #[pyo3(signature = (other, limit=1000))]
    fn differences<'py>(
        &self,
        py: Python<'py>,
        other: &Self,
        limit: i64,
    ) -> PyResult<Bound<'py, PyList>> {
        let limit = natural("limit", limit)?;
        let found = py.detach(|| self.inner.differences(&*other.inner, limit));
        let found = found.ok_or_else(|| {
            invalid("other", "only boards of equal columns, ties and seed can be compared")
        })?;
        list(py, found.into_iter().map(|difference| tuples::difference(py, difference)))
    }

    fn __repr__(&self) -> String {
        format!("<Snapshot of {} members, version {}>", self.inner.len(), self.inner.version())
    }
}

/// What an iteration yields.
enum Yields {
    Members,
    Entries,
}

/// All places of a snapshot, the best first.
#[pyclass(frozen, name = "_Iteration", module = "rankwire._core")]
struct Iteration {
    snapshot: Arc<dyn Snapshot>,
    yields: Yields,
    /// What was copied and not yielded yet, and how many were copied. Nothing calls Python while it
    /// is locked.
    ahead: Mutex<(vec::IntoIter<Row>, u64)>,
}

impl Iteration {
    fn new(snapshot: Arc<dyn Snapshot>, yields: Yields) -> Self {
        Self { snapshot, yields, ahead: Mutex::default() }
    }

    fn next_row(&self) -> Option<Row> {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let (rows, copied) = &mut *ahead;
        if rows.len() == 0 {
            *rows = self.snapshot.page(*copied, CHUNK).into_iter();
            *copied += rows.len() as u64;
        }
        rows.next()
    }
}

#[pymethods]
impl Iteration {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(row) = self.next_row() else { return Ok(None) };
        match self.yields {
            Yields::Members => Ok(Some(PyString::new(py, &row.member).into_any())),
            Yields::Entries => tuples::entry(py, row).map(Some),
        }
    }
}

fn item(index: usize, error: Error) -> Error {
    Error::Item { index, error: Box::new(error) }
}

fn column((score, order): &(String, String)) -> PyResult<Column> {
    Ok(Column { score: word("columns", score)?, order: word("columns", order)? })
}
