//! Fetching nodes ahead of their use.
//!
//! Most of what a descent takes in a large list is waiting for the memory of the next node, whose
//! address only the node before tells. Several descents that go down together, a level at a time,
//! wait for each other's nodes instead of one after the other.

#![allow(unsafe_code, reason = "follows children without looking at whole nodes")]

use super::Tree;
use super::node::{Inner, LINES, Leaf, tied};
use crate::block::Block;
use crate::table::Members;

/// Room for two descents, from the old score and to the new one, for each update of a group.
const DESCENTS: usize = 32;
/// Descents through one tree, side by side.
pub(crate) struct Descents<'v, const C: usize> {
    tree: &'v Tree<C>,
    nodes: [Option<(Block, [u64; C], u64)>; DESCENTS],
    len: usize,
}

impl<const C: usize> Tree<C> {
    /// Descents that have not begun.
    pub(crate) fn descents(&self) -> Descents<'_, C> {
        Descents { tree: self, nodes: [None; DESCENTS], len: 0 }
    }
}

impl<const C: usize> Descents<'_, C> {
    /// Adds a descent to the entries of a score and a code; one too many is left out.
    pub(crate) fn to(&mut self, score: [u64; C], code: u64) {
        if let Some(root) = self.tree.root()
            && self.len < DESCENTS
        {
            self.nodes[self.len] = Some((root.block(), score, code));
            self.len += 1;
        }
    }

    /// Goes down with all of them, and asks for what tells entries of equal score apart.
    pub(crate) fn warm(&mut self, members: &Members<C>) {
        for level in (1..=self.tree.level()).rev() {
            for (block, score, code) in self.nodes[..self.len].iter_mut().flatten() {
                // SAFETY: the block is a node of the tree, at this level, and the tree is alive.
                let inner: Inner<'_, C> = unsafe { Inner::of(*block, level) };
                let codes = inner.codes();
                let slot = tied(&inner.scores()[1..], score, |entry| codes[entry + 1] <= *code);
                *block = inner.children()[slot];
                block.prefetch(0, LINES);
            }
        }
        for (block, score, _) in self.nodes[..self.len].iter().flatten() {
            // SAFETY: after all levels the block is a run of the tree.
            let run = unsafe { Leaf::<C>::of(*block) };
            run.warm_ties(score, self.tree.order().ties(), members);
        }
    }
}
