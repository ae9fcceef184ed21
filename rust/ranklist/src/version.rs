//! One version of a list, and everything that it can be asked.

#![allow(unsafe_code, reason = "passes on the promise of whoever frees blocks")]

use std::fmt;
use std::ops::RangeInclusive;

use crate::key::{Entry, Key, Seed, Standing, Ties};
use crate::table::Members;
use crate::tree::{self, Diff, Outline, Page, Tree};

/// One version of a ranked list of members. It never changes.
///
/// A version is read through whoever keeps its memory: a [`Read`](crate::Read), a
/// [`Snapshot`](crate::Snapshot) or a [`Draft`](crate::Draft). `C` is the number of columns of a
/// score, 1 to 3. The [front page](crate) tells what the costs given here mean.
pub struct Version<const C: usize = 1> {
    /// Grows with every version that is published; see [`crate::sync`].
    pub(crate) no: u64,
    pub(crate) state: State<C>,
}

/// All of a version but its number: a few words that lead to its blocks.
#[derive(Clone, Copy)]
pub(crate) struct State<const C: usize> {
    pub(crate) tree: Tree<C>,
    pub(crate) members: Members<C>,
    pub(crate) changes: u64,
}

impl<const C: usize> State<C> {
    /// Frees every block that was made under a number above `birth`.
    ///
    /// # Safety
    ///
    /// Nobody uses those blocks from now on.
    pub(crate) unsafe fn free_after(&self, birth: u64) {
        // SAFETY: the caller's promise.
        unsafe {
            self.tree.free_after(birth);
            self.members.free_after(birth);
        }
    }
}

/// All ranks of a member under the ways of counting equal scores that are in use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranks {
    /// 1, 2, 3, 4: no two members share a rank; ties are broken by the list's rule.
    pub ordinal: u64,
    /// 1, 2, 2, 4: one more than the members with a better score ("standard competition").
    pub competition: u64,
    /// 1, 2, 2, 3: one more than the different scores that are better.
    pub dense: u64,
    /// 1, 3, 3, 4: the members whose score is at least as good.
    pub modified: u64,
    /// The percentage, 0 to 100, of the other members whose score is no better: SQL's
    /// `PERCENT_RANK`, seen from the top. 100 for a member that is alone.
    pub percentile: f64,
}

/// Bytes that a version takes, by what they are for. Blocks that other versions share are counted
/// as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The entries in rank order.
    pub runs: u64,
    /// The nodes above them.
    pub inners: u64,
    /// Scores and stamps by member.
    pub keys: u64,
    /// The members' names.
    pub names: u64,
    /// The way from a name to its member.
    pub index: u64,
}

impl Memory {
    /// The sum.
    pub fn total(&self) -> u64 {
        self.runs + self.inners + self.keys + self.names + self.index
    }
}

/// A member that two lists do not agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference<'a, const C: usize = 1> {
    /// The member's name.
    pub member: &'a str,
    /// Its key in the list that was asked, if it is there.
    pub here: Option<Key<C>>,
    /// Its key in the other list, if it is there.
    pub there: Option<Key<C>>,
}

impl<const C: usize> Version<C> {
    /// The number of changes made to this list since it was empty.
    ///
    /// A change is a member added, a key replaced by another or a member removed. Setting the key
    /// that a member already has is none, and neither is removing a member that is not there. O(1).
    pub fn version(&self) -> u64 {
        self.state.changes
    }

    /// The number of members. O(1).
    pub fn len(&self) -> u64 {
        u64::from(self.state.tree.len())
    }

    /// Whether the list has no members. O(1).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many different scores the members have. O(1).
    pub fn distinct(&self) -> u64 {
        u64::from(self.state.tree.steps())
    }

    /// How equal scores are ranked.
    pub fn ties(&self) -> Ties {
        self.state.tree.order().ties()
    }

    /// The seed of the member hash.
    pub fn seed(&self) -> Seed {
        self.state.members.seed()
    }

    /// A member's key. O(1), expected.
    pub fn get(&self, member: &str) -> Option<Key<C>> {
        self.find(member).map(|handle| self.state.members.key(handle))
    }

    /// A member's exact ordinal rank, counted from 1. O(log n).
    pub fn rank(&self, member: &str) -> Option<u64> {
        self.standing(member).map(|standing| standing.rank)
    }

    /// A member's exact rank and key. O(log n), and one search where `rank` and `get` take two.
    pub fn standing(&self, member: &str) -> Option<Standing<C>> {
        let members = &self.state.members;
        let hash = members.hash(member);
        let standing = |handle: u32| {
            let key = members.key(handle);
            let rank = self.state.tree.rank(&self.state.tree.place(members, handle, key));
            Standing { rank, key }
        };
        // If only one member can be it, its place is looked up while its name, which lies
        // elsewhere, is on its way from memory.
        let Some(guess) = members.only(hash) else {
            return members.find(hash, member).map(standing);
        };
        let guessed = standing(guess);
        (members.name(guess) == member).then_some(guessed)
    }

    /// A member's entry. O(log n).
    pub fn entry<'a>(&self, member: &'a str) -> Option<Entry<'a, C>> {
        let Standing { rank, key } = self.standing(member)?;
        Some(Entry { rank, member, key })
    }

    /// All ranks of a member, of one instant. O(log n).
    pub fn ranks(&self, member: &str) -> Option<Ranks> {
        let Standing { rank: ordinal, key: Key { score, .. } } = self.standing(member)?;
        let better = self.state.tree.before(|other| *other < score);
        let modified = self.state.tree.before(|other| *other <= score).entries;
        let others = self.len() - 1;
        let no_better = self.len() - better.entries - 1;
        #[expect(clippy::cast_precision_loss, reason = "a list has fewer members than 2^53")]
        let percentile = if others == 0 { 100.0 } else { no_better as f64 * 100.0 / others as f64 };
        Some(Ranks {
            ordinal,
            competition: better.entries + 1,
            dense: better.steps + 1,
            modified,
            percentile,
        })
    }

    /// The entry at a rank, counted from 1. O(log n).
    pub fn select(&self, rank: u64) -> Option<Entry<'_, C>> {
        self.page(rank.checked_sub(1)?, 1).next()
    }

    /// Up to `limit` entries, starting after the best `offset` ones. O(log n), and O(1) an entry.
    pub fn page(&self, offset: u64, limit: usize) -> Page<'_, C> {
        Page::new(&self.state.tree, &self.state.members, offset, limit)
    }

    /// A member with up to `radius` entries on each side of it. O(log n), and O(1) an entry.
    pub fn around(&self, member: &str, radius: usize) -> Option<Page<'_, C>> {
        let rank = self.rank(member)?;
        let before = radius.min((rank - 1) as usize);
        let limit = before.saturating_add(1).saturating_add(radius);
        Some(self.page(rank - 1 - before as u64, limit))
    }

    /// The number of entries whose score codes lie in the range; 0 if it is reversed. O(log n).
    pub fn count(&self, scores: RangeInclusive<[u64; C]>) -> u64 {
        if scores.is_empty() {
            return 0;
        }
        let up_to = self.state.tree.before(|score| score <= scores.end());
        up_to.entries - self.state.tree.before(|score| score < scores.start()).entries
    }

    /// All entries, the best first.
    pub fn iter(&self) -> Page<'_, C> {
        self.page(0, usize::MAX)
    }

    /// A hash of the contents: the members with their keys. Lists of one seed and one rule for ties
    /// have the same if and only if they hold the same, but for one chance in 2^64. O(n) when it is
    /// asked for first, then O(log n) for each change since.
    pub fn digest(&self) -> u64 {
        self.state.tree.digest(&self.state.members)
    }

    /// The members that this list and another do not agree on, by name, at most `limit` entries of
    /// the two lists looked at: a result of fewer than `limit / 2` is complete. O(d log n) for d
    /// differences once both digests are known.
    ///
    /// # Panics
    ///
    /// When the lists have different seeds or rules for ties: their shapes cannot be compared.
    pub fn differences<'a>(&'a self, other: &'a Self, limit: usize) -> Vec<Difference<'a, C>> {
        assert!(self.seed() == other.seed() && self.ties() == other.ties(), "one seed, one rule");
        let (state, others) = (&self.state, &other.state);
        let diff = Diff::new((&state.tree, &state.members), (&others.tree, &others.members));
        let mut found: Vec<_> = diff.take(limit).map(|one| Difference::one_sided(&one)).collect();
        found.sort_unstable_by_key(|difference| difference.member);
        found.dedup_by(|second, first| first.absorb(second));
        found
    }

    /// How many outlines there are of this list, each finer than the one before: level 0 has a piece
    /// for each entry, and the highest one below this number has one or a few in all. O(1).
    pub fn levels(&self) -> usize {
        self.state.tree.level() + 2
    }

    /// The pieces of the entries from the number `start` to before the number `end`, counted from 0,
    /// by which this list can be compared with one on another machine that has the same seed and
    /// rule for ties: one equal hash stands for all entries of a piece. At level 0 each entry is a
    /// piece, and each level has about a 16th of the pieces of the one below. Levels beyond
    /// [`levels`](Self::levels) have the same pieces as the highest.
    ///
    /// O(log n), and O(1) a piece, once [`digest`](Self::digest) is known.
    pub fn outline(&self, level: usize, start: u64, end: u64) -> Outline<'_, C> {
        Outline::new(&self.state.tree, &self.state.members, level, (start, end))
    }

    /// The number of entries that stand before a member with this key, or would stand if it is not
    /// in the list. O(log n).
    pub fn before(&self, member: &str, key: Key<C>) -> u64 {
        self.state.tree.entries_before(&self.state.members, key, member)
    }

    /// Bytes that the version's blocks take. O(n): it looks at every block.
    pub fn memory(&self) -> Memory {
        let (runs, inners) = self.state.tree.bytes();
        let table = self.state.members.memory();
        Memory { runs, inners, keys: table.keys, names: table.names, index: table.buckets }
    }

    fn find(&self, member: &str) -> Option<u32> {
        let members = &self.state.members;
        members.find(members.hash(member), member)
    }
}

impl<'a, const C: usize> Difference<'a, C> {
    fn one_sided(difference: &tree::Difference<'a, C>) -> Self {
        match *difference {
            tree::Difference::First(Entry { member, key, .. }) => {
                Self { member, here: Some(key), there: None }
            }
            tree::Difference::Second(Entry { member, key, .. }) => {
                Self { member, here: None, there: Some(key) }
            }
        }
    }

    /// Takes in what another one says of the same member, if it does.
    fn absorb(&mut self, other: &Self) -> bool {
        let is_same = self.member == other.member;
        if is_same {
            self.here = self.here.or(other.here);
            self.there = self.there.or(other.there);
        }
        is_same
    }
}

impl<const C: usize> fmt::Debug for Version<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Version")
            .field("ties", &self.ties())
            .field("len", &self.len())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

impl<'a, const C: usize> IntoIterator for &'a Version<C> {
    type Item = Entry<'a, C>;
    type IntoIter = Page<'a, C>;

    fn into_iter(self) -> Page<'a, C> {
        self.iter()
    }
}
