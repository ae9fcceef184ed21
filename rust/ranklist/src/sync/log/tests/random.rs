//! The log under shuttle: more threads and operations than loom can do, in random orders.
//!
//! A failure prints its seed; `SHUTTLE_RANDOM_SEED` repeats it. `SHUTTLE_RUNS` sets the number of
//! orders for each test.

use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::thread::{JoinHandle, spawn};
use shuttle::{Config, Runner, rand};

use super::super::BATCH;
use super::toy::{COUNTERS, Heap, Told, ToyLog, add, add_all, check, gone, log};

/// How many orders to try when the environment does not say.
const RUNS: usize = 10_000;

/// How many changes of priority the second scheduler makes in a run: enough for any known defect of
/// this kind of code.
const DEPTH: usize = 4;

fn runs() -> usize {
    std::env::var("SHUTTLE_RUNS").map_or(RUNS, |runs| runs.parse().expect("a number"))
}

fn run(scheduler: impl Scheduler + 'static, model: impl Fn() + Send + Sync + 'static) {
    Runner::new(scheduler, Config::new()).run(model);
}

fn explore(model: impl Fn() + Clone + Send + Sync + 'static) {
    run(RandomScheduler::new(runs()), model.clone());
    run(PctScheduler::new(DEPTH, runs()), model);
}

/// Writes so many operations, some alone and some as pieces, and looks at versions in between.
fn write(log: &ToyLog, heap: &Arc<Heap>, ops: usize) -> Vec<Told> {
    use rand::Rng;
    let mut told = Vec::new();
    while told.len() < ops {
        let at = rand::thread_rng().gen_range(0..COUNTERS);
        match rand::thread_rng().gen_range(0..4) {
            0 => look(log),
            1 => told.extend(add_all(log, heap, &[(at, 1), (0, 1), (at, 1)])),
            _ => told.push(add(log, heap, at, 1)),
        }
    }
    told
}

/// As every operation adds 1, the sum of a version must be the number of its operations.
fn look(log: &ToyLog) {
    let version = log.read();
    assert_eq!(version.values().iter().sum::<u64>(), version.position());
}

/// So many threads write, and one takes snapshots, which must not change.
fn model(batch: usize, threads: usize, ops: usize) {
    let heap = Arc::default();
    let log = Arc::new(log(&heap, batch));
    let writer = || {
        let (log, heap) = (Arc::clone(&log), Arc::clone(&heap));
        spawn(move || write(&log, &heap, ops))
    };
    let writers: Vec<JoinHandle<_>> = (0..threads).map(|_| writer()).collect();
    let snapshot = log.snapshot();
    let values = snapshot.values();
    look(&log);
    let told: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
    assert_eq!((snapshot.values(), values.iter().sum()), (values, snapshot.position()));
    drop(snapshot);
    check(&log, &told);
    gone(Arc::into_inner(log).unwrap(), &heap);
}

#[test]
fn three_threads_with_small_versions() {
    explore(|| model(2, 3, 4));
}

#[test]
fn three_threads_with_one_operation_a_version() {
    explore(|| model(1, 3, 3));
}

#[test]
fn six_threads() {
    explore(|| model(BATCH, 6, 3));
}
