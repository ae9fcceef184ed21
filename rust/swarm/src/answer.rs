//! The reads of a game, and whether what comes back can be the answer. No I/O.

use std::borrow::Cow;

use serde::Deserialize;

use crate::http::escaped;

/// Entries of a page of the best.
const LIMIT: u64 = 10;

/// Neighbours on each side of a member.
const RADIUS: usize = 5;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The best of a board.
    Top,
    /// A member and its neighbours.
    Around,
    /// A member's place.
    Member,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// What is asked for.
    pub(crate) kind: Kind,
    board: String,
    /// Whom it is about; empty for the best.
    member: String,
}

/// How good an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It can be right.
    Right,
    /// The member never played, and that is what it says.
    NotFound,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    board: Cow<'a, str>,
    total: u64,
    #[serde(borrow)]
    entries: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    rank: u64,
    #[serde(borrow)]
    member: Cow<'a, str>,
    score: f64,
}

#[derive(Deserialize)]
struct Standing<'a> {
    #[serde(borrow)]
    board: Cow<'a, str>,
    #[serde(borrow)]
    member: Cow<'a, str>,
    rank: u64,
    total: u64,
    #[serde(rename = "score")]
    _score: f64,
}

impl Kind {
    /// What it is called among the figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Top => "top",
            Self::Around => "around",
            Self::Member => "member",
        }
    }
}

impl Question {
    /// Draws one: of ten, four ask for the best, half of them of a random cohort; three for the
    /// neighbours and three for the place of a random member of the board. `draw` gives a number
    /// below its argument.
    pub(crate) fn draw(
        board: &str,
        members: u64,
        cohorts: u64,
        mut draw: impl FnMut(u64) -> u64,
    ) -> Self {
        let (kind, is_cohort) = match draw(10) {
            0 | 1 => (Kind::Top, false),
            2 | 3 => (Kind::Top, true),
            4..=6 => (Kind::Around, false),
            _ => (Kind::Member, false),
        };
        let board = if is_cohort { format!("cohort-{}", draw(cohorts)) } else { board.to_owned() };
        let member =
            if kind == Kind::Top { String::new() } else { format!("player-{}", draw(members)) };
        Self { kind, board, member }
    }

    /// Path and query.
    pub(crate) fn path(&self) -> String {
        let Self { kind, board, member } = self;
        let board = escaped(board);
        match kind {
            Kind::Top => format!("/v1/boards/{board}/top?limit={LIMIT}"),
            Kind::Around => format!("/v1/boards/{board}/members/{member}/around?radius={RADIUS}"),
            Kind::Member => format!("/v1/boards/{board}/members/{member}"),
        }
    }

    /// Judges an answer; says what is wrong with it.
    pub(crate) fn judge(&self, status: u16, body: &[u8]) -> Result<Verdict, String> {
        match (status, self.kind) {
            (200, Kind::Member) => self.judge_standing(body),
            (200, _) => self.judge_page(body),
            (404, Kind::Around | Kind::Member) => Ok(Verdict::NotFound),
            _ => Err(self.fault(&format!("status {status}"))),
        }
    }

    fn judge_standing(&self, body: &[u8]) -> Result<Verdict, String> {
        let standing: Standing<'_> =
            serde_json::from_slice(body).map_err(|error| self.fault(&error.to_string()))?;
        if standing.board != self.board || standing.member != self.member {
            return Err(self.fault("somebody else"));
        }
        if !(1..=standing.total).contains(&standing.rank) {
            return Err(self.fault("the rank is out of bounds"));
        }
        Ok(Verdict::Right)
    }

    fn judge_page(&self, body: &[u8]) -> Result<Verdict, String> {
        let Page { board, total, entries } =
            serde_json::from_slice(body).map_err(|error| self.fault(&error.to_string()))?;
        if board != self.board {
            return Err(self.fault("another board"));
        }
        let is_next = |pair: &[Entry<'_>]| pair[1].rank == pair[0].rank + 1;
        if !entries.windows(2).all(is_next) {
            return Err(self.fault("ranks do not rise"));
        }
        if !entries.windows(2).all(|pair| pair[0].score >= pair[1].score) {
            return Err(self.fault("not in the order of scores"));
        }
        if entries.first().is_some_and(|entry| entry.rank < 1)
            || entries.last().is_some_and(|entry| entry.rank > total)
        {
            return Err(self.fault("the rank is out of bounds"));
        }
        let is_whole = match self.kind {
            Kind::Top => {
                entries.len() as u64 == total.min(LIMIT)
                    && entries.first().is_none_or(|entry| entry.rank == 1)
            }
            _ => self.is_around(total, &entries),
        };
        if is_whole { Ok(Verdict::Right) } else { Err(self.fault("not what was asked for")) }
    }

    /// Whether the member is there with as many neighbours as there can be.
    fn is_around(&self, total: u64, entries: &[Entry<'_>]) -> bool {
        let Some(place) = entries.iter().position(|entry| entry.member == self.member) else {
            return false;
        };
        let rank = entries[place].rank;
        let above = (rank - 1).min(RADIUS as u64);
        let below = (total - rank).min(RADIUS as u64);
        place as u64 == above && (entries.len() - 1 - place) as u64 == below
    }

    fn fault(&self, what: &str) -> String {
        format!("read {}: {what}", self.kind.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn question(kind: Kind) -> Question {
        let member = if kind == Kind::Top { "" } else { "player-7" };
        Question { kind, board: "b".to_owned(), member: member.to_owned() }
    }

    fn entry(rank: u64, score: u64) -> String {
        let member = if rank == 7 { "player-7".to_owned() } else { format!("x{rank}") };
        format!(r#"{{"rank":{rank},"member":"{member}","score":{score}}}"#)
    }

    fn page(total: u64, ranks: std::ops::Range<u64>) -> String {
        let entries: Vec<_> = ranks.map(|rank| entry(rank, 100 - rank)).collect();
        format!(r#"{{"board":"b","version":1,"total":{total},"entries":[{}]}}"#, entries.join(","))
    }

    fn judge(kind: Kind, body: &str) -> Result<Verdict, String> {
        question(kind).judge(200, body.as_bytes())
    }

    #[test]
    fn reads_have_their_shares() {
        let mut state = 1_u64;
        let mut draw = |limit: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % limit
        };
        let mut counts: BTreeMap<(&str, bool), u32> = BTreeMap::new();
        for _ in 0..10_000 {
            let drawn = Question::draw("global", 1000, 10, &mut draw);
            *counts.entry((drawn.kind.name(), drawn.board == "global")).or_default() += 1;
        }
        let wanted = [
            ("top", true, 2000),
            ("top", false, 2000),
            ("around", true, 3000),
            ("member", true, 3000),
        ];
        assert_eq!(counts.len(), wanted.len());
        for (kind, is_global, count) in wanted {
            assert!(counts[&(kind, is_global)].abs_diff(count) < 200, "{counts:?}");
        }
    }

    #[test]
    fn questions_are_paths() {
        let path = |kind| question(kind).path();
        assert_eq!(path(Kind::Top), "/v1/boards/b/top?limit=10");
        assert_eq!(path(Kind::Around), "/v1/boards/b/members/player-7/around?radius=5");
        assert_eq!(path(Kind::Member), "/v1/boards/b/members/player-7");
    }

    #[test]
    fn right_answers_are_right() {
        for (kind, body) in [
            (Kind::Top, page(50, 1..11)),
            (Kind::Top, page(3, 1..4)),
            (Kind::Top, page(0, 1..1)),
            (Kind::Around, page(50, 2..13)),
            (Kind::Around, page(8, 2..9)),
        ] {
            assert_eq!(judge(kind, &body), Ok(Verdict::Right), "{body}");
        }
        let standing =
            r#"{"board":"b","version":1,"member":"player-7","score":5,"rank":3,"total":9}"#;
        assert_eq!(judge(Kind::Member, standing), Ok(Verdict::Right));
        for kind in [Kind::Around, Kind::Member] {
            assert_eq!(question(kind).judge(404, b""), Ok(Verdict::NotFound));
        }
    }

    #[test]
    fn wrong_answers_are_told() {
        let tied = page(50, 1..11).replace(r#""rank":2,"#, r#""rank":1,"#);
        let unsorted = page(50, 1..11).replace(r#""score":98"#, r#""score":9"#);
        let standing = |member: &str, rank: u64| {
            format!(r#"{{"board":"b","member":"{member}","score":5,"rank":{rank},"total":9}}"#)
        };
        for (kind, body, fault) in [
            (Kind::Top, tied, "read top: ranks do not rise"),
            (Kind::Top, unsorted, "read top: not in the order of scores"),
            (Kind::Top, page(50, 1..10), "read top: not what was asked for"),
            (Kind::Top, page(50, 2..12), "read top: not what was asked for"),
            (Kind::Top, page(5, 1..11), "read top: the rank is out of bounds"),
            (Kind::Top, page(50, 1..11).replace("\"b\"", "\"c\""), "read top: another board"),
            (Kind::Around, page(50, 8..19), "read around: not what was asked for"),
            (Kind::Around, page(50, 3..13), "read around: not what was asked for"),
            (Kind::Around, page(50, 2..12), "read around: not what was asked for"),
            (Kind::Member, standing("player-8", 3), "read member: somebody else"),
            (Kind::Member, standing("player-7", 10), "read member: the rank is out of bounds"),
            (Kind::Member, standing("player-7", 0), "read member: the rank is out of bounds"),
        ] {
            assert_eq!(judge(kind, &body), Err(fault.to_owned()), "{body}");
        }
        assert!(judge(Kind::Top, "{}").is_err() && judge(Kind::Member, "[]").is_err());
        for (kind, status) in [(Kind::Top, 404), (Kind::Member, 503), (Kind::Around, 429)] {
            let fault = question(kind).judge(status, b"").unwrap_err();
            assert_eq!(fault, format!("read {}: status {status}", kind.name()));
        }
    }
}
