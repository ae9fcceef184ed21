//! Conversions between Python values and the engine's types.

use std::ops::Range;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFloat, PyInt, PyTuple};
use rankwire_engine::local::{MAX_COLUMNS, Scores};
use rankwire_engine::{BoardConfig, Error, Outcome, Reply, Score, Submit};
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
/// `(created, answer)`, or an exception.
pub type PyReply<'py> = (u64, Bound<'py, PyAny>);

/// The replies of a batch, encoded while the interpreter is free.
pub fn encode(replies: Vec<Reply>) -> Encoded {
    let mut json = Vec::new();
    let mut encode = |reply: Reply| {
        let answer = reply.outcome.map(|outcome| {
            let start = json.len();
            outcome.write_json(&mut json);
            let created = match outcome {
                Outcome::Board { created, .. } => Some(created),
                _ => None,
            };
            Answer { json: start..json.len(), created }
        });
        (reply.ticket, answer)
    };
    let answers = replies.into_iter().map(&mut encode).collect();
    Encoded { json, answers }
}

/// The replies of a batch with their JSON in one piece.
pub struct Encoded {
    json: Vec<u8>,
    answers: Vec<(u64, Result<Answer, Error>)>,
}

/// An encoded outcome.
struct Answer {
    /// Where it stands in the JSON of all.
    json: Range<usize>,
    created: Option<bool>,
}

/// The replies as Python objects.
pub fn replies(py: Python<'_>, Encoded { json, answers }: Encoded) -> PyResult<Vec<PyReply<'_>>> {
    let convert = |(ticket, answer): (u64, Result<Answer, Error>)| {
        let value = match answer {
            Ok(Answer { json: place, created }) => {
                let bytes = PyBytes::new(py, &json[place]);
                match created {
                    None => bytes.into_any(),
                    Some(created) => (created, bytes).into_pyobject(py)?.into_any(),
                }
            }
            Err(error) => to_py(&error).into_value(py).into_bound(py).into_any(),
        };
        Ok((ticket, value))
    };
    answers.into_iter().map(convert).collect()
}
