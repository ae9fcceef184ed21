//! A persistent vector: a radix tree of 16-item leaves under 32-way branches.
//!
//! For items of 16 bytes both kinds of node are 256 bytes large. Cloning copies one pointer; a
//! write copies the shared nodes between the root and the item, and nothing when none is shared.

use std::sync::Arc;

const LEAF_BITS: u32 = 4;
const LEAF_ITEMS: usize = 1 << LEAF_BITS;
const BRANCH_BITS: u32 = 5;
const BRANCH_WAYS: usize = 1 << BRANCH_BITS;

#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "with items of 16 bytes both are equally large")]
enum Node<T> {
    Leaf([T; LEAF_ITEMS]),
    Branch([Option<Arc<Node<T>>>; BRANCH_WAYS]),
}

impl<T: Clone + Default> Node<T> {
    /// A node that covers `1 << bits` indices, none of them set yet.
    fn empty(bits: u32) -> Self {
        if bits == LEAF_BITS {
            Self::Leaf(Default::default())
        } else {
            Self::Branch(Default::default())
        }
    }
}

/// A vector of up to `u32::MAX` items; see the module.
#[derive(Clone)]
pub(crate) struct Radix<T> {
    root: Arc<Node<T>>,
    /// The root covers the indices below `1 << bits`.
    bits: u32,
    len: u32,
}

impl<T: Clone + Default> Radix<T> {
    pub(crate) fn new() -> Self {
        Self { root: Arc::new(Node::empty(LEAF_BITS)), bits: LEAF_BITS, len: 0 }
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// The item at `index`, which must be below the length.
    pub(crate) fn get(&self, index: u32) -> &T {
        debug_assert!(index < self.len);
        let (mut node, mut bits) = (&*self.root, self.bits);
        loop {
            match node {
                Node::Leaf(items) => return &items[index as usize % LEAF_ITEMS],
                Node::Branch(children) => {
                    bits -= BRANCH_BITS;
                    node = children[digit(index, bits)]
                        .as_deref()
                        .expect("every index below the length has been pushed");
                }
            }
        }
    }

    /// The item at `index`, which must be below the length, private to this value.
    pub(crate) fn get_mut(&mut self, index: u32) -> &mut T {
        debug_assert!(index < self.len);
        let (mut node, mut bits) = (&mut self.root, self.bits);
        loop {
            match Arc::make_mut(node) {
                Node::Leaf(items) => return &mut items[index as usize % LEAF_ITEMS],
                Node::Branch(children) => {
                    bits -= BRANCH_BITS;
                    node = children[digit(index, bits)]
                        .get_or_insert_with(|| Arc::new(Node::empty(bits)));
                }
            }
        }
    }

    /// Appends an item and returns its index.
    pub(crate) fn push(&mut self, item: T) -> u32 {
        let index = self.len;
        if u64::from(index) >> self.bits != 0 {
            let mut children: [_; BRANCH_WAYS] = Default::default();
            children[0] = Some(Arc::clone(&self.root));
            self.root = Arc::new(Node::Branch(children));
            self.bits += BRANCH_BITS;
        }
        self.len += 1;
        *self.get_mut(index) = item;
        index
    }
}

/// Which child of a branch leads to `index`, where each child covers `1 << bits` indices.
fn digit(index: u32, bits: u32) -> usize {
    (index >> bits) as usize % BRANCH_WAYS
}
