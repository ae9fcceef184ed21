//! Histories of the table against a map, and its promises on memory.

use std::collections::{BTreeMap, HashSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::block::{self, Frozen, HEAD};
use crate::table::buckets::TARGET;
use crate::table::spine::Spine;

const SEED: Seed = *b"a seed for tests";

/// Names that histories choose from: enough for dozens of buckets and branches of two levels.
const NAMES: u32 = 2000;

/// The name of a number: of any length, ASCII or not, the empty one and the longest included.
fn name(number: u32) -> String {
    if number == 0 {
        return String::new();
    }
    let mut name = number.to_string();
    let filler = ['a', 'ß', '€', '🏆'][number as usize % 4];
    while name.len() + filler.len_utf8() <= number as usize * 37 % (MAX_NAME + 1) {
        name.push(filler);
    }
    name
}

fn key<const C: usize>(number: u64) -> Key<C> {
    Key { score: [(); C].map(|()| number.rotate_left(9)), stamp: !number }
}

/// What a version is compared with: handles and keys by name.
type Model<const C: usize> = BTreeMap<String, (u32, Key<C>)>;

/// A version as its readers have it.
#[derive(Clone)]
struct Version<const C: usize> {
    members: Members<C>,
    model: Model<C>,
}

impl<const C: usize> Version<C> {
    /// Adds a member or changes its key.
    fn put(&mut self, maker: &mut Maker, name: String, key: Key<C>) {
        let hash = self.members.hash(&name);
        if let Some((handle, old)) = self.model.get_mut(&name) {
            self.members.set_key(maker, *handle, key);
            *old = key;
        } else {
            let handle = self.members.add(maker, hash, &name, key);
            self.model.insert(name, (handle, key));
        }
    }

    fn remove(&mut self, maker: &mut Maker, name: &str) {
        if let Some((handle, _)) = self.model.remove(name) {
            self.members.remove(maker, self.members.hash(name), handle);
        }
    }

    fn check(&self) {
        let members = &self.members;
        assert_eq!(members.len() as usize, self.model.len());
        for number in 0..NAMES {
            let name = name(number);
            let hash = members.hash(&name);
            members.warm_bucket(hash);
            members.warm_found(hash);
            let expected = self.model.get(&name);
            assert_eq!(members.find(hash, &name), expected.map(|(handle, _)| *handle));
            let Some((handle, key)) = expected else { continue };
            assert_eq!(members.name(*handle), name);
            assert_eq!(members.key(*handle), *key);
        }
        let handles: HashSet<u32> = self.model.values().map(|(handle, _)| *handle).collect();
        assert_eq!(handles.len(), self.model.len());
        let mut by_name = self.model.iter().map(|(name, (handle, _))| (name, *handle));
        if let (Some(first), Some(last)) = (by_name.next(), by_name.next_back()) {
            assert_eq!(members.order_names(first.1, last.1), Ordering::Less);
            assert_eq!(members.order_names(last.1, first.1), Ordering::Greater);
            assert_eq!(members.order_names(last.1, last.1), Ordering::Equal);
        }
    }
}

/// A version under construction, and what it can go back to.
struct Draft<const C: usize> {
    maker: Maker,
    next: Version<C>,
    places: Vec<(Frozen, Version<C>)>,
}

impl<const C: usize> Draft<C> {
    fn after(number: u64, base: &Version<C>) -> Self {
        let mut maker = Maker::after(number);
        let places = vec![(maker.freeze(), base.clone())];
        Self { maker, next: base.clone(), places }
    }

    fn freeze(&mut self) {
        self.places.push((self.maker.freeze(), self.next.clone()));
    }

    /// Goes back to a place, and forgets the later ones.
    fn thaw(&mut self, place: usize) {
        self.places.truncate(place + 1);
        let (frozen, version) = &self.places[place];
        // SAFETY: blocks with a higher birth belong to this draft alone, and it gives them up.
        unsafe { self.next.members.free_after(frozen.birth) };
        self.maker.thaw(*frozen);
        self.next = version.clone();
    }
}

/// A chain of versions, of which the oldest ones are dropped first.
struct History<const C: usize> {
    /// Each with what it replaced of the versions before.
    versions: VecDeque<(Version<C>, Vec<Block>)>,
    number: u64,
    draft: Draft<C>,
}

impl<const C: usize> History<C> {
    fn new() -> Self {
        let first = Version { members: Members::new(SEED), model: Model::new() };
        let draft = Draft::after(0, &first);
        Self { versions: VecDeque::from([(first, Vec::new())]), number: 0, draft }
    }

    fn newest(&self) -> &Version<C> {
        &self.versions.back().expect("one is always kept").0
    }

    fn publish(&mut self) {
        let version = self.draft.next.clone();
        self.number = self.draft.maker.birth();
        let next = Draft::after(self.number, &version);
        let mut maker = std::mem::replace(&mut self.draft, next).maker;
        self.versions.push_back((version, maker.take_replaced()));
    }

    fn drop_oldest(&mut self) {
        if self.versions.len() > 1 {
            self.versions.pop_front();
            for block in std::mem::take(&mut self.versions[0].1) {
                // SAFETY: only versions before this one use it, and all of them are dropped.
                unsafe { block.free() };
            }
        }
    }

    fn apply(&mut self, step: Step) {
        let draft = &mut self.draft;
        match step {
            Step::Put(names, seed) => {
                for number in names {
                    let key = key(seed ^ u64::from(number));
                    draft.next.put(&mut draft.maker, name(number % NAMES), key);
                }
            }
            Step::Remove(names) => {
                for number in names {
                    draft.next.remove(&mut draft.maker, &name(number % NAMES));
                }
            }
            Step::Clear => {
                for name in draft.next.model.clone().keys() {
                    draft.next.remove(&mut draft.maker, name);
                }
            }
            Step::Freeze => draft.freeze(),
            Step::Thaw(place) => draft.thaw(place % draft.places.len()),
            Step::Publish => self.publish(),
            Step::Abandon => draft.thaw(0),
            Step::Rival(names) => self.rival(names),
            Step::DropOldest => self.drop_oldest(),
        }
    }

    /// Builds another version after the newest one, while the draft goes on, and drops it.
    fn rival(&mut self, names: Numbers) {
        let mut rival = Draft::after(self.number, self.newest());
        for number in names {
            let name = name(number % NAMES);
            if number % 3 == 0 {
                rival.next.remove(&mut rival.maker, &name);
            } else {
                rival.next.put(&mut rival.maker, name, key(u64::from(number)));
            }
        }
        rival.next.check();
        rival.thaw(0);
    }

    fn check(&self) {
        self.draft.next.check();
        self.versions.iter().for_each(|(version, _)| version.check());
        self.draft.places.iter().for_each(|(_, version)| version.check());
    }

    fn end(mut self) {
        self.draft.thaw(0);
        while self.versions.len() > 1 {
            self.drop_oldest();
        }
        // SAFETY: no version is used any more.
        unsafe { self.newest().members.free_after(0) };
    }
}

type Numbers = std::iter::StepBy<std::ops::Range<u32>>;

#[derive(Clone, Debug)]
enum Step {
    Put(Numbers, u64),
    Remove(Numbers),
    Clear,
    Freeze,
    Thaw(usize),
    Publish,
    Abandon,
    Rival(Numbers),
    DropOldest,
}

fn numbers() -> impl Strategy<Value = Numbers> {
    let count = prop_oneof![3 => 1_u32..20, 1 => 1_u32..800];
    (0..NAMES, count, 1_usize..4)
        .prop_map(|(first, count, step)| (first..first + count * step as u32).step_by(step))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (numbers(), any::<u64>()).prop_map(|(names, seed)| Step::Put(names, seed)),
        6 => numbers().prop_map(Step::Remove),
        1 => Just(Step::Clear),
        3 => Just(Step::Freeze),
        2 => any::<usize>().prop_map(Step::Thaw),
        5 => Just(Step::Publish),
        1 => Just(Step::Abandon),
        2 => numbers().prop_map(Step::Rival),
        3 => Just(Step::DropOldest),
    ]
}

fn run<const C: usize>(steps: Vec<Step>) {
    let before = block::live();
    let mut history = History::<C>::new();
    for step in steps {
        history.apply(step);
    }
    history.check();
    history.end();
    assert_eq!(block::live(), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn versions_say_what_they_said_when_they_were_made_and_nothing_leaks(
        steps in prop::collection::vec(step(), 1..40),
        columns in 1..=3,
    ) {
        match columns {
            1 => run::<1>(steps),
            2 => run::<2>(steps),
            _ => run::<3>(steps),
        }
    }

    #[test]
    fn names_of_all_lengths_keep_apart_on_one_page(
        steps in prop::collection::vec((0_u32..30, ".{0,60}", any::<bool>()), 1..200),
    ) {
        let before = block::live();
        let mut maker = Maker::after(0);
        let mut names = Names::default();
        let mut model = vec![String::new(); 30];
        (0..30).for_each(|handle| names.put(&mut maker, handle, ""));
        for (handle, name, freeze) in steps {
            if freeze {
                maker.freeze();
            }
            names.clear(&mut maker, handle);
            names.put(&mut maker, handle, &name);
            model[handle as usize] = name;
        }
        for (handle, name) in (0..).zip(&model) {
            prop_assert_eq!(names.get(handle), name);
        }
        // SAFETY: nobody else knows these blocks.
        names.walk(0, &mut |block| unsafe { block.free() });
        // SAFETY: as above.
        maker.take_replaced().into_iter().for_each(|block| unsafe { block.free() });
        prop_assert_eq!(block::live(), before);
    }
}

/// A table of `count` members with names of 20 bytes, made by one maker.
fn table(maker: &mut Maker, count: u32) -> Members<1> {
    let mut members = Members::new(SEED);
    for number in 0..count {
        let name = long_name(number);
        members.add(maker, members.hash(&name), &name, key(u64::from(number)));
    }
    members
}

fn long_name(number: u32) -> String {
    format!("member-{number:013}")
}

#[test]
fn a_new_table_takes_no_memory_and_an_emptied_one_neither() {
    let before = block::live();
    let mut maker = Maker::after(0);
    let mut members = table(&mut maker, 0);
    assert_eq!(block::live(), before);
    assert_eq!(members.memory(), TableMemory { keys: 0, names: 0, buckets: 0 });
    assert_eq!(members.find(0, ""), None);
    let handle = members.add(&mut maker, 0, "", key(1));
    assert!(block::live().0 > before.0);
    members.remove(&mut maker, 0, handle);
    assert_eq!(block::live(), before);
}

#[test]
fn memory_is_what_the_table_is_made_for() {
    let before = block::live();
    let mut maker = Maker::after(0);
    let members = table(&mut maker, 50);
    let TableMemory { keys, names, buckets } = members.memory();
    assert_eq!(block::live().1 - before.1, (keys + names + buckets).cast_signed());
    assert!(keys + names + buckets <= 2470, "{:?}", members.memory());
    // SAFETY: the table is not used any more.
    unsafe { members.free_after(0) };

    let count = 100_000;
    let members = table(&mut maker, count);
    let memory = members.memory();
    let thousandths = |bytes: u64| bytes * 1000 / u64::from(count);
    assert!(thousandths(memory.keys) <= 17_700, "{memory:?}");
    assert!(thousandths(memory.names) <= 22_800, "{memory:?}");
    assert!(thousandths(memory.buckets) <= 6_300, "{memory:?}");
    // SAFETY: the table is not used any more.
    unsafe { members.free_after(0) };
    assert_eq!(block::live(), before);
}

#[test]
fn a_new_key_copies_one_leaf_and_the_branches_above_it() {
    let mut maker = Maker::after(0);
    let mut members = table(&mut maker, 20_000);
    let (blocks, bytes) = block::live();
    let mut next = Maker::after(1);
    members.set_key(&mut next, 7777, key(0));
    members.set_key(&mut next, 7777, key(1));
    let (blocks, bytes) = (block::live().0 - blocks, block::live().1 - bytes);
    // 1334 leaves, 45 branches, 2 branches, the root.
    assert_eq!(blocks, 4);
    assert_eq!(bytes, 256 + 256 + 256 + 32);
    assert_eq!(members.key(7777), key(1));
    let replaced = next.take_replaced();
    assert_eq!(replaced.len(), 4);
    // SAFETY: neither version is used any more.
    unsafe {
        for block in replaced {
            block.free();
        }
        members.free_after(0);
    }
}

#[test]
fn handles_of_removed_members_are_given_out_again() {
    let mut maker = Maker::after(0);
    let mut members = table(&mut maker, 1000);
    for handle in [17, 999, 0] {
        let hash = members.hash(&long_name(handle));
        members.remove(&mut maker, hash, handle);
    }
    for handle in [0, 999, 17, 1000] {
        let name = long_name(handle + 5000);
        assert_eq!(members.add(&mut maker, members.hash(&name), &name, key(0)), handle);
    }
    // SAFETY: the table is not used any more.
    unsafe { members.free_after(0) };
}

#[test]
fn names_of_removed_members_take_no_memory_in_the_next_version() {
    let mut maker = Maker::after(0);
    let mut members = table(&mut maker, 1000);
    let before = members.memory();
    maker.freeze();
    for handle in 0..990 {
        let hash = members.hash(&long_name(handle));
        members.remove(&mut maker, hash, handle);
    }
    assert!(members.memory().names < before.names / 2, "{:?}", members.memory());
    assert!(members.memory().buckets < before.buckets / 8, "{:?}", members.memory());
    assert_eq!(members.memory().keys, before.keys);
    // SAFETY: neither version is used any more.
    unsafe {
        for block in maker.take_replaced() {
            block.free();
        }
        members.free_after(0);
    }
}

#[test]
fn members_with_the_same_hash_are_told_apart() {
    let hash = 0x1234_5678_9abc_def0;
    let mut maker = Maker::after(0);
    let mut members = Members::<1>::new(SEED);
    let handles: Vec<u32> = (0..TARGET)
        .map(|number| members.add(&mut maker, hash, &name(number), key(u64::from(number))))
        .collect();
    for number in (0..TARGET).step_by(3) {
        members.remove(&mut maker, hash, handles[number as usize]);
    }
    for number in 0..TARGET {
        let expected = (number % 3 != 0).then_some(handles[number as usize]);
        assert_eq!(members.find(hash, &name(number)), expected);
        // Bits 28 to 35 are the tag, and others do not matter in a table of one bucket.
        for (bit, expected) in [(27, expected), (28, None), (35, None), (36, expected)] {
            assert_eq!(members.find(hash ^ 1 << bit, &name(number)), expected);
        }
    }
    // SAFETY: the table is not used any more.
    unsafe { members.free_after(0) };
}

/// Buckets alone, with hashes made up, and how many there are.
struct Hashed {
    maker: Maker,
    buckets: Buckets,
    hashes: Vec<u64>,
}

impl Hashed {
    fn new(hashes: Vec<u64>) -> Self {
        let count = hashes.len() as u32;
        let mut all = Self { maker: Maker::after(0), buckets: Buckets::default(), hashes };
        (0..count).for_each(|handle| all.add(handle, handle + 1));
        all
    }

    fn add(&mut self, handle: u32, count: u32) {
        let Self { maker, buckets, hashes } = self;
        let hashes_of = |handles: &[u32]| handles.iter().map(|h| hashes[*h as usize]).collect();
        buckets.add(maker, hashes[handle as usize], handle, count, hashes_of);
    }

    fn remove(&mut self, handle: u32, count: u32) {
        self.buckets.remove(&mut self.maker, self.hashes[handle as usize], handle, count);
    }

    fn has(&self, handle: u32) -> bool {
        self.buckets.find(self.hashes[handle as usize], |other| other == handle) == Some(handle)
    }

    fn blocks(&self) -> u32 {
        let mut blocks = 0;
        self.buckets.walk(0, &mut |_| blocks += 1);
        blocks
    }

    fn end(self) {
        // SAFETY: nobody else knows these blocks.
        self.buckets.walk(0, &mut |block| unsafe { block.free() });
    }
}

#[test]
fn buckets_find_all_members_whatever_their_hashes() {
    let mixed = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let kinds: [fn(u64) -> u64; 4] =
        [|_| 0x1234_5678_9abc_def0, |n| n, |n| n << 28, |n| ((n % 3) << 28) | (n % 2)];
    let before = block::live();
    for kind in kinds.into_iter().chain([mixed as fn(u64) -> u64]) {
        let count = 1500;
        let mut hashed = Hashed::new((0..u64::from(count)).map(kind).collect());
        assert!((0..count).all(|handle| hashed.has(handle)));
        assert!(hashed.blocks() > count / TARGET);
        let removed = |handle: u32| handle % 7 != 3;
        let mut left = count;
        for handle in (0..count).filter(|handle| removed(*handle)) {
            left -= 1;
            hashed.remove(handle, left);
        }
        assert!((0..count).all(|handle| hashed.has(handle) != removed(handle)));
        assert!(hashed.blocks() < 2 * left / TARGET + 4, "as many as are needed");
        hashed.end();
    }
    assert_eq!(block::live(), before);
}

#[test]
fn going_back_and_forth_over_a_border_splits_and_merges_once() {
    for buckets in [1, 2, 3, 8, 40] {
        let count = buckets * TARGET + 1;
        let mut hashed = Hashed::new((0..u64::from(count)).collect());
        let after_split = hashed.blocks();
        for _ in 0..3 {
            hashed.remove(count - 1, count - 1);
            assert_eq!(hashed.blocks(), after_split);
            hashed.add(count - 1, count);
            assert_eq!(hashed.blocks(), after_split);
        }
        let mut left = count;
        while hashed.blocks() == after_split {
            left -= 1;
            hashed.remove(left, left);
        }
        let after_merge = hashed.blocks();
        for _ in 0..TARGET / 4 {
            hashed.add(left, left + 1);
            left += 1;
            assert_eq!(hashed.blocks(), after_merge);
        }
        hashed.end();
    }
}

#[test]
fn spines_of_all_lengths_keep_their_items() {
    let before = block::live();
    let mut maker = Maker::after(0);
    let mut spine = Spine::default();
    let item = |maker: &mut Maker, number| maker.make(HEAD, number as usize);
    let held = |spine: Spine, from: u32| {
        (from..spine.len()).all(|index| spine.get(index).len() == index as usize)
    };
    for number in 0..28_000_u32 {
        let item = item(&mut maker, number);
        spine.push(&mut maker, item);
        assert!(held(spine, number.saturating_sub(2)));
    }
    assert!(held(spine, 0));
    let frozen = maker.freeze();
    let old = spine;
    for index in [0, 29, 30, 899, 900, 26_999, 27_000, 27_999] {
        let item = item(&mut maker, index + 1);
        let replaced = std::mem::replace(spine.get_mut(&mut maker, index), item);
        maker.release(replaced);
        assert_eq!(spine.get(index).len(), index as usize + 1);
    }
    for left in (0..28_000).rev() {
        let item = spine.pop(&mut maker);
        assert!([left as usize, left as usize + 1].contains(&item.len()));
        maker.release(item);
        assert_eq!(spine.len(), left);
    }
    assert!(held(old, 0), "the frozen one is what it was");
    maker.thaw(frozen);
    // SAFETY: nobody else knows these blocks.
    old.walk(0, &mut |block| unsafe { block.free() });
    assert_eq!(block::live(), before);
}

#[test]
#[should_panic(expected = "no item 0 in a spine of 0")]
fn spines_refuse_what_they_do_not_have() {
    Spine::default().get(0);
}

#[test]
fn names_that_are_too_long_are_refused_before_anything_is_made() {
    let before = block::live();
    let long = "x".repeat(256);
    let add = || Members::<1>::new(SEED).add(&mut Maker::after(0), 0, &long, key(0));
    assert!(std::panic::catch_unwind(add).is_err());
    let put = || Names::default().put(&mut Maker::after(0), 0, &long);
    assert!(std::panic::catch_unwind(put).is_err());
    assert_eq!(block::live(), before);
}
