//! What the tests share: keys, policies, claims.
#![allow(dead_code, reason = "every test file uses another part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, LazyLock};

use rankwire_access::{
    Access, Caller, KeyRecord, Mode, NewKey, NewTokenKey, Policy, Scope, Unauthorized, new_key,
    new_token_key, sign_token,
};
use serde_json::{Value, json};

/// A moment, in seconds since 1970.
pub(crate) const NOW_S: u64 = 1_800_000_000;

pub(crate) const ALGORITHMS: [&str; 3] = ["HS256", "ES256", "EdDSA"];

/// Keys are needed; no audience, no issuer, no rates.
pub(crate) fn policy() -> Policy {
    Policy {
        mode: Mode::Keys,
        anonymous_read: false,
        audience: None,
        issuer: None,
        key_submits_per_second: 0,
        member_submits_per_second: 0,
    }
}

/// A key for each algorithm, named after it.
pub(crate) static KEYS: LazyLock<[NewTokenKey; 3]> =
    LazyLock::new(|| ALGORITHMS.map(|alg| new_token_key(alg, alg).unwrap()));

/// A set of public keys.
pub(crate) fn jwks(keys: &[&str]) -> Vec<u8> {
    format!(r#"{{"keys":[{}]}}"#, keys.join(",")).into_bytes()
}

/// The set of [`KEYS`].
pub(crate) fn all_keys() -> Vec<u8> {
    jwks(&KEYS.each_ref().map(|key| &*key.public_jwk))
}

/// Knows [`KEYS`].
pub(crate) fn access(policy: Policy) -> Access {
    let access = Access::new(policy);
    assert_eq!(access.set_token_keys(&all_keys()), Ok(3));
    access
}

/// Claims that are good for an hour.
pub(crate) fn claims() -> Value {
    json!({"sub": "ann", "exp": NOW_S + 3600})
}

/// Good claims with one more, or with another one.
pub(crate) fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

/// A token of one of [`KEYS`].
pub(crate) fn sign(alg: usize, claims: &Value) -> String {
    sign_token(KEYS[alg].private_jwk.as_bytes(), claims.to_string().as_bytes()).unwrap()
}

/// The same key without its name, so that its tokens name none.
pub(crate) fn unnamed(jwk: &str) -> String {
    let mut jwk: Value = serde_json::from_str(jwk).unwrap();
    jwk.as_object_mut().unwrap().remove("kid");
    jwk.to_string()
}

/// Identifies at [`NOW_S`].
pub(crate) fn identify(access: &Access, credential: &str) -> Result<Arc<Caller>, Unauthorized> {
    access.identify(Some(credential), NOW_S)
}

/// A new API key, and its record.
pub(crate) fn api_key(scopes: &[Scope], boards: &[&str]) -> (String, KeyRecord) {
    let NewKey { text, id, hash } = new_key().unwrap();
    let scopes = scopes.iter().copied().collect();
    let boards = boards.iter().copied().map(String::from).collect();
    (text, KeyRecord { id, hash, scopes, boards })
}
