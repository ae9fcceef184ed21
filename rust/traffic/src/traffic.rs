//! All that is known of reads, for any thread.

use std::fmt::Write;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rankwire_engine::limits;

use crate::curve::{Curve, Fresh};
use crate::heavy::{Heavy, Minutes, heaviest};
use crate::names::{Entropy, Names};
use crate::unique::Day;

/// A board itself is never void.
const ALWAYS: Fresh = Fresh::Version(0);

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Boards, by any read of them.
    Leaderboard,
    /// Pages of boards, by board, offset and limit.
    Page,
    /// Profiles of members.
    UserProfile,
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "leaderboard" => Ok(Self::Leaderboard),
            "page" => Ok(Self::Page),
            "user_profile" => Ok(Self::UserProfile),
            _ => Err(()),
        }
    }
}

/// What is known of a kind.
#[derive(Debug, Default)]
struct Reads {
    minutes: Minutes,
    day: Day,
    curve: Curve,
}

impl Reads {
    fn add(&mut self, now_ms: u64, hash: u64, fresh: Fresh, write: impl FnOnce(&mut String)) {
        self.minutes.add(now_ms, hash, write);
        self.day.add(now_ms, hash);
        self.curve.add(now_ms, hash, fresh);
    }
}

#[derive(Debug, Default)]
struct Known {
    boards: Reads,
    pages: Reads,
    profiles: Reads,
}

impl Known {
    fn kind(&mut self, kind: Kind) -> &mut Reads {
        match kind {
            Kind::Leaderboard => &mut self.boards,
            Kind::Page => &mut self.pages,
            Kind::UserProfile => &mut self.profiles,
        }
    }
}

/// What reads ask for. The one lock is held for a record, or for an answer: the longest copies the
/// 1,024 names of a minute, which takes 20 to 65 microseconds. A lock takes a tenth of the time of
/// a record, so there are not more of them.
#[derive(Debug)]
pub struct Traffic {
    names: Names,
    known: Mutex<Known>,
}

impl Traffic {
    /// Nothing was read yet.
    ///
    /// # Errors
    /// [`Entropy`].
    pub fn new() -> Result<Self, Entropy> {
        Ok(Self { names: Names::new()?, known: Mutex::default() })
    }

    /// A board was read, in whatever way.
    pub fn board(&self, now_ms: u64, board: &str) {
        let hash = self.names.hash(board);
        self.lock().boards.add(now_ms, hash, ALWAYS, |name| name.push_str(board));
    }

    /// A page was read, and with it the board. A page is known as `board?offset=0&limit=10`, and is
    /// void when the board has another version.
    pub fn page(&self, now_ms: u64, board: &str, offset: u64, limit: u64, version: u64) {
        let hash = self.names.hash(board);
        let page_hash = self.names.page(hash, offset, limit);
        let mut known = self.lock();
        known.boards.add(now_ms, hash, ALWAYS, |name| name.push_str(board));
        known.pages.add(now_ms, page_hash, Fresh::Version(version), |name| {
            // Writing to a string cannot fail.
            let _ = write!(name, "{board}?offset={offset}&limit={limit}");
        });
    }

    /// Profiles were read, of which a cache keeps each for `fresh_ms`. A member whose id is longer
    /// than any that can be submitted is none.
    pub fn profiles(&self, now_ms: u64, members: &[impl AsRef<str>], fresh_ms: u64) {
        let mut known = self.lock();
        let members = members.iter().map(AsRef::as_ref);
        for member in members.filter(|member| member.len() <= limits::MEMBER_BYTES) {
            let hash = self.names.hash(member);
            let fresh = Fresh::For(fresh_ms);
            known.profiles.add(now_ms, hash, fresh, |name| name.push_str(member));
        }
    }

    /// The names that were read most in the last whole minute, the most first, at most `limit`.
    pub fn heavy(&self, now_ms: u64, kind: Kind, limit: usize) -> Vec<Heavy> {
        let all = self.lock().kind(kind).minutes.all(now_ms);
        // Without the lock: putting them in order takes longer than copying them.
        heaviest(all, limit)
    }

    /// How many different names were read in the last 24 hours, about.
    pub fn unique(&self, now_ms: u64, kind: Kind) -> f64 {
        self.lock().kind(kind).day.estimate(now_ms)
    }

    /// The miss ratio that a cache of each of the sizes would have; `None` when nothing was read.
    pub fn curve(&self, kind: Kind, sizes: &[u64]) -> Option<Vec<f64>> {
        self.lock().kind(kind).curve.miss_ratios(sizes)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
