//! Tokens that were verified, so that a caller who sends the same one with every request is
//! verified once.
//!
//! Only verified tokens get in, so that nobody can fill the cache but with tokens that were issued.
//! A cache belongs to one set of keys and goes with it: what another set verified is never found.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::caller::Caller;
use crate::limits;

/// Parts of the cache, so that threads seldom meet.
const SHARDS: usize = 16;

/// Most entries of one part.
const SHARD_TOKENS: usize = limits::CACHED_TOKENS / SHARDS;

/// The SHA-256 of a token. It stands for the token, which itself is kept nowhere.
pub(crate) type TokenHash = [u8; 32];

type Shard = Mutex<HashMap<TokenHash, Arc<Caller>>>;

/// At most [`limits::CACHED_TOKENS`] entries, in 16 parts of the same size. When a part is full,
/// the expired tokens in it are forgotten; if there are none, all of it. Whatever is forgotten is
/// verified again when it is needed.
pub(crate) struct Cache {
    shards: Box<[Shard]>,
}

impl Cache {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// The caller of a token. The token may have expired since.
    pub(crate) fn get(&self, token: &TokenHash) -> Option<Arc<Caller>> {
        let shard = self.shard(token).lock().unwrap_or_else(PoisonError::into_inner);
        shard.get(token).cloned()
    }

    /// Remembers the caller of a verified token.
    pub(crate) fn put(&self, token: &TokenHash, caller: Arc<Caller>, now_s: u64) {
        let mut shard = self.shard(token).lock().unwrap_or_else(PoisonError::into_inner);
        if shard.len() == SHARD_TOKENS {
            shard.retain(|_, caller| caller.expires_s().is_some_and(|expires_s| expires_s > now_s));
            if shard.len() == SHARD_TOKENS {
                shard.clear();
            }
        }
        shard.insert(*token, caller);
    }

    /// A hash is evenly spread: a byte of it is as good as another hash of it.
    fn shard(&self, token: &TokenHash) -> &Shard {
        &self.shards[usize::from(token[0]) % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwk::TokenKeyId;

    fn player(expires_s: u64) -> Arc<Caller> {
        Arc::new(Caller::Player {
            member: "ann".into(),
            may_read: true,
            may_submit: true,
            boards: crate::Boards::ALL,
            expires_s,
            signed_by: TokenKeyId::of("test", b"key"),
        })
    }

    /// A hash of the first part.
    fn hash(n: usize) -> TokenHash {
        let mut hash = [0; 32];
        hash[1..9].copy_from_slice(&n.to_le_bytes());
        hash
    }

    #[test]
    fn expired_tokens_make_room() {
        let cache = Cache::new();
        for n in 0..SHARD_TOKENS {
            cache.put(&hash(n), player(if n < 10 { 100 } else { 101 }), 0);
        }
        assert!(cache.get(&hash(9)).is_some());
        cache.put(&hash(SHARD_TOKENS), player(200), 100);
        assert!(cache.get(&hash(9)).is_none());
        for n in 10..=SHARD_TOKENS {
            assert!(cache.get(&hash(n)).is_some());
        }
    }

    #[test]
    fn a_full_part_starts_again() {
        let cache = Cache::new();
        let mut other = hash(0);
        other[0] = 1;
        cache.put(&other, player(100), 0);
        for n in 0..SHARD_TOKENS * 5 / 2 {
            cache.put(&hash(n), player(100), 0);
            assert!(cache.get(&hash(n)).is_some());
        }
        let kept = (0..SHARD_TOKENS * 5 / 2).filter(|n| cache.get(&hash(*n)).is_some()).count();
        assert_eq!(kept, SHARD_TOKENS / 2);
        assert!(cache.get(&other).is_some());
    }
}
