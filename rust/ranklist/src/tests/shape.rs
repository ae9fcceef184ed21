//! The rules that every node keeps, and the shape of a list as a value that can be compared.

use std::collections::HashSet;

use crate::block::Block;
use crate::table::Members;
use crate::tree::Node;
use crate::{Key, Shared, Version};

/// The bit of a link's steps that says that it is tied to the one before.
const TIED: u32 = 1 << 31;

/// A node with its handles, which depend on the history, replaced by names.
#[derive(Debug, PartialEq)]
enum Picture<'a, const C: usize> {
    Run(Vec<([u64; C], &'a str)>),
    Fork(Vec<Row<'a, C>>),
}

#[derive(Debug, PartialEq)]
struct Row<'a, const C: usize> {
    /// Score and name of the first entry; of the first row they count for nothing.
    head: Option<([u64; C], &'a str)>,
    span: u32,
    steps: u32,
    tied: Option<bool>,
    child: Picture<'a, C>,
}

fn picture<'a, const C: usize>(members: &'a Members<C>, node: Node<'a, C>) -> Picture<'a, C> {
    match node {
        Node::Leaf(run) => {
            let entries = run.scores().iter().zip(run.handles());
            Picture::Run(entries.map(|(score, handle)| (*score, members.name(*handle))).collect())
        }
        Node::Inner(inner) => {
            let row = |slot: usize| {
                let steps = inner.steps()[slot];
                let head = (slot > 0).then(|| {
                    let name = members.name(inner.handles()[slot]);
                    (inner.scores()[slot], name)
                });
                Row {
                    head,
                    span: inner.spans()[slot],
                    steps: steps & !TIED,
                    tied: (slot > 0).then_some(steps & TIED != 0),
                    child: picture(members, inner.child(slot)),
                }
            };
            Picture::Fork((0..inner.children().len()).map(row).collect())
        }
    }
}

/// Checks that the version has the very shape that its contents have when they are loaded in bulk,
/// in rank order as well as in another order, and the same digest.
pub(super) fn assert_canonical<const C: usize>(version: &Version<C>) {
    let entries: Vec<(&str, Key<C>)> =
        version.iter().map(|entry| (entry.member, entry.key)).collect();
    let (tree, members) = (&version.state.tree, &version.state.members);
    let mut shuffled = entries.clone();
    shuffled.sort_unstable_by_key(|(name, _)| members.hash(name).reverse_bits());
    for entries in [entries, shuffled] {
        let changes = version.version();
        let fresh = Shared::from_entries(version.ties(), version.seed(), changes, entries);
        let fresh = fresh.expect("no duplicates").snapshot();
        let (fresh_tree, fresh_members) = (&fresh.state.tree, &fresh.state.members);
        assert_eq!(tree.level(), fresh_tree.level());
        assert_eq!((tree.len(), tree.steps()), (fresh_tree.len(), fresh_tree.steps()));
        let own = tree.root().map(|root| picture(members, root));
        // Not assert_eq: two trees are more than one wants to see.
        assert!(
            own == fresh_tree.root().map(|root| picture(fresh_members, root)),
            "the tree is not canonical"
        );
        assert_eq!(version.digest(), fresh.digest());
    }
}

/// Checks every rule that a version's nodes keep by themselves. Returns how many nodes there are.
pub(super) fn assert_sound<const C: usize>(version: &Version<C>) -> usize {
    let (tree, members) = (&version.state.tree, &version.state.members);
    let mut walk = Walk { version, entries: Vec::new(), blocks: HashSet::new() };
    if let Some(root) = tree.root() {
        walk.node(root, tree.level(), true);
        if let Node::Inner(root) = root {
            assert!(root.children().len() > 1, "the root has a single child");
        }
    } else {
        assert_eq!(tree.level(), 0);
    }
    let entries = &walk.entries;
    assert_eq!(entries.len(), tree.len() as usize);
    assert_eq!(walk.distinct(0..entries.len()), tree.steps());
    assert!(entries.is_sorted_by(|a, b| walk.is_before(*a, *b)), "entries are not in order");
    let handles: HashSet<u32> = entries.iter().copied().collect();
    assert_eq!(handles.len(), entries.len(), "a member stands in two places");
    assert_eq!(members.len() as usize, entries.len());
    for handle in entries {
        let name = members.name(*handle);
        assert_eq!(members.find(members.hash(name), name), Some(*handle));
    }
    walk.blocks.len()
}

struct Walk<'a, const C: usize> {
    version: &'a Version<C>,
    /// The handles met in the runs so far.
    entries: Vec<u32>,
    blocks: HashSet<*const u8>,
}

impl<const C: usize> Walk<'_, C> {
    fn members(&self) -> &Members<C> {
        &self.version.state.members
    }

    fn height(&self, handle: u32) -> usize {
        Members::<C>::height(self.members().hash(self.members().name(handle)))
    }

    fn is_before(&self, a: u32, b: u32) -> bool {
        let (order, members) = (self.version.state.tree.order(), self.members());
        let key = |handle| {
            let Key { score, stamp } = members.key(handle);
            (score, order.code(stamp, members.name(handle)), members.name(handle).as_bytes())
        };
        key(a) < key(b)
    }

    fn score(&self, index: usize) -> [u64; C] {
        self.members().key(self.entries[index]).score
    }

    fn distinct(&self, range: std::ops::Range<usize>) -> u32 {
        let mut scores: Vec<_> = range.map(|index| self.score(index)).collect();
        scores.dedup();
        scores.len() as u32
    }

    /// Checks the node and everything below it.
    fn node(&mut self, node: Node<'_, C>, level: usize, leftmost: bool) {
        let first = self.entries.len();
        let block = node.block();
        assert!(self.blocks.insert(block.at::<u8>(0)), "a node hangs in two places");
        match node {
            Node::Leaf(run) => {
                assert_eq!(level, 0);
                assert_eq!(run.scores().len(), run.handles().len());
                for (score, handle) in run.scores().iter().zip(run.handles()) {
                    assert_eq!(*score, self.members().key(*handle).score);
                }
                self.entries.extend(run.handles());
                for handle in run.handles().iter().skip(usize::from(!leftmost)) {
                    assert_eq!(self.height(*handle), 0, "an entry that rises heads its run");
                }
            }
            Node::Inner(inner) => {
                assert!(level > 0 && !inner.children().is_empty());
                for slot in 0..inner.children().len() {
                    let start = self.entries.len();
                    let child = inner.child(slot);
                    assert_age(block, child.block());
                    self.node(child, level - 1, leftmost && slot == 0);
                    let end = self.entries.len();
                    let steps = inner.steps()[slot];
                    assert_eq!(inner.spans()[slot] as usize, end - start, "a span at {level}");
                    assert_eq!(steps & !TIED, self.distinct(start..end), "steps at {level}");
                    if slot > 0 {
                        let head = self.entries[start];
                        let Key { score, stamp } = self.members().key(head);
                        assert_eq!(inner.handles()[slot], head);
                        assert_eq!(inner.scores()[slot], score);
                        let order = self.version.state.tree.order();
                        let code = order.code(stamp, self.members().name(head));
                        assert_eq!(inner.codes()[slot], code);
                        assert_eq!(self.height(head), level);
                        let tied = start > first && self.score(start - 1) == score;
                        assert_eq!(steps & TIED != 0, tied, "tied at {level}");
                    }
                }
            }
        }
        if !leftmost {
            let head = self.entries[first];
            assert!(self.height(head) > level, "the head of a node rises above it");
        }
    }
}

/// Walks that look for blocks after some number do not enter older ones.
fn assert_age(parent: Block, child: Block) {
    assert!(parent.birth() >= child.birth(), "a parent is older than its child");
}
