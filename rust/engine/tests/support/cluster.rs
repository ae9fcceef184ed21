//! Many engines over one storage in miniature: a journal of all origins, the names of boards and
//! the answers to writes with keys, all changed in one transaction. And what any set of batches
//! comes to, in plain maps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rankwire_engine::record::{self, BoardId, Record};
use rankwire_engine::{
    Answer, BoardConfig, Command, Contents, Engine, Error, Hash, Limits, Order, Policy, RegionId,
    Reply, Score, ScoreType, Sealed, Stop, Write,
};

use super::{START_MS, Storage};

pub(crate) type Journal = Vec<(u64, u64, Vec<u8>)>;

/// What all nodes share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cluster {
    /// Every batch, in the order of the transactions: a batch comes after those it builds on.
    pub(crate) journal: Journal,
    pub(crate) names: BTreeMap<String, BoardId>,
    pub(crate) answers: BTreeMap<Hash, Answer>,
    /// Whether a transaction names only the first thing that is wrong with it.
    pub(crate) is_terse: bool,
    /// How many transactions were refused.
    pub(crate) refusals: usize,
}

impl Cluster {
    /// Stores a batch, or says which answers and names it stumbles over and stores nothing.
    pub(crate) fn append(
        &mut self,
        origin: u64,
        sealed: &Sealed,
    ) -> Result<(), (Vec<Answer>, Vec<String>)> {
        let keys = sealed.answers.iter().map(|answer| &answer.key).chain(&sealed.doubted);
        let mut known: Vec<_> = keys.filter_map(|key| self.answers.get(key).cloned()).collect();
        let mut names = self.names.clone();
        let dropped: BTreeSet<_> = sealed.dropped().collect();
        names.retain(|_, id| !dropped.contains(id));
        let mut taken = Vec::new();
        for (name, id) in sealed.created() {
            if names.contains_key(name) {
                taken.push(name.to_owned());
            } else {
                names.insert(name.to_owned(), id);
            }
        }
        if !known.is_empty() || !taken.is_empty() {
            self.refusals += 1;
            if self.is_terse {
                taken.truncate(1);
                known.truncate(1 - taken.len());
            }
            return Err((known, taken));
        }
        self.names = names;
        for answer in &sealed.answers {
            assert!(self.answers.insert(answer.key, answer.clone()).is_none(), "a key twice");
        }
        if !sealed.bytes.is_empty() {
            self.journal.push((origin, sealed.number, sealed.bytes.clone()));
        }
        Ok(())
    }

    /// The batches of one origin, in order.
    pub(crate) fn of(&self, origin: u64) -> Journal {
        self.journal.iter().filter(|batch| batch.0 == origin).cloned().collect()
    }

    /// The batches that a vector lacks, in the order of the transactions.
    pub(crate) fn missing(&self, vector: &[(u64, u64)]) -> Journal {
        let seen: BTreeMap<_, _> = vector.iter().copied().collect();
        let is_missing = |(origin, number, _): &&(u64, u64, Vec<u8>)| {
            *number > seen.get(origin).copied().unwrap_or(0)
        };
        self.journal.iter().filter(is_missing).cloned().collect()
    }
}

/// An engine among others, with the tables of its own checkpoints.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) engine: Engine,
    /// The region of the engine, if it has one.
    region: RegionId,
    pub(crate) now_ms: i64,
    /// Tables that only this node's checkpoints go to.
    pub(crate) tables: Storage,
    /// Batches that wait for a board to be created.
    pub(crate) aside: Journal,
}

impl Node {
    pub(crate) fn new(origin: u64) -> Self {
        Self::of_region(0, origin)
    }

    pub(crate) fn of_region(region: RegionId, origin: u64) -> Self {
        let tables = Storage::default();
        let engine = tables.load().of_region(region).finish(origin, Limits::default(), true);
        Self { engine, region, now_ms: START_MS, tables, aside: Vec::new() }
    }

    /// The tables and the rest of the journal, as another origin.
    pub(crate) fn recovered(&self, cluster: &Cluster, origin: u64) -> Engine {
        let recovery = self.tables.load().of_region(self.region);
        let engine = recovery.finish(origin, Limits::default(), true);
        for some in cluster.missing(&self.tables.vector).chunks(3) {
            super::apply(&engine, some);
        }
        engine
    }

    pub(crate) fn seal(&self, writes: impl IntoIterator<Item = Write>) -> Sealed {
        for write in writes {
            self.engine.enqueue(write).unwrap();
        }
        self.engine.seal(Duration::ZERO, || self.now_ms).unwrap()
    }

    /// Stores a batch, sealing it again as often as it takes.
    pub(crate) fn store(&self, cluster: &mut Cluster, sealed: &mut Sealed) {
        for _ in 0..100 {
            let Err((known, taken)) = cluster.append(self.engine.origin(), sealed) else { return };
            self.engine.again(sealed, known, taken, || self.now_ms);
        }
        panic!("the storage refuses what it has said already");
    }

    pub(crate) fn write(
        &self,
        cluster: &mut Cluster,
        writes: impl IntoIterator<Item = Write>,
    ) -> Vec<Reply> {
        let mut sealed = self.seal(writes);
        self.store(cluster, &mut sealed);
        self.engine.commit(sealed)
    }

    pub(crate) fn ask(
        &self,
        cluster: &mut Cluster,
        command: Command,
    ) -> Result<rankwire_engine::Outcome, Error> {
        self.write(cluster, [command.into()]).pop().unwrap().outcome
    }

    /// Takes in what it can of batches that have arrived, and of those that wait: sets aside what
    /// waits for a board, and loses what comes after a gap.
    pub(crate) fn receive(&mut self, batches: Journal) {
        let mut rest: VecDeque<_> = self.aside.drain(..).chain(batches).collect();
        let mut progress = true;
        while progress {
            progress = false;
            let mut waiting = VecDeque::new();
            while !rest.is_empty() {
                let list: Vec<_> = rest.iter().map(|(o, n, bytes)| (*o, *n, &bytes[..])).collect();
                let before = self.engine.vector();
                let applied = self.engine.apply(&list, false).unwrap();
                progress |= self.engine.vector() != before;
                assert_eq!(applied.stop.is_none(), applied.count == list.len());
                rest.drain(..applied.count);
                match applied.stop {
                    Some(Stop::Board) => waiting.extend(rest.pop_front()),
                    Some(Stop::Gap) => drop(rest.pop_front()),
                    None => {}
                }
            }
            rest = waiting;
        }
        self.aside = rest.into();
    }

    /// Takes in all that is missing, as the storage gives it.
    pub(crate) fn catch_up(&mut self, cluster: &Cluster) {
        self.aside.clear();
        super::apply(&self.engine, &cluster.missing(&self.engine.vector()));
        assert!(cluster.missing(&self.engine.vector()).is_empty());
    }

    /// Stores a checkpoint in its tables.
    pub(crate) fn checkpoint(&mut self) {
        if let Some(checkpoint) = super::take_checkpoint(&self.engine) {
            self.tables.store(&checkpoint);
        }
    }
}

/// The state of a member: score, stamp and how often it was removed.
pub(crate) type Member = (Option<(Score, u64)>, u32);

/// A board without the parts that nodes may differ in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Merged {
    pub(crate) name: String,
    pub(crate) config: BoardConfig,
    /// Every member that is on the board or was removed from it.
    pub(crate) members: BTreeMap<String, Member>,
}

/// What batches come to, whatever their order: of every member the records of the last generation
/// count, and of the boards those that were not dropped.
pub(crate) fn merged(journal: &Journal) -> BTreeMap<BoardId, Merged> {
    let records: Vec<_> = journal
        .iter()
        .flat_map(|(origin, number, bytes)| record::decode(*origin, *number, bytes).unwrap())
        .collect();
    let mut boards = BTreeMap::new();
    for record in &records {
        if let Record::Create { board, name, config, .. } = *record {
            let fresh = Merged { name: name.into(), config, members: BTreeMap::new() };
            assert_eq!(boards.insert(board, fresh), None);
        }
    }
    for record in &records {
        if let Record::Drop { board } = record {
            boards.remove(board);
        }
    }
    for record in &records {
        let (Record::Score { board, member, generation, .. }
        | Record::Delete { board, member, generation }) = *record
        else {
            continue;
        };
        if let Some(board) = boards.get_mut(&board) {
            let member = board.members.entry(member.into()).or_insert((None, 0));
            member.1 = member.1.max(generation);
        }
    }
    for record in &records {
        let Record::Score { board, member, bits, stamp, generation } = *record else { continue };
        let Some(Merged { config, members, .. }) = boards.get_mut(&board) else { continue };
        let (state, last) = members.get_mut(member).unwrap();
        if generation == *last {
            let score = Score::from_bits(bits, config.score);
            *state =
                Some(state.map_or((score, stamp), |held| joined(*config, held, (score, stamp))));
        }
    }
    boards
}

fn joined(config: BoardConfig, a: (Score, u64), b: (Score, u64)) -> (Score, u64) {
    let better = |a: Score, b: Score| {
        let ascending = match (a, b) {
            (Score::Int(a), Score::Int(b)) => a.cmp(&b),
            (Score::Float(a), Score::Float(b)) => a.partial_cmp(&b).unwrap(),
            _ => panic!("{a:?} and {b:?} on one board"),
        };
        if config.order == Order::Asc { ascending } else { ascending.reverse() }
    };
    let b_wins = match config.policy {
        Policy::Best => better(b.0, a.0).then(b.1.cmp(&a.1)).is_lt(),
        Policy::Last => a.1.cmp(&b.1).then(better(b.0, a.0)).is_lt(),
        Policy::Sum => {
            let (Score::Int(x), Score::Int(y)) = (a.0, b.0) else { panic!("a sum of floats") };
            assert_eq!(config.score, ScoreType::Int64);
            return (Score::Int(x + y), a.1.max(b.1));
        }
    };
    if b_wins { b } else { a }
}

/// What an engine shows: every board with the members on it.
pub(crate) fn shown(engine: &Engine) -> BTreeMap<BoardId, Merged> {
    let Contents { boards, .. } = engine.contents();
    let count = boards.len();
    let shown: BTreeMap<_, _> = boards
        .into_iter()
        .map(|(board, list)| {
            let key = |key: rankwire_engine::Key| (board.score(key), key.stamp);
            let members = list
                .iter()
                .map(|entry| (entry.member.to_owned(), (Some(key(entry.key)), 0)))
                .collect();
            (board.id(), Merged { name: board.name().into(), config: board.config(), members })
        })
        .collect();
    assert_eq!(shown.len(), count);
    shown
}

/// What tables hold.
pub(crate) fn stored(tables: &Storage) -> BTreeMap<BoardId, Merged> {
    let board = |stored: &super::StoredBoard| Merged {
        name: stored.row.name.clone(),
        config: stored.row.config,
        members: stored
            .members
            .iter()
            .map(|(member, (key, generation))| {
                let key = key.map(|(score, _, stamp)| (score, stamp.cast_unsigned()));
                (member.clone(), (key, *generation))
            })
            .collect(),
    };
    tables.boards.iter().map(|(id, stored)| (*id, board(stored))).collect()
}

/// The part that readers see: no removals, and nobody who was removed.
pub(crate) fn visible(mut boards: BTreeMap<BoardId, Merged>) -> BTreeMap<BoardId, Merged> {
    for board in boards.values_mut() {
        board.members.retain(|_, (state, _)| state.is_some());
        board.members.values_mut().for_each(|(_, removals)| *removals = 0);
    }
    boards
}
