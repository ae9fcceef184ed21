//! What the bare log costs: with versions that hold nothing but their number, and operations that
//! do nothing or take some microseconds. Prints times, and decides nothing.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread::scope;
use std::time::Instant;

use super::super::{Draft, Log, Rule, WORDS, Words};
use crate::sync::garbage::{Garbage, Versioned};

struct Number(u64);

struct NoGarbage;

impl Garbage for NoGarbage {
    fn birth(&self) -> u64 {
        0
    }

    unsafe fn free(self) {}
}

impl Versioned for Number {
    type Garbage = NoGarbage;

    fn no(&self) -> u64 {
        self.0
    }

    unsafe fn dismantle(&mut self) {}
}

impl Draft for Number {
    type Version = Self;

    unsafe fn begin(base: &Self) -> Self {
        Self(base.0 + 1)
    }

    fn finish(self) -> (Self, Vec<NoGarbage>) {
        (self, Vec::new())
    }

    unsafe fn discard(_: Self, _: u64) {}
}

/// Operations that are so many multiplications.
struct Work(u64);

impl Rule<Number> for Work {
    type Op = ();

    fn apply(&self, _: &mut Number, (): &(), position: u64) -> Words {
        [(0..self.0).fold(position, |value, _| black_box(value.wrapping_mul(3))); WORDS]
    }
}

/// For how many ns this thread has had a processor. On a busy machine the clock says little.
fn processor_time() -> u128 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    stat.split(' ').next().unwrap().parse().unwrap()
}

/// How long so many operations of each thread took, by the clock and of all processors together,
/// and how many versions they made.
fn time(threads: usize, chain: usize, work: u64, ops: usize) -> [u128; 3] {
    let log: Log<Number, Work> = Log::new(Number(1), Work(work));
    let start = Barrier::new(threads + 1);
    let (clock, processors) = scope(|scope| {
        let writers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    let begin = processor_time();
                    for _ in 0..ops / chain {
                        if chain == 1 {
                            log.submit(());
                        } else {
                            log.submit_all(vec![(); chain]);
                        }
                    }
                    processor_time() - begin
                })
            })
            .collect();
        start.wait();
        let begin = Instant::now();
        let processors: u128 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        (begin.elapsed().as_nanos(), processors)
    });
    [clock, processors, u128::from(log.read().no() - 1)]
}

#[test]
#[ignore = "a measurement; run it alone, with --release --nocapture"]
#[expect(clippy::print_stderr, reason = "printing is what it is for")]
fn cost() {
    for (work, ops) in [(0, 200_000), (1000, 40_000)] {
        for (threads, chain) in [(1, 1), (1, 64), (2, 1), (2, 64), (4, 1), (8, 1)] {
            let mut runs: Vec<_> = (0..5).map(|_| time(threads, chain, work, ops)).collect();
            runs.sort_unstable();
            let all = (threads * ops) as u128;
            let [clock, processors, versions] = runs[2];
            let [clock, processors, batch] = [clock / all, processors / all, all / versions];
            eprintln!(
                "work {work}, {threads} threads, chains of {chain}: {clock} ns, \
                 {processors} ns of all processors, {batch} operations a version"
            );
        }
    }
}
