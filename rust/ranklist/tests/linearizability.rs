//! Recorded histories of many threads on one log, checked against what one thread would have seen.
//!
//! Two checkers. The *witness* checker takes what the log says of itself, the position of each write
//! and the position that each read saw, as the proposed order, and checks two things in O(n log n):
//! that the order respects real time, and that every result is the one that a sequential model gives
//! in that order. So it works for tens of millions of operations. The *search* after Wing, Gong and
//! Lowe believes nothing: it looks for any order that explains the results, which takes time that
//! is exponential in the worst case, on many small histories. It guards the witnesses themselves.
//!
//! `RANKWIRE_HISTORY=10000000 cargo test --release --test linearizability` checks that many
//! operations.

#![allow(missing_docs, reason = "a test")]
#![cfg(not(any(loom, shuttle)))]

mod history;

use std::sync::Barrier;

use history::{Event, Members, Recorder, Timeline, search, witness};
use rankwire_ranklist::{Log, Ties};

const THREADS: usize = 4;

fn operations() -> usize {
    let given = std::env::var("RANKWIRE_HISTORY");
    given.map_or(200_000, |count| count.parse().expect("RANKWIRE_HISTORY is a number"))
}

/// Lets the threads work on one list, each `count` operations that `Recorder` draws.
fn record(members: u32, count: usize, seed: u64) -> Vec<Event> {
    let key = u128::from(seed).to_le_bytes();
    let list = Log::new(Ties::First, key, Members);
    let (timeline, barrier) = (Timeline::start(), Barrier::new(THREADS));
    std::thread::scope(|scope| {
        let recorder = |thread| {
            let (list, timeline, barrier) = (&list, &timeline, &barrier);
            move || {
                let mut recorder = Recorder::new(list, timeline, members, seed, thread);
                barrier.wait();
                recorder.run(count);
                recorder.events
            }
        };
        let threads: Vec<_> =
            (0..THREADS as u64).map(|thread| scope.spawn(recorder(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no thread panics")).collect()
    })
}

/// Many members, so that threads rarely meet at one, and few, so that they always do.
#[test]
fn long_histories_have_a_witness() {
    for (members, share) in [(50_000, 2), (7, 2)] {
        let events = record(members, operations() / share / THREADS, u64::from(members));
        let checked = witness::check(&events, members);
        assert_eq!(checked, Ok(()));
    }
}

#[test]
fn short_histories_have_an_explanation() {
    let rounds = operations() / 500;
    for round in 0..rounds as u64 {
        let events = record(3, 4, round);
        assert!(search::explains(&events, 3), "round {round}: {events:#?}");
    }
}

/// The checkers must be able to say no.
#[test]
fn forged_histories_are_refused() {
    let mut refused = [0; 2];
    for round in 0..200 {
        let mut events = record(3, 4, round);
        // A write claims that it found nobody where an earlier one had put somebody.
        if !events.iter_mut().any(Event::forget) {
            continue;
        }
        refused[0] += usize::from(witness::check(&events, 3).is_err());
        refused[1] += usize::from(!search::explains(&events, 3));
    }
    assert!(refused.iter().all(|refused| *refused > 50), "{refused:?}");
}
