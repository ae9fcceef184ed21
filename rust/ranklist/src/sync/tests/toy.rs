//! A structure of a few blocks. A block that is freed is marked, so that a look at it is noticed.

#![allow(unsafe_code, reason = "implements the unsafe methods of the traits under test")]

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use crate::sync::root::{Garbage, Read, Root, RootMemory, Snapshot, Versioned};

/// How many blocks and versions there are: made, and not freed yet.
#[derive(Default)]
pub(super) struct Census {
    blocks: AtomicUsize,
    versions: AtomicUsize,
}

impl Census {
    /// The number of blocks, and of versions.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.blocks.load(SeqCst), self.versions.load(SeqCst))
    }
}

/// Whether something is alive. Loom's cell notices a look that is not ordered before the end.
#[cfg(loom)]
pub(super) struct Life(loom::cell::UnsafeCell<bool>);

// SAFETY: loom's cell checks every access.
#[cfg(loom)]
unsafe impl Sync for Life {}

#[cfg(loom)]
impl Life {
    pub(super) fn new() -> Self {
        Self(loom::cell::UnsafeCell::new(true))
    }

    pub(super) fn look(&self) {
        // SAFETY: the pointer is good within the closure.
        assert!(self.0.with(|alive| unsafe { *alive }), "used after it was freed");
    }

    pub(super) fn end(&self) {
        // SAFETY: as above.
        let was_alive = self.0.with_mut(|alive| unsafe { alive.replace(false) });
        assert!(was_alive, "freed twice");
    }
}

/// Whether something is alive.
#[cfg(not(loom))]
pub(super) struct Life(std::sync::atomic::AtomicBool);

#[cfg(not(loom))]
impl Life {
    pub(super) fn new() -> Self {
        Self(std::sync::atomic::AtomicBool::new(true))
    }

    pub(super) fn look(&self) {
        assert!(self.0.load(SeqCst), "used after it was freed");
    }

    pub(super) fn end(&self) {
        assert!(self.0.swap(false, SeqCst), "freed twice");
    }
}

pub(super) struct Block {
    birth: u64,
    life: Life,
    census: Arc<Census>,
}

impl Block {
    fn new(birth: u64, census: &Arc<Census>) -> Arc<Self> {
        census.blocks.fetch_add(1, SeqCst);
        Arc::new(Self { birth, life: Life::new(), census: Arc::clone(census) })
    }

    fn end(&self) {
        self.life.end();
        self.census.blocks.fetch_sub(1, SeqCst);
    }
}

/// A block that was replaced.
pub(super) struct Scrap(Arc<Block>);

impl Garbage for Scrap {
    fn birth(&self) -> u64 {
        self.0.birth
    }

    unsafe fn free(self) {
        self.0.end();
    }
}

/// A version: some blocks, of which most are those of the version before.
pub(super) struct Toy {
    no: u64,
    /// How many publishes led to this version.
    pub(super) publishes: usize,
    blocks: Vec<Arc<Block>>,
    life: Arc<Life>,
    census: Arc<Census>,
}

impl Toy {
    /// The first version, of `blocks` blocks.
    pub(super) fn new(blocks: usize) -> Self {
        let census = Arc::new(Census::default());
        let blocks = (0..blocks).map(|_| Block::new(1, &census)).collect();
        Self::make(1, 0, blocks, &census)
    }

    fn make(no: u64, publishes: usize, blocks: Vec<Arc<Block>>, census: &Arc<Census>) -> Self {
        census.versions.fetch_add(1, SeqCst);
        Self { no, publishes, blocks, life: Arc::new(Life::new()), census: Arc::clone(census) }
    }

    /// A version with other blocks in these places, and the blocks that it does without.
    pub(super) fn with(&self, places: &[usize]) -> (Box<Self>, Vec<Scrap>) {
        let no = self.no + 3;
        let mut blocks = self.blocks.clone();
        let mut garbage = Vec::new();
        for &place in places {
            let new = Block::new(no, &self.census);
            garbage.push(Scrap(std::mem::replace(&mut blocks[place], new)));
        }
        let next = Self::make(no, self.publishes + 1, blocks, &self.census);
        (Box::new(next), garbage)
    }

    /// Frees a version that was not published, with the blocks that were made for it.
    pub(super) fn discard(self) {
        for block in self.blocks.iter().filter(|block| block.birth == self.no) {
            block.end();
        }
    }

    /// Looks at all blocks.
    pub(super) fn check(&self) {
        self.life.look();
        for block in &self.blocks {
            block.life.look();
        }
    }

    pub(super) fn census(&self) -> Arc<Census> {
        Arc::clone(&self.census)
    }

    /// Addresses of the blocks, to tell them apart.
    #[cfg(not(any(loom, shuttle)))]
    pub(super) fn blocks(&self) -> impl Iterator<Item = usize> {
        self.blocks.iter().map(|block| Arc::as_ptr(block).addr())
    }
}

impl Drop for Toy {
    fn drop(&mut self) {
        self.life.end();
        self.census.versions.fetch_sub(1, SeqCst);
    }
}

impl Versioned for Toy {
    type Garbage = Scrap;

    fn no(&self) -> u64 {
        self.no
    }

    unsafe fn dismantle(&mut self) {
        for block in &self.blocks {
            block.end();
        }
    }
}

/// Publishes a version with other blocks in these places over `base`. Returns whether it got
/// through.
pub(super) fn publish(root: &Root<Toy>, base: Read<'_, Toy>, places: &[usize]) -> bool {
    let (next, garbage) = base.with(places);
    root.publish(base, next, garbage).map_err(|(_base, next)| next.discard()).is_ok()
}

/// The same from a snapshot.
pub(super) fn publish_from(root: &Root<Toy>, base: Snapshot<Toy>, places: &[usize]) -> bool {
    let (next, garbage) = base.with(places);
    root.publish_from(base, next, garbage).map_err(|(_base, next)| next.discard()).is_ok()
}

/// Has somebody look for memory to free until `done`.
///
/// Under a model checker one look must do. In a process full of tests other threads are pinned now
/// and then, which nobody can wait for but by looking again.
pub(super) fn look_until(root: &Arc<Root<Toy>>, done: impl Fn() -> bool) {
    const LOOKS: usize = if cfg!(any(loom, shuttle)) { 1 } else { 1_000_000 };
    for _ in 0..LOOKS {
        drop(root.snapshot());
        if done() {
            return;
        }
        std::thread::yield_now();
    }
    panic!("memory left behind: {:?}", root.memory());
}

/// Checks that nothing is left but the current version, then drops it and checks that nothing is
/// left at all. Call it when no thread reads the root and no snapshot is held.
pub(super) fn check_end(root: Arc<Root<Toy>>) {
    let census = root.read().census();
    let blocks = root.read().blocks.len();
    look_until(&root, || root.memory() == RootMemory::default());
    assert_eq!(census.count(), (blocks, 1), "blocks or versions left behind");
    drop(Arc::into_inner(root).expect("the last reference"));
    assert_eq!(census.count(), (0, 0), "blocks or versions left behind");
}
