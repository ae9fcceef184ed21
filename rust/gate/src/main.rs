//! The hot paths of Rankwire one by one, so that `loadtests/gate.py` can count their instructions.
//!
//! Without an argument it lists their names. With one it does that path many times, and prints how
//! many operations that was. What has to be counted stands in calls of [`measured`] and nowhere else:
//! the counter is told to count within that function only. Everything is the same in every run:
//! members, scores, seeds of boards, and there is one thread.
//!
//! | module | paths |
//! |---|---|
//! | `list` | the ranked list alone |
//! | `boards` | the engine: batches, those of others, the answers to reads |
//! | `journal` | the codec of batches |
//! | `protocol` | frames and commands of the live door |
//! | `live` | a worker of the hub with sockets: submits in, states out |
#![expect(clippy::print_stdout, reason = "the result is what it prints")]
#![expect(clippy::unnecessary_wraps, reason = "all paths are functions of one type")]

mod boards;
mod game;
mod journal;
mod list;
mod live;
mod protocol;

use std::error::Error;

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many operations were measured, or why none.
type Measured = Result<u64, Box<dyn Error>>;

/// A name and what does it.
type Path = (&'static str, fn() -> Measured);

/// Runs what is to be counted. The counter knows this function by its name.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
}

/// Runs something again and again, and counts it from round `aging` on: memory that was used before
/// is used again then.
fn once(round: u64, aging: u64, work: &mut dyn FnMut()) {
    if round < aging {
        work();
    } else {
        measured(work);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<Path> =
        [list::PATHS, boards::PATHS, journal::PATHS, protocol::PATHS, live::PATHS].concat();
    let Some(wanted) = std::env::args().nth(1) else {
        for (name, _) in paths {
            println!("{name}");
        }
        return Ok(());
    };
    let found = paths.iter().find(|(name, _)| *name == wanted);
    let (_, path) = found.ok_or_else(|| format!("{wanted}: no such path"))?;
    match path()? {
        0 => return Err(format!("{wanted}: nothing was done").into()),
        operations => println!("{operations}"),
    }
    Ok(())
}
