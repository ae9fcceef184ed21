//! The search for an order, after Wing and Gong (1993), with Lowe's memory of states (2017).

use std::collections::HashSet;

use super::{Call, Event, Outcome, Place, member};

/// A list as plain as can be: the state of each member. Stamps are those of the positions at which
/// writes are tried, so results are compared without them.
type State = Vec<Option<(u64, u64)>>;

/// Whether there is an order of all operations that respects real time and in which a sequential
/// list gives these results.
pub(crate) fn explains(events: &[Event], members: u32) -> bool {
    assert!(events.len() <= 64, "a search of so many operations would not end");
    let mut seen = HashSet::new();
    step(events, 0, &vec![None; members as usize], 1, &mut seen)
}

/// Tries every operation that may come next after those in `done`.
fn step(
    events: &[Event],
    done: u64,
    state: &State,
    clock: u64,
    seen: &mut HashSet<(u64, State)>,
) -> bool {
    let waiting = || events.iter().enumerate().filter(|(index, _)| done >> index & 1 == 0);
    let Some(deadline) = waiting().map(|(_, event)| event.returned).min() else { return true };
    if !seen.insert((done, ranked(state))) {
        return false;
    }
    // Whatever is called after another operation's return cannot come before it.
    waiting().filter(|(_, event)| event.called <= deadline).any(|(index, event)| {
        let mut next = state.clone();
        let fits = apply(&mut next, event, clock) == without_stamps(event.outcome);
        fits && step(events, done | 1 << index, &next, clock + 1, seen)
    })
}

/// The same state with the smallest stamps that keep the order, so that equal situations are equal.
fn ranked(state: &State) -> State {
    let mut stamps: Vec<u64> = state.iter().flatten().map(|(_, stamp)| *stamp).collect();
    stamps.sort_unstable();
    let rank = |stamp| stamps.partition_point(|other| *other < stamp) as u64;
    state.iter().map(|key| key.map(|(score, stamp)| (score, rank(stamp)))).collect()
}

fn apply(state: &mut State, event: &Event, clock: u64) -> Outcome {
    let index = member(event.call) as usize;
    let before = place(state, index);
    let first = (0..state.len()).filter(|index| state[*index].is_some()).min_by_key(|i| state[*i]);
    state[index] = match event.call {
        Call::Read { .. } => {
            let len = state.iter().flatten().count() as u64;
            return Outcome::Read { place: before, len, first: first.map(|index| index as u64) };
        }
        Call::Remove { .. } => None,
        Call::Set { score, .. } => Some((score, clock)),
        Call::Best { score, .. } => {
            Some(state[index].filter(|(held, _)| *held <= score).unwrap_or((score, clock)))
        }
    };
    Outcome::Write { before, after: place(state, index) }
}

fn place(state: &State, index: usize) -> Place {
    let key = state[index]?;
    let better = state.iter().flatten().filter(|other| **other < key).count();
    Some((better as u64 + 1, key.0, 0))
}

fn without_stamps(outcome: Outcome) -> Outcome {
    let bare = |place: Place| place.map(|(rank, score, _)| (rank, score, 0));
    match outcome {
        Outcome::Write { before, after } => {
            Outcome::Write { before: bare(before), after: bare(after) }
        }
        Outcome::Read { place, len, first } => Outcome::Read { place: bare(place), len, first },
    }
}
