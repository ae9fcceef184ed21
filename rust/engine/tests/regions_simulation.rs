//! Regions that write at the same time while lines are cut, messages are lost, doubled and overtaken,
//! clocks are off, nodes start again, boards come and go, the primary moves and a region comes back
//! from a backup. When all is mended, every engine holds the same: every increment that was
//! acknowledged once, and what the batches come to in plain maps.
//!
//! A run follows from its seed, which a failure names. `SIMULATION_SEEDS` is how many are run, from
//! `SIMULATION_FROM` on.
#![allow(clippy::unwrap_used, reason = "a test that finds nothing to unwrap fails, as it should")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rankwire_engine::{
    BoardConfig, Command, Engine, Error, Order, Outcome, Policy, Score, Write, WriteKey,
};
use support::cluster::{merged, shown, stored, visible};
use support::regions::{ALL_RULES, Rules, Vector, includes};
use support::world::World;
use support::{create, drop_board, remove, submit};

const SEEDS: u64 = 250;
const TICKS: usize = 200;
/// Far more than it takes to become level.
const HEALING_TICKS: usize = 2_000;
const MEMBERS: [&str; 5] = ["ann", "bob", "cyd", "dan", "é"];
/// Boards that begin and end all the time.
const FLEETING: [&str; 2] = ["x", "y"];

/// An increment of a board from which nobody is removed.
#[derive(Debug)]
struct Increment {
    member: &'static str,
    amount: i64,
    batch: (u64, u64),
}

/// A client that goes from node to node with the vector of what it has seen.
#[derive(Debug, Default)]
struct Session {
    token: Vector,
    /// The best scores that it has seen.
    seen: BTreeMap<&'static str, i64>,
}

struct Run {
    world: World,
    increments: Vec<Increment>,
    /// Batches that a region lost before any other had them.
    lost: BTreeSet<(u64, u64)>,
    keys: u32,
    /// Increments whose fate their clients do not know: region, write, amount.
    unanswered: Vec<(usize, Write, &'static str, i64)>,
    sessions: Vec<Session>,
    /// What every node had when it was looked at last: its vector and its best scores.
    last: BTreeMap<(usize, usize), (Vector, BTreeMap<String, i64>)>,
    is_restoring: bool,
}

fn config(policy: Policy) -> BoardConfig {
    BoardConfig { policy, ..BoardConfig::default() }
}

fn vector(engine: &Engine) -> Vector {
    engine.vector().into_iter().collect()
}

fn scores(engine: &Engine, board: &str) -> BTreeMap<String, i64> {
    let Ok(board) = engine.board(board) else { return BTreeMap::new() };
    let score = |key| match board.score(key) {
        Score::Int(score) => score,
        Score::Float(_) => panic!("no board has floats"),
    };
    board.load().iter().map(|entry| (entry.member.to_owned(), score(entry.key))).collect()
}

impl Run {
    fn new(seed: u64, rules: Rules) -> Self {
        let mut world = World::new(seed, rules);
        let boards = [
            create("best", config(Policy::Best)),
            create("sum", config(Policy::Sum)),
            create("last", BoardConfig { order: Order::Asc, ..config(Policy::Last) }),
            create("tally", config(Policy::Sum)),
        ];
        world.write((0, 0), boards.map(Write::from).into());
        Self {
            is_restoring: world.random.chance(25),
            world,
            increments: Vec::new(),
            lost: BTreeSet::new(),
            keys: 0,
            unanswered: Vec::new(),
            sessions: (0..3).map(|_| Session::default()).collect(),
            last: BTreeMap::new(),
        }
    }

    fn run(mut self) {
        for _ in 0..TICKS {
            self.world.tick();
            for _ in 0..=self.world.random.below(3) {
                self.act();
            }
            self.world.follow_some();
            self.check_nodes();
        }
        self.world.heal();
        for tick in 0.. {
            assert!(tick < HEALING_TICKS, "the regions do not become level");
            self.world.tick();
            if self.world.is_level() {
                break;
            }
        }
        self.check_end();
    }

    fn act(&mut self) {
        let place = self.world.any_node();
        match self.world.random.below(100) {
            0..=19 => self.increment(place),
            20..=54 => self.submit(place),
            55..=64 => self.visit(place),
            65..=72 => self.name(place),
            73..=76 => self.crash(place),
            77..=79 => self.retry(),
            80..=82 => self.restart(place),
            83..=84 => self.world.regions[place.0].nodes[place.1].checkpoint(),
            85..=89 => self.world.cut(),
            90..=92 => self.world.move_primary(),
            93..=96 => self.world.learn_primary(place),
            97 => {
                let skew = self.world.random.below(801);
                self.world.regions[place.0].skew_ms = skew.cast_signed() as i64 - 400;
            }
            98 => self.world.regions[place.0].back_up(),
            _ => self.restore(place.0),
        }
    }

    fn member(&mut self) -> &'static str {
        MEMBERS[self.world.random.below(MEMBERS.len())]
    }

    fn amount(&mut self) -> i64 {
        self.world.random.below(12).cast_signed() as i64 - 2
    }

    fn keyed_increment(&mut self) -> (Write, &'static str, i64) {
        let (member, amount) = (self.member(), self.amount());
        self.keys += 1;
        let key = WriteKey::new("client", &self.keys.to_string()).unwrap();
        (Write { command: submit("sum", member, amount), key: Some(key) }, member, amount)
    }

    fn increment(&mut self, place: (usize, usize)) {
        let (write, member, amount) = self.keyed_increment();
        let (mut replies, batch) = self.world.write(place, vec![write]);
        self.note(&replies.pop().unwrap().outcome, batch, member, amount);
    }

    /// Notes an increment that was acknowledged and changed something.
    fn note(
        &mut self,
        outcome: &Result<Outcome, Error>,
        batch: Option<(u64, u64)>,
        member: &'static str,
        amount: i64,
    ) {
        match (outcome, batch) {
            (Ok(Outcome::Submitted(_)), Some(batch)) => {
                self.increments.push(Increment { member, amount, batch });
            }
            (Ok(_), _) | (Err(Error::UnknownBoard(_)), None) => {}
            other => panic!("{other:?}"),
        }
    }

    /// A few writes of all kinds in one batch.
    fn submit(&mut self, place: (usize, usize)) {
        let mut writes: Vec<Write> = Vec::new();
        for _ in 0..=self.world.random.below(3) {
            let (member, score) = (self.member(), self.amount());
            let command = match self.world.random.below(10) {
                0 => remove("last", member),
                1 => remove("tally", member),
                2 => remove("x", member),
                3 => submit("tally", member, score),
                4 => submit("best", member, score),
                5 => submit("last", member, score),
                _ => submit(FLEETING[self.world.random.below(2)], member, score),
            };
            writes.push(command.into());
        }
        self.world.write(place, writes);
    }

    /// A board begins or ends, if that is decided here.
    fn name(&mut self, place: (usize, usize)) {
        let board = FLEETING[self.world.random.below(2)];
        let policy = [Policy::Best, Policy::Last, Policy::Sum][self.world.random.below(3)];
        let command: Command = if self.world.random.chance(60) {
            create(board, config(policy))
        } else {
            drop_board(board)
        };
        // Most often where it can succeed; the storage of another region refuses it.
        let node = self.world.random.below(self.world.regions[self.world.primary].nodes.len());
        let place = if self.world.random.chance(70) { (self.world.primary, node) } else { place };
        let engine = &self.world.regions[place.0].nodes[place.1].engine;
        match engine.enqueue(command) {
            Ok(_) => drop(self.world.write(place, Vec::new())),
            Err(error) => assert!(matches!(error, Error::NotPrimary(Some(_)))),
        }
    }

    /// A session reads at a node that has what it has seen, or submits a score.
    fn visit(&mut self, place: (usize, usize)) {
        let (at, score) = (self.world.random.below(self.sessions.len()), self.amount());
        let member = self.member();
        let node = &self.world.regions[place.0].nodes[place.1].engine;
        let session = &mut self.sessions[at];
        if includes(&vector(node), &session.token) {
            let scores = scores(node, "best");
            for (member, seen) in &mut session.seen {
                let now = scores.get(*member).copied();
                assert!(now >= Some(*seen), "{member} had {seen} and now has {now:?}");
                *seen = now.unwrap();
            }
        } else if self.world.random.chance(50) {
            return;
        }
        let (replies, _) = self.world.write(place, vec![submit("best", member, score).into()]);
        if replies[0].outcome.is_ok() {
            let seen = session.seen.entry(member).or_insert(score);
            *seen = score.max(*seen);
        }
        for (origin, number) in vector(&self.world.regions[place.0].nodes[place.1].engine) {
            let held = session.token.entry(origin).or_insert(number);
            *held = number.max(*held);
        }
    }

    /// A node breaks down after its batch was stored, or before.
    fn crash(&mut self, place: (usize, usize)) {
        let (write, member, amount) = self.keyed_increment();
        let mut sealed = self.world.seal(place, vec![write.clone()]);
        let (origin, region) = (self.world.fresh_origin(), &mut self.world.regions[place.0]);
        let crashed = (region.nodes[place.1].engine.origin(), sealed.number);
        if self.world.random.chance(50) {
            region.store(place.1, &mut sealed, false).unwrap();
            if !sealed.bytes.is_empty() {
                self.increments.push(Increment { member, amount, batch: crashed });
            }
        }
        drop(sealed);
        region.restart(place.1, origin);
        self.unanswered.push((place.0, write, member, amount));
    }

    /// A client asks again, at any node of the region.
    fn retry(&mut self) {
        let Some((region, write, member, amount)) = self.unanswered.pop() else { return };
        let node = self.world.random.below(self.world.regions[region].nodes.len());
        let (mut replies, batch) = self.world.write((region, node), vec![write]);
        self.note(&replies.pop().unwrap().outcome, batch, member, amount);
    }

    fn restart(&mut self, (region, node): (usize, usize)) {
        let origin = self.world.fresh_origin();
        self.world.regions[region].restart(node, origin);
        self.world.learn_primary((region, node));
    }

    /// The storage of a region is lost; only the primary's must not be.
    fn restore(&mut self, region: usize) {
        if self.is_restoring && self.world.may_be_lost(region) {
            self.lost.extend(self.world.restore(region));
            self.last.retain(|(of, _), _| *of != region);
        }
    }

    /// Vectors and best scores never fall, not even when a node starts again.
    fn check_nodes(&mut self) {
        for (region, nodes) in self.world.regions.iter().map(|region| &region.nodes).enumerate() {
            for (node, engine) in nodes.iter().map(|node| &node.engine).enumerate() {
                let now = (vector(engine), scores(engine, "best"));
                if let Some((vector, best)) = self.last.get(&(region, node)) {
                    assert!(includes(&now.0, vector), "a vector falls");
                    let falls = |(member, score): (&String, &i64)| now.1.get(member) < Some(score);
                    assert!(!best.iter().any(falls), "a best score falls");
                }
                self.last.insert((region, node), now);
            }
        }
    }

    fn check_end(&mut self) {
        let journal = self.world.regions[0].journal().clone();
        let expected = merged(&journal);
        let names: BTreeMap<_, _> =
            expected.iter().map(|(id, board)| (board.name.clone(), *id)).collect();
        let batches: BTreeSet<_> = journal.iter().map(|batch| (batch.0, batch.1)).collect();
        assert_eq!(batches.len(), journal.len(), "a batch twice");
        let mut sums = BTreeMap::new();
        for Increment { member, amount, batch } in &self.increments {
            if batches.contains(batch) {
                *sums.entry((*member).to_owned()).or_insert(0) += amount;
            } else {
                assert!(self.lost.contains(batch), "an acknowledged increment is missing");
            }
        }
        for region in &mut self.world.regions {
            assert_eq!(region.names(), &names);
            for node in 0..region.nodes.len() {
                region.follow(node);
                let node = &mut region.nodes[node];
                assert_eq!(&vector(&node.engine), &journal_vector(&journal));
                assert_eq!(shown(&node.engine), visible(expected.clone()));
                assert_eq!(scores(&node.engine, "sum"), sums);
                node.checkpoint();
                assert_eq!(stored(&node.tables), expected);
            }
            assert_eq!(shown(&region.replayed(u64::MAX)), visible(expected.clone()));
        }
    }
}

fn journal_vector(journal: &support::cluster::Journal) -> Vector {
    let mut vector = Vector::new();
    for (origin, number, _) in journal {
        let last = vector.entry(*origin).or_insert(*number);
        *last = (*last).max(*number);
    }
    vector
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn regions_come_to_hold_the_same() {
    let from = from_environment("SIMULATION_FROM", 0);
    for seed in from..from + from_environment("SIMULATION_SEEDS", SEEDS) {
        let run = catch_unwind(AssertUnwindSafe(|| Run::new(seed, ALL_RULES).run()));
        if let Err(panic) = run {
            let again = format!("SIMULATION_FROM={seed} SIMULATION_SEEDS=1");
            std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("seed {seed} failed; again with {again}\n"),
            )
            .unwrap();
            resume_unwind(panic);
        }
    }
}

/// What proves the simulation: without one of the rules some seed fails.
#[test]
fn a_broken_rule_is_noticed() {
    let broken = [
        Rules { answers_wait: false, ..ALL_RULES },
        Rules { boards_have_a_primary: false, ..ALL_RULES },
    ];
    for rules in broken {
        let fails = |seed| catch_unwind(AssertUnwindSafe(|| Run::new(seed, rules).run())).is_err();
        assert!((0..SEEDS).any(fails), "{rules:?}");
    }
}
