//! All of it together, also from many threads.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::thread;

use rankwire_traffic::{Kind, Traffic};

const MINUTE: u64 = 60_000;

fn heavy(traffic: &Traffic, now_ms: u64, kind: Kind) -> Vec<(String, u64)> {
    let heavy = traffic.heavy(now_ms, kind, 10).into_iter();
    heavy.map(|heavy| (heavy.name, heavy.count)).collect()
}

#[test]
fn a_page_is_a_read_of_its_board() {
    let traffic = Traffic::new().unwrap();
    traffic.page(0, "a", 0, 10, 1);
    traffic.page(0, "a", 0, 20, 1);
    traffic.page(0, "a", 10, 10, 1);
    traffic.page(0, "a", 0, 10, 1);
    traffic.board(0, "a");
    traffic.board(0, "b");
    let boards = [("a".to_owned(), 5), ("b".to_owned(), 1)];
    assert_eq!(heavy(&traffic, MINUTE, Kind::Leaderboard), boards);
    let pages = heavy(&traffic, MINUTE, Kind::Page);
    assert_eq!(pages[0], ("a?offset=0&limit=10".to_owned(), 2));
    assert_eq!(pages.len(), 3);
    assert!((traffic.unique(MINUTE, Kind::Page) - 3.0).abs() < 0.1);
    assert!((traffic.curve(Kind::Page, &[9]).unwrap()[0] - 0.75).abs() < 1e-9);
    assert_eq!(traffic.curve(Kind::UserProfile, &[9]), None);
}

#[test]
fn a_page_of_another_version_is_a_miss() {
    let traffic = Traffic::new().unwrap();
    for version in [1, 1, 2, 2] {
        traffic.page(0, "a", 0, 10, version);
    }
    assert!((traffic.curve(Kind::Page, &[1]).unwrap()[0] - 0.5).abs() < 1e-9);
    assert!((traffic.curve(Kind::Leaderboard, &[1]).unwrap()[0] - 0.25).abs() < 1e-9);
}

#[test]
fn names_are_bounded() {
    let traffic = Traffic::new().unwrap();
    let long = "x".repeat(rankwire_engine::limits::MEMBER_BYTES + 1);
    traffic.profiles(0, &["ann", "ann", &long], 1000);
    assert_eq!(heavy(&traffic, MINUTE, Kind::UserProfile), [("ann".to_owned(), 2)]);
}

#[test]
fn no_read_of_any_thread_is_lost() {
    let traffic = Traffic::new().unwrap();
    thread::scope(|scope| {
        for thread in 0..4 {
            let traffic = &traffic;
            scope.spawn(move || {
                for read in 0..5000_u64 {
                    traffic.page(0, ["a", "b"][(read % 2) as usize], 0, thread, 1);
                    traffic.profiles(0, &[(read % 7).to_string()], 1000);
                }
            });
        }
    });
    assert_eq!(
        heavy(&traffic, MINUTE, Kind::Leaderboard),
        ["a", "b"].map(|b| (b.to_owned(), 10_000))
    );
    let pages = heavy(&traffic, MINUTE, Kind::Page);
    assert_eq!(pages.iter().map(|(_, count)| count).collect::<Vec<_>>(), [&2500; 8]);
    let profiles = heavy(&traffic, MINUTE, Kind::UserProfile);
    assert_eq!(profiles.iter().map(|(_, count)| count).sum::<u64>(), 20_000);
}
