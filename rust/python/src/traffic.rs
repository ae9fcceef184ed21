//! `Traffic` and `Frequency`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use rankwire_engine::Error;
use rankwire_traffic::{Frequency, Heavy, Kind, Names, Traffic};

use crate::errors::{invalid, to_py};

/// Most entries of a cache that a `Frequency` is for: it takes up to 16 bytes for each.
const MOST_ENTRIES: usize = 16_777_216;

#[pyclass(frozen, name = "Traffic", module = "rankwire._core")]
pub struct PyTraffic(pub Arc<Watched>);

/// The traffic of an engine, with the time.
pub struct Watched {
    inner: Traffic,
    started: Instant,
    told: Mutex<Told>,
}

/// The time that came with the last profiles. It goes on by itself in between.
#[derive(Clone, Copy)]
struct Told {
    now_ms: u64,
    at: Instant,
}

impl Watched {
    pub fn new() -> PyResult<Self> {
        let started = Instant::now();
        Ok(Self {
            inner: Traffic::new().map_err(|_| to_py(&Error::Entropy))?,
            started,
            told: Mutex::new(Told { now_ms: 0, at: started }),
        })
    }

    /// A board was read.
    pub fn board(&self, board: &str) {
        self.inner.board(millis_since(self.started), board);
    }

    /// A page of a board was read, of this version.
    pub fn page(&self, board: &str, offset: u64, limit: usize, version: u64) {
        self.inner.page(millis_since(self.started), board, offset, limit as u64, version);
    }

    /// Boards and pages go by this process's clock, profiles by the one that they come with.
    fn now_ms(&self, kind: Kind) -> u64 {
        if kind != Kind::UserProfile {
            return millis_since(self.started);
        }
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.now_ms.saturating_add(millis_since(told.at))
    }
}

#[pymethods]
impl PyTraffic {
    fn profiles(&self, members: Vec<PyBackedStr>, now: f64, seconds: f64) -> PyResult<()> {
        let now_ms = millis("now", now)?;
        let fresh_ms = millis("seconds", seconds)?;
        let told = Told { now_ms, at: Instant::now() };
        *self.0.told.lock().unwrap_or_else(PoisonError::into_inner) = told;
        self.0.inner.profiles(now_ms, &members, fresh_ms);
        Ok(())
    }

    fn heavy(&self, py: Python, kind: &str, limit: usize) -> PyResult<Vec<(String, u64, u64)>> {
        let kind = kind_of(kind)?;
        let heavy = py.detach(|| self.0.inner.heavy(self.0.now_ms(kind), kind, limit));
        Ok(heavy.into_iter().map(|Heavy { name, count, error }| (name, count, error)).collect())
    }

    fn unique(&self, kind: &str) -> PyResult<f64> {
        let kind = kind_of(kind)?;
        Ok(self.0.inner.unique(self.0.now_ms(kind), kind))
    }

    fn curve(&self, kind: &str, sizes: Vec<u64>) -> PyResult<Vec<f64>> {
        Ok(self.0.inner.curve(kind_of(kind)?, &sizes).unwrap_or_default())
    }
}

#[pyclass(frozen, name = "Frequency", module = "rankwire._core")]
pub struct PyFrequency {
    names: Names,
    sketch: Mutex<Frequency>,
}

#[pymethods]
impl PyFrequency {
    #[new]
    fn new(entries: usize) -> PyResult<Self> {
        if !(1..=MOST_ENTRIES).contains(&entries) {
            return Err(invalid("entries", format!("entries are from 1 to {MOST_ENTRIES}")));
        }
        Ok(Self {
            names: Names::new().map_err(|_| to_py(&Error::Entropy))?,
            sketch: Mutex::new(Frequency::new(entries)),
        })
    }

    fn add(&self, name: &str) {
        let hash = self.names.hash(name);
        self.sketch.lock().unwrap_or_else(PoisonError::into_inner).add(hash);
    }

    fn estimate(&self, name: &str) -> u64 {
        let hash = self.names.hash(name);
        self.sketch.lock().unwrap_or_else(PoisonError::into_inner).estimate(hash)
    }
}

fn kind_of(word: &str) -> PyResult<Kind> {
    let kinds = "kind is leaderboard, page or user_profile";
    word.parse().map_err(|()| invalid("kind", kinds))
}

fn millis(field: &'static str, seconds: f64) -> PyResult<u64> {
    if !(seconds.is_finite() && seconds >= 0.0) {
        return Err(invalid(field, format!("{field} is a number of seconds from 0")));
    }
    // A cast of what is too large gives the largest.
    #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation)]
    let millis = (seconds * 1e3) as u64;
    Ok(millis)
}

fn millis_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}
