//! Building the tree in one pass over sorted entries.

use super::Tree;
use super::edit::{Link, make_fork, make_run};
use super::node::{TIED, count_steps, total};
use super::order::Order;
use crate::block::{Block, Maker};
use crate::key::Key;
use crate::table::Members;

/// One entry of the input of [`Tree::build`].
pub(crate) struct Item<const C: usize> {
    pub(crate) key: Key<C>,
    pub(crate) handle: u32,
    pub(crate) height: usize,
}

/// The open node of a level above 0.
struct Open<const C: usize> {
    /// Its children but the last, which is open itself.
    links: Vec<Link<C>>,
    /// What the link to the last child will say of its first entry.
    head: Head<C>,
}

#[derive(Clone, Copy)]
struct Head<const C: usize> {
    score: [u64; C],
    code: u64,
    handle: u32,
    tied: bool,
}

impl<const C: usize> Head<C> {
    /// That of a first child, which nobody asks.
    const NONE: Self = Self { score: [0; C], code: 0, handle: 0, tied: false };
}

/// A node that is finished, and what is below it.
struct Closed {
    block: Block,
    span: u32,
    steps: u32,
}

struct Builder<'a, const C: usize> {
    maker: &'a mut Maker,
    run: Vec<([u64; C], u32)>,
    /// `open[k]` is at level k + 1.
    open: Vec<Open<C>>,
}

impl<const C: usize> Tree<C> {
    /// Builds the tree of the items, which must be in rank order.
    pub(crate) fn build(
        maker: &mut Maker,
        members: &Members<C>,
        order: Order,
        items: &[Item<C>],
    ) -> Self {
        if items.is_empty() {
            return Self::new(order.ties());
        }
        let level = items.iter().map(|item| item.height).max().unwrap_or(0);
        let open = || Open { links: Vec::new(), head: Head::NONE };
        let open = std::iter::repeat_with(open).take(level).collect();
        let mut builder = Builder { maker, run: Vec::new(), open };
        let mut previous = None;
        for item in items {
            let Key { score, stamp } = item.key;
            if item.height > 0 {
                builder.close(item.height);
                let code = order.code(stamp, members.name(item.handle));
                let tied = previous == Some(score);
                builder.open[item.height - 1].head =
                    Head { score, code, handle: item.handle, tied };
            }
            builder.run.push((score, item.handle));
            previous = Some(score);
        }
        let Closed { block, span: len, steps } = builder.finish(level);
        Self { root: Some(block), level, len, steps, order }
    }
}

impl<const C: usize> Builder<'_, C> {
    /// Closes the open nodes below `level` and hangs the highest of them under the open node at
    /// `level`.
    fn close(&mut self, level: usize) {
        let mut closed = self.close_run();
        for below in 0..level - 1 {
            self.hang(below, &closed);
            closed = self.close_fork(below);
        }
        self.hang(level - 1, &closed);
    }

    /// Makes a closed node the last child of an open one.
    fn hang(&mut self, parent: usize, closed: &Closed) {
        let Open { links, head } = &mut self.open[parent];
        let Head { score, code, handle, tied } = *head;
        let steps = closed.steps | if tied { TIED } else { 0 };
        links.push(Link { child: closed.block, score, code, handle, span: closed.span, steps });
        *head = Head::NONE;
    }

    fn finish(mut self, level: usize) -> Closed {
        if level == 0 {
            return self.close_run();
        }
        self.close(level);
        self.close_fork(level - 1)
    }

    fn close_run(&mut self) -> Closed {
        let scores: Vec<_> = self.run.iter().map(|(score, _)| *score).collect();
        let (span, steps) = (scores.len() as u32, count_steps(&scores));
        let block = make_run(self.maker, &self.run);
        self.run.clear();
        Closed { block, span, steps }
    }

    fn close_fork(&mut self, index: usize) -> Closed {
        let links = &mut self.open[index].links;
        let steps: Vec<_> = links.iter().map(|link| link.steps).collect();
        let (span, steps) = (links.iter().map(|link| link.span).sum(), total(&steps));
        let block = make_fork(self.maker, links);
        links.clear();
        Closed { block, span, steps }
    }
}
