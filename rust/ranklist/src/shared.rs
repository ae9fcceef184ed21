//! The version of a list that readers see.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::list::List;

/// One list's published version.
///
/// Readers take the current version without a lock and without waiting for anyone, and keep it as
/// long as they like; what they hold never changes. A new version replaces the old one in a single
/// step, so no reader sees a part of it.
///
/// There may be any number of readers, but in this release only one writer at a time, and seeing
/// to that is the caller's duty: of two writers that start from the same version, the one that
/// publishes last would undo the other's work.
///
/// ```
/// use rankwire_ranklist::{Key, List, Shared, Ties};
///
/// let shared = Shared::new(List::new(Ties::First, [0; 16]));
/// let before = shared.load();
///
/// let mut next = List::clone(&before);
/// next.set("ada", Key { score: 7, stamp: 1 });
/// shared.publish(next);
///
/// assert_eq!(before.rank("ada"), None);
/// assert_eq!(shared.load().rank("ada"), Some(1));
/// ```
#[derive(Debug)]
pub struct Shared {
    current: ArcSwap<List>,
}

impl Shared {
    /// Publishes the first version.
    pub fn new(list: List) -> Self {
        Self { current: ArcSwap::from_pointee(list) }
    }

    /// The current version, in O(1). Never blocks.
    pub fn load(&self) -> Arc<List> {
        self.current.load_full()
    }

    /// Makes `list` the current version, in O(1) plus the cost of dropping the old version's own
    /// nodes if nobody holds it any more.
    pub fn publish(&self, list: List) {
        self.current.store(Arc::new(list));
    }
}
