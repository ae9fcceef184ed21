//! Reading entries in rank order.

use std::iter::{FusedIterator, Zip};
use std::slice;

use crate::key::Entry;
use crate::list::List;
use crate::members::{MAX_HEIGHT, Members};
use crate::node::{Link, Node};

/// Consecutive entries of one version, the best first.
///
/// An iterator that knows its exact length. Starting it takes O(log n) and a step O(1) amortised.
#[derive(Clone)]
pub struct Page<'a> {
    members: &'a Members,
    /// What is left of the current leaf.
    leaf: Zip<slice::Iter<'a, u64>, slice::Iter<'a, u32>>,
    /// `right[k]` is what is left at level k + 1: the siblings to the right of the path.
    right: [slice::Iter<'a, Link>; MAX_HEIGHT],
    /// The rank of the entry returned last.
    rank: u64,
    remaining: usize,
}

impl<'a> Page<'a> {
    /// Up to `limit` entries after the first `offset`.
    pub(crate) fn new(list: &'a List, offset: u64, limit: usize) -> Self {
        let after = list.len().saturating_sub(offset);
        let mut page = Self {
            members: &list.members,
            leaf: [].iter().zip(&[]),
            right: Default::default(),
            rank: offset,
            remaining: usize::try_from(after).map_or(limit, |after| limit.min(after)),
        };
        if page.remaining > 0 {
            page.enter(&list.root, list.level, offset as u32);
        }
        page
    }

    /// Goes down from `node`, at `level`, to its leaf that holds the entry number `skip`.
    fn enter(&mut self, mut node: &'a Node, mut level: usize, mut skip: u32) {
        loop {
            match node {
                Node::Leaf(run) => {
                    let skip = skip as usize;
                    self.leaf = run.scores[skip..].iter().zip(&run.handles[skip..]);
                    return;
                }
                Node::Inner(inner) => {
                    let mut slot = 0;
                    while skip >= inner.spans[slot] {
                        skip -= inner.spans[slot];
                        slot += 1;
                    }
                    level -= 1;
                    self.right[level] = inner.children[slot + 1..].iter();
                    node = &inner.children[slot];
                }
            }
        }
    }

    /// Goes on to the leaf after the current one.
    fn next_leaf(&mut self) -> Option<()> {
        let (level, node) =
            self.right.iter_mut().enumerate().find_map(|(k, right)| Some((k, right.next()?)))?;
        self.enter(node, level, 0);
        Some(())
    }
}

impl<'a> Iterator for Page<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.remaining = self.remaining.checked_sub(1)?;
        let (_, handle) = loop {
            match self.leaf.next() {
                Some(entry) => break entry,
                None => self.next_leaf()?,
            }
        };
        self.rank += 1;
        let (member, key) = (self.members.name(*handle), self.members.key(*handle));
        Some(Entry { rank: self.rank, member, key })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for Page<'_> {}
impl FusedIterator for Page<'_> {}

impl std::fmt::Debug for Page<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Page")
            .field("rank", &self.rank)
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}
