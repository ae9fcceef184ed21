//! Changing the tree: entries go in and out, runs are split and joined.
//!
//! An insertion puts the entry into its run first, as if its height were 0. On the way back the
//! node at the entry's own level cuts everything below it in two. A removal is the mirror: the node
//! at the entry's level joins what the entry kept apart; below it the entry is then one of height
//! 0. Spans and steps are written by whoever writes the child that they are about, so there is no
//! moment at which they differ.
//!
//! Heights end at [`MAX_HEIGHT`](crate::table::MAX_HEIGHT), so no recursion here is deeper than
//! eight.

#![allow(unsafe_code, reason = "writes the columns of private blocks")]

use std::slice;

use super::node::{
    CHILDREN, CODES, Fork, HANDLE_COLUMN, HANDLES, Inner, Leaf, Place, Run, SCORE_COLUMN, SCORES,
    SPANS, STEPS, Steps, TIED, count_steps, total,
};
use crate::block::{Block, Maker};
use crate::rows::{self, Shape};

/// A row of an inner node.
#[derive(Clone, Copy)]
pub(crate) struct Link<const C: usize> {
    pub(crate) child: Block,
    pub(crate) score: [u64; C],
    pub(crate) code: u64,
    pub(crate) handle: u32,
    pub(crate) span: u32,
    pub(crate) steps: Steps,
}

impl<const C: usize> Link<C> {
    fn of(node: Inner<'_, C>, slot: usize) -> Self {
        Self {
            child: node.children()[slot],
            score: node.scores()[slot],
            code: node.codes()[slot],
            handle: node.handles()[slot],
            span: node.spans()[slot],
            steps: node.steps()[slot],
        }
    }
}

/// An inner node that may be written.
struct Open<const C: usize>(Block);

impl<const C: usize> Open<C> {
    fn own(maker: &mut Maker, slot: &mut Block) -> Self {
        // SAFETY: only inner nodes of the tree under construction are given to this function.
        Self(unsafe { rows::own::<Fork<C>>(maker, slot) })
    }

    fn children(&mut self) -> &mut [Block] {
        self.column(CHILDREN)
    }

    fn spans(&mut self) -> &mut [u32] {
        self.column(SPANS)
    }

    fn steps(&mut self) -> &mut [Steps] {
        self.column(STEPS)
    }

    fn column<T>(&mut self, column: usize) -> &mut [T] {
        let first = self.0.at(rows::offset::<Fork<C>>(self.0, column));
        // SAFETY: the block is private, so this is the only reference into it; its rows are set,
        // and the callers above name the column's type.
        unsafe { slice::from_raw_parts_mut(first, self.0.len()) }
    }

    fn slot(&self, place: &Place<'_, C>) -> usize {
        // SAFETY: nobody writes the block while the view is in use, which ends with this line.
        unsafe { Inner::of(self.0, 1) }.slot(place)
    }

    fn score(&mut self, slot: usize) -> [u64; C] {
        self.column(SCORES)[slot]
    }

    /// Takes what has happened below `slot` into account. Returns what it means for this node.
    fn settle(&mut self, slot: usize, effect: Effect<C>) -> Effect<C> {
        self.steps()[slot] = self.steps()[slot].wrapping_add_signed(effect.steps);
        let next = slot + 1;
        if next == self.0.len() {
            return effect;
        }
        let mut steps = effect.steps;
        if !matches!(effect.last, Last::Same) {
            let tied = matches!(effect.last, Last::Is(last) if last == self.score(next));
            let of_next = &mut self.steps()[next];
            steps += i32::from(*of_next & TIED != 0) - i32::from(tied);
            *of_next = *of_next & !TIED | if tied { TIED } else { 0 };
        }
        Effect { steps, last: Last::Same }
    }

    /// Gives the child at `slot` other numbers of entries and scores.
    fn resize(&mut self, slot: usize, span: u32, steps: u32) {
        self.spans()[slot] = span;
        let old = &mut self.steps()[slot];
        *old = *old & TIED | steps;
    }
}

/// Sets all columns of a row.
///
/// # Safety
///
/// The block is a private inner node with that row.
unsafe fn set_link<const C: usize>(block: Block, row: usize, link: Link<C>) {
    // SAFETY: the caller's promise.
    unsafe {
        rows::set::<Fork<C>, _>(block, CHILDREN, row, link.child);
        rows::set::<Fork<C>, _>(block, SCORES, row, link.score);
        rows::set::<Fork<C>, _>(block, CODES, row, link.code);
        rows::set::<Fork<C>, _>(block, HANDLES, row, link.handle);
        rows::set::<Fork<C>, _>(block, SPANS, row, link.span);
        rows::set::<Fork<C>, _>(block, STEPS, row, link.steps);
    }
}

/// A fresh run of the given entries.
pub(crate) fn make_run<const C: usize>(maker: &mut Maker, entries: &[([u64; C], u32)]) -> Block {
    let block = rows::make::<Run<C>>(maker, entries.len());
    for (row, (score, handle)) in entries.iter().enumerate() {
        // SAFETY: the block was just made with so many rows.
        unsafe {
            rows::set::<Run<C>, _>(block, SCORE_COLUMN, row, *score);
            rows::set::<Run<C>, _>(block, HANDLE_COLUMN, row, *handle);
        }
    }
    block
}

/// A fresh inner node of the given links.
pub(crate) fn make_fork<const C: usize>(maker: &mut Maker, links: &[Link<C>]) -> Block {
    let block = rows::make::<Fork<C>>(maker, links.len());
    for (row, link) in links.iter().enumerate() {
        // SAFETY: the block was just made with so many rows.
        unsafe { set_link(block, row, *link) };
    }
    block
}

/// What a change below a node means for the nodes above.
#[derive(Clone, Copy)]
pub(super) struct Effect<const C: usize> {
    /// How many more different scores there are below the node.
    pub(super) steps: i32,
    last: Last<C>,
}

/// What a change did to the last score below a node.
#[derive(Clone, Copy)]
enum Last<const C: usize> {
    /// Nothing.
    Same,
    /// It is this one now.
    Is([u64; C]),
    /// Nothing is left below the node.
    Gone,
}

/// The second part of a node that was cut in two.
struct Part {
    block: Block,
    span: u32,
    steps: u32,
}

/// A view of a run of the tree under construction, to be dropped before the run is changed.
fn run<'v, const C: usize>(block: Block) -> Leaf<'v, C> {
    // SAFETY: only runs are given to this function, and no view is used after a change.
    unsafe { Leaf::of(block) }
}

/// The insertion or removal of one entry.
pub(super) struct Edit<'a, const C: usize> {
    pub(super) maker: &'a mut Maker,
    pub(super) place: Place<'a, C>,
    pub(super) height: usize,
    /// The number of entries before the place, among those that the edit has passed by.
    pub(super) before: u32,
    /// Whether the entry just before the place has the same score.
    pub(super) tied: bool,
}

impl<const C: usize> Edit<'_, C> {
    /// Inserts the entry below the node at `slot`, which is at `level` and at least as high.
    pub(super) fn insert(&mut self, slot: &mut Block, level: usize) -> Effect<C> {
        if level == 0 {
            return self.insert_entry(slot);
        }
        let mut node = Open::<C>::own(self.maker, slot);
        let at = node.slot(&self.place);
        self.before += node.spans()[..at].iter().sum::<u32>();
        let effect = self.insert(&mut node.children()[at], level - 1);
        node.spans()[at] += 1;
        let effect = node.settle(at, effect);
        if level == self.height {
            self.cut(slot, level, at);
        }
        effect
    }

    /// Removes the entry from below the node at `slot`.
    pub(super) fn remove(&mut self, slot: &mut Block, level: usize) -> Effect<C> {
        if level == 0 {
            return self.remove_entry(slot);
        }
        if level == self.height {
            self.mend(slot, level);
        }
        let mut node = Open::<C>::own(self.maker, slot);
        let at = node.slot(&self.place);
        self.before += node.spans()[..at].iter().sum::<u32>();
        let effect = self.remove(&mut node.children()[at], level - 1);
        node.spans()[at] -= 1;
        node.settle(at, effect)
    }

    fn insert_entry(&mut self, slot: &mut Block) -> Effect<C> {
        let run = run::<C>(*slot);
        let at = run.before(&self.place);
        let scores = run.scores();
        let score = self.place.score;
        self.before += at as u32;
        self.tied = at > 0 && scores[at - 1] == score;
        let is_step = !self.tied && scores.get(at) != Some(&score);
        let last = if at == scores.len() { Last::Is(score) } else { Last::Same };
        // SAFETY: the slot holds a run of the tree under construction, and the row is set at once.
        unsafe {
            let block = rows::splice::<Run<C>>(self.maker, slot, at, 0, 1);
            rows::set::<Run<C>, _>(block, SCORE_COLUMN, at, score);
            rows::set::<Run<C>, _>(block, HANDLE_COLUMN, at, self.place.handle);
        }
        Effect { steps: i32::from(is_step), last }
    }

    fn remove_entry(&mut self, slot: &mut Block) -> Effect<C> {
        let run = run::<C>(*slot);
        let at = run.position(self.place.handle);
        let scores = run.scores();
        let score = self.place.score;
        self.before += at as u32;
        let left = at.checked_sub(1).map(|left| scores[left]);
        let is_step = left != Some(score) && scores.get(at + 1) != Some(&score);
        let last = match left {
            _ if at + 1 < scores.len() => Last::Same,
            Some(left) => Last::Is(left),
            None => Last::Gone,
        };
        // SAFETY: the slot holds a run of the tree under construction.
        unsafe { rows::splice::<Run<C>>(self.maker, slot, at, 1, 0) };
        Effect { steps: -i32::from(is_step), last }
    }

    /// Cuts the child at row `at` before the entry, which heads a child of its own then.
    fn cut(&mut self, slot: &mut Block, level: usize, at: usize) {
        let mut node = Open::<C>(*slot);
        let (span, steps) = (node.spans()[at], node.steps()[at] & !TIED);
        let right = self.split(&mut node.children()[at], level - 1);
        node.resize(at, span - right.span, steps - right.steps + u32::from(self.tied));
        let Place { score, code, handle, .. } = self.place;
        let steps = right.steps | if self.tied { TIED } else { 0 };
        let span = right.span + u32::from(cfg!(feature = "broken-span") && level >= 2);
        let link = Link { child: right.block, score, code, handle, span, steps };
        // SAFETY: the slot holds an inner node of the tree under construction, and the row is set
        // at once.
        unsafe { set_link(rows::splice::<Fork<C>>(self.maker, slot, at + 1, 0, 1), at + 1, link) };
    }

    /// Cuts the node at `slot` before the entry, which is below it but heads no child there.
    fn split(&mut self, slot: &mut Block, level: usize) -> Part {
        if level == 0 {
            return self.split_run(slot);
        }
        let mut node = Open::<C>::own(self.maker, slot);
        let at = node.slot(&self.place);
        let (span, steps) = (node.spans()[at], node.steps()[at] & !TIED);
        let first = self.split(&mut node.children()[at], level - 1);
        node.resize(at, span - first.span, steps - first.steps + u32::from(self.tied));
        let mut right = Open::<C>(self.second_half::<Fork<C>>(slot, at, 1));
        right.children()[0] = first.block;
        right.spans()[0] = first.span;
        right.steps()[0] = first.steps;
        Part { block: right.0, span: right.spans().iter().sum(), steps: total(right.steps()) }
    }

    fn split_run(&mut self, slot: &mut Block) -> Part {
        let at = run::<C>(*slot).position(self.place.handle);
        let block = self.second_half::<Run<C>>(slot, at, 0);
        let scores = run::<C>(block).scores();
        Part { block, span: scores.len() as u32, steps: count_steps(scores) }
    }

    /// Moves the rows from `at` on to a new table. The first `shared` of them stay where they are
    /// as well.
    fn second_half<S: Shape>(&mut self, slot: &mut Block, at: usize, shared: usize) -> Block {
        let count = slot.len() - at;
        let right = rows::make::<S>(self.maker, count);
        // SAFETY: the callers name the shape of the table at the slot; it is one of the tree under
        // construction and has these rows.
        unsafe {
            rows::copy::<S>(*slot, at, count, right, 0);
            rows::splice::<S>(self.maker, slot, at + shared, count - shared, 0);
        }
        right
    }

    /// Joins the child that the entry heads, in the node at `slot`, to its left neighbour.
    fn mend(&mut self, slot: &mut Block, level: usize) {
        // SAFETY: the slot holds an inner node of the tree under construction, which is not
        // changed while it is viewed.
        let node = unsafe { Inner::<C>::of(*slot, level) };
        let at = node.slot(&self.place);
        let right = Link::of(node, at);
        self.tied = right.steps & TIED != 0;
        // SAFETY: as above.
        let mut node = Open::<C>(unsafe { rows::splice::<Fork<C>>(self.maker, slot, at, 1, 0) });
        self.append(&mut node, at - 1, right, level - 1);
    }

    /// Appends the node that `right` leads to, at `level`, to the child at row `at` of `node`.
    fn append(&mut self, node: &mut Open<C>, at: usize, right: Link<C>, level: usize) {
        let span = node.spans()[at] + right.span;
        let steps = (node.steps()[at] & !TIED) + (right.steps & !TIED) - u32::from(self.tied);
        node.resize(at, span, steps);
        let left = &mut node.children()[at];
        if level == 0 {
            self.concat::<Run<C>>(left, right.child, 0);
            return;
        }
        // SAFETY: the child is an inner node, which is not changed while it is viewed.
        let first = Link::of(unsafe { Inner::of(right.child, level) }, 0);
        let last = left.len() - 1;
        let mut left = Open::<C>(self.concat::<Fork<C>>(left, right.child, 1));
        self.append(&mut left, last, first, level - 1);
    }

    /// Appends the rows of `right` but the first `skipped` to the table at `left`, and releases
    /// `right`.
    fn concat<S: Shape>(&mut self, left: &mut Block, right: Block, skipped: usize) -> Block {
        let (len, added) = (left.len(), right.len() - skipped);
        // SAFETY: both are tables of the tree under construction; the callers name their shape.
        let joined = unsafe {
            let joined = rows::splice::<S>(self.maker, left, len, 0, added);
            rows::copy::<S>(right, skipped, added, joined, len);
            joined
        };
        self.maker.release(right);
        joined
    }
}
