//! Outlines: what two machines tell each other of lists that should hold the same.
//!
//! An outline cuts a range of entries into *pieces* and tells of each how many entries it has and
//! their hash. A piece is the largest node that starts where the last piece ended, lies within the
//! range and is below the outline's level; where no node does, it is one entry. So at level 0 every
//! entry is a piece, and at level k the pieces are nodes of level k - 1, but for both ends of a range
//! that cuts through nodes. As the shape is canonical, what is in a range decides how it is cut, but
//! for those ends: two lists of one seed that hold the same have the same pieces.
//!
//! Lists that do not hold the same have other boundaries around what differs. So a piece also has a
//! *mark*, 32 bits that are taken from its first entry: where both outlines have a mark, both lists
//! are cut at the same place. What is between two such places and is not one equal piece is looked
//! at again, one level below. Only hashes of 64 bits say that two pieces are equal. Two first
//! entries that share a mark and are not the same, one chance in 2^32 for each pair of pieces of a
//! range that differs, may hide a difference just beside them.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hasher;
use std::ops::Range;

use siphasher::sip::SipHasher13;

use super::Tree;
use super::digest::{self, Walk};
use super::node::{Node, Place};
use crate::key::{Entry, Key};
use crate::table::Members;

/// No entry has this handle.
const NOBODY: u32 = u32::MAX;

/// A part of a range of entries; see [`Version::outline`](crate::Version::outline).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// How many entries of the list stand before it.
    pub offset: u64,
    /// How many it has; at least one.
    pub entries: u64,
    /// Where it begins, in a way that two lists can compare: equal first entries have equal marks.
    pub mark: u32,
    /// The hash of its entries.
    pub hash: u64,
}

impl Piece {
    /// Whether two pieces hold the same entries, but for one chance in 2^64.
    fn is_same(&self, other: &Self) -> bool {
        self.hash == other.hash && self.entries == other.entries
    }

    /// What is not the same in two outlines of one range, in order: it has to be looked at one level
    /// below. O(ours + theirs).
    pub fn differing(ours: &[Self], theirs: &[Self]) -> Vec<Part> {
        let marks: HashMap<u32, usize> =
            theirs.iter().enumerate().map(|(at, piece)| (piece.mark, at)).collect();
        let mut parts = Vec::new();
        let (mut our_start, mut their_start, mut their_next) = (0, 0, 0);
        let ends = ours.iter().enumerate();
        let ends = ends.filter_map(|(at, piece)| Some((at, *marks.get(&piece.mark)?)));
        for (our_end, their_end) in ends.chain([(ours.len(), theirs.len())]) {
            if their_end < their_next {
                continue;
            }
            let (ours_in, theirs_in) = (our_start..our_end, their_start..their_end);
            let part = Part { ours: ours_in, theirs: theirs_in, is_after: false };
            parts.extend(part.without_start(ours, theirs));
            (our_start, their_start, their_next) = (our_end, their_end, their_end + 1);
        }
        parts
    }
}

/// A part of two outlines that is not the same in both; see [`Piece::differing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which of our pieces; none if only the other list has entries here. It ends where both lists
    /// have the next piece, or with the range.
    pub ours: Range<usize>,
    /// Which of the other list's.
    pub theirs: Range<usize>,
    /// Whether it starts after our piece before, which is the same in both lists, and not with an
    /// entry that both have, or with the range.
    pub is_after: bool,
}

impl Part {
    /// The part without a first piece that is the same; nothing if that is all of it.
    fn without_start(mut self, ours: &[Piece], theirs: &[Piece]) -> Option<Self> {
        let (first, other) = (ours[self.ours.clone()].first(), theirs[self.theirs.clone()].first());
        if let (Some(first), Some(other)) = (first, other)
            && first.is_same(other)
        {
            self.ours.start += 1;
            self.theirs.start += 1;
            self.is_after = true;
        }
        let is_empty = self.ours.is_empty() && self.theirs.is_empty();
        (!is_empty).then_some(self)
    }
}

/// Pieces of one version, the best first.
pub struct Outline<'v, const C: usize = 1> {
    walk: Walk<'v, C>,
    level: usize,
    /// How many entries of the list stand before the end of the range.
    end: u64,
}

impl<'v, const C: usize> Outline<'v, C> {
    pub(crate) fn new(
        tree: &'v Tree<C>,
        members: &'v Members<C>,
        level: usize,
        (start, end): (u64, u64),
    ) -> Self {
        let end = end.min(u64::from(tree.len()));
        Self { walk: Walk::at(tree, members, start), level, end }
    }

    /// The largest node that the next piece can be, and its level.
    fn node(&self) -> Option<(usize, Node<'v, C>)> {
        let levels = self.level.min(self.walk.start()? + 1);
        let nodes = (0..levels).rev().map(|level| (level, self.walk.node(level)));
        let before = self.walk.before();
        nodes.into_iter().find(|(_, node)| before + digest::span(*node) <= self.end)
    }
}

impl<const C: usize> Iterator for Outline<'_, C> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let offset = self.walk.before();
        if offset >= self.end {
            return None;
        }
        let first = hash_entry(&self.walk.entry()?, self.walk.members());
        let mark = first as u32;
        let Some((level, node)) = self.node() else {
            self.walk.advance();
            return Some(Piece { offset, entries: 1, mark, hash: first });
        };
        let hash = digest::hash(node, self.walk.members());
        self.walk.skip(level);
        Some(Piece { offset, entries: digest::span(node), mark, hash })
    }
}

impl<const C: usize> fmt::Debug for Outline<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Outline");
        shown.field("level", &self.level).field("end", &self.end).finish_non_exhaustive()
    }
}

/// The hash of an entry by itself; that of a run with no other.
fn hash_entry<const C: usize>(entry: &Entry<'_, C>, members: &Members<C>) -> u64 {
    let mut hasher = SipHasher13::new_with_key(&members.seed());
    digest::write_entry(&mut hasher, entry.member, entry.key);
    hasher.finish().max(1)
}

impl<const C: usize> Tree<C> {
    /// How many entries stand before a member with a key, whether or not it is in the list.
    pub(crate) fn entries_before(&self, members: &Members<C>, key: Key<C>, member: &str) -> u64 {
        let Some(mut node) = self.root() else { return 0 };
        let place = Place {
            members,
            order: self.order(),
            score: key.score,
            code: self.order().code(key.stamp, member),
            handle: NOBODY,
            name: OnceCell::from(member),
        };
        let mut before = 0;
        loop {
            match node {
                Node::Leaf(run) => return before + run.before(&place) as u64,
                Node::Inner(inner) => {
                    let slot = inner.slot(&place);
                    before += u64::from(inner.spans()[..slot].iter().sum::<u32>());
                    node = inner.child(slot);
                }
            }
        }
    }
}
