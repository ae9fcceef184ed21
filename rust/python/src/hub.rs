//! `Hub`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rankwire_hub::{Config, Hub};

use crate::engine::PyEngine;

#[pyclass(frozen, name = "Hub", module = "rankwire._core")]
pub struct PyHub {
    inner: Hub,
}

#[pymethods]
impl PyHub {
    #[staticmethod]
    fn start(
        py: Python<'_>,
        engine: &PyEngine,
        host: &str,
        port: u16,
        tick_ms: u64,
        max_connections: u32,
    ) -> PyResult<Self> {
        let address = resolve(host, port)?;
        let tick = Duration::from_millis(tick_ms);
        let config = Config { address, tick, max_connections, ..Config::default() };
        let engine = Arc::clone(&engine.inner);
        let inner = py.detach(|| Hub::start(engine, config))?;
        Ok(Self { inner })
    }

    #[getter]
    fn port(&self) -> u16 {
        self.inner.address().port()
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.inner.stats();
        let dict = PyDict::new(py);
        dict.set_item("connections", stats.connections)?;
        dict.set_item("connections_total", stats.connections_total)?;
        dict.set_item("refused_total", stats.refused_total)?;
        dict.set_item("subscriptions", stats.subscriptions)?;
        dict.set_item("views", stats.views)?;
        dict.set_item("publications_total", stats.publications_total)?;
        dict.set_item("deliveries_total", stats.deliveries_total)?;
        dict.set_item("bytes_sent_total", stats.bytes_sent_total)?;
        dict.set_item("commands_total", stats.commands_total)?;
        dict.set_item("errors_total", stats.errors_total)?;
        dict.set_item("closed_slow_total", stats.closed_slow_total)?;
        Ok(dict)
    }

    fn shutdown(&self, py: Python<'_>, grace: f64) -> PyResult<()> {
        let grace = Duration::try_from_secs_f64(grace)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        py.detach(|| self.inner.shutdown(grace));
        Ok(())
    }
}

/// The first address of a host name.
fn resolve(host: &str, port: u16) -> PyResult<SocketAddr> {
    let mut addresses = (host, port).to_socket_addrs()?;
    addresses.next().ok_or_else(|| PyOSError::new_err(format!("{host} has no address")))
}
