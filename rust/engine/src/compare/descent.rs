//! The asking side: from hashes that differ down to the members.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rankwire_ranklist::{Part, Piece, Version};

use super::answer::Boards;
use super::codec::{Answer, Ask, HIGHEST_LEVEL, LONGEST_PREFIX, Prefix, Range, Spot, Start, Top};
use super::codec::{What, read_tops};
use super::removals::MOST_TOLD;
use crate::record::BoardId;
use crate::{Engine, Error};

/// Most asks at a time, and about how many bytes.
const MOST_ASKS: usize = 2048;
const ENOUGH_BYTES: usize = 512 << 10;
/// A range with more of our pieces than this is cut in two first.
const MOST_PIECES: usize = 1024;

/// The search for the members that this engine and another one do not agree on.
///
/// It is a conversation: [`boards`](Self::boards) takes what the other one says of its boards, or
/// [`begin`](Self::begin) names some; then [`ask`](Self::ask) gives bytes for
/// [`Engine::outline`] over there, whose answer goes to [`take`](Self::take), until there is nothing
/// more to ask. Asks about all boards go together, so there are about as many rounds as levels.
///
/// It looks at the boards as they are at each step. What changes meanwhile may be found or not; a
/// member that differs and stands still is found.
#[derive(Debug)]
pub struct Comparison {
    /// Most members that are found; then it stops.
    limit: usize,
    /// The last ones are asked first: so what waits stays little however much differs.
    waiting: Vec<Ask>,
    asked: Vec<Ask>,
    found: BTreeMap<BoardId, BTreeSet<Box<str>>>,
    count: usize,
    progress: Progress,
}

/// What a [`Comparison`] has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Boards that were compared, and the members of the larger of each two.
    pub boards: u64,
    /// See `boards`.
    pub members: u64,
    /// Boards that the other one did not have when it was asked.
    pub only_here: BTreeSet<BoardId>,
    /// Boards that this engine did not have.
    pub only_there: BTreeSet<BoardId>,
    /// Whether it ended because it had found enough.
    pub is_stopped: bool,
}

impl Comparison {
    /// Nothing is compared yet. It stops once it has found `limit` members, and `limit` boards that
    /// are on one side only.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            waiting: Vec::new(),
            asked: Vec::new(),
            found: BTreeMap::new(),
            count: 0,
            progress: Progress::default(),
        }
    }

    /// What it has seen so far.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The members found so far, which it forgets.
    pub fn found(&mut self) -> BTreeMap<BoardId, BTreeSet<Box<str>>> {
        std::mem::take(&mut self.found)
    }

    /// Takes in what [`Engine::tops`] says over there of the boards after `after`. Returns where
    /// the next boards come after, or nothing if these were the last.
    ///
    /// # Errors
    /// [`Error::Outline`] when the bytes are something else.
    pub fn boards(
        &mut self,
        engine: &Engine,
        after: BoardId,
        tops: &[u8],
    ) -> Result<Option<BoardId>, Error> {
        let (theirs, are_last) = read_tops(tops)?;
        let last = theirs.last().map_or(BoardId::MAX, |top| top.board);
        let last = if are_last { BoardId::MAX } else { last };
        let first = after.saturating_add(1);
        if theirs.first().is_some_and(|top| top.board < first) {
            return Err(Error::Outline("boards that were not asked for"));
        }
        let ours = engine.tops_within(first..=last, usize::MAX);
        let mut others: BTreeMap<BoardId, Top> =
            theirs.into_iter().map(|top| (top.board, top)).collect();
        for our in &ours {
            match others.remove(&our.board) {
                Some(their) => self.board(engine, our, &their),
                None => self.only(our.board, true),
            }
        }
        for board in others.into_keys() {
            self.only(board, false);
        }
        Ok((!are_last && !self.progress.is_stopped).then_some(last))
    }

    /// Starts with some boards, whatever the other one says of them as a whole. Boards that are not
    /// here are left out.
    pub fn begin(&mut self, engine: &Engine, boards: &[BoardId]) {
        let mut lists = Boards::new(engine);
        for &board in boards {
            if let Some(list) = lists.get(board) {
                self.progress.boards += 1;
                self.progress.members += list.len();
                self.wait_range(board, level(list) + 1, None, None);
                self.wait(board, What::Removals(Prefix { bytes: 0, value: 0, are_told: false }));
            }
        }
    }

    /// What the other one is to be asked next; nothing when all is compared.
    pub fn ask(&mut self) -> Option<Vec<u8>> {
        if self.progress.is_stopped {
            self.waiting.clear();
        }
        let mut bytes = Vec::new();
        while self.asked.len() < MOST_ASKS && bytes.len() < ENOUGH_BYTES {
            let Some(ask) = self.waiting.pop() else { break };
            ask.write(&mut bytes);
            self.asked.push(ask);
        }
        (!self.asked.is_empty()).then_some(bytes)
    }

    /// Takes in the answer to what was asked.
    ///
    /// # Errors
    /// [`Error::Outline`] when it is none.
    pub fn take(&mut self, engine: &Engine, answers: &[u8]) -> Result<(), Error> {
        let answers = Answer::read_all(answers)?;
        let mut asked = std::mem::take(&mut self.asked);
        if answers.is_empty() || answers.len() > asked.len() {
            return Err(Error::Outline("not as many answers as questions"));
        }
        self.waiting.extend(asked.drain(answers.len()..));
        let mut lists = Boards::new(engine);
        let mut removals = Removals::new(engine);
        for (ask, answer) in asked.into_iter().zip(answers) {
            let Some(list) = lists.get(ask.board) else { continue };
            match (ask.what, answer) {
                (_, Answer::NoBoard) => self.only(ask.board, true),
                (What::Range(range), Answer::Pieces(pieces, until)) if range.level > 0 => {
                    let range = self.rest(ask.board, range, until);
                    self.pieces(ask.board, list, &range, &pieces);
                }
                (What::Range(range), Answer::Entries(entries, until)) if range.level == 0 => {
                    let range = self.rest(ask.board, range, until);
                    self.entries(ask.board, list, &range, entries);
                }
                (What::Removals(prefix), Answer::Hashes(theirs)) if !prefix.are_told => {
                    removals.want(ask.board, list, prefix, Answer::Hashes(theirs));
                }
                (What::Removals(prefix), Answer::Removals(theirs)) if prefix.are_told => {
                    removals.want(ask.board, list, prefix, Answer::Removals(theirs));
                }
                _ => return Err(Error::Outline("the answer to another question")),
            }
        }
        removals.compare(self);
        Ok(())
    }

    fn board(&mut self, engine: &Engine, our: &Top, their: &Top) {
        self.progress.boards += 1;
        self.progress.members += our.members.max(their.members);
        if (our.members, our.hash) != (their.members, their.hash)
            && let Some(list) = Boards::new(engine).get(our.board)
        {
            self.wait_range(our.board, level(list), None, None);
        }
        if (our.removals, our.removals_hash) != (their.removals, their.removals_hash) {
            let are_told = our.removals.max(their.removals) <= MOST_TOLD as u64;
            self.wait(our.board, What::Removals(Prefix { bytes: 0, value: 0, are_told }));
        }
    }

    fn only(&mut self, board: BoardId, is_here: bool) {
        let Progress { only_here, only_there, .. } = &mut self.progress;
        let boards = if is_here { only_here } else { only_there };
        boards.insert(board);
        self.progress.is_stopped |= boards.len() >= self.limit;
    }

    fn wait(&mut self, board: BoardId, what: What) {
        self.waiting.push(Ask { board, what });
    }

    fn wait_range(&mut self, board: BoardId, level: u8, start: Option<Start>, end: Option<Spot>) {
        self.wait(board, What::Range(Range { level, start, end }));
    }

    /// The part of a range that an answer is about; the rest is asked for again.
    fn rest(&mut self, board: BoardId, range: Range, until: Option<Spot>) -> Range {
        let Some(spot) = until else { return range };
        let start = Some(Start { spot: spot.clone(), is_after: false });
        self.wait_range(board, range.level, start, range.end);
        Range { end: Some(spot), ..range }
    }

    fn pieces(&mut self, board: BoardId, list: &Version, range: &Range, theirs: &[Piece]) {
        let (start, end) = range.within(list);
        let outline = list.outline(usize::from(range.level) - 1, start, end);
        let ours: Vec<_> = outline.take(MOST_PIECES + 1).collect();
        if ours.len() > MOST_PIECES && !theirs.is_empty() {
            let middle = Spot::at(list, ours[MOST_PIECES / 2].offset);
            let then = middle.clone().map(|spot| Start { spot, is_after: false });
            self.wait_range(board, range.level, then, range.end.clone());
            self.wait_range(board, range.level, range.start.clone(), middle);
            return;
        }
        if theirs.is_empty() {
            self.all_here(board, list, (start, end));
            return;
        }
        for part in Piece::differing(&ours, theirs) {
            self.part(board, list, range, &ours, &part);
        }
    }

    fn part(&mut self, board: BoardId, list: &Version, range: &Range, ours: &[Piece], part: &Part) {
        let own = &ours[part.ours.clone()];
        if part.theirs.is_empty()
            && let (Some(first), Some(last)) = (own.first(), own.last())
        {
            self.all_here(board, list, (first.offset, last.offset + last.entries));
            return;
        }
        let start = match part.ours.start {
            0 => range.start.clone(),
            start if part.is_after => {
                let same = &ours[start - 1];
                let spot = Spot::at(list, same.offset + same.entries - 1);
                spot.map(|spot| Start { spot, is_after: true })
            }
            start => {
                let spot = Spot::at(list, ours[start].offset);
                spot.map(|spot| Start { spot, is_after: false })
            }
        };
        let end = match ours.get(part.ours.end) {
            Some(piece) => Spot::at(list, piece.offset),
            None => range.end.clone(),
        };
        let level = if own.is_empty() { 0 } else { range.level - 1 };
        self.wait_range(board, level, start, end);
    }

    /// Only we have these entries.
    fn all_here(&mut self, board: BoardId, list: &Version, (start, end): (u64, u64)) {
        let limit = (end.saturating_sub(start) as usize).min(self.limit - self.count);
        for entry in list.page(start, limit) {
            self.find(board, entry.member);
        }
    }

    fn entries(&mut self, board: BoardId, list: &Version, range: &Range, theirs: Vec<Spot>) {
        let (start, end) = range.within(list);
        let mut others: HashMap<_, _> =
            theirs.into_iter().map(|spot| (spot.member, spot.key)).collect();
        for entry in list.page(start, end.saturating_sub(start) as usize) {
            if others.remove(entry.member) != Some(entry.key) {
                self.find(board, entry.member);
            }
            if self.progress.is_stopped {
                return;
            }
        }
        for member in others.into_keys() {
            self.find(board, &member);
        }
    }

    fn find(&mut self, board: BoardId, member: &str) {
        if self.count < self.limit && self.found.entry(board).or_default().insert(member.into()) {
            self.count += 1;
        }
        self.progress.is_stopped |= self.count >= self.limit;
    }
}

/// The level below the root, where a board that differs is looked at first.
fn level(list: &Version) -> u8 {
    (list.levels() as u8 - 1).min(HIGHEST_LEVEL)
}

/// What the other one says of removals, to be compared with one reading of ours for each board.
struct Removals<'a> {
    engine: &'a Engine,
    boards: HashMap<BoardId, (rankwire_ranklist::Seed, Vec<(Prefix, Answer)>)>,
}

impl<'a> Removals<'a> {
    fn new(engine: &'a Engine) -> Self {
        Self { engine, boards: HashMap::new() }
    }

    fn want(&mut self, board: BoardId, list: &Version, prefix: Prefix, theirs: Answer) {
        let wanted = self.boards.entry(board).or_insert_with(|| (list.seed(), Vec::new()));
        wanted.1.push((prefix, theirs));
    }

    fn compare(self, comparison: &mut Comparison) {
        for (board, (seed, wanted)) in self.boards {
            let prefixes: Vec<_> = wanted.iter().map(|(prefix, _)| *prefix).collect();
            let mut ours = self.engine.removals_below(board, seed, &prefixes);
            for (prefix, theirs) in wanted {
                match (ours.remove(&prefix), theirs) {
                    (Some(Answer::Hashes(ours)), Answer::Hashes(theirs)) => {
                        for (byte, (our, their)) in (0..=u8::MAX).zip(ours.iter().zip(&theirs)) {
                            if our != their {
                                debug_assert!(prefix.bytes < LONGEST_PREFIX);
                                comparison.wait(board, What::Removals(prefix.followed_by(byte)));
                            }
                        }
                    }
                    (Some(Answer::Removals(ours)), Answer::Removals(theirs)) => {
                        differing(ours, theirs, |member| comparison.find(board, member));
                    }
                    _ => {}
                }
            }
        }
    }
}

fn differing(ours: Vec<(Box<str>, u32)>, theirs: Vec<(Box<str>, u32)>, mut find: impl FnMut(&str)) {
    let mut others: HashMap<_, _> = theirs.into_iter().collect();
    for (member, generation) in ours {
        if others.remove(&member) != Some(generation) {
            find(&member);
        }
    }
    for member in others.keys() {
        find(member);
    }
}
