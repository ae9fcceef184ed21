//! What a view shows: one JSON object per state, made from one version of the board.
//!
//! The object is the `data` of a publication, in every encoding. `version` comes first and `total`
//! second. A state has a *fast* and a *slow* part: a change of the fast part (who is in it, with
//! which score) is news at once, a change of the slow part alone (how many members the board has,
//! the rank of somebody whom others have passed) is published at a slower pace, because it changes
//! with nearly every submit to a large board.

use std::hash::{DefaultHasher, Hash, Hasher};

use rankwire_engine::{Board, Entry, Score, Version};
use serde::Serialize;

use crate::channel::Subject;

/// The state of a view at one version of its board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    /// Version of the board.
    pub(crate) version: u64,
    /// The JSON object.
    pub(crate) data: Vec<u8>,
    /// What tells two states apart: hashes of their parts.
    pub(crate) parts: Parts,
}

/// Hashes of the two parts of a state. A collision would hide one change until the next: with 64
/// bits, nobody will see one by chance, and who forges one hides a row of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts {
    fast: u64,
    slow: u64,
}

/// How two states of a view differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    Slow,
    Fast,
}

impl Parts {
    /// What has changed since `self`.
    pub(crate) fn to(self, later: Self) -> Change {
        if self.fast != later.fast {
            Change::Fast
        } else if self.slow != later.slow {
            Change::Slow
        } else {
            Change::None
        }
    }
}

#[derive(Serialize)]
struct Rows<'a> {
    version: u64,
    total: u64,
    #[serde(skip_serializing_if = "Start::is_untold")]
    from: Start,
    entries: Vec<Row<'a>>,
}

/// The rank of the first row, for those who are told.
#[derive(Serialize)]
#[serde(untagged)]
enum Start {
    Untold,
    At(Option<u64>),
}

impl Start {
    fn is_untold(&self) -> bool {
        matches!(self, Self::Untold)
    }
}

#[derive(Serialize, Hash)]
struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    rank: Option<u64>,
    member: &'a str,
    score: HashedScore,
}

#[derive(Serialize)]
struct Standing {
    version: u64,
    total: u64,
    rank: Option<u64>,
    score: Option<HashedScore>,
}

/// A score that can be hashed: by its bits.
#[derive(Serialize, Clone, Copy)]
#[serde(transparent)]
struct HashedScore(Score);

impl Hash for HashedScore {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.0 {
            Score::Int(score) => score.hash(state),
            Score::Float(score) => score.to_bits().hash(state),
        }
    }
}

impl Content {
    /// What `subject` shows of this version. The caller's time with the version is what this takes:
    /// at most [`limits::ROWS`](crate::limits::ROWS) rows.
    pub(crate) fn of(subject: &Subject, board: &Board, list: &Version) -> Self {
        let (version, total) = (list.version(), list.len());
        let row = |entry: Entry<'_>| score_of(board, entry);
        match subject {
            Subject::Rows { offset, limit, from } => {
                let entries: Vec<_> =
                    list.page(*offset, *limit).map(|e| plain(e, row(e))).collect();
                let from = if *from { Start::At(Some(offset + 1)) } else { Start::Untold };
                Self::rows(&Rows { version, total, from, entries }, &())
            }
            Subject::Around(member, radius) => {
                let entries: Vec<_> = list.around(member, *radius).into_iter().flatten().collect();
                let first = entries.first().map(|entry| entry.rank);
                let entries = entries.into_iter().map(|e| plain(e, row(e))).collect();
                Self::rows(&Rows { version, total, from: Start::At(first), entries }, &first)
            }
            Subject::Friends(members) => {
                let mut found: Vec<_> =
                    members.iter().filter_map(|member| list.entry(member)).collect();
                found.sort_unstable_by_key(|entry| entry.rank);
                found.dedup_by_key(|entry| entry.rank);
                let ranks: Vec<_> = found.iter().map(|entry| entry.rank).collect();
                let entries: Vec<_> = found.into_iter().map(|e| plain(e, row(e))).collect();
                Self::friends(version, total, entries, &ranks)
            }
            Subject::Member(member) => {
                let entry = list.entry(member);
                let score = entry.map(|entry| score_of(board, entry));
                let rank = entry.map(|entry| entry.rank);
                let parts = Parts { fast: hash(&score), slow: hash(&(rank, total)) };
                let data = json(&Standing { version, total, rank, score });
                Self { version, data, parts }
            }
            // The board is there, and nothing has happened to it.
            Subject::Events => {
                Self { version, data: Vec::new(), parts: Parts { fast: 0, slow: 0 } }
            }
        }
    }

    /// A state that was made elsewhere.
    pub(crate) fn relayed(version: u64, data: Vec<u8>) -> Self {
        Self { version, data, parts: Parts { fast: 0, slow: 0 } }
    }

    fn rows(rows: &Rows<'_>, slow: &impl Hash) -> Self {
        let parts = Parts { fast: hash(&rows.entries), slow: hash(&(rows.total, slow)) };
        Self { version: rows.version, data: json(rows), parts }
    }

    /// Rows with their ranks; the ranks are the slow part.
    fn friends(version: u64, total: u64, mut entries: Vec<Row<'_>>, ranks: &[u64]) -> Self {
        let parts = Parts { fast: hash(&entries), slow: hash(&(total, ranks)) };
        for (row, rank) in entries.iter_mut().zip(ranks) {
            row.rank = Some(*rank);
        }
        Self { version, data: json(&Rows { version, total, from: Start::Untold, entries }), parts }
    }
}

fn score_of(board: &Board, entry: Entry<'_>) -> HashedScore {
    HashedScore(board.score(entry.key))
}

fn plain(entry: Entry<'_>, score: HashedScore) -> Row<'_> {
    Row { rank: None, member: entry.member, score }
}

fn hash(part: &impl Hash) -> u64 {
    // Keyed with zeros: the same in every process, and quick enough for a hundred rows.
    let mut hasher = DefaultHasher::new();
    part.hash(&mut hasher);
    hasher.finish()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("string keys and finite numbers")
}
