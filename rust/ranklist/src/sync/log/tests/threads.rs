//! The log under real threads, among them some that stop where it hurts most.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread::{JoinHandle, scope, spawn};

use super::super::{BATCH, CHAIN, Logged, Point, pin};
use super::toy::{COUNTERS, FIRST, Heap, POISON, Told, ToyLog, add, add_all, check, gone, log};

/// Where the current thread shall stop, at one point after the other.
struct Stops {
    points: VecDeque<Point>,
    arrived: Sender<()>,
    go_on: Receiver<()>,
}

thread_local! {
    static STOPS: RefCell<Option<Stops>> = const { RefCell::new(None) };
}

/// Called by the log at each point.
pub(in super::super) fn reached(point: Point) {
    STOPS.with_borrow_mut(|stops| {
        if let Some(stops) = stops
            && stops.points.front() == Some(&point)
        {
            stops.points.pop_front();
            stops.arrived.send(()).unwrap();
            stops.go_on.recv().unwrap();
        }
    });
}

/// A thread that writes one operation and is stopped on the way.
struct Stopped {
    has_arrived: Receiver<()>,
    go_on: Sender<()>,
    thread: JoinHandle<Vec<Told>>,
}

impl Stopped {
    /// Returns when the thread has stopped at the first of `points`.
    fn at(points: &[Point], log: &Arc<ToyLog>, heap: &Arc<Heap>) -> Self {
        let (log, heap) = (Arc::clone(log), Arc::clone(heap));
        let points = points.iter().copied().collect();
        let (arrived, has_arrived) = channel();
        let (go_on, may_go_on) = channel();
        let thread = spawn(move || {
            STOPS.set(Some(Stops { points, arrived, go_on: may_go_on }));
            vec![add(&log, &heap, 0, 1)]
        });
        has_arrived.recv().unwrap();
        Self { has_arrived, go_on, thread }
    }

    /// Returns when the thread has stopped at the next point.
    fn step(&self) {
        self.go_on.send(()).unwrap();
        self.has_arrived.recv().unwrap();
    }

    fn release(self) -> Vec<Told> {
        self.go_on.send(()).unwrap();
        self.thread.join().unwrap()
    }
}

const POINTS: [Point; 5] =
    [Point::Appended, Point::Loaded, Point::Built, Point::Published, Point::Delivering];

/// Two threads that write one operation at a time, one that writes pieces of 10, and one that reads.
fn others_work(log: &ToyLog, heap: &Arc<Heap>, ops: usize) -> Vec<Vec<Told>> {
    scope(|scope| {
        let single = |seed: usize| {
            move || (0..ops).map(|at| add(log, heap, (at + seed) % COUNTERS, 1)).collect()
        };
        let pieces = || {
            let piece: Vec<_> = (0..10).map(|at| (at % COUNTERS, 1)).collect();
            (0..ops / 10).flat_map(|_| add_all(log, heap, &piece)).collect()
        };
        let reads = || (0..ops).for_each(|_| look(log));
        let writers = [scope.spawn(single(0)), scope.spawn(single(1)), scope.spawn(pieces)];
        scope.spawn(reads).join().unwrap();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    })
}

/// As every operation adds 1, the sum of a version must be the number of its operations.
fn look(log: &ToyLog) {
    let version = log.read();
    assert_eq!(version.values().iter().sum::<u64>(), version.position());
}

#[test]
fn a_thread_that_stops_anywhere_stops_nobody() {
    for point in POINTS {
        let heap = Arc::default();
        let log = Arc::new(log(&heap, BATCH));
        let stopped = Stopped::at(&[point], &log, &heap);
        let mut told = others_work(&log, &heap, 1000);
        told.push(stopped.release());
        check(&log, &told);
        gone(Arc::into_inner(log).unwrap(), &heap);
    }
}

#[test]
fn threads_that_stop_everywhere_stop_nobody() {
    let heap = Arc::default();
    let log = Arc::new(log(&heap, 2));
    let stopped = POINTS.map(|point| Stopped::at(&[point], &log, &heap));
    let mut told = others_work(&log, &heap, 1000);
    told.extend(stopped.map(Stopped::release));
    check(&log, &told);
    gone(Arc::into_inner(log).unwrap(), &heap);
}

#[test]
fn the_operation_of_a_stopped_thread_is_done_by_others() {
    let heap = Arc::default();
    let log = Arc::new(log(&heap, BATCH));
    let stopped = Stopped::at(&[Point::Appended], &log, &heap);
    assert_eq!(log.read().position(), 0);
    let other = vec![add(&log, &heap, 0, 1)];
    assert_eq!((log.read().position(), other[0].2.position), (2, 2));
    check(&log, &[stopped.release(), other]);
}

#[test]
fn a_builder_that_lost_undoes_its_version_when_it_goes_on() {
    let heap = Arc::default();
    let log = Arc::new(log(&heap, BATCH));
    let stopped = Stopped::at(&[Point::Built, Point::Refused], &log, &heap);
    let mut told = others_work(&log, &heap, 10);
    stopped.step();
    // Every block that the lost version shares with the current one is replaced.
    told[0].extend((0..100).map(|at| add(&log, &heap, at % COUNTERS, 1)));
    told.push(stopped.release());
    check(&log, &told);
    gone(Arc::into_inner(log).unwrap(), &heap);
}

#[test]
fn the_tail_is_moved_before_what_it_shows_is_retired() {
    let heap = Arc::default();
    let log = Arc::new(log(&heap, 1));
    let stopped = [(); 4].map(|()| Stopped::at(&[Point::Appended], &log, &heap));
    for _ in 0..4 {
        let _pin = pin();
        log.build(log.read());
        Logged::deliver(&log.read());
    }
    check(&log, &stopped.map(Stopped::release));
    gone(Arc::into_inner(log).unwrap(), &heap);
}

#[test]
fn threads_work_together() {
    const OPS: usize = 50_000;
    let heap = Arc::default();
    let log = log(&heap, BATCH);
    let start = Barrier::new(4);
    let writer = |seed: usize| {
        let (log, heap, start) = (&log, &heap, &start);
        move || {
            start.wait();
            let mut told = Vec::with_capacity(OPS);
            while told.len() < OPS {
                let at = told.len() + seed;
                if at.is_multiple_of(3) {
                    let rest = (at % 7 + 2).min(OPS - told.len());
                    let piece: Vec<_> = (at..at + rest).map(|at| (at % COUNTERS, 1)).collect();
                    told.extend(add_all(log, heap, &piece));
                } else {
                    told.push(add(log, heap, at % COUNTERS, 1));
                }
                if at.is_multiple_of(16) {
                    look(log);
                }
            }
            told
        }
    };
    let told = scope(|scope| {
        let writers = [0, 1, 2, 3].map(|seed| scope.spawn(writer(seed)));
        writers.map(|writer| writer.join().unwrap())
    });
    assert!(told.iter().all(|told| told.len() == OPS));
    check(&log, &told);
    gone(log, &heap);
}

#[test]
fn chains_stay_together() {
    let heap = Arc::default();
    let log = log(&heap, 3);
    let chains: Vec<Vec<Told>> = scope(|scope| {
        let write = || {
            let chain = vec![(1, 1); 10];
            (0..200).map(|_| add_all(&log, &heap, &chain)).collect::<Vec<_>>()
        };
        let writers = [scope.spawn(write), scope.spawn(write)];
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    for chain in &chains {
        assert!(chain.windows(2).all(|pair| pair[0].2.position + 1 == pair[1].2.position));
    }
    let alone: Vec<Vec<Told>> = chains.into_iter().flatten().map(|told| vec![told]).collect();
    check(&log, &alone);
}

#[test]
fn long_chains_are_cut_and_batches_limited() {
    let heap = Arc::default();
    let log = log(&heap, BATCH);
    assert!(add_all(&log, &heap, &[]).is_empty());
    let told = add_all(&log, &heap, &vec![(0, 1); CHAIN + BATCH + 1]);
    for ((_, _, done), at) in told.iter().zip(0..) {
        assert_eq!(done.version, FIRST + 1 + at / BATCH as u64);
    }
    check(&log, &[told]);
    gone(log, &heap);
}

#[test]
fn a_snapshot_stays_as_it_is() {
    let heap = Arc::default();
    let log = log(&heap, BATCH);
    let mut told: Vec<_> = (0..10).map(|at| add(&log, &heap, at % COUNTERS, 1)).collect();
    let snapshot = log.snapshot();
    told.extend((0..1000).map(|at| add(&log, &heap, at % COUNTERS, 1)));
    assert_eq!((snapshot.position(), snapshot.values()), (10, [3, 3, 2, 2]));
    assert_eq!(log.root.memory().parked, 3, "its two blocks and itself, and no entry");
    check(&log, &[told]);
    drop(snapshot);
    gone(log, &heap);
}

#[test]
fn a_rule_that_panics_ends_writing_and_nothing_else() {
    let heap = Arc::default();
    let log = log(&heap, BATCH);
    let told = vec![add(&log, &heap, 0, 1)];
    for _ in 0..2 {
        let panic = catch_unwind(AssertUnwindSafe(|| add(&log, &heap, 1, POISON)));
        assert!(panic.is_err());
    }
    check(&log, &[told]);
    gone(log, &heap);
}
