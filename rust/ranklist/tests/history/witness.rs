//! The linear-time check: the positions that the log gives are taken as the order.

use std::collections::BTreeSet;

use super::{Call, Event, Outcome, Place, member};

/// Whether the history is explained by its positions; otherwise what is wrong.
pub(crate) fn check(events: &[Event], members: u32) -> Result<(), String> {
    respects_time(events)?;
    replays(events, members)
}

/// Of two operations of which one returned before the other was called, the first has no later
/// position, and an earlier one than a write. One sweep over all calls and returns.
fn respects_time(events: &[Event]) -> Result<(), String> {
    let mut moments: Vec<(u64, bool, usize)> = Vec::with_capacity(events.len() * 2);
    for (index, event) in events.iter().enumerate() {
        // Of a call and a return at one moment, the call comes first: they overlap.
        moments.push((event.called, false, index));
        moments.push((event.returned, true, index));
    }
    moments.sort_unstable();
    let mut latest = 0;
    for (_, has_returned, index) in moments {
        let event = &events[index];
        let is_write = matches!(event.outcome, Outcome::Write { .. });
        if has_returned {
            latest = latest.max(event.position);
        } else if event.position < latest + u64::from(is_write) {
            return Err(format!("{event:?} began after position {latest} was over"));
        }
    }
    Ok(())
}

/// Every result is that of a sequential list to which the writes are applied by position.
fn replays(events: &[Event], members: u32) -> Result<(), String> {
    let mut order: Vec<&Event> = events.iter().collect();
    let is_read = |event: &Event| matches!(event.call, Call::Read { .. });
    order.sort_by_key(|event| (event.position, is_read(event)));
    let mut model = Model::new(&order, members);
    let mut position = 0;
    for event in order {
        if !is_read(event) {
            position += 1;
        }
        if event.position != position {
            return Err(format!("{event:?} stands where position {position} should"));
        }
        let expected = model.apply(event);
        if event.outcome != expected {
            return Err(format!("{event:?} should have come to {expected:?}"));
        }
    }
    Ok(())
}

/// A list of which no part is shared with the one under test: a state for each member, and a tree
/// of sums over all keys that ever occur, in their order.
struct Model {
    states: Vec<Option<(u64, u64)>>,
    keys: Vec<(u64, u64)>,
    sums: Vec<u32>,
    present: BTreeSet<(u64, u64, u32)>,
}

impl Model {
    fn new(order: &[&Event], members: u32) -> Self {
        let key = |event: &&Event| match event.call {
            Call::Best { score, .. } | Call::Set { score, .. } => Some((score, event.position)),
            Call::Remove { .. } | Call::Read { .. } => None,
        };
        let mut keys: Vec<_> = order.iter().filter_map(key).collect();
        keys.sort_unstable();
        Self {
            states: vec![None; members as usize],
            sums: vec![0; keys.len() + 1],
            keys,
            present: BTreeSet::new(),
        }
    }

    fn apply(&mut self, event: &Event) -> Outcome {
        let member = member(event.call);
        let current = self.states[member as usize];
        let new = match event.call {
            Call::Read { .. } => {
                return Outcome::Read {
                    place: self.place(current),
                    len: self.present.len() as u64,
                    first: self.present.first().map(|(_, _, member)| u64::from(*member)),
                };
            }
            Call::Remove { .. } => None,
            Call::Set { score, .. } => Some((score, event.position)),
            Call::Best { score, .. } => {
                let kept = current.filter(|(held, _)| *held <= score);
                Some(kept.unwrap_or((score, event.position)))
            }
        };
        let before = self.place(current);
        self.count(member, current, -1);
        self.count(member, new, 1);
        self.states[member as usize] = new;
        Outcome::Write { before, after: self.place(new) }
    }

    fn count(&mut self, member: u32, key: Option<(u64, u64)>, by: i32) {
        let Some((score, stamp)) = key else { return };
        if by > 0 {
            self.present.insert((score, stamp, member));
        } else {
            self.present.remove(&(score, stamp, member));
        }
        let mut index = self.index((score, stamp)) + 1;
        while index < self.sums.len() {
            self.sums[index] = self.sums[index].wrapping_add_signed(by);
            index += index & index.wrapping_neg();
        }
    }

    fn place(&self, key: Option<(u64, u64)>) -> Place {
        let (score, stamp) = key?;
        let mut index = self.index((score, stamp)) + 1;
        let mut rank = 0;
        while index > 0 {
            rank += u64::from(self.sums[index]);
            index &= index - 1;
        }
        Some((rank, score, stamp))
    }

    fn index(&self, key: (u64, u64)) -> usize {
        self.keys.binary_search(&key).expect("only keys of the history occur")
    }
}
