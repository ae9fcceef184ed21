//! Four counters in two blocks: small enough for a model checker, and made to notice mistakes.
//!
//! Blocks are not returned to the allocator before their [`Heap`] is. A block that is used after it
//! was freed, or freed twice, says so, and what was not freed is counted in the end. The same holds
//! for operations, which live as long as their entries of the log.

use std::sync::atomic::Ordering::{Acquire, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex};

#[cfg(loom)]
use loom::cell::UnsafeCell;

use super::super::{Done, Draft, Log, Rule, WORDS, Words};
use crate::sync::garbage::{Garbage, Versioned};

pub(super) const COUNTERS: usize = 4;
const PER_BLOCK: usize = 2;

/// The number of the first version.
pub(super) const FIRST: u64 = 1;

pub(super) type ToyLog = Log<Plan, Adding>;
type Values = [u64; PER_BLOCK];

/// Loom's cell, which fails when an access and a write are not ordered; elsewhere a plain one.
#[cfg(not(loom))]
struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    fn with<R>(&self, look: impl FnOnce(*const T) -> R) -> R {
        look(self.0.get())
    }

    fn with_mut<R>(&self, change: impl FnOnce(*mut T) -> R) -> R {
        change(self.0.get())
    }
}

/// Where the blocks and operations of one log are counted.
#[derive(Default)]
pub(super) struct Heap {
    blocks: AtomicI64,
    ops: AtomicI64,
    /// Real memory of freed blocks, so that a late access finds the mark instead of nothing.
    #[expect(clippy::vec_box, reason = "links to a block may be left, so it must not move")]
    freed: Mutex<Vec<Box<Block>>>,
}

impl Heap {
    /// How many blocks and operations exist.
    pub(super) fn live(&self) -> (i64, i64) {
        (self.blocks.load(SeqCst), self.ops.load(SeqCst))
    }
}

/// Two counters.
struct Block {
    birth: u64,
    values: UnsafeCell<Values>,
    freed: AtomicBool,
}

// SAFETY: `values` is written only while one thread alone knows the block, which the tests check.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

/// A link to a block, which lives until it is retired and its epoch has passed.
pub(super) struct Link {
    block: *const Block,
    heap: Arc<Heap>,
}

// SAFETY: the block may be shared.
unsafe impl Send for Link {}
// SAFETY: as above.
unsafe impl Sync for Link {}

impl Clone for Link {
    fn clone(&self) -> Self {
        Self { block: self.block, heap: Arc::clone(&self.heap) }
    }
}

impl Link {
    fn new(heap: &Arc<Heap>, birth: u64, values: Values) -> Self {
        heap.blocks.fetch_add(1, SeqCst);
        let block = Block { birth, values: UnsafeCell::new(values), freed: AtomicBool::new(false) };
        Self { block: Box::into_raw(Box::new(block)), heap: Arc::clone(heap) }
    }

    fn block(&self) -> &Block {
        // SAFETY: the memory stays until the heap goes, which this link keeps.
        let block = unsafe { &*self.block };
        assert!(!block.freed.load(SeqCst), "used after it was freed");
        block
    }

    fn values(&self) -> Values {
        // SAFETY: only `set` writes, before the block is published.
        self.block().values.with(|values| unsafe { *values })
    }

    fn set(&self, at: usize, value: u64) {
        // SAFETY: only the draft that made the block calls this.
        self.block().values.with_mut(|values| unsafe { (*values)[at] = value });
    }

    fn free(self) {
        let block = self.block();
        // Whoever might still look at the block is a race now, for loom, and finds this number.
        // SAFETY: as the caller promises, nobody looks.
        block.values.with_mut(|values| unsafe { *values = [0xdead; PER_BLOCK] });
        assert!(!block.freed.swap(true, SeqCst), "freed twice");
        self.heap.blocks.fetch_sub(1, SeqCst);
        // SAFETY: it came from a box, and the mark just set says that it comes back once.
        let memory = unsafe { Box::from_raw(self.block.cast_mut()) };
        self.heap.freed.lock().unwrap().push(memory);
    }
}

impl Garbage for Link {
    fn birth(&self) -> u64 {
        self.block().birth
    }

    unsafe fn free(self) {
        Link::free(self);
    }
}

/// A version: all counters.
pub(super) struct Counters {
    no: u64,
    links: Vec<Link>,
}

impl Counters {
    pub(super) fn values(&self) -> [u64; COUNTERS] {
        std::array::from_fn(|at| self.links[at / PER_BLOCK].values()[at % PER_BLOCK])
    }
}

impl Versioned for Counters {
    type Garbage = Link;

    fn no(&self) -> u64 {
        self.no
    }

    unsafe fn dismantle(&mut self) {
        self.links.drain(..).for_each(Link::free);
    }
}

/// The next version in the making.
pub(super) struct Plan {
    no: u64,
    links: Vec<Link>,
    replaced: Vec<Link>,
}

impl Plan {
    fn add(&mut self, at: usize, by: u64) -> u64 {
        let link = &mut self.links[at / PER_BLOCK];
        let values = link.values();
        if link.block().birth != self.no {
            let copy = Link::new(&link.heap, self.no, values);
            self.replaced.push(std::mem::replace(link, copy));
        }
        let value = values[at % PER_BLOCK] + by;
        link.set(at % PER_BLOCK, value);
        value
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        free_younger(self.links.drain(..), self.no - 1);
    }
}

fn free_younger(links: impl Iterator<Item = Link>, base_no: u64) {
    links.filter(|link| link.block().birth > base_no).for_each(Link::free);
}

impl Draft for Plan {
    type Version = Counters;

    unsafe fn begin(base: &Counters) -> Self {
        Self { no: base.no + 1, links: base.links.clone(), replaced: Vec::new() }
    }

    fn finish(mut self) -> (Counters, Vec<Link>) {
        let links = std::mem::take(&mut self.links);
        (Counters { no: self.no, links }, std::mem::take(&mut self.replaced))
    }

    unsafe fn discard(version: Counters, base_no: u64) {
        free_younger(version.links.into_iter(), base_no);
    }
}

/// Adds `by` to the counter `at`.
pub(super) struct Add {
    pub(super) at: usize,
    pub(super) by: u64,
    /// Written when the operation is dropped, so that loom sees a use that comes too late.
    alive: UnsafeCell<bool>,
    heap: Arc<Heap>,
}

// SAFETY: `alive` is written only by who drops the operation.
unsafe impl Sync for Add {}

impl Add {
    pub(super) fn new(heap: &Arc<Heap>, at: usize, by: u64) -> Self {
        heap.ops.fetch_add(1, SeqCst);
        Self { at, by, alive: UnsafeCell::new(true), heap: Arc::clone(heap) }
    }
}

impl Drop for Add {
    fn drop(&mut self) {
        // SAFETY: nobody else has it any more.
        self.alive.with_mut(|alive| unsafe { *alive = false });
        self.heap.ops.fetch_sub(1, SeqCst);
    }
}

/// The outcome of the operation at `position` that made a counter `value`: no two words are alike,
/// so a result that is mixed from two, or half there, differs.
pub(super) fn outcome(value: u64, position: u64) -> Words {
    std::array::from_fn(|at| value * 1_000_003 + position * (WORDS as u64) + at as u64)
}

/// The rule of the counters. It panics at operations that add [`POISON`].
pub(super) struct Adding;

pub(super) const POISON: u64 = 0xbad;

impl Rule<Plan> for Adding {
    type Op = Add;

    fn warm(&self, plan: &Plan, ops: &[&Add]) {
        for op in ops {
            plan.links[op.at / PER_BLOCK].block();
        }
    }

    fn apply(&self, plan: &mut Plan, op: &Add, position: u64) -> Words {
        // SAFETY: only written when the operation is dropped.
        assert!(op.alive.with(|alive| unsafe { *alive }), "an operation used after its entry");
        let value = plan.add(op.at, op.by);
        assert_ne!(op.by, POISON, "poison");
        outcome(value, position)
    }
}

/// A log of counters that are all 0.
pub(super) fn log(heap: &Arc<Heap>, batch: usize) -> ToyLog {
    let links = (0..COUNTERS / PER_BLOCK).map(|_| Link::new(heap, FIRST, [0; PER_BLOCK])).collect();
    Log::with_batch(Counters { no: FIRST, links }, Adding, batch)
}

/// What a thread did, and what it was told.
pub(super) type Told = (usize, u64, Done);

/// Writes one operation.
pub(super) fn add(log: &ToyLog, heap: &Arc<Heap>, at: usize, by: u64) -> Told {
    (at, by, log.submit(Add::new(heap, at, by)))
}

/// Writes several as one piece.
pub(super) fn add_all(log: &ToyLog, heap: &Arc<Heap>, adds: &[(usize, u64)]) -> Vec<Told> {
    let ops = adds.iter().map(|&(at, by)| Add::new(heap, at, by)).collect();
    let done = log.submit_all(ops);
    adds.iter().zip(done).map(|(&(at, by), done)| (at, by, done)).collect()
}

/// Checks that the operations, all that were written, were applied one after the other exactly
/// once, that everybody was told the truth, and that each thread's operations kept their order.
pub(super) fn check(log: &ToyLog, threads: &[Vec<Told>]) {
    for told in threads {
        assert!(told.is_sorted_by(|a, b| a.2.position < b.2.position), "order of one thread");
    }
    let mut all: Vec<&Told> = threads.iter().flatten().collect();
    all.sort_by_key(|told| told.2.position);
    assert!(all.is_sorted_by_key(|told| told.2.version), "versions follow positions");
    let mut values = [0; COUNTERS];
    for (&&(at, by, done), position) in all.iter().zip(1..) {
        values[at] += by;
        assert_eq!(done.position, position, "positions without gap or double");
        assert_eq!(done.words, outcome(values[at], position), "the result at its position");
    }
    let last = log.read();
    assert_eq!(last.values(), values);
    assert_eq!(last.position(), all.len() as u64);
    assert_eq!(last.no(), all.last().map_or(FIRST, |told| told.2.version));
    assert!(tail_is_live(log), "new operations would be appended to a retired entry");
}

/// Whether the tail is among the entries that the current version keeps.
fn tail_is_live(log: &ToyLog) -> bool {
    let last = log.read();
    let tail = log.tail.load(Acquire);
    let mut entry = last.first;
    while !entry.is_null() && entry != tail {
        // SAFETY: neither the first entry of the current version nor what follows it is retired.
        entry = unsafe { &*entry }.next.load(Acquire);
    }
    entry == tail
}

/// Drops the log and checks that nothing is left of it.
pub(super) fn gone(log: ToyLog, heap: &Heap) {
    drop(log);
    assert_eq!(heap.live(), (0, 0), "blocks and operations left");
}
