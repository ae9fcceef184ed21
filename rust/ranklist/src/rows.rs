//! Rows: what the blocks of runs, inner nodes, keys, buckets and branches have in common.
//!
//! Such a block is a small table. Its columns are arrays, one behind the other, each with room for
//! the block's capacity, so a search reads one column and touches no other; and every change of a
//! table, whatever its columns mean, is one of a few moves of rows.

#![allow(unsafe_code, reason = "rows are moved as bytes")]

use std::ptr;

use crate::block::{Block, Maker};

/// The columns of one kind of table.
pub(crate) trait Shape {
    /// Bytes before the first column; at least those of the block's head.
    const HEAD: usize;
    /// Bytes of an item, column by column. Ascending alignment would leave gaps, so items that
    /// need the larger alignment come first.
    const WIDTHS: &'static [usize];
    /// Bytes of a row.
    const ROW: usize = {
        let (mut sum, mut column) = (0, 0);
        while column < Self::WIDTHS.len() {
            sum += Self::WIDTHS[column];
            column += 1;
        }
        sum
    };

    /// Clears what the space between head and columns says of the rows, because they change.
    fn touch(_block: Block) {}
}

/// How many rows fit into the block.
pub(crate) fn capacity<S: Shape>(block: Block) -> usize {
    (block.bytes() - S::HEAD) / S::ROW
}

/// Where a column starts in a block.
pub(crate) fn offset<S: Shape>(block: Block, column: usize) -> usize {
    let before: usize = S::WIDTHS[..column].iter().sum();
    S::HEAD + before * capacity::<S>(block)
}

/// A column's items.
///
/// # Safety
///
/// The block is a table of shape `S` whose rows are set, it lives and is not written during `'a`,
/// and `T` is the type of that column's items.
pub(crate) unsafe fn column<'a, S: Shape, T>(block: Block, column: usize) -> &'a [T] {
    debug_assert_eq!(size_of::<T>(), S::WIDTHS[column]);
    // SAFETY: the caller's promise; the offset is that of an array of `capacity` items.
    unsafe { block.items(offset::<S>(block, column), block.len()) }
}

/// Sets an item.
///
/// # Safety
///
/// The block is a private table of shape `S` with a row `row`, and `T` the type of the column.
pub(crate) unsafe fn set<S: Shape, T>(block: Block, column: usize, row: usize, item: T) {
    debug_assert_eq!(size_of::<T>(), S::WIDTHS[column]);
    debug_assert!(row < block.len());
    // SAFETY: the caller's promise.
    unsafe { block.at::<T>(offset::<S>(block, column)).add(row).write(item) };
}

/// A fresh table with `len` rows that are not set yet.
pub(crate) fn make<S: Shape>(maker: &mut Maker, len: usize) -> Block {
    let block = maker.make(S::HEAD + len * S::ROW, len);
    S::touch(block);
    block
}

/// Copies `count` rows of `source`, from row `from` on, to row `to` of `target` and on.
///
/// # Safety
///
/// Both are tables of shape `S` with so many rows, `target` is private and another block.
pub(crate) unsafe fn copy<S: Shape>(
    source: Block,
    from: usize,
    count: usize,
    target: Block,
    to: usize,
) {
    debug_assert!(from + count <= source.len() && to + count <= target.len());
    for (index, width) in S::WIDTHS.iter().enumerate() {
        let source = source.at::<u8>(offset::<S>(source, index) + from * width);
        let target = target.at::<u8>(offset::<S>(target, index) + to * width);
        // SAFETY: both ranges lie in their column, and the blocks are different ones.
        unsafe { ptr::copy_nonoverlapping(source, target, count * width) };
    }
}

/// Replaces `removed` rows of the table at `slot`, from row `at` on, by `added` rows that are not
/// set yet. The table is private afterwards, and may be another block.
///
/// # Safety
///
/// The slot holds a table of shape `S` that has those rows, and belongs to what `maker` builds.
pub(crate) unsafe fn splice<S: Shape>(
    maker: &mut Maker,
    slot: &mut Block,
    at: usize,
    removed: usize,
    added: usize,
) -> Block {
    let old = *slot;
    let rest = old.len() - at - removed;
    let len = at + added + rest;
    if !fits::<S>(maker, old, len) {
        let new = make::<S>(maker, len);
        // SAFETY: the new table is private, and has as many rows as are copied.
        unsafe {
            copy::<S>(old, 0, at, new, 0);
            copy::<S>(old, at + removed, rest, new, at + added);
        }
        maker.release(old);
        *slot = new;
        return new;
    }
    // SAFETY: the caller's promise.
    let block = unsafe { own::<S>(maker, slot) };
    if removed != added {
        for (index, width) in S::WIDTHS.iter().enumerate() {
            let rows = block.at::<u8>(offset::<S>(block, index) + at * width);
            // SAFETY: both ranges lie in the column, which has room for `len` items.
            unsafe { ptr::copy(rows.add(removed * width), rows.add(added * width), rest * width) };
        }
        block.set_len(len);
    }
    block
}

/// Whether the table, or a copy of it, has room for `len` rows and not much more than that.
fn fits<S: Shape>(maker: &Maker, block: Block, len: usize) -> bool {
    if !maker.owns(block) {
        // One copy of all bytes costs less than one for each column and side.
        return block.is_of_class_for(S::HEAD + len * S::ROW);
    }
    let room = capacity::<S>(block);
    len <= room && room <= 2 * len + 4
}

/// Makes the table at `slot` private and leaves its rows as they are.
///
/// # Safety
///
/// As for [`splice`].
pub(crate) unsafe fn own<S: Shape>(maker: &mut Maker, slot: &mut Block) -> Block {
    let old = *slot;
    if !maker.owns(old) {
        *slot = maker.copy(old);
        maker.release(old);
    }
    S::touch(*slot);
    *slot
}
