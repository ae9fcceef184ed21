//! The two ways into the list: the log that any thread writes to, and a single publisher's drafts.

use std::error::Error;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rankwire_ranklist::{DuplicateMember, Key, Log, Rule, Seed, Shared, Ties, Version};

use crate::options::Options;
use crate::random::{Name, Source, distinct_score};

/// Moves that are submitted together.
pub(crate) const BATCH: usize = 64;
const SEED: Seed = *b"the bench's seed";
/// Submits that are announced together, as the engine does it.
const WARM: usize = 16;

/// The rule of boards where the last score counts.
pub(crate) struct Last {
    /// Stamps up to this one are those of the first entries.
    loaded: u64,
}

impl Rule<1> for Last {
    type Offer = u64;

    fn decide(&self, _: Option<Key>, score: &u64, position: u64) -> Option<Key> {
        Some(Key { score: [*score], stamp: self.loaded + position })
    }

    fn score(&self, score: &u64) -> [u64; 1] {
        [*score]
    }
}

/// A list with one of the two ways to change it.
pub(crate) enum Ours {
    /// Any thread appends to the log and builds versions.
    Log(Log<Last>),
    /// One thread makes drafts and publishes them, as the server does.
    Draft { list: Shared, loaded: u64 },
}

impl Ours {
    /// A list of these members and scores, through `log` or `draft`.
    pub(crate) fn new<S: AsRef<str>>(
        through: &str,
        ties: Ties,
        members: impl ExactSizeIterator<Item = (S, u64)>,
    ) -> Result<Self, DuplicateMember> {
        let loaded = members.len() as u64;
        let keyed = |((name, score), stamp)| (name, Key { score: [score], stamp });
        let entries = members.zip(1..).map(keyed);
        Ok(if through == "log" {
            Self::Log(Log::from_entries(ties, SEED, entries, Last { loaded })?)
        } else {
            Self::Draft { list: Shared::from_entries(ties, SEED, 0, entries)?, loaded }
        })
    }

    /// A list of distinct scores, in random order.
    pub(crate) fn random(options: &Options) -> Result<Self, DuplicateMember> {
        let members = (0..options.members).map(|at| (Name::of(at), distinct_score(at as u64)));
        Self::new(&options.through, Ties::First, members)
    }

    /// A list without members.
    pub(crate) fn empty(through: &str) -> Result<Self, DuplicateMember> {
        Self::new(through, Ties::First, std::iter::empty::<(Name, u64)>())
    }

    /// Makes the moves visible together, or one alone as one that stands alone is. Returns the sum
    /// of the ranks that they led to.
    pub(crate) fn submit<S: AsRef<str>>(&self, moves: &[(S, u64)]) -> u64 {
        match self {
            Self::Log(log) => {
                let moves = moves.iter().map(|(member, score)| (member.as_ref(), *score));
                let done = log.submit_all(moves).expect("names are short");
                done.iter().filter_map(|done| done.change.after).map(|after| after.rank).sum()
            }
            Self::Draft { list, loaded } => {
                let mut draft = list.draft();
                let mut ranks = 0;
                for group in moves.chunks(WARM) {
                    draft.warm(group.iter().map(|(member, score)| (member.as_ref(), [*score])));
                    for (member, score) in group {
                        let stamp = loaded + draft.version() + 1;
                        let change = draft.set(member.as_ref(), Key { score: [*score], stamp });
                        ranks += change.after.map_or(0, |after| after.rank);
                    }
                }
                draft.publish().expect("nobody else publishes");
                ranks
            }
        }
    }

    /// A move that is published alone.
    pub(crate) fn submit_one(&self, member: &str, score: u64) -> u64 {
        match self {
            Self::Log(log) => {
                let done = log.submit(member, score).expect("names are short");
                done.change.after.map_or(0, |after| after.rank)
            }
            Self::Draft { .. } => self.submit(&[(member, score)]),
        }
    }

    /// Looks at the current version for a moment.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Version) -> T) -> T {
        match self {
            Self::Log(log) => look(&log.read()),
            Self::Draft { list, .. } => look(&list.read()),
        }
    }

    /// The current version, for long.
    pub(crate) fn snapshot(&self) -> Box<dyn Deref<Target = Version>> {
        match self {
            Self::Log(log) => Box::new(log.snapshot()),
            Self::Draft { list, .. } => Box::new(list.snapshot()),
        }
    }

    /// Moves as many members as there are, so that the list is no longer as it was loaded.
    pub(crate) fn age(&self, source: &mut Source) {
        let members = self.read(Version::len);
        for first in (0..members).step_by(BATCH) {
            if first % (1 << 21) == 0 && first > 0 {
                eprintln!("aged by {first} moves");
            }
            self.submit(&source.moves::<BATCH>());
        }
    }
}

/// Visits all entries with their names, and returns a sum that depends on every one.
pub(crate) fn export(version: &Version) -> u64 {
    version.iter().fold(0, |sum: u64, entry| {
        let last = entry.member.as_bytes().last().copied().unwrap_or(0);
        sum.rotate_left(5) ^ (entry.rank + entry.key.score[0] + u64::from(last))
    })
}

/// Works until it is stopped, and returns how much it did in a second.
pub(crate) fn repeat(stop: &AtomicBool, mut work: impl FnMut() -> usize) -> f64 {
    let (began, mut done) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        done += work();
    }
    done as f64 / began.elapsed().as_secs_f64()
}

/// Keeps a thread on one core; the kernel knows it by the last part of this path.
pub(crate) fn pin(core: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
    let path = std::fs::read_link("/proc/thread-self")?;
    let thread = path.file_name().ok_or("the thread has no id")?;
    let core = core.to_string();
    let mut command = std::process::Command::new("taskset");
    let output = command.args(["--cpu-list", "--pid", &core]).arg(thread).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(())
}
