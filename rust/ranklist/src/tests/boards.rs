//! What small boards take: there may be a million of them.

use std::mem::size_of;

use super::model::SEED;
use crate::sync::root::Root;
use crate::{Key, Shared, Ties, Version};

/// What a board takes beside its blocks: the root with its two reference counts, the current
/// version, and the slots of snapshots, which a board has from its first draft on.
const AROUND: usize = {
    let root = 2 * size_of::<usize>() + size_of::<Root<Version<1>>>();
    root + size_of::<Version<1>>() + SLOTS
};

/// Eight slots, each with a claim and a pile of a pointer and a length, and a link.
const SLOTS: usize = 8 * 24 + 8;

/// Bytes of a board that got its members one by one, each in a version of its own.
fn board(members: usize, name: impl Fn(usize) -> String) -> usize {
    let list = Shared::<1>::new(Ties::First, SEED);
    for i in 0..members {
        let mut draft = list.draft();
        draft.set(&name(i), Key { score: [i as u64 * 7 % 101], stamp: i as u64 });
        draft.publish().expect("nobody else publishes");
    }
    list.snapshot().memory().total() as usize + AROUND
}

fn short(i: usize) -> String {
    format!("p{i:07}")
}

fn long(i: usize) -> String {
    format!("player-name-{i:08}")
}

#[test]
fn small_boards_are_small() {
    let sizes = [board(0, long), board(50, long), board(128, short), board(128, long)];
    let [empty, fifty, short, long] = sizes;
    assert!(empty <= 512, "{empty}");
    assert!(fifty < 4096, "{fifty}");
    assert!(short < 7_680, "{short}");
    assert!(long < 9_216, "{long}");
}
