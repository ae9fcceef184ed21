//! What the server answers, as JSON: the one definition for HTTP and WebSocket.
//!
//! Every function reads one version, so the parts of an answer always agree with each other.
//! Ranks are counted from 1. Scores are JSON numbers: integers on `int64` boards, otherwise the
//! shortest decimal that reads back as the same double.

use rankwire_ranklist::{Entry, Version};
use serde::Serialize;

use crate::{Board, BoardConfig, Error, Score};

#[derive(Serialize)]
struct Page<'a> {
    board: &'a str,
    version: u64,
    total: u64,
    entries: Vec<Row<'a>>,
    /// Members that were asked for by name and are not on the board.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<Vec<&'a str>>,
}

#[derive(Serialize)]
struct Row<'a> {
    rank: u64,
    member: &'a str,
    score: Score,
}

#[derive(Serialize)]
struct Standing<'a> {
    board: &'a str,
    version: u64,
    member: &'a str,
    score: Score,
    rank: u64,
    total: u64,
}

#[derive(Serialize)]
struct Counted<'a> {
    board: &'a str,
    version: u64,
    count: u64,
    total: u64,
}

/// What callers are told of a board.
#[derive(Serialize)]
pub(crate) struct Description<'a> {
    board: &'a str,
    #[serde(flatten)]
    config: BoardConfig,
    version: u64,
    total: u64,
}

#[derive(Serialize)]
struct Boards<'a> {
    boards: Vec<Description<'a>>,
    /// The board after which the next page starts; `null` on the last one.
    next: Option<&'a str>,
}

fn row<'a>(board: &Board, entry: Entry<'a>) -> Row<'a> {
    Row { rank: entry.rank, member: entry.member, score: board.score(entry.key) }
}

fn entries<'a>(
    board: &'a Board,
    list: &'a Version,
    entries: impl Iterator<Item = Entry<'a>>,
) -> Page<'a> {
    Page {
        board: board.name(),
        version: list.version(),
        total: list.len(),
        entries: entries.map(|entry| row(board, entry)).collect(),
        missing: None,
    }
}

/// Up to `limit` members after the best `offset` ones.
pub fn page(board: &Board, list: &Version, offset: u64, limit: usize) -> Vec<u8> {
    to_json(&entries(board, list, list.page(offset, limit)))
}

/// A member with up to `radius` neighbours on each side.
///
/// # Errors
/// [`Error::UnknownMember`].
pub fn around(
    board: &Board,
    list: &Version,
    member: &str,
    radius: usize,
) -> Result<Vec<u8>, Error> {
    let page = list.around(member, radius).ok_or_else(|| unknown(member))?;
    Ok(to_json(&entries(board, list, page)))
}

/// One member's standing.
///
/// # Errors
/// [`Error::UnknownMember`].
pub fn standing(board: &Board, list: &Version, member: &str) -> Result<Vec<u8>, Error> {
    let entry = list.entry(member).ok_or_else(|| unknown(member))?;
    Ok(to_json(&Standing {
        board: board.name(),
        version: list.version(),
        member: entry.member,
        score: board.score(entry.key),
        rank: entry.rank,
        total: list.len(),
    }))
}

/// The standings of the given members, best first; names that are not on the board are listed
/// apart. A name given twice counts once.
pub fn standings(board: &Board, list: &Version, members: &[String]) -> Vec<u8> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for member in members {
        match list.entry(member) {
            Some(entry) => found.push(entry),
            None => missing.push(member.as_str()),
        }
    }
    found.sort_unstable_by_key(|entry| entry.rank);
    found.dedup_by_key(|entry| entry.rank);
    missing.sort_unstable();
    missing.dedup();
    let page = entries(board, list, found.into_iter());
    to_json(&Page { missing: Some(missing), ..page })
}

/// How many members have a score from `min` to `max`, both included, both optional.
///
/// # Errors
/// [`Error::Score`] when a bound is not a score of this board.
pub fn count(
    board: &Board,
    list: &Version,
    min: Option<Score>,
    max: Option<Score>,
) -> Result<Vec<u8>, Error> {
    let count = list.count(board.codes(min, max)?);
    Ok(to_json(&Counted { board: board.name(), version: list.version(), count, total: list.len() }))
}

/// A board's configuration and size.
pub fn description(board: &Board) -> Vec<u8> {
    to_json(&describe(board))
}

/// A page of descriptions. `next` names the board after which the following page starts.
pub fn descriptions(boards: &[&Board], more: bool) -> Vec<u8> {
    let boards: Vec<_> = boards.iter().map(|board| describe(board)).collect();
    let next = boards.last().filter(|_| more).map(|last| last.board);
    to_json(&Boards { boards, next })
}

pub(crate) fn describe(board: &Board) -> Description<'_> {
    let list = board.load();
    Description {
        board: board.name(),
        config: board.config(),
        version: list.version(),
        total: list.len(),
    }
}

fn unknown(member: &str) -> Error {
    Error::UnknownMember(member.to_owned())
}

/// The JSON of any answer of this crate.
pub(crate) fn to_json(answer: &impl Serialize) -> Vec<u8> {
    let mut json = Vec::with_capacity(128);
    write_json(answer, &mut json);
    json
}

/// Appends what [`to_json`] gives.
pub(crate) fn write_json(answer: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, answer).expect("answers have string keys and finite numbers");
}
