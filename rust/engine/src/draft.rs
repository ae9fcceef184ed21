//! Drafts: the next state of one board, private to whoever builds it.
//!
//! A seal drafts what a batch does before it is durable; [`Apply`](crate::apply) drafts what durable
//! batches say. What a live submit decides by admission, recovery and other nodes decide by merging;
//! a property test holds the two together.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::record::Record;
use crate::{Board, Score, Stamp, limits, policy};

/// How many submits are announced to their boards at a time: a list takes up to 64, and with 16 the
/// first ones are still in the processor's nearest cache when the last one has been announced.
pub(crate) const WARM: usize = 16;

/// How often each member that was ever deleted has been deleted.
///
/// Members are never taken out, so a place in the order in which they came is a place to go on from:
/// whoever reads them all need not hold the writer's lock for all of that time.
#[derive(Debug, Default)]
pub(crate) struct Graves {
    places: HashMap<Arc<str>, usize>,
    all: Vec<(Arc<str>, u32)>,
}

impl Graves {
    pub(crate) fn get(&self, member: &str) -> Option<u32> {
        self.places.get(member).map(|place| self.all[*place].1)
    }

    pub(crate) fn set(&mut self, member: &str, generation: u32) {
        if let Some(place) = self.places.get(member) {
            self.all[*place].1 = generation;
        } else {
            self.add(member.into(), generation);
        }
    }

    /// Up to `limit` of them after the first `from`.
    pub(crate) fn some(&self, from: usize, limit: usize) -> &[(Arc<str>, u32)] {
        let rest = &self.all[from.min(self.all.len())..];
        &rest[..limit.min(rest.len())]
    }

    fn absorb(&mut self, newer: Self) {
        for (member, generation) in newer.all {
            if let Some(place) = self.places.get(&member) {
                self.all[*place].1 = generation;
            } else {
                self.add(member, generation);
            }
        }
    }

    fn add(&mut self, member: Arc<str>, generation: u32) {
        self.places.insert(Arc::clone(&member), self.all.len());
        self.all.push((member, generation));
    }
}

/// What the writing side of a board knows beyond its list.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) generations: Graves,
    /// Members changed since the last checkpoint.
    pub(crate) dirty: HashSet<Box<str>>,
}

impl Ledger {
    /// How often a member has been deleted.
    pub(crate) fn generation(&self, member: &str) -> u32 {
        self.generations.get(member).unwrap_or(0)
    }

    /// Takes over what a draft did.
    pub(crate) fn absorb(&mut self, draft: Ledger) {
        self.generations.absorb(draft.generations);
        self.dirty.extend(draft.dirty);
    }
}

/// A board under construction.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) board: Arc<Board>,
    pub(crate) list: rankwire_ranklist::Draft,
    /// Whether the board is to become another than it was when the draft began.
    pub(crate) changed: bool,
    /// Whether members that change are noted for a checkpoint. A sealed batch notes them always:
    /// whether they are wanted is known when it is published.
    is_tracked: bool,
    /// What this draft adds to the board's ledger.
    pub(crate) ledger: Ledger,
}

impl Draft {
    /// A draft of a board that begins.
    pub(crate) fn begin(board: Arc<Board>, is_tracked: bool) -> Self {
        Self { changed: true, ..Self::of(board, is_tracked) }
    }

    /// A draft that continues from the board's current version.
    pub(crate) fn of(board: Arc<Board>, is_tracked: bool) -> Self {
        let list = board.draft();
        Self { list, board, changed: false, is_tracked, ledger: Ledger::default() }
    }

    /// How often a member has been deleted, given the number that the board's own ledger has.
    pub(crate) fn generation(&self, base: u32, member: &str) -> u32 {
        self.ledger.generations.get(member).unwrap_or(base)
    }

    /// Announces submits that come next, as members and scores, so that they wait for memory
    /// together. Those without a valid score are left out, and where amounts are added up the
    /// place is a guess.
    #[expect(single_use_lifetimes, reason = "an argument's `impl Trait` takes no anonymous one")]
    pub(crate) fn warm<'a>(&self, submits: impl Iterator<Item = (&'a str, Score)>) {
        let config = self.board.config();
        self.list.warm(submits.filter_map(|(member, score)| {
            let score = score.cast(config.score).ok()?;
            Some((member, [score.code(config.order)]))
        }));
    }

    /// Raises a member's generation and takes it off the list.
    pub(crate) fn delete(&mut self, member: &str, generation: u32) {
        self.ledger.generations.set(member, generation);
        self.list.remove(member);
        self.touch(member);
    }

    /// Merges what a record tells of a member; `base` is the generation that the board's own ledger
    /// has. A fix counts: whether it is one of this region is for the caller to know.
    ///
    /// Says what is wrong when the board cannot hold another member.
    pub(crate) fn merge(&mut self, base: u32, record: &Record<'_>) -> Result<(), &'static str> {
        match *record {
            Record::Score { member, bits, stamp, generation, .. }
            | Record::Fix { member, bits, stamp, generation, .. } => {
                let score = Score::from_bits(bits, self.board.config().score);
                self.merge_score(base, member, score, stamp, generation)
            }
            Record::Delete { member, generation, .. } => {
                self.merge_delete(base, member, generation);
                Ok(())
            }
            Record::Create { .. } | Record::Drop { .. } => Ok(()),
        }
    }

    /// Merges a recorded score; `base` is the generation that the board's own ledger has. Records of
    /// an earlier generation are void, one of a later generation tells of a delete that has not
    /// arrived yet.
    ///
    /// Says what is wrong when the board cannot hold another member.
    fn merge_score(
        &mut self,
        base: u32,
        member: &str,
        score: Score,
        stamp: Stamp,
        generation: u32,
    ) -> Result<(), &'static str> {
        let known = self.generation(base, member);
        if generation < known {
            return Ok(());
        }
        if generation > known {
            self.delete(member, generation);
        }
        let config = self.board.config();
        let has_room = self.list.len() < limits::MEMBERS;
        let change = self.list.update(member, |current| {
            let fits = has_room || current.is_some();
            fits.then(|| policy::merge(config, current, score, stamp))
        });
        if change.after.is_none() {
            return Err("a board has too many members");
        }
        if change.before != change.after {
            self.touch(member);
        }
        Ok(())
    }

    /// Merges a recorded delete, likewise.
    fn merge_delete(&mut self, base: u32, member: &str, generation: u32) {
        if generation > self.generation(base, member) {
            self.delete(member, generation);
        }
    }

    /// Makes the draft the board's current version. Returns what it adds to the ledger.
    ///
    /// # Panics
    /// When the board has another version than the draft began with. It cannot have: nothing else is
    /// published while a sealed batch is under way, and drafts of applied batches are published
    /// before the lock is given back.
    pub(crate) fn publish(self) -> Ledger {
        self.list.publish().expect("a board has one draft at a time");
        self.ledger
    }

    /// Notes that a member changed.
    pub(crate) fn touch(&mut self, member: &str) {
        self.changed = true;
        if self.is_tracked && !self.ledger.dirty.contains(member) {
            self.ledger.dirty.insert(member.into());
        }
    }
}
