//! The submits of the drivers: from a file, or ever better scores that change a top.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use crate::Result;
use crate::http::{Http, escaped};

/// Members at the top of the board that the driver moves in turns.
const MOVED: u64 = 10;

/// One score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Submit {
    pub(crate) board: String,
    pub(crate) member: String,
    pub(crate) score: Number,
}

/// Where a connection of a driver gets its submits from.
#[derive(Debug)]
pub(crate) enum Source {
    /// Lines of a file, each once.
    List(VecDeque<Submit>),
    /// Ever better scores of ten members in turns: each changes every top 10.
    Top { board: String, next: u64, step: u64 },
}

impl Source {
    /// The submits of a file, dealt out to so many connections.
    pub(crate) fn lists(file: &Path, connections: u64) -> Result<Vec<Self>> {
        let mut lists = vec![VecDeque::new(); connections as usize];
        for (number, submit) in read_submits(file)?.into_iter().enumerate() {
            lists[number % connections as usize].push_back(submit);
        }
        Ok(lists.into_iter().map(Self::List).collect())
    }

    /// Submits that change the top of a board, for so many connections.
    pub(crate) fn tops(http: &mut Http, board: &str, connections: u64) -> Result<Vec<Self>> {
        let best = best(http, board)?;
        let score = best.as_ref().and_then(|(_, score)| score.as_f64()).unwrap_or(0.0);
        let start = score.max(0.0) as u64 + 1;
        let top =
            |number| Self::Top { board: board.to_owned(), next: start + number, step: connections };
        Ok((0..connections).map(top).collect())
    }

    /// The next one; nothing after the last.
    pub(crate) fn next(&mut self) -> Option<Submit> {
        match self {
            Self::List(submits) => submits.pop_front(),
            Self::Top { board, next, step } => {
                let score = *next;
                *next += *step;
                let member = format!("driver-{}", score % MOVED);
                Some(Submit { board: board.clone(), member, score: score.into() })
            }
        }
    }
}

fn read_submits(file: &Path) -> Result<Vec<Submit>> {
    // Line by line, as a run of minutes has a million.
    let lines = BufReader::new(File::open(file)?).lines();
    let read = |line: std::io::Result<String>| {
        let line = line?;
        serde_json::from_str(&line).map_err(|error| format!("{line}: {error}").into())
    };
    lines.map(read).collect()
}

/// The best member of a board and its score.
pub(crate) fn best(http: &mut Http, board: &str) -> Result<Option<(String, Number)>> {
    let path = format!("/v1/boards/{}/top?limit=1", escaped(board));
    let page = http.get(&path)?.ok_or_else(|| format!("there is no board {board}"))?;
    let entry = &page["entries"][0];
    Ok(match (&entry["member"], &entry["score"]) {
        (Value::String(member), Value::Number(score)) => Some((member.clone(), score.clone())),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submits_are_dealt_out_and_each_changes_the_top() {
        let mut sources: Vec<_> = (0..2)
            .map(|number| Source::Top { board: "b".to_owned(), next: 100 + number, step: 2 })
            .collect();
        let made: Vec<Submit> = (0..20).filter_map(|number| sources[number % 2].next()).collect();
        let scores: Vec<_> = made.iter().map(|submit| submit.score.as_u64().unwrap()).collect();
        assert_eq!(scores, (100..120).collect::<Vec<_>>());
        // Whoever moves was not the best.
        assert!(made.windows(2).all(|pair| pair[0].member != pair[1].member));
    }
}
