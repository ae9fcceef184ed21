//! Many engines that write at the same time and tell each other: whatever arrives when, all come to
//! hold the same, and so does everything that is put together from what was stored.
#![allow(clippy::unwrap_used, reason = "a test that finds nothing to unwrap fails, as it should")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::select;
use rankwire_engine::record::{self, BatchWriter, BoardId, Record};
use rankwire_engine::{
    Applied, BoardConfig, Command, Contents, Engine, Error, Limits, Order, Outcome, Policy, Score,
    ScoreType, Stop, Submit, TieBreak, Write, WriteKey,
};
use support::cluster::{Cluster, Journal, Node, merged, shown, stored, visible};
use support::{START_MS, create, drop_board, item, remove, submit, take_checkpoint};

const BOARDS: [&str; 3] = ["a", "b", "c"];
const MEMBERS: [&str; 4] = ["m1", "m2", "m3", "é"];
const NODES: usize = 3;

fn board() -> BoardConfig {
    BoardConfig::default()
}

fn sums() -> BoardConfig {
    BoardConfig { policy: Policy::Sum, ..board() }
}

fn key(number: u8) -> WriteKey {
    WriteKey::new("someone", &format!("key {number}")).unwrap()
}

/// Everything but sums of floats, which one node in many refuses.
fn config() -> impl Strategy<Value = BoardConfig> {
    (
        select(&[ScoreType::Int64, ScoreType::Float64][..]),
        select(&[Order::Desc, Order::Asc][..]),
        select(&[Policy::Best, Policy::Last, Policy::Sum][..]),
        select(&[TieBreak::First, TieBreak::Last, TieBreak::Member][..]),
    )
        .prop_map(|(score, order, policy, ties)| {
            let score = if policy == Policy::Sum { ScoreType::Int64 } else { score };
            BoardConfig { score, order, policy, ties, player_submits: false }
        })
}

fn submission() -> impl Strategy<Value = Submit> {
    let score = prop_oneof![
        9 => (-1..=2_i64).prop_map(Score::Int),
        1 => Just(Score::Float(0.5)),
    ];
    let at_ms = prop_oneof![
        2 => Just(None),
        2 => (0..3_i64).prop_map(|ms| Some(START_MS + ms)),
    ];
    (select(&MEMBERS[..]), score, at_ms).prop_map(|(member, score, at)| item(member, score, at))
}

fn command() -> impl Strategy<Value = Command> {
    let board = || select(&BOARDS[..]).prop_map(String::from);
    let batch = prop::collection::vec(submission(), 0..4);
    prop_oneof![
        12 => (board(), submission())
            .prop_map(|(board, submit)| Command::Submit { board, submit }),
        2 => (board(), batch).prop_map(|(board, submits)| Command::Batch { board, submits }),
        4 => (board(), select(&MEMBERS[..])).prop_map(|(board, member)| remove(&board, member)),
        2 => board().prop_map(|board| drop_board(&board)),
        4 => (board(), config()).prop_map(|(board, config)| Command::Create { board, config }),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    let key = prop_oneof![3 => Just(None), 1 => (0..12_u8).prop_map(|number| Some(key(number)))];
    (command(), key).prop_map(|(command, key)| Write { command, key })
}

#[derive(Debug, Clone)]
enum Step {
    Write {
        node: usize,
        now_ms: i64,
        writes: Vec<Write>,
        is_terse: bool,
    },
    Abort {
        node: usize,
        writes: Vec<Write>,
    },
    /// Batches of one origin arrive, from so many before or after the one that is next.
    Receive {
        node: usize,
        origin: usize,
        from: i64,
        count: usize,
    },
    /// Batches of any origins arrive, each so many before or after the one that is next.
    Mix {
        node: usize,
        picks: Vec<(usize, i64)>,
    },
    CatchUp {
        node: usize,
    },
    Damage {
        node: usize,
        at: usize,
    },
    Checkpoint {
        node: usize,
    },
    LoseCheckpoint {
        node: usize,
    },
    Restart {
        node: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 0..NODES;
    let writes = || prop::collection::vec(write(), 0..5);
    let pick = (0..8_usize, -1..=1_i64);
    prop_oneof![
        10 => (node(), 0..3_i64, writes(), any::<bool>()).prop_map(
            |(node, ms, writes, is_terse)| Step::Write {
                node, now_ms: START_MS + ms, writes, is_terse,
            }
        ),
        1 => (node(), writes()).prop_map(|(node, writes)| Step::Abort { node, writes }),
        6 => (node(), 0..8_usize, -2..=1_i64, 1..4_usize).prop_map(
            |(node, origin, from, count)| Step::Receive { node, origin, from, count }
        ),
        4 => (node(), prop::collection::vec(pick, 1..6))
            .prop_map(|(node, picks)| Step::Mix { node, picks }),
        2 => node().prop_map(|node| Step::CatchUp { node }),
        1 => (node(), 0..4_usize).prop_map(|(node, at)| Step::Damage { node, at }),
        1 => node().prop_map(|node| Step::Checkpoint { node }),
        1 => node().prop_map(|node| Step::LoseCheckpoint { node }),
        1 => node().prop_map(|node| Step::Restart { node }),
    ]
}

struct World {
    cluster: Cluster,
    nodes: Vec<Node>,
    /// Every origin there was.
    origins: Vec<u64>,
    /// The writes with keys that succeeded, and what they were answered.
    given: BTreeMap<String, (Command, Told)>,
}

/// What a write was answered.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    /// The description of a board depends on when it is given.
    Board {
        created: bool,
    },
    Json(String),
}

impl World {
    fn new() -> Self {
        let origins: Vec<_> = (1..=NODES as u64).collect();
        let nodes = origins.iter().map(|origin| Node::new(*origin)).collect();
        Self { cluster: Cluster::default(), nodes, origins, given: BTreeMap::new() }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Write { node, now_ms, writes, is_terse } => {
                self.nodes[*node].now_ms = *now_ms;
                self.cluster.is_terse = *is_terse;
                self.write(*node, writes);
            }
            Step::Abort { node, writes } => self.abort(*node, writes),
            Step::Receive { node, origin, from, count } => {
                let from = |journal: &Journal, next: usize| {
                    next.saturating_add_signed(*from as isize).min(journal.len())
                };
                let (journal, next) = self.journal(*node, *origin);
                let from = from(&journal, next);
                let some = journal.into_iter().skip(from).take(*count).collect();
                self.nodes[*node].receive(some);
            }
            Step::Mix { node, picks } => {
                let some = picks.iter().filter_map(|(origin, offset)| {
                    let (journal, next) = self.journal(*node, *origin);
                    journal.get(next.saturating_add_signed(*offset as isize)).cloned()
                });
                let some = some.collect();
                self.nodes[*node].receive(some);
            }
            Step::CatchUp { node } => self.nodes[*node].catch_up(&self.cluster),
            Step::Damage { node, at } => self.damage(*node, *at),
            Step::Checkpoint { node } => self.nodes[*node].checkpoint(),
            Step::LoseCheckpoint { node } => {
                let engine = &self.nodes[*node].engine;
                let before = engine.stats().dirty_members;
                if let Some(checkpoint) = take_checkpoint(engine) {
                    engine.restore_dirty(checkpoint);
                }
                assert_eq!(engine.stats().dirty_members, before);
            }
            Step::Restart { node } => {
                let origin = self.origins.last().unwrap() + 1;
                self.origins.push(origin);
                let node = &mut self.nodes[*node];
                node.engine = node.recovered(&self.cluster, origin);
                node.aside.clear();
            }
        }
        self.nodes.iter().for_each(assert_sound);
    }

    /// The batches of an origin, and how many a node has seen.
    fn journal(&self, node: usize, origin: usize) -> (Journal, usize) {
        let origin = self.origins[origin % self.origins.len()];
        let vector = self.nodes[node].engine.vector();
        let seen = vector.iter().find(|(other, _)| *other == origin).map_or(0, |(_, seen)| *seen);
        (self.cluster.of(origin), seen as usize)
    }

    fn write(&mut self, node: usize, writes: &[Write]) {
        let replies = self.nodes[node].write(&mut self.cluster, writes.iter().cloned());
        assert_eq!(replies.len(), writes.len());
        for (reply, write) in replies.into_iter().zip(writes) {
            let Some(key) = write.key.map(|key| format!("{key:?}")) else {
                assert!(!matches!(reply.outcome, Ok(Outcome::Repeat(_))));
                continue;
            };
            match (self.given.get(&key), reply.outcome) {
                (Some((command, told)), Ok(Outcome::Repeat(repeat))) => {
                    assert_eq!(command, &write.command);
                    assert_eq!(&told_again(&repeat), told);
                }
                (Some((command, _)), Err(Error::KeyReused)) => assert_ne!(command, &write.command),
                (Some(given), other) => panic!("{other:?} after {given:?}"),
                (None, Ok(Outcome::Repeat(_)) | Err(Error::KeyReused)) => panic!("never given"),
                (None, Ok(outcome)) => {
                    self.given.insert(key, (write.command.clone(), told(&outcome)));
                }
                (None, Err(_)) => {}
            }
        }
        assert_eq!(self.given.len(), self.cluster.answers.len());
    }

    /// A batch is sealed, perhaps again, and not stored.
    fn abort(&self, node: usize, writes: &[Write]) {
        let node = &self.nodes[node];
        let (shown_before, vector) = (shown(&node.engine), node.engine.vector());
        let stats = node.engine.stats();
        let mut sealed = node.seal(writes.iter().cloned());
        let can_be_refused =
            |write: &Write| write.key.is_some() || matches!(write.command, Command::Create { .. });
        if writes.iter().any(can_be_refused) {
            let known = self.cluster.answers.values().cloned().collect();
            node.engine.again(&mut sealed, known, vec!["a".into()], || node.now_ms);
        }
        assert_eq!(node.engine.abort(sealed).len(), writes.len());
        assert_eq!(shown(&node.engine), shown_before);
        assert_eq!(node.engine.vector(), vector);
        let after = node.engine.stats();
        assert_eq!((after.members, after.dirty_members), (stats.members, stats.dirty_members));
    }

    /// A damaged batch among those that are missing: none of them is applied.
    fn damage(&self, node: usize, at: usize) {
        let node = &self.nodes[node];
        let mut batches = self.cluster.missing(&node.engine.vector());
        let Some((origin, number, bytes)) = batches.get_mut(at) else { return };
        let damage =
            Error::Journal { origin: *origin, number: *number, reason: "checksum mismatch" };
        *bytes.last_mut().unwrap() ^= 1;
        let list: Vec<_> = batches.iter().map(|(o, n, bytes)| (*o, *n, &bytes[..])).collect();
        let before = (shown(&node.engine), node.engine.vector());
        let stats = node.engine.stats();
        assert_eq!(node.engine.apply(&list, true), Err(damage));
        assert_eq!((shown(&node.engine), node.engine.vector()), before);
        let after = node.engine.stats();
        assert_eq!(
            (after.members, after.dirty_members, after.boards, after.applied_records_total),
            (stats.members, stats.dirty_members, stats.boards, stats.applied_records_total)
        );
    }

    /// The last batch of every origin that has written.
    fn whole_vector(&self) -> Vec<(u64, u64)> {
        let last = |origin: &u64| Some((*origin, self.cluster.of(*origin).last()?.1));
        self.origins.iter().filter_map(last).collect()
    }

    /// All nodes get all there is, and everything is as the batches say.
    fn end(mut self) {
        let expected = merged(&self.cluster.journal);
        let names: BTreeMap<_, _> =
            expected.iter().map(|(id, board)| (board.name.clone(), *id)).collect();
        assert_eq!(names, self.cluster.names);
        assert_eq!(names.len(), expected.len());
        let dropped = dropped(&self.cluster.journal);
        let vector = self.whole_vector();
        for node in &mut self.nodes {
            let early = node.recovered(&self.cluster, u64::MAX);
            node.catch_up(&self.cluster);
            assert_sound(node);
            node.checkpoint();
            let late = node.recovered(&self.cluster, u64::MAX);
            for engine in [&node.engine, &early, &late] {
                assert_eq!(shown(engine), visible(expected.clone()));
                assert!(self.cluster.missing(&engine.vector()).is_empty());
                assert_eq!(engine.vector(), vector);
                assert_eq!(engine.stats().boards, expected.len() as u64);
                for (name, id) in &names {
                    assert_eq!(engine.board(name).unwrap().id(), *id);
                }
            }
            assert_eq!(stored(&node.tables), expected);
            assert_eq!(node.tables.gone, dropped);
        }
    }
}

fn told(outcome: &Outcome) -> Told {
    match outcome {
        Outcome::Board { created, .. } => Told::Board { created: *created },
        outcome => Told::Json(support::json(outcome)),
    }
}

fn told_again(repeat: &rankwire_engine::Repeat) -> Told {
    match repeat.created() {
        Some(created) => Told::Board { created },
        None => Told::Json(support::text(repeat.json().to_vec())),
    }
}

/// The figures are those of what is there, and every name leads to a board of that name.
fn assert_sound(node: &Node) {
    let Contents { boards, .. } = node.engine.contents();
    let stats = node.engine.stats();
    assert_eq!(stats.members, boards.iter().map(|(_, list)| list.len()).sum::<u64>());
    let names: BTreeSet<_> = boards.iter().map(|(board, _)| board.name()).collect();
    assert_eq!(stats.boards, names.len() as u64);
    for name in names {
        let found = node.engine.board(name).unwrap();
        assert!(boards.iter().any(|(board, _)| board.id() == found.id()));
    }
}

fn dropped(journal: &Journal) -> BTreeSet<BoardId> {
    let records = journal
        .iter()
        .flat_map(|(origin, number, bytes)| record::decode(*origin, *number, bytes).unwrap());
    let dropped = records.filter_map(|record| match record {
        Record::Drop { board } => Some(board),
        _ => None,
    });
    dropped.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nodes_come_to_hold_the_same(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
        }
        world.end();
    }

    /// Amounts that arrive twice, late or after a gap count once.
    #[test]
    fn amounts_count_once(
        amounts in prop::collection::vec((select(&MEMBERS[..]), -3..=3_i64), 1..20),
        arrivals in prop::collection::vec((0..20_usize, 1..6_usize), 0..30),
    ) {
        let mut cluster = Cluster::default();
        let (one, mut other) = (Node::new(1), Node::new(2));
        one.ask(&mut cluster, create("a", sums())).unwrap();
        let mut expected = BTreeMap::new();
        for (member, amount) in amounts {
            one.ask(&mut cluster, submit("a", member, amount)).unwrap();
            *expected.entry(member.to_owned()).or_insert(0) += amount;
        }
        for (from, count) in arrivals {
            other.receive(cluster.of(1).into_iter().skip(from).take(count).collect());
        }
        other.catch_up(&cluster);
        other.receive(cluster.of(1));
        for engine in [&one.engine, &other.engine] {
            let boards = shown(engine).into_values();
            let sums: BTreeMap<_, _> = boards
                .flat_map(|board| board.members)
                .map(|(member, (state, _))| (member, state.unwrap().0))
                .collect();
            let expected = expected.iter().map(|(m, sum)| (m.clone(), Score::Int(*sum)));
            prop_assert_eq!(sums, expected.collect());
        }
    }
}

/// What the storage's one leader does: it notes what changes, and who takes over finds out what its
/// predecessor has not stored.
mod leading {
    use super::*;

    #[derive(Debug, Clone)]
    enum Lead {
        Write {
            node: usize,
            writes: Vec<Write>,
        },
        CatchUp {
            node: usize,
        },
        Checkpoint {
            is_stored: bool,
        },
        /// The other node leads from now on. Before it has looked at the journal a batch of its own
        /// may be sealed, and stored, and it may be published before or after.
        TakeOver {
            writes: Vec<Write>,
            stored_first: bool,
            is_behind: bool,
        },
    }

    fn lead() -> impl Strategy<Value = Lead> {
        let writes = || prop::collection::vec(write(), 0..5);
        prop_oneof![
            8 => (0..2_usize, writes()).prop_map(|(node, writes)| Lead::Write { node, writes }),
            4 => (0..2_usize).prop_map(|node| Lead::CatchUp { node }),
            3 => any::<bool>().prop_map(|is_stored| Lead::Checkpoint { is_stored }),
            2 => (writes(), any::<bool>(), any::<bool>()).prop_map(
                |(writes, stored_first, is_behind)| Lead::TakeOver {
                    writes, stored_first, is_behind,
                }
            ),
        ]
    }

    struct Pair {
        cluster: Cluster,
        nodes: [Node; 2],
        leader: usize,
        tables: support::Storage,
        /// Whether nothing is noted that the tables have already. Who was behind them when it began
        /// to lead notes such things as they come.
        is_exact: bool,
    }

    impl Pair {
        fn new() -> Self {
            let nodes = [Node::new(1), Node::new(2)];
            nodes[1].engine.track(false);
            let (cluster, tables) = (Cluster::default(), support::Storage::default());
            Self { cluster, nodes, leader: 0, tables, is_exact: true }
        }

        fn run(&mut self, step: &Lead) {
            match step {
                Lead::Write { node, writes } => {
                    self.nodes[*node].write(&mut self.cluster, writes.iter().cloned());
                }
                Lead::CatchUp { node } => self.nodes[*node].catch_up(&self.cluster),
                Lead::Checkpoint { is_stored } => self.checkpoint(*is_stored),
                Lead::TakeOver { writes, stored_first, is_behind } => {
                    self.take_over(writes, *stored_first, *is_behind);
                }
            }
            assert_eq!(self.nodes[1 - self.leader].engine.stats().dirty_members, 0);
            let leader = &self.nodes[self.leader].engine;
            let noted = leader.stats().dirty_members as usize;
            let (changed, told) = self.unstored();
            assert!(noted >= changed, "{noted} of {changed}");
            assert!(noted <= told || !self.is_exact, "{noted} of {told}");
        }

        fn checkpoint(&mut self, is_stored: bool) {
            let engine = &self.nodes[self.leader].engine;
            let Some(checkpoint) = take_checkpoint(engine) else { return };
            if is_stored {
                self.tables.store(&checkpoint);
                self.is_exact = true;
                assert_eq!(visible(stored(&self.tables)), shown(engine));
            } else {
                engine.restore_dirty(checkpoint);
            }
        }

        fn take_over(&mut self, writes: &[Write], stored_first: bool, is_behind: bool) {
            // Some of the old leader's checkpoints are on their way for ever.
            let old = &self.nodes[self.leader].engine;
            let lost = if stored_first { old.checkpoint() } else { None };
            self.nodes[self.leader].engine.track(false);
            if let Some(lost) = lost {
                self.nodes[self.leader].engine.restore_dirty(lost);
            }
            self.leader = 1 - self.leader;
            let node = &mut self.nodes[self.leader];
            if !is_behind {
                node.catch_up(&self.cluster);
            }
            let mut sealed = node.seal(writes.iter().cloned());
            if stored_first {
                node.store(&mut self.cluster, &mut sealed);
            }
            node.engine.track(true);
            let unstored = self.cluster.missing(&self.tables.vector);
            let unstored: Vec<_> =
                unstored.iter().map(|(origin, n, bytes)| (*origin, *n, &bytes[..])).collect();
            node.engine.mark(&unstored).unwrap();
            if !stored_first {
                node.store(&mut self.cluster, &mut sealed);
            }
            node.engine.commit(sealed);
            // The tables must not go back: who is behind them catches up first.
            node.catch_up(&self.cluster);
            self.is_exact = !is_behind;
        }

        /// In how many members the tables differ from the leader, and of how many its batches tell
        /// that the tables lack.
        fn unstored(&self) -> (usize, usize) {
            let lacking = self.cluster.missing(&self.nodes[self.leader].engine.vector());
            let is_seen = |batch: &(u64, u64, Vec<u8>)| !lacking.contains(batch);
            let seen: Journal =
                self.cluster.journal.iter().filter(|b| is_seen(b)).cloned().collect();
            let (alive, stored) = (merged(&seen), stored(&self.tables));
            let changed = alive.iter().flat_map(|(id, board)| {
                let stored = stored.get(id);
                board.members.iter().filter(move |(member, state)| {
                    stored.and_then(|stored| stored.members.get(*member)) != Some(*state)
                })
            });
            let mut told = BTreeSet::new();
            for batch in self.cluster.missing(&self.tables.vector).iter().filter(|b| is_seen(b)) {
                for record in record::decode(batch.0, batch.1, &batch.2).unwrap() {
                    if let Record::Score { board, member, .. }
                    | Record::Delete { board, member, .. } = record
                        && alive.contains_key(&board)
                    {
                        told.insert((board, member.to_owned()));
                    }
                }
            }
            (changed.count(), told.len())
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_500))]

        #[test]
        fn whoever_leads_stores_what_is_missing(steps in prop::collection::vec(lead(), 1..40)) {
            let mut pair = Pair::new();
            for step in &steps {
                pair.run(step);
            }
            for node in [0, 1] {
                pair.run(&Lead::CatchUp { node });
            }
            pair.run(&Lead::Checkpoint { is_stored: true });
            let expected = merged(&pair.cluster.journal);
            prop_assert_eq!(stored(&pair.tables), expected.clone());
            let engine = pair.tables.load().finish(9, Limits::default(), true);
            prop_assert_eq!(shown(&engine), visible(expected));
        }
    }

    #[test]
    fn who_does_not_lead_notes_nothing() {
        let mut cluster = Cluster::default();
        let (one, mut other) = (Node::new(1), Node::new(2));
        other.engine.track(false);
        one.ask(&mut cluster, create("a", board())).unwrap();
        one.ask(&mut cluster, submit("a", "m1", 1)).unwrap();
        other.catch_up(&cluster);
        other.ask(&mut cluster, submit("a", "m2", 1)).unwrap();
        other.ask(&mut cluster, drop_board("a")).unwrap();
        assert!(take_checkpoint(&other.engine).is_none());
        assert!(take_checkpoint(&one.engine).is_some());
    }

    #[test]
    fn a_batch_under_way_is_noted_by_who_takes_over_meanwhile() {
        let mut cluster = Cluster::default();
        let node = Node::new(1);
        node.engine.track(false);
        node.ask(&mut cluster, create("a", board())).unwrap();
        let mut sealed = node.seal([submit("a", "m1", 1).into(), create("b", board()).into()]);
        node.engine.track(true);
        node.engine.mark(&[(1, 1, &cluster.journal[0].2)]).unwrap();
        node.store(&mut cluster, &mut sealed);
        // Not in yet: it is noted when it is, and not taken for one of boards that are gone.
        node.engine.mark(&[(1, 2, &cluster.journal[1].2)]).unwrap();
        assert_eq!(node.engine.stats().dirty_members, 0);
        node.engine.commit(sealed);
        assert_eq!(node.engine.stats().dirty_members, 1);
        let mut tables = support::Storage::default();
        tables.store(&take_checkpoint(&node.engine).unwrap());
        assert_eq!(stored(&tables), merged(&cluster.journal));
        assert!(tables.gone.is_empty());
    }

    #[test]
    fn a_batch_under_way_is_forgotten_by_who_leads_no_longer() {
        let mut cluster = Cluster::default();
        let node = Node::new(1);
        node.ask(&mut cluster, create("a", board())).unwrap();
        let mut sealed = node.seal([submit("a", "m1", 1).into(), create("b", board()).into()]);
        node.engine.track(false);
        node.store(&mut cluster, &mut sealed);
        node.engine.commit(sealed);
        assert_eq!(node.engine.stats().dirty_members, 0);
        assert!(take_checkpoint(&node.engine).is_none());
    }

    #[test]
    fn who_leads_no_longer_forgets_what_ended() {
        let mut cluster = Cluster::default();
        let node = Node::new(1);
        node.ask(&mut cluster, create("a", board())).unwrap();
        node.ask(&mut cluster, drop_board("a")).unwrap();
        node.engine.track(false);
        node.engine.track(true);
        assert!(take_checkpoint(&node.engine).is_none());
    }

    #[test]
    fn a_damaged_batch_cannot_be_marked() {
        let mut cluster = Cluster::default();
        let node = Node::new(1);
        node.ask(&mut cluster, create("a", board())).unwrap();
        let refused = node.engine.mark(&[(1, 1, b"damaged")]);
        assert!(matches!(refused, Err(Error::Journal { origin: 1, number: 1, .. })));
    }

    #[test]
    fn boards_that_ended_are_marked_as_gone() {
        let mut cluster = Cluster::default();
        let mut node = Node::new(1);
        node.ask(&mut cluster, create("a", board())).unwrap();
        node.ask(&mut cluster, submit("a", "m1", 1)).unwrap();
        node.checkpoint();
        let id = node.engine.board("a").unwrap().id();
        node.engine.track(false);
        node.ask(&mut cluster, drop_board("a")).unwrap();
        node.engine.track(true);
        node.engine.mark(&[(1, 3, &cluster.journal[2].2)]).unwrap();
        let checkpoint = take_checkpoint(&node.engine).unwrap();
        assert_eq!(checkpoint.dropped, [id]);
        node.tables.store(&checkpoint);
        assert!(stored(&node.tables).is_empty());
    }
}

mod batches {
    use super::*;

    #[test]
    fn what_waits_for_a_board_stops_the_list_and_what_is_seen_does_not() {
        let mut cluster = Cluster::default();
        let (one, mut two, three) = (Node::new(1), Node::new(2), Node::new(3));
        one.ask(&mut cluster, create("a", board())).unwrap();
        two.catch_up(&cluster);
        two.ask(&mut cluster, submit("a", "m1", 1)).unwrap();
        two.ask(&mut cluster, submit("a", "m2", 1)).unwrap();
        let [first, second, third] = [0, 1, 2]
            .map(|at| (cluster.journal[at].0, cluster.journal[at].1, &*cluster.journal[at].2));
        let applied = |count, stop| Ok(Applied { count, stop });
        let engine = &three.engine;
        assert_eq!(engine.apply(&[], false), applied(0, None));
        assert_eq!(engine.apply(&[third], false), applied(0, Some(Stop::Gap)));
        assert_eq!(engine.apply(&[second, first], false), applied(0, Some(Stop::Board)));
        assert_eq!(engine.apply(&[first, first, third], false), applied(2, Some(Stop::Gap)));
        assert_eq!(engine.vector(), [(1, 1)]);
        assert_eq!(engine.apply(&[first, second, first, third, second], false), applied(5, None));
        assert_eq!(engine.vector(), [(1, 1), (2, 2)]);
        assert_eq!(shown(engine), visible(merged(&cluster.journal)));
        assert_eq!(engine.stats().applied_records_total, 3);
        // A node's own batches are in, whatever they say.
        let own = Applied { count: 1, stop: None };
        assert_eq!(one.engine.apply(&[(1, 7, b"not read")], false), Ok(own));
        assert_eq!(one.engine.vector(), [(1, 1)]);
    }

    /// Every kind of record waits for its board, and any of them may be the one that does not know
    /// it, also behind records of boards that are known.
    #[test]
    fn every_kind_of_record_waits_for_its_board() {
        let begin =
            |board, name| Record::Create { board, name, config: super::board(), seed: [0; 16] };
        let score = |board| Record::Score { board, member: "m1", bits: 1, stamp: 1, generation: 0 };
        let delete = |board| Record::Delete { board, member: "m1", generation: 1 };
        let end = |board| Record::Drop { board };
        for waiting in [score(8), delete(8), end(8)] {
            let node = Node::new(1);
            let known = bytes(2, 1, &[begin(7, "a")]);
            let mixed = bytes(3, 1, &[score(7), score(7), waiting, score(7)]);
            let list = [(2, 1, &known[..]), (3, 1, &mixed)];
            let stopped = Applied { count: 1, stop: Some(Stop::Board) };
            assert_eq!(node.engine.apply(&list, false), Ok(stopped));
            assert_eq!(node.engine.vector(), [(2, 1)]);
            assert_eq!(node.engine.stats().members, 0);
            let created = bytes(4, 1, &[begin(8, "b")]);
            let list = [(4, 1, &created[..]), (3, 1, &mixed)];
            let all = Applied { count: 2, stop: None };
            assert_eq!(node.engine.apply(&list, false), Ok(all));
            assert_eq!(node.engine.vector(), [(2, 1), (3, 1), (4, 1)]);
        }
        // What a batch creates itself it may use, and so may it what has ended.
        let node = Node::new(1);
        let own = bytes(2, 1, &[begin(7, "a"), begin(8, "b"), score(7), end(7), score(8)]);
        let late = bytes(3, 1, &[score(7), score(8), delete(7)]);
        support::apply(&node.engine, &[(2, 1, own), (3, 1, late)]);
        assert_eq!((node.engine.stats().boards, node.engine.stats().members), (1, 1));
    }

    fn bytes(origin: u64, number: u64, records: &[Record<'_>]) -> Vec<u8> {
        let mut batch = BatchWriter::default();
        for record in records {
            batch.push(record);
        }
        batch.finish(origin, number)
    }

    /// An end that comes before its board, which only who trusts takes in: the board stays away.
    #[test]
    fn with_trust_a_board_that_ended_first_never_begins() {
        let node = Node::new(1);
        let end = bytes(2, 1, &[Record::Drop { board: 7 }]);
        let begin = Record::Create { board: 7, name: "a", config: board(), seed: [0; 16] };
        let begin = bytes(3, 1, &[begin]);
        let all = Ok(Applied { count: 1, stop: None });
        assert_eq!(node.engine.apply(&[(2, 1, &end)], true), all);
        assert_eq!(node.engine.apply(&[(3, 1, &begin)], true), all);
        assert_eq!(node.engine.vector(), [(2, 1), (3, 1)]);
        assert_eq!(node.engine.stats().boards, 0);
    }

    /// A list that fails leaves nothing, also not the memory of a board that ended in it.
    #[test]
    fn a_damaged_batch_leaves_nothing_of_those_before_it() {
        let node = Node::new(1);
        let end = bytes(2, 1, &[Record::Drop { board: 7 }]);
        let refused = node.engine.apply(&[(2, 1, &end), (2, 2, b"damaged")], true);
        assert!(matches!(refused, Err(Error::Journal { origin: 2, number: 2, .. })));
        assert_eq!(node.engine.vector(), []);
        let begin = Record::Create { board: 7, name: "a", config: board(), seed: [0; 16] };
        support::apply(&node.engine, &[(3, 1, bytes(3, 1, &[begin]))]);
        assert_eq!(node.engine.stats().boards, 1);
    }

    #[test]
    fn publications_count_what_readers_can_see() {
        let mut cluster = Cluster::default();
        let (one, mut two) = (Node::new(1), Node::new(2));
        let before = one.engine.publications();
        let sealed = one.seal([create("a", board()).into()]);
        assert_eq!(one.engine.publications(), before);
        one.engine.abort(sealed);
        assert_eq!(one.engine.publications(), before);
        one.ask(&mut cluster, create("a", board())).unwrap();
        assert!(one.engine.publications() > before);
        let before = two.engine.publications();
        two.catch_up(&cluster);
        assert!(two.engine.publications() > before);
    }

    #[test]
    fn lives_differ_between_nodes_that_share_and_stay_where_there_is_one() {
        let mut cluster = Cluster::default();
        let (one, mut two) = (Node::new(1), Node::new(2));
        one.ask(&mut cluster, create("a", board())).unwrap();
        two.catch_up(&cluster);
        let life = |engine: &Engine| engine.life(&engine.board("a").unwrap());
        assert_ne!(life(&one.engine), life(&two.engine));
        let mut server = support::Server::new();
        server.ask(create("a", board())).unwrap();
        let before = life(&server.engine);
        server.restart();
        assert_eq!(life(&server.engine), before);
    }

    /// Stamps follow those of other nodes, so what is written after they arrived is later.
    #[test]
    fn clocks_follow_what_arrives() {
        let mut cluster = Cluster::default();
        let (mut ahead, mut behind) = (Node::new(1), Node::new(2));
        ahead.now_ms += 10_000;
        behind.now_ms -= 10_000;
        ahead.ask(&mut cluster, create("a", board())).unwrap();
        ahead.ask(&mut cluster, submit("a", "z", 1)).unwrap();
        behind.catch_up(&cluster);
        behind.ask(&mut cluster, submit("a", "m1", 1)).unwrap();
        ahead.catch_up(&cluster);
        for node in [&ahead, &behind] {
            let board = node.engine.board("a").unwrap();
            let members: Vec<_> = board.load().iter().map(|e| e.member.to_owned()).collect();
            assert_eq!(members, ["z", "m1"]);
        }
    }
}

mod names {
    use super::*;

    fn id(node: &Node) -> BoardId {
        node.engine.board("a").unwrap().id()
    }

    /// Node 1 creates a board and node 2 ends it.
    fn one_and_two(cluster: &mut Cluster) -> (Node, Node) {
        let (one, mut two) = (Node::new(1), Node::new(2));
        one.ask(cluster, create("a", board())).unwrap();
        one.ask(cluster, submit("a", "old", 1)).unwrap();
        two.catch_up(cluster);
        two.ask(cluster, drop_board("a")).unwrap();
        (one, two)
    }

    #[test]
    fn a_board_waits_for_the_end_of_the_one_that_has_its_name() {
        let mut cluster = Cluster::default();
        let (one, _) = one_and_two(&mut cluster);
        let (mut three, mut four) = (Node::new(3), Node::new(4));
        three.catch_up(&cluster);
        three.ask(&mut cluster, create("a", sums())).unwrap();
        three.ask(&mut cluster, submit("a", "new", 1)).unwrap();
        four.receive([cluster.of(1), cluster.of(3)].concat());
        assert_eq!(id(&four), id(&one));
        // Otherwise ending it would bring the other back for a moment.
        four.receive(cluster.of(2));
        assert_eq!(id(&four), id(&three));
        four.catch_up(&cluster);
        assert_eq!((four.engine.stats().boards, four.engine.stats().members), (1, 1));
        assert_eq!(shown(&four.engine), visible(merged(&cluster.journal)));
        four.checkpoint();
        assert_eq!(stored(&four.tables), merged(&cluster.journal));
    }

    #[test]
    fn a_board_that_has_ended_does_not_take_its_name_from_the_next() {
        for at_once in [false, true] {
            let mut cluster = Cluster::default();
            one_and_two(&mut cluster);
            let mut three = Node::new(3);
            three.ask(&mut cluster, create("a", sums())).unwrap();
            let own = id(&three);
            three.receive(cluster.of(1));
            assert_eq!(id(&three), own);
            for batch in cluster.missing(&three.engine.vector()) {
                if !at_once {
                    crate::support::apply(&three.engine, [&batch]);
                }
                assert_eq!(id(&three), own);
            }
            three.catch_up(&cluster);
            assert_eq!(id(&three), own);
            three.ask(&mut cluster, submit("a", "new", 1)).unwrap();
            assert_eq!((three.engine.stats().boards, three.engine.stats().members), (1, 1));
            assert_eq!(shown(&three.engine), visible(merged(&cluster.journal)));
            three.checkpoint();
            assert_eq!(stored(&three.tables), merged(&cluster.journal));
        }
    }

    #[test]
    fn a_name_is_created_once() {
        let mut cluster = Cluster::default();
        let (one, mut two) = (Node::new(1), Node::new(2));
        one.ask(&mut cluster, create("a", board())).unwrap();
        // The board is not here yet: whoever asks is to ask again.
        let writes = [create("a", board()), submit("a", "m1", 1), create("b", board())];
        let replies = two.write(&mut cluster, writes.map(Write::from));
        assert_eq!(cluster.refusals, 1);
        let [a, submitted, b] = &replies[..] else { panic!("{replies:?}") };
        assert_eq!(a.outcome.as_ref().unwrap_err(), &Error::NotCommitted);
        assert_eq!(submitted.outcome.as_ref().unwrap_err(), &Error::UnknownBoard("a".into()));
        assert!(matches!(b.outcome, Ok(Outcome::Board { created: true, .. })));
        let stats = two.engine.stats();
        assert_eq!((stats.not_committed_total, stats.rejected_total), (1, 1));
        two.catch_up(&cluster);
        let again = two.ask(&mut cluster, create("a", board()));
        assert!(matches!(again, Ok(Outcome::Board { created: false, .. })));
    }

    /// What the storage has to do to its table of names.
    #[test]
    fn a_batch_tells_what_became_of_names_in_the_end() {
        let mut cluster = Cluster::default();
        let node = Node::new(1);
        let changes = |node: &Node, commands: &[Command]| {
            let sealed = node.seal(commands.iter().cloned().map(Write::from));
            let created: Vec<_> =
                sealed.created().map(|(name, id)| (name.to_owned(), id)).collect();
            (created, sealed.dropped().collect::<Vec<_>>(), sealed)
        };
        let (begin, end) = (create("a", board()), drop_board("a"));
        let (created, dropped, sealed) = changes(&node, &[begin.clone(), end.clone()]);
        assert!(created.is_empty() && dropped.is_empty() && !sealed.bytes.is_empty());
        node.engine.commit(sealed);
        assert!(node.engine.board("a").is_err());

        let again = [&begin, &end, &begin, &begin].map(Clone::clone);
        let (created, dropped, sealed) = changes(&node, &again);
        assert!(dropped.is_empty());
        node.engine.commit(sealed);
        let first = node.engine.board("a").unwrap().id();
        assert_eq!(created, [("a".into(), first)]);

        let twice = [&end, &begin, &end, &begin].map(Clone::clone);
        let (created, dropped, sealed) = changes(&node, &twice);
        assert_eq!(dropped, [first]);
        node.engine.commit(sealed);
        let second = node.engine.board("a").unwrap().id();
        assert_eq!(created, [("a".into(), second)]);
        assert_ne!(first, second);

        let (created, dropped, sealed) = changes(&node, &[submit("a", "m1", 1), begin, end]);
        assert!(created.is_empty());
        assert_eq!(dropped, [second]);
        node.engine.commit(sealed);
        assert!(node.write(&mut cluster, []).is_empty());
    }

    #[test]
    fn sums_of_floats_are_refused_where_many_write() {
        let floats = BoardConfig { score: ScoreType::Float64, ..sums() };
        let mut cluster = Cluster::default();
        let node = Node::new(1);
        let refused = node.ask(&mut cluster, create("a", floats));
        assert_eq!(refused.unwrap_err(), Error::FloatSum);
        for (config, name) in [
            (sums(), "b"),
            (BoardConfig { policy: Policy::Best, ..floats }, "c"),
            (BoardConfig { policy: Policy::Last, ..floats }, "d"),
        ] {
            node.ask(&mut cluster, create(name, config)).unwrap();
        }
        support::Server::new().ask(create("a", floats)).unwrap();
    }
}
