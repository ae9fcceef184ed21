//! `Hub`.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rankwire_hub::{
    CLOSE_CODES, Config, ERROR_CODES, Hub, Origins, TIME_BOUNDS, Times, ViewKind, ViewStats,
};

use crate::access::PyAccess;
use crate::engine::PyEngine;

#[pyclass(frozen, name = "Hub", module = "rankwire._core")]
pub struct PyHub {
    inner: Hub,
}

/// The settings of the live listener, by the names that they have in `rankwire.settings`.
#[derive(FromPyObject)]
struct Live {
    host: String,
    port: u16,
    threads: usize,
    tick_ms: u64,
    personal_tick_ms: u64,
    deliveries_per_second: u32,
    max_connections: u32,
    origins: String,
    accepts_per_second: u32,
    commands_per_second: u32,
    connection_seconds: u32,
}

impl Live {
    fn config(&self) -> PyResult<Config> {
        let origins: Origins = self
            .origins
            .parse()
            .map_err(|error| PyValueError::new_err(format!("live.origins: {error}")))?;
        Ok(Config {
            address: resolve(&self.host, self.port)?,
            threads: self.threads,
            tick: Duration::from_millis(self.tick_ms),
            personal_tick: Duration::from_millis(self.personal_tick_ms),
            deliveries_per_second: self.deliveries_per_second,
            max_connections: self.max_connections,
            origins,
            accepts_per_second: self.accepts_per_second,
            commands_per_second: self.commands_per_second,
            session_time: Duration::from_secs(self.connection_seconds.into()),
            ..Config::default()
        })
    }
}

#[pymethods]
impl PyHub {
    #[staticmethod]
    fn start(py: Python<'_>, engine: &PyEngine, access: &PyAccess, live: Live) -> PyResult<Self> {
        let (engine, access) = (Arc::clone(&engine.inner), Arc::clone(&access.inner));
        let config = live.config()?;
        let inner = py.detach(|| Hub::start(engine, access, config))?;
        Ok(Self { inner })
    }

    #[staticmethod]
    fn start_inside(
        py: Python<'_>,
        engine: &PyEngine,
        access: &PyAccess,
        live: Live,
    ) -> PyResult<Self> {
        let (engine, access) = (Arc::clone(&engine.inner), Arc::clone(&access.inner));
        let config = live.config()?;
        let inner = py.detach(|| Hub::start_inside(engine, access, config))?;
        Ok(Self { inner })
    }

    #[staticmethod]
    fn relay(
        py: Python<'_>,
        access: &PyAccess,
        live: Live,
        listener: RawFd,
        trunk: RawFd,
    ) -> PyResult<Self> {
        let (listener, trunk) = (TcpListener::from(own(listener)), UnixStream::from(own(trunk)));
        let (access, config) = (Arc::clone(&access.inner), live.config()?);
        let inner = py.detach(|| Hub::relay(trunk, listener, access, config))?;
        Ok(Self { inner })
    }

    #[staticmethod]
    fn listen(live: Live) -> PyResult<RawFd> {
        Ok(Hub::listen(resolve(&live.host, live.port)?)?.into_raw_fd())
    }

    fn attach(&self, trunk: RawFd) -> PyResult<()> {
        Ok(self.inner.attach(UnixStream::from(own(trunk)))?)
    }

    #[getter]
    fn port(&self) -> u16 {
        self.inner.address().port()
    }

    #[getter]
    fn has_failed(&self) -> bool {
        self.inner.has_failed()
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.inner.stats();
        let dict = by_name(py, &stats.named())?;
        dict.set_item("closed_total", by_code(py, &CLOSE_CODES, &stats.closed)?)?;
        dict.set_item("errors_total", by_code(py, &ERROR_CODES, &stats.failed)?)?;
        dict.set_item("by_view", by_view(py, &stats.by_view)?)?;
        Ok(dict)
    }

    fn shutdown(&self, py: Python<'_>, within: f64) -> PyResult<()> {
        let within = Duration::try_from_secs_f64(within)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        py.detach(|| self.inner.shutdown(within));
        Ok(())
    }
}

fn by_name<'py>(py: Python<'py>, figures: &[(&str, u64)]) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, figure) in figures {
        dict.set_item(name, figure)?;
    }
    Ok(dict)
}

fn by_view<'py>(py: Python<'py>, views: &[ViewStats]) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (kind, view) in ViewKind::ALL.iter().zip(views) {
        let figures = by_name(py, &view.named())?;
        figures.set_item("fanout", by_bound(py, &view.fanout)?)?;
        figures
            .set_item("fanout_seconds", Duration::from_micros(view.fanout.micros).as_secs_f64())?;
        dict.set_item(kind.name(), figures)?;
    }
    Ok(dict)
}

/// How many times there were up to each bound in seconds and above the one before.
fn by_bound<'py>(py: Python<'py>, times: &Times) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let bounds = TIME_BOUNDS.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
    for (bound, count) in bounds.zip(times.counts) {
        dict.set_item(bound, count)?;
    }
    Ok(dict)
}

fn by_code<'py>(py: Python<'py>, codes: &[u16], counts: &[u64]) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (code, count) in codes.iter().zip(counts) {
        dict.set_item(code, count)?;
    }
    Ok(dict)
}

/// The first address of a host name.
fn resolve(host: &str, port: u16) -> PyResult<SocketAddr> {
    let mut addresses = (host, port).to_socket_addrs()?;
    addresses.next().ok_or_else(|| PyOSError::new_err(format!("{host} has no address")))
}

/// Takes over a descriptor that the caller has let go of. There is no other way to hand a socket
/// from one process to another through Python.
#[expect(unsafe_code, reason = "a number has to become a descriptor somewhere")]
fn own(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the stub asks for the result of `socket.detach()` or for an inherited descriptor that
    // nothing else in this process knows of, so there is no other owner.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}
