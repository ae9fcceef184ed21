//! A hub whose path `/echo` sends every message back: what the conformance tests talk to. It is the
//! hub's own listener and codec, with a limit high enough for the largest of their messages.
//!
//! Prints its port, and ends when its standard input does.
#![expect(clippy::print_stdout, reason = "the port is what it has to say")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rankwire_access::{Access, Mode, Policy};
use rankwire_engine::{Limits, Recovery};
use rankwire_hub::{Config, Hub};

/// The largest message of the conformance tests.
const MESSAGE_BYTES: usize = 16 * 1024 * 1024;

fn main() -> io::Result<()> {
    let engine = Arc::new(Recovery::new([], []).finish(1, Limits::default(), false));
    let access = Arc::new(Access::new(Policy {
        mode: Mode::Open,
        anonymous_read: false,
        audience: None,
        issuer: None,
        key_submits_per_second: 0,
        member_submits_per_second: 0,
    }));
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config { address, echo_bytes: Some(MESSAGE_BYTES), ..Config::default() };
    let hub = Hub::start(engine, access, config)?;
    println!("{}", hub.address().port());
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
