//! The world around regions: a network that loses, doubles and delays messages, clocks that are off,
//! lines that are cut. Everything that happens follows from one seed.

use std::collections::BTreeSet;

use rankwire_engine::{Reply, Sealed, Write};

use super::START_MS;
use super::regions::{Fenced, PullAnswer, Region, Request, Rules, Vector, includes};

/// Milliseconds of a tick.
const TICK_MS: i64 = 50;

/// Numbers that are the same for a seed on every machine: `SplitMix64`.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

#[derive(Debug, Clone)]
enum Content {
    Request(Request),
    Answer(PullAnswer),
}

#[derive(Debug, Clone)]
struct Message {
    from: usize,
    to: usize,
    due: u64,
    /// Which life of the asking region it belongs to: a restored one takes no answers of before.
    life: u64,
    content: Content,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) regions: Vec<Region>,
    pub(crate) primary: usize,
    /// The region that becomes the primary when it has this.
    next: Option<(usize, Vector)>,
    tick: u64,
    origins: u64,
    network: Vec<Message>,
    /// Pairs of regions between which nothing goes, in one direction.
    cut: BTreeSet<(usize, usize)>,
    is_healed: bool,
}

impl World {
    pub(crate) fn new(seed: u64, rules: Rules) -> Self {
        let mut random = Random(seed);
        let (count, mut origins) = (3 + random.below(3), 0);
        let region = |me| {
            let from = origins + 1;
            origins += 1 + random.below(2) as u64;
            Region::new(me, count, &(from..=origins).collect::<Vec<_>>(), rules)
        };
        let regions = (0..count).map(region).collect();
        let (network, cut) = (Vec::new(), BTreeSet::new());
        Self {
            random,
            regions,
            primary: 0,
            next: None,
            tick: 0,
            origins,
            network,
            cut,
            is_healed: false,
        }
    }

    /// An origin that nobody had before.
    pub(crate) fn fresh_origin(&mut self) -> u64 {
        self.origins += 1;
        self.origins
    }

    pub(crate) fn any_node(&mut self) -> (usize, usize) {
        let region = self.random.below(self.regions.len());
        (region, self.random.below(self.regions[region].nodes.len()))
    }

    /// Queues writes at a node, whose clock is its region's, and seals them.
    pub(crate) fn seal(&mut self, (region, node): (usize, usize), writes: Vec<Write>) -> Sealed {
        let region = &mut self.regions[region];
        let node = &mut region.nodes[node];
        node.now_ms = START_MS + self.tick.cast_signed() * TICK_MS + region.skew_ms;
        node.seal(writes)
    }

    /// Writes at a node; what they were answered, and the batch they are in.
    pub(crate) fn write(
        &mut self,
        place: (usize, usize),
        writes: Vec<Write>,
    ) -> (Vec<Reply>, Option<(u64, u64)>) {
        let mut sealed = self.seal(place, writes);
        let is_primary = self.is_primary(place.0);
        let region = &mut self.regions[place.0];
        let stored = region.store(place.1, &mut sealed, is_primary);
        let engine = &region.nodes[place.1].engine;
        if stored == Err(Fenced) {
            return (engine.abort_not_primary(sealed), None);
        }
        let batch = (!sealed.bytes.is_empty()).then(|| (engine.origin(), sealed.number));
        let replies = engine.commit(sealed);
        assert_eq!(engine.last(), batch.map_or(engine.last(), |batch| batch.1));
        (replies, batch)
    }

    /// Some nodes take in what their journals have, and some get parts of it in any order.
    pub(crate) fn follow_some(&mut self) {
        let Self { regions, random, .. } = self;
        for region in regions {
            for node in 0..region.nodes.len() {
                match random.below(6) {
                    0..=1 => region.follow(node),
                    2 => region.stream(node, random),
                    _ => {}
                }
            }
        }
    }

    /// Another region is to become the primary: the one that is creates and deletes no more boards, and
    /// the other one does when it has all that this one has now.
    pub(crate) fn move_primary(&mut self) {
        if self.next.is_none() {
            let next = self.random.below(self.regions.len());
            self.next = Some((next, self.regions[self.primary].vector().clone()));
        }
    }

    fn is_primary(&self, region: usize) -> bool {
        region == self.primary && self.next.is_none()
    }

    /// Whether a region can be lost: not one that is the primary or will be, nor what that waits for.
    pub(crate) fn may_be_lost(&self, region: usize) -> bool {
        region != self.primary && self.next.is_none()
    }

    /// A node learns which region is the primary.
    pub(crate) fn learn_primary(&mut self, (region, node): (usize, usize)) {
        let names = self.is_primary(region) || !self.regions[region].rules.boards_have_a_primary;
        let engine = &self.regions[region].nodes[node].engine;
        engine.set_primary(Some(format!("region {}", self.primary)), true, names);
    }

    /// Cuts a line between two regions, in one direction, until it is mended.
    pub(crate) fn cut(&mut self) {
        let pair = (self.random.below(self.regions.len()), self.random.below(self.regions.len()));
        self.cut.insert(pair);
    }

    /// A region loses its storage and goes on from its backup. Returns the batches that may be lost
    /// with it, since no region has them any more.
    pub(crate) fn restore(&mut self, region: usize) -> BTreeSet<(u64, u64)> {
        let count = self.regions[region].nodes.len();
        let origins: Vec<_> = (0..count).map(|_| self.fresh_origin()).collect();
        let lost = self.regions[region].restore(&origins);
        let held = |origin: &u64| {
            self.regions.iter().filter_map(|region| region.vector().get(origin)).max().copied()
        };
        let gone = |(origin, last): (&u64, &u64)| {
            let from = held(origin).unwrap_or(0) + 1;
            (from..=*last).map(|number| (*origin, number)).collect::<Vec<_>>()
        };
        lost.iter().flat_map(gone).collect()
    }

    /// From now on every message arrives, and soon.
    pub(crate) fn heal(&mut self) {
        self.is_healed = true;
        self.cut.clear();
    }

    pub(crate) fn is_level(&self) -> bool {
        self.regions.iter().all(|region| region.vector() == self.regions[0].vector())
    }

    /// Time goes on: messages arrive, answers are taken in, requests go out.
    pub(crate) fn tick(&mut self) {
        self.tick += 1;
        let tick = self.tick;
        let random = &mut self.random;
        self.cut.retain(|_| !random.chance(4));
        if let Some((next, needed)) = &self.next
            && includes(self.regions[*next].vector(), needed)
        {
            (self.primary, self.next) = (*next, None);
        }
        let (due, rest) =
            std::mem::take(&mut self.network).into_iter().partition(|m| m.due <= tick);
        self.network = rest;
        let mut due: Vec<Message> = due;
        while !due.is_empty() {
            let message = due.swap_remove(self.random.below(due.len()));
            self.deliver(message);
        }
        for me in 0..self.regions.len() {
            self.regions[me].take_in(tick);
            for peer in (0..self.regions.len()).filter(|peer| *peer != me) {
                if self.regions[me].is_due(peer, tick) {
                    let request = self.regions[me].request(peer, tick);
                    self.send(me, peer, self.regions[me].life, &Content::Request(request));
                }
            }
        }
    }

    fn deliver(&mut self, Message { from, to, life, content, .. }: Message) {
        match content {
            Content::Request(request) => {
                let answer = self.regions[to].serve(&request);
                self.send(to, from, life, &Content::Answer(answer));
            }
            Content::Answer(answer) if life == self.regions[to].life => {
                self.regions[to].hear(from, answer, self.tick);
            }
            Content::Answer(_) => {}
        }
    }

    fn send(&mut self, from: usize, to: usize, life: u64, content: &Content) {
        let is_lost = !self.is_healed && self.random.chance(15);
        if is_lost || self.cut.contains(&(from, to)) {
            return;
        }
        let copies = if !self.is_healed && self.random.chance(15) { 2 } else { 1 };
        for _ in 0..copies {
            let most = if self.is_healed { 3 } else { 20 };
            let due = self.tick + 1 + self.random.below(most) as u64;
            self.network.push(Message { from, to, due, life, content: content.clone() });
        }
    }
}
