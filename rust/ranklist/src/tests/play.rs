//! Plays a history on a list and on its model at the same time.

use super::model::{Model, assert_looks_like};
use super::ranklist::{Conflict, Draft, Key, Savepoint, Shared, Snapshot, Ties, Version};

/// Snapshots that a history holds at one time.
const SNAPSHOTS: usize = 6;
/// Savepoints that a draft has at one time.
const SAVEPOINTS: usize = 6;

/// One step. Members are given by the number of their name, counted around.
#[derive(Clone, Debug)]
pub(crate) enum Step<const C: usize> {
    Set(usize, Key<C>),
    Remove(usize),
    /// Changes one column of the member's score, if it is there.
    Shift(usize, u64),
    Warm(usize),
    /// Asks for the digest, which leaves hashes in the nodes.
    Digest,
    Save,
    Restore(usize),
    Publish,
    Abandon,
    Snapshot,
    Release(usize),
    /// Somebody else sets a member and publishes before the draft does.
    Race(usize, Key<C>),
}

/// What happens to a list.
#[derive(Clone, Debug)]
pub(crate) struct History<const C: usize> {
    pub(crate) ties: Ties,
    pub(crate) names: &'static [String],
    /// What it is loaded with, and which change that was.
    pub(crate) start: Vec<(usize, Key<C>)>,
    pub(crate) changes: u64,
    pub(crate) steps: Vec<Step<C>>,
}

/// What is checked besides the answers.
pub(crate) type Check<const C: usize> = fn(&Version<C>, &Model<C>);

/// A list with its model.
struct Play<'a, const C: usize> {
    names: &'static [String],
    list: Shared<C>,
    current: Model<C>,
    draft: Option<(Draft<C>, Model<C>)>,
    savepoints: Vec<(Savepoint<C>, Model<C>)>,
    snapshots: Vec<Taken<C>>,
    check_draft: &'a Check<C>,
    check_version: &'a Check<C>,
}

/// A snapshot, and what it answered when it was taken.
struct Taken<const C: usize> {
    snapshot: Snapshot<C>,
    model: Model<C>,
    digest: u64,
    shown: String,
}

impl<const C: usize> History<C> {
    /// Plays it. Every step is checked by a quick look and by `check_draft`, and every published
    /// version by `check_version`; so are all snapshots, once more at the end. Returns the list.
    pub(crate) fn play(&self, check_draft: Check<C>, check_version: Check<C>) -> Shared<C> {
        let (list, model) = self.begin();
        check_version(&list.read(), &model);
        let mut play = Play {
            names: self.names,
            list,
            current: model,
            draft: None,
            savepoints: Vec::new(),
            snapshots: Vec::new(),
            check_draft: &check_draft,
            check_version: &check_version,
        };
        for step in &self.steps {
            play.take(step);
            let (version, model) = match &play.draft {
                Some((draft, model)) => (&**draft, model),
                None => (&*play.list.snapshot(), &play.current),
            };
            assert_looks_like(version, model);
            check_draft(version, model);
        }
        play.end()
    }

    /// The list as it is loaded, and the model of it. The first of two keys of a member counts.
    pub(crate) fn begin(&self) -> (Shared<C>, Model<C>) {
        let mut model = Model::new(self.ties, self.changes);
        for (name, key) in self.start.iter().rev() {
            model.load(&self.names[name % self.names.len()], *key);
        }
        (model.list(), model)
    }
}

impl<const C: usize> Play<'_, C> {
    fn take(&mut self, step: &Step<C>) {
        match *step {
            Step::Set(name, key) => self.put(name, Some(key)),
            Step::Remove(name) => self.put(name, None),
            Step::Shift(name, by) => self.shift(name, by),
            Step::Warm(name) => self.warm(name),
            Step::Digest => {
                self.draft().0.digest();
            }
            Step::Save => self.save(),
            Step::Restore(which) => self.restore(which),
            Step::Publish => self.publish(),
            Step::Abandon => self.abandon(),
            Step::Snapshot => self.snapshot(),
            Step::Release(which) => {
                if !self.snapshots.is_empty() {
                    self.snapshots.swap_remove(which % self.snapshots.len());
                }
            }
            Step::Race(name, key) => self.race(name, key),
        }
    }

    fn name(&self, name: usize) -> &'static str {
        &self.names[name % self.names.len()]
    }

    fn draft(&mut self) -> &mut (Draft<C>, Model<C>) {
        self.draft.get_or_insert_with(|| (self.list.draft(), self.current.clone()))
    }

    fn put(&mut self, name: usize, key: Option<Key<C>>) {
        let name = self.name(name);
        let (draft, model) = self.draft();
        let change = match key {
            Some(key) => draft.set(name, key),
            None => draft.remove(name),
        };
        assert_eq!(change, model.put(name, key));
    }

    fn shift(&mut self, name: usize, by: u64) {
        let name = self.name(name);
        let shifted = |key: Key<C>| {
            let mut score = key.score;
            score[by as usize % C] ^= by;
            Key { score, ..key }
        };
        let (draft, model) = self.draft();
        let key = model.keys().get(name).copied();
        let change = draft.update(name, |old| {
            assert_eq!(old, key);
            old.map(shifted)
        });
        assert_eq!(change, model.put(name, key.map(shifted)));
    }

    /// Announces some updates, which changes nothing.
    fn warm(&mut self, name: usize) {
        let names: Vec<_> = (name..name + 20).map(|name| self.name(name)).collect();
        let (draft, _) = self.draft();
        draft.warm(names.into_iter().map(|name| (name, [name.len() as u64; C])));
    }

    fn save(&mut self) {
        if self.savepoints.len() < SAVEPOINTS {
            let (draft, model) = self.draft();
            let saved = (draft.save(), model.clone());
            self.savepoints.push(saved);
        }
    }

    /// Goes back to a savepoint, which stays; those after it are void.
    fn restore(&mut self, which: usize) {
        if let (Some((draft, model)), false) = (&mut self.draft, self.savepoints.is_empty()) {
            self.savepoints.truncate(1 + which % self.savepoints.len());
            let (savepoint, saved) = self.savepoints.last().expect("one is left");
            draft.restore(savepoint);
            *model = saved.clone();
        }
    }

    fn publish(&mut self) {
        self.savepoints.clear();
        if let Some((draft, model)) = self.draft.take() {
            draft.publish().expect("nobody else publishes");
            self.current = model;
            (self.check_version)(&self.list.read(), &self.current);
        }
    }

    fn abandon(&mut self) {
        self.savepoints.clear();
        self.draft = None;
    }

    fn snapshot(&mut self) {
        if self.snapshots.len() < SNAPSHOTS {
            let snapshot = self.list.snapshot();
            let (digest, shown) = (snapshot.digest(), show(&snapshot));
            self.snapshots.push(Taken { snapshot, model: self.current.clone(), digest, shown });
        }
    }

    fn race(&mut self, name: usize, key: Key<C>) {
        let name = self.name(name);
        let mut other = self.list.draft();
        assert_eq!(other.set(name, key), self.current.put(name, Some(key)));
        other.publish().expect("the draft is not published yet");
        self.savepoints.clear();
        if let Some((draft, _)) = self.draft.take() {
            assert_eq!(draft.publish(), Err(Conflict));
        }
        (self.check_version)(&self.list.read(), &self.current);
    }

    fn end(mut self) -> Shared<C> {
        self.publish();
        for Taken { snapshot, model, digest, shown } in self.snapshots {
            (self.check_draft)(&snapshot, &model);
            (self.check_version)(&snapshot, &model);
            assert_eq!((snapshot.digest(), show(&snapshot)), (digest, shown));
        }
        let kept = self.list.kept();
        assert_eq!((kept.snapshots, kept.parked), (0, 0));
        self.list
    }
}

/// All that a version says, in words.
fn show<const C: usize>(version: &Version<C>) -> String {
    let ranks = version.iter().map(|entry| (entry, version.ranks(entry.member)));
    format!("{version:?} {:?} {:?}", version.memory(), ranks.collect::<Vec<_>>())
}
