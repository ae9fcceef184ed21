//! The list: the tree and the member table of one version.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::bulk::{self, Item};
use crate::cursor::Page;
use crate::key::{Entry, Key, Seed, Ties};
use crate::members::Members;
use crate::node::{self, Inner, Link, Node, Place, Run};

/// One version of a ranked list of members.
///
/// Cloning takes O(1) and makes a snapshot: changing one clone never changes another. A list holds
/// at most 2^32 - 2 members; adding one more panics. Give it a seed that clients do not know. The
/// [front page](crate) tells why, and what the costs given here mean.
#[derive(Clone)]
pub struct List {
    pub(crate) ties: Ties,
    pub(crate) members: Members,
    pub(crate) root: Link,
    /// The root's level: the largest height of any entry.
    pub(crate) level: usize,
    pub(crate) len: u32,
    version: u64,
}

impl List {
    /// An empty list.
    pub fn new(ties: Ties, seed: Seed) -> Self {
        let root = Arc::new(Node::Leaf(Run::default()));
        Self { ties, members: Members::new(seed), root, level: 0, len: 0, version: 0 }
    }

    /// The list of the given entries, at version 0.
    ///
    /// Enters every member into the member table, sorts the entries unless they come in rank order,
    /// and builds the tree in one pass.
    ///
    /// # Panics
    ///
    /// When there are more entries than a list can hold.
    pub fn from_entries(
        ties: Ties,
        seed: Seed,
        entries: impl IntoIterator<Item = (impl Into<Arc<str>>, Key)>,
    ) -> Result<Self, DuplicateMember> {
        let mut members = Members::new(seed);
        let mut items = Vec::new();
        for (name, key) in entries {
            let name = name.into();
            let hash = members.hash(&name);
            if members.find(hash, &name).is_some() {
                return Err(DuplicateMember { member: name.as_ref().into() });
            }
            let handle = members.add(hash, name, key);
            items.push(Item { key, handle, height: Members::height(hash) });
        }
        let order = |a: &Item, b: &Item| {
            let scores = a.key.score.cmp(&b.key.score);
            let keys = scores.then_with(|| ties.order(a.key.stamp, b.key.stamp));
            keys.then_with(|| members.order_names(a.handle, b.handle))
        };
        if !items.is_sorted_by(|a, b| order(a, b).is_le()) {
            items.sort_unstable_by(order);
        }
        let (root, level) = bulk::build(&items);
        Ok(Self { ties, members, root, level, len: items.len() as u32, version: 0 })
    }

    /// This list with its count of changes set to `version`, so that a list rebuilt from its
    /// entries can go on where the original stopped.
    #[must_use]
    pub fn with_version(self, version: u64) -> Self {
        Self { version, ..self }
    }

    /// The number of changes made to this list and to those it was cloned from. O(1).
    ///
    /// A change is a member added, a key replaced by another or a member removed. Setting the key
    /// that a member already has is none, and neither is removing a member that is not there.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The number of members. O(1).
    pub fn len(&self) -> u64 {
        u64::from(self.len)
    }

    /// Whether the list has no members. O(1).
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How equal scores are ranked.
    pub fn ties(&self) -> Ties {
        self.ties
    }

    /// The seed of the member hash.
    pub fn seed(&self) -> Seed {
        self.members.seed()
    }

    /// A member's key. O(log n).
    pub fn get(&self, member: &str) -> Option<Key> {
        self.find(member).map(|handle| self.members.key(handle))
    }

    /// Adds a member or moves it, and returns the key it had before. O(log n).
    ///
    /// Setting the key that the member already has changes nothing.
    ///
    /// # Panics
    ///
    /// When a member is added to a list that is full.
    pub fn set(&mut self, member: &str, key: Key) -> Option<Key> {
        let hash = self.members.hash(member);
        let height = Members::height(hash);
        let Some(handle) = self.members.find(hash, member) else {
            let handle = self.members.add(hash, member.into(), key);
            self.attach(handle, key, height);
            self.version += 1;
            return None;
        };
        let old = self.members.key(handle);
        if old == key {
            return Some(old);
        }
        if old.score == key.score && self.ties == Ties::Member {
            // The stamp does not count, so the entry stays where it is.
            self.members.set_key(handle, key);
        } else {
            self.detach(handle, old, height);
            self.members.set_key(handle, key);
            self.attach(handle, key, height);
        }
        self.version += 1;
        Some(old)
    }

    /// Removes a member and returns the key it had. O(log n).
    pub fn remove(&mut self, member: &str) -> Option<Key> {
        let hash = self.members.hash(member);
        let handle = self.members.find(hash, member)?;
        let old = self.members.key(handle);
        self.detach(handle, old, Members::height(hash));
        self.members.remove(hash, handle);
        self.version += 1;
        Some(old)
    }

    /// A member's exact rank, counted from 1. O(log n).
    pub fn rank(&self, member: &str) -> Option<u64> {
        self.entry(member).map(|entry| entry.rank)
    }

    /// A member's exact rank and key. O(log n), and one search where `rank` and `get` take two.
    pub fn entry(&self, member: &str) -> Option<Entry<'_>> {
        let handle = self.find(member)?;
        let key = self.members.key(handle);
        let place = Place { members: &self.members, ties: self.ties, key, handle };
        let rank = self.root.count(|run| run.up_to(&place));
        Some(Entry { rank, member: self.members.name(handle), key })
    }

    /// The entry at a rank, counted from 1. O(log n).
    pub fn select(&self, rank: u64) -> Option<Entry<'_>> {
        self.page(rank.checked_sub(1)?, 1).next()
    }

    /// Up to `limit` entries, starting after the best `offset` ones. O(log n), and O(1) an entry.
    pub fn page(&self, offset: u64, limit: usize) -> Page<'_> {
        Page::new(self, offset, limit)
    }

    /// A member with up to `radius` entries on each side of it. O(log n), and O(1) an entry.
    pub fn around(&self, member: &str, radius: usize) -> Option<Page<'_>> {
        let rank = self.rank(member)?;
        let before = radius.min((rank - 1) as usize);
        let limit = before.saturating_add(1).saturating_add(radius);
        Some(self.page(rank - 1 - before as u64, limit))
    }

    /// The number of entries whose score code lies in the range; 0 if it is reversed. O(log n).
    pub fn count(&self, scores: RangeInclusive<u64>) -> u64 {
        if scores.is_empty() {
            return 0;
        }
        let up_to =
            |limit: u64| self.root.count(|run| run.scores.partition_point(|score| *score <= limit));
        up_to(*scores.end()) - scores.start().checked_sub(1).map_or(0, up_to)
    }

    /// All entries, the best first.
    pub fn iter(&self) -> Page<'_> {
        self.page(0, usize::MAX)
    }

    fn find(&self, member: &str) -> Option<u32> {
        self.members.find(self.members.hash(member), member)
    }

    /// Puts a member into the tree.
    fn attach(&mut self, handle: u32, key: Key, height: usize) {
        while self.level < height {
            let root = Inner::over(Arc::clone(&self.root), self.len);
            self.root = Arc::new(Node::Inner(Box::new(root)));
            self.level += 1;
        }
        let place = Place { members: &self.members, ties: self.ties, key, handle };
        node::insert(&mut self.root, self.level, height, &place);
        self.len += 1;
    }

    /// Takes a member out of the tree, where it stands with the given key.
    fn detach(&mut self, handle: u32, key: Key, height: usize) {
        let place = Place { members: &self.members, ties: self.ties, key, handle };
        node::remove(&mut self.root, self.level, height, &place);
        self.len -= 1;
        while let Node::Inner(inner) = &*self.root
            && let [only] = &inner.children[..]
        {
            self.root = Arc::clone(only);
            self.level -= 1;
        }
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List")
            .field("ties", &self.ties)
            .field("len", &self.len)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl<'a> IntoIterator for &'a List {
    type Item = Entry<'a>;
    type IntoIter = Page<'a>;

    fn into_iter(self) -> Page<'a> {
        self.iter()
    }
}

/// A member was given twice to [`List::from_entries`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateMember {
    /// The member's name.
    pub member: Box<str>,
}

impl fmt::Display for DuplicateMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {:?} is given twice", self.member)
    }
}

impl std::error::Error for DuplicateMember {}
