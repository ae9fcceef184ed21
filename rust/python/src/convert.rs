//! Conversions between Python values and the engine's types.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFloat, PyInt};
use rankwire_engine::{BoardConfig, Error, Reply, Score, Submit};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as ValueError;

use crate::errors::{invalid, to_py};

/// A score argument: an integer in the range of 64 bits, or a float.
pub struct PyScore(pub Score);

impl<'py> FromPyObject<'_, 'py> for PyScore {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(float) = value.cast::<PyFloat>() {
            return Ok(Self(Score::Float(float.value())));
        }
        if value.cast::<PyInt>().is_err() {
            return Err(invalid("score", "a score is an integer or a float"));
        }
        let int = value.extract::<i64>();
        int.map(|int| Self(Score::Int(int)))
            .map_err(|_| invalid("score", "an integer score fits 64 bits, -2^63 to 2^63 - 1"))
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

/// A board configuration from its four words.
pub fn config(score: &str, order: &str, policy: &str, ties: &str) -> PyResult<BoardConfig> {
    Ok(BoardConfig {
        score: word("score", score)?,
        order: word("order", order)?,
        policy: word("policy", policy)?,
        ties: word("ties", ties)?,
    })
}

fn word<'a, T: Deserialize<'a>>(field: &'static str, word: &'a str) -> PyResult<T> {
    let word: Result<T, ValueError> = T::deserialize(word.into_deserializer());
    word.map_err(|error| invalid(field, error.to_string()))
}

/// A ticket with what Python gets for it: the answer as bytes, for a created or confirmed board
/// `(created, answer)`, or an exception.
pub type PyReply<'py> = (u64, Bound<'py, PyAny>);

/// The replies of a batch, encoded while the interpreter is free.
pub fn encode(replies: Vec<Reply>) -> Vec<(u64, Result<Answer, Error>)> {
    let encode = |reply: Reply| {
        let answer = reply.outcome.map(|outcome| {
            let created = match outcome {
                rankwire_engine::Outcome::Board { created, .. } => Some(created),
                _ => None,
            };
            Answer { json: outcome.to_json(), created }
        });
        (reply.ticket, answer)
    };
    replies.into_iter().map(encode).collect()
}

/// An encoded outcome.
pub struct Answer {
    json: Vec<u8>,
    created: Option<bool>,
}

/// The replies as Python objects.
pub fn replies(
    py: Python<'_>,
    replies: Vec<(u64, Result<Answer, Error>)>,
) -> PyResult<Vec<PyReply<'_>>> {
    let convert = |(ticket, answer): (u64, Result<Answer, Error>)| {
        let value = match answer {
            Ok(Answer { json, created: None }) => PyBytes::new(py, &json).into_any(),
            Ok(Answer { json, created: Some(created) }) => {
                (created, PyBytes::new(py, &json)).into_pyobject(py)?.into_any()
            }
            Err(error) => to_py(&error).into_value(py).into_bound(py).into_any(),
        };
        Ok((ticket, value))
    };
    replies.into_iter().map(convert).collect()
}
