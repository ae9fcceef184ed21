//! Every fixed limit of the crate, in one place, with the reason for its size.

/// Longest credential in bytes. A token of this server has a few hundred; whatever is longer is
/// refused before anything of it is looked at.
pub const CREDENTIAL_BYTES: usize = 4_096;

/// How many seconds the clocks of this server and of who issues tokens may differ.
pub const LEEWAY_S: u64 = 5;

/// Most keys for tokens at a time. A token that names no key is tried with each one of its
/// algorithm, so this bounds what a forged token costs. Two are enough to change keys.
pub const TOKEN_KEYS: usize = 8;

/// Longest set of keys for tokens in bytes.
pub const JWKS_BYTES: usize = 65_536;

/// Shortest secret of an HS256 key in bytes: as long as the hash, as RFC 7518 section 3.2 demands.
pub const HS256_SECRET_BYTES: usize = 32;

/// Most names and prefixes in the `boards` of one token. They are compared one after the other.
pub const TOKEN_BOARDS: usize = 64;

/// Most verified tokens that are remembered. Each takes about 300 bytes.
pub const CACHED_TOKENS: usize = 16_384;

/// Most members, and as many keys, whose submits are counted at a time. Each takes about 200 bytes
/// at most.
pub const BUCKETS: usize = 1 << 17;

/// How many seconds' worth of submits a caller that was idle may make at once.
pub const BURST_S: u64 = 3;

/// Most members, and as many keys, of whom it is known at a time what they spent since others were
/// told. Each takes about 100 bytes. Others are told five times a second, so these are 160,000
/// submits a second of as many different members.
pub const UNTOLD: usize = 1 << 15;
