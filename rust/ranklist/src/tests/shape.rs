//! The rules that every node keeps, and the shape of a list as a value that can be compared.

use std::collections::HashSet;

use crate::members::{Members, NO_HANDLE};
use crate::node::{Node, Run};
use crate::trie::{Branch, Slot};
use crate::{Key, List};

/// A tree with its handles, which depend on the history, replaced by names.
#[derive(Debug, PartialEq)]
enum Tree<'a> {
    Leaf(Vec<(u64, &'a str)>),
    Inner { seps: Vec<(u64, &'a str)>, spans: &'a [u32], children: Vec<Self> },
}

/// A trie with its handles replaced by names.
#[derive(Debug, PartialEq)]
enum Names<'a> {
    One(&'a str),
    Bucket(Vec<&'a str>),
    Branch(u32, Vec<Self>),
}

fn named<'a>(members: &'a Members, run: &'a Run) -> Vec<(u64, &'a str)> {
    run.scores.iter().zip(&run.handles).map(|(score, h)| (*score, members.name(*h))).collect()
}

fn tree<'a>(members: &'a Members, node: &'a Node) -> Tree<'a> {
    match node {
        Node::Leaf(run) => Tree::Leaf(named(members, run)),
        Node::Inner(inner) => Tree::Inner {
            seps: named(members, &inner.seps),
            spans: &inner.spans,
            children: inner.children.iter().map(|child| tree(members, child)).collect(),
        },
    }
}

fn names<'a>(members: &'a Members, branch: &'a Branch) -> Names<'a> {
    let slot = |slot: &'a Slot| match slot {
        Slot::Handle(handle) => Names::One(members.name(*handle)),
        Slot::Branch(child) => names(members, child),
        Slot::Bucket(handles) => {
            let mut bucket: Vec<_> = handles.iter().map(|h| members.name(*h)).collect();
            bucket.sort_unstable();
            Names::Bucket(bucket)
        }
    };
    Names::Branch(branch.bitmap, branch.slots.iter().map(slot).collect())
}

/// Checks that the list has the very shape that its contents have when they are loaded in bulk, in
/// rank order as well as in another order.
pub(super) fn assert_canonical(list: &List) {
    let entries: Vec<(&str, Key)> = list.iter().map(|entry| (entry.member, entry.key)).collect();
    let mut shuffled = entries.clone();
    shuffled.sort_unstable_by_key(|(name, _)| list.members.hash(name).reverse_bits());
    for entries in [entries, shuffled] {
        let fresh = List::from_entries(list.ties(), list.seed(), entries).expect("no duplicates");
        assert_eq!(list.level, fresh.level);
        assert_eq!(list.len, fresh.len);
        // Not assert_eq: two trees are more than one wants to see.
        assert!(
            tree(&list.members, &list.root) == tree(&fresh.members, &fresh.root),
            "the tree is not canonical"
        );
        assert!(
            names(&list.members, &list.members.by_name.root)
                == names(&fresh.members, &fresh.members.by_name.root),
            "the trie is not canonical"
        );
    }
}

/// Checks every rule that a list's nodes keep by themselves.
pub(super) fn assert_sound(list: &List) {
    let mut walk = Walk { list, handles: Vec::new() };
    let span = walk.node(&list.root, list.level, true);
    assert_eq!(span, list.len);
    if let Node::Inner(root) = &*list.root {
        assert!(root.children.len() > 1, "the root has a single child");
    }
    assert!(walk.handles.is_sorted_by(|a, b| walk.is_before(*a, *b)), "entries are not in order");
    assert_table(list, &walk.handles);
}

struct Walk<'a> {
    list: &'a List,
    /// The handles met in the leaves so far.
    handles: Vec<u32>,
}

impl Walk<'_> {
    fn height(&self, handle: u32) -> usize {
        Members::height(self.list.members.hash(self.list.members.name(handle)))
    }

    fn is_before(&self, a: u32, b: u32) -> bool {
        let members = &self.list.members;
        let (a_key, b_key) = (members.key(a), members.key(b));
        let stamps = self.list.ties().order(a_key.stamp, b_key.stamp);
        a_key.score.cmp(&b_key.score).then(stamps).then(members.order_names(a, b)).is_lt()
    }

    fn run(&self, run: &Run) {
        assert_eq!(run.scores.len(), run.handles.len());
        for (score, handle) in run.scores.iter().zip(&run.handles) {
            assert_eq!(*score, self.list.members.key(*handle).score);
        }
    }

    /// Checks the node and everything below it, and returns its span.
    fn node(&mut self, node: &Node, level: usize, leftmost: bool) -> u32 {
        let first = self.handles.len();
        match node {
            Node::Leaf(run) => {
                assert_eq!(level, 0);
                self.run(run);
                self.handles.extend(&run.handles);
                for handle in run.handles.iter().skip(usize::from(!leftmost)) {
                    assert_eq!(self.height(*handle), 0, "an entry that rises heads its run");
                }
            }
            Node::Inner(inner) => {
                assert_eq!(inner.children.len(), inner.seps.handles.len() + 1);
                assert_eq!(inner.children.len(), inner.spans.len());
                self.run(&inner.seps);
                for (slot, child) in inner.children.iter().enumerate() {
                    let start = self.handles.len();
                    let span = self.node(child, level - 1, leftmost && slot == 0);
                    assert_eq!(inner.spans[slot], span);
                    if slot > 0 {
                        assert_eq!(inner.seps.handles[slot - 1], self.handles[start]);
                        assert_eq!(self.height(self.handles[start]), level);
                    }
                }
            }
        }
        if !leftmost {
            assert!(self.height(self.handles[first]) > level, "the head of a node rises above it");
        }
        (self.handles.len() - first) as u32
    }
}

/// Checks that the member table knows the given handles and no others.
fn assert_table(list: &List, used: &[u32]) {
    let members = &list.members;
    let mut handles: HashSet<u32> = HashSet::new();
    for handle in used {
        assert!(handles.insert(*handle), "an entry stands in two places");
        let name = members.name(*handle);
        assert_eq!(members.find(members.hash(name), name), Some(*handle));
    }
    let mut free = members.first_free;
    while free != NO_HANDLE {
        assert!(handles.insert(free), "a free handle is in use, or is free twice");
        assert!(members.names.get(free).is_none());
        free = members.slots.get(free).score as u32;
    }
    assert_eq!(handles.len(), members.slots.len() as usize, "a handle is lost");
    assert_eq!(assert_branch(&members.by_name.root, true), used.len());
}

/// Checks a branch of a trie and everything below it, and returns how many handles it holds.
pub(super) fn assert_branch(branch: &Branch, root: bool) -> usize {
    assert_eq!(branch.bitmap.count_ones() as usize, branch.slots.len());
    assert!(root || !matches!(branch.slots[..], [] | [Slot::Handle(_)]), "a branch for nothing");
    let count = |slot: &Slot| match slot {
        Slot::Handle(_) => 1,
        Slot::Branch(child) => assert_branch(child, false),
        Slot::Bucket(handles) => {
            assert!(handles.len() > 1, "a bucket for nothing");
            handles.len()
        }
    };
    branch.slots.iter().map(count).sum()
}
