//! What an engine should do: plain maps, sorted anew for every answer.
//!
//! Written from what the crate promises, and sharing nothing with how it is done.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use rankwire_engine::{
    BoardConfig, Command, Error, Order, Policy, Score, ScoreType, Submit, TieBreak,
};
use serde::Serialize;

pub(crate) const MAX_BOARDS: usize = 3;
pub(crate) const MAX_MEMBERS: u64 = 5;

/// Milliseconds from the year 1 to 1970: 719,162 days.
const YEARS_MS: i64 = 719_162 * 86_400_000;

/// When a score was reached: a millisecond since 1970 and a place within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(i64, u16);

impl Time {
    const NEVER: Self = Self(-YEARS_MS, 0);

    pub(crate) fn of_stamp(stamp: u64) -> Self {
        Self((stamp / 65_536).cast_signed() - YEARS_MS, (stamp % 65_536) as u16)
    }

    fn tick(&mut self, now_ms: i64) -> Self {
        *self = if now_ms > self.0 { Self(now_ms, 0) } else { Self(self.0, self.1 + 1) };
        *self
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Board {
    /// Distinguishes the lives of boards of one name.
    life: usize,
    pub(crate) config: BoardConfig,
    pub(crate) version: u64,
    pub(crate) members: BTreeMap<String, (Score, Time)>,
    /// How often members were removed.
    pub(crate) removals: BTreeMap<String, u32>,
}

impl Board {
    /// The members in rank order.
    pub(crate) fn ranked(&self) -> Vec<(&str, Score, Time)> {
        let mut ranked: Vec<_> =
            self.members.iter().map(|(member, (score, time))| (&**member, *score, *time)).collect();
        ranked.sort_by(|(a, a_score, a_time), (b, b_score, b_time)| {
            let times = match self.config.ties {
                TieBreak::First => a_time.cmp(b_time),
                TieBreak::Last => b_time.cmp(a_time),
                TieBreak::Member => Ordering::Equal,
            };
            self.compare(*a_score, *b_score).then(times).then_with(|| a.cmp(b))
        });
        ranked
    }

    pub(crate) fn rank(&self, member: &str) -> Option<usize> {
        self.ranked().iter().position(|(other, ..)| *other == member).map(|index| index + 1)
    }

    /// The better score is less.
    fn compare(&self, a: Score, b: Score) -> Ordering {
        let ascending = match (a, b) {
            (Score::Int(a), Score::Int(b)) => a.cmp(&b),
            (Score::Float(a), Score::Float(b)) => a.partial_cmp(&b).unwrap(),
            _ => panic!("{a:?} and {b:?} on one board"),
        };
        match self.config.order {
            Order::Asc => ascending,
            Order::Desc => ascending.reverse(),
        }
    }

    /// The page of everyone from rank `from` to `to`.
    pub(crate) fn page(&self, name: &str, from: usize, to: usize) -> String {
        let rows: Vec<_> = (1..)
            .zip(self.ranked())
            .filter(|(rank, _)| (from..=to).contains(rank))
            .map(|(rank, (member, score, _))| {
                let (member, score) = (json(member), json(score));
                format!(r#"{{"rank":{rank},"member":{member},"score":{score}}}"#)
            })
            .collect();
        let (version, total, rows) = (self.version, self.members.len(), rows.join(","));
        format!(r#"{{"board":"{name}","version":{version},"total":{total},"entries":[{rows}]}}"#)
    }

    pub(crate) fn standing(&self, name: &str, member: &str) -> Option<String> {
        let rank = self.rank(member)?;
        let (version, total) = (self.version, self.members.len());
        let score = json(self.members[member].0);
        let member = json(member);
        Some(format!(
            r#"{{"board":"{name}","version":{version},"member":{member},"score":{score},"rank":{rank},"total":{total}}}"#
        ))
    }

    /// How many members have scores from `min` to `max`, whichever of these is better.
    pub(crate) fn count(&self, min: i64, max: i64) -> usize {
        let within = |(score, _): &&(Score, Time)| match *score {
            Score::Int(score) => (min..=max).contains(&score),
            Score::Float(score) => (to_float(min)..=to_float(max)).contains(&score),
        };
        self.members.values().filter(within).count()
    }

    /// A submitted score as a score of this board.
    fn cast(&self, score: Score) -> Result<Score, Error> {
        match (self.config.score, score) {
            (ScoreType::Int64, Score::Int(_)) => Ok(score),
            (ScoreType::Float64, Score::Int(score)) => Ok(Score::Float(to_float(score))),
            (ScoreType::Float64, Score::Float(0.0)) => Ok(Score::Float(0.0)),
            (ScoreType::Float64, Score::Float(score)) if score.is_finite() => {
                Ok(Score::Float(score))
            }
            // Every whole number up to 2^53 has a double of its own.
            (ScoreType::Int64, Score::Float(score))
                if score.abs() <= 2_f64.powi(53) && score.fract() == 0.0 =>
            {
                Ok(Score::Int(score as i64))
            }
            _ => Err(Error::Score("")),
        }
    }
}

fn json(value: impl Serialize) -> String {
    serde_json::to_string(&value).unwrap()
}

#[expect(clippy::cast_precision_loss, reason = "the nearest double is what is asked for")]
fn to_float(score: i64) -> f64 {
    score as f64
}

fn add(a: Score, b: Score) -> Option<Score> {
    match (a, b) {
        (Score::Int(a), Score::Int(b)) => a.checked_add(b).map(Score::Int),
        (Score::Float(a), Score::Float(b)) => (a + b).is_finite().then_some(Score::Float(a + b)),
        _ => panic!("{a:?} and {b:?} on one board"),
    }
}

/// What committed batches have made.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) boards: BTreeMap<String, Board>,
    /// Members that changed since the last checkpoint, with the lives of their boards.
    dirty: BTreeSet<(usize, String)>,
    /// The times of all changes since the last checkpoint.
    times: Vec<Time>,
}

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) state: State,
    clock: Time,
    lives: usize,
    /// A checkpoint that is taken and not stored yet.
    pending: Option<State>,
    /// The newest time in the rows that are stored.
    stored: Time,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            state: State::default(),
            clock: Time::NEVER,
            lives: 0,
            pending: None,
            stored: Time::NEVER,
        }
    }

    pub(crate) fn dirty(&self) -> usize {
        self.state.dirty.len()
    }

    pub(crate) fn members(&self) -> usize {
        self.state.boards.values().map(|board| board.members.len()).sum()
    }

    /// A checkpoint is taken.
    pub(crate) fn take(&mut self) {
        let boards = self.state.boards.clone();
        let taken = std::mem::replace(&mut self.state, State { boards, ..State::default() });
        self.pending = Some(taken);
    }

    /// The checkpoint is stored; what storage now holds.
    pub(crate) fn store(&mut self) -> BTreeMap<String, Board> {
        let boards = self.pending.take().unwrap().boards;
        let members = boards.values().flat_map(|board| board.members.values());
        self.stored = members.map(|(_, time)| *time).max().unwrap_or(Time::NEVER);
        boards
    }

    /// The checkpoint is not stored.
    pub(crate) fn lose(&mut self) {
        let Some(taken) = self.pending.take() else { return };
        let alive: BTreeSet<_> = self.state.boards.values().map(|board| board.life).collect();
        let dirty = taken.dirty.into_iter().filter(|(life, _)| alive.contains(life));
        self.state.dirty.extend(dirty);
        self.state.times.extend(taken.times);
    }

    /// The engine forgets what is not stored and reads back what is.
    pub(crate) fn restart(&mut self) {
        self.lose();
        self.clock = self.state.times.iter().copied().fold(self.stored, Time::max);
    }

    /// What a batch answers, and the state after it if it is committed.
    pub(crate) fn batch(
        &mut self,
        now_ms: i64,
        commands: &[Command],
    ) -> (Vec<Result<String, Error>>, State) {
        let mut state = self.state.clone();
        let replies = commands.iter().map(|command| self.apply(&mut state, now_ms, command));
        (replies.collect(), state)
    }

    fn apply(
        &mut self,
        state: &mut State,
        now_ms: i64,
        command: &Command,
    ) -> Result<String, Error> {
        match command {
            Command::Create { board, config } => {
                let count = state.boards.len();
                if let Some(found) = state.boards.get(board) {
                    let same = found.config == *config;
                    return if same {
                        Ok("board".into())
                    } else {
                        Err(Error::BoardConflict(board.clone()))
                    };
                }
                if count == MAX_BOARDS {
                    return Err(Error::TooManyBoards(MAX_BOARDS));
                }
                self.lives += 1;
                let fresh = Board {
                    life: self.lives,
                    config: *config,
                    version: 0,
                    members: BTreeMap::new(),
                    removals: BTreeMap::new(),
                };
                state.boards.insert(board.clone(), fresh);
                Ok("new board".into())
            }
            Command::Drop { board } => {
                let gone = state.boards.remove(board).ok_or_else(|| unknown(board))?;
                state.dirty.retain(|(life, _)| *life != gone.life);
                Ok(String::new())
            }
            Command::Remove { board: name, member } => {
                let board = state.boards.get_mut(name).ok_or_else(|| unknown(name))?;
                let gone = board.members.remove(member);
                gone.ok_or_else(|| Error::UnknownMember(member.clone()))?;
                *board.removals.entry(member.clone()).or_default() += 1;
                board.version += 1;
                state.dirty.insert((board.life, member.clone()));
                Ok(String::new())
            }
            Command::Repair { .. } => panic!("the model knows of no other regions"),
            Command::Submit { board: name, submit } => {
                let before = state.boards.get(name).ok_or_else(|| unknown(name))?.clone();
                let changed = self.submit(state, now_ms, name, submit)?;
                let after = &state.boards[name];
                let member = &submit.member;
                let score = |board: &Board| board.members.get(member).map(|(score, _)| *score);
                Ok(format!(
                    r#"{{"board":"{name}","member":{},"score":{},"rank":{},"previous_score":{},"previous_rank":{},"changed":{changed},"version":{}}}"#,
                    json(member),
                    json(score(after)),
                    after.rank(member).unwrap(),
                    json(score(&before)),
                    json(before.rank(member)),
                    after.version,
                ))
            }
            Command::Batch { board: name, submits } => {
                state.boards.get(name).ok_or_else(|| unknown(name))?;
                let before = state.clone();
                let mut changed = 0;
                for (index, submit) in submits.iter().enumerate() {
                    match self.submit(state, now_ms, name, submit) {
                        Ok(change) => changed += usize::from(change),
                        Err(error) => {
                            *state = before;
                            return Err(Error::Item { index, error: Box::new(error) });
                        }
                    }
                }
                let (submitted, version) = (submits.len(), state.boards[name].version);
                Ok(format!(
                    r#"{{"board":"{name}","submitted":{submitted},"changed":{changed},"version":{version}}}"#
                ))
            }
        }
    }

    /// Whether the submit changes the member.
    fn submit(
        &mut self,
        state: &mut State,
        now_ms: i64,
        name: &str,
        submit: &Submit,
    ) -> Result<bool, Error> {
        let board = state.boards.get_mut(name).unwrap();
        let member = &submit.member;
        if member.is_empty() {
            return Err(Error::MemberName);
        }
        let time = match submit.at_ms {
            Some(at_ms) if at_ms > now_ms + 60_000 => return Err(Error::At("")),
            Some(at_ms) => Time(at_ms, 0),
            None => self.clock.tick(now_ms),
        };
        let score = board.cast(submit.score)?;
        let held = board.members.get(member).copied();
        let next = match (held, board.config.policy) {
            (None, _) if board.members.len() as u64 == MAX_MEMBERS => {
                return Err(Error::TooManyMembers(MAX_MEMBERS));
            }
            (None, _) => (score, time),
            (Some((old, since)), Policy::Best) => match board.compare(score, old) {
                Ordering::Less => (score, time),
                Ordering::Equal => (old, since.min(time)),
                Ordering::Greater => (old, since),
            },
            (Some((old, since)), Policy::Last) => match time.cmp(&since) {
                Ordering::Less => (old, since),
                Ordering::Equal if board.compare(score, old).is_gt() => (old, since),
                Ordering::Equal | Ordering::Greater => (score, time),
            },
            (Some((old, since)), Policy::Sum) => match add(old, score) {
                None => return Err(Error::Overflow(member.clone())),
                Some(sum) if sum == old => (old, since),
                Some(sum) => (sum, since.max(time)),
            },
        };
        let changed = held != Some(next);
        if changed {
            self.clock = self.clock.max(time);
            board.members.insert(member.clone(), next);
            board.version += 1;
            state.dirty.insert((board.life, member.clone()));
            state.times.push(time);
        }
        Ok(changed)
    }
}

fn unknown(board: &str) -> Error {
    Error::UnknownBoard(board.to_owned())
}
