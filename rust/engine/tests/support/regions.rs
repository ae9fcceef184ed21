//! Regions in miniature: each a cluster of engines over a journal of its own, which pulls the batches
//! of the others. Time is counted in ticks.
//!
//! The rules are those of the product. A journal keeps every batch after all that it builds on, so
//! that engines may trust its order. A region asks each peer for what it lacks, except for what comes
//! from regions that it hears itself; the answer says how much of these its sender had, and is taken
//! in only when the region has as much.

use std::collections::{BTreeMap, BTreeSet};

use rankwire_engine::record::BoardId;
use rankwire_engine::{Answer, Engine, RegionId, Sealed, names_of, region_id};

use super::Storage;
use super::cluster::{Cluster, Journal, Node};
use super::world::Random;

/// A region that was heard within so many ticks counts as one that is asked directly.
const HEARD_TICKS: u64 = 60;
/// After so many ticks an answer is given up whose sender had more than the region.
const PATIENCE_TICKS: u64 = 40;
/// After so many ticks a request is sent again.
const AGAIN_TICKS: u64 = 25;
/// Most batches of an answer.
const MOST_BATCHES: usize = 6;

pub(crate) type Vector = BTreeMap<u64, u64>;

/// Whether one vector has everything that another one has.
pub(crate) fn includes(all: &Vector, part: &Vector) -> bool {
    part.iter().all(|(origin, number)| all.get(origin).is_some_and(|held| held >= number))
}

/// Which rules hold; breaking one must be noticed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Answers wait until the journal has what their sender had.
    pub(crate) answers_wait: bool,
    /// Boards begin and end in the primary region only.
    pub(crate) boards_have_a_primary: bool,
}

pub(crate) const ALL_RULES: Rules = Rules { answers_wait: true, boards_have_a_primary: true };

#[derive(Debug, Clone)]
pub(crate) struct Request {
    vector: Vector,
    /// Regions that are asked directly; those of all others are wanted.
    direct: BTreeSet<usize>,
}

#[derive(Debug, Clone)]
struct Pulled {
    home: usize,
    batch: (u64, u64, Vec<u8>),
    answers: Vec<Answer>,
}

#[derive(Debug, Clone)]
pub(crate) struct PullAnswer {
    batches: Vec<Pulled>,
    /// How much its sender had of what it left out.
    base: Vector,
    is_all: bool,
}

/// What a region knows of another one.
#[derive(Debug, Default)]
struct Peer {
    asked: Option<u64>,
    heard: Option<u64>,
    wants_all: bool,
    waiting: Vec<(u64, PullAnswer)>,
}

/// A region as its backup has it.
#[derive(Debug, Clone, Default)]
struct Kept {
    cluster: Cluster,
    vector: Vector,
    /// Where the batches of an origin were committed first.
    homes: BTreeMap<u64, usize>,
    answers: BTreeMap<(u64, u64), Vec<Answer>>,
}

#[derive(Debug)]
pub(crate) struct Region {
    me: usize,
    id: RegionId,
    kept: Kept,
    pub(crate) nodes: Vec<Node>,
    /// How far the clock of the region is off.
    pub(crate) skew_ms: i64,
    /// Grows when the region is restored; answers of before are not for it.
    pub(crate) life: u64,
    peers: Vec<Peer>,
    backup: Option<Kept>,
    pub(crate) rules: Rules,
}

/// Why a region does not take a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fenced;

impl Region {
    /// One of `count` regions, with a node for each origin.
    pub(crate) fn new(me: usize, count: usize, origins: &[u64], rules: Rules) -> Self {
        let id = region_id(&format!("region {me}"));
        let nodes = origins.iter().map(|origin| Node::of_region(id, *origin)).collect();
        let peers = (0..count).map(|_| Peer::default()).collect();
        let kept = Kept::default();
        Self { me, id, kept, nodes, skew_ms: 0, life: 0, peers, backup: None, rules }
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.kept.cluster.journal
    }

    pub(crate) fn names(&self) -> &BTreeMap<String, BoardId> {
        &self.kept.cluster.names
    }

    pub(crate) fn vector(&self) -> &Vector {
        &self.kept.vector
    }

    /// Stores a batch of a node, sealing it again as often as it takes.
    pub(crate) fn store(
        &mut self,
        node: usize,
        sealed: &mut Sealed,
        is_primary: bool,
    ) -> Result<(), Fenced> {
        let names = sealed.created().next().is_some() || sealed.dropped().next().is_some();
        if names && !is_primary && self.rules.boards_have_a_primary {
            return Err(Fenced);
        }
        let node = &self.nodes[node];
        node.store(&mut self.kept.cluster, sealed);
        if !sealed.bytes.is_empty() {
            let (origin, number) = (node.engine.origin(), sealed.number);
            self.kept.vector.insert(origin, number);
            self.kept.homes.insert(origin, self.me);
            self.kept.answers.insert((origin, number), sealed.answers.clone());
            let names = names_of(origin, number, &sealed.bytes).unwrap();
            let created = sealed.created().map(|(name, id)| (name.to_owned(), id));
            assert_eq!(names.created, created.collect::<Vec<_>>());
            assert_eq!(names.dropped, sealed.dropped().collect::<Vec<_>>());
        }
        Ok(())
    }

    /// A node takes in all that the journal has.
    pub(crate) fn follow(&mut self, node: usize) {
        self.nodes[node].catch_up(&self.kept.cluster);
    }

    /// Some batches of the journal reach a node in any order.
    pub(crate) fn stream(&mut self, node: usize, random: &mut Random) {
        let journal = &self.kept.cluster.journal;
        if journal.is_empty() {
            return;
        }
        let picks = (0..=random.below(8)).map(|_| {
            let back = random.below(journal.len().min(12));
            journal[journal.len() - 1 - back].clone()
        });
        let picks = picks.collect();
        self.nodes[node].receive(picks);
    }

    /// A node is started again, from its checkpoint and the journal.
    pub(crate) fn restart(&mut self, node: usize, origin: u64) {
        let node = &mut self.nodes[node];
        node.engine = node.recovered(&self.kept.cluster, origin);
        node.aside.clear();
    }

    /// An engine that has nothing but the journal.
    pub(crate) fn replayed(&self, origin: u64) -> Engine {
        let mut node = Node::of_region(self.id, origin);
        node.catch_up(&self.kept.cluster);
        node.engine
    }

    pub(crate) fn back_up(&mut self) {
        self.backup = Some(self.kept.clone());
    }

    /// Loses the storage and goes on from the backup, with nodes of these origins. Returns the vector
    /// of what was lost; nothing if there is no backup.
    pub(crate) fn restore(&mut self, origins: &[u64]) -> Vector {
        let Some(backup) = self.backup.clone() else { return Vector::new() };
        let lost = std::mem::replace(&mut self.kept, backup).vector;
        self.life += 1;
        self.peers.iter_mut().for_each(|peer| *peer = Peer::default());
        for (node, origin) in origins.iter().enumerate() {
            self.nodes[node].tables = Storage::default();
            self.restart(node, *origin);
        }
        lost
    }

    pub(crate) fn serve(&self, request: &Request) -> PullAnswer {
        let Kept { cluster, vector, homes, answers } = &self.kept;
        let is_beyond =
            |origin: &u64, number: &u64| number > request.vector.get(origin).unwrap_or(&0);
        let is_direct = |origin: &u64| request.direct.contains(&homes[origin]);
        let wanted = cluster.journal.iter().filter(|(o, n, _)| is_beyond(o, n) && !is_direct(o));
        let pulled = |batch: &(u64, u64, Vec<u8>)| Pulled {
            home: homes[&batch.0],
            batch: batch.clone(),
            answers: answers.get(&(batch.0, batch.1)).cloned().unwrap_or_default(),
        };
        PullAnswer {
            batches: wanted.take(MOST_BATCHES).map(pulled).collect(),
            base: vector
                .clone()
                .into_iter()
                .filter(|(o, n)| is_beyond(o, n) && is_direct(o))
                .collect(),
            is_all: request.direct.is_empty(),
        }
    }

    pub(crate) fn request(&mut self, peer: usize, tick: u64) -> Request {
        self.peers[peer].asked = Some(tick);
        let is_heard = |other: &usize| {
            *other != peer
                && self.peers[*other].heard.is_some_and(|heard| heard + HEARD_TICKS > tick)
        };
        let direct = if self.peers[peer].wants_all {
            BTreeSet::new()
        } else {
            (0..self.peers.len()).filter(|other| *other == self.me || is_heard(other)).collect()
        };
        Request { vector: self.kept.vector.clone(), direct }
    }

    /// Whether a peer is to be asked now.
    pub(crate) fn is_due(&self, peer: usize, tick: u64) -> bool {
        self.peers[peer].asked.is_none_or(|asked| asked + AGAIN_TICKS < tick)
    }

    pub(crate) fn hear(&mut self, from: usize, answer: PullAnswer, tick: u64) {
        let peer = &mut self.peers[from];
        (peer.asked, peer.heard) = (None, Some(tick));
        peer.waiting.push((tick, answer));
    }

    /// Takes in the answers that may be, and gives up those that waited for too long.
    pub(crate) fn take_in(&mut self, tick: u64) {
        for from in 0..self.peers.len() {
            for (since, answer) in std::mem::take(&mut self.peers[from].waiting) {
                let is_ready = includes(&self.kept.vector, &answer.base);
                if is_ready || !self.rules.answers_wait {
                    self.peers[from].wants_all =
                        !is_ready || (self.peers[from].wants_all && !answer.is_all);
                    answer.batches.into_iter().for_each(|pulled| self.insert(pulled));
                } else if since + PATIENCE_TICKS < tick {
                    self.peers[from].wants_all = true;
                } else {
                    self.peers[from].waiting.push((since, answer));
                }
            }
        }
    }

    fn insert(&mut self, Pulled { home, batch, answers }: Pulled) {
        let Kept { cluster, vector, homes, answers: kept } = &mut self.kept;
        let (origin, number, bytes) = &batch;
        let held = vector.get(origin).copied().unwrap_or(0);
        if *number <= held {
            return;
        }
        assert_eq!(*number, held + 1, "an answer begins where the request ended");
        let names = names_of(*origin, *number, bytes).unwrap();
        cluster.names.retain(|_, id| !names.dropped.contains(id));
        for (name, id) in names.created {
            assert_eq!(cluster.names.insert(name, id), None, "a name means two boards");
        }
        cluster.answers.extend(answers.iter().map(|answer| (answer.key, answer.clone())));
        kept.insert((*origin, *number), answers);
        homes.insert(*origin, home);
        vector.insert(*origin, *number);
        cluster.journal.push(batch);
    }
}
