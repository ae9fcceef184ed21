//! The one error type of the engine.
//!
//! Every variant is something a caller did or must wait out; the engine has no "internal" error.
//! The enum is deliberately not `non_exhaustive`: the binding matches every variant, so the
//! compiler finds the place that forgot a new one.

use crate::limits;

/// Why the engine refused a call. Nothing was changed when one of these is returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No board of this name.
    #[error("there is no board named {0:?}")]
    UnknownBoard(String),
    /// The board exists with another configuration.
    #[error("board {0:?} exists with another configuration")]
    BoardConflict(String),
    /// The board has no such member.
    #[error("the board has no member {0:?}")]
    UnknownMember(String),
    /// A board name outside the allowed alphabet or length.
    #[error(
        "a board name is 1 to {max} characters of A-Z, a-z, 0-9, '.', '_' and '-', starting with a letter or digit",
        max = limits::BOARD_NAME_BYTES
    )]
    BoardName,
    /// A member id that is empty, too long or contains control characters.
    #[error(
        "a member id is 1 to {max} bytes of UTF-8 without control characters",
        max = limits::MEMBER_BYTES
    )]
    MemberName,
    /// The score does not fit the board's score type.
    #[error("{0}")]
    Score(&'static str),
    /// Adding the amount would leave the range of the board's score type.
    #[error("the sum of member {0:?} would leave the range of the board's score type")]
    Overflow(String),
    /// The given time is outside what a stamp can hold or lies in the future.
    #[error("{0}")]
    At(&'static str),
    /// One op of a batch is bad; nothing of the batch was applied.
    #[error("item {index}: {error}")]
    Item {
        /// Zero-based position in the batch.
        index: usize,
        /// What is wrong with it.
        error: Box<Error>,
    },
    /// A key that no write may carry.
    #[error("a key is 1 to {max} printable ASCII characters", max = limits::KEY_BYTES)]
    Key,
    /// The key came with another request before.
    #[error("the key was used for another request")]
    KeyReused,
    /// Nodes add amounts in different orders, and the last bits of a sum of floats depend on it.
    #[error("a board that sums floats differs between nodes: use int64 and a smaller unit")]
    FloatSum,
    /// The write belongs to the primary region, which is not this one; its name, if it is known.
    #[error("{}", not_primary(.0.as_deref()))]
    NotPrimary(Option<String>),
    /// Too many submits wait for the storage.
    #[error("too many submits are waiting for the storage")]
    Busy,
    /// The server keeps as many boards as its limit allows.
    #[error("the server holds its limit of {0} boards")]
    TooManyBoards(usize),
    /// A board holds as many members as its limit allows.
    #[error("the board holds its limit of {0} members")]
    TooManyMembers(u64),
    /// The storage could not commit the batch that held this submit; it was not applied.
    #[error("the storage could not commit; nothing was applied")]
    NotCommitted,
    /// The operating system gave no random bytes for a new board.
    #[error("the system has no randomness to give")]
    Entropy,
    /// The engine is shutting down.
    #[error("the server is shutting down")]
    Closed,
    /// Journal bytes that are damaged or of an unknown format.
    #[error("journal batch {number} of origin {origin:016x}: {reason}")]
    Journal {
        /// Origin of the batch.
        origin: u64,
        /// Number of the batch.
        number: u64,
        /// What is wrong with the bytes.
        reason: &'static str,
    },
    /// Bytes that are not what a comparison of boards exchanges.
    #[error("the comparison of boards: {0}")]
    Outline(&'static str),
    /// A checkpoint row contradicts itself.
    #[error("checkpoint of board {board:?}: {reason}")]
    Checkpoint {
        /// Board the row belongs to.
        board: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

fn not_primary(primary: Option<&str>) -> String {
    match primary {
        Some(name) => format!("only the primary region takes this write, and that is {name:?}"),
        None => "only the primary region takes this write, and none is known now".to_owned(),
    }
}
