//! Where views get their states from in a process that has the boards: the engine.
//!
//! Every [`LOOK`] the worker asks whether anything was committed since. If so, each board that is
//! watched is asked for its version, and the views of those that have a new one wait to be looked
//! at. A view is published at most once per tick, and no more of them than the worker's budget of
//! deliveries allows: it is refilled steadily, a publication costs as many as the view has
//! watchers, and below zero nothing is published. So a view with many watchers ticks slower when
//! they are more than the budget, and what changed in between melts into one state.
//!
//! Views of one member are not asked at every change, as nearly every submit to a large board moves
//! most ranks. Their turn comes once per personal tick, a part of them at each look.
//!
//! A change of the slow part of a state (see `content`) alone is published [`DRIFT_TICKS`] personal
//! ticks after the publication before.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rankwire_engine::{Board, Engine};
use slab::Slab;

use crate::bucket::Bucket;
use crate::centrifuge::CommandError;
use crate::channel::Subject;
use crate::config::Config;
use crate::content::{Change, Content};
use crate::stats::Counters;
use crate::view::{End, View};
use crate::views::{ViewId, Views};

/// Time between two looks: what a change waits at most before it is noticed.
pub(crate) const LOOK: Duration = Duration::from_millis(10);

/// Boards asked for their version in one look: with more, a change is noticed some looks later.
const BOARDS_PER_LOOK: usize = 1024;

/// Personal ticks between two publications that differ in the slow part only.
const DRIFT_TICKS: u32 = 5;

/// The unsubscribe code after which SDKs subscribe again.
const RESUBSCRIBE: u32 = 2500;

/// What those who watch a board's events are told when it is deleted.
const DELETED: &str = r#"{"event":"deleted"}"#;

/// The boards that somebody watches through this worker.
#[derive(Debug)]
pub(crate) struct Boards {
    engine: Arc<Engine>,
    groups: Slab<Group>,
    by_name: HashMap<Box<str>, u32>,
    /// Views that may have changed, with their serial numbers, who waits longest first. May name
    /// views that are gone.
    waiting: VecDeque<(ViewId, u64)>,
    /// All personal views, and whose turn is next.
    personal: Vec<ViewId>,
    turn: usize,
    /// What is not a whole turn yet: nanoseconds that have passed times views.
    owed: u128,
    /// What the engine had committed at the last look.
    publications: u64,
    /// So many slots of groups were not visited since, and which is next.
    unvisited: usize,
    next_group: usize,
    budget: Bucket,
    looked: Instant,
    times: Times,
}

/// The times of a source.
#[derive(Debug, Clone, Copy)]
struct Times {
    tick: Duration,
    personal_tick: Duration,
    drift: Duration,
}

/// One life of a board and its views.
#[derive(Debug)]
struct Group {
    board: Arc<Board>,
    /// The board's identity as clients are told it.
    epoch: Arc<str>,
    /// Version whose changes the shared views were told of.
    version: u64,
    /// Views that are not personal.
    views: Vec<ViewId>,
    /// How many personal ones there are.
    personal: usize,
}

impl Boards {
    pub(crate) fn new(engine: Arc<Engine>, config: &Config, now: Instant) -> Self {
        let times = Times {
            tick: config.tick,
            personal_tick: config.personal_tick,
            drift: config.personal_tick * DRIFT_TICKS,
        };
        let budget = Bucket::new(config.deliveries_per_second, config.tick.max(LOOK), now);
        Self {
            engine,
            groups: Slab::new(),
            by_name: HashMap::new(),
            waiting: VecDeque::new(),
            personal: Vec::new(),
            turn: 0,
            owed: 0,
            publications: 0,
            unvisited: 0,
            next_group: 0,
            budget,
            looked: now,
            times,
        }
    }

    /// Where calls are answered.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The view of a channel, made with its first state if nobody watches it.
    pub(crate) fn open(
        &mut self,
        views: &mut Views,
        (board, channel, subject): (&str, &str, Subject),
        now: Instant,
    ) -> Result<ViewId, CommandError> {
        // Before anything is found: the board may have another life now, which ends the old views.
        let group = self.group(views, board, now)?;
        if let Some(view) = views.find(channel) {
            return Ok(view);
        }
        let is_personal = subject.is_personal();
        let id = views.create(channel, subject, now);
        let list = if is_personal {
            self.groups[group as usize].personal += 1;
            &mut self.personal
        } else {
            &mut self.groups[group as usize].views
        };
        list.push(id);
        let index = list.len() as u32 - 1;
        let Group { board, epoch, .. } = &self.groups[group as usize];
        let content = Content::of(&views[id].subject, board, &board.load());
        let view = &mut views[id];
        view.epoch = Arc::clone(epoch);
        view.place.group = group;
        view.place.index = index;
        view.place.looked = content.version;
        view.due = now + self.times.tick;
        // Nobody watches it yet, so there is nothing to deliver.
        views.publish(id, content, now);
        Ok(id)
    }

    /// Drops a view that has no watchers any more.
    pub(crate) fn close(&mut self, views: &mut Views, id: ViewId) {
        let view = views.remove(id);
        // The lists of an ended view's board are gone.
        if view.end.is_some() {
            return;
        }
        let (group, index) = (view.place.group as usize, view.place.index as usize);
        let list = if view.subject.is_personal() {
            self.groups[group].personal -= 1;
            &mut self.personal
        } else {
            &mut self.groups[group].views
        };
        list.swap_remove(index);
        if let Some(moved) = list.get(index) {
            views[*moved].place.index = index as u32;
        }
        if self.groups[group].views.is_empty() && self.groups[group].personal == 0 {
            let group = self.groups.remove(group);
            self.by_name.remove(group.board.name());
        }
    }

    /// Publishes what a view shows now, changed or not: a client has seen a later version of its
    /// board through another worker, and may have another content.
    pub(crate) fn renew(&mut self, views: &mut Views, id: ViewId, now: Instant) {
        let view = &views[id];
        let board = &self.groups[view.place.group as usize].board;
        let content = Content::of(&view.subject, board, &board.load());
        self.budget.take(views.publish(id, content, now));
    }

    /// Publishes what is due. To be called every [`LOOK`] or so.
    pub(crate) fn look(&mut self, views: &mut Views, counters: &Counters, now: Instant) {
        let passed = now - self.looked;
        self.looked = now;
        self.budget.fill(now);
        let publications = self.engine.publications();
        if publications != self.publications {
            self.publications = publications;
            self.unvisited = self.groups.capacity();
        }
        self.notice(views, now);
        self.publish_waiting(views, counters, now);
        self.owed += passed.as_nanos() * self.personal.len() as u128;
        self.publish_personal(views, counters, now);
    }

    /// Lets the views of changed boards wait for their publication, and ends those of boards that
    /// are gone.
    fn notice(&mut self, views: &mut Views, now: Instant) {
        let mut gone = Vec::new();
        let visits = self.unvisited.min(BOARDS_PER_LOOK);
        self.unvisited -= visits;
        for _ in 0..visits {
            let group = self.next_group % self.groups.capacity();
            self.next_group = group + 1;
            let Some(found) = self.groups.get_mut(group) else { continue };
            let Group { board, version, views: list, .. } = found;
            let alive = self.engine.board(board.name()).is_ok_and(|now| now.id() == board.id());
            if !alive {
                gone.push(group as u32);
                continue;
            }
            let newest = board.load().version();
            if newest == *version {
                continue;
            }
            *version = newest;
            for id in list {
                let view = &mut views[*id];
                let due = now.max(view.published + self.times.tick);
                view.due = if view.waiting { view.due.min(due) } else { due };
                if !view.waiting {
                    view.waiting = true;
                    self.waiting.push_back((*id, view.serial));
                }
            }
        }
        for group in gone {
            self.end(views, group, now);
        }
    }

    fn publish_waiting(&mut self, views: &mut Views, counters: &Counters, now: Instant) {
        for _ in 0..self.waiting.len() {
            let Some((id, serial)) = self.waiting.pop_front() else { break };
            let same = |view: &&mut View| view.serial == serial;
            let Some(view) = views.get_mut(id).filter(same) else { continue };
            if view.end.is_some() {
                view.waiting = false;
                continue;
            }
            if view.spreading.is_some() || now < view.due || !self.budget.has_some() {
                self.waiting.push_back((id, serial));
                continue;
            }
            let published = view.published;
            view.waiting = false;
            if !self.refresh(views, counters, id, now) {
                let view = &mut views[id];
                view.due = published + self.times.drift;
                view.waiting = true;
                self.waiting.push_back((id, serial));
            }
        }
    }

    /// Gives every personal view its turn once per personal tick.
    fn publish_personal(&mut self, views: &mut Views, counters: &Counters, now: Instant) {
        let each = self.times.personal_tick.as_nanos();
        // More than one turn for each would only be the same again.
        self.owed = self.owed.min(each * self.personal.len() as u128);
        // Without budget, whose turn it is comes first at a later look.
        while self.owed >= each && self.budget.has_some() {
            self.owed -= each;
            self.turn = if self.turn < self.personal.len() { self.turn } else { 0 };
            let id = self.personal[self.turn];
            self.turn += 1;
            let view = &mut views[id];
            let version = self.groups[view.place.group as usize].board.load().version();
            if version != view.place.looked && view.spreading.is_none() {
                let before = view.place.looked;
                view.place.looked = version;
                if !self.refresh(views, counters, id, now) {
                    views[id].place.looked = before;
                }
            }
        }
    }

    /// Publishes the state of now if that is news. Returns false if it has to wait: only its slow
    /// part is another, and the last publication was a short time ago.
    fn refresh(
        &mut self,
        views: &mut Views,
        counters: &Counters,
        id: ViewId,
        now: Instant,
    ) -> bool {
        let view = &views[id];
        let board = &self.groups[view.place.group as usize].board;
        let content = Content::of(&view.subject, board, &board.load());
        let change = view.parts().map_or(Change::Fast, |parts| parts.to(content.parts));
        if change == Change::Slow && now < view.published + self.times.drift {
            return false;
        }
        if change != Change::None {
            counters.of(view.subject.kind()).publications_total.add(1);
            self.budget.take(views.publish(id, content, now));
        }
        true
    }

    /// The group of the board that has this name now.
    fn group(&mut self, views: &mut Views, name: &str, now: Instant) -> Result<u32, CommandError> {
        let board = self.engine.board(name).map_err(|error| unknown(&error))?;
        if let Some(group) = self.by_name.get(name).copied() {
            if self.groups[group as usize].board.id() == board.id() {
                return Ok(group);
            }
            self.end(views, group, now);
        }
        let version = board.load().version();
        let epoch = format!("{:x}", self.engine.life(&board)).into();
        let group = Group { board, epoch, version, views: Vec::new(), personal: 0 };
        let group = self.groups.insert(group) as u32;
        self.by_name.insert(name.into(), group);
        Ok(group)
    }

    /// Ends the views of a board that is gone.
    fn end(&mut self, views: &mut Views, group: u32, now: Instant) {
        let gone = self.groups.remove(group as usize);
        self.by_name.remove(gone.board.name());
        let (ended, kept) = self.personal.iter().partition(|id| views[**id].place.group == group);
        self.personal = kept;
        for (index, id) in self.personal.iter().enumerate() {
            views[*id].place.index = index as u32;
        }
        let ended: Vec<ViewId> = ended;
        for id in gone.views.into_iter().chain(ended) {
            let view = &views[id];
            if let Some(state) = view.state.as_ref().filter(|_| view.subject == Subject::Events) {
                views.publish(id, Content::relayed(state.offset, DELETED.into()), now);
            }
            views.end(id, End { code: RESUBSCRIBE, reason: "board deleted".to_owned() });
        }
    }
}

/// No such board.
fn unknown(error: &rankwire_engine::Error) -> CommandError {
    CommandError::UnknownChannel(error.to_string())
}
