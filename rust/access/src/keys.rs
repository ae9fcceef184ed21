//! API keys: `rwk_<id>_<secret>`.
//!
//! The id is 12 characters of `a`-`z` and `2`-`7` and no secret; the secret is 32 random bytes as 43
//! characters of URL-safe base64. Kept is the SHA-256 of those 43 characters: of so much
//! randomness a plain hash gives nothing away. A key costs no more than that hash, so no key is
//! cached, and [`ApiKeys`] is replaced at once with all that is known of them.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::caller::{Boards, Caller, Scopes};
use crate::token::Unauthorized;

/// What every API key begins with.
pub(crate) const PREFIX: &str = "rwk_";

/// Length of a key's id in characters.
pub(crate) const ID_CHARS: usize = 12;

/// Length of a key's secret in characters.
pub(crate) const SECRET_CHARS: usize = 43;

/// What is known of an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The public part of the key.
    pub id: String,
    /// The SHA-256 of the secret part, as it stands in the key's text.
    pub hash: [u8; 32],
    /// What the key allows.
    pub scopes: Scopes,
    /// The boards that the key is for, see [`is_board_pattern`](crate::is_board_pattern). An empty
    /// list is for all.
    pub boards: Vec<String>,
}

/// The hash that a key's secret is compared with.
pub(crate) fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// All API keys.
#[derive(Default)]
pub(crate) struct ApiKeys {
    keys: HashMap<Box<str>, ApiKey>,
}

struct ApiKey {
    hash: [u8; 32],
    caller: Arc<Caller>,
}

impl ApiKeys {
    /// Of several records with the same id the last one counts.
    pub(crate) fn new(records: Vec<KeyRecord>) -> Self {
        let keys = records.into_iter().map(|KeyRecord { id, hash, scopes, boards }| {
            let boards = if boards.is_empty() { Boards::ALL } else { Boards::only(boards) };
            let id: Box<str> = id.into();
            let caller = Arc::new(Caller::Key { id: id.clone(), scopes, boards });
            (id, ApiKey { hash, caller })
        });
        Self { keys: keys.collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The caller of a key's text after the [`PREFIX`].
    pub(crate) fn identify(&self, text: &str) -> Result<Arc<Caller>, Unauthorized> {
        let (id, secret) = parse(text).ok_or(Unauthorized::Malformed)?;
        let key = self.keys.get(id);
        // An unknown id costs what a wrong secret does, so the time tells nobody which ids exist.
        let expected = key.map_or(&[0; 32], |key| &key.hash);
        let matches = bool::from(hash(secret).ct_eq(expected));
        match key {
            Some(key) if matches => Ok(Arc::clone(&key.caller)),
            _ => Err(Unauthorized::UnknownKey),
        }
    }

    /// The key of an id as it is now.
    pub(crate) fn current(&self, id: &str) -> Option<&Caller> {
        self.keys.get(id).map(|key| &*key.caller)
    }
}

/// Takes `<id>_<secret>` apart.
fn parse(text: &str) -> Option<(&str, &str)> {
    // The secret may hold the separator, the id may not.
    let (id, secret) = text.split_once('_')?;
    let id_fits = id.len() == ID_CHARS && id.bytes().all(is_base32);
    let secret_fits = secret.len() == SECRET_CHARS && secret.bytes().all(is_base64url);
    (id_fits && secret_fits).then_some((id, secret))
}

fn is_base32(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'2'..=b'7')
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}
