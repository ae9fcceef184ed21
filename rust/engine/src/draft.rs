//! Drafts: the next state of one board, private to whoever builds it.
//!
//! The committer drafts what a batch does before it is durable; recovery drafts what the journal
//! says. What a live submit decides by admission, its replay decides by merging; a property test holds
//! the two together.

use std::collections::{HashMap, HashSet};

use rankwire_ranklist::{Key, List, Seed};

use crate::config::BoardConfig;
use crate::record::BoardId;
use crate::{Score, Stamp, policy};

/// What the writing side of a board knows beyond its list.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// How often each member that was ever deleted has been deleted.
    pub(crate) generations: HashMap<Box<str>, u32>,
    /// Members changed since the last checkpoint.
    pub(crate) dirty: HashSet<Box<str>>,
}

impl Ledger {
    /// How often a member has been deleted.
    pub(crate) fn generation(&self, member: &str) -> u32 {
        self.generations.get(member).copied().unwrap_or(0)
    }

    /// Takes over what a draft did.
    pub(crate) fn absorb(&mut self, draft: Ledger) {
        self.generations.extend(draft.generations);
        self.dirty.extend(draft.dirty);
    }
}

/// A board under construction.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) id: BoardId,
    pub(crate) name: Box<str>,
    pub(crate) config: BoardConfig,
    pub(crate) list: List,
    /// Whether the board is to become another than it was when the draft began.
    pub(crate) changed: bool,
    /// What this draft adds to the board's ledger.
    pub(crate) ledger: Ledger,
}

impl Draft {
    /// A draft of a board that begins.
    pub(crate) fn begin(id: BoardId, name: &str, config: BoardConfig, seed: Seed) -> Self {
        let list = List::new(config.ties.into(), seed);
        Self { changed: true, ..Self::of(id, name, config, list) }
    }

    /// A draft that continues from a version.
    pub(crate) fn of(id: BoardId, name: &str, config: BoardConfig, list: List) -> Self {
        let ledger = Ledger::default();
        Self { id, name: name.into(), config, list, changed: false, ledger }
    }

    /// How often a member has been deleted, given what the board's `base` ledger knows.
    pub(crate) fn generation(&self, base: Option<&Ledger>, member: &str) -> u32 {
        let own = self.ledger.generations.get(member).copied();
        own.or_else(|| base.map(|base| base.generation(member))).unwrap_or(0)
    }

    /// Gives a member the key that admission or a merge has decided on.
    pub(crate) fn set(&mut self, member: &str, key: Key) {
        self.list.set(member, key);
        self.touch(member);
    }

    /// Raises a member's generation and takes it off the list.
    pub(crate) fn delete(&mut self, member: &str, generation: u32) {
        self.ledger.generations.insert(member.into(), generation);
        self.list.remove(member);
        self.touch(member);
    }

    /// Merges a recorded score. Records of an earlier generation are void, one of a later
    /// generation tells of a delete that has not arrived yet.
    pub(crate) fn merge_score(
        &mut self,
        member: &str,
        score: Score,
        stamp: Stamp,
        generation: u32,
    ) {
        let known = self.generation(None, member);
        if generation < known {
            return;
        }
        if generation > known {
            self.delete(member, generation);
        }
        let current = self.list.get(member);
        let merged = policy::merge(self.config, current, score, stamp);
        if current != Some(merged) {
            self.set(member, merged);
        }
    }

    /// Merges a recorded delete.
    pub(crate) fn merge_delete(&mut self, member: &str, generation: u32) {
        if generation > self.generation(None, member) {
            self.delete(member, generation);
        }
    }

    /// Notes that a member changed.
    pub(crate) fn touch(&mut self, member: &str) {
        self.changed = true;
        if !self.ledger.dirty.contains(member) {
            self.ledger.dirty.insert(member.into());
        }
    }
}
