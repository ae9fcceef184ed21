//! Who is in the list: names, keys and the handles that stand for them in the tree.

use std::cmp::Ordering;
use std::hash::Hasher;
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use crate::key::{Key, Seed};
use crate::radix::Radix;
use crate::trie::Trie;

/// The most members a list can hold; see [`List`](crate::List).
pub(crate) const MAX_MEMBERS: u32 = u32::MAX - 1;

/// The end of the free list. Never a handle.
pub(crate) const NO_HANDLE: u32 = u32::MAX;

/// The highest level an entry can reach; see [`Members::height`].
pub(crate) const MAX_HEIGHT: usize = 7;

/// The member table of one version.
///
/// Every member has a handle, which it keeps until it is removed. Handles that are free are
/// chained through the `score` of their slots.
#[derive(Clone)]
pub(crate) struct Members {
    seed: Seed,
    pub(crate) slots: Radix<Key>,
    pub(crate) names: Radix<Option<Arc<str>>>,
    pub(crate) by_name: Trie,
    pub(crate) first_free: u32,
}

impl Members {
    pub(crate) fn new(seed: Seed) -> Self {
        Self {
            seed,
            slots: Radix::new(),
            names: Radix::new(),
            by_name: Trie::default(),
            first_free: NO_HANDLE,
        }
    }

    pub(crate) fn seed(&self) -> Seed {
        self.seed
    }

    /// The keyed hash of a name, which decides its height and its place in the trie.
    pub(crate) fn hash(&self, name: &str) -> u64 {
        hash_name(self.seed, name)
    }

    /// How many levels an entry rises above level 0: each with a chance of 1 in 16.
    pub(crate) fn height(hash: u64) -> usize {
        MAX_HEIGHT.min(hash.leading_zeros() as usize / 4)
    }

    /// The handle of a name, given its hash.
    pub(crate) fn find(&self, hash: u64, name: &str) -> Option<u32> {
        self.by_name.get(hash, |handle| self.name(handle) == name)
    }

    /// Enters a name that is not in the table yet.
    pub(crate) fn add(&mut self, hash: u64, name: Arc<str>, key: Key) -> u32 {
        let handle = self.first_free;
        let handle = if handle == NO_HANDLE {
            assert!(self.slots.len() < MAX_MEMBERS, "the list is full");
            self.slots.push(key);
            self.names.push(Some(name))
        } else {
            let slot = self.slots.get_mut(handle);
            self.first_free = slot.score as u32;
            *slot = key;
            *self.names.get_mut(handle) = Some(name);
            handle
        };
        let Self { seed, names, by_name, .. } = self;
        by_name.insert(hash, handle, |other| hash_name(*seed, name_in(names, other)));
        handle
    }

    /// Forgets a member and frees its handle.
    pub(crate) fn remove(&mut self, hash: u64, handle: u32) {
        self.by_name.remove(hash, handle);
        *self.names.get_mut(handle) = None;
        *self.slots.get_mut(handle) = Key { score: u64::from(self.first_free), stamp: 0 };
        self.first_free = handle;
    }

    pub(crate) fn name(&self, handle: u32) -> &str {
        name_in(&self.names, handle)
    }

    pub(crate) fn key(&self, handle: u32) -> Key {
        *self.slots.get(handle)
    }

    pub(crate) fn set_key(&mut self, handle: u32, key: Key) {
        *self.slots.get_mut(handle) = key;
    }

    /// Orders two members by the bytes of their names, the last tie-break of every rule.
    pub(crate) fn order_names(&self, a: u32, b: u32) -> Ordering {
        self.name(a).cmp(self.name(b))
    }
}

fn hash_name(seed: Seed, name: &str) -> u64 {
    let mut hasher = SipHasher13::new_with_key(&seed);
    hasher.write(name.as_bytes());
    hasher.finish()
}

fn name_in(names: &Radix<Option<Arc<str>>>, handle: u32) -> &str {
    names.get(handle).as_deref().expect("a handle in use has a name")
}
