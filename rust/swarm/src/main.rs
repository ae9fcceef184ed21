//! Load generator and judge of Rankwire's live views.
//!
//! Promises: everything that comes is checked, nothing is dropped without being counted, and no code
//! is shared with the server, so that a mistake there cannot hide itself here. Not a part of the
//! product. [`help::HELP`] says how it is used.

#![forbid(unsafe_code)]
// Counts become floating point numbers only for people and for rates; 52 bits are plenty.
#![allow(clippy::cast_precision_loss, reason = "rates and shares of counts below 2^52")]
#![allow(clippy::cast_sign_loss, reason = "moments and numbers here are never negative")]

mod answer;
mod bare;
mod check;
mod client;
mod clock;
mod connection;
mod control;
mod delta;
mod disturb;
mod driver;
mod figures;
mod fleet;
mod frame;
mod help;
mod http;
mod idle;
mod judge;
mod meter;
mod mix;
mod news;
mod openings;
mod options;
mod plan;
mod probe;
mod process;
mod protobuf;
mod protocol;
mod reader;
mod reads;
mod source;
mod spread;
mod storm;
mod submit;
mod tally;
mod times;
mod told;
mod values;
mod view;
mod watch;

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use serde_json::Value;

use crate::help::HELP;
use crate::options::Options;

/// What can go wrong here only has to be told.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody is left to be told if this fails.
            let _ = writeln!(stderr(), "rankwire-swarm: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs a command; returns whether all was as it should be.
fn run(arguments: &[String]) -> Result<bool> {
    let (command, rest) = match arguments {
        [command, rest @ ..] if command != "--help" && command != "-h" => (command.as_str(), rest),
        _ => {
            write!(stdout(), "{HELP}")?;
            return Ok(true);
        }
    };
    let options = Options::parse(rest)?;
    match command {
        "watch" => watch::run(&options, rest),
        "idle" => idle::run(&options, rest),
        "storm" => storm::run(&options, rest),
        "submit" => submit::run(&options),
        "bare" => bare::run(&options),
        "sink" => bare::sink(&options, rest),
        "fleet" => fleet::run(options).map(|()| true),
        "drain" => bare::drain(&options).map(|()| true),
        _ => Err(format!("there is no command {command:?}; --help lists them").into()),
    }
}

/// Prints a result: one line for programs, several for people.
fn tell(options: &Options, result: &Value) -> Result<()> {
    let text =
        if options.json { result.to_string() } else { serde_json::to_string_pretty(result)? };
    Ok(writeln!(stdout(), "{text}")?)
}
