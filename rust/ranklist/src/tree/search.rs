//! Finding ranks: descents that add up what they leave to their left.

use super::Tree;
use super::node::{Node, Place, TIED, count_steps, total};

/// What stands before a boundary between scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Before {
    /// Entries.
    pub(crate) entries: u64,
    /// Different scores among them.
    pub(crate) steps: u64,
}

impl<const C: usize> Tree<C> {
    /// The rank of the entry at `place`, counted from 1.
    pub(crate) fn rank(&self, place: &Place<'_, C>) -> u64 {
        let mut node = self.root().expect("a member has an entry");
        let mut before = 0;
        loop {
            match node {
                Node::Leaf(run) => return before + run.position(place.handle) as u64 + 1,
                Node::Inner(inner) => {
                    let slot = inner.slot(place);
                    before += u64::from(inner.spans()[..slot].iter().sum::<u32>());
                    node = inner.child(slot);
                }
            }
        }
    }

    /// What stands before the first entry whose score `passed` denies; it must not deny a score
    /// and confirm a later one.
    pub(crate) fn before(&self, passed: impl Fn(&[u64; C]) -> bool) -> Before {
        let mut before = Before::default();
        let Some(mut node) = self.root() else { return before };
        loop {
            match node {
                Node::Leaf(run) => {
                    let entries = run.scores().partition_point(&passed);
                    before.entries += entries as u64;
                    before.steps += u64::from(count_steps(&run.scores()[..entries]));
                    return before;
                }
                Node::Inner(inner) => {
                    let slot = inner.scores()[1..].partition_point(&passed);
                    before.entries += u64::from(inner.spans()[..slot].iter().sum::<u32>());
                    if slot > 0 {
                        // The child at the slot starts with an entry that is before the boundary.
                        let tied = inner.steps()[slot] & TIED != 0;
                        before.steps += u64::from(total(&inner.steps()[..slot]));
                        before.steps -= u64::from(tied);
                    }
                    node = inner.child(slot);
                }
            }
        }
    }
}
