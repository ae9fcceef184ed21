//! What a snapshot costs that is held while the list goes on at full speed.

use std::error::Error;
use std::time::{Duration, Instant};

use rankwire_ranklist::Version;

use crate::memory::resident;
use crate::options::Options;
use crate::ours::{BATCH, Ours, export};
use crate::random::Source;

/// Batches from one look at the memory to the next.
const BATCHES: usize = 64;

/// Writes for a while without a snapshot, then as long with one, and as long after it is gone.
pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let empty = resident()?;
    eprintln!("{}: loading {} members", options.through, options.members);
    let ours = Ours::random(options)?;
    let mut source = Source::new(options.members, 0);
    ours.age(&mut source);
    eprintln!("writing without a snapshot");
    let without = write(&ours, &mut source, options.time)?;
    let snapshot = ours.snapshot();
    let seen = export(&snapshot);
    eprintln!("writing with a snapshot");
    let with = write(&ours, &mut source, options.time)?;
    if export(&snapshot) != seen {
        return Err("the snapshot has changed".into());
    }
    drop(snapshot);
    eprintln!("writing after the snapshot");
    let after = write(&ours, &mut source, options.time)?;
    let live = ours.read(Version::memory).total();
    let stretches = [without, with, after].map(|written| written.json(empty, options.time));
    println!("[{live},{}]", stretches.join(","));
    Ok(())
}

struct Written {
    moves: usize,
    /// Resident bytes: the most that were seen, and those at the end.
    peak: u64,
    end: u64,
}

fn write(ours: &Ours, source: &mut Source, time: Duration) -> Result<Written, Box<dyn Error>> {
    let end = resident()?;
    let mut written = Written { moves: 0, peak: end, end };
    let began = Instant::now();
    while began.elapsed() < time {
        for _ in 0..BATCHES {
            ours.submit(&source.moves::<BATCH>());
        }
        written.moves += BATCHES * BATCH;
        written.end = resident()?;
        written.peak = written.peak.max(written.end);
    }
    Ok(written)
}

impl Written {
    /// Bytes beyond the empty process', and moves a second.
    fn json(&self, empty: u64, time: Duration) -> String {
        let rate = self.moves as f64 / time.as_secs_f64();
        let (peak, end) = (self.peak.saturating_sub(empty), self.end.saturating_sub(empty));
        format!(r#"{{"rate":{rate:.0},"peak":{peak},"end":{end}}}"#)
    }
}
