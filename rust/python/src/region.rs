//! What regions need beside the engine: their ids, the names in a batch, repairs.

use pyo3::prelude::*;
use rankwire_engine::limits::REPAIR_ITEMS;
use rankwire_engine::{Command, Key, Names, Repair, State};

use crate::errors::{invalid, to_py};

/// From this size on a batch is read with the interpreter released.
const DETACH_BYTES: usize = 16_384;

/// Generation, score code and stamp of a member; the code is none for one that is not on the board.
type PyState = (u32, Option<u64>, u64);

/// Member, the state that was seen, the state that it should have.
pub type PyRepair = (String, PyState, PyState);

/// Names that begin with their boards, and boards that end.
type PyNames = (Vec<(String, u64)>, Vec<u64>);

/// The command for a repair.
pub fn repair(board: String, life: u64, items: Vec<PyRepair>) -> PyResult<Command> {
    if items.len() > REPAIR_ITEMS {
        return Err(invalid("items", format!("a repair has at most {REPAIR_ITEMS} items")));
    }
    let state = |(generation, code, stamp): PyState| State {
        generation,
        key: code.map(|code| Key { score: [code], stamp }),
    };
    let item = |(member, seen, given)| Repair { member, seen: state(seen), given: state(given) };
    Ok(Command::Repair { board, life, items: items.into_iter().map(item).collect() })
}

#[pyfunction]
pub fn region_id(name: &str) -> u64 {
    rankwire_engine::region_id(name)
}

#[pyfunction]
pub fn names_of(py: Python<'_>, origin: u64, number: u64, batch: &[u8]) -> PyResult<PyNames> {
    let read = || rankwire_engine::names_of(origin, number, batch);
    let names = if batch.len() < DETACH_BYTES { read() } else { py.detach(read) };
    let Names { created, dropped } = names.map_err(|error| to_py(&error))?;
    Ok((created, dropped))
}
