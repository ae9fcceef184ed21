//! The extension module `rankwire._core`: the engine, the hub, access and boards in memory for
//! Python.
//!
//! Thin on purpose: every class wraps one Rust type, converts arguments and maps errors. What the
//! classes promise is documented where Python programmers look, in `python/rankwire/_core.pyi`.
//! All state is behind `Arc`s and locks of the crates below and no Python object is kept but a few
//! types and encoded pages, which hold no others, so the module needs no interpreter lock of its own.

mod access;
mod board;
mod checkpoint;
mod compare;
mod convert;
mod engine;
mod errors;
mod hub;
mod loading;
mod pages;
mod pgcopy;
mod recovery;
mod region;
mod traffic;
mod tuples;

// Writing copies nodes of changing sizes and frees them from other threads: this allocator saves a
// twentieth of all processor time of a submit over the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[pyo3::pymodule(gil_used = false)]
mod _core {
    use pyo3::prelude::*;
    use pyo3::types::PyDict;

    #[pymodule_export]
    use crate::access::{PyAccess, PyCaller};
    #[pymodule_export]
    use crate::board::{PyBoard, PySnapshot, PyStandings};
    #[pymodule_export]
    use crate::checkpoint::PyCheckpoint;
    #[pymodule_export]
    use crate::compare::{PyComparison, outline, shown, states, tops};
    #[pymodule_export]
    use crate::convert::PyRepeat;
    #[pymodule_export]
    use crate::engine::{PyEngine, PySealed, records};
    #[pymodule_export]
    use crate::errors::{
        BusyError, ConflictError, CorruptError, ForbiddenError, InvalidError, KeyReusedError,
        LimitError, NotFoundError, NotPrimaryError, RankwireError, TooManyRequestsError,
        UnauthorizedError, UnavailableError,
    };
    #[pymodule_export]
    use crate::hub::PyHub;
    #[pymodule_export]
    use crate::recovery::PyRecovery;
    #[pymodule_export]
    use crate::region::{names_of, region_id};
    #[pymodule_export]
    use crate::traffic::{PyFrequency, PyTraffic};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        crate::tuples::add_to(module)
    }

    #[pyfunction]
    fn build_info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        let info = PyDict::new(py);
        info.set_item("version", env!("CARGO_PKG_VERSION"))?;
        info.set_item("optimized", !cfg!(debug_assertions))?;
        info.set_item("arch", std::env::consts::ARCH)?;
        info.set_item("os", std::env::consts::OS)?;
        Ok(info)
    }
}
