//! The views of one worker, and the states that are on their way to watchers.
//!
//! A state *spreads*: its view stands in a queue until every watcher was visited, last one first. A
//! watcher that leaves is replaced by the last in the list, which was visited before; so nobody is
//! missed, and who is visited twice has the state already. While a view of a board here spreads its
//! state stays the newest: a change in the meantime waits, and melts with those after it. The other
//! hub does not know what spreads here: its next state replaces the one on its way.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use slab::Slab;

use crate::channel::{Subject, ViewKind};
use crate::content::Content;
use crate::delta;
use crate::view::{End, View, Watcher};

/// A view with fewer watchers does not keep its frames: hardly anybody would share them.
const SHARING: usize = 16;

/// Identifies a view of a worker while it has watchers.
pub(crate) type ViewId = u32;

/// A state on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) view: ViewId,
    /// So many watchers, the first of the list, were not visited yet.
    pub(crate) left: u32,
}

/// All views of a worker.
#[derive(Debug, Default)]
pub(crate) struct Views {
    table: Slab<View>,
    /// The views that several clients may share, by channel.
    shared: HashMap<Box<str>, ViewId>,
    spreading: VecDeque<Spread>,
    /// Serial number of the view that was made last.
    last: u64,
    deltas: delta::Encoder,
}

impl Views {
    /// The view of a channel, if somebody watches it.
    pub(crate) fn find(&self, channel: &str) -> Option<ViewId> {
        self.shared.get(channel).copied()
    }

    /// A new view without watchers.
    pub(crate) fn create(&mut self, channel: &str, subject: Subject, now: Instant) -> ViewId {
        let is_shared = subject.is_shared();
        self.last += 1;
        let view = self.table.insert(View::new(self.last, channel, subject, now)) as ViewId;
        if is_shared {
            self.shared.insert(channel.into(), view);
        }
        view
    }

    /// Drops a view that has no watchers.
    pub(crate) fn remove(&mut self, view: ViewId) -> View {
        let gone = self.table.remove(view as usize);
        self.unlist(view, &gone.channel);
        gone
    }

    /// The view, if it is there: queues may name one that has gone.
    pub(crate) fn get_mut(&mut self, view: ViewId) -> Option<&mut View> {
        self.table.get_mut(view as usize)
    }

    /// Adds a watcher. Returns where it stands in the view's list.
    pub(crate) fn join(&mut self, view: ViewId, watcher: Watcher, delta: bool) -> u32 {
        let view = &mut self[view];
        view.watchers.push(watcher);
        view.deltas += u32::from(delta);
        view.watchers.len() as u32 - 1
    }

    /// Takes a watcher from its place in the view's list. Returns who stands there now.
    pub(crate) fn leave(&mut self, view: ViewId, index: u32, delta: bool) -> Option<Watcher> {
        let view = &mut self[view];
        view.watchers.swap_remove(index as usize);
        view.deltas -= u32::from(delta);
        view.watchers.get(index as usize).copied()
    }

    /// Takes a new state, which spreads from now on. Returns how many it has to reach.
    pub(crate) fn publish(&mut self, id: ViewId, content: Content, now: Instant) -> usize {
        let Self { table, deltas, .. } = self;
        table[id as usize].publish(content, now, deltas);
        self.spread(id)
    }

    /// Ends a view: its watchers are told, and nobody else finds it.
    pub(crate) fn end(&mut self, id: ViewId, end: End) {
        let view = &mut self[id];
        view.end = Some(end);
        let channel = view.channel.clone();
        self.unlist(id, &channel);
        self.spread(id);
    }

    /// How many views there are.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether states are on their way.
    pub(crate) fn is_spreading(&self) -> bool {
        !self.spreading.is_empty()
    }

    /// The state that is next to be delivered, with up to `most` watchers to visit now: those before
    /// `left`, the last one first. Other states get their turn after it.
    pub(crate) fn next_slice(&mut self, most: usize) -> Option<(ViewId, u32, u32)> {
        while let Some(mut spread) = self.spreading.pop_front() {
            let Some(view) = self.table.get_mut(spread.view as usize) else { continue };
            let left = spread.left.min(view.watchers.len() as u32);
            spread.left = left.saturating_sub(most as u32);
            if spread.left > 0 {
                self.spreading.push_back(spread);
            }
            if left > 0 {
                return Some((spread.view, left, spread.left));
            }
            view.spreading = None;
        }
        None
    }

    /// After a slice. After the last one, what only few would share is given up. Returns then the
    /// view's kind and since when the state was on its way, unless what spread was the end.
    pub(crate) fn rest(&mut self, view: ViewId, is_last: bool) -> Option<(ViewKind, Instant)> {
        let view = self.get_mut(view).filter(|_| is_last)?;
        if view.watchers.len() < SHARING {
            view.forget_frames();
        }
        let since = view.spreading.take().filter(|_| view.end.is_none())?;
        Some((view.subject.kind(), since))
    }

    fn spread(&mut self, id: ViewId) -> usize {
        let view = &mut self.table[id as usize];
        let left = view.watchers.len() as u32;
        if view.spreading.is_some() {
            // A newer state, or the end, came before everybody had this one: all are visited again.
            self.spreading.retain(|spread| spread.view != id);
        }
        // Who has not got the state before has waited since that one.
        view.spreading.get_or_insert_with(Instant::now);
        self.spreading.push_back(Spread { view: id, left });
        left as usize
    }

    /// Makes a view one that nobody finds, if it is one that could be found.
    fn unlist(&mut self, view: ViewId, channel: &str) {
        if self.find(channel) == Some(view) {
            self.shared.remove(channel);
        }
    }
}

impl std::ops::Index<ViewId> for Views {
    type Output = View;

    fn index(&self, view: ViewId) -> &View {
        &self.table[view as usize]
    }
}

impl std::ops::IndexMut<ViewId> for Views {
    fn index_mut(&mut self, view: ViewId) -> &mut View {
        &mut self.table[view as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A view with some watchers whose first state nobody had to wait for.
    fn watched(watchers: u32) -> (Views, ViewId) {
        let mut views = Views::default();
        let subject = Subject::Member("ann".into());
        let id = views.create("board:b:member:ann", subject, Instant::now());
        publish(&mut views, id);
        for slot in 0..watchers {
            views.join(id, Watcher { slot, place: 0 }, false);
        }
        assert_eq!(visit(&mut views, 256), None);
        assert!(views[id].spreading.is_none());
        (views, id)
    }

    fn publish(views: &mut Views, id: ViewId) {
        views.publish(id, Content::relayed(1, b"{}".to_vec()), Instant::now());
    }

    /// Visits a slice: how many were visited, and what spread until now, since when.
    fn visit(views: &mut Views, most: usize) -> Option<(u32, Option<(ViewKind, Instant)>)> {
        let (view, from, to) = views.next_slice(most)?;
        Some((from - to, views.rest(view, to == 0)))
    }

    #[test]
    fn a_state_is_through_once_and_after_its_last_slice() {
        let (mut views, id) = watched(300);
        publish(&mut views, id);
        let since = views[id].spreading;
        assert!(since.is_some());
        assert_eq!(visit(&mut views, 256), Some((256, None)));
        assert_eq!(
            visit(&mut views, 256),
            Some((44, since.map(|since| (ViewKind::Member, since))))
        );
        assert_eq!(visit(&mut views, 256), None);
        assert!(views[id].spreading.is_none());
    }

    #[test]
    fn a_state_that_replaces_another_on_its_way_takes_over_its_time() {
        let (mut views, id) = watched(2);
        publish(&mut views, id);
        let since = views[id].spreading;
        assert_eq!(visit(&mut views, 1), Some((1, None)));
        publish(&mut views, id);
        assert_eq!(visit(&mut views, 256), Some((2, since.map(|since| (ViewKind::Member, since)))));
        assert_eq!(visit(&mut views, 256), None);
        publish(&mut views, id);
        assert!(views[id].spreading > since);
    }

    #[test]
    fn the_end_of_a_view_is_no_state() {
        let (mut views, id) = watched(2);
        publish(&mut views, id);
        views.end(id, End { code: 2500, reason: String::new() });
        assert_eq!(visit(&mut views, 256), Some((2, None)));
        assert_eq!(visit(&mut views, 256), None);
    }
}
