//! The names that are read most: SpaceSaving (Metwally, Agrawal, El Abbadi, "Efficient Computation
//! of Frequent and Top-k Elements in Data Streams", ICDT 2005).

use std::cmp::Reverse;
use std::mem::swap;

use crate::names::ByHash;

/// Counters of one summary: names with more than a 1,024th of the reads are never missed.
const COUNTERS: usize = 1024;

const MINUTE_MS: u64 = 60_000;

/// A name and how often it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heavy {
    /// The name.
    pub name: String,
    /// Reads, at most.
    pub count: u64,
    /// By how much `count` may be too large.
    pub error: u64,
}

/// Those with the largest counts, the largest first, at most `limit`; equal ones by name.
pub fn heaviest(mut all: Vec<Heavy>, limit: usize) -> Vec<Heavy> {
    all.sort_unstable_by(|a, b| (Reverse(a.count), &a.name).cmp(&(Reverse(b.count), &b.name)));
    all.truncate(limit);
    all
}

struct Counter {
    hash: u64,
    error: u64,
    /// Where in the heap it is.
    place: usize,
    name: String,
}

/// Counts names with so many counters.
///
/// After N reads with m counters no count is too small, none is too large by more than its error,
/// no error is more than N / m, and every name that was read more than N / m times has a counter.
pub struct SpaceSaving {
    most: usize,
    /// Those past the length of the heap are free, and keep the memory of their names.
    counters: Vec<Counter>,
    /// A binary heap, the least count first: the count and whose it is. Those that grow are at the
    /// bottom, where a count that grows moves nothing.
    heap: Vec<(u64, usize)>,
    index: ByHash<usize>,
}

impl SpaceSaving {
    /// With `most` counters, at least one.
    pub fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { most, counters: Vec::new(), heap: Vec::new(), index: ByHash::default() }
    }

    /// Counts a read of the name that `hash` stands for; `write` writes the name where it is new.
    pub fn add(&mut self, hash: u64, write: impl FnOnce(&mut String)) {
        if let Some(&counter) = self.index.get(&hash) {
            let place = self.counters[counter].place;
            self.heap[place].0 += 1;
            self.sink(place);
        } else if self.heap.len() < self.most {
            self.begin(hash, write);
        } else {
            self.take_over(hash, write);
        }
    }

    /// All names that have a counter, in no order: [`heaviest`] makes one.
    pub fn all(&self) -> Vec<Heavy> {
        let heavy = |&(count, counter): &(u64, usize)| {
            let Counter { error, name, .. } = &self.counters[counter];
            Heavy { name: name.clone(), count, error: *error }
        };
        self.heap.iter().map(heavy).collect()
    }

    /// Forgets everything but the memory.
    pub fn clear(&mut self) {
        self.heap.clear();
        self.index.clear();
    }

    fn begin(&mut self, hash: u64, write: impl FnOnce(&mut String)) {
        let counter = self.heap.len();
        if counter == self.counters.len() {
            self.counters.push(Counter { hash, error: 0, place: 0, name: String::new() });
        }
        self.heap.push((1, counter));
        self.name(counter, hash, 0, write);
        self.counters[counter].place = counter;
        self.rise(counter);
    }

    /// The name with the least count leaves, and its count is the error of the one that comes.
    fn take_over(&mut self, hash: u64, write: impl FnOnce(&mut String)) {
        let (count, counter) = self.heap[0];
        self.index.remove(&self.counters[counter].hash);
        self.heap[0].0 += 1;
        self.name(counter, hash, count, write);
        self.sink(0);
    }

    fn name(&mut self, counter: usize, hash: u64, error: u64, write: impl FnOnce(&mut String)) {
        self.index.insert(hash, counter);
        let known = &mut self.counters[counter];
        known.hash = hash;
        known.error = error;
        known.name.clear();
        write(&mut known.name);
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 && self.heap[place].0 < self.heap[(place - 1) / 2].0 {
            self.exchange(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let Some(&(mut least, _)) = self.heap.get(left) else { return };
            let mut child = left;
            if let Some(&(count, _)) = self.heap.get(right)
                && count < least
            {
                (least, child) = (count, right);
            }
            if self.heap[place].0 <= least {
                return;
            }
            self.exchange(place, child);
            place = child;
        }
    }

    fn exchange(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        for place in [a, b] {
            self.counters[self.heap[place].1].place = place;
        }
    }
}

impl std::fmt::Debug for SpaceSaving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpaceSaving").field("names", &self.heap.len()).finish_non_exhaustive()
    }
}

/// The names that were read most in the last whole minute of the clock that it is told.
#[derive(Debug)]
pub struct Minutes {
    minute: u64,
    present: SpaceSaving,
    last: SpaceSaving,
}

impl Default for Minutes {
    fn default() -> Self {
        let summary = || SpaceSaving::new(COUNTERS);
        Self { minute: 0, present: summary(), last: summary() }
    }
}

impl Minutes {
    /// Counts a read. A time before one that was told counts as that.
    pub fn add(&mut self, now_ms: u64, hash: u64, write: impl FnOnce(&mut String)) {
        self.advance(now_ms);
        self.present.add(hash, write);
    }

    /// The names that were read in the minute before this one, as [`SpaceSaving::all`].
    pub fn all(&mut self, now_ms: u64) -> Vec<Heavy> {
        self.advance(now_ms);
        self.last.all()
    }

    fn advance(&mut self, now_ms: u64) {
        let minute = now_ms / MINUTE_MS;
        if minute <= self.minute {
            return;
        }
        swap(&mut self.present, &mut self.last);
        self.present.clear();
        if minute > self.minute + 1 {
            self.last.clear();
        }
        self.minute = minute;
    }
}
