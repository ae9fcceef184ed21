//! [`Access`]: the policy, the keys and the rates of one server in one place.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;

use crate::caller::Caller;
use crate::jwk::{self, JwksError};
use crate::keys::{self, ApiKeys, KeyRecord};
use crate::limits;
use crate::rate::{Rate, RetryAfter};
use crate::rules::{self, Action, Denied};
use crate::token::{TokenKeys, Unauthorized, has_expired};

/// What names of subjects of rates begin with.
const KEY_SUBJECT: &str = "key";
const PLAYER_SUBJECT: &str = "player";

/// Whether callers have to say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// No: everybody may do everything, at any rate. For development.
    Open,
    /// Yes, by an API key or a token.
    Keys,
}

/// What an operator decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Whether callers have to say who they are. In the mode open nothing below counts.
    pub mode: Mode,
    /// Whether callers without a credential may read.
    pub anonymous_read: bool,
    /// What the claim `aud` of a token must name. Without it the claim is ignored.
    pub audience: Option<String>,
    /// What the claim `iss` of a token must be. Without it the claim is ignored.
    pub issuer: Option<String>,
    /// How many scores a key may submit per second; three times as many at once after a pause.
    /// 0 is no limit.
    pub key_submits_per_second: u32,
    /// How many scores a player may submit per second; three times as many at once after a pause.
    /// 0 is no limit.
    pub member_submits_per_second: u32,
}

/// Knows who may do what. For any number of threads at once; see the crate's documentation.
pub struct Access {
    policy: Policy,
    api_keys: ArcSwap<ApiKeys>,
    token_keys: ArcSwap<TokenKeys>,
    key_rate: Rate,
    member_rate: Rate,
    everybody: Arc<Caller>,
    anonymous: Arc<Caller>,
    started: Instant,
}

impl Access {
    /// Begins without any key.
    pub fn new(policy: Policy) -> Self {
        Self {
            api_keys: ArcSwap::default(),
            token_keys: ArcSwap::from_pointee(TokenKeys::new(Vec::new())),
            key_rate: Rate::new(policy.key_submits_per_second),
            member_rate: Rate::new(policy.member_submits_per_second),
            everybody: Arc::new(Caller::Everybody),
            anonymous: Arc::new(Caller::Anonymous),
            started: Instant::now(),
            policy,
        }
    }

    /// Replaces all API keys. Callers with a key that is gone are denied from now on, and what the
    /// others may do is what their new records say. Of several records with the same id the last
    /// one counts. Whoever stores the records bounds how many there are.
    pub fn set_keys(&self, records: Vec<KeyRecord>) {
        self.api_keys.store(Arc::new(ApiKeys::new(records)));
    }

    /// Replaces all keys for tokens by those of a set in JSON (RFC 7517), and returns how many they
    /// are. Callers whose token was signed with a key that is gone are denied from now on. Every
    /// token is verified anew, so this is for when the set has changed.
    ///
    /// A key is of kty oct (HS256, at least 32 bytes), EC with P-256 (ES256) or OKP with Ed25519
    /// (`EdDSA`), and public if it can be. With a `kid` it verifies the tokens that name it, and
    /// those that name none; without one only the latter.
    ///
    /// # Errors
    /// Which key has what problem. The keys are then the same as before.
    pub fn set_token_keys(&self, jwks_json: &[u8]) -> Result<usize, JwksError> {
        let keys = jwk::read_set(jwks_json)?;
        let count = keys.len();
        self.token_keys.store(Arc::new(TokenKeys::new(keys)));
        Ok(count)
    }

    /// Whether there is any key, for tokens or of the API.
    pub fn knows_anybody(&self) -> bool {
        !self.api_keys.load().is_empty() || !self.token_keys.load().is_empty()
    }

    /// Who a credential belongs to: an API key, a token, or none. An empty one is none. `now_s`
    /// is the time in seconds since 1970 in UTC.
    ///
    /// The first sight of a token costs the verification of a signature, and so does every sight
    /// of a forged one: about 1 µs for HS256, 60 µs for `EdDSA` and 200 µs for ES256. What a
    /// verified token costs later is a hash of it.
    ///
    /// # Errors
    /// Why it identifies nobody.
    pub fn identify(
        &self,
        credential: Option<&str>,
        now_s: u64,
    ) -> Result<Arc<Caller>, Unauthorized> {
        if self.policy.mode == Mode::Open {
            return Ok(Arc::clone(&self.everybody));
        }
        let Some(credential) = credential.filter(|credential| !credential.is_empty()) else {
            let anonymous = self.policy.anonymous_read.then(|| Arc::clone(&self.anonymous));
            return anonymous.ok_or(Unauthorized::Missing);
        };
        if credential.len() > limits::CREDENTIAL_BYTES {
            return Err(Unauthorized::TooLong);
        }
        match credential.strip_prefix(keys::PREFIX) {
            Some(key) => self.api_keys.load().identify(key),
            None => self.token_keys.load().identify(credential, &self.policy, now_s),
        }
    }

    /// Whether a caller is still who it was: its token has not expired, its key was not taken
    /// away. For what goes on without an [`Action`], as a subscription does.
    ///
    /// # Errors
    /// [`Denied::Expired`], [`Denied::Revoked`].
    pub fn vouch(&self, caller: &Caller, now_s: u64) -> Result<(), Denied> {
        match caller {
            Caller::Everybody | Caller::Anonymous => Ok(()),
            Caller::Player { expires_s, signed_by, .. } => {
                if has_expired(*expires_s, now_s) {
                    Err(Denied::Expired)
                } else if self.token_keys.load().have(*signed_by) {
                    Ok(())
                } else {
                    Err(Denied::Revoked)
                }
            }
            Caller::Key { id, .. } => {
                self.api_keys.load().current(id).map(|_| ()).ok_or(Denied::Revoked)
            }
        }
    }

    /// Whether a caller may do something, at this moment. `now_s` is the time in seconds since
    /// 1970 in UTC.
    ///
    /// # Errors
    /// Why it may not.
    pub fn check(&self, caller: &Caller, action: &Action<'_>, now_s: u64) -> Result<(), Denied> {
        if let Caller::Key { id, .. } = caller {
            // What the key allows may have changed since the caller was identified.
            let keys = self.api_keys.load();
            return rules::allow(keys.current(id).ok_or(Denied::Revoked)?, action);
        }
        self.vouch(caller, now_s)?;
        rules::allow(caller, action)
    }

    /// Counts submits against the rate of the caller's key or member. To be asked after
    /// [`check`](Self::check). `now_ms` is the time of [`clock_ms`](Self::clock_ms).
    ///
    /// More submits at once than the burst of three seconds are allowed after a pause of three
    /// seconds, and delay what comes after them.
    ///
    /// # Errors
    /// When to try again. Nothing was counted then.
    pub fn spend(&self, caller: &Caller, submits: u32, now_ms: u64) -> Result<(), RetryAfter> {
        match caller {
            Caller::Everybody | Caller::Anonymous => Ok(()),
            Caller::Player { member, .. } => self.member_rate.spend(member, submits, now_ms),
            Caller::Key { id, .. } => self.key_rate.spend(id, submits, now_ms),
        }
    }

    /// Takes what was spent here since it was taken last, so that other servers
    /// [`debit`](Self::debit) it: for each of up to `most` subjects, `key:ID` or `player:MEMBER`,
    /// the number of submits. Keys come first. To be called until fewer than `most` come, else
    /// what waits becomes old.
    ///
    /// The first call begins the counting; before, `spend` does nothing for it. At most
    /// [`UNTOLD`](limits::UNTOLD) members, and as many keys, are counted between two calls; what
    /// more of them spend is never told.
    pub fn take_spent(&self, most: usize) -> Vec<(String, u64)> {
        let mut spent = Vec::new();
        let keys = self.key_rate.take_spent(most, |id, submits| {
            spent.push((format!("{KEY_SUBJECT}:{id}"), submits));
        });
        self.member_rate.take_spent(most - keys, |member, submits| {
            spent.push((format!("{PLAYER_SUBJECT}:{member}"), submits));
        });
        spent
    }

    /// Counts submits that a subject of [`take_spent`](Self::take_spent) made at another server.
    /// `now_ms` is the time of [`clock_ms`](Self::clock_ms). A subject of another kind is ignored.
    ///
    /// A subject that owes more than a burst because of this owes just that, so nobody is kept
    /// out for longer than it takes to fill two bursts.
    pub fn debit(&self, subject: &str, submits: u64, now_ms: u64) {
        match subject.split_once(':') {
            Some((KEY_SUBJECT, id)) => self.key_rate.debit(id, submits, now_ms),
            Some((PLAYER_SUBJECT, member)) => self.member_rate.debit(member, submits, now_ms),
            _ => {}
        }
    }

    /// The clock of [`spend`](Self::spend): milliseconds since this `Access` was made. All who
    /// share it must go by the same clock, and nobody can set this one.
    pub fn clock_ms(&self) -> u64 {
        self.started.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("policy", &self.policy).finish_non_exhaustive()
    }
}
