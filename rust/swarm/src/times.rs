//! When what the submits changed was sent and acknowledged.
//!
//! Versions are traced where one node counts them. Where several nodes do, each for itself, a
//! delivery is traced by a score that it shows as the first to do so.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::source::Submit;

/// By board, in order once [`Times::sort`] was called. Moments are nanoseconds of
/// `CLOCK_MONOTONIC`: when a submit was sent, and when its receipt had arrived.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Times {
    /// Version and moments.
    pub(crate) versions: BTreeMap<String, Vec<(u64, u64, u64)>>,
    /// Member, bits of the score, and moments.
    pub(crate) scores: BTreeMap<String, Vec<(String, u64, u64, u64)>>,
}

impl Times {
    /// Adds a submit by the version that it made.
    pub(crate) fn made(&mut self, submit: Submit, version: u64, sent: u64, acked: u64) {
        self.versions.entry(submit.board).or_default().push((version, sent, acked));
    }

    /// Adds a submit by its score.
    pub(crate) fn shown(&mut self, submit: Submit, sent: u64, acked: u64) {
        let bits = submit.score.as_f64().unwrap_or_default().to_bits();
        let row = (submit.member, bits, sent, acked);
        self.scores.entry(submit.board).or_default().push(row);
    }

    /// Adds those of others.
    pub(crate) fn merge(&mut self, other: Self) {
        for (board, rows) in other.versions {
            self.versions.entry(board).or_default().extend(rows);
        }
        for (board, rows) in other.scores {
            self.scores.entry(board).or_default().extend(rows);
        }
    }

    /// Puts all in order, so that it can be looked up.
    pub(crate) fn sort(&mut self) {
        for rows in self.versions.values_mut() {
            rows.sort_unstable();
            // Scores of one commit may share a version; it was not made before the first of them.
            rows.dedup_by_key(|row| row.0);
        }
        self.scores.values_mut().for_each(|rows| rows.sort_unstable());
    }

    /// When a version was sent and acknowledged.
    pub(crate) fn of_version(&self, board: &str, version: u64) -> Option<(u64, u64)> {
        let rows = self.versions.get(board)?;
        let place = rows.binary_search_by_key(&version, |row| row.0).ok()?;
        Some((rows[place].1, rows[place].2))
    }

    /// When the last submit before a moment that gave a member a score was sent and acknowledged.
    pub(crate) fn of_score(
        &self,
        board: &str,
        member: &str,
        score: f64,
        before: u64,
    ) -> Option<(u64, u64)> {
        let rows = self.scores.get(board)?;
        let key = (member, score.to_bits(), before);
        let after = rows.partition_point(|row| (&row.0[..], row.1, row.2) <= key);
        let row = rows[..after].last()?;
        (row.0 == member && row.1 == key.1).then_some((row.2, row.3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submit(member: &str, score: u64) -> Submit {
        Submit { board: "b".to_owned(), member: member.to_owned(), score: score.into() }
    }

    #[test]
    fn versions_that_several_submits_share_count_from_the_first() {
        let mut times = Times::default();
        for (version, sent, acked) in [(2, 50, 60), (1, 10, 20), (2, 40, 70)] {
            let mut other = Times::default();
            other.made(submit("x", 1), version, sent, acked);
            times.merge(other);
        }
        times.sort();
        assert_eq!(times.versions["b"], [(1, 10, 20), (2, 40, 70)]);
        assert_eq!(times.of_version("b", 2), Some((40, 70)));
        assert_eq!((times.of_version("b", 3), times.of_version("c", 2)), (None, None));
    }

    #[test]
    fn a_score_is_that_of_the_last_submit_before() {
        let mut times = Times::default();
        for (member, score, sent) in [("x", 5, 30), ("x", 5, 10), ("y", 5, 20), ("x", 6, 15)] {
            times.shown(submit(member, score), sent, sent + 1);
        }
        times.sort();
        let of = |member, score, before| times.of_score("b", member, score, before);
        assert_eq!(of("x", 5.0, 29), Some((10, 11)));
        assert_eq!(of("x", 5.0, 30), Some((30, 31)));
        assert_eq!((of("x", 5.0, 9), of("x", 7.0, 99), of("z", 5.0, 99)), (None, None, None));
        assert_eq!(of("y", 5.0, 99), Some((20, 21)));
        assert_eq!(times.of_score("c", "x", 5.0, 99), None);
    }
}
