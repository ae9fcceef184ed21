//! The nodes of the tree: runs of entries, and the inner nodes that list them.
//!
//! Levels are not stored. Every run is at level 0 and every child is one level below its parent,
//! so a descent that starts with the list's level always knows where it is.

#![allow(unsafe_code, reason = "reads the columns of blocks")]

use std::cell::OnceCell;
use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::order::Order;
use crate::block::{Block, HEAD};
use crate::key::Ties;
use crate::rows::{self, Shape};
use crate::table::Members;

/// Level 0: entries in rank order. Columns: score, handle; 12 bytes an entry of one column.
pub(crate) struct Run<const C: usize>;

/// A node of level k: the level k-1 nodes from one entry of height above k up to the next.
///
/// Columns: child; score of the first entry below it, which is of height k; the number of entries
/// below it; handle and tie code of the first entry; and the child's [`Steps`]. Child 0 starts where
/// this node starts, so what its row says of a first entry counts for nothing.
pub(crate) struct Fork<const C: usize>;

/// How many different scores there are below a link, and in the highest bit whether its first
/// entry's score is also that of the entry just before, below the link to the left.
///
/// So the scores below a row of links are the sum of theirs, less one for each such bit; see
/// [`total`].
pub(crate) type Steps = u32;

/// The bit of [`Steps`] that says that two neighbours share a score.
pub(crate) const TIED: Steps = 1 << 31;

/// Cache lines of a node that are fetched ahead: all of an average run, and of an inner node what a
/// descent looks at.
pub(crate) const LINES: usize = 12;

pub(crate) const SCORE_COLUMN: usize = 0;
pub(crate) const HANDLE_COLUMN: usize = 1;
pub(crate) const CHILDREN: usize = 0;
pub(crate) const SCORES: usize = 1;
pub(crate) const SPANS: usize = 2;
pub(crate) const HANDLES: usize = 3;
pub(crate) const CODES: usize = 4;
pub(crate) const STEPS: usize = 5;

impl<const C: usize> Shape for Run<C> {
    const HEAD: usize = HEAD + 8;
    const WIDTHS: &'static [usize] = &[8 * C, 4];

    fn touch(block: Block) {
        hash_cell(&block).store(0, Relaxed);
    }
}

impl<const C: usize> Shape for Fork<C> {
    const HEAD: usize = HEAD + 8;
    /// What a search for a rank reads comes first, in as few cache lines as possible.
    const WIDTHS: &'static [usize] = &[8, 8 * C, 4, 4, 8, 4];

    fn touch(block: Block) {
        hash_cell(&block).store(0, Relaxed);
    }
}

/// Where a node of the tree keeps the hash of its contents, or 0 before it is asked for.
///
/// It is the one thing that is written in published blocks. Whoever writes it writes the same.
pub(crate) fn hash_cell(block: &Block) -> &AtomicU64 {
    // SAFETY: nodes have 8 aligned bytes there, which are only ever used as this atomic.
    unsafe { &*block.at::<AtomicU64>(HEAD) }
}

/// A run that is read.
#[derive(Clone, Copy)]
pub(crate) struct Leaf<'v, const C: usize> {
    block: Block,
    life: PhantomData<&'v Block>,
}

impl<'v, const C: usize> Leaf<'v, C> {
    /// A view of the run in a block.
    ///
    /// # Safety
    ///
    /// The block is a run of a list of `C` columns, and is neither written nor freed during `'v`.
    pub(crate) unsafe fn of(block: Block) -> Self {
        Self { block, life: PhantomData }
    }

    pub(crate) fn scores(self) -> &'v [[u64; C]] {
        // SAFETY: whoever made this view promised a run that stays as it is during 'v.
        unsafe { rows::column::<Run<C>, _>(self.block, SCORE_COLUMN) }
    }

    pub(crate) fn handles(self) -> &'v [u32] {
        // SAFETY: as above.
        unsafe { rows::column::<Run<C>, _>(self.block, HANDLE_COLUMN) }
    }

    /// Where an entry is, which is in this run and has this score.
    pub(crate) fn position(self, handle: u32) -> usize {
        let found = self.handles().iter().position(|other| *other == handle);
        found.expect("the keys of members lead to their runs")
    }

    /// How many entries of the run stand before `place`, which is not in it.
    pub(crate) fn before(self, place: &Place<'_, C>) -> usize {
        let (scores, handles) = (self.scores(), self.handles());
        let is_after = |entry: usize| place.is_after(handles[entry]);
        if place.order.ties() == Ties::First {
            // Most stamps are newer than all others: look at the last of the score first.
            let end = tied(scores, &place.score, |_| true);
            if end > 0 && scores[end - 1] == place.score && is_after(end - 1) {
                return end;
            }
        }
        tied(scores, &place.score, is_after)
    }

    /// Asks for what tells this score's entries apart, of those that a search looks at first.
    pub(crate) fn warm_ties(self, score: &[u64; C], ties: Ties, members: &Members<C>) {
        let (handles, scores) = (self.handles(), self.scores());
        let (first, end) = (tied(scores, score, |_| false), tied(scores, score, |_| true));
        if end - first < 2 {
            return;
        }
        match ties {
            Ties::First => members.warm_key(handles[end - 1]),
            Ties::Last => (1..=3).for_each(|quarter| {
                members.warm_key(handles[first + (end - first) * quarter / 4]);
            }),
            Ties::Member => (1..=7).for_each(|eighth| {
                members.warm_name(handles[first + (end - first) * eighth / 8]);
            }),
        }
    }
}

/// An inner node that is read.
#[derive(Clone, Copy)]
pub(crate) struct Inner<'v, const C: usize> {
    block: Block,
    /// Its level, at least 1.
    level: usize,
    life: PhantomData<&'v Block>,
}

impl<'v, const C: usize> Inner<'v, C> {
    /// A view of the inner node in a block.
    ///
    /// # Safety
    ///
    /// The block is an inner node of a list of `C` columns, at that level, and neither it nor
    /// anything below it is written or freed during `'v`.
    pub(crate) unsafe fn of(block: Block, level: usize) -> Self {
        Self { block, level, life: PhantomData }
    }

    pub(crate) fn children(self) -> &'v [Block] {
        // SAFETY: whoever made this view promised an inner node that stays as it is during 'v.
        unsafe { rows::column::<Fork<C>, _>(self.block, CHILDREN) }
    }

    pub(crate) fn scores(self) -> &'v [[u64; C]] {
        // SAFETY: as above.
        unsafe { rows::column::<Fork<C>, _>(self.block, SCORES) }
    }

    pub(crate) fn codes(self) -> &'v [u64] {
        // SAFETY: as above.
        unsafe { rows::column::<Fork<C>, _>(self.block, CODES) }
    }

    pub(crate) fn handles(self) -> &'v [u32] {
        // SAFETY: as above.
        unsafe { rows::column::<Fork<C>, _>(self.block, HANDLES) }
    }

    pub(crate) fn spans(self) -> &'v [u32] {
        // SAFETY: as above.
        unsafe { rows::column::<Fork<C>, _>(self.block, SPANS) }
    }

    pub(crate) fn steps(self) -> &'v [Steps] {
        // SAFETY: as above.
        unsafe { rows::column::<Fork<C>, _>(self.block, STEPS) }
    }

    /// The child at `slot`. All of it is fetched at once, where reading it would wait for its head,
    /// its scores and its other columns in turn.
    pub(crate) fn child(self, slot: usize) -> Node<'v, C> {
        self.children()[slot].prefetch(0, LINES);
        // SAFETY: the children of a node are one level below it and live as long.
        unsafe { Node::of(self.children()[slot], self.level - 1) }
    }

    /// The child that `place` is below, or would be.
    pub(crate) fn slot(self, place: &Place<'_, C>) -> usize {
        let (codes, handles) = (self.codes(), self.handles());
        let passed = |entry: usize| place.passes(codes[entry + 1], handles[entry + 1]);
        tied(&self.scores()[1..], &place.score, passed)
    }
}

/// A node that is read.
#[derive(Clone, Copy)]
pub(crate) enum Node<'v, const C: usize> {
    Leaf(Leaf<'v, C>),
    Inner(Inner<'v, C>),
}

impl<const C: usize> Node<'_, C> {
    /// A view of the node in a block.
    ///
    /// # Safety
    ///
    /// The block is a node of a list of `C` columns, at that level, and neither it nor anything
    /// below it is written or freed during `'v`.
    pub(crate) unsafe fn of(block: Block, level: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            if level == 0 {
                Self::Leaf(Leaf::of(block))
            } else {
                Self::Inner(Inner::of(block, level))
            }
        }
    }

    pub(crate) fn block(self) -> Block {
        match self {
            Self::Leaf(leaf) => leaf.block,
            Self::Inner(inner) => inner.block,
        }
    }
}

/// An entry's place in the order.
pub(crate) struct Place<'a, const C: usize> {
    pub(crate) members: &'a Members<C>,
    pub(crate) order: &'a Order,
    pub(crate) score: [u64; C],
    /// Its [code](Order::code).
    pub(crate) code: u64,
    pub(crate) handle: u32,
    /// Its member's name, once somebody has asked for it: few searches do.
    pub(crate) name: OnceCell<&'a str>,
}

impl<const C: usize> Place<'_, C> {
    /// Whether an entry of the same score stands at or before this place.
    fn passes(&self, code: u64, handle: u32) -> bool {
        if handle == self.handle {
            return true;
        }
        let name = || self.name.get_or_init(|| self.members.name(self.handle));
        let names = || self.members.name(handle).as_bytes().cmp(name().as_bytes());
        code.cmp(&self.code).then_with(names).is_lt()
    }

    /// Whether this place is after another entry of the same score, whose stamp or name has to be
    /// looked up.
    fn is_after(&self, handle: u32) -> bool {
        match self.order.ties() {
            Ties::Member => self.passes(self.code, handle),
            _ => self.passes(self.order.code(self.members.key(handle).stamp, ""), handle),
        }
    }
}

/// How many of the sorted entries stand before a boundary among those of the given score: `passed`
/// tells of one of them, by its index, whether it does.
pub(super) fn tied<const C: usize>(
    scores: &[[u64; C]],
    score: &[u64; C],
    passed: impl Fn(usize) -> bool,
) -> usize {
    let mut low = scores.partition_point(|other| other < score);
    if scores.get(low) != Some(score) {
        return low;
    }
    let mut high = low + scores[low..].partition_point(|other| other == score);
    while low < high {
        let middle = usize::midpoint(low, high);
        if passed(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// How many different scores there are below the links; the first one's bit does not count.
pub(crate) fn total(steps: &[Steps]) -> u32 {
    let sum = |sum: u32, steps: &Steps| sum + (steps & !TIED) - (steps >> 31);
    // The first one is empty in a list that starts with a tall entry, and then nothing is tied to
    // it, so the sum never falls below zero.
    steps.iter().skip(1).fold(steps.first().map_or(0, |first| first & !TIED), sum)
}

/// How many different scores there are in sorted `scores`.
pub(crate) fn count_steps<const C: usize>(scores: &[[u64; C]]) -> u32 {
    let changes = scores.windows(2).filter(|pair| pair[0] != pair[1]).count();
    (changes + usize::from(!scores.is_empty())) as u32
}
