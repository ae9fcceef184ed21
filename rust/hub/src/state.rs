//! The state of a view: what it shows, encoded once for all of its watchers.

use std::ops::Range;

use rankwire_engine::{Board, Score, Version};
use serde::Serialize;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::channel::Subject;
use crate::protocol::to_json;

/// What a view shows, encoded as the push that every watcher gets.
#[derive(Debug)]
pub(crate) struct State {
    /// Counts the states of a view, from 1.
    pub(crate) number: u64,
    /// The whole push: one JSON object.
    pub(crate) push: Utf8Bytes,
    /// Where in `push` the part lies that makes the state another one: all but the version.
    content: Range<usize>,
}

impl State {
    pub(crate) fn new(
        number: u64,
        channel: &str,
        board: &Board,
        list: &Version,
        content: &str,
    ) -> Self {
        let (channel, board, version) = (to_json(channel), board.name(), list.version());
        // A board name needs no escaping.
        let mut push = format!(
            r#"{{"push":{{"channel":{channel},"pub":{{"data":{{"board":"{board}","version":{version},"#
        );
        let start = push.len();
        push.push_str(content);
        let content = start..push.len();
        push.push_str("}}}");
        Self { number, push: push.into(), content }
    }

    /// All of the state but the version.
    pub(crate) fn content(&self) -> &str {
        &self.push.as_str()[self.content.clone()]
    }
}

#[derive(Serialize)]
struct Top<'a> {
    total: u64,
    entries: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    member: &'a str,
    score: Score,
}

#[derive(Serialize)]
struct Standing<'a> {
    member: &'a str,
    score: Option<Score>,
    rank: Option<u64>,
    total: u64,
}

/// The members of the state's object after `board` and `version`, with its closing brace.
pub(crate) fn content(board: &Board, list: &Version, subject: &Subject) -> String {
    let total = list.len();
    let mut object = match subject {
        Subject::Top(rows) => {
            let entries = list
                .page(0, *rows)
                .map(|entry| Row { member: entry.member, score: board.score(entry.key) })
                .collect();
            to_json(&Top { total, entries })
        }
        Subject::Member(member) => {
            let entry = list.entry(member);
            to_json(&Standing {
                member,
                score: entry.map(|entry| board.score(entry.key)),
                rank: entry.map(|entry| entry.rank),
                total,
            })
        }
    };
    object.remove(0);
    object
}
