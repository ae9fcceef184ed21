//! The answering side: boards as a whole, outlines, entries.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;

use rankwire_ranklist::{Entry, Snapshot, Version};

use super::codec::{self, Answer, Ask, Prefix, Range, Spot, Top, What};
use crate::record::BoardId;
use crate::{Board, Engine, Error};

/// Most pieces or entries that are told of one range; the asker goes on from there. A node has 16
/// children on average, and one in millions has more than this.
const MOST_OF_A_RANGE: usize = 256;
/// When an answer has more bytes than this, it ends before the next ask.
const ENOUGH_BYTES: usize = 768 << 10;
/// Most boards that are told at once: 400 KB.
pub(super) const MOST_TOPS: usize = 10_000;

impl Engine {
    /// The boards whose ids come after `after`, the first 10,000 of them, as bytes for
    /// [`Comparison::boards`](super::Comparison::boards). O(boards), and O(members) for boards whose
    /// hash was never asked for.
    pub fn tops(&self, after: BoardId) -> Vec<u8> {
        let mut tops = self.tops_within(after.saturating_add(1)..=BoardId::MAX, MOST_TOPS + 1);
        let are_last = tops.len() <= MOST_TOPS;
        tops.truncate(MOST_TOPS);
        codec::write_tops(&tops, are_last)
    }

    /// Answers the asks of a [`Comparison`](super::Comparison): the first of them if not all.
    ///
    /// # Errors
    /// [`Error::Outline`] when these are no asks.
    pub fn outline(&self, asks: &[u8]) -> Result<Vec<u8>, Error> {
        let asks = Ask::read_all(asks)?;
        let mut boards = Boards::new(self);
        let mut removals = self.removals_asked(&asks, &mut boards);
        let mut answers = Vec::new();
        for Ask { board, what } in asks {
            let answer = match (boards.get(board), what) {
                (None, _) => Answer::NoBoard,
                (Some(list), What::Range(range)) => range.answer(list),
                (Some(_), What::Removals(prefix)) => {
                    removals.remove(&(board, prefix)).unwrap_or(Answer::NoBoard)
                }
            };
            answer.write(&mut answers);
            if answers.len() > ENOUGH_BYTES {
                break;
            }
        }
        Ok(answers)
    }

    /// The boards with ids in a range, the first ones, by id.
    pub(super) fn tops_within(&self, ids: RangeInclusive<BoardId>, limit: usize) -> Vec<Top> {
        let mut found: BTreeMap<BoardId, Arc<Board>> = BTreeMap::new();
        self.each_board(|board| {
            if ids.contains(&board.id()) {
                found.insert(board.id(), Arc::clone(board));
                if found.len() > limit {
                    found.pop_last();
                }
            }
        });
        let top = |board: Arc<Board>| {
            let list = board.snapshot();
            let removals = self.removals(board.id(), list.seed());
            Top {
                board: board.id(),
                members: list.len(),
                hash: list.digest(),
                removals: removals.count,
                removals_hash: removals.hash,
            }
        };
        found.into_values().map(top).collect()
    }

    fn removals_asked(
        &self,
        asks: &[Ask],
        boards: &mut Boards<'_>,
    ) -> HashMap<(BoardId, Prefix), Answer> {
        let mut prefixes: HashMap<BoardId, Vec<Prefix>> = HashMap::new();
        for ask in asks {
            if let What::Removals(prefix) = ask.what {
                prefixes.entry(ask.board).or_default().push(prefix);
            }
        }
        let mut answers = HashMap::new();
        for (board, prefixes) in prefixes {
            if let Some(list) = boards.get(board) {
                let below = self.removals_below(board, list.seed(), &prefixes);
                answers.extend(below.into_iter().map(|(prefix, one)| ((board, prefix), one)));
            }
        }
        answers
    }
}

/// Boards as of when they were first looked up.
pub(super) struct Boards<'a> {
    engine: &'a Engine,
    found: HashMap<BoardId, Option<Snapshot>>,
}

impl<'a> Boards<'a> {
    pub(super) fn new(engine: &'a Engine) -> Self {
        Self { engine, found: HashMap::new() }
    }

    pub(super) fn get(&mut self, board: BoardId) -> Option<&Snapshot> {
        let engine = self.engine;
        let snapshot = || engine.board_of(board).map(|board| board.snapshot());
        self.found.entry(board).or_insert_with(snapshot).as_ref()
    }
}

impl Range {
    /// The entries of a version that are in the range: those after the first, up to the second.
    pub(super) fn within(&self, list: &Version) -> (u64, u64) {
        let start = self.start.as_ref().map_or(0, |start| {
            let Spot { key, member } = &start.spot;
            let is_there = start.is_after && list.get(member) == Some(*key);
            list.before(member, *key) + u64::from(is_there)
        });
        let end = self.end.as_ref();
        (start, end.map_or(list.len(), |Spot { key, member }| list.before(member, *key)))
    }

    fn answer(&self, list: &Version) -> Answer {
        let (start, end) = self.within(list);
        let Some(level) = self.level.checked_sub(1) else {
            let limit = MOST_OF_A_RANGE.min(end.saturating_sub(start) as usize);
            let entries: Vec<_> = list.page(start, limit).map(|entry| Spot::of(&entry)).collect();
            let next = start + limit as u64;
            return Answer::Entries(entries, (next < end).then(|| Spot::at(list, next)).flatten());
        };
        let mut pieces: Vec<_> =
            list.outline(level.into(), start, end).take(MOST_OF_A_RANGE + 1).collect();
        let rest = (pieces.len() > MOST_OF_A_RANGE).then(|| pieces.pop()).flatten();
        Answer::Pieces(pieces, rest.and_then(|piece| Spot::at(list, piece.offset)))
    }
}

impl Spot {
    fn of(entry: &Entry<'_>) -> Self {
        Self { key: entry.key, member: entry.member.into() }
    }

    /// That of the entry after the first `offset`.
    pub(super) fn at(list: &Version, offset: u64) -> Option<Self> {
        list.select(offset + 1).map(|entry| Self::of(&entry))
    }
}
