//! The two tables by themselves: names to handles, and handles to items.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;

use super::shape::assert_branch;
use crate::radix::Radix;
use crate::trie::{Branch, Slot, Trie};

/// Every handle's hash is known here; the trie is not told it.
type Hashes = BTreeMap<u32, u64>;

/// Hashes that part at every level, or never.
fn any_hash() -> impl Strategy<Value = u64> {
    let parting = (0..=12).prop_map(|level| if level == 12 { 0 } else { 1_u64 << (5 * level) });
    prop_oneof![
        3 => parting,
        1 => select(&[u64::MAX, u64::MAX >> 1, u64::MAX << 40, 3 << 38][..]),
        1 => any::<u64>(),
    ]
}

fn insert(trie: &mut Trie, hashes: &mut Hashes, hash: u64, handle: u32) {
    trie.insert(hash, handle, |other| hashes[&other]);
    hashes.insert(handle, hash);
}

/// The trie of the same contents, grown in ascending order.
fn regrown(hashes: &Hashes) -> Trie {
    let (mut trie, mut so_far) = (Trie::default(), Hashes::new());
    for (handle, hash) in hashes {
        insert(&mut trie, &mut so_far, *hash, *handle);
    }
    trie
}

fn same_shape(a: &Branch, b: &Branch) -> bool {
    let same_slot = |(a, b): (&Slot, &Slot)| match (a, b) {
        (Slot::Handle(a), Slot::Handle(b)) => a == b,
        (Slot::Branch(a), Slot::Branch(b)) => same_shape(a, b),
        (Slot::Bucket(a), Slot::Bucket(b)) => {
            let (mut a, mut b) = (a.to_vec(), b.to_vec());
            a.sort_unstable();
            b.sort_unstable();
            a == b
        }
        _ => false,
    };
    a.bitmap == b.bitmap
        && a.slots.len() == b.slots.len()
        && a.slots.iter().zip(&b.slots).all(same_slot)
}

fn assert_holds(trie: &Trie, hashes: &Hashes) {
    assert_eq!(assert_branch(&trie.root, true), hashes.len());
    for (handle, hash) in hashes {
        assert_eq!(trie.get(*hash, |other| other == *handle), Some(*handle));
        assert_eq!(trie.get(*hash, |_| false), None);
    }
    assert!(same_shape(&trie.root, &regrown(hashes).root));
}

#[test]
fn hashes_that_collide_share_a_bucket() {
    let (mut trie, mut hashes) = (Trie::default(), Hashes::new());
    for (handle, hash) in [(0, 5), (1, 5), (2, 5 | 1 << 40), (3, 5 | 1 << 39)] {
        insert(&mut trie, &mut hashes, hash, handle);
    }
    assert_holds(&trie, &hashes);
    let mut branch = &*trie.root;
    while let [Slot::Branch(child)] = &branch.slots[..] {
        branch = child;
    }
    assert!(matches!(&branch.slots[..], [Slot::Bucket(handles), Slot::Handle(3)]
        if handles.len() == 3));

    for handle in [1, 0, 2, 3] {
        trie.remove(hashes.remove(&handle).expect("it is in"), handle);
        assert_holds(&trie, &hashes);
    }
}

#[test]
fn a_trie_that_lost_its_collisions_is_flat_again() {
    let (mut trie, mut hashes) = (Trie::default(), Hashes::new());
    insert(&mut trie, &mut hashes, 0, 0);
    for handle in 1..=8 {
        insert(&mut trie, &mut hashes, 1 << (5 * (handle - 1)), handle);
    }
    for handle in 1..=8 {
        trie.remove(hashes.remove(&handle).expect("it is in"), handle);
        assert_holds(&trie, &hashes);
    }
    assert!(matches!(trie.root.slots[..], [Slot::Handle(0)]));
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    /// Removes one of the handles present.
    Remove(prop::sample::Index),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any_hash().prop_map(Step::Insert),
        2 => any::<prop::sample::Index>().prop_map(Step::Remove),
    ]
}

proptest! {
    #[test]
    fn a_trie_holds_what_was_put_in(steps in prop::collection::vec(any_step(), 0..150)) {
        let (mut trie, mut hashes) = (Trie::default(), Hashes::new());
        let mut snapshots = Vec::new();
        for (handle, step) in (0..).zip(steps) {
            match step {
                Step::Insert(hash) => insert(&mut trie, &mut hashes, hash, handle),
                Step::Remove(index) if !hashes.is_empty() => {
                    let (handle, hash) =
                        hashes.iter().nth(index.index(hashes.len())).expect("it is below the length");
                    let (handle, hash) = (*handle, *hash);
                    trie.remove(hash, handle);
                    hashes.remove(&handle);
                    prop_assert_eq!(trie.get(hash, |other| other == handle), None);
                }
                Step::Remove(_) => {}
            }
            if handle % 16 == 0 {
                snapshots.push((trie.clone(), hashes.clone()));
            }
        }
        snapshots.push((trie, hashes));
        for (trie, hashes) in &snapshots {
            assert_holds(trie, hashes);
        }
    }

    #[test]
    fn a_radix_is_a_vector(
        len in prop_oneof![0..40_u32, 480..560_u32],
        writes in prop::collection::vec(any::<(prop::sample::Index, u64)>(), 0..40),
    ) {
        let (mut radix, mut vector) = (Radix::new(), Vec::new());
        for index in 0..len {
            prop_assert_eq!(radix.push(u64::from(index)), index);
            vector.push(u64::from(index));
        }
        let mut snapshots = vec![(radix.clone(), vector.clone())];
        for (index, item) in writes.iter().filter(|_| len > 0) {
            let index = index.index(vector.len());
            *radix.get_mut(index as u32) = *item;
            vector[index] = *item;
            snapshots.push((radix.clone(), vector.clone()));
        }
        for (radix, vector) in &snapshots {
            prop_assert_eq!(radix.len(), len);
            prop_assert!((0..len).all(|i| *radix.get(i) == vector[i as usize]));
        }
    }
}

/// Leaves hold 16 items and a branch has 32 children, so the root grows at 16, 512, 16384 and
/// 524288 items.
#[test]
fn a_radix_grows_and_its_clones_do_not() {
    const LEN: u32 = 525_000;
    let mut radix = Radix::new();
    let mut clones = Vec::new();
    for index in 0..LEN {
        if [0, 1, 15, 16, 17, 511, 512, 513, 16_383, 16_384, 524_288].contains(&index) {
            clones.push((index, radix.clone()));
        }
        assert_eq!(radix.push(u64::from(index)), index);
    }
    for index in (0..LEN).step_by(3) {
        *radix.get_mut(index) += 1_000_000;
    }
    let written =
        |index: u32| u64::from(index) + if index.is_multiple_of(3) { 1_000_000 } else { 0 };
    assert_eq!(radix.len(), LEN);
    assert!((0..LEN).all(|index| *radix.get(index) == written(index)));
    for (len, clone) in clones {
        assert_eq!(clone.len(), len);
        assert!((0..len).all(|index| *clone.get(index) == u64::from(index)));
    }
}
