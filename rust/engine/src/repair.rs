//! Repairs: records that bring a member to the state which another region shows.
//!
//! Regions that have the same batches hold the same, so a repair is for what must not happen: lost
//! rows, bad memory, a copy that was changed by hand. It was found by comparing, and time has passed
//! since: each item says what was *seen* here, and is left alone when that is not so any more. What
//! it writes are records like any other, and they merge:
//!
//! * `best`, `last`: the [`Delete`](Record::Delete) and the [`Score`](Record::Score) that the given
//!   state tells of, as far as they change something. They count in every region.
//! * `sum`: amounts of others cannot be merged twice, so the difference is written as a
//!   [`Fix`](Record::Fix), which counts in this region only. A member that should not be there is
//!   deleted, which counts in every region.
//!
//! Times only grow: a `sum` that is given with an earlier time than it has keeps its own.

use serde::Serialize;

use rankwire_ranklist::Key;

use crate::config::{BoardConfig, Policy, check_member};
use crate::draft::Draft;
use crate::record::{BoardId, Record};
use crate::region::RegionId;
use crate::{Error, Score, limits, policy};

/// All that a board knows of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// How often the member has been deleted.
    pub generation: u32,
    /// Score code and stamp; nothing for a member that is not on the board.
    pub key: Option<Key>,
}

/// A member that is to be brought from one state to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// Who differs.
    pub member: String,
    /// The state that was seen here.
    pub seen: State,
    /// The state that it should have.
    pub given: State,
}

/// What became of the members of a repair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// Changed.
    pub repaired: usize,
    /// Left alone, since the state was neither the one that was seen nor the given one.
    pub moved: usize,
    /// Right already, or beyond what was given.
    pub same: usize,
}

/// What can be wrong with items, before any of them is applied to the draft.
pub(crate) fn check(draft: &Draft, items: &[Repair]) -> Result<(), Error> {
    let config = draft.board.config();
    if config.sums_floats() {
        return Err(Error::FloatSum);
    }
    if draft.list.len() + items.len() as u64 > limits::MEMBERS {
        return Err(Error::TooManyMembers(limits::MEMBERS));
    }
    let check = |item: &Repair| {
        check_member(&item.member)?;
        item.given.key.map_or(Ok(()), |key| score(config, key).map(drop))
    };
    let wrong = |(index, item)| check(item).err().map(|error| (index, error));
    match items.iter().enumerate().find_map(wrong) {
        Some((index, error)) => Err(Error::Item { index, error: Box::new(error) }),
        None => Ok(()),
    }
}

/// The records that bring a member of a [checked](check) item from the state that it has `now` to
/// the given one, in the region that is to be repaired.
pub(crate) fn records(
    (board, config): (BoardId, BoardConfig),
    region: RegionId,
    item: &Repair,
    now: State,
) -> Vec<Record<'_>> {
    let Repair { member, given, .. } = item;
    let is_sum = config.policy == Policy::Sum;
    let mut records = Vec::new();
    if given.generation < now.generation {
        return records;
    }
    let is_extra = is_sum && given.key.is_none() && now.key.is_some();
    let generation = given.generation.max(now.generation.saturating_add(is_extra.into()));
    let mut held = now.key;
    if generation > now.generation {
        records.push(Record::Delete { board, member, generation });
        held = None;
    }
    let Some(key) = given.key else { return records };
    let (score, stamp) = (policy::decode(config, key), key.stamp);
    if is_sum {
        records.extend(amounts(config, held, key).into_iter().map(|amount| Record::Fix {
            board,
            member,
            bits: amount.cast_unsigned(),
            stamp,
            generation,
            region,
        }));
    } else if held != Some(policy::merge(config, held, score, stamp)) {
        records.push(Record::Score { board, member, bits: score.to_bits(), stamp, generation });
    }
    records
}

/// Amounts that make one sum of another, none of which leads out of the range on the way. Two ends
/// of it lie further apart than an amount reaches.
fn amounts(config: BoardConfig, held: Option<Key>, given: Key) -> Vec<i64> {
    let int = |key| match policy::decode(config, key) {
        Score::Int(int) => i128::from(int),
        Score::Float(_) => unreachable!("sums of floats are refused"),
    };
    let mut rest = int(given) - held.map_or(0, int);
    let is_later = held.is_none_or(|held| given.stamp > held.stamp);
    let mut amounts = Vec::new();
    while rest != 0 || (is_later && amounts.is_empty()) {
        let amount = rest.clamp(i64::MIN.into(), i64::MAX.into());
        rest -= amount;
        amounts.push(amount as i64);
    }
    amounts
}

fn score(config: BoardConfig, key: Key) -> Result<Score, Error> {
    policy::decode(config, key).cast(config.score)
}
