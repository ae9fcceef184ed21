//! Keys: a persistent vector of the members' keys, by handle.
//!
//! A leaf has [`Keys::ITEMS`] keys. Only the last one may have less, and it is only as long as its
//! keys need. Handles that are free keep their place; what is in it is the table's business.

#![allow(unsafe_code, reason = "leaves are read and written as raw memory")]

use std::marker::PhantomData;

use crate::block::{Block, HEAD, Maker};
use crate::key::Key;
use crate::rows::{self, Shape};
use crate::table::spine::Spine;

/// The most bytes of a leaf, a size class.
const LEAF: usize = 256;

/// A leaf is a table with one column, the keys.
struct Leaf<const C: usize>;

impl<const C: usize> Shape for Leaf<C> {
    const HEAD: usize = HEAD;
    const WIDTHS: &'static [usize] = &[size_of::<Key<C>>()];
}

/// The keys of all handles; see the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keys<const C: usize> {
    spine: Spine,
    columns: PhantomData<[u64; C]>,
}

impl<const C: usize> Keys<C> {
    /// Keys of a full leaf.
    pub(crate) const ITEMS: u32 = ((LEAF - HEAD) / size_of::<Key<C>>()) as u32;

    /// The key of a handle.
    pub(crate) fn get(self, handle: u32) -> Key<C> {
        let (leaf, row) = (self.spine.get(handle / Self::ITEMS), Self::row(handle));
        debug_assert!(row < leaf.len());
        // SAFETY: a leaf has a key for each of its handles that was given out.
        unsafe { leaf.at::<Key<C>>(HEAD).add(row).read() }
    }

    /// Sets the key of a handle that was given out before.
    pub(crate) fn set(&mut self, maker: &mut Maker, handle: u32, key: Key<C>) {
        let slot = self.spine.get_mut(maker, handle / Self::ITEMS);
        // SAFETY: the slot holds a leaf, which is private afterwards, and it has the handle's row.
        unsafe {
            let leaf = rows::own::<Leaf<C>>(maker, slot);
            rows::set::<Leaf<C>, _>(leaf, 0, Self::row(handle), key);
        }
    }

    /// Appends the key of a handle that was never given out: the one after all others.
    pub(crate) fn push(&mut self, maker: &mut Maker, handle: u32, key: Key<C>) {
        let row = Self::row(handle);
        let leaf = if row == 0 {
            let leaf = rows::make::<Leaf<C>>(maker, 1);
            self.spine.push(maker, leaf);
            leaf
        } else {
            let slot = self.spine.get_mut(maker, handle / Self::ITEMS);
            // SAFETY: the slot holds a leaf of `row` keys; the one added is set below.
            unsafe { rows::splice::<Leaf<C>>(maker, slot, row, 0, 1) }
        };
        // SAFETY: the leaf is private and has that row.
        unsafe { rows::set::<Leaf<C>, _>(leaf, 0, row, key) };
    }

    /// Asks for the memory that [`get`](Self::get) is going to read.
    pub(crate) fn warm(self, handle: u32) {
        let offset = HEAD + Self::row(handle) * size_of::<Key<C>>();
        self.spine.get(handle / Self::ITEMS).prefetch(offset, 1);
    }

    /// See [`Spine::walk`].
    pub(crate) fn walk(self, birth: u64, visit: &mut impl FnMut(Block)) {
        self.spine.walk(birth, visit);
    }

    fn row(handle: u32) -> usize {
        (handle % Self::ITEMS) as usize
    }
}
