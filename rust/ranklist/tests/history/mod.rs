//! What is recorded: operations on a list with the best score of each member, by a few threads.

pub(crate) mod search;
pub(crate) mod witness;

use std::time::Instant;

use rankwire_ranklist::{Done, Key, Log, Rule, Standing};

/// What is done with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Offers a score: it counts if it is smaller than the member's.
    Best { member: u32, score: u64 },
    /// Sets a score, whatever the member had.
    Set { member: u32, score: u64 },
    /// Takes the member off the list.
    Remove { member: u32 },
    /// Asks where the member stands, how many there are, and who is first.
    Read { member: u32 },
}

/// Where a member stood: rank, score and stamp.
pub(crate) type Place = Option<(u64, u64, u64)>;

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Write { before: Place, after: Place },
    Read { place: Place, len: u64, first: Option<u64> },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) call: Call,
    pub(crate) outcome: Outcome,
    /// Of the operation, or that a read saw.
    pub(crate) position: u64,
    /// Nanoseconds.
    pub(crate) called: u64,
    pub(crate) returned: u64,
}

impl Event {
    /// Makes a write that found its member claim that it found none. Returns whether it did.
    pub(crate) fn forget(&mut self) -> bool {
        let Outcome::Write { before: before @ Some(_), .. } = &mut self.outcome else {
            return false;
        };
        *before = None;
        true
    }
}

/// The rule of the list that is recorded.
pub(crate) struct Members;

impl Rule<1> for Members {
    type Offer = Call;

    fn decide(&self, current: Option<Key>, call: &Call, position: u64) -> Option<Key> {
        let key = |score| Key { score: [score], stamp: position };
        match *call {
            Call::Best { score, .. } => {
                Some(current.filter(|current| current.score[0] <= score).unwrap_or(key(score)))
            }
            Call::Set { score, .. } => Some(key(score)),
            Call::Remove { .. } => None,
            Call::Read { .. } => current,
        }
    }

    fn score(&self, call: &Call) -> [u64; 1] {
        match *call {
            Call::Best { score, .. } | Call::Set { score, .. } => [score],
            Call::Remove { .. } | Call::Read { .. } => [0],
        }
    }
}

/// One clock for all threads. It is the machine's, and orders no memory between them.
pub(crate) struct Timeline(Instant);

impl Timeline {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    fn now(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// One thread's part.
pub(crate) struct Recorder<'a> {
    list: &'a Log<Members>,
    timeline: &'a Timeline,
    members: u32,
    random: u64,
    pub(crate) events: Vec<Event>,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(
        list: &'a Log<Members>,
        timeline: &'a Timeline,
        members: u32,
        seed: u64,
        thread: u64,
    ) -> Self {
        let random = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (thread + 1) << 40;
        Self { list, timeline, members, random, events: Vec::new() }
    }

    pub(crate) fn run(&mut self, count: usize) {
        self.events.reserve(count + 16);
        while self.events.len() < count {
            if self.draw(8) == 0 && self.events.len() + 4 <= count {
                self.write_all();
            } else {
                self.one();
            }
        }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 20) % below
    }

    /// Scores are few, so that many are equal and stamps count.
    fn draw_write(&mut self) -> Call {
        let member = self.draw(u64::from(self.members)) as u32;
        let score = self.draw(50);
        match self.draw(8) {
            0 => Call::Remove { member },
            1 | 2 => Call::Best { member, score },
            _ => Call::Set { member, score },
        }
    }

    fn one(&mut self) {
        if self.draw(3) > 0 {
            let call = self.draw_write();
            let called = self.timeline.now();
            let done = self.list.submit(&name(call), call).expect("a short name");
            self.push(call, &done, called);
        } else {
            let member = self.draw(u64::from(self.members)) as u32;
            let call = Call::Read { member };
            let called = self.timeline.now();
            let (read, position) = self.list.read_at();
            let place = place(read.standing(&name(call)));
            let first = read.select(1).map(|entry| number(entry.member));
            let outcome = Outcome::Read { place, len: read.len(), first };
            drop(read);
            let returned = self.timeline.now();
            self.events.push(Event { call, outcome, position, called, returned });
        }
    }

    fn write_all(&mut self) {
        let calls = [(); 4].map(|()| self.draw_write());
        let called = self.timeline.now();
        let done = self.list.submit_all(calls.map(|call| (name(call), call)));
        let done = done.expect("short names");
        for (call, done) in calls.into_iter().zip(&done) {
            self.push(call, done, called);
        }
    }

    fn push(&mut self, call: Call, done: &Done, called: u64) {
        let returned = self.timeline.now();
        let (before, after) = (place(done.change.before), place(done.change.after));
        let outcome = Outcome::Write { before, after };
        self.events.push(Event { call, outcome, position: done.position, called, returned });
    }
}

fn place(standing: Option<Standing>) -> Place {
    standing.map(|Standing { rank, key }| (rank, key.score[0], key.stamp))
}

pub(crate) fn member(call: Call) -> u32 {
    match call {
        Call::Best { member, .. }
        | Call::Set { member, .. }
        | Call::Remove { member }
        | Call::Read { member } => member,
    }
}

fn name(call: Call) -> String {
    format!("player-{}", member(call))
}

fn number(name: &str) -> u64 {
    name.strip_prefix("player-").and_then(|number| number.parse().ok()).expect("a name made above")
}
