//! The log under loom: all orders of the steps of a few threads, with a bound on how often a thread
//! is interrupted where the model says so.

use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::model::Builder;
use loom::thread::{JoinHandle, spawn};

use super::super::{Entry, Logged, pin};
use super::toy::{Add, Heap, Told, ToyLog, add, add_all, check, gone, log, outcome};

/// The most orders that are tried of the models that are too big to be tried in all.
const ENOUGH: usize = 200_000;

/// Runs `model` in every order with at most so many interruptions, or with as many as
/// `LOOM_MAX_PREEMPTIONS` says.
fn explore(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    explore_some(usize::MAX, preemptions, model);
}

/// The same, but for so many orders at most, or as many as `LOOM_MAX_PERMUTATIONS` says.
#[expect(clippy::print_stderr, reason = "how much was explored is the result of the test")]
fn explore_some(
    orders: usize,
    preemptions: Option<usize>,
    model: impl Fn() + Sync + Send + 'static,
) {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let mut builder = Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    builder.max_permutations = builder.max_permutations.or(Some(orders));
    builder.max_branches = 10_000;
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let runs = runs.load(Ordering::Relaxed);
    eprintln!("{runs} orders with {:?} interruptions at most", builder.preemption_bound);
    assert!(runs > 1, "nothing was explored");
}

/// What a thread of a model writes: pieces, each of so many operations that add 1 to counter 0, 1, 2
/// and so on.
type Script = &'static [usize];

fn write(log: &ToyLog, heap: &Arc<Heap>, script: Script) -> Vec<Told> {
    let mut told = Vec::new();
    for &len in script {
        if len == 1 {
            told.push(add(log, heap, 0, 1));
        } else {
            let piece: Vec<_> = (0..len).map(|at| (at, 1)).collect();
            told.extend(add_all(log, heap, &piece));
        }
    }
    told
}

/// All scripts at once, the first of them in the model's main thread.
fn writers(batch: usize, scripts: &'static [Script]) {
    let heap = Arc::default();
    let log = Arc::new(log(&heap, batch));
    let others: Vec<JoinHandle<_>> = scripts[1..]
        .iter()
        .map(|script| {
            let (log, heap) = (Arc::clone(&log), Arc::clone(&heap));
            spawn(move || write(&log, &heap, script))
        })
        .collect();
    let mut told = vec![write(&log, &heap, scripts[0])];
    told.extend(others.into_iter().map(|thread| thread.join().unwrap()));
    check(&log, &told);
    gone(Arc::into_inner(log).unwrap(), &heap);
}

#[test]
fn two_threads_write_one_operation_each() {
    explore(Some(2), || writers(2, &[&[1], &[1]]));
}

#[test]
fn two_threads_write_one_operation_each_in_versions_of_their_own() {
    explore(Some(2), || writers(1, &[&[1], &[1]]));
}

#[test]
fn two_threads_write_two_operations_each() {
    explore_some(ENOUGH, Some(2), || writers(2, &[&[1, 1], &[2]]));
}

#[test]
fn three_threads_write_one_operation_each() {
    explore_some(ENOUGH, Some(2), || writers(2, &[&[1], &[1], &[1]]));
}

/// Three operations are in the log, and three threads do them.
#[test]
fn three_threads_build() {
    explore_some(ENOUGH, Some(2), || {
        let heap = Arc::default();
        let log = Arc::new(log(&heap, 2));
        let chain = [0, 1, 2].map(|at| Entry::new(Some(Add::new(&heap, at, 1))));
        log.append(&chain);
        let [first, second, third] = chain;
        let settle = |entry: loom::sync::Arc<Entry<Add>>| {
            let log = Arc::clone(&log);
            spawn(move || log.settle(&entry))
        };
        let others = [settle(first), settle(second)];
        let last = log.settle(&third);
        let [first, second] = others.map(|thread| thread.join().unwrap());
        drop(third);
        check(&log, &[vec![(0, 1, first), (1, 1, second), (2, 1, last)]]);
        gone(Arc::into_inner(log).unwrap(), &heap);
    });
}

#[test]
fn reads_and_snapshots_see_whole_versions() {
    explore(Some(2), || {
        let heap = Arc::default();
        let log = Arc::new(log(&heap, 2));
        let (reader_log, writer_log, writer_heap) = (log.clone(), log.clone(), Arc::clone(&heap));
        let reader = spawn(move || {
            let snapshot = reader_log.snapshot();
            let seen = {
                let version = reader_log.read();
                assert_eq!(version.values().iter().sum::<u64>(), version.position());
                version.position()
            };
            assert!(snapshot.position() <= seen);
            assert_eq!(snapshot.values().iter().sum::<u64>(), snapshot.position());
        });
        let writer = spawn(move || write(&writer_log, &writer_heap, &[1, 1]));
        let told = writer.join().unwrap();
        reader.join().unwrap();
        check(&log, &[told]);
        gone(Arc::into_inner(log).unwrap(), &heap);
    });
}

/// Two chains are appended at once, and a third thread takes what there is and publishes it.
#[test]
fn chains_are_appended_whole() {
    explore(None, || {
        let heap = Arc::default();
        let log = Arc::new(log(&heap, 4));
        let append = |at: usize| {
            let chain = [1, 2].map(|by| Entry::new(Some(Add::new(&heap, at, by))));
            let log = Arc::clone(&log);
            spawn(move || {
                log.append(&chain);
                chain
            })
        };
        let chains = [append(0), append(1)].map(|thread| thread.join().unwrap());
        let told = chains.iter().zip(0..).map(|(chain, at)| {
            let [one, two] = chain.each_ref().map(|entry| log.settle(entry));
            assert_eq!(one.position + 1, two.position);
            vec![(at, 1, one), (at, 2, two)]
        });
        let told: Vec<Vec<Told>> = told.collect();
        check(&log, &told);
        drop(chains);
        gone(Arc::into_inner(log).unwrap(), &heap);
    });
}

/// Two helpers deliver the same version while its submitter looks for its result.
#[test]
fn helpers_deliver_the_same() {
    explore(None, || {
        let heap = Arc::default();
        let log = Arc::new(log(&heap, 1));
        let entry = Entry::new(Some(Add::new(&heap, 0, 7)));
        log.append(slice::from_ref(&entry));
        {
            let _pin = pin();
            log.build(log.read());
        }
        let deliver = || {
            let log = Arc::clone(&log);
            spawn(move || Logged::deliver(&log.read()))
        };
        let helpers = [deliver(), deliver()];
        if let Some(done) = entry.outcome() {
            assert_eq!((done.position, done.words), (1, outcome(7, 1)));
        }
        for helper in helpers {
            helper.join().unwrap();
        }
        assert_eq!(entry.outcome().unwrap().words, outcome(7, 1));
        drop(entry);
        gone(Arc::into_inner(log).unwrap(), &heap);
    });
}
