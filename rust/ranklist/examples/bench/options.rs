//! How much to measure, from the command line.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

/// All options; every program uses some of them.
pub(crate) struct Options {
    /// `random`, `tied` or `equal`; only for moves.
    pub(crate) board: String,
    /// Members on the board, or on each of many.
    pub(crate) members: usize,
    /// Boards in one process.
    pub(crate) boards: usize,
    /// Moves of one kind of work in each round.
    pub(crate) slice: usize,
    pub(crate) rounds: usize,
    /// Seconds of each measurement that has a time and not a number of moves.
    pub(crate) time: Duration,
    /// Where to write the moves, for others to do the same.
    pub(crate) moves_to: Option<PathBuf>,
    /// `log` or `draft`: the way that writes go.
    pub(crate) through: String,
    /// The processor cores that threads are pinned to.
    pub(crate) cores: Vec<usize>,
}

impl Options {
    /// Reads pairs of a name and a value.
    pub(crate) fn read(mut given: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            board: "random".into(),
            members: 1_000_000,
            boards: 100_000,
            slice: 102_400,
            rounds: 5,
            time: Duration::from_secs(1),
            moves_to: None,
            through: "log".into(),
            cores: vec![0, 1],
        };
        while let Some(name) = given.next() {
            let value = given.next().ok_or("a value is missing")?;
            match name.as_str() {
                "--board" => options.board = value,
                "--members" => options.members = value.parse()?,
                "--boards" => options.boards = value.parse()?,
                "--slice" => options.slice = value.parse()?,
                "--rounds" => options.rounds = value.parse()?,
                "--seconds" => options.time = Duration::from_secs_f64(value.parse()?),
                "--moves-to" => options.moves_to = Some(value.into()),
                "--through" => options.through = value,
                "--cores" => {
                    options.cores = value.split(',').map(str::parse).collect::<Result<_, _>>()?;
                }
                _ => return Err(format!("{name} is not an option").into()),
            }
        }
        Ok(options)
    }
}
