//! The rules: one table of callers and actions, and nothing else.

use crate::caller::{Caller, Scope};

/// Something that a caller wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// Read a board: its standings, its configuration, its live views.
    Read {
        /// The board's name.
        board: &'a str,
    },
    /// List all boards.
    ListBoards,
    /// Submit a score.
    Submit {
        /// The board's name.
        board: &'a str,
        /// Whose score it is.
        member: &'a str,
        /// Whether the board takes scores from players.
        player_submits: bool,
    },
    /// Submit scores of several members.
    SubmitBatch {
        /// The board's name.
        board: &'a str,
    },
    /// Create or delete a board, or remove a member of it.
    Manage {
        /// The board's name.
        board: &'a str,
    },
    /// Look at the server's metrics.
    Operate,
}

/// Why a caller may not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It has no credential, and needs one.
    #[error("this takes an API key or a token")]
    Anonymous,
    /// It may not, and why.
    #[error("{0}")]
    Forbidden(&'static str),
    /// Its token has expired since it was identified.
    #[error("the token has expired")]
    Expired,
    /// Its API key, or the key that its token was signed with, was taken away since it was
    /// identified.
    #[error("the key is not valid any more")]
    Revoked,
}

const KEY_BOARDS: &str = "the API key is not for this board";
const PLAYER_BOARDS: &str = "the token is not for this board";
const KEYS_ONLY: &str = "this takes an API key";

/// The table. That the credential is still good is checked elsewhere.
pub(crate) fn allow(caller: &Caller, action: &Action<'_>) -> Result<(), Denied> {
    match caller {
        Caller::Everybody => Ok(()),
        // There are such callers only where they may read.
        Caller::Anonymous => match action {
            Action::Read { .. } => Ok(()),
            _ => Err(Denied::Anonymous),
        },
        Caller::Player { member: own, may_read, may_submit, boards, .. } => match *action {
            Action::Read { board } => {
                require(*may_read, "the token is not for reading")?;
                require(boards.include(board), PLAYER_BOARDS)
            }
            Action::Submit { board, member, player_submits } => {
                require(*may_submit, "the token is not for submitting")?;
                require(boards.include(board), PLAYER_BOARDS)?;
                require(**own == *member, "a player submits its own scores only")?;
                require(player_submits, "the board takes no scores from players")
            }
            Action::ListBoards
            | Action::SubmitBatch { .. }
            | Action::Manage { .. }
            | Action::Operate => Err(Denied::Forbidden(KEYS_ONLY)),
        },
        Caller::Key { scopes, boards, .. } => match *action {
            Action::Read { board } => {
                require(scopes.has(Scope::Read), "the API key has no scope read")?;
                require(boards.include(board), KEY_BOARDS)
            }
            Action::ListBoards => {
                require(scopes.has(Scope::Read), "the API key has no scope read")?;
                require(boards.are_all(), "the API key is not for all boards")
            }
            Action::Submit { board, .. } | Action::SubmitBatch { board } => {
                require(scopes.has(Scope::Submit), "the API key has no scope submit")?;
                require(boards.include(board), KEY_BOARDS)
            }
            Action::Manage { board } => {
                require(scopes.has(Scope::Admin), "the API key has no scope admin")?;
                require(boards.include(board), KEY_BOARDS)
            }
            Action::Operate => {
                require(scopes.has(Scope::Operator), "the API key has no scope operator")
            }
        },
    }
}

fn require(allowed: bool, otherwise: &'static str) -> Result<(), Denied> {
    if allowed { Ok(()) } else { Err(Denied::Forbidden(otherwise)) }
}
