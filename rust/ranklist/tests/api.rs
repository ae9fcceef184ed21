//! The public interface, used by several threads at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rankwire_ranklist::{Conflict, Key, Shared, Ties, Version};

const ACCOUNTS: u64 = 64;
const START: u64 = 1_000_000;
const DRAFTS: u64 = 2_000;

fn name(account: u64) -> String {
    format!("account-{account}")
}

fn bank() -> Shared {
    let accounts = (0..ACCOUNTS).map(|i| (name(i), Key { score: [START], stamp: i }));
    Shared::from_entries(Ties::First, *b"the test's seed.", 0, accounts).expect("the names differ")
}

/// Moves some points from an account to another, as two changes of one draft.
fn transfer(list: &Shared, i: u64) -> Result<(), Conflict> {
    let from = i * 7 % ACCOUNTS;
    let to = (from + 1 + i % (ACCOUNTS - 1)) % ACCOUNTS;
    let points = 1 + i % 100;
    let mut draft = list.draft();
    for (account, points) in [(from, points.wrapping_neg()), (to, points)] {
        draft.update(&name(account), |key| {
            let Key { score: [score], .. } = key?;
            Some(Key { score: [score.wrapping_add(points)], stamp: ACCOUNTS + i })
        });
    }
    draft.publish()
}

/// Checks that the version is whole: everybody once, ranks without a gap, and all the points.
fn assert_whole(version: &Version) {
    assert_eq!(version.version() % 2, 0, "half a transfer is visible");
    let entries: Vec<_> = version.page(0, usize::MAX).collect();
    assert!(entries.iter().map(|entry| entry.rank).eq(1..=ACCOUNTS));
    assert!(entries.is_sorted_by_key(|entry| (entry.key.score, entry.key.stamp)));
    assert_eq!(entries.iter().map(|entry| entry.key.score[0]).sum::<u64>(), ACCOUNTS * START);
    let mut names: Vec<_> = entries.iter().map(|entry| entry.member).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len() as u64, ACCOUNTS);
    let some = entries[(version.version() % ACCOUNTS) as usize];
    assert_eq!(version.entry(some.member), Some(some));
    assert_eq!(version.select(some.rank), Some(some));
}

/// Reads until there is nothing new any more, by turns for a moment and for longer. Returns how
/// many versions it has seen.
fn read(list: &Shared, is_over: &AtomicBool) -> u64 {
    let (mut newest, mut seen) = (0, 0);
    let mut check = |version: &Version| {
        assert_whole(version);
        assert!(version.version() >= newest, "versions go back");
        seen += u64::from(version.version() > newest);
        newest = version.version();
    };
    loop {
        let is_last = is_over.load(Ordering::Acquire);
        check(&list.read());
        let snapshot = list.snapshot();
        check(&snapshot);
        thread::yield_now();
        check(&snapshot);
        if is_last {
            return seen;
        }
    }
}

#[test]
fn every_version_that_readers_see_is_whole() {
    let list = bank();
    let first = list.snapshot();
    let shown: Vec<_> = first.iter().collect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers = [0, 1].map(|_| scope.spawn(|| read(&list, &is_over)));
        for i in 0..DRAFTS {
            transfer(&list, i).expect("there is one writer");
        }
        is_over.store(true, Ordering::Release);
        for reader in readers {
            assert!(reader.join().expect("every version is whole") > 0);
        }
    });
    assert_eq!(list.read().version(), 2 * DRAFTS);
    assert!(first.iter().eq(shown));
    assert_eq!(list.kept().snapshots, 1);
    drop(first);
    transfer(&list, 0).expect("there is one writer");
    // Blocks may wait for a reader of the other test.
    let kept = list.kept();
    assert_eq!((kept.snapshots, kept.parked), (0, 0), "memory is kept for nobody");
}

#[test]
fn writers_that_try_again_lose_no_change() {
    let list = bank();
    let write = |from: u64| {
        let list = &list;
        move || {
            for i in (from..600).step_by(2) {
                while transfer(list, i).is_err() {}
            }
        }
    };
    thread::scope(|scope| {
        for from in 0..2 {
            scope.spawn(write(from));
        }
    });
    assert_eq!(list.read().version(), 2 * 600);
    assert_whole(&list.read());
}
