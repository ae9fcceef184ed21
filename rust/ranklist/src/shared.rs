//! The published list: what readers read and writers replace.

#![allow(unsafe_code, reason = "says when blocks may be freed")]

use std::fmt;
use std::ops::Deref;

use crate::block::Block;
use crate::builder::{self, Builder};
use crate::key::{Key, Seed, Standing, Ties};
use crate::sync::atomic::Arc;
use crate::sync::root::{self, Garbage, Root, Versioned};
use crate::version::Version;

/// A ranked list that many threads read while others replace it.
///
/// Cloning gives another handle of the same list. Readers take the current version, with
/// [`read`](Self::read) for a moment or with [`snapshot`](Self::snapshot) for as long as they like,
/// and never wait. Writers change a private [`Draft`] and publish it in one step, so no reader sees
/// a part of it. For many threads that write single changes there is [`Log`](crate::Log).
///
/// ```
/// use rankwire_ranklist::{Key, Shared, Ties};
///
/// let list = Shared::new(Ties::First, [0; 16]);
/// let before = list.snapshot();
///
/// let mut draft = list.draft();
/// draft.set("ada", Key { score: [7], stamp: 1 });
/// draft.publish()?;
///
/// assert_eq!(before.rank("ada"), None);
/// assert_eq!(list.read().rank("ada"), Some(1));
/// # Ok::<(), rankwire_ranklist::Conflict>(())
/// ```
pub struct Shared<const C: usize = 1> {
    root: Arc<Root<Version<C>>>,
}

impl<const C: usize> Shared<C> {
    /// An empty list. Give it a seed that clients do not know; the [front page](crate) tells why.
    pub fn new(ties: Ties, seed: Seed) -> Self {
        let () = ColumnCount::<C>::IS_SUPPORTED;
        Self::over(Builder::empty(ties, seed))
    }

    /// The list of the given entries, after `changes` changes, so that a list rebuilt from its
    /// entries can go on where the original stopped.
    ///
    /// Enters every member into the member table, sorts the entries unless they come in rank order,
    /// and builds the tree in one pass.
    ///
    /// # Panics
    ///
    /// When there are more than 2^31 - 2 entries, or a name is longer than 255 bytes.
    pub fn from_entries<S: AsRef<str>>(
        ties: Ties,
        seed: Seed,
        changes: u64,
        entries: impl IntoIterator<Item = (S, Key<C>)>,
    ) -> Result<Self, DuplicateMember> {
        let () = ColumnCount::<C>::IS_SUPPORTED;
        Builder::first(ties, seed, changes, entries).map(Self::over)
    }

    fn over(first: Version<C>) -> Self {
        Self { root: Arc::new(Root::new(first)) }
    }

    /// The current version, for a short read: straight-line code, without waiting for anything. It
    /// takes O(1) and a fixed number of steps.
    ///
    /// Until it is dropped, no list of the process frees memory. It cannot be sent to another
    /// thread, and so cannot be held across an `await` of a task that may.
    pub fn read(&self) -> Read<'_, C> {
        Read(self.root.read())
    }

    /// The current version, for as long as it takes, on any thread. O(1).
    ///
    /// It keeps what it reaches and nothing else: at most one more copy of the list, however long
    /// it is held and whatever is published meanwhile.
    pub fn snapshot(&self) -> Snapshot<C> {
        Snapshot(self.root.snapshot())
    }

    /// A private next version, which begins as the current one. O(1).
    pub fn draft(&self) -> Draft<C> {
        let base = self.root.snapshot();
        // SAFETY: the draft holds the snapshot, and drops the builder first.
        let builder = unsafe { Builder::after(&base) };
        Draft { builder, base, root: Arc::clone(&self.root) }
    }

    /// What the list keeps beside its current version.
    pub fn kept(&self) -> Kept {
        let root::RootMemory { snapshots, parked, waiting } = self.root.memory();
        Kept { snapshots, parked, waiting }
    }
}

impl<const C: usize> Clone for Shared<C> {
    fn clone(&self) -> Self {
        Self { root: Arc::clone(&self.root) }
    }
}

impl<const C: usize> fmt::Debug for Shared<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&*self.read()).finish()
    }
}

/// Fails to compile for a number of columns that keys cannot have.
struct ColumnCount<const C: usize>;

impl<const C: usize> ColumnCount<C> {
    const IS_SUPPORTED: () = assert!(1 <= C && C <= 3, "a score has one to three columns");
}

impl Garbage for Block {
    fn birth(&self) -> u64 {
        Block::birth(*self)
    }

    unsafe fn free(self) {
        // SAFETY: the caller's promise.
        unsafe { Block::free(self) };
    }
}

impl<const C: usize> Versioned for Version<C> {
    type Garbage = Block;

    fn no(&self) -> u64 {
        self.no
    }

    unsafe fn dismantle(&mut self) {
        // SAFETY: the caller's promise.
        unsafe { self.state.free_after(0) };
    }
}

/// The current version, held for a moment; see [`Shared::read`].
pub struct Read<'a, const C: usize = 1>(root::Read<'a, Version<C>>);

impl<const C: usize> Deref for Read<'_, C> {
    type Target = Version<C>;

    fn deref(&self) -> &Version<C> {
        &self.0
    }
}

impl<const C: usize> fmt::Debug for Read<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Read").field(&**self).finish()
    }
}

/// A version that is kept; see [`Shared::snapshot`]. Cloning takes O(1).
pub struct Snapshot<const C: usize = 1>(root::Snapshot<Version<C>>);

impl<const C: usize> Deref for Snapshot<C> {
    type Target = Version<C>;

    fn deref(&self) -> &Version<C> {
        &self.0
    }
}

impl<const C: usize> Clone for Snapshot<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<const C: usize> fmt::Debug for Snapshot<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Snapshot").field(&**self).finish()
    }
}

/// A private next version of a list: read it like any version, change it, and publish it or drop
/// it.
///
/// It keeps the version that it began from, like a snapshot. Nothing is copied until it is changed,
/// and then only the nodes on the way.
pub struct Draft<const C: usize = 1> {
    builder: Builder<C>,
    base: root::Snapshot<Version<C>>,
    root: Arc<Root<Version<C>>>,
}

impl<const C: usize> Draft<C> {
    /// Adds a member or moves it. O(log n). Setting the key that the member already has changes
    /// nothing.
    ///
    /// # Panics
    ///
    /// When a member is added to a list of 2^31 - 2, or one whose name is longer than 255 bytes.
    pub fn set(&mut self, member: &str, key: Key<C>) -> Change<C> {
        self.update(member, |_| Some(key))
    }

    /// Removes a member. O(log n). Removing one that is not there changes nothing.
    pub fn remove(&mut self, member: &str) -> Change<C> {
        self.update(member, |_| None)
    }

    /// Gives a member the key that `decide` makes of the one it has, or removes it. O(log n), and
    /// one search where reading and setting take two.
    ///
    /// # Panics
    ///
    /// As [`set`](Self::set), and when `decide` panics; the draft is as before then.
    pub fn update(
        &mut self,
        member: &str,
        decide: impl FnOnce(Option<Key<C>>) -> Option<Key<C>>,
    ) -> Change<C> {
        self.builder.update(member, decide)
    }

    /// Says that these members will soon be given these scores, or about these. It changes nothing,
    /// but several updates that are announced together wait for memory together: announce 16 to 64
    /// of them, then make them.
    #[expect(single_use_lifetimes, reason = "an argument of this kind has to name it")]
    pub fn warm<'a>(&self, updates: impl IntoIterator<Item = (&'a str, [u64; C])>) {
        self.builder.warm(updates.into_iter());
    }

    /// Remembers where the draft stands. O(1), and the draft keeps 8 bytes of it.
    pub fn save(&mut self) -> Savepoint<C> {
        Savepoint(self.builder.save())
    }

    /// Goes back to a savepoint of this draft. Those made after it are void.
    ///
    /// # Panics
    ///
    /// When the savepoint is void, or one of another draft.
    pub fn restore(&mut self, savepoint: &Savepoint<C>) {
        self.builder.restore(&savepoint.0);
    }

    /// Makes the draft the current version in one step, unless the list has changed since the draft
    /// began. O(1), and what the old version alone used is freed.
    pub fn publish(self) -> Result<(), Conflict> {
        let Self { builder, base, root } = self;
        let (no, (version, replaced)) = (base.no, builder.finish());
        root.publish_from(base, Box::new(version), replaced).map_err(|(_base, version)| {
            Builder::discard(&version, no);
            Conflict
        })
    }
}

impl<const C: usize> Deref for Draft<C> {
    type Target = Version<C>;

    fn deref(&self) -> &Version<C> {
        &self.builder.version
    }
}

impl<const C: usize> fmt::Debug for Draft<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { builder, base, .. } = self;
        f.debug_struct("Draft")
            .field("base", &**base)
            .field("next", &builder.version)
            .finish_non_exhaustive()
    }
}

/// Where a [`Draft`] stood.
#[derive(Clone, Copy)]
pub struct Savepoint<const C: usize = 1>(builder::Savepoint<C>);

impl<const C: usize> fmt::Debug for Savepoint<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Savepoint").finish_non_exhaustive()
    }
}

/// What an update did: where the member stood before and where it stands after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<const C: usize = 1> {
    /// Nothing if the member was not in the list.
    pub before: Option<Standing<C>>,
    /// Nothing if the member is not in the list.
    pub after: Option<Standing<C>>,
}

/// What a list keeps beside its current version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Versions that a snapshot or a draft holds.
    pub snapshots: usize,
    /// Blocks that only a snapshot needs.
    pub parked: usize,
    /// Blocks that wait for the end of a short read.
    pub waiting: usize,
}

/// A member was given twice to [`Shared::from_entries`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateMember {
    /// The member's name.
    pub member: Box<str>,
}

impl fmt::Display for DuplicateMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {:?} is given twice", self.member)
    }
}

impl std::error::Error for DuplicateMember {}

/// The list has changed since the draft began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict;

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the list has changed since the draft began")
    }
}

impl std::error::Error for Conflict {}
