//! Who is in the list: names, keys and the handles that stand for them in the tree.
//!
//! One version of the table is a small `Copy` value: pointers to blocks, and counters. All that it
//! says lies in blocks, which follow the rules of [`crate::block`]. So a copy of the value is a
//! version of its own, whatever happens to other copies after the maker was frozen or the version
//! was published. Nothing else is shared.
//!
//! The value does not keep its blocks alive. It is used only through a version that does, or by the
//! maker that builds one; this is what makes it sound that its readers are safe functions.
//!
//! Every member has a handle, which it keeps until it is removed. Handles that are free are
//! chained through the first column of their keys, and are given out again before new ones. So keys
//! and names have room for the most members that there ever were, until the table is empty: then
//! all blocks are given back at once, as many as one for fifteen handles, and two to that.

#![allow(unsafe_code, reason = "whoever frees a version's blocks has to promise that he may")]

mod buckets;
mod keys;
mod names;
mod spine;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use siphasher::sip::SipHasher13;

use crate::block::{Block, Maker};
use crate::key::{Key, Seed};
use crate::table::buckets::Buckets;
use crate::table::keys::Keys;
pub(crate) use crate::table::names::MAX_NAME;
use crate::table::names::Names;

/// The end of the chain of free handles. Never a handle.
const NO_HANDLE: u32 = u32::MAX;

/// The highest level an entry can reach; see [`Members::height`].
pub(crate) const MAX_HEIGHT: usize = 7;

/// The member table of one version; see the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Members<const C: usize> {
    seed: Seed,
    keys: Keys<C>,
    names: Names,
    buckets: Buckets,
    /// Handles given out ever: those below exist.
    handles: u32,
    first_free: u32,
    count: u32,
}

/// Bytes that the parts of a table take, branches and rounding included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableMemory {
    pub(crate) keys: u64,
    pub(crate) names: u64,
    pub(crate) buckets: u64,
}

impl<const C: usize> Members<C> {
    /// The most members.
    pub(crate) const MAX: u32 = crate::MAX_MEMBERS as u32;

    /// An empty table, which has no block.
    pub(crate) fn new(seed: Seed) -> Self {
        Self {
            seed,
            keys: Keys::default(),
            names: Names::default(),
            buckets: Buckets::default(),
            handles: 0,
            first_free: NO_HANDLE,
            count: 0,
        }
    }

    /// The key of the member hash.
    pub(crate) fn seed(&self) -> Seed {
        self.seed
    }

    /// How many members there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> u32 {
        self.count
    }

    /// The keyed hash of a name, which decides its height and its bucket.
    pub(crate) fn hash(&self, name: &str) -> u64 {
        hash_name(&self.seed, name)
    }

    /// How many levels an entry rises above level 0: each with a chance of 1 in 16.
    pub(crate) fn height(hash: u64) -> usize {
        MAX_HEIGHT.min(hash.leading_zeros() as usize / 4)
    }

    /// The handle of a name, given its hash.
    pub(crate) fn find(&self, hash: u64, name: &str) -> Option<u32> {
        let is_it = |handle| {
            // Whoever finds a member reads its key next.
            self.warm_member(handle);
            self.names.get(handle) == name
        };
        self.buckets.find(hash, is_it)
    }

    /// Enters a member whose name is not in the table yet, and returns its handle. The hash is
    /// that of the name.
    ///
    /// # Panics
    ///
    /// If there are [`MAX`](Self::MAX) members, or the name is longer than [`MAX_NAME`].
    pub(crate) fn add(&mut self, maker: &mut Maker, hash: u64, name: &str, key: Key<C>) -> u32 {
        assert!(self.count < Self::MAX, "the table is full");
        assert!(name.len() <= MAX_NAME, "a name has at most {MAX_NAME} bytes");
        let handle = self.take_handle(maker, key);
        self.names.put(maker, handle, name);
        self.count += 1;
        let Self { seed, names, buckets, count, .. } = self;
        let hashes = |handles: &[u32]| hash_names(seed, names, handles);
        buckets.add(maker, hash, handle, *count, hashes);
        handle
    }

    /// Forgets a member, given the hash of its name, and frees its handle.
    pub(crate) fn remove(&mut self, maker: &mut Maker, hash: u64, handle: u32) {
        self.count -= 1;
        if self.count == 0 {
            self.walk(0, &mut |block| maker.release(block));
            *self = Self::new(self.seed);
            return;
        }
        self.buckets.remove(maker, hash, handle, self.count);
        self.names.clear(maker, handle);
        let mut link = Key { score: [0; C], stamp: 0 };
        link.score[0] = u64::from(self.first_free);
        self.keys.set(maker, handle, link);
        self.first_free = handle;
    }

    /// The name of a member.
    pub(crate) fn name(&self, handle: u32) -> &str {
        self.names.get(handle)
    }

    /// The key of a member.
    pub(crate) fn key(&self, handle: u32) -> Key<C> {
        self.keys.get(handle)
    }

    /// Sets the key of a member.
    pub(crate) fn set_key(&mut self, maker: &mut Maker, handle: u32, key: Key<C>) {
        self.keys.set(maker, handle, key);
    }

    /// Orders two members by the bytes of their names, the last tie-break of every rule.
    pub(crate) fn order_names(&self, a: u32, b: u32) -> Ordering {
        self.name(a).cmp(self.name(b))
    }

    /// Asks for the bucket of a hash: the first of two steps that let the memory of many lookups
    /// come in at the same time.
    pub(crate) fn warm_bucket(&self, hash: u64) {
        self.buckets.warm(hash);
    }

    /// Asks for the name and the key of the first member that may have the hash: the second step.
    pub(crate) fn warm_found(&self, hash: u64) {
        if let Some(handle) = self.buckets.find(hash, |_| true) {
            self.warm_member(handle);
        }
    }

    /// The member that may have the hash, if there is exactly one. Its key and its name have been
    /// asked for.
    pub(crate) fn only(&self, hash: u64) -> Option<u32> {
        let mut first = None;
        let others = self.buckets.find(hash, |handle| first.replace(handle).is_some());
        let only = first.filter(|_| others.is_none())?;
        self.warm_key(only);
        self.warm_name(only);
        Some(only)
    }

    /// Asks for the name and the key of a member.
    pub(crate) fn warm_member(&self, handle: u32) {
        self.warm_name(handle);
        self.warm_key(handle);
    }

    /// Asks for the name of a member.
    pub(crate) fn warm_name(&self, handle: u32) {
        self.names.warm(handle);
    }

    /// Asks for the key of a member.
    pub(crate) fn warm_key(&self, handle: u32) {
        self.keys.warm(handle);
    }

    /// Frees the blocks of the table that have a birth after `birth`; 0 stands for all.
    ///
    /// # Safety
    ///
    /// They are in use nowhere else, and this value and its copies are not used any more.
    pub(crate) unsafe fn free_after(&self, birth: u64) {
        // SAFETY: the caller's promise. Children are visited before their parents, so no freed
        // block is read.
        self.walk(birth, &mut |block| unsafe { block.free() });
    }

    /// What the table takes. Looks at every block.
    pub(crate) fn memory(&self) -> TableMemory {
        let mut memory = TableMemory { keys: 0, names: 0, buckets: 0 };
        self.keys.walk(0, &mut |block| memory.keys += block.bytes() as u64);
        self.names.walk(0, &mut |block| memory.names += block.bytes() as u64);
        self.buckets.walk(0, &mut |block| memory.buckets += block.bytes() as u64);
        memory
    }

    /// A handle for a new member, with its key set.
    fn take_handle(&mut self, maker: &mut Maker, key: Key<C>) -> u32 {
        let handle = self.first_free;
        if handle == NO_HANDLE {
            let handle = self.handles;
            self.handles += 1;
            self.keys.push(maker, handle, key);
            return handle;
        }
        self.first_free = self.keys.get(handle).score[0] as u32;
        self.keys.set(maker, handle, key);
        handle
    }

    /// Visits the blocks with a birth after `birth`, children before their parents.
    fn walk(&self, birth: u64, visit: &mut impl FnMut(Block)) {
        self.keys.walk(birth, visit);
        self.names.walk(birth, visit);
        self.buckets.walk(birth, visit);
    }
}

fn hash_name(seed: &Seed, name: &str) -> u64 {
    SipHasher13::new_with_key(seed).hash(name.as_bytes())
}

/// The hashes of members' names. All names are asked for first, because they lie far apart.
fn hash_names(seed: &Seed, names: &Names, handles: &[u32]) -> Vec<u64> {
    for handle in handles {
        names.warm(*handle);
    }
    handles.iter().map(|handle| hash_name(seed, names.get(*handle))).collect()
}
