//! Conversions between Python values and the engine's types.

use std::ops::Range;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFloat, PyInt, PyTuple};
use rankwire_engine::local::{MAX_COLUMNS, Scores};
use rankwire_engine::{
    Answer, BoardConfig, Command, Error, Hash, Outcome, Repeat, Reply, Score, Submit, Write,
    WriteKey,
};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as ValueError;

use crate::errors::{invalid, to_py};

/// A score argument: an integer in the range of 64 bits, or a float.
pub struct PyScore(pub Score);

impl<'py> FromPyObject<'_, 'py> for PyScore {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        score(&value).map(Self).map_err(|error| to_py(&error))
    }
}

fn score(value: &Bound<'_, PyAny>) -> Result<Score, Error> {
    if let Ok(float) = value.cast::<PyFloat>() {
        return Ok(Score::Float(float.value()));
    }
    if value.cast::<PyInt>().is_err() {
        return Err(Error::Score("a score is an integer or a float"));
    }
    let int = value.extract::<i64>().map(Score::Int);
    int.map_err(|_| Error::Score("an integer score fits 64 bits, -2^63 to 2^63 - 1"))
}

impl<'py> IntoPyObject<'py> for PyScore {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        Ok(match self.0 {
            Score::Int(int) => int.into_pyobject(py)?.into_any(),
            Score::Float(float) => float.into_pyobject(py)?.into_any(),
        })
    }
}

/// A score of a board in memory: a number if it has one column, otherwise a tuple of numbers.
pub struct PyScores(pub Scores);

impl<'py> FromPyObject<'_, 'py> for PyScores {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        scores(&value).map(Self).map_err(|error| to_py(&error))
    }
}

/// What [`PyScores`] takes, for those who know more about a bad one.
pub fn scores(value: &Bound<'_, PyAny>) -> Result<Scores, Error> {
    let Ok(tuple) = value.cast::<PyTuple>() else { return Scores::new(&[score(value)?]) };
    let mut numbers = [Score::Int(0); MAX_COLUMNS];
    for (number, item) in numbers.iter_mut().zip(tuple.iter_borrowed()) {
        *number = score(&item)?;
    }
    // A tuple that is too long gives an empty slice, and is refused all the same.
    Scores::new(numbers.get(..tuple.len()).unwrap_or_default())
}

impl<'py> IntoPyObject<'py> for PyScores {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        match *self.0 {
            [number] => PyScore(number).into_pyobject(py),
            ref numbers => Ok(PyTuple::new(py, numbers.iter().copied().map(PyScore))?.into_any()),
        }
    }
}

/// One item of a batch: member, score, and when it was reached in milliseconds since 1970.
#[derive(FromPyObject)]
pub struct PySubmit(String, PyScore, Option<i64>);

impl From<PySubmit> for Submit {
    fn from(PySubmit(member, PyScore(score), at_ms): PySubmit) -> Self {
        Self { member, score, at_ms }
    }
}

/// Whose key, and the key.
pub type PyKey = (String, String);

/// A command with its key.
pub fn keyed(command: Command, key: Option<PyKey>) -> PyResult<Write> {
    let key = key.map(|(scope, text)| WriteKey::new(&scope, &text)).transpose();
    Ok(Write { command, key: key.map_err(|error| to_py(&error))? })
}

/// An answer that is kept: hash of the key, digest of the request, the answer itself.
pub type PyAnswer<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// An answer as the storage gets it.
pub fn kept<'py>(py: Python<'py>, answer: &Answer) -> PyAnswer<'py> {
    let bytes = |bytes: &[u8]| PyBytes::new(py, bytes);
    (bytes(&answer.key), bytes(&answer.request), bytes(&answer.answer))
}

/// An answer as the storage gives it back.
pub fn known((key, request, answer): (Hash, Hash, Vec<u8>)) -> Answer {
    Answer { key, request, answer: answer.into() }
}

/// What a write gets that came before under the same key.
#[pyclass(frozen, name = "Repeat", module = "rankwire._core")]
pub struct PyRepeat(Repeat);

#[pymethods]
impl PyRepeat {
    #[getter]
    fn created(&self) -> Option<bool> {
        self.0.created()
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.json())
    }
}

/// A board configuration from its four words and who may submit.
pub fn config(
    score: &str,
    order: &str,
    policy: &str,
    ties: &str,
    player_submits: bool,
) -> PyResult<BoardConfig> {
    Ok(BoardConfig {
        score: word("score", score)?,
        order: word("order", order)?,
        policy: word("policy", policy)?,
        ties: word("ties", ties)?,
        player_submits,
    })
}

/// A value from its word. `field` is what the exception is about.
pub fn word<'a, T: Deserialize<'a>>(field: &'static str, word: &'a str) -> PyResult<T> {
    let word: Result<T, ValueError> = T::deserialize(word.into_deserializer());
    word.map_err(|error| invalid(field, error.to_string()))
}

/// A ticket with what Python gets for it: the answer as bytes, for a created or confirmed board
/// `(created, answer)`, for a write that came before a `Repeat`, or an exception.
pub type PyReply<'py> = (u64, Bound<'py, PyAny>);

/// The replies of a batch, encoded while the interpreter is free.
pub fn encode(replies: Vec<Reply>) -> Encoded {
    let mut json = Vec::new();
    let mut encode = |reply: Reply| {
        let answer = reply.outcome.map(|outcome| {
            let start = json.len();
            match outcome {
                Outcome::Repeat(repeat) => return Encoding::Repeat(repeat),
                ref outcome => outcome.write_json(&mut json),
            }
            match outcome {
                Outcome::Board { created, .. } => Encoding::Board(created, start..json.len()),
                _ => Encoding::Plain(start..json.len()),
            }
        });
        (reply.ticket, answer)
    };
    let answers = replies.into_iter().map(&mut encode).collect();
    Encoded { json, answers }
}

/// The replies of a batch with their JSON in one piece.
pub struct Encoded {
    json: Vec<u8>,
    answers: Vec<(u64, Result<Encoding, Error>)>,
}

/// An encoded outcome, and where it stands in the JSON of all.
enum Encoding {
    Plain(Range<usize>),
    /// Whether the board was created.
    Board(bool, Range<usize>),
    Repeat(Repeat),
}

/// The replies as Python objects.
pub fn replies(py: Python<'_>, Encoded { json, answers }: Encoded) -> PyResult<Vec<PyReply<'_>>> {
    let convert = |(ticket, answer): (u64, Result<Encoding, Error>)| {
        let value = match answer {
            Ok(Encoding::Plain(place)) => PyBytes::new(py, &json[place]).into_any(),
            Ok(Encoding::Board(created, place)) => {
                (created, PyBytes::new(py, &json[place])).into_pyobject(py)?.into_any()
            }
            Ok(Encoding::Repeat(repeat)) => PyRepeat(repeat).into_pyobject(py)?.into_any(),
            Err(error) => to_py(&error).into_value(py).into_bound(py).into_any(),
        };
        Ok((ticket, value))
    };
    answers.into_iter().map(convert).collect()
}
