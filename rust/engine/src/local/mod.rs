//! Boards in memory: a ranked list that many threads of one process write and read, and no more.
//!
//! A [`Board`] here has no name, no journal and no committer: what is submitted counts at once and
//! is gone with the process. In return a score may have up to three columns, and writers need no
//! queue: they work on the lock-free log of the ranked list. Names, scores, policies and ties mean
//! what they mean on the boards of the server, with one difference: time is the order in which
//! submits take effect, for there is no other clock.
//!
//! The number of columns is a parameter of the types inside and not of those outside, because who
//! embeds this learns it at run time.

mod rule;
mod score;

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use rankwire_ranklist::{Done, Key, Log, Version};

pub use rankwire_ranklist::{Ranks, Seed};

pub use self::score::{Column, MAX_COLUMNS, Scores};

use self::rule::{Offer, Rules};
use crate::limits::MEMBERS;
use crate::{Error, Policy, TieBreak, check_member, committer};

/// A board in memory.
pub struct Board {
    list: Box<dyn List>,
}

/// What a submit did. Ranks count from 1 and are those right before and right after it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Submitted {
    /// The member's score now.
    pub score: Scores,
    /// Its rank.
    pub rank: u64,
    /// Its score and rank before, if it was on the board.
    pub previous: Option<(Scores, u64)>,
    /// Whether its score or its place in time is another one now.
    pub changed: bool,
    /// The version of the board that the submit made, or left as it was.
    pub version: u64,
}

/// One place of a board.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The rank, counted from 1.
    pub rank: u64,
    /// The member's id.
    pub member: Box<str>,
    /// The member's score.
    pub score: Scores,
}

/// A member that two snapshots of a board do not agree on.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The member's id.
    pub member: Box<str>,
    /// Its score in the snapshot that was asked, if it is there.
    pub here: Option<Scores>,
    /// Its score in the other snapshot, if it is there.
    pub there: Option<Scores>,
}

impl Board {
    /// An empty board of one to three columns. Its seed must not be known to those who choose the
    /// members' ids; see [`random_seed`].
    ///
    /// # Errors
    /// [`Error::Score`] for another number of columns.
    pub fn new(
        columns: &[Column],
        policy: Policy,
        ties: TieBreak,
        seed: Seed,
    ) -> Result<Self, Error> {
        let list: Box<dyn List> = match *columns {
            [a] => Box::new(Typed::new([a], policy, ties, seed)),
            [a, b] => Box::new(Typed::new([a, b], policy, ties, seed)),
            [a, b, c] => Box::new(Typed::new([a, b, c], policy, ties, seed)),
            _ => return Err(Error::Score("a score has one to three columns")),
        };
        Ok(Self { list })
    }

    /// Offers a score, or with policy `sum` an amount, to a member.
    ///
    /// # Errors
    /// [`Error::MemberName`] and [`Error::Score`] for what cannot be on this board,
    /// [`Error::Overflow`] for an amount that would take one column out of its range,
    /// [`Error::TooManyMembers`] for a new member of a full board. The board is as it was then.
    pub fn submit(&self, member: &str, score: &Scores) -> Result<Submitted, Error> {
        self.list.submit(member, score)
    }

    /// Offers scores to members, in this order. Readers and other writers may see a part of it.
    ///
    /// The outer error says which item can never be on this board, and nothing is done then. What
    /// depends on the state of the board is decided item by item, and told so.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), the outer one as [`Error::Item`].
    pub fn submit_all<S: AsRef<str>>(
        &self,
        items: &[(S, Scores)],
    ) -> Result<Vec<Result<Submitted, Error>>, Error> {
        let items: Vec<_> = items.iter().map(|(member, score)| (member.as_ref(), score)).collect();
        self.list.submit_all(&items)
    }

    /// Removes a member. False if it was not there.
    pub fn remove(&self, member: &str) -> bool {
        self.list.remove(member)
    }

    /// The current version, for a short read. Never waits.
    ///
    /// Until it is dropped no board of the process frees memory, so hold it for straight-line code
    /// only.
    pub fn read(&self) -> Box<dyn Standings + '_> {
        self.list.read()
    }

    /// The current version, for as long as it takes. Never waits.
    pub fn snapshot(&self) -> Arc<dyn Snapshot> {
        self.list.snapshot()
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let read = self.read();
        f.debug_struct("Board")
            .field("len", &read.len())
            .field("version", &read.version())
            .finish_non_exhaustive()
    }
}

/// Sixteen random bytes for a board.
///
/// # Errors
/// [`Error::Entropy`].
pub fn random_seed() -> Result<Seed, Error> {
    committer::random()
}

/// What one version of a board answers. All answers of one value belong to the same instant.
pub trait Standings {
    /// The number of changes made to the board so far.
    fn version(&self) -> u64;

    /// The number of members.
    fn len(&self) -> u64;

    /// Whether there are no members.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a member is on the board.
    fn contains(&self, member: &str) -> bool;

    /// A member's rank, counted from 1.
    fn rank(&self, member: &str) -> Option<u64>;

    /// A member's ranks in every way of counting.
    fn ranks(&self, member: &str) -> Option<Ranks>;

    /// A member's place.
    fn standing(&self, member: &str) -> Option<Row>;

    /// Up to `limit` places after the best `offset` ones.
    fn page(&self, offset: u64, limit: usize) -> Vec<Row>;

    /// A member with up to `radius` neighbours on each side; nothing if it is not on the board.
    fn around(&self, member: &str, radius: usize) -> Vec<Row>;

    /// How many members have a score between two, both included, both optional. `min` is the worse
    /// one where the first column is descending, and the better one where it is ascending.
    ///
    /// # Errors
    /// [`Error::Score`] when one is not a score of this board.
    fn count(&self, min: Option<&Scores>, max: Option<&Scores>) -> Result<u64, Error>;

    /// A hash of the members, their scores and the order in which they were reached; see
    /// [`Version::digest`].
    fn digest(&self) -> u64;
}

/// A version that is kept.
pub trait Snapshot: Standings + Any + Send + Sync {
    /// Up to `limit` members that this version and another do not agree on, ordered by id. Fewer
    /// than `limit` are all. Nothing if the two cannot be compared, which takes equal columns, seeds
    /// and rules for ties.
    fn differences(&self, other: &dyn Snapshot, limit: usize) -> Option<Vec<Difference>>;
}

/// A [`Board`] whose number of columns is left open.
trait List: Send + Sync {
    fn submit(&self, member: &str, score: &Scores) -> Result<Submitted, Error>;
    fn submit_all(&self, items: &[(&str, &Scores)])
    -> Result<Vec<Result<Submitted, Error>>, Error>;
    fn remove(&self, member: &str) -> bool;
    fn read(&self) -> Box<dyn Standings + '_>;
    fn snapshot(&self) -> Arc<dyn Snapshot>;
}

/// A board of `C` columns.
struct Typed<const C: usize> {
    rules: Rules<C>,
    log: Log<Rules<C>, C>,
}

impl<const C: usize> Typed<C> {
    fn new(columns: [Column; C], policy: Policy, ties: TieBreak, seed: Seed) -> Self {
        let rules = Rules { columns, policy };
        Self { rules, log: Log::new(ties.into(), seed, rules) }
    }

    /// The codes of a score, if both it and the member can be on this board.
    fn checked(&self, member: &str, score: &Scores) -> Result<[u64; C], Error> {
        check_member(member)?;
        self.rules.codes(score)
    }

    /// Reads an outcome. A rule cannot say that it refuses, but it is a pure function: whoever knows
    /// where the member stood can ask again.
    fn submitted(
        &self,
        member: &str,
        offered: [u64; C],
        done: Done<C>,
    ) -> Result<Submitted, Error> {
        let (before, after) = (done.change.before, done.change.after);
        let after = after.ok_or(Error::TooManyMembers(MEMBERS))?;
        if before.is_some_and(|before| self.rules.overflows(before.key, offered)) {
            return Err(Error::Overflow(member.to_owned()));
        }
        Ok(Submitted {
            score: self.rules.scores(after.key),
            rank: after.rank,
            previous: before.map(|before| (self.rules.scores(before.key), before.rank)),
            changed: before.is_none_or(|before| before.key != after.key),
            version: done.version,
        })
    }
}

/// Why a name cannot be too long for the list: [`check_member`] allows half as much.
const CHECKED: &str = "a member id that was checked is short enough";

impl<const C: usize> List for Typed<C> {
    fn submit(&self, member: &str, score: &Scores) -> Result<Submitted, Error> {
        let offered = self.checked(member, score)?;
        let done = self.log.submit(member, Offer::Score(offered)).expect(CHECKED);
        self.submitted(member, offered, done)
    }

    fn submit_all(
        &self,
        items: &[(&str, &Scores)],
    ) -> Result<Vec<Result<Submitted, Error>>, Error> {
        let check = |(index, &(member, score)): (usize, &(&str, &Scores))| {
            self.checked(member, score)
                .map_err(|error| Error::Item { index, error: Box::new(error) })
        };
        let offered = items.iter().enumerate().map(check).collect::<Result<Vec<_>, _>>()?;
        let offers = items.iter().zip(&offered);
        let offers = offers.map(|(&(member, _), &codes)| (member, Offer::Score(codes)));
        let done = self.log.submit_all(offers).expect(CHECKED);
        let told = items.iter().zip(offered).zip(done);
        Ok(told.map(|((&(member, _), codes), done)| self.submitted(member, codes, done)).collect())
    }

    fn remove(&self, member: &str) -> bool {
        // A name that the list does not take is not on it.
        let done = self.log.submit(member, Offer::Removal);
        done.is_ok_and(|done| done.change.before.is_some())
    }

    fn read(&self) -> Box<dyn Standings + '_> {
        Box::new(View { rules: self.rules, version: self.log.read() })
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        Arc::new(View { rules: self.rules, version: self.log.snapshot() })
    }
}

/// A version, and what its codes mean.
struct View<V, const C: usize> {
    rules: Rules<C>,
    version: V,
}

impl<V: Deref<Target = Version<C>>, const C: usize> View<V, C> {
    fn row(&self, rank: u64, member: &str, key: Key<C>) -> Row {
        Row { rank, member: member.into(), score: self.rules.scores(key) }
    }
}

impl<V: Deref<Target = Version<C>>, const C: usize> Standings for View<V, C> {
    fn version(&self) -> u64 {
        self.version.version()
    }

    fn len(&self) -> u64 {
        self.version.len()
    }

    fn contains(&self, member: &str) -> bool {
        self.version.get(member).is_some()
    }

    fn rank(&self, member: &str) -> Option<u64> {
        self.version.rank(member)
    }

    fn ranks(&self, member: &str) -> Option<Ranks> {
        self.version.ranks(member)
    }

    fn standing(&self, member: &str) -> Option<Row> {
        let standing = self.version.standing(member)?;
        Some(self.row(standing.rank, member, standing.key))
    }

    fn page(&self, offset: u64, limit: usize) -> Vec<Row> {
        let page = self.version.page(offset, limit);
        page.map(|entry| self.row(entry.rank, entry.member, entry.key)).collect()
    }

    fn around(&self, member: &str, radius: usize) -> Vec<Row> {
        let page = self.version.around(member, radius).into_iter().flatten();
        page.map(|entry| self.row(entry.rank, entry.member, entry.key)).collect()
    }

    fn count(&self, min: Option<&Scores>, max: Option<&Scores>) -> Result<u64, Error> {
        Ok(self.version.count(self.rules.range(min, max)?))
    }

    fn digest(&self) -> u64 {
        self.version.digest()
    }
}

impl<V, const C: usize> Snapshot for View<V, C>
where
    V: Deref<Target = Version<C>> + Send + Sync + 'static,
{
    fn differences(&self, other: &dyn Snapshot, limit: usize) -> Option<Vec<Difference>> {
        let other = (other as &dyn Any).downcast_ref::<Self>()?;
        let (ours, theirs) = (&*self.version, &*other.version);
        let alike = self.rules.columns == other.rules.columns
            && ours.seed() == theirs.seed()
            && ours.ties() == theirs.ties();
        if !alike {
            return None;
        }
        // A member whose score differs counts twice for the list, once on each side, and may be cut
        // in two at the limit. So only the names are taken from there.
        let found = ours.differences(theirs, limit.saturating_mul(2));
        let difference = |member: &str| Difference {
            member: member.into(),
            here: ours.get(member).map(|key| self.rules.scores(key)),
            there: theirs.get(member).map(|key| self.rules.scores(key)),
        };
        Some(found.iter().take(limit).map(|found| difference(found.member)).collect())
    }
}

#[cfg(test)]
mod tests;
