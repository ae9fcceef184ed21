//! Spines: persistent vectors of blocks.
//!
//! A spine is a tree of branches with the items, which are blocks of any kind, below its last
//! level. Only the rightmost branch of a level may have less than [`FAN`] children, and it is only
//! as long as its children need. A spine of one item has no branch at all.
//!
//! Spines follow the rules of [`crate::block`]: what a published version reaches is copied before
//! it is changed. A spine is a `Copy` handle to its blocks, and whoever holds one answers for it
//! that they are alive; see [`crate::table`].

#![allow(unsafe_code, reason = "branches are read and written as raw memory")]

use crate::block::{Block, HEAD, Maker};
use crate::rows::{self, Shape};

/// Children of a full branch. It then takes 256 bytes, which is a size class.
const FAN: u32 = 30;

/// The most levels of branches: 30⁶ items are more than any table has.
const MAX_DEPTH: usize = 6;

/// `FAN` to the power of the depth: the items below a full branch.
const SPANS: [u32; MAX_DEPTH + 1] = {
    let mut spans = [1; MAX_DEPTH + 1];
    let mut depth = 1;
    while depth <= MAX_DEPTH {
        spans[depth] = spans[depth - 1] * FAN;
        depth += 1;
    }
    spans
};

/// 2⁶⁴ divided by the span of the depth, rounded up; see [`Spine::digits`].
const SCALES: [u64; MAX_DEPTH + 1] = {
    let mut scales = [0; MAX_DEPTH + 1];
    let mut depth = 1;
    while depth <= MAX_DEPTH {
        scales[depth] = u64::MAX / SPANS[depth] as u64 + 1;
        depth += 1;
    }
    scales
};

/// A branch is a table with one column, its children.
struct Branch;

impl Shape for Branch {
    const HEAD: usize = HEAD;
    const WIDTHS: &'static [usize] = &[size_of::<Block>()];
}

/// A persistent vector of blocks; see the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spine {
    root: Option<Block>,
    /// Levels of branches above the items.
    depth: u32,
    len: u32,
}

impl Spine {
    /// How many items there are.
    pub(crate) fn len(self) -> u32 {
        self.len
    }

    /// The item at `index`. Panics if there is none.
    pub(crate) fn get(self, index: u32) -> Block {
        let mut block = self.start(index);
        for digit in self.digits(index) {
            // SAFETY: every digit of an index in use is that of a child.
            block = unsafe { *child(block, digit) };
        }
        block
    }

    /// The place of the item at `index`, on a path that is private now. The caller may put another
    /// block there. Panics if there is no such item.
    pub(crate) fn get_mut(&mut self, maker: &mut Maker, index: u32) -> &mut Block {
        self.start(index);
        let digits = self.digits(index);
        let mut slot = self.root.as_mut().expect("a spine with items has a root");
        for digit in digits {
            // SAFETY: the slot holds a branch, and every digit is that of a child. The branch is
            // private, so the place may be written while the spine is borrowed.
            slot = unsafe { &mut *child(rows::own::<Branch>(maker, slot), digit) };
        }
        slot
    }

    /// Appends an item.
    pub(crate) fn push(&mut self, maker: &mut Maker, item: Block) {
        let index = self.len;
        self.len += 1;
        let Some(root) = self.root else {
            self.root = Some(item);
            return;
        };
        if index == SPANS[self.depth as usize] {
            self.root = Some(branch_of(maker, root));
            self.depth += 1;
        }
        let digits = self.digits(index);
        let mut slot = self.root.as_mut().expect("it was set above");
        let mut below = self.depth;
        for digit in digits {
            below -= 1;
            if digit == slot.len() {
                let new = (0..below).fold(item, |child, _| branch_of(maker, child));
                // SAFETY: the slot holds a branch, and the child is set at once.
                unsafe { rows::splice::<Branch>(maker, slot, digit, 0, 1) };
                // SAFETY: the branch is private now and has that row.
                unsafe { rows::set::<Branch, _>(*slot, 0, digit, new) };
                return;
            }
            // SAFETY: as in `get_mut`.
            slot = unsafe { &mut *child(rows::own::<Branch>(maker, slot), digit) };
        }
    }

    /// Takes the last item off, and leaves it to the caller to release. Panics if there is none.
    pub(crate) fn pop(&mut self, maker: &mut Maker) -> Block {
        let index = self.len - 1;
        let item = self.get(index);
        let digits = self.digits(index);
        self.len = index;
        if index == 0 {
            self.root = None;
            return item;
        }
        let mut slot = self.root.as_mut().expect("a spine with items has a root");
        let mut below = self.depth;
        for digit in digits {
            below -= 1;
            if index.is_multiple_of(SPANS[below as usize]) {
                // SAFETY: the slot holds a branch, and the item is the only one below its last
                // child.
                unsafe {
                    release_chain(maker, *child(*slot, digit), below);
                    rows::splice::<Branch>(maker, slot, digit, 1, 0);
                }
                break;
            }
            // SAFETY: as in `get_mut`.
            slot = unsafe { &mut *child(rows::own::<Branch>(maker, slot), digit) };
        }
        if index == SPANS[self.depth as usize - 1] {
            let root = self.root.expect("it has items");
            // SAFETY: the root is a branch, and has one child left.
            self.root = Some(unsafe { *child(root, 0) });
            self.depth -= 1;
            maker.release(root);
        }
        item
    }

    /// Calls `visit` for every block with a birth after `birth`, the branches included, children
    /// before their parents, so that `visit` may free them.
    pub(crate) fn walk(self, birth: u64, visit: &mut impl FnMut(Block)) {
        if let Some(root) = self.root {
            walk(root, self.depth, birth, visit);
        }
    }

    /// The root, if there is an item at `index`.
    fn start(self, index: u32) -> Block {
        assert!(index < self.len, "no item {index} in a spine of {}", self.len);
        self.root.expect("a spine with items has a root")
    }

    /// The children that lead to an index, from the root on.
    ///
    /// These are the digits of the index in base `FAN`. Taken as a fraction of the root's span, a
    /// multiplication by `FAN` moves the next one before the point. The scale is rounded up by
    /// less than one, so the fraction is too large by less than index / 2⁶⁴, which is far less than
    /// 1 / span.
    fn digits(self, index: u32) -> impl Iterator<Item = usize> {
        let mut fraction = u64::from(index).wrapping_mul(SCALES[self.depth as usize]);
        (0..self.depth).map(move |_| {
            let moved = u128::from(fraction) * u128::from(FAN);
            fraction = moved as u64;
            (moved >> 64) as usize
        })
    }
}

/// The place of a child.
///
/// # Safety
///
/// The block is a branch with such a child.
unsafe fn child(branch: Block, digit: usize) -> *mut Block {
    debug_assert!(digit < branch.len());
    branch.at(HEAD + digit * size_of::<Block>())
}

/// A branch with one child.
fn branch_of(maker: &mut Maker, child: Block) -> Block {
    let branch = rows::make::<Branch>(maker, 1);
    // SAFETY: the branch is fresh and has one row.
    unsafe { rows::set::<Branch, _>(branch, 0, 0, child) };
    branch
}

/// Releases `levels` branches of one child each, and not the item below.
///
/// # Safety
///
/// They are such branches, and the version under construction does not use them any more.
unsafe fn release_chain(maker: &mut Maker, mut block: Block, levels: u32) {
    for _ in 0..levels {
        // SAFETY: the caller's promise.
        let below = unsafe { *child(block, 0) };
        maker.release(block);
        block = below;
    }
}

/// [`Spine::walk`] below a block with `depth` levels of branches.
fn walk(block: Block, depth: u32, birth: u64, visit: &mut impl FnMut(Block)) {
    if block.birth() <= birth {
        return;
    }
    if depth > 0 {
        // SAFETY: above the items all blocks are branches.
        for child in unsafe { rows::column::<Branch, Block>(block, 0) } {
            walk(*child, depth - 1, birth, visit);
        }
    }
    visit(block);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_a_division() {
        for depth in 0..=MAX_DEPTH {
            let spine = Spine { root: None, depth: depth as u32, len: 0 };
            let span = SPANS[depth];
            let powers =
                SPANS.iter().flat_map(|power| [*power, *power - 1, span - *power.min(&span)]);
            let spread = (0..20_000_u32).map(|n| n.wrapping_mul(2_654_435_769));
            for index in powers.chain(spread).map(|index| index % span).chain([span - 1]) {
                let places = SPANS[..depth].iter().rev();
                let expected = places.map(|place| (index / place % FAN) as usize);
                assert!(spine.digits(index).eq(expected), "{index} at depth {depth}");
            }
        }
    }
}
