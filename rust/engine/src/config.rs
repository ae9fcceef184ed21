//! What a board is: its configuration and the rules for names.

use rankwire_ranklist::Ties;
use serde::{Deserialize, Serialize};

use crate::{Error, Order, ScoreType, limits};

/// How a new submit of a member combines with what the board holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The better score wins; equal scores keep the earlier time.
    #[default]
    Best,
    /// The later submit wins; of two at the same time, the better score.
    Last,
    /// Scores are amounts and add up; the time is that of the last change.
    Sum,
}

/// Who comes first among equal scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TieBreak {
    /// Who reached the score first.
    #[default]
    First,
    /// Who reached the score last.
    Last,
    /// The smaller member id, bytewise.
    Member,
}

impl From<TieBreak> for Ties {
    fn from(ties: TieBreak) -> Self {
        match ties {
            TieBreak::First => Ties::First,
            TieBreak::Last => Ties::Last,
            TieBreak::Member => Ties::Member,
        }
    }
}

/// Configuration of a board; fixed when the board is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BoardConfig {
    /// Type of the score column.
    pub score: ScoreType,
    /// Direction of the score column.
    pub order: Order,
    /// How submits combine.
    pub policy: Policy,
    /// Who comes first among equal scores.
    pub ties: TieBreak,
    /// Whether players may submit for themselves. The engine only keeps it; the doors obey it.
    pub player_submits: bool,
}

impl BoardConfig {
    /// Whether what a member has depends on the order in which amounts are added.
    pub(crate) fn sums_floats(self) -> bool {
        self.score == ScoreType::Float64 && self.policy == Policy::Sum
    }

    /// The words for score type, order, policy and ties that settings, HTTP and storage use.
    pub fn words(self) -> [&'static str; 4] {
        let score = match self.score {
            ScoreType::Int64 => "int64",
            ScoreType::Float64 => "float64",
        };
        let order = match self.order {
            Order::Desc => "desc",
            Order::Asc => "asc",
        };
        let policy = match self.policy {
            Policy::Best => "best",
            Policy::Last => "last",
            Policy::Sum => "sum",
        };
        let ties = match self.ties {
            TieBreak::First => "first",
            TieBreak::Last => "last",
            TieBreak::Member => "member",
        };
        [score, order, policy, ties]
    }
}

/// Checks a board name. The alphabet keeps names free of escaping in URLs and channel names.
///
/// # Errors
/// [`Error::BoardName`].
pub fn check_board_name(name: &str) -> Result<(), Error> {
    let bytes = name.as_bytes();
    let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let fits = (1..=limits::BOARD_NAME_BYTES).contains(&bytes.len());
    if fits && bytes[0].is_ascii_alphanumeric() && bytes.iter().all(inner) {
        Ok(())
    } else {
        Err(Error::BoardName)
    }
}

/// Checks a member id: any text a game may use as a player id, short and printable.
///
/// # Errors
/// [`Error::MemberName`].
pub fn check_member(member: &str) -> Result<(), Error> {
    let fits = (1..=limits::MEMBER_BYTES).contains(&member.len());
    if fits && !member.chars().any(char::is_control) { Ok(()) } else { Err(Error::MemberName) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn board_names() {
        for good in ["a", "season-1.eu_west", "0", &"x".repeat(64)] {
            assert!(check_board_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "a:b", "ä", "a/b", &"x".repeat(65)] {
            assert!(check_board_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn member_ids() {
        for good in ["José Piendibene", "steam:42", "a/b?c", "日本", &"x".repeat(128)] {
            assert!(check_member(good).is_ok(), "{good}");
        }
        for bad in ["", "a\nb", "\u{7f}", "\u{0}", &"é".repeat(65)] {
            assert!(check_member(bad).is_err(), "{bad}");
        }
    }
}
