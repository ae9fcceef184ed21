//! The ranked tree: entries in rank order, in runs, under inner nodes that count.
//!
//! [`Tree`] is the part of a version's state that is the tree: a few words, copied freely. It is
//! used through a version only, which keeps the blocks alive that it leads to, and changed through
//! a [`Maker`], which copies what others may be reading.

#![allow(unsafe_code, reason = "follows the root of a version")]

mod bulk;
mod digest;
mod edit;
mod node;
mod order;
mod outline;
mod page;
mod search;
mod warm;

pub(crate) use bulk::Item;
#[cfg(all(test, not(any(loom, shuttle))))]
pub(crate) use digest::visits;
pub(crate) use digest::{Diff, Difference};
pub(crate) use node::{Node, Place};
pub(crate) use order::{LEARN, Order};
pub use outline::{Outline, Part, Piece};
pub use page::Page;

use std::cell::OnceCell;

use crate::block::{Block, Maker};
use crate::key::{Key, Ties};
use crate::rows;
use crate::table::Members;
use edit::{Edit, Effect, Link, make_fork, make_run};
use node::Fork;

/// The tree of one version; see the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree<const C: usize> {
    /// Nothing while the list is empty.
    root: Option<Block>,
    /// The root's level: the largest height of any entry.
    level: usize,
    len: u32,
    /// How many different scores there are.
    steps: u32,
    order: Order,
}

impl<const C: usize> Tree<C> {
    pub(crate) fn new(ties: Ties) -> Self {
        Self { root: None, level: 0, len: 0, steps: 0, order: Order::new(ties) }
    }

    pub(crate) fn order(&self) -> &Order {
        &self.order
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// How many different scores there are.
    pub(crate) fn steps(&self) -> u32 {
        self.steps
    }

    /// The root, unless the list is empty.
    pub(crate) fn root(&self) -> Option<Node<'_, C>> {
        // SAFETY: a tree is used through a version, which keeps all its nodes alive and unchanged.
        self.root.map(|block| unsafe { Node::of(block, self.level) })
    }

    pub(crate) fn level(&self) -> usize {
        self.level
    }

    /// The place of an entry, which need not be in the tree.
    pub(crate) fn place<'a>(
        &'a self,
        members: &'a Members<C>,
        handle: u32,
        key: Key<C>,
    ) -> Place<'a, C> {
        let Key { score, stamp } = key;
        let name = match self.order.ties() {
            Ties::Member => OnceCell::from(members.name(handle)),
            Ties::First | Ties::Last => OnceCell::new(),
        };
        let code = self.order.code(stamp, name.get().copied().unwrap_or_default());
        Place { members, order: &self.order, score, code, handle, name }
    }

    /// Puts an entry into the tree and returns its rank, counted from 1. Its member is in the table
    /// with that key already.
    pub(crate) fn insert(
        &mut self,
        maker: &mut Maker,
        members: &Members<C>,
        (handle, key, height): (u32, Key<C>, usize),
    ) -> u64 {
        let mut root = self.root.unwrap_or_else(|| make_run::<C>(maker, &[]));
        while self.level < height {
            let link = Link {
                child: root,
                score: [0; C],
                code: 0,
                handle: 0,
                span: self.len,
                steps: self.steps,
            };
            root = make_fork(maker, &[link]);
            self.level += 1;
        }
        let place = self.place(members, handle, key);
        let mut edit = Edit { maker, place, height, before: 0, tied: false };
        let Effect { steps, .. } = edit.insert(&mut root, self.level);
        let rank = u64::from(edit.before) + 1;
        self.root = Some(root);
        self.len += 1;
        self.steps = self.steps.wrapping_add_signed(steps);
        rank
    }

    /// Takes an entry out of the tree, where it stands with the given key, which its member still
    /// has, and returns its rank.
    pub(crate) fn remove(
        &mut self,
        maker: &mut Maker,
        members: &Members<C>,
        (handle, key, height): (u32, Key<C>, usize),
    ) -> u64 {
        let mut root = self.root.expect("an empty tree has no entry to remove");
        let place = self.place(members, handle, key);
        let mut edit = Edit { maker, place, height, before: 0, tied: false };
        let Effect { steps, .. } = edit.remove(&mut root, self.level);
        let rank = u64::from(edit.before) + 1;
        self.len -= 1;
        self.steps = self.steps.wrapping_add_signed(steps);
        // SAFETY: the node is one of the tree under construction, and only read.
        while let Node::Inner(inner) = unsafe { Node::<C>::of(root, self.level) }
            && let [only] = *inner.children()
        {
            maker.release(root);
            root = only;
            self.level -= 1;
        }
        self.root = if self.len == 0 {
            maker.release(root);
            None
        } else {
            Some(root)
        };
        rank
    }

    /// Gives all nodes back to the maker; the tree is empty then.
    pub(crate) fn clear(&mut self, maker: &mut Maker) {
        if let Some(root) = self.root {
            release::<C>(maker, root, self.level);
        }
        *self = Self { order: self.order, ..Self::new(self.order.ties()) };
    }

    /// Frees every node that was made under a number above `birth`.
    ///
    /// # Safety
    ///
    /// Nobody uses those nodes from now on.
    pub(crate) unsafe fn free_after(&self, birth: u64) {
        if let Some(root) = self.root {
            // SAFETY: the caller's promise.
            unsafe { free_after::<C>(root, self.level, birth) };
        }
    }

    /// A hash of all entries with their members; see [`digest`].
    pub(crate) fn digest(&self, members: &Members<C>) -> u64 {
        self.root()
            .map_or_else(|| digest::empty_hash(members.seed()), |root| digest::hash(root, members))
    }

    /// Bytes of all runs and of all inner nodes. O(n).
    pub(crate) fn bytes(&self) -> (u64, u64) {
        self.root().map_or((0, 0), bytes)
    }
}

fn release<const C: usize>(maker: &mut Maker, block: Block, level: usize) {
    if level > 0 {
        // SAFETY: the node is one of the tree under construction, and released after this.
        let children: &[Block] = unsafe { rows::column::<Fork<C>, _>(block, node::CHILDREN) };
        for child in children {
            release::<C>(maker, *child, level - 1);
        }
    }
    maker.release(block);
}

/// Frees what is below a node and the node, unless they are older.
unsafe fn free_after<const C: usize>(block: Block, level: usize, birth: u64) {
    if block.birth() <= birth {
        return;
    }
    if level > 0 {
        // SAFETY: the node lives until it is freed below, and its children are its own.
        unsafe {
            for child in rows::column::<Fork<C>, Block>(block, node::CHILDREN) {
                free_after::<C>(*child, level - 1, birth);
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { block.free() };
}

fn bytes<const C: usize>(node: Node<'_, C>) -> (u64, u64) {
    let own = node.block().bytes() as u64;
    match node {
        Node::Leaf(_) => (own, 0),
        Node::Inner(inner) => {
            let children = (0..inner.children().len()).map(|slot| bytes(inner.child(slot)));
            let sum = |(runs, inners), (more_runs, more)| (runs + more_runs, inners + more);
            children.fold((0, own), sum)
        }
    }
}
