//! A skip list as Redis has it: one element a node, links with spans, a hash map beside it.
//!
//! Elements are ordered by score and then by the member's bytes. An element has another level with
//! a chance of 1 in 4, up to 32. Nodes live in one vector of words, next to their links, so that a
//! step costs one cache miss as it does in C: the score, then where the member's name stands, how
//! long it is and the node's height, then a word for each link, the next node's place above the
//! span. So there can be 2^32 words and as many bytes of names, each shorter than 2^24.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::random::xorshift;

const LEVELS: usize = 32;
/// The head's place. No link leads to it, so that a link to it means that there is no next node.
const HEAD: usize = 0;
/// The words of a node before its links.
const FIXED: usize = 2;

/// A ranked list of members that is changed in place.
#[derive(Debug)]
pub(crate) struct Classic {
    words: Vec<u64>,
    /// Places of nodes that are no longer used, by height.
    free: [Vec<usize>; LEVELS + 1],
    names: Vec<u8>,
    /// Where a member's name starts among the names, and its score.
    standings: HashMap<Box<str>, (usize, u64)>,
    level: usize,
    len: u32,
    random: u64,
}

/// Where a search went down: on each level, the last node before, and how many elements end there.
struct Path {
    nodes: [usize; LEVELS],
    ranks: [u32; LEVELS],
}

impl Classic {
    /// An empty list; the seed of its heights must not be 0.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            words: vec![0; FIXED + LEVELS],
            free: [const { Vec::new() }; LEVELS + 1],
            names: Vec::new(),
            standings: HashMap::new(),
            level: 1,
            len: 0,
            random: seed,
        }
    }

    /// Adds a member or moves it.
    pub(crate) fn set(&mut self, member: &str, score: u64) {
        if let Some((name, old)) = self.standings.get_mut(member) {
            let (name, old) = (*name, std::mem::replace(old, score));
            if old != score {
                self.delete(old, member);
                self.insert(score, member, name);
            }
        } else {
            let name = self.names.len();
            self.names.extend_from_slice(member.as_bytes());
            self.standings.insert(member.into(), (name, score));
            self.insert(score, member, name);
        }
    }

    /// A member's rank, counted from 1.
    pub(crate) fn rank(&self, member: &str) -> Option<u64> {
        let (_, score) = *self.standings.get(member)?;
        let (mut at, mut rank) = (HEAD, 1);
        for level in (0..self.level).rev() {
            (at, rank) = self.go_right(at, rank, level, score, member);
        }
        Some(u64::from(rank))
    }

    fn insert(&mut self, score: u64, member: &str, name: usize) {
        let path = self.path(score, member);
        let height = self.draw_height();
        while self.level < height {
            self.set_link(HEAD, self.level, HEAD, self.len);
            self.level += 1;
        }
        let at = self.free[height].pop().unwrap_or_else(|| {
            let end = self.words.len();
            self.words.resize(end + FIXED + height, 0);
            end
        });
        self.words[at] = score;
        self.words[at + 1] = (name << 32 | member.len() << 8 | height) as u64;
        for level in 0..height {
            let (next, span) = self.link(path.nodes[level], level);
            let before = path.ranks[0] - path.ranks[level];
            self.set_link(at, level, next, span - before);
            self.set_link(path.nodes[level], level, at, before + 1);
        }
        for level in height..self.level {
            let (next, span) = self.link(path.nodes[level], level);
            self.set_link(path.nodes[level], level, next, span + 1);
        }
        self.len += 1;
    }

    /// Takes out a member that stands there with this score.
    fn delete(&mut self, score: u64, member: &str) {
        let path = self.path(score, member);
        let (at, _) = self.link(path.nodes[0], 0);
        for level in 0..self.level {
            let (next, span) = self.link(path.nodes[level], level);
            let (next, more) = if next == at { self.link(at, level) } else { (next, 0) };
            self.set_link(path.nodes[level], level, next, span + more - 1);
        }
        while self.level > 1 && self.link(HEAD, self.level - 1).0 == HEAD {
            self.level -= 1;
        }
        self.free[usize::from(self.words[at + 1] as u8)].push(at);
        self.len -= 1;
    }

    fn path(&self, score: u64, member: &str) -> Path {
        let mut path = Path { nodes: [HEAD; LEVELS], ranks: [0; LEVELS] };
        let (mut at, mut rank) = (HEAD, 0);
        for level in (0..self.level).rev() {
            (at, rank) = self.go_right(at, rank, level, score, member);
            (path.nodes[level], path.ranks[level]) = (at, rank);
        }
        path
    }

    fn go_right(
        &self,
        mut at: usize,
        mut rank: u32,
        level: usize,
        score: u64,
        member: &str,
    ) -> (usize, u32) {
        loop {
            let (next, span) = self.link(at, level);
            if next == HEAD || !self.is_before(next, score, member) {
                return (at, rank);
            }
            (at, rank) = (next, rank + span);
        }
    }

    fn is_before(&self, at: usize, score: u64, member: &str) -> bool {
        match self.words[at].cmp(&score) {
            Ordering::Less => true,
            Ordering::Equal => {
                let word = self.words[at + 1];
                let (start, length) = ((word >> 32) as usize, (word as u32 >> 8) as usize);
                self.names[start..start + length] < *member.as_bytes()
            }
            Ordering::Greater => false,
        }
    }

    fn link(&self, at: usize, level: usize) -> (usize, u32) {
        let word = self.words[at + FIXED + level];
        ((word >> 32) as usize, word as u32)
    }

    fn set_link(&mut self, at: usize, level: usize, next: usize, span: u32) {
        self.words[at + FIXED + level] = (next as u64) << 32 | u64::from(span);
    }

    fn draw_height(&mut self) -> usize {
        let bits = xorshift(&mut self.random);
        (1 + bits.trailing_zeros() as usize / 2).min(LEVELS)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::Classic;

    proptest! {
        #[test]
        fn it_ranks_like_a_sorted_vector(seed in 1u64.., sets in vec((0u8..60, 0u64..9), 0..400)) {
            let mut list = Classic::new(seed);
            let mut sorted: Vec<(u64, String)> = Vec::new();
            for (number, score) in sets {
                let member = number.to_string();
                list.set(&member, score);
                sorted.retain(|(_, other)| *other != member);
                sorted.push((score, member));
                sorted.sort();
                for (index, (_, member)) in sorted.iter().enumerate() {
                    prop_assert_eq!(list.rank(member), Some(index as u64 + 1));
                }
            }
            prop_assert_eq!(list.rank("nobody"), None);
        }
    }
}
