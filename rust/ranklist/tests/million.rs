//! A million boards of fifty players: cohorts, clans, friends. Takes 4 GiB and some seconds, so it
//! runs with `make verify-properties` and not with every change.

#![allow(missing_docs, reason = "a test")]
#![cfg(not(any(loom, shuttle)))]

use std::fmt::Write;

use rankwire_ranklist::{Key, Shared, Ties};

/// The server's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BOARDS: u64 = 1_000_000;
const PLAYERS: u64 = 50;

fn board(number: u64) -> Shared {
    let seed = u128::from(number).to_le_bytes();
    let list = Shared::new(Ties::First, seed);
    let mut draft = list.draft();
    let mut name = String::new();
    for player in 0..PLAYERS {
        name.clear();
        write!(name, "player-{:013}", number * PLAYERS + player).expect("strings take all");
        draft.set(&name, Key { score: [player * 7 % PLAYERS], stamp: player });
    }
    draft.publish().expect("nobody else writes");
    list
}

#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages: u64 = pages.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
    pages * 4096
}

#[test]
#[cfg(target_os = "linux")]
#[ignore = "takes 4 GiB"]
fn a_million_boards_of_fifty_players_take_less_than_4_kib_each() {
    let before = resident();
    let boards: Vec<Shared> = (0..BOARDS).map(board).collect();
    let each = (resident() - before) / BOARDS;
    assert!(each < 4096, "{each} bytes");
    for (number, list) in boards.iter().enumerate().step_by(99_991) {
        let read = list.read();
        assert_eq!(read.len(), PLAYERS);
        let first = format!("player-{:013}", number as u64 * PLAYERS);
        assert_eq!(read.select(1).map(|entry| entry.member), Some(first.as_str()));
    }
}
