//! The registry of views: which are watched, what they show now and who must be told.
//!
//! The first watcher of a channel creates its view, the last one drops it. Views are grouped by
//! board, because that is what changes: a tick asks each board once for its version, and all views
//! of a board are encoded from the same version.
//!
//! Two kinds of locks, both held for short, never across an await, and taken in this order: the
//! registry's for creating and dropping views, a view's for its watchers. Neither is held while
//! states are encoded in a tick, nor when a connection reads one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use rankwire_engine::{Board, Engine, Snapshot, Version};

use crate::channel::{self, Subject};
use crate::mailbox::Mailbox;
use crate::protocol::CommandError;
use crate::state::{State, content};
use crate::stats::Counters;

/// All views of the hub.
#[derive(Debug)]
pub(crate) struct Registry {
    /// Where boards are looked up.
    engine: Arc<Engine>,
    /// The views of each board that has any, by the board's name.
    groups: Mutex<HashMap<Box<str>, Group>>,
    /// Shared with the whole hub.
    counters: Arc<Counters>,
}

/// The views of one life of a board.
#[derive(Debug)]
struct Group {
    /// This life of the board; a later one has another id.
    board: Arc<Board>,
    /// Version of the list that the last tick encoded.
    version: u64,
    /// The views that have watchers.
    views: HashMap<Subject, Arc<View>>,
}

/// One view: a subject of one life of a board.
#[derive(Debug)]
pub(crate) struct View {
    /// The name that watchers subscribe to.
    channel: Box<str>,
    /// The board that the view shows a part of.
    board: Arc<Board>,
    /// Which part.
    subject: Subject,
    /// The newest state. Only the ticker stores another one.
    state: ArcSwap<State>,
    /// Set once, when the board is gone: there will be no other state.
    ended: AtomicBool,
    /// Who must be told, by the id of the connection.
    watchers: Mutex<HashMap<u64, Watcher>>,
}

/// One connection that watches a view.
#[derive(Debug, Clone)]
pub(crate) struct Watcher {
    /// Id of the connection.
    pub(crate) connection: u64,
    /// Its mailbox.
    pub(crate) mailbox: Arc<Mailbox>,
    /// Its slot for this view.
    pub(crate) slot: usize,
}

/// What a tick has to do.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Views of boards that have a new version, with that version.
    pub(crate) changed: Vec<(Arc<View>, Snapshot)>,
    /// Views of boards that are gone; the registry has forgotten them.
    pub(crate) ended: Vec<Arc<View>>,
}

impl Registry {
    pub(crate) fn new(engine: Arc<Engine>, counters: Arc<Counters>) -> Self {
        Self { engine, groups: Mutex::default(), counters }
    }

    /// Finds or creates the view of a channel and adds a watcher to it.
    pub(crate) fn watch(&self, channel: &str, watcher: Watcher) -> Result<Arc<View>, CommandError> {
        let (name, subject) = channel::parse(channel)?;
        let unknown =
            |error: rankwire_engine::Error| CommandError::UnknownChannel(error.to_string());
        let mut groups = lock(&self.groups);
        let board = self.engine.board(name).map_err(unknown)?;
        let group = groups.entry(name.into()).or_insert_with(|| Group::new(&board));
        if group.board.id() != board.id() {
            let ended = std::mem::replace(group, Group::new(&board));
            self.end(ended);
        }
        let view = match group.views.entry(subject) {
            Entry::Occupied(entry) => Arc::clone(entry.get()),
            Entry::Vacant(entry) => {
                self.counters.views.add(1);
                self.counters.publications.add(1);
                let view = View::new(channel, board, entry.key().clone());
                Arc::clone(entry.insert(Arc::new(view)))
            }
        };
        lock(&view.watchers).insert(watcher.connection, watcher);
        self.counters.subscriptions.add(1);
        Ok(view)
    }

    /// Takes a watcher from a view, and drops the view with its last one.
    pub(crate) fn unwatch(&self, view: &Arc<View>, connection: u64) {
        let mut groups = lock(&self.groups);
        let mut watchers = lock(&view.watchers);
        watchers.remove(&connection);
        self.counters.subscriptions.sub(1);
        if !watchers.is_empty() {
            return;
        }
        // The board's group may be one of a later life, which knows nothing of this view.
        let Some(group) = groups.get_mut(view.board.name()) else { return };
        if group.views.get(&view.subject).is_some_and(|known| Arc::ptr_eq(known, view)) {
            group.views.remove(&view.subject);
            self.counters.views.sub(1);
            if group.views.is_empty() {
                groups.remove(view.board.name());
            }
        }
    }

    /// Finds what has changed since the last call.
    pub(crate) fn due(&self) -> Due {
        let mut due = Due::default();
        let mut groups = lock(&self.groups);
        groups.retain(|name, group| {
            let lives = self.engine.board(name).is_ok_and(|board| board.id() == group.board.id());
            if lives {
                group.collect_changed(&mut due.changed);
            } else {
                self.counters.views.sub(group.views.len() as u64);
                due.ended.extend(group.views.drain().map(|(_, view)| view));
            }
            lives
        });
        due
    }

    /// Encodes a view's state if it is another one now, and tells its watchers.
    pub(crate) fn refresh(&self, view: &View, list: &Version) {
        if view.refresh(list) {
            self.counters.publications.add(1);
        }
    }

    /// Ends the views of a board that was deleted and created again.
    fn end(&self, group: Group) {
        self.counters.views.sub(group.views.len() as u64);
        group.views.into_values().for_each(|view| view.end());
    }
}

impl Group {
    fn new(board: &Arc<Board>) -> Self {
        let version = board.load().version();
        Self { board: Arc::clone(board), version, views: HashMap::new() }
    }

    fn collect_changed(&mut self, changed: &mut Vec<(Arc<View>, Snapshot)>) {
        if self.board.load().version() != self.version {
            // The ticker keeps it across awaits.
            let list = self.board.snapshot();
            self.version = list.version();
            changed.extend(self.views.values().map(|view| (Arc::clone(view), list.clone())));
        }
    }
}

impl View {
    fn new(channel: &str, board: Arc<Board>, subject: Subject) -> Self {
        let list = board.load();
        let state = State::new(1, channel, &board, &list, &content(&board, &list, &subject));
        drop(list);
        Self {
            channel: channel.into(),
            board,
            subject,
            state: ArcSwap::from_pointee(state),
            ended: AtomicBool::new(false),
            watchers: Mutex::default(),
        }
    }

    /// The channel name.
    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// The newest state, or nothing once the board is gone.
    pub(crate) fn state(&self) -> Option<Arc<State>> {
        // Pairs with `end`; a store that is missed here is followed by a mark in the mailbox.
        if self.ended.load(Ordering::Acquire) { None } else { Some(self.state.load_full()) }
    }

    /// Ends the view: the board is gone.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.wake();
    }

    /// Encodes the state if it is another one now. Returns whether it was.
    fn refresh(&self, list: &Version) -> bool {
        let old = self.state.load();
        let content = content(&self.board, list, &self.subject);
        if old.content() == content {
            return false;
        }
        let new = State::new(old.number + 1, &self.channel, &self.board, list, &content);
        self.state.store(Arc::new(new));
        self.wake();
        true
    }

    fn wake(&self) {
        for watcher in lock(&self.watchers).values() {
            watcher.mailbox.mark(watcher.slot);
        }
    }
}

/// Locks a map whose users do not panic; if one did, the worst would be a group without views.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
