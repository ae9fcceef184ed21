//! Hashes of contents, and the differences of two lists.
//!
//! A node's hash covers the entries below it. It is computed when it is first asked for and kept in
//! the node, so a list that nobody compares never pays for it, and one that is compared again pays
//! for what has changed since. As the shape is canonical, two lists of one seed have equal nodes
//! wherever their contents are equal, but for the paths to what differs: comparing them skips
//! whole nodes and looks at O(log n) of them for each difference.
//!
//! Hashes are SipHash-1-3 under the list's secret seed, 64 bits: of two different nodes one pair in
//! 2^64 is taken for equal, and nobody can search for such a pair without the seed.

use std::cmp::Ordering;
use std::hash::Hasher;
use std::sync::atomic::Ordering::Relaxed;

use siphasher::sip::SipHasher13;

use super::Tree;
use super::node::{Inner, Leaf, Node, hash_cell};
use crate::key::{Entry, Key, Seed};
use crate::table::{MAX_HEIGHT, Members};

/// What tells two lists apart, in rank order.
pub(crate) enum Difference<'v, const C: usize> {
    /// An entry that only the first list has.
    First(Entry<'v, C>),
    /// An entry that only the second list has.
    Second(Entry<'v, C>),
}

/// The hash of the entries below a node; never 0.
pub(crate) fn hash<const C: usize>(node: Node<'_, C>, members: &Members<C>) -> u64 {
    #[cfg(test)]
    count_visit();
    let block = node.block();
    let cell = hash_cell(&block);
    let known = cell.load(Relaxed);
    if known != 0 {
        return known;
    }
    let mut hasher = SipHasher13::new_with_key(&members.seed());
    match node {
        Node::Leaf(run) => hash_run(run, members, &mut hasher),
        Node::Inner(inner) => {
            for slot in 0..inner.children().len() {
                hasher.write_u64(hash(inner.child(slot), members));
            }
        }
    }
    let hash = hasher.finish().max(1);
    cell.store(hash, Relaxed);
    hash
}

fn hash_run<const C: usize>(run: Leaf<'_, C>, members: &Members<C>, hasher: &mut SipHasher13) {
    // So that the run's names and keys come from memory together.
    run.handles().iter().for_each(|handle| members.warm_member(*handle));
    for (score, handle) in run.scores().iter().zip(run.handles()) {
        let key = Key { score: *score, stamp: members.key(*handle).stamp };
        write_entry(hasher, members.name(*handle), key);
    }
}

/// Adds an entry to what is hashed.
pub(super) fn write_entry<const C: usize>(hasher: &mut SipHasher13, name: &str, key: Key<C>) {
    hasher.write_u64(name.len() as u64);
    hasher.write(name.as_bytes());
    hasher.write_u64(key.stamp);
    for column in key.score {
        hasher.write_u64(column);
    }
}

/// The hash of a list without entries.
pub(crate) fn empty_hash(seed: Seed) -> u64 {
    SipHasher13::new_with_key(&seed).finish().max(1)
}

/// Goes through the entries of one list, a node at a time where that is asked for.
pub(super) struct Walk<'v, const C: usize> {
    members: &'v Members<C>,
    level: usize,
    root: Option<Node<'v, C>>,
    /// The run that the walk is in, and the entry.
    run: Option<(Leaf<'v, C>, usize)>,
    /// `path[k]` is the node at level k + 1 above, and the slot that the walk is below.
    path: [Option<(Inner<'v, C>, usize)>; MAX_HEIGHT],
    rank: u64,
}

impl<'v, const C: usize> Walk<'v, C> {
    /// Starts after the best `offset` entries.
    pub(super) fn at(tree: &'v Tree<C>, members: &'v Members<C>, offset: u64) -> Self {
        let root = tree.root();
        let level = tree.level();
        let rank = offset + 1;
        let mut walk = Self { members, level, root, run: None, path: [None; MAX_HEIGHT], rank };
        if let Some(root) = root
            && offset < u64::from(tree.len())
        {
            walk.enter(root, level, offset as u32);
            walk.settle();
        }
        walk
    }

    /// Goes down from `node`, at `level`, to its run that has the entry number `skip`, or to its
    /// first run, which may have none.
    fn enter(&mut self, mut node: Node<'v, C>, mut level: usize, mut skip: u32) {
        #[cfg(test)]
        count_visit();
        while let Node::Inner(inner) = node {
            #[cfg(test)]
            count_visit();
            let mut slot = 0;
            while skip > 0 && skip >= inner.spans()[slot] {
                skip -= inner.spans()[slot];
                slot += 1;
            }
            level -= 1;
            self.path[level] = Some((inner, slot));
            node = inner.child(slot);
        }
        if let Node::Leaf(run) = node {
            self.run = Some((run, skip as usize));
        }
    }

    /// Leaves runs that have no more entries.
    fn settle(&mut self) {
        while let Some((run, at)) = self.run
            && at == run.handles().len()
        {
            self.leave(0);
        }
    }

    /// Goes on to what follows the node at `level` that the walk is in.
    fn leave(&mut self, level: usize) {
        for above in level..self.level {
            let (inner, slot) = self.path[above].as_mut().expect("the path reaches up to the root");
            *slot += 1;
            if *slot < inner.children().len() {
                let child = inner.child(*slot);
                self.enter(child, above, 0);
                return;
            }
        }
        self.run = None;
    }

    /// How many entries stand before the current one.
    pub(super) fn before(&self) -> u64 {
        self.rank - 1
    }

    pub(super) fn members(&self) -> &'v Members<C> {
        self.members
    }

    /// The highest level of a node that starts with the current entry.
    pub(super) fn start(&self) -> Option<usize> {
        let (_, 0) = self.run? else { return None };
        let starts = |above: &Option<(Inner<'_, C>, usize)>| matches!(above, Some((_, 0)));
        Some(self.path[..self.level].iter().take_while(|above| starts(above)).count())
    }

    /// The node at `level` that the walk is in.
    pub(super) fn node(&self, level: usize) -> Node<'v, C> {
        if level == self.level {
            return self.root.expect("a walk in a run has a root");
        }
        let (inner, slot) = self.path[level].expect("the path reaches up to the root");
        inner.child(slot)
    }

    /// Goes past the node at `level`, which the walk is at the start of.
    pub(super) fn skip(&mut self, level: usize) {
        self.rank += span(self.node(level));
        self.leave(level);
        self.settle();
    }

    pub(super) fn advance(&mut self) {
        #[cfg(test)]
        count_visit();
        if let Some((_, at)) = &mut self.run {
            *at += 1;
            self.rank += 1;
        }
        self.settle();
    }

    pub(super) fn entry(&self) -> Option<Entry<'v, C>> {
        let (run, at) = self.run?;
        let handle = run.handles()[at];
        let key = Key { score: run.scores()[at], stamp: self.members.key(handle).stamp };
        Some(Entry { rank: self.rank, member: self.members.name(handle), key })
    }
}

#[cfg(test)]
thread_local! {
    static VISITS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// The nodes that this thread has hashed, compared by their hash or gone down to, and the entries
/// that it has compared, since it started.
#[cfg(all(test, not(any(loom, shuttle))))]
pub(crate) fn visits() -> u64 {
    VISITS.get()
}

#[cfg(test)]
fn count_visit() {
    VISITS.set(VISITS.get() + 1);
}

/// How many entries there are below a node.
pub(super) fn span<const C: usize>(node: Node<'_, C>) -> u64 {
    match node {
        Node::Leaf(run) => run.handles().len() as u64,
        Node::Inner(inner) => inner.spans().iter().map(|span| u64::from(*span)).sum(),
    }
}

/// The differences of two lists, lazily.
pub(crate) struct Diff<'v, const C: usize> {
    first: Walk<'v, C>,
    second: Walk<'v, C>,
    tree: &'v Tree<C>,
}

impl<'v, const C: usize> Diff<'v, C> {
    /// Compares two lists of one seed and one rule for ties.
    pub(crate) fn new(
        (tree, members): (&'v Tree<C>, &'v Members<C>),
        (other, others): (&'v Tree<C>, &'v Members<C>),
    ) -> Self {
        Self { first: Walk::at(tree, members, 0), second: Walk::at(other, others, 0), tree }
    }

    /// Skips the highest nodes that start at both entries and are equal.
    fn skip_equal(&mut self) -> bool {
        let Some(highest) = self.first.start().min(self.second.start()) else { return false };
        let is_equal = |level: &usize| {
            let first = hash(self.first.node(*level), self.first.members);
            first == hash(self.second.node(*level), self.second.members)
        };
        let Some(level) = (0..=highest).rev().find(is_equal) else { return false };
        self.first.skip(level);
        self.second.skip(level);
        true
    }

    fn order(&self, first: &Entry<'_, C>, second: &Entry<'_, C>) -> Ordering {
        let order = self.tree.order();
        let code =
            |entry: &Entry<'_, C>| (entry.key.score, order.code(entry.key.stamp, entry.member));
        let names = || first.member.as_bytes().cmp(second.member.as_bytes());
        code(first).cmp(&code(second)).then_with(names)
    }
}

impl<'v, const C: usize> Iterator for Diff<'v, C> {
    type Item = Difference<'v, C>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (first, second) = match (self.first.entry(), self.second.entry()) {
                (None, None) => return None,
                (Some(first), None) => {
                    self.first.advance();
                    return Some(Difference::First(first));
                }
                (None, Some(second)) => {
                    self.second.advance();
                    return Some(Difference::Second(second));
                }
                (Some(first), Some(second)) => (first, second),
            };
            if self.skip_equal() {
                continue;
            }
            if first.member == second.member && first.key == second.key {
                self.first.advance();
                self.second.advance();
            } else if self.order(&first, &second).is_gt() {
                self.second.advance();
                return Some(Difference::Second(second));
            } else {
                self.first.advance();
                return Some(Difference::First(first));
            }
        }
    }
}
