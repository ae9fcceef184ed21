//! The measured programs of `make bench-ranklist`, `bench-ranklist-10m`, `bench-memory`,
//! `bench-threads` and `bench-snapshot`. The scripts in loadtests put others beside them and
//! explain what comes out.
//!
//! The first argument says what to measure; the last line of the output is JSON. Alone:
//!
//! ```console
//! $ cargo run --release -p rankwire-ranklist --example bench -- memory --members 1000000
//! ```

#![expect(clippy::print_stdout, reason = "the result is what it prints")]
#![expect(clippy::print_stderr, reason = "long work tells how far it is")]
#![expect(clippy::cast_precision_loss, reason = "nothing is counted up to 2^53")]

mod classic;
mod held;
mod latency;
mod memory;
mod moves;
mod options;
mod ours;
mod random;
mod threads;

use std::error::Error;

use crate::options::Options;

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().ok_or("the first argument says what to measure")?;
    let options = Options::read(arguments)?;
    match what.as_str() {
        "moves" => moves::run(&options)?,
        "latency" => latency::run(&options)?,
        "memory" => memory::one_board(&options)?,
        "boards" => memory::many_boards(&options)?,
        "held" => held::run(&options)?,
        "threads" => threads::run(&options)?,
        _ => {
            let known = "moves, latency, memory, boards, held, threads";
            return Err(format!("{what}: known are {known}").into());
        }
    }
    Ok(())
}
