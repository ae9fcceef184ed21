//! Players' tokens: JSON Web Tokens (RFC 7519) in the compact form of RFC 7515.
//!
//! The order is that of RFC 8725: the header only chooses among the keys that are there, a key
//! verifies by its own algorithm only, and no claim is looked at before the signature is known to
//! be good.
//!
//! Claims: `sub` (the member id) and `exp` must be there; `nbf`, `scope` and `boards` count if they
//! are; `iss` and `aud` are compared if the policy names one, and ignored otherwise. Everything
//! else is ignored, also `iat`.

use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};
use rankwire_engine::check_member;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::access::Policy;
use crate::cache::{Cache, TokenHash};
use crate::caller::{Boards, Caller, is_board_pattern};
use crate::jwk::{TokenKey, TokenKeyId};
use crate::limits;

/// Why a credential identifies nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unauthorized {
    /// There is none, and one is needed.
    #[error("this takes an API key or a token")]
    Missing,
    /// It is longer than [`limits::CREDENTIAL_BYTES`].
    #[error("a credential has at most {} bytes", limits::CREDENTIAL_BYTES)]
    TooLong,
    /// It is neither an API key nor a token in the compact form, or its header asks for something
    /// that this server does not know.
    #[error("the credential is neither an API key nor a signed token")]
    Malformed,
    /// An API key that does not exist; whether its id does is not told.
    #[error("there is no such API key")]
    UnknownKey,
    /// A token that names a key which the server does not have.
    #[error("the token names a key that this server does not have")]
    UnknownTokenKey,
    /// The key that the token names, or every key if it names none, is of another algorithm.
    #[error("the token's key is for another algorithm")]
    WrongAlgorithm,
    /// No key that could have signed the token did.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// A claim is missing or not what it has to be.
    #[error("the token's claims are wrong: {0}")]
    BadClaims(&'static str),
    /// The token is not valid any more.
    #[error("the token has expired")]
    Expired,
    /// The token is not valid yet.
    #[error("the token is not valid yet")]
    NotYet,
    /// The token is from somebody else.
    #[error("the token is of another issuer")]
    WrongIssuer,
    /// The token is for somebody else.
    #[error("the token is for another audience")]
    WrongAudience,
}

/// The keys for tokens, and what they verified.
pub(crate) struct TokenKeys {
    keys: Vec<TokenKey>,
    cache: Cache,
}

impl TokenKeys {
    pub(crate) fn new(keys: Vec<TokenKey>) -> Self {
        Self { keys, cache: Cache::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a key is among them.
    pub(crate) fn have(&self, id: TokenKeyId) -> bool {
        self.keys.iter().any(|key| key.id == id)
    }

    /// The caller of a token.
    pub(crate) fn identify(
        &self,
        token: &str,
        policy: &Policy,
        now_s: u64,
    ) -> Result<Arc<Caller>, Unauthorized> {
        let hash: TokenHash = Sha256::digest(token).into();
        if let Some(caller) = self.cache.get(&hash) {
            let expired = caller.expires_s().is_some_and(|expires_s| has_expired(expires_s, now_s));
            return if expired { Err(Unauthorized::Expired) } else { Ok(caller) };
        }
        let caller = Arc::new(self.verify(token, policy, now_s)?);
        self.cache.put(&hash, Arc::clone(&caller), now_s);
        Ok(caller)
    }

    fn verify(&self, token: &str, policy: &Policy, now_s: u64) -> Result<Caller, Unauthorized> {
        let (message, signature) = token.rsplit_once('.').ok_or(Unauthorized::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Unauthorized::Malformed)?;
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(malformed)?;
        if header.crit.is_some() {
            return Err(Unauthorized::Malformed);
        }
        let (claims, signature) = (decode(claims)?, decode(signature)?);
        let key = self.signer(&header, message.as_bytes(), &signature)?;
        let claims: Claims = serde_json::from_slice(&claims)
            .map_err(|_| Unauthorized::BadClaims("they are an object, each claim once"))?;
        claims.check(policy, now_s)?;
        claims.caller(key.id)
    }

    /// The key that signed a message.
    fn signer(
        &self,
        header: &Header,
        message: &[u8],
        signature: &[u8],
    ) -> Result<&TokenKey, Unauthorized> {
        let named = |key: &&TokenKey| header.kid.is_none() || header.kid == key.kid;
        if !self.keys.iter().any(|key| named(&key)) {
            return Err(Unauthorized::UnknownTokenKey);
        }
        let mut candidates = self.keys.iter().filter(named).filter(|key| key.is_for(&header.alg));
        let mut refusal = Unauthorized::WrongAlgorithm;
        let signer = candidates.find(|key| {
            refusal = Unauthorized::BadSignature;
            key.verifies(message, signature)
        });
        signer.ok_or(refusal)
    }
}

/// Whether a token is over: its last second and the leeway have passed.
pub(crate) fn has_expired(expires_s: u64, now_s: u64) -> bool {
    now_s >= expires_s.saturating_add(limits::LEEWAY_S)
}

fn decode(part: &str) -> Result<Vec<u8>, Unauthorized> {
    Base64UrlUnpadded::decode_vec(part).map_err(malformed)
}

fn malformed<E>(_: E) -> Unauthorized {
    Unauthorized::Malformed
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; this server understands none.
    #[serde(default, deserialize_with = "present")]
    crit: Option<Value>,
}

/// The claims that count, each as it came.
#[derive(Deserialize)]
struct Claims {
    #[serde(default, deserialize_with = "present")]
    sub: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    exp: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    iss: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    aud: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    scope: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    boards: Option<Value>,
}

/// Anything that is there, also null: a claim that limits a token is not undone by null.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

const BAD_EXP: Unauthorized = Unauthorized::BadClaims("exp is a number of seconds since 1970");
const BAD_NBF: Unauthorized = Unauthorized::BadClaims("nbf is a number of seconds since 1970");
const BAD_SUB: Unauthorized =
    Unauthorized::BadClaims("sub is a member id: 1 to 128 bytes without control characters");
const BAD_SCOPE: Unauthorized = Unauthorized::BadClaims("scope is a text");
const BAD_BOARDS: Unauthorized =
    Unauthorized::BadClaims("boards is a list of at most 64 board names, or beginnings with a *");

impl Claims {
    /// Checks that the token is of now, from whom it should be and for this server.
    fn check(&self, policy: &Policy, now_s: u64) -> Result<(), Unauthorized> {
        if has_expired(self.expires_s()?, now_s) {
            return Err(Unauthorized::Expired);
        }
        if let Some(nbf) = &self.nbf
            && seconds(nbf).ok_or(BAD_NBF)? > now_s.saturating_add(limits::LEEWAY_S)
        {
            return Err(Unauthorized::NotYet);
        }
        if let Some(issuer) = &policy.issuer
            && self.iss.as_ref().and_then(Value::as_str) != Some(issuer)
        {
            return Err(Unauthorized::WrongIssuer);
        }
        if let Some(audience) = &policy.audience
            && !self.aud.as_ref().is_some_and(|aud| names(aud, audience))
        {
            return Err(Unauthorized::WrongAudience);
        }
        Ok(())
    }

    /// The player that the claims are about.
    fn caller(&self, signed_by: TokenKeyId) -> Result<Caller, Unauthorized> {
        let member = self.sub.as_ref().and_then(Value::as_str).ok_or(BAD_SUB)?;
        check_member(member).map_err(|_| BAD_SUB)?;
        let scope = match &self.scope {
            None => "read submit",
            Some(scope) => scope.as_str().ok_or(BAD_SCOPE)?,
        };
        Ok(Caller::Player {
            member: member.into(),
            may_read: scope.split(' ').any(|word| word == "read"),
            may_submit: scope.split(' ').any(|word| word == "submit"),
            boards: self.boards.as_ref().map_or(Some(Boards::ALL), boards).ok_or(BAD_BOARDS)?,
            expires_s: self.expires_s()?,
            signed_by,
        })
    }

    fn expires_s(&self) -> Result<u64, Unauthorized> {
        self.exp.as_ref().and_then(seconds).ok_or(BAD_EXP)
    }
}

/// A time of RFC 7519, which may have a fraction. What is before 1970 is as good as 1970.
fn seconds(value: &Value) -> Option<u64> {
    #[expect(clippy::cast_sign_loss, reason = "negative numbers become 0")]
    value.as_u64().or_else(|| value.as_f64().map(|seconds| seconds as u64))
}

/// Whether the claim `aud`, a text or a list of texts, names an audience.
fn names(aud: &Value, audience: &str) -> bool {
    match aud {
        Value::String(name) => name == audience,
        Value::Array(list) => list.iter().any(|name| name.as_str() == Some(audience)),
        _ => false,
    }
}

fn boards(claim: &Value) -> Option<Boards> {
    let list = claim.as_array().filter(|list| list.len() <= limits::TOKEN_BOARDS)?;
    let pattern =
        |pattern: &Value| pattern.as_str().filter(|text| is_board_pattern(text)).map(Box::from);
    let patterns: Option<Vec<Box<str>>> = list.iter().map(pattern).collect();
    patterns.map(Boards::only)
}
