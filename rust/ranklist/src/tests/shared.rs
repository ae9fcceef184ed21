//! A writer beside readers.

use std::sync::Barrier;
use std::thread;

use super::model::{SEED, key};
use crate::{List, Shared, Ties};

const ACCOUNTS: u64 = 64;
const START: u64 = 1_000_000;
const TRANSFERS: u64 = 20_000;
const LOADS: u64 = 2_000;

/// Moves one point from an account to another, as two changes.
fn transfer(list: &mut List, from: u64, to: u64) {
    for (account, change) in [(from, -1), (to, 1)] {
        let account = account.to_string();
        let old = list.get(&account).expect("accounts stay").score;
        list.set(&account, key(old.saturating_add_signed(change), 0));
    }
}

/// Loads versions beside the writer and checks that each is whole.
fn read(shared: &Shared) {
    let mut newest = 0;
    for _ in 0..LOADS {
        let list = shared.load();
        assert!(list.version() >= newest, "versions go back");
        newest = list.version();
        assert_eq!(newest % 2, 0, "half a transfer is visible");
        let sum: u64 = list.iter().map(|entry| entry.key.score).sum();
        assert_eq!(sum, ACCOUNTS * START);
        assert!(list.iter().map(|entry| entry.rank).eq(1..=ACCOUNTS));
        let entry = list.select(1 + newest % ACCOUNTS).expect("accounts stay");
        assert_eq!(list.entry(entry.member), Some(entry));
    }
}

#[test]
fn every_version_that_a_reader_loads_is_whole() {
    let accounts = (0..ACCOUNTS).map(|account| (account.to_string(), key(START, 0)));
    let list = List::from_entries(Ties::First, SEED, accounts).expect("the names differ");
    let (shared, start) = (Shared::new(list), Barrier::new(3));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                start.wait();
                read(&shared);
            });
        }
        start.wait();
        let mut list = List::clone(&shared.load());
        for i in 0..TRANSFERS {
            let from = i * 7 % ACCOUNTS;
            transfer(&mut list, from, (from + 1 + i % (ACCOUNTS - 1)) % ACCOUNTS);
            shared.publish(list.clone());
        }
    });
    assert_eq!(shared.load().version(), 2 * TRANSFERS);
}

#[test]
fn a_loaded_version_outlives_its_successors() {
    let shared = Shared::new(List::new(Ties::First, SEED));
    let mut versions = vec![shared.load()];
    for i in 0..100 {
        let mut next = List::clone(&shared.load());
        next.set(&i.to_string(), key(i, 0));
        shared.publish(next);
        versions.push(shared.load());
    }
    for (version, len) in versions.iter().zip(0..) {
        assert_eq!((version.len(), version.version()), (len, len));
        assert!(version.iter().map(|entry| entry.key.score).eq(0..len));
    }
}
