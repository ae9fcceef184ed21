//! Whole lists under random schedules: every atomic step is a point at which another thread may go
//! on. The histories are checked as in `linearizability`, by their witnesses and by a search.
//!
//! Only with `--cfg shuttle`; `SHUTTLE_RUNS` says how many schedules.

#![allow(missing_docs, reason = "a test")]
#![cfg(shuttle)]

mod history;

use std::sync::Arc;

use history::{Members, Recorder, Timeline, search, witness};
use rankwire_ranklist::{Log, Ties};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner, rand, thread};

const MEMBERS: u32 = 5;
/// The second scheduler changes priorities so often in a run.
const DEPTH: usize = 4;

fn explore(threads: u64, count: usize) {
    let runs = std::env::var("SHUTTLE_RUNS").map_or(2000, |runs| runs.parse().expect("a number"));
    check(RandomScheduler::new(runs), threads, count);
    check(PctScheduler::new(DEPTH, runs), threads, count);
}

fn check(scheduler: impl Scheduler + 'static, threads: u64, count: usize) {
    Runner::new(scheduler, Config::new()).run(move || {
        let seed = rand::Rng::r#gen(&mut rand::thread_rng());
        let list = Arc::new(Log::new(Ties::First, [7; 16], Members));
        let timeline = Arc::new(Timeline::start());
        let record = |thread| {
            let (list, timeline) = (Arc::clone(&list), Arc::clone(&timeline));
            thread::spawn(move || {
                let mut recorder = Recorder::new(&list, &timeline, MEMBERS, seed, thread);
                recorder.run(count);
                recorder.events
            })
        };
        let threads: Vec<_> = (0..threads).map(record).collect();
        let join = |thread: thread::JoinHandle<_>| thread.join().expect("no thread panics");
        let events: Vec<_> = threads.into_iter().flat_map(join).collect();
        assert_eq!(witness::check(&events, MEMBERS), Ok(()));
        if events.len() <= 16 {
            assert!(search::explains(&events, MEMBERS), "{events:#?}");
        }
    });
}

#[test]
fn three_threads_of_five_operations() {
    explore(3, 5);
}

#[test]
fn six_threads_of_eight_operations() {
    explore(6, 8);
}
