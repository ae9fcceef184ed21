//! Building the tree in one pass over sorted entries.

use std::mem::take;
use std::sync::Arc;

use crate::key::Key;
use crate::node::{Inner, Link, Node, Run};

/// One entry of the input of [`build`].
pub(crate) struct Item {
    pub(crate) key: Key,
    pub(crate) handle: u32,
    pub(crate) height: usize,
}

/// The open node of every level.
struct Builder {
    leaf: Run,
    /// `inner[k]` is at level k + 1.
    inner: Vec<Inner>,
}

/// Builds the tree of the items, which must be in rank order. Returns the root and its level.
pub(crate) fn build(items: &[Item]) -> (Link, usize) {
    let level = items.iter().map(|item| item.height).max().unwrap_or(0);
    let inner = (0..level).map(|_| Inner::default()).collect();
    let mut builder = Builder { leaf: Run::default(), inner };
    for item in items {
        if item.height > 0 {
            builder.close(item.height);
            builder.inner[item.height - 1].seps.push(item.key.score, item.handle);
        }
        builder.leaf.push(item.key.score, item.handle);
    }
    (builder.finish(level), level)
}

impl Builder {
    /// Closes the open nodes below `level` and hangs the highest of them under the open node at
    /// `level`.
    fn close(&mut self, level: usize) {
        let (mut node, mut span) = self.take_leaf();
        for inner in &mut self.inner[..level - 1] {
            inner.children.push(Arc::new(node));
            inner.spans.push(span);
            (node, span) = take_inner(inner);
        }
        let parent = &mut self.inner[level - 1];
        parent.children.push(Arc::new(node));
        parent.spans.push(span);
    }

    fn finish(mut self, level: usize) -> Link {
        if level == 0 {
            return Arc::new(self.take_leaf().0);
        }
        self.close(level);
        Arc::new(take_inner(&mut self.inner[level - 1]).0)
    }

    fn take_leaf(&mut self) -> (Node, u32) {
        let mut run = take(&mut self.leaf);
        run.shrink_to_fit();
        let span = run.scores.len() as u32;
        (Node::Leaf(run), span)
    }
}

/// Takes the open node out of its place and returns it with its span.
fn take_inner(open: &mut Inner) -> (Node, u32) {
    let mut inner = take(open);
    inner.seps.shrink_to_fit();
    inner.spans.shrink_to_fit();
    inner.children.shrink_to_fit();
    let span = inner.span();
    (Node::Inner(Box::new(inner)), span)
}
