//! The next version under construction.

#![allow(unsafe_code, reason = "frees what is given up")]

use std::mem::{ManuallyDrop, take};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::block::{Block, Frozen, Maker};
use crate::key::{Entry, Key, Seed, Standing, Ties};
use crate::shared::{Change, DuplicateMember};
use crate::table::{MAX_NAME, Members};
use crate::tree::{Item, LEARN, Order, Tree};
use crate::version::{State, Version};

/// A private next version. Whoever holds one keeps the version that it began from alive.
pub(crate) struct Builder<const C: usize> {
    /// Where it stands; always one that can be read. The number is the base's until it is finished.
    pub(crate) version: Version<C>,
    maker: Maker,
    /// The tickets of the savepoints that are not void, ascending.
    savepoints: Vec<u64>,
}

/// A place in a [`Builder`] to go back to.
#[derive(Clone, Copy)]
pub(crate) struct Savepoint<const C: usize> {
    state: State<C>,
    frozen: Frozen,
    /// Tells it from all others, of any builder.
    ticket: u64,
}

/// The next savepoint's ticket.
static TICKETS: AtomicU64 = AtomicU64::new(0);

/// How many operations are fetched side by side. Any number from 8 to 32 does; the processor can
/// wait for about as many cache lines at a time.
const GROUP: usize = 16;

/// Smaller lists are in the processor's caches anyway.
const SMALL: u64 = 10_000;

impl<const C: usize> Builder<C> {
    /// Begins what comes after `base`.
    ///
    /// # Safety
    ///
    /// The base is kept alive for as long as the builder is, and longer than what it finishes is
    /// private.
    pub(crate) unsafe fn after(base: &Version<C>) -> Self {
        let version = Version { no: base.no, state: base.state };
        Self { version, maker: Maker::after(base.no), savepoints: Vec::new() }
    }

    /// The first version of an empty list.
    pub(crate) fn empty(ties: Ties, seed: Seed) -> Version<C> {
        let state = State { tree: Tree::new(ties), members: Members::new(seed), changes: 0 };
        Version { no: 1, state }
    }

    /// The first version of a list, with the given entries.
    pub(crate) fn first<S: AsRef<str>>(
        ties: Ties,
        seed: Seed,
        changes: u64,
        entries: impl IntoIterator<Item = (S, Key<C>)>,
    ) -> Result<Version<C>, DuplicateMember> {
        let mut version = Self::empty(ties, seed);
        (version.no, version.state.changes) = (0, changes);
        let mut builder = Self { version, maker: Maker::after(0), savepoints: Vec::new() };
        let mut items = builder.enter(entries)?;
        let State { members, tree, .. } = &mut builder.version.state;
        let order = tree.order().learn(items.iter().map(|item| members.name(item.handle)));
        sort(&order, members, &mut items);
        *tree = Tree::build(&mut builder.maker, members, order, &items);
        Ok(builder.finish().0)
    }

    /// Enters the members into the table.
    fn enter<S: AsRef<str>>(
        &mut self,
        entries: impl IntoIterator<Item = (S, Key<C>)>,
    ) -> Result<Vec<Item<C>>, DuplicateMember> {
        let mut items = Vec::new();
        for (name, key) in entries {
            let name = name.as_ref();
            let hash = self.version.state.members.hash(name);
            if self.version.state.members.find(hash, name).is_some() {
                return Err(DuplicateMember { member: name.into() });
            }
            let handle = self.add_member(hash, name, key, items.len() as u32);
            items.push(Item { key, handle, height: Members::<C>::height(hash) });
        }
        Ok(items)
    }

    fn add_member(&mut self, hash: u64, name: &str, key: Key<C>, len: u32) -> u32 {
        assert!(len < Members::<C>::MAX, "the list is full");
        assert!(name.len() <= MAX_NAME, "a name takes at most {MAX_NAME} bytes");
        self.version.state.members.add(&mut self.maker, hash, name, key)
    }

    /// Lets `decide` give a member another key, or none, given the one it has, and carries that
    /// out.
    pub(crate) fn update(
        &mut self,
        member: &str,
        decide: impl FnOnce(Option<Key<C>>) -> Option<Key<C>>,
    ) -> Change<C> {
        let State { members, .. } = &self.version.state;
        let hash = members.hash(member);
        let handle = members.find(hash, member);
        let height = Members::<C>::height(hash);
        let old = handle.map(|handle| (handle, members.key(handle)));
        let new = decide(old.map(|(_, key)| key));
        match (old, new) {
            (None, None) => Change { before: None, after: None },
            (Some((handle, old)), Some(new)) if old == new => {
                let rank = self.rank(handle, old);
                let standing = Some(Standing { rank, key: old });
                Change { before: standing, after: standing }
            }
            (Some((handle, old)), Some(new)) => self.replace((handle, old, height), new),
            (None, Some(key)) => {
                let handle = self.add_member(hash, member, key, self.version.state.tree.len());
                let rank = self.attach(handle, key, height);
                self.version.state.changes += 1;
                if self.version.len() == LEARN {
                    self.learn();
                }
                Change { before: None, after: Some(Standing { rank, key }) }
            }
            (Some((handle, key)), None) => {
                let rank = self.detach(handle, key, height);
                self.version.state.members.remove(&mut self.maker, hash, handle);
                self.version.state.changes += 1;
                Change { before: Some(Standing { rank, key }), after: None }
            }
        }
    }

    /// Moves a member. Also where only the stamp changes and the tie rule ignores it: the hashes
    /// above the entry cover it.
    fn replace(&mut self, (handle, old, height): (u32, Key<C>, usize), new: Key<C>) -> Change<C> {
        let before = Some(Standing { rank: self.detach(handle, old, height), key: old });
        self.version.state.members.set_key(&mut self.maker, handle, new);
        let after = Some(Standing { rank: self.attach(handle, new, height), key: new });
        self.version.state.changes += 1;
        Change { before, after }
    }

    fn rank(&self, handle: u32, key: Key<C>) -> u64 {
        let State { tree, members, .. } = &self.version.state;
        tree.rank(&tree.place(members, handle, key))
    }

    fn attach(&mut self, handle: u32, key: Key<C>, height: usize) -> u64 {
        let State { tree, members, .. } = &mut self.version.state;
        tree.insert(&mut self.maker, members, (handle, key, height))
    }

    fn detach(&mut self, handle: u32, key: Key<C>, height: usize) -> u64 {
        let State { tree, members, .. } = &mut self.version.state;
        tree.remove(&mut self.maker, members, (handle, key, height))
    }

    /// Builds the tree anew, for the order that the names suggest.
    fn learn(&mut self) {
        let State { tree, members, .. } = &self.version.state;
        let item = |entry: Entry<'_, C>| {
            let hash = members.hash(entry.member);
            let handle = members.find(hash, entry.member).expect("an entry has a member");
            Item { key: entry.key, handle, height: Members::<C>::height(hash) }
        };
        let order = tree.order().learn(self.version.iter().map(|entry| entry.member));
        let items: Vec<_> = self.version.iter().map(item).collect();
        let State { tree, members, .. } = &mut self.version.state;
        tree.clear(&mut self.maker);
        *tree = Tree::build(&mut self.maker, members, order, &items);
    }

    /// Fetches into the processor's caches what giving these members these scores will look at. It
    /// changes nothing and may be left out, but most of an update's time is waiting for memory, and
    /// updates that wait together wait once.
    #[expect(single_use_lifetimes, reason = "an argument of this kind has to name it")]
    pub(crate) fn warm<'a>(&self, updates: impl Iterator<Item = (&'a str, [u64; C])>) {
        if self.version.len() < SMALL {
            return;
        }
        let mut updates = updates.peekable();
        while updates.peek().is_some() {
            self.warm_group(updates.by_ref().take(GROUP));
        }
    }

    #[expect(single_use_lifetimes, reason = "an argument of this kind has to name it")]
    fn warm_group<'a>(&self, updates: impl Iterator<Item = (&'a str, [u64; C])>) {
        let State { tree, members, .. } = &self.version.state;
        let mut group = Group::default();
        for (name, score) in updates {
            let hash = members.hash(name);
            members.warm_bucket(hash);
            group.push(name, hash, score);
        }
        let updates = &group.updates[..group.len];
        for (_, hash, _) in updates {
            members.warm_found(*hash);
        }
        let mut descents = tree.descents();
        for (name, hash, score) in updates {
            descents.to(*score, tree.order().newest(name));
            if let Some(handle) = members.find(*hash, name) {
                let Key { score, stamp } = members.key(handle);
                descents.to(score, tree.order().code(stamp, name));
            }
        }
        descents.warm(members);
    }

    /// Remembers where the builder stands.
    pub(crate) fn save(&mut self) -> Savepoint<C> {
        let ticket = TICKETS.fetch_add(1, Relaxed);
        self.savepoints.push(ticket);
        Savepoint { state: self.version.state, frozen: self.maker.freeze(), ticket }
    }

    /// Goes back to where the builder stood; the savepoints made since are void.
    ///
    /// # Panics
    ///
    /// When the savepoint is void, or one of another builder: what it leads to may be freed.
    pub(crate) fn restore(&mut self, savepoint: &Savepoint<C>) {
        let found = self.savepoints.binary_search(&savepoint.ticket);
        self.savepoints.truncate(found.expect("the savepoint is void") + 1);
        // SAFETY: what was made since the savepoint is used by the state given up only.
        unsafe { self.version.state.free_after(savepoint.frozen.birth) };
        self.version.state = savepoint.state;
        self.maker.thaw(savepoint.frozen);
    }

    /// The finished version, and the blocks of its base that it does not use.
    pub(crate) fn finish(self) -> (Version<C>, Vec<Block>) {
        let mut this = ManuallyDrop::new(self);
        let version = Version { no: this.maker.birth(), state: this.version.state };
        let base = this.version.no;
        take(&mut this.savepoints);
        (version, Self::replaced(&mut this.maker, base))
    }

    /// The blocks of the base that the builder does not use. Those that it made itself, and froze
    /// for savepoints, are freed: nobody can go back any more, and nobody else has seen them.
    fn replaced(maker: &mut Maker, base: u64) -> Vec<Block> {
        let mut replaced = maker.take_replaced();
        for frozen in replaced.extract_if(.., |block| block.birth() > base) {
            // SAFETY: as said above.
            unsafe { frozen.free() };
        }
        replaced
    }

    /// Frees a finished version that was not published. `base` is the number of the one it comes
    /// after.
    pub(crate) fn discard(version: &Version<C>, base: u64) {
        // SAFETY: nobody else has seen the version, and the blocks after its base are its own.
        unsafe { version.state.free_after(base) };
    }
}

impl<const C: usize> Drop for Builder<C> {
    fn drop(&mut self) {
        let base = self.version.no;
        Self::replaced(&mut self.maker, base);
        Self::discard(&self.version, base);
    }
}

/// Puts items into rank order.
fn sort<const C: usize>(order: &Order, members: &Members<C>, items: &mut [Item<C>]) {
    let code = |item: &Item<C>| {
        let Key { score, stamp } = item.key;
        (score, order.code(stamp, members.name(item.handle)))
    };
    let compare = |a: &Item<C>, b: &Item<C>| {
        let names = || members.order_names(a.handle, b.handle);
        a.key.score.cmp(&b.key.score).then_with(|| code(a).cmp(&code(b)).then_with(names))
    };
    if !items.is_sorted_by(|a, b| compare(a, b).is_le()) {
        items.sort_unstable_by(compare);
    }
}

/// Updates that are fetched side by side: name, hash and new score.
struct Group<'a, const C: usize> {
    updates: [(&'a str, u64, [u64; C]); GROUP],
    len: usize,
}

impl<const C: usize> Default for Group<'_, C> {
    fn default() -> Self {
        Self { updates: [("", 0, [0; C]); GROUP], len: 0 }
    }
}

impl<'a, const C: usize> Group<'a, C> {
    fn push(&mut self, name: &'a str, hash: u64, score: [u64; C]) {
        self.updates[self.len] = (name, hash, score);
        self.len += 1;
    }
}
