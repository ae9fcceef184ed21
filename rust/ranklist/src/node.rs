//! The tree: runs of entries, and the inner nodes that list them.
//!
//! A node is changed in place while it belongs to one list only and is copied otherwise
//! (`Arc::make_mut`), so nothing that a snapshot can reach is ever written.
//!
//! Levels are not stored. Every leaf is at level 0 and every child is one level below its parent,
//! so a descent that starts with the list's level always knows where it is. Heights end at
//! [`MAX_HEIGHT`](crate::members::MAX_HEIGHT), so no recursion here is deeper than eight.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::key::{Key, Ties};
use crate::members::Members;

/// A link to a node, possibly shared with other versions.
pub(crate) type Link = Arc<Node>;

#[derive(Clone)]
pub(crate) enum Node {
    /// Level 0: entries in rank order.
    Leaf(Run),
    /// Level 1 and up. Boxed, so that the many leaves stay small.
    Inner(Box<Inner>),
}

/// Entries in rank order, scores and handles apart: 12 bytes an entry.
#[derive(Clone, Default)]
pub(crate) struct Run {
    pub(crate) scores: Vec<u64>,
    pub(crate) handles: Vec<u32>,
}

/// A node of level k: the level k-1 nodes from one entry of height above k up to the next.
///
/// Child 0 starts where this node starts, so only the other children need a separator.
#[derive(Clone, Default)]
pub(crate) struct Inner {
    /// `seps[i]` is the first entry below `children[i + 1]`; its height is exactly k.
    pub(crate) seps: Run,
    /// `spans[i]` is the number of entries below `children[i]`.
    pub(crate) spans: Vec<u32>,
    pub(crate) children: Vec<Link>,
}

/// An entry's place in the order.
pub(crate) struct Place<'a> {
    pub(crate) members: &'a Members,
    pub(crate) ties: Ties,
    pub(crate) key: Key,
    pub(crate) handle: u32,
}

impl Place<'_> {
    /// Whether an entry of the same score stands at or before this place.
    fn passes(&self, handle: u32) -> bool {
        if handle == self.handle {
            return true;
        }
        let stamps = match self.ties {
            Ties::Member => Ordering::Equal,
            ties => ties.order(self.members.key(handle).stamp, self.key.stamp),
        };
        stamps.then_with(|| self.members.order_names(handle, self.handle)).is_lt()
    }
}

impl Run {
    /// How many entries of the run stand at or before `place`.
    pub(crate) fn up_to(&self, place: &Place<'_>) -> usize {
        let score = place.key.score;
        let better = self.scores.partition_point(|other| *other < score);
        if self.scores.get(better) != Some(&score) {
            return better;
        }
        let tied = self.scores[better..].partition_point(|other| *other == score);
        let tied = &self.handles[better..better + tied];
        better + tied.partition_point(|handle| place.passes(*handle))
    }

    pub(crate) fn push(&mut self, score: u64, handle: u32) {
        self.scores.push(score);
        self.handles.push(handle);
    }

    fn insert(&mut self, index: usize, place: &Place<'_>) {
        insert_exact(&mut self.scores, index, place.key.score);
        insert_exact(&mut self.handles, index, place.handle);
    }

    fn remove(&mut self, index: usize) {
        self.scores.remove(index);
        self.handles.remove(index);
    }

    /// Cuts the run before `index` and returns the second part.
    fn split_off(&mut self, index: usize) -> Self {
        Self {
            scores: split_off_exact(&mut self.scores, index),
            handles: split_off_exact(&mut self.handles, index),
        }
    }

    fn append(&mut self, right: &Self) {
        extend_exact(&mut self.scores, &right.scores);
        extend_exact(&mut self.handles, &right.handles);
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.scores.shrink_to_fit();
        self.handles.shrink_to_fit();
    }
}

impl Inner {
    /// A node with the one child given, for growing the root.
    pub(crate) fn over(child: Link, span: u32) -> Self {
        Self { seps: Run::default(), spans: vec![span], children: vec![child] }
    }

    /// Cuts the child at `slot` before the entry at `place`, which heads a child of its own then.
    fn cut(&mut self, slot: usize, place: &Place<'_>) {
        let (right, span) = split(&mut self.children[slot], place);
        self.spans[slot] -= span;
        insert_exact(&mut self.spans, slot + 1, span);
        insert_exact(&mut self.children, slot + 1, right);
        self.seps.insert(slot, place);
    }

    /// Joins the child at `slot`, which must not be the first, to its left neighbour.
    fn mend(&mut self, slot: usize) {
        self.seps.remove(slot - 1);
        self.spans[slot - 1] += self.spans.remove(slot);
        let right = self.children.remove(slot);
        join(&mut self.children[slot - 1], right);
    }

    /// Cuts the node before the entry at `place` and returns the second part.
    fn split_off(&mut self, place: &Place<'_>) -> Self {
        let slot = self.seps.up_to(place);
        let (child, span) = split(&mut self.children[slot], place);
        self.spans[slot] -= span;
        let mut children = split_off_exact(&mut self.children, slot + 1);
        let mut spans = split_off_exact(&mut self.spans, slot + 1);
        insert_exact(&mut children, 0, child);
        insert_exact(&mut spans, 0, span);
        Self { seps: self.seps.split_off(slot), spans, children }
    }

    /// Appends the node that follows on this level, joining the two children that meet.
    fn append(&mut self, mut right: Self) {
        let seam = self.children.len() - 1;
        self.spans[seam] += right.spans[0];
        join(&mut self.children[seam], right.children.remove(0));
        self.seps.append(&right.seps);
        extend_exact(&mut self.spans, &right.spans[1..]);
        extend_exact(&mut self.children, &right.children);
    }

    /// The number of entries below this node.
    pub(crate) fn span(&self) -> u32 {
        self.spans.iter().sum()
    }
}

impl Node {
    /// How many entries stand below and to the left of a boundary. `passed` tells how many entries
    /// of a run, in rank order, lie before the boundary.
    pub(crate) fn count(&self, passed: impl Fn(&Run) -> usize) -> u64 {
        let (mut node, mut count) = (self, 0);
        loop {
            match node {
                Self::Leaf(run) => return u64::from(count) + passed(run) as u64,
                Self::Inner(inner) => {
                    let slot = passed(&inner.seps);
                    count += inner.spans[..slot].iter().sum::<u32>();
                    node = &inner.children[slot];
                }
            }
        }
    }
}

/// Inserts the entry at `place`, of the given height, below `node`, which is at `level` and at
/// least as high.
///
/// The entry is put into its leaf first, as if its height were 0. On the way back the node at the
/// entry's own level cuts everything below it in two.
pub(crate) fn insert(node: &mut Link, level: usize, height: usize, place: &Place<'_>) {
    match Arc::make_mut(node) {
        Node::Leaf(run) => run.insert(run.up_to(place), place),
        Node::Inner(inner) => {
            let slot = inner.seps.up_to(place);
            inner.spans[slot] += 1;
            insert(&mut inner.children[slot], level - 1, height, place);
            if level == height {
                inner.cut(slot, place);
            }
        }
    }
}

/// Removes the entry at `place`, of the given height, from below `node`: the mirror of [`insert`].
///
/// The node at the entry's own level joins what the entry kept apart; below it the entry is then
/// one of height 0.
pub(crate) fn remove(node: &mut Link, level: usize, height: usize, place: &Place<'_>) {
    match Arc::make_mut(node) {
        Node::Leaf(run) => run.remove(run.up_to(place) - 1),
        Node::Inner(inner) => {
            if level == height {
                inner.mend(inner.seps.up_to(place));
            }
            let slot = inner.seps.up_to(place);
            inner.spans[slot] -= 1;
            remove(&mut inner.children[slot], level - 1, height, place);
        }
    }
}

/// Cuts `node` before the entry at `place`, which is below it. Returns the second part, which
/// starts with that entry, and its span.
fn split(node: &mut Link, place: &Place<'_>) -> (Link, u32) {
    let (right, span) = match Arc::make_mut(node) {
        Node::Leaf(run) => {
            let right = run.split_off(run.up_to(place) - 1);
            let span = right.scores.len() as u32;
            (Node::Leaf(right), span)
        }
        Node::Inner(inner) => {
            let right = inner.split_off(place);
            let span = right.span();
            (Node::Inner(Box::new(right)), span)
        }
    };
    (Arc::new(right), span)
}

/// Appends to `left` the node that follows it on the same level.
fn join(left: &mut Link, right: Link) {
    match (Arc::make_mut(left), Arc::unwrap_or_clone(right)) {
        (Node::Leaf(left), Node::Leaf(right)) => left.append(&right),
        (Node::Inner(left), Node::Inner(right)) => left.append(*right),
        _ => unreachable!("neighbours are on one level"),
    }
}

// Nodes live long and change rarely, so their vectors grow by no more than they need.

fn insert_exact<T>(items: &mut Vec<T>, index: usize, item: T) {
    items.reserve_exact(1);
    items.insert(index, item);
}

fn extend_exact<T: Clone>(items: &mut Vec<T>, more: &[T]) {
    items.reserve_exact(more.len());
    items.extend_from_slice(more);
}

fn split_off_exact<T>(items: &mut Vec<T>, index: usize) -> Vec<T> {
    let right = items.split_off(index);
    items.shrink_to_fit();
    right
}
