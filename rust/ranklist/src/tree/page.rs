//! Reading entries in rank order.

use std::iter::{FusedIterator, Zip};
use std::slice;

use super::Tree;
use super::node::{Inner, Node};
use crate::key::{Entry, Key};
use crate::table::{MAX_HEIGHT, Members};

/// Consecutive entries of one version, the best first.
///
/// An iterator that knows its exact length. Starting it takes O(log n) and a step O(1) amortised.
#[derive(Clone)]
pub struct Page<'a, const C: usize = 1> {
    members: &'a Members<C>,
    /// What is left of the current run.
    run: Zip<slice::Iter<'a, [u64; C]>, slice::Iter<'a, u32>>,
    /// `right[k]` is the node at level k + 1 on the path to the run, and the slot of its next child.
    right: [Option<(Inner<'a, C>, usize)>; MAX_HEIGHT],
    /// The rank of the entry returned last.
    rank: u64,
    remaining: usize,
}

impl<'a, const C: usize> Page<'a, C> {
    /// Up to `limit` entries after the first `offset`.
    pub(crate) fn new(
        tree: &'a Tree<C>,
        members: &'a Members<C>,
        offset: u64,
        limit: usize,
    ) -> Self {
        let after = u64::from(tree.len()).saturating_sub(offset);
        let mut page = Self {
            members,
            run: [].iter().zip(&[]),
            right: [None; MAX_HEIGHT],
            rank: offset,
            remaining: usize::try_from(after).map_or(limit, |after| limit.min(after)),
        };
        if let Some(root) = tree.root()
            && page.remaining > 0
        {
            page.enter(root, tree.level(), offset as u32);
        }
        page
    }

    /// Goes down from `node`, at `level`, to its run that holds the entry number `skip`.
    fn enter(&mut self, mut node: Node<'a, C>, mut level: usize, mut skip: u32) {
        loop {
            match node {
                Node::Leaf(run) => {
                    let skip = skip as usize;
                    let handles = &run.handles()[skip..];
                    self.run = run.scores()[skip..].iter().zip(handles);
                    for handle in handles.iter().take(self.remaining) {
                        self.members.warm_member(*handle);
                    }
                    return;
                }
                Node::Inner(inner) => {
                    let mut slot = 0;
                    while skip >= inner.spans()[slot] {
                        skip -= inner.spans()[slot];
                        slot += 1;
                    }
                    level -= 1;
                    self.right[level] = Some((inner, slot + 1));
                    node = inner.child(slot);
                }
            }
        }
    }

    /// Goes on to the run after the current one.
    fn next_run(&mut self) -> Option<()> {
        for level in 0..MAX_HEIGHT {
            let (inner, slot) = self.right[level].as_mut()?;
            if *slot < inner.children().len() {
                let child = inner.child(*slot);
                *slot += 1;
                self.enter(child, level, 0);
                return Some(());
            }
        }
        None
    }
}

impl<'a, const C: usize> Iterator for Page<'a, C> {
    type Item = Entry<'a, C>;

    fn next(&mut self) -> Option<Entry<'a, C>> {
        self.remaining = self.remaining.checked_sub(1)?;
        let (score, handle) = loop {
            match self.run.next() {
                Some(entry) => break entry,
                None => self.next_run()?,
            }
        };
        self.rank += 1;
        let stamp = self.members.key(*handle).stamp;
        let key = Key { score: *score, stamp };
        Some(Entry { rank: self.rank, member: self.members.name(*handle), key })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl<const C: usize> ExactSizeIterator for Page<'_, C> {}
impl<const C: usize> FusedIterator for Page<'_, C> {}

impl<const C: usize> std::fmt::Debug for Page<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Page")
            .field("rank", &self.rank)
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}
