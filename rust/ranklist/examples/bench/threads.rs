//! Reads and moves a second of several threads on one list.

use std::error::Error;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rankwire_ranklist::Version;

use crate::options::Options;
use crate::ours::{BATCH, Ours, pin, repeat};
use crate::random::Source;

const PAGE: usize = 50;

/// What a thread does again and again.
#[derive(Clone, Copy, PartialEq)]
enum Job {
    Rank,
    Page,
    Single,
    Batch,
}

/// One line of the result: so many threads at a job, and perhaps a writer beside them.
struct Row {
    job: Job,
    threads: usize,
    writer: bool,
    /// Reads or moves a second of all these threads together, for each round.
    rates: Vec<f64>,
    /// Moves a second of the writer.
    written: Vec<f64>,
}

/// Does every job with 1, 2, 4 and so on threads, up to one for each core.
pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    eprintln!("loading {} members", options.members);
    let ours = Ours::random(options)?;
    ours.age(&mut Source::new(options.members, 0));
    let mut rows = rows(options.cores.len());
    for round in 1..=options.rounds {
        for row in &mut rows {
            measure(&ours, options, row);
        }
        eprintln!("round {round} of {}", options.rounds);
    }
    let rows: Vec<String> = rows.iter().map(Row::json).collect();
    println!("[{}]", rows.join(","));
    Ok(())
}

fn rows(cores: usize) -> Vec<Row> {
    let powers = std::iter::successors(Some(1), |threads| Some(threads * 2));
    let counts: Vec<usize> = powers.take_while(|threads| *threads < cores).chain([cores]).collect();
    let mut rows = vec![];
    for (job, writer) in [
        (Job::Rank, false),
        (Job::Rank, true),
        (Job::Page, false),
        (Job::Page, true),
        (Job::Single, false),
        (Job::Batch, false),
    ] {
        rows.extend(counts.iter().map(|threads| {
            let (rates, written) = (vec![], vec![]);
            Row { job, threads: *threads, writer, rates, written }
        }));
    }
    rows
}

/// Runs the row's threads, each on a core of its own, the writer on the last core.
fn measure(ours: &Ours, options: &Options, row: &mut Row) {
    let cores = &options.cores;
    let mut jobs: Vec<(Job, usize)> = (0..row.threads).map(|at| (row.job, cores[at])).collect();
    if row.writer {
        jobs.push((Job::Batch, cores[cores.len() - 1]));
    }
    let (ready, stop) = (Barrier::new(jobs.len() + 1), AtomicBool::new(false));
    let rates: Vec<f64> = thread::scope(|scope| {
        let start = |(number, (job, core)): (usize, &(Job, usize))| {
            let (job, core, ready, stop) = (*job, *core, &ready, &stop);
            let mut source = Source::new(options.members, (row.rates.len() << 8 | number) as u64);
            scope.spawn(move || {
                pin(core).expect("taskset runs");
                ready.wait();
                repeat(stop, || job.work(ours, &mut source))
            })
        };
        let threads: Vec<_> = jobs.iter().enumerate().map(start).collect();
        ready.wait();
        thread::sleep(options.time);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    row.rates.push(rates[..row.threads].iter().sum());
    row.written.extend(&rates[row.threads..]);
}

impl Job {
    /// Does a piece of it, and returns how many reads or moves that was.
    fn work(self, ours: &Ours, source: &mut Source) -> usize {
        match self {
            Self::Rank => {
                let member = source.member();
                black_box(ours.read(|version| version.rank(member.as_ref())));
                1
            }
            Self::Page => {
                let offset = source.offset(PAGE);
                black_box(ours.read(|version| page(version, offset)));
                1
            }
            Self::Single => {
                let [(member, score)] = source.moves();
                ours.submit_one(member.as_ref(), score);
                1
            }
            Self::Batch => {
                ours.submit(&source.moves::<BATCH>());
                BATCH
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rank => "rank",
            Self::Page => "page",
            Self::Single => "single",
            Self::Batch => "batch",
        }
    }
}

fn page(version: &Version, offset: u64) -> u64 {
    version.page(offset, PAGE).map(|entry| entry.rank + entry.member.len() as u64).sum()
}

impl Row {
    fn json(&self) -> String {
        let Self { job, threads, writer, rates, written } = self;
        let job = job.name();
        format!(
            r#"{{"job":"{job}","threads":{threads},"writer":{writer},"rates":{rates:?},"written":{written:?}}}"#
        )
    }
}
