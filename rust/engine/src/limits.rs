//! Every fixed limit of the engine, in one place, with the reason for its size.

/// Longest board name in bytes: fits a channel name and a metrics label.
pub const BOARD_NAME_BYTES: usize = 64;

/// Longest member id in bytes: a UUID, an e-mail address or a platform id fits several times.
pub const MEMBER_BYTES: usize = 128;

/// Longest idempotency key in bytes: a UUID fits, and some words around it.
pub const KEY_BYTES: usize = 128;

/// Most ops that wait to be sealed; more are refused with [`Error::Busy`](crate::Error::Busy).
/// Six full batches of the API; at 10,000 ops a commit that is well under a second of waiting.
pub const PENDING_OPS: usize = 65_536;

/// Most ops in one sealed batch, unless a single request is larger. Bounds the latency that one
/// commit adds to the submits behind it.
pub const SEALED_OPS: usize = 10_000;

/// Most members of one repair: as many as one sealed batch takes.
pub const REPAIR_ITEMS: usize = 10_000;

/// Most boards of one engine.
pub const BOARDS: usize = 1_000_000;

/// Most members of one board: as many as a ranked list holds, 2^31 - 2.
pub const MEMBERS: u64 = rankwire_ranklist::MAX_MEMBERS;

/// Longest member id in bytes that a checkpoint may hold: as many as a ranked list takes, and as a
/// journal record can have.
pub const STORED_MEMBER_BYTES: usize = rankwire_ranklist::MAX_NAME;

/// How far a submit's `at` may lie ahead of this server's clock, in milliseconds. Covers clock
/// skew between a game server and this one; a farther future would freeze a `last` board.
pub const AT_AHEAD_MS: i64 = 60_000;

/// Limits that an operator may lower.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most ops that wait for the committer.
    pub pending_ops: usize,
    /// Most boards.
    pub boards: usize,
    /// Most members of one board. More than [`MEMBERS`] counts as that.
    pub members: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pending_ops: PENDING_OPS, boards: BOARDS, members: MEMBERS }
    }
}
