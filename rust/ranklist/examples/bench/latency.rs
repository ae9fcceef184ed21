//! How long a question for a rank takes: alone, beside a full export, and beside a writer.

use std::error::Error;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use crate::options::Options;
use crate::ours::{BATCH, Ours, export, pin, repeat};
use crate::random::{Name, Source};

/// What the other core does meanwhile.
#[derive(Clone, Copy)]
enum Beside {
    Idle,
    Export,
    Writer,
}

/// What was measured beside one of them; each vector has a number for each round.
#[derive(Default)]
struct Row {
    p50: Vec<u64>,
    p99: Vec<u64>,
    /// Entries exported or moves made in a second on the other core.
    other: Vec<f64>,
}

/// Prints nanoseconds, and the clock's own, which are in them.
pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let &[core, other, ..] = &options.cores[..] else { return Err("two cores are needed".into()) };
    pin(core).map_err(|error| error.to_string())?;
    let mut source = Source::new(options.members, 0);
    eprintln!("loading {} members", options.members);
    let ours = Ours::random(options)?;
    ours.age(&mut source);
    let mut rows: [Row; 3] = Default::default();
    let mut clock = vec![];
    for round in 1..=options.rounds {
        clock.push(quantiles(|_| (), &vec![Name::of(0); options.slice]).0);
        for (row, beside) in rows.iter_mut().zip([Beside::Idle, Beside::Export, Beside::Writer]) {
            let names: Vec<Name> = (0..options.slice).map(|_| source.member()).collect();
            measure(&ours, &names, &mut source, (beside, other), row);
        }
        eprintln!("round {round} of {}", options.rounds);
    }
    let [idle, export, writer] = rows.map(|row| row.json());
    println!(r#"{{"clock":{clock:?},"idle":{idle},"export":{export},"writer":{writer}}}"#);
    Ok(())
}

fn measure(
    ours: &Ours,
    names: &[Name],
    source: &mut Source,
    (beside, core): (Beside, usize),
    row: &mut Row,
) {
    let (ready, stop) = (Barrier::new(2), AtomicBool::new(false));
    let work = || {
        pin(core).expect("taskset runs");
        ready.wait();
        repeat(&stop, || beside.work(ours, source))
    };
    thread::scope(|scope| {
        let is_idle = matches!(beside, Beside::Idle);
        let other = (!is_idle).then(|| scope.spawn(work));
        if !is_idle {
            ready.wait();
        }
        let rank = |name: &Name| ours.read(|version| version.rank(name.as_ref()));
        let (p50, p99) = quantiles(rank, names);
        stop.store(true, Ordering::Relaxed);
        row.p50.push(p50);
        row.p99.push(p99);
        row.other.push(other.map_or(0.0, |other| other.join().expect("it does not panic")));
    });
}

impl Beside {
    /// A piece of work; returns how many entries or moves it was.
    fn work(self, ours: &Ours, source: &mut Source) -> usize {
        match self {
            Self::Idle => 0,
            Self::Export => {
                let snapshot = ours.snapshot();
                black_box(export(&snapshot));
                snapshot.len() as usize
            }
            Self::Writer => {
                ours.submit(&source.moves::<BATCH>());
                BATCH
            }
        }
    }
}

/// The median and the 99th percentile of the nanoseconds that the calls take.
fn quantiles<T>(call: impl Fn(&Name) -> T, names: &[Name]) -> (u64, u64) {
    let mut taken: Vec<u64> = names
        .iter()
        .map(|name| {
            let began = Instant::now();
            black_box(call(name));
            began.elapsed().as_nanos() as u64
        })
        .collect();
    taken.sort_unstable();
    (taken[taken.len() / 2], taken[taken.len() * 99 / 100])
}

impl Row {
    fn json(&self) -> String {
        let Self { p50, p99, other } = self;
        format!(r#"{{"p50":{p50:?},"p99":{p99:?},"other":{other:?}}}"#)
    }
}
