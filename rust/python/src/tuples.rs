//! The named tuples that boards in memory answer with.
//!
//! They are made by Python's own `collections.namedtuple`, so that they unpack, compare, print and
//! pickle as Python programmers expect. They are documented in `python/rankwire/_core.pyi`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use rankwire_engine::Error;
use rankwire_engine::local::{Difference, Ranks, Row, Submitted};

use crate::convert::PyScores;
use crate::errors::to_py;

/// The types, and the function that makes a tuple of any of them.
struct Tuples {
    new: Py<PyAny>,
    difference: Py<PyAny>,
    entry: Py<PyAny>,
    ranks: Py<PyAny>,
    submitted: Py<PyAny>,
}

static TUPLES: PyOnceLock<Tuples> = PyOnceLock::new();

impl Tuples {
    fn get(py: Python<'_>) -> PyResult<&Self> {
        TUPLES.get_or_try_init(py, || {
            Ok(Self {
                // What a named tuple's own constructor calls, which is written in Python.
                new: PyType::new::<PyTuple>(py).getattr("__new__")?.unbind(),
                difference: named_tuple(py, "Difference", &["member", "here", "there"], &[])?,
                entry: named_tuple(py, "Entry", &["rank", "member", "score"], &[])?,
                ranks: named_tuple(
                    py,
                    "Ranks",
                    &["ordinal", "competition", "dense", "modified", "percentile"],
                    &[],
                )?,
                submitted: named_tuple(
                    py,
                    "Submitted",
                    &["score", "rank", "previous_score", "previous_rank", "changed", "version"],
                    &[],
                )?,
            })
        })
    }

    fn make<'py>(
        &self,
        kind: &Py<PyAny>,
        values: impl IntoPyObject<'py, Target = PyTuple>,
        py: Python<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.new.bind(py).call1((kind, values))
    }
}

/// Adds the types to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let tuples = Tuples::get(py)?;
    let column = named_tuple(py, "Column", &["type", "order"], &["int64", "desc"])?;
    module.add("Column", column)?;
    module.add("Difference", &tuples.difference)?;
    module.add("Entry", &tuples.entry)?;
    module.add("Ranks", &tuples.ranks)?;
    module.add("Submitted", &tuples.submitted)
}

fn named_tuple(
    py: Python<'_>,
    name: &str,
    fields: &[&str],
    defaults: &[&str],
) -> PyResult<Py<PyAny>> {
    let options = PyDict::new(py);
    options.set_item("module", "rankwire._core")?;
    options.set_item("defaults", defaults)?;
    let kind = py.import("collections")?.getattr("namedtuple")?;
    Ok(kind.call((name, fields), Some(&options))?.unbind())
}

/// A place of a board.
pub fn entry(py: Python<'_>, row: Row) -> PyResult<Bound<'_, PyAny>> {
    let tuples = Tuples::get(py)?;
    tuples.make(&tuples.entry, (row.rank, &*row.member, PyScores(row.score)), py)
}

/// All ranks of a member.
pub fn ranks(py: Python<'_>, ranks: Ranks) -> PyResult<Bound<'_, PyAny>> {
    let Ranks { ordinal, competition, dense, modified, percentile } = ranks;
    let tuples = Tuples::get(py)?;
    tuples.make(&tuples.ranks, (ordinal, competition, dense, modified, percentile), py)
}

/// What a submit did, or the exception for why it did nothing.
pub fn submitted(
    py: Python<'_>,
    submitted: Result<Submitted, Error>,
) -> PyResult<Bound<'_, PyAny>> {
    let Submitted { score, rank, previous, changed, version } =
        submitted.map_err(|error| to_py(&error))?;
    let (previous_score, previous_rank) = previous.unzip();
    let previous_score = previous_score.map(PyScores);
    let values = (PyScores(score), rank, previous_score, previous_rank, changed, version);
    let tuples = Tuples::get(py)?;
    tuples.make(&tuples.submitted, values, py)
}

/// A member that two snapshots do not agree on.
pub fn difference(py: Python<'_>, difference: Difference) -> PyResult<Bound<'_, PyAny>> {
    let Difference { member, here, there } = difference;
    let tuples = Tuples::get(py)?;
    tuples.make(&tuples.difference, (&*member, here.map(PyScores), there.map(PyScores)), py)
}
