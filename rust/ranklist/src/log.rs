//! A list that many threads write single changes to, without locks.

#![allow(unsafe_code, reason = "promises that the builder's base stays alive")]

use std::fmt;
use std::ops::Deref;

use crate::block::Block;
use crate::builder::Builder;
use crate::key::{Key, Seed, Standing, Ties};
use crate::shared::{Change, DuplicateMember};
use crate::sync::log::{self, Logged, Words};

use crate::table::{MAX_NAME, Members};
use crate::version::Version;

/// What an operation on a member does.
///
/// It must be total and a pure function of its arguments: several threads may ask for the same
/// operation, and all must get the same. If it panics, no write to the log returns any more.
pub trait Rule<const C: usize>: Send + Sync + 'static {
    /// What is offered to a member: a score, an amount, or that it be removed.
    type Offer: Send + Sync + 'static;

    /// The member's key from now on, or that it has none and is not in the list, given the one it
    /// has. `position` is that of the operation in the log, counted from 1: it grows in the order
    /// in which operations take effect, and no two share one, so it can serve as a stamp.
    fn decide(&self, current: Option<Key<C>>, offer: &Self::Offer, position: u64)
    -> Option<Key<C>>;

    /// About which score the member will have. Only a hint, for fetching memory ahead.
    fn score(&self, offer: &Self::Offer) -> [u64; C];
}

/// A ranked list with a lock-free log of operations.
///
/// Any number of threads [`submit`](Self::submit) operations, and any number read. An operation
/// takes effect at one instant between the call and the return of `submit`, and all take effect in
/// the order of their positions. What is lock-free here and what is not, and what a thread does that
/// waits for its operation, is told on the [front page](crate).
///
/// ```
/// use rankwire_ranklist::{Key, Log, Rule, Ties};
///
/// /// The best score counts; of equal ones the first.
/// struct Best;
///
/// impl Rule<1> for Best {
///     type Offer = u64;
///
///     fn decide(&self, current: Option<Key>, points: &u64, position: u64) -> Option<Key> {
///         let offered = Key { score: [!points], stamp: position };
///         Some(current.filter(|current| current.score <= offered.score).unwrap_or(offered))
///     }
///
///     fn score(&self, points: &u64) -> [u64; 1] {
///         [!points]
///     }
/// }
///
/// let list = Log::new(Ties::First, [0; 16], Best);
/// std::thread::scope(|scope| {
///     scope.spawn(|| list.submit("ada", 300));
///     scope.spawn(|| list.submit("bob", 500));
/// });
/// let done = list.submit("ada", 900)?;
///
/// assert_eq!(done.change.before.map(|standing| standing.rank), Some(2));
/// assert_eq!(done.change.after.map(|standing| standing.rank), Some(1));
/// assert_eq!(list.read().rank("bob"), Some(2));
/// # Ok::<(), rankwire_ranklist::NameTooLong>(())
/// ```
pub struct Log<R: Rule<C>, const C: usize = 1> {
    log: log::Log<Builder<C>, Ruled<R>>,
}

/// An operation in the log.
struct Op<R: Rule<C>, const C: usize> {
    member: Box<str>,
    offer: R::Offer,
}

/// A rule as the log wants it.
struct Ruled<R>(R);

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done<const C: usize = 1> {
    /// Where the member stood just before it and just after it.
    pub change: Change<C>,
    /// Its place among all operations, counted from 1.
    pub position: u64,
    /// The [`version`](Version::version) that it made, or left as it was.
    pub version: u64,
}

impl<const C: usize, R: Rule<C>> Log<R, C> {
    /// An empty list. Give it a seed that clients do not know; the [front page](crate) tells why.
    pub fn new(ties: Ties, seed: Seed, rule: R) -> Self {
        Self { log: log::Log::new(Builder::empty(ties, seed), Ruled(rule)) }
    }

    /// The list of the given entries; see [`Shared::from_entries`](crate::Shared::from_entries).
    ///
    /// # Panics
    ///
    /// As there.
    pub fn from_entries<S: AsRef<str>>(
        ties: Ties,
        seed: Seed,
        entries: impl IntoIterator<Item = (S, Key<C>)>,
        rule: R,
    ) -> Result<Self, DuplicateMember> {
        let first = Builder::first(ties, seed, 0, entries)?;
        Ok(Self { log: log::Log::new(first, Ruled(rule)) })
    }

    /// Offers something to a member, and returns once that has taken effect. A list of 2^31 - 2
    /// members takes in no more.
    pub fn submit(&self, member: &str, offer: R::Offer) -> Result<Done<C>, NameTooLong> {
        Ok(done(self.log.submit(Op { member: checked(member)?, offer })))
    }

    /// Offers something to each member, in this order, and returns once all of it has taken effect.
    /// Up to 1024 operations have contiguous positions; readers may see a part of them. If one
    /// name is too long, nothing is done.
    pub fn submit_all<S: AsRef<str>>(
        &self,
        offers: impl IntoIterator<Item = (S, R::Offer)>,
    ) -> Result<Vec<Done<C>>, NameTooLong> {
        let op =
            |(member, offer): (S, R::Offer)| Ok(Op { member: checked(member.as_ref())?, offer });
        let ops = offers.into_iter().map(op).collect::<Result<_, _>>()?;
        Ok(self.log.submit_all(ops).into_iter().map(done).collect())
    }

    /// The current version, for a short read; see [`Shared::read`](crate::Shared::read).
    pub fn read(&self) -> impl Deref<Target = Version<C>> {
        Held(self.log.read())
    }

    /// The current version, for as long as it takes; see
    /// [`Shared::snapshot`](crate::Shared::snapshot).
    pub fn snapshot(&self) -> impl Deref<Target = Version<C>> + Clone + Send + Sync + 'static {
        Held(self.log.snapshot())
    }

    /// The current version for a short read, and the position of the last operation in it.
    pub fn read_at(&self) -> (impl Deref<Target = Version<C>>, u64) {
        let read = self.log.read();
        let position = read.position();
        (Held(read), position)
    }
}

impl<const C: usize, R: Rule<C>> fmt::Debug for Log<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Log").field(&*self.read()).finish()
    }
}

/// A version with its place in the log, held by something, for those who want the version alone.
#[derive(Clone)]
struct Held<H>(H);

impl<const C: usize, O: 'static, H> Deref for Held<H>
where
    H: Deref<Target = Logged<Version<C>, O>>,
{
    type Target = Version<C>;

    fn deref(&self) -> &Version<C> {
        &self.0
    }
}

impl<const C: usize> log::Draft for Builder<C> {
    type Version = Version<C>;

    unsafe fn begin(base: &Version<C>) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::after(base) }
    }

    fn finish(self) -> (Version<C>, Vec<Block>) {
        Builder::finish(self)
    }

    unsafe fn discard(version: Version<C>, base_no: u64) {
        Self::discard(&version, base_no);
    }
}

impl<const C: usize, R: Rule<C>> log::Rule<Builder<C>> for Ruled<R> {
    type Op = Op<R, C>;

    fn warm(&self, draft: &Builder<C>, ops: &[&Op<R, C>]) {
        draft.warm(ops.iter().map(|op| (&*op.member, self.0.score(&op.offer))));
    }

    fn apply(&self, draft: &mut Builder<C>, op: &Op<R, C>, position: u64) -> Words {
        let is_full = draft.version.len() >= u64::from(Members::<C>::MAX);
        let change = draft.update(&op.member, |current| match current {
            None if is_full => None,
            current => self.0.decide(current, &op.offer, position),
        });
        encode(change, draft.version.version())
    }
}

/// An outcome as words: version, then for before and after whether there is a standing, its rank,
/// its score and its stamp. Both flags share a word.
fn encode<const C: usize>(change: Change<C>, version: u64) -> Words {
    let mut words = [0; log::WORDS];
    words[0] = version;
    for (index, standing) in [change.before, change.after].into_iter().enumerate() {
        let Some(Standing { rank, key: Key { score, stamp } }) = standing else { continue };
        words[1] |= 1 << index;
        let words = &mut words[2 + index * 5..][..5];
        words[0] = rank;
        words[1] = stamp;
        words[2..2 + C].copy_from_slice(&score);
    }
    words
}

/// The inverse of [`encode`].
fn done<const C: usize>(done: log::Done) -> Done<C> {
    let standing = |index: usize| {
        let words = &done.words[2 + index * 5..][..5];
        let score = std::array::from_fn(|column| words[2 + column]);
        let standing = Standing { rank: words[0], key: Key { score, stamp: words[1] } };
        (done.words[1] >> index & 1 == 1).then_some(standing)
    };
    let change = Change { before: standing(0), after: standing(1) };
    Done { change, position: done.position, version: done.words[0] }
}

fn checked(member: &str) -> Result<Box<str>, NameTooLong> {
    if member.len() <= MAX_NAME { Ok(member.into()) } else { Err(NameTooLong) }
}

/// A name takes more than 255 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameTooLong;

impl fmt::Display for NameTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a name takes at most {MAX_NAME} bytes")
    }
}

impl std::error::Error for NameTooLong {}
