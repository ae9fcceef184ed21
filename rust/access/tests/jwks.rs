//! Sets of keys for tokens: what is taken, and what is said about the others.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use rankwire_access::limits::{JWKS_BYTES, TOKEN_KEYS};
use rankwire_access::{Access, JwksError, new_token_key};
use serde_json::{Value, json};
use support::{KEYS, all_keys, claims, identify, jwks, policy, sign};

fn key(alg: usize) -> Value {
    serde_json::from_str(&KEYS[alg].public_jwk).unwrap()
}

/// A key with a parameter changed, or taken away if the value is null.
fn changed(alg: usize, name: &str, value: impl Into<Value>) -> Value {
    let mut key = key(alg);
    match value.into() {
        Value::Null => key.as_object_mut().unwrap().remove(name),
        value => key.as_object_mut().unwrap().insert(name.to_owned(), value),
    };
    key
}

fn problem(key: &Value) -> &'static str {
    match Access::new(policy()).set_token_keys(&jwks(&[&key.to_string()])) {
        Err(JwksError::Key { index: 0, problem, .. }) => problem,
        other => panic!("{key}: {other:?}"),
    }
}

#[test]
fn optional_parameters_may_be_there_or_not() {
    for alg in 0..3 {
        for name in ["alg", "use", "kid", "key_ops", "x5c"] {
            let key = changed(alg, name, Value::Null).to_string();
            assert_eq!(Access::new(policy()).set_token_keys(&jwks(&[&key])), Ok(1));
        }
        for (name, value) in [
            ("use", json!("sig")),
            ("key_ops", json!(["sign", "verify"])),
            ("x5c", json!(["ignored"])),
        ] {
            let key = changed(alg, name, value).to_string();
            assert_eq!(Access::new(policy()).set_token_keys(&jwks(&[&key])), Ok(1));
        }
    }
    let key = changed(2, "alg", "Ed25519").to_string();
    assert_eq!(Access::new(policy()).set_token_keys(&jwks(&[&key])), Ok(1));
    // A set may say more about itself.
    assert_eq!(Access::new(policy()).set_token_keys(br#"{"keys":[],"x":1}"#), Ok(0));
}

#[test]
fn a_key_is_of_one_algorithm() {
    for (alg, others) in [
        (0, ["HS512", "ES256", "EdDSA", "none"]),
        (1, ["HS256", "ES384", "EdDSA", "none"]),
        (2, ["HS256", "ES256", "ES256K", "none"]),
    ] {
        for other in others {
            assert!(problem(&changed(alg, "alg", other)).starts_with("alg is"));
        }
    }
    for kty in ["RSA", "rsa", "", "Oct", "oct ", "EC2"] {
        assert_eq!(problem(&changed(0, "kty", kty)), "kty is oct, EC or OKP");
    }
    for crv in ["P-384", "secp256k1", "Ed25519", "p-256"] {
        assert_eq!(problem(&changed(1, "crv", crv)), "crv is P-256");
    }
    for crv in ["X25519", "Ed448", "P-256"] {
        assert_eq!(problem(&changed(2, "crv", crv)), "crv is Ed25519");
    }
    assert_eq!(problem(&changed(1, "crv", Value::Null)), "crv is P-256");
    assert_eq!(problem(&changed(2, "crv", Value::Null)), "crv is Ed25519");
    assert_eq!(problem(&changed(0, "crv", "P-256")), "a key of kty oct has no crv");
}

#[test]
fn keys_for_something_else_are_refused() {
    for alg in 0..3 {
        assert_eq!(problem(&changed(alg, "use", "enc")), "use is sig");
        assert_eq!(problem(&changed(alg, "key_ops", json!(["sign"]))), "key_ops has verify");
        assert_eq!(problem(&changed(alg, "key_ops", json!([]))), "key_ops has verify");
    }
}

#[test]
fn private_keys_are_refused() {
    for key in &KEYS[1..] {
        let key: Value = serde_json::from_str(&key.private_jwk).unwrap();
        assert!(problem(&key).starts_with("this is a private key"));
    }
}

#[test]
fn values_are_what_they_have_to_be() {
    let short = "A".repeat(42);
    for k in [json!(null), json!(""), json!("AAAA"), json!(short), json!("=".repeat(43))] {
        assert!(problem(&changed(0, "k", k)).starts_with("k is"));
    }
    for alg in [1, 2] {
        for x in
            [json!(null), json!(""), json!(short), json!("A".repeat(44)), json!("+".repeat(43))]
        {
            assert_eq!(problem(&changed(alg, "x", x)), "x is 32 bytes");
        }
    }
    assert_eq!(problem(&changed(1, "y", Value::Null)), "y is 32 bytes");
    let y = key(1)["x"].clone();
    assert_eq!(problem(&changed(1, "y", y)), "x and y are no point of the curve P-256");
    // Zero is a point of Ed25519, but one of small order: such a key signs everything. Two is none.
    let two = format!("Ag{}", "A".repeat(41));
    for x in ["A".repeat(43), two] {
        let refusal = "x is no point of the curve Ed25519 that can be a key";
        assert_eq!(problem(&changed(2, "x", x)), refusal);
    }
    for key in [json!(1), json!({}), json!({"kty": 1}), changed(0, "k", json!(["x"]))] {
        assert!(problem(&key).starts_with("a key is an object"));
    }
}

#[test]
fn errors_tell_which_key() {
    let access = Access::new(policy());
    let bad = changed(1, "crv", "P-521").to_string();
    let error = access.set_token_keys(&jwks(&[&KEYS[0].public_jwk, &bad])).unwrap_err();
    assert_eq!(error.to_string(), "key 1 (kid \"ES256\"): crv is P-256");
    let bad = support::unnamed(&bad);
    let error = access.set_token_keys(&jwks(&[&bad])).unwrap_err();
    assert_eq!(error.to_string(), "key 0: crv is P-256");
    let twice = jwks(&[&KEYS[0].public_jwk, &new_token_key("ES256", "HS256").unwrap().public_jwk]);
    let error = access.set_token_keys(&twice).unwrap_err();
    assert_eq!(error.to_string(), "key 1 (kid \"HS256\"): another key has the same kid");
    let unnamed = support::unnamed(&KEYS[0].public_jwk);
    assert_eq!(access.set_token_keys(&jwks(&[&unnamed, &unnamed])), Ok(2));
}

#[test]
fn sets_that_are_none() {
    let access = Access::new(policy());
    let error = access.set_token_keys(b"{\"keys\":[\n  {\"kty\":oct}]}").unwrap_err();
    assert_eq!(error, JwksError::Json { line: 2, column: 10 });
    for json in ["{}", "[]", "null", r#"{"keys":{}}"#, &KEYS[0].public_jwk] {
        assert_eq!(access.set_token_keys(json.as_bytes()), Err(JwksError::NoSet), "{json}");
    }
    let keys: Vec<String> =
        (0..=TOKEN_KEYS).map(|_| support::unnamed(&KEYS[0].public_jwk)).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert_eq!(access.set_token_keys(&jwks(&keys)), Err(JwksError::TooMany));
    assert_eq!(access.set_token_keys(&jwks(&keys[1..])), Ok(TOKEN_KEYS));
    let mut long = jwks(&keys[1..]);
    long.resize(JWKS_BYTES, b' ');
    assert_eq!(access.set_token_keys(&long), Ok(TOKEN_KEYS));
    long.push(b' ');
    assert_eq!(access.set_token_keys(&long), Err(JwksError::TooLong));
}

#[test]
fn a_bad_set_changes_nothing() {
    let access = Access::new(policy());
    assert!(!access.knows_anybody());
    access.set_token_keys(&all_keys()).unwrap();
    assert!(access.knows_anybody());
    assert!(access.set_token_keys(&jwks(&[&KEYS[1].private_jwk])).is_err());
    assert!(access.set_token_keys(b"").is_err());
    for alg in 0..3 {
        assert!(identify(&access, &sign(alg, &claims())).is_ok());
    }
    access.set_token_keys(&jwks(&[])).unwrap();
    assert!(!access.knows_anybody());
}

/// Secrets are in what comes in, and in nothing that a log may show.
#[test]
fn nothing_shows_a_secret() {
    let access = Access::new(policy());
    let k = key(0)["k"].as_str().unwrap().to_owned();
    for value in [json!([k]), json!({"x": k}), json!(format!("{k}="))] {
        let error = access.set_token_keys(&jwks(&[&changed(0, "k", value).to_string()]));
        let error = error.unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&k));
    }
    let error = access.set_token_keys(format!("{{\"keys\":{k}").as_bytes()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(&k));

    access.set_token_keys(&all_keys()).unwrap();
    let token = sign(0, &claims());
    let caller = identify(&access, &token).unwrap();
    let new = new_token_key("ES256", "a").unwrap();
    let shown = format!("{access:?} {caller:?} {new:?}");
    let d: Value = serde_json::from_str(&new.private_jwk).unwrap();
    for secret in [&k, token.rsplit_once('.').unwrap().1, d["d"].as_str().unwrap()] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("TokenKeyId(..)"));
}
