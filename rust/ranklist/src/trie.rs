//! A persistent hash trie from names to handles.
//!
//! The trie stores handles only: the caller hashes the name, tells whether a handle has that name,
//! and gives the hash of a handle that has to move down. Each level consumes five hash bits, the
//! lowest first. After eight levels the members that still agree share a bucket.
//!
//! A branch below the root never holds a single handle and nothing else, so the shape depends on
//! the contents alone, but for the order in which a bucket lists its handles.

use std::sync::Arc;

const DIGIT_BITS: u32 = 5;
const HASH_BITS: u32 = 40;

#[derive(Clone)]
pub(crate) enum Slot {
    Handle(u32),
    Branch(Arc<Branch>),
    /// Two handles or more whose hashes agree in every bit that the trie looks at.
    Bucket(Arc<Vec<u32>>),
}

#[derive(Clone, Default)]
pub(crate) struct Branch {
    /// Bit `d` is set when digit `d` has a slot.
    pub(crate) bitmap: u32,
    /// The slots present, in ascending order of their digits.
    pub(crate) slots: Vec<Slot>,
}

impl Branch {
    /// A branch that holds nothing but `slot`.
    fn only(hash: u64, shift: u32, slot: Slot) -> Self {
        Self { bitmap: bit(hash, shift), slots: vec![slot] }
    }

    /// Where the slot for `bit` is, or would be inserted.
    fn position(&self, bit: u32) -> usize {
        (self.bitmap & (bit - 1)).count_ones() as usize
    }

    fn has(&self, bit: u32) -> bool {
        self.bitmap & bit != 0
    }
}

/// The digit of `hash` at `shift`, as a bit of a branch's bitmap.
fn bit(hash: u64, shift: u32) -> u32 {
    1 << (hash >> shift & 31)
}

/// A map from names to handles; see the module.
#[derive(Clone, Default)]
pub(crate) struct Trie {
    pub(crate) root: Arc<Branch>,
}

impl Trie {
    /// The handle under `hash` that `is_it` recognises.
    pub(crate) fn get(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let (mut branch, mut shift) = (&*self.root, 0);
        loop {
            let bit = bit(hash, shift);
            if !branch.has(bit) {
                return None;
            }
            match &branch.slots[branch.position(bit)] {
                Slot::Handle(handle) => return is_it(*handle).then_some(*handle),
                Slot::Bucket(handles) => return handles.iter().copied().find(|h| is_it(*h)),
                Slot::Branch(child) => (branch, shift) = (child, shift + DIGIT_BITS),
            }
        }
    }

    /// Adds a handle whose name is not in the trie yet. `hash_of` gives the hash of a handle that
    /// is already in.
    pub(crate) fn insert(&mut self, hash: u64, handle: u32, hash_of: impl Fn(u32) -> u64) {
        let (mut branch, mut shift) = (&mut self.root, 0);
        loop {
            let Branch { bitmap, slots } = Arc::make_mut(branch);
            let bit = bit(hash, shift);
            let position = (*bitmap & (bit - 1)).count_ones() as usize;
            if *bitmap & bit == 0 {
                *bitmap |= bit;
                slots.reserve_exact(1);
                slots.insert(position, Slot::Handle(handle));
                return;
            }
            shift += DIGIT_BITS;
            let slot = &mut slots[position];
            if let Slot::Handle(old) = *slot {
                *slot = if shift < HASH_BITS {
                    Slot::Branch(Arc::new(Branch::only(hash_of(old), shift, slot.clone())))
                } else {
                    Slot::Bucket(Arc::new(vec![old]))
                };
            }
            match slot {
                Slot::Branch(child) => branch = child,
                Slot::Bucket(handles) => return Arc::make_mut(handles).push(handle),
                Slot::Handle(_) => unreachable!("replaced just above"),
            }
        }
    }

    /// Removes a handle that is in the trie under `hash`.
    pub(crate) fn remove(&mut self, hash: u64, handle: u32) {
        remove(&mut self.root, 0, hash, handle);
    }
}

/// Removes the handle below `branch`; at most eight levels deep.
fn remove(branch: &mut Arc<Branch>, shift: u32, hash: u64, handle: u32) {
    let branch = Arc::make_mut(branch);
    let bit = bit(hash, shift);
    let position = branch.position(bit);
    debug_assert!(branch.has(bit));
    let left_alone = match &mut branch.slots[position] {
        Slot::Handle(_) => {
            branch.bitmap &= !bit;
            branch.slots.remove(position);
            return;
        }
        Slot::Bucket(handles) => {
            Arc::make_mut(handles).retain(|h| *h != handle);
            if let [last] = handles[..] { Some(last) } else { None }
        }
        Slot::Branch(child) => {
            remove(child, shift + DIGIT_BITS, hash, handle);
            if let [Slot::Handle(last)] = child.slots[..] { Some(last) } else { None }
        }
    };
    if let Some(last) = left_alone {
        branch.slots[position] = Slot::Handle(last);
    }
}
