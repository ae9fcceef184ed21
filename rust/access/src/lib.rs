//! Who may do what: API keys, players' tokens, the rules, the rates.
//!
//! Every door of the server asks the same [`Access`] in the same three steps:
//!
//! 1. [`Access::identify`] turns a credential, the text of an API key or of a JSON Web Token, into
//!    a [`Caller`]. This is the only step that may cost some cryptography, once for each token.
//! 2. [`Access::check`] says whether the caller may do an [`Action`], by the one table in `rules`.
//! 3. [`Access::spend`] counts the submits of a caller that may submit.
//!
//! The crate does no I/O, starts no thread and is told the time. It knows neither HTTP nor
//! WebSocket. Each call takes well under a microsecond, but for the first sight of a token;
//! locks are held for one look-up in a hash table, or for one sweep through a full part of it.
//!
//! No secret gets into a log: API keys are kept as hashes, tokens not at all, and neither a `Debug`
//! output nor an error holds a part of one. [`new_key`] and its like, which make secrets, hand them
//! out in named fields only.
//!
//! The signatures are those of RFC 7515 (JWS) with the algorithms HS256 and ES256 of RFC 7518 and
//! Ed25519 of RFC 8037. The key decides which of them verifies a token, never the token.
#![forbid(unsafe_code)]

mod access;
mod cache;
mod caller;
mod issue;
mod jwk;
mod keys;
pub mod limits;
mod rate;
mod rules;
mod token;

pub use access::{Access, Mode, Policy};
pub use caller::{Boards, Caller, Scope, Scopes, is_board_pattern};
pub use issue::{IssueError, NewKey, NewTokenKey, new_key, new_token_key, sign_token};
pub use jwk::{JwksError, TokenKeyId};
pub use keys::KeyRecord;
pub use rate::RetryAfter;
pub use rules::{Action, Denied};
pub use token::Unauthorized;
