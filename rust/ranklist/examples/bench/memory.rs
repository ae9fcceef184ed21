//! Resident bytes of one large board and of many small ones, beside the lists' own account.

use std::error::Error;
use std::time::Instant;

use rankwire_ranklist::{Memory, Version};

use crate::options::Options;
use crate::ours::Ours;
use crate::random::{Name, Source, distinct_score};

/// Bytes of this process in memory, as the kernel counts them.
pub(crate) fn resident() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes: u64 = line.ok_or("no VmRSS")?.trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}

/// Loads a board, then moves as many members as it has. The names are made on the fly.
pub(crate) fn one_board(options: &Options) -> Result<(), Box<dyn Error>> {
    let empty = resident()?;
    eprintln!("{}: loading {} members", options.through, options.members);
    let ours = Ours::random(options)?;
    let loaded = (resident()?.saturating_sub(empty), ours.read(Version::memory));
    ours.age(&mut Source::new(options.members, 0));
    let moved = (resident()?.saturating_sub(empty), ours.read(Version::memory));
    let [loaded, moved] = [loaded, moved].map(|(bytes, layout)| json(bytes, layout));
    println!(r#"{{"loaded":{loaded},"moved":{moved}}}"#);
    Ok(())
}

/// Makes boards, each as a board comes about: empty, then a batch of submits.
pub(crate) fn many_boards(options: &Options) -> Result<(), Box<dyn Error>> {
    let (empty, began) = (resident()?, Instant::now());
    let mut boards = Vec::with_capacity(options.boards);
    for number in 0..options.boards {
        if number > 0 && number % 100_000 == 0 {
            eprintln!("{number} boards");
        }
        let first = number * options.members;
        let members: Vec<_> = (first..first + options.members)
            .map(|number| (Name::of(number), distinct_score(number as u64)))
            .collect();
        let board = Ours::empty(&options.through)?;
        if !members.is_empty() {
            board.submit(&members);
        }
        boards.push(board);
    }
    let seconds = began.elapsed().as_secs_f64();
    let size = json(resident()?.saturating_sub(empty), boards[0].read(Version::memory));
    println!(r#"{{"all":{size},"seconds":{seconds:.2}}}"#);
    Ok(())
}

/// Resident bytes, and those of one list by its own account.
fn json(resident: u64, layout: Memory) -> String {
    let Memory { runs, inners, keys, names, index } = layout;
    format!(
        r#"{{"resident":{resident},"runs":{runs},"inners":{inners},"keys":{keys},"names":{names},"index":{index}}}"#
    )
}
