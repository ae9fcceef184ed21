//! Tokens: what is taken for one, who it makes of its bearer, how long it holds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};
use proptest::prelude::*;
use rankwire_access::limits::{CREDENTIAL_BYTES, LEEWAY_S, TOKEN_BOARDS};
use rankwire_access::{
    Access, Action, Boards, Caller, Denied, IssueError, Policy, Unauthorized, new_token_key,
    sign_token,
};
use serde_json::{Value, json};
use support::{
    ALGORITHMS, KEYS, NOW_S, access, claims, identify, jwks, policy, sign, unnamed, with,
};

fn encode(text: &str) -> String {
    Base64UrlUnpadded::encode_string(text.as_bytes())
}

/// A key that says nothing about itself but what it is.
fn bare(jwk: &str, keep: &[&str]) -> Value {
    let jwk: Value = serde_json::from_str(jwk).unwrap();
    keep.iter().map(|name| ((*name).to_owned(), jwk[name].clone())).collect()
}

/// A token with a header of its own, signed with an oct key.
fn forge(header: &Value, secret: &[u8]) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let message = format!("{}.{}", encode(&header.to_string()), encode(&claims().to_string()));
    let mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap().chain_update(&message);
    format!("{message}.{}", Base64UrlUnpadded::encode_string(&mac.finalize().into_bytes()))
}

#[test]
fn tokens_of_the_rfcs() {
    let joe = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let access = Access::new(policy());

    // RFC 7515 appendix A.1. The claims name nobody, which is found out after the signature.
    let key = r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
    let token = format!(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{joe}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    );
    access.set_token_keys(&jwks(&[key])).unwrap();
    let identify = |token: &str, now_s| access.identify(Some(token), now_s).unwrap_err();
    assert!(
        matches!(identify(&token, 1_300_819_379), Unauthorized::BadClaims(why) if why.starts_with("sub"))
    );
    assert_eq!(identify(&token, 1_300_819_385), Unauthorized::Expired);
    assert_eq!(identify(&token.replace(".dB", ".dC"), 1_300_819_379), Unauthorized::BadSignature);

    // RFC 7515 appendix A.3.
    let key = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    let token = format!(
        "eyJhbGciOiJFUzI1NiJ9.{joe}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    access.set_token_keys(&jwks(&[key])).unwrap();
    assert!(
        matches!(identify(&token, 1_300_819_379), Unauthorized::BadClaims(why) if why.starts_with("sub"))
    );
    assert_eq!(identify(&token, 1_300_819_385), Unauthorized::Expired);
    assert_eq!(identify(&token.replace(".Dt", ".Du"), 1_300_819_379), Unauthorized::BadSignature);

    // RFC 8037 appendix A.4, which signs no JSON.
    let key = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    access.set_token_keys(&jwks(&[key])).unwrap();
    assert!(matches!(identify(token, 0), Unauthorized::BadClaims(why) if why.starts_with("they")));
    assert_eq!(identify(&token.replace(".hg", ".hh"), 0), Unauthorized::BadSignature);
}

#[test]
fn tokens_of_another_implementation() {
    let golden: Value = serde_json::from_str(include_str!("golden/pyjwt.json")).unwrap();
    let named = Policy {
        audience: Some("rankwire".into()),
        issuer: Some("https://game.example/".into()),
        ..policy()
    };
    for (policy, full) in [(policy(), false), (named, true)] {
        let access = Access::new(policy);
        assert_eq!(access.set_token_keys(golden["jwks"].to_string().as_bytes()), Ok(3));
        for case in golden["tokens"].as_array().unwrap() {
            let caller = identify(&access, case["token"].as_str().unwrap());
            let has_iss = case["kid"].is_null();
            if full && !has_iss {
                assert_eq!(caller, Err(Unauthorized::WrongIssuer), "{case}");
                continue;
            }
            let caller = caller.unwrap();
            let Caller::Player { member, may_read, may_submit, boards, expires_s, .. } = &*caller
            else {
                panic!("{caller:?}")
            };
            assert_eq!(**member, *case["sub"].as_str().unwrap());
            assert_eq!(*expires_s, 4_102_444_800);
            assert!(*may_submit);
            assert_eq!(*may_read, !has_iss);
            let some = Boards::only(["season-*", "all"]);
            assert_eq!(*boards, if has_iss { some } else { Boards::ALL });
        }
    }
}

#[test]
fn own_tokens_with_and_without_a_key_name() {
    let access = access(policy());
    for key in &*KEYS {
        for jwk in [key.private_jwk.clone(), unnamed(&key.private_jwk)] {
            let token = sign_token(jwk.as_bytes(), claims().to_string().as_bytes()).unwrap();
            let caller = identify(&access, &token).unwrap();
            assert_eq!(caller.kind(), "player");
            assert_eq!(caller.name(), "ann");
            assert_eq!(caller.member(), Some("ann"));
            assert_eq!(caller.expires_s(), Some(NOW_S + 3600));
        }
    }
}

#[test]
fn every_key_of_the_algorithm_is_tried_for_a_token_without_a_name() {
    let keys: Vec<_> = (0..8).map(|n| new_token_key("EdDSA", &n.to_string()).unwrap()).collect();
    let access = Access::new(policy());
    let public: Vec<&str> = keys.iter().map(|key| &*key.public_jwk).collect();
    assert_eq!(access.set_token_keys(&jwks(&public)), Ok(8));
    for key in &keys {
        let jwk = unnamed(&key.private_jwk);
        let token = sign_token(jwk.as_bytes(), claims().to_string().as_bytes()).unwrap();
        assert!(identify(&access, &token).is_ok());
    }
}

#[test]
fn a_name_chooses_the_key() {
    let access = access(policy());
    let other = new_token_key("EdDSA", "EdDSA").unwrap();
    let sign = |jwk: &str| sign_token(jwk.as_bytes(), claims().to_string().as_bytes()).unwrap();
    // The right name, another key.
    assert_eq!(identify(&access, &sign(&other.private_jwk)), Err(Unauthorized::BadSignature));
    assert_eq!(
        identify(&access, &sign(&unnamed(&other.private_jwk))),
        Err(Unauthorized::BadSignature)
    );
    // The right key, another name.
    let mut jwk: Value = serde_json::from_str(&KEYS[2].private_jwk).unwrap();
    jwk["kid"] = "other".into();
    assert_eq!(identify(&access, &sign(&jwk.to_string())), Err(Unauthorized::UnknownTokenKey));
    jwk["kid"] = "ES256".into();
    assert_eq!(identify(&access, &sign(&jwk.to_string())), Err(Unauthorized::WrongAlgorithm));
    // A key without a name does not verify tokens that name one.
    access.set_token_keys(&jwks(&[&unnamed(&KEYS[2].public_jwk)])).unwrap();
    assert_eq!(identify(&access, &sign(&KEYS[2].private_jwk)), Err(Unauthorized::UnknownTokenKey));
    assert!(identify(&access, &sign(&unnamed(&KEYS[2].private_jwk))).is_ok());
    // No key at all.
    access.set_token_keys(&jwks(&[])).unwrap();
    let token = sign(&unnamed(&KEYS[2].private_jwk));
    assert_eq!(identify(&access, &token), Err(Unauthorized::UnknownTokenKey));
}

#[test]
fn the_key_decides_on_the_algorithm() {
    let access = access(policy());
    let es256: Value = serde_json::from_str(&KEYS[1].public_jwk).unwrap();
    let coordinate =
        |name: &str| Base64UrlUnpadded::decode_vec(es256[name].as_str().unwrap()).unwrap();
    let point = [&[4], &*coordinate("x"), &*coordinate("y")].concat();
    // The public key, which everybody knows, as the secret of a MAC.
    for secret in [&point[..], &point[1..33], KEYS[1].public_jwk.as_bytes()] {
        let token = forge(&json!({"alg": "HS256", "kid": "ES256"}), secret);
        assert_eq!(identify(&access, &token), Err(Unauthorized::WrongAlgorithm));
        let token = forge(&json!({"alg": "ES256", "kid": "ES256"}), secret);
        assert_eq!(identify(&access, &token), Err(Unauthorized::BadSignature));
        let token = forge(&json!({"alg": "HS256"}), secret);
        assert_eq!(identify(&access, &token), Err(Unauthorized::BadSignature));
    }
    access.set_token_keys(&jwks(&[&KEYS[1].public_jwk])).unwrap();
    let token = forge(&json!({"alg": "HS256"}), &point);
    assert_eq!(identify(&access, &token), Err(Unauthorized::WrongAlgorithm));
}

#[test]
fn unsigned_tokens_are_refused() {
    let access = access(policy());
    let claims = encode(&claims().to_string());
    for alg in ["none", "None", "NONE", ""] {
        for header in [json!({"alg": alg}), json!({"alg": alg, "kid": "HS256"})] {
            for signature in ["", "AAAA"] {
                let token = format!("{}.{claims}.{signature}", encode(&header.to_string()));
                assert_eq!(identify(&access, &token), Err(Unauthorized::WrongAlgorithm));
            }
        }
    }
    // Signatures of nothing, and of the wrong size.
    for alg in ALGORITHMS {
        for size in [0, 1, 32, 64, 65] {
            let header = encode(&json!({"alg": alg}).to_string());
            let signature = Base64UrlUnpadded::encode_string(&vec![0; size]);
            let token = format!("{header}.{claims}.{signature}");
            assert_eq!(identify(&access, &token), Err(Unauthorized::BadSignature), "{alg} {size}");
        }
    }
}

#[test]
fn a_header_brings_no_key_and_no_extension() {
    let access = access(policy());
    let secret = [7; 32];
    let k = Base64UrlUnpadded::encode_string(&secret);
    let header = json!({"alg": "HS256", "jwk": {"kty": "oct", "k": k}, "jku": "https://x.example"});
    assert_eq!(identify(&access, &forge(&header, &secret)), Err(Unauthorized::BadSignature));

    let key = json!({"kty": "oct", "k": k}).to_string();
    access.set_token_keys(&jwks(&[&key])).unwrap();
    assert!(identify(&access, &forge(&json!({"alg": "HS256", "typ": "at+jwt"}), &secret)).is_ok());
    for header in [
        json!({"alg": "HS256", "crit": ["exp"], "exp": 1}),
        json!({"alg": "HS256", "crit": ["b64"], "b64": false}),
        json!({"alg": "HS256", "crit": null}),
        json!({"alg": ["HS256"]}),
        json!({"alg": "HS256", "kid": 1}),
        json!({"typ": "JWT"}),
        json!("HS256"),
    ] {
        assert_eq!(identify(&access, &forge(&header, &secret)), Err(Unauthorized::Malformed));
    }
}

#[test]
fn what_is_no_token_is_malformed() {
    let access = access(policy());
    let good = sign(0, &claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, body) = message.split_once('.').unwrap();
    for bad in [
        "a",
        ".",
        "..",
        "...",
        "a.b",
        header,
        message,
        &format!("{good}."),
        &format!(".{good}"),
        &format!("{good}.{signature}"),
        &format!("{good}="),
        &format!(" {good}"),
        &format!("{good}\n"),
        &format!("{header}.{body}=.{signature}"),
        &format!("{header}.{body}.{}", signature.replace(['A', 'B', 'C', 'a', 'b', 'c'], "+")),
        &format!("Bearer {good}"),
    ] {
        assert_eq!(identify(&access, bad), Err(Unauthorized::Malformed), "{bad}");
    }
}

/// Every character of a token counts: none can be another one, not even the last one, of which
/// base64 does not use all bits.
#[test]
fn no_character_can_be_changed() {
    let access = access(policy());
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=";
    for alg in 0..ALGORITHMS.len() {
        let good = sign(alg, &claims());
        for (position, old) in good.char_indices() {
            // Curves take their time: of them, each character once, and the last one thoroughly.
            let thorough = alg == 0 || position + 1 == good.len();
            let others = alphabet.chars().filter(|new| *new != old);
            for new in others.take(if thorough { usize::MAX } else { 1 }) {
                let mut bad = good.clone();
                bad.replace_range(position..=position, new.encode_utf8(&mut [0; 4]));
                assert!(identify(&access, &bad).is_err(), "{good}\n{bad}");
            }
        }
        assert!(identify(&access, &good).is_ok());
    }
}

#[test]
fn tokens_expire_at_the_second() {
    for alg in 0..ALGORITHMS.len() {
        let token = sign(alg, &json!({"sub": "ann", "exp": NOW_S}));
        let late = NOW_S + LEEWAY_S;
        // Not seen before.
        assert!(access(policy()).identify(Some(&token), late - 1).is_ok());
        assert_eq!(access(policy()).identify(Some(&token), late), Err(Unauthorized::Expired));
        // Remembered.
        let access = access(policy());
        let caller = access.identify(Some(&token), 0).unwrap();
        assert!(Arc::ptr_eq(&caller, &access.identify(Some(&token), late - 1).unwrap()));
        assert_eq!(access.identify(Some(&token), late), Err(Unauthorized::Expired));
        // Identified and kept.
        let read = Action::Read { board: "b" };
        assert_eq!(access.check(&caller, &read, late - 1), Ok(()));
        assert_eq!(access.check(&caller, &read, late), Err(Denied::Expired));
        assert_eq!(access.vouch(&caller, late - 1), Ok(()));
        assert_eq!(access.vouch(&caller, late), Err(Denied::Expired));
    }
}

#[test]
fn tokens_begin_at_the_second() {
    let access = access(policy());
    let token = sign(0, &with("nbf", NOW_S));
    let early = NOW_S - LEEWAY_S;
    assert_eq!(access.identify(Some(&token), early - 1), Err(Unauthorized::NotYet));
    assert!(access.identify(Some(&token), early).is_ok());
}

#[test]
fn a_token_is_verified_once_for_each_set_of_keys() {
    let access = access(policy());
    let token = sign(1, &claims());
    let first = identify(&access, &token).unwrap();
    assert!(Arc::ptr_eq(&first, &identify(&access, &token).unwrap()));
    // The same keys: everything is looked at anew, and nobody loses anything.
    access.set_token_keys(&support::all_keys()).unwrap();
    let second = identify(&access, &token).unwrap();
    assert_eq!(first, second);
    assert!(!Arc::ptr_eq(&first, &second));
    assert_eq!(access.check(&first, &Action::Read { board: "b" }, NOW_S), Ok(()));
    // Without the key.
    access.set_token_keys(&jwks(&[&KEYS[0].public_jwk, &KEYS[2].public_jwk])).unwrap();
    assert_eq!(identify(&access, &token), Err(Unauthorized::UnknownTokenKey));
    assert_eq!(access.vouch(&first, NOW_S), Err(Denied::Revoked));
    let denied = access.check(&first, &Action::Read { board: "b" }, NOW_S);
    assert_eq!(denied, Err(Denied::Revoked));
    // Another key of the same name and type.
    let other = new_token_key("ES256", "ES256").unwrap();
    access.set_token_keys(&jwks(&[&other.public_jwk])).unwrap();
    assert_eq!(identify(&access, &token), Err(Unauthorized::BadSignature));
    assert_eq!(access.vouch(&first, NOW_S), Err(Denied::Revoked));
}

#[test]
fn sub_is_a_member_id_and_exp_a_time() {
    let access = access(policy());
    let refusal = |claims: &Value| match identify(&access, &sign(0, claims)).unwrap_err() {
        Unauthorized::BadClaims(why) => why.split(' ').next().unwrap(),
        other => panic!("{other:?}"),
    };
    let mut none = claims();
    none.as_object_mut().unwrap().remove("sub");
    assert_eq!(refusal(&none), "sub");
    for sub in [json!(""), json!("x".repeat(129)), json!("a\nb"), json!(7), json!(null)] {
        assert_eq!(refusal(&with("sub", sub)), "sub");
    }
    assert!(identify(&access, &sign(0, &with("sub", "x".repeat(128)))).is_ok());

    assert_eq!(refusal(&json!({"sub": "ann"})), "exp");
    for exp in [json!("2030-01-01"), json!(null), json!(["1"]), json!({})] {
        assert_eq!(refusal(&with("exp", exp)), "exp");
    }
    for never in [json!(u64::MAX), json!(1e300), json!(1.8e9 + 0.9)] {
        assert!(identify(&access, &sign(0, &with("exp", never))).is_ok());
    }
    for long_ago in [json!(0), json!(-1), json!(-1e300)] {
        let token = sign(0, &with("exp", long_ago));
        assert_eq!(identify(&access, &token), Err(Unauthorized::Expired));
    }
    for nbf in [json!("0"), json!(null)] {
        assert_eq!(refusal(&with("nbf", nbf)), "nbf");
    }
}

/// A claim that limits a token, but cannot be read, does not leave it without the limit.
#[test]
fn limits_that_cannot_be_read_are_refused() {
    let access = access(policy());
    let is_bad = |claims: &Value| {
        matches!(identify(&access, &sign(0, claims)), Err(Unauthorized::BadClaims(_)))
    };
    for scope in [json!(null), json!(["read"]), json!(1)] {
        assert!(is_bad(&with("scope", scope)));
    }
    let many = vec!["a"; TOKEN_BOARDS + 1];
    for boards in [json!(null), json!("a"), json!([1]), json!(["a*b"]), json!([""]), json!(many)] {
        assert!(is_bad(&with("boards", boards)));
    }
    assert!(!is_bad(&with("boards", vec!["a"; TOKEN_BOARDS])));
    // Twice the same claim: who knows which one was meant.
    let twice = format!(r#"{{"sub":"ann","sub":"bob","exp":{}}}"#, NOW_S + 1);
    let token = sign_token(KEYS[0].private_jwk.as_bytes(), twice.as_bytes()).unwrap();
    assert!(matches!(identify(&access, &token), Err(Unauthorized::BadClaims(_))));
}

#[test]
fn scope_and_boards_make_the_player() {
    let access = access(policy());
    let player = |claims: &Value| match &*identify(&access, &sign(0, claims)).unwrap() {
        Caller::Player { may_read, may_submit, boards, .. } => {
            (*may_read, *may_submit, boards.clone())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(player(&claims()), (true, true, Boards::ALL));
    for (scope, read, submit) in [
        ("read submit", true, true),
        ("read", true, false),
        ("openid submit", false, true),
        ("reader submits READ", false, false),
        ("", false, false),
        ("admin operator", false, false),
    ] {
        assert_eq!(player(&with("scope", scope)), (read, submit, Boards::ALL), "{scope}");
    }
    assert_eq!(player(&with("boards", vec!["*"])).2, Boards::ALL);
    assert_eq!(player(&with("boards", vec!["a", "b*"])).2, Boards::only(["a", "b*"]));
    assert_eq!(player(&with("boards", json!([]))).2, Boards::only([""; 0]));
}

#[test]
fn issuer_and_audience() {
    let access =
        access(Policy { issuer: Some("game".into()), audience: Some("ranks".into()), ..policy() });
    let identify = |iss: Value, aud: Value| {
        let mut claims = with("iss", iss);
        claims["aud"] = aud;
        identify(&access, &sign(0, &claims))
    };
    for aud in [json!("ranks"), json!(["ranks"]), json!(["x", 1, "ranks"])] {
        assert!(identify(json!("game"), aud).is_ok());
    }
    for aud in [json!("Ranks"), json!([]), json!(["x"]), json!(null), json!({"ranks": 1})] {
        assert_eq!(identify(json!("game"), aud), Err(Unauthorized::WrongAudience));
    }
    for iss in [json!("Game"), json!(null), json!(["game"])] {
        assert_eq!(identify(iss, json!("ranks")), Err(Unauthorized::WrongIssuer));
    }
    assert_eq!(support::identify(&access, &sign(0, &claims())), Err(Unauthorized::WrongIssuer));
    let token = sign(0, &with("iss", "game"));
    assert_eq!(support::identify(&access, &token), Err(Unauthorized::WrongAudience));
}

#[test]
fn long_credentials_are_refused_unseen() {
    let access = access(policy());
    let of_size = |size: usize| {
        let padding = |n| sign(0, &with("x", "y".repeat(n)));
        (0..size).map(padding).find(|token| token.len() >= size).unwrap()
    };
    let longest = of_size(CREDENTIAL_BYTES - 1);
    assert!(longest.len() <= CREDENTIAL_BYTES);
    assert!(identify(&access, &longest).is_ok());
    let longer = "a".repeat(CREDENTIAL_BYTES + 1);
    assert_eq!(identify(&access, &longer), Err(Unauthorized::TooLong));
    assert_eq!(identify(&access, &longer[1..]), Err(Unauthorized::Malformed));
}

#[test]
fn what_cannot_be_signed() {
    let good = claims().to_string();
    let key = |jwk: Value| sign_token(jwk.to_string().as_bytes(), good.as_bytes());
    assert_eq!(
        sign_token(b"{", b"{}"),
        Err(IssueError::Key("a key is an object with a kty and texts, see RFC 7517"))
    );
    assert!(matches!(
        key(bare(&KEYS[1].public_jwk, &["kty", "crv", "x", "y"])),
        Err(IssueError::Key(_))
    ));
    assert!(matches!(
        key(bare(&KEYS[2].public_jwk, &["kty", "crv", "x"])),
        Err(IssueError::Key(_))
    ));
    assert!(matches!(key(json!({"kty": "oct", "k": "AAAA"})), Err(IssueError::Key(_))));
    assert!(matches!(key(json!({"kty": "RSA"})), Err(IssueError::Key(_))));
    let zero = "A".repeat(43);
    assert!(matches!(
        key(json!({"kty": "EC", "crv": "P-256", "d": zero})),
        Err(IssueError::Key(_))
    ));
    for claims in ["", "[]", "1", "{\"a\":1"] {
        let token = sign_token(KEYS[0].private_jwk.as_bytes(), claims.as_bytes());
        assert_eq!(token, Err(IssueError::Claims));
    }
    assert_eq!(new_token_key("RS256", "a"), Err(IssueError::Algorithm));
}

proptest! {
    /// Nothing that comes in from outside makes trouble, and nothing gets in by chance.
    #[test]
    fn any_text_is_refused(text in "\\PC{0,200}", parts in prop::collection::vec("[ -~]{0,40}", 3)) {
        let access = access(policy());
        let parts: Vec<String> = parts.iter().map(|part| encode(part)).collect();
        for credential in [text.clone(), format!("rwk_{text}"), parts.join("."), encode(&text)] {
            prop_assert!(access.identify(Some(&credential), NOW_S).is_err() || credential.is_empty());
        }
    }

    /// Headers and claims of any shape.
    #[test]
    fn any_json_is_refused_or_read(
        alg in prop::sample::select(vec!["\"HS256\"", "\"ES256\"", "\"EdDSA\"", "\"none\"", "null", "[]"]),
        kid in prop::sample::select(vec!["", ",\"kid\":\"HS256\"", ",\"kid\":null", ",\"kid\":{}", ",\"kid\":\"x\""]),
        name in prop::sample::select(vec!["sub", "exp", "nbf", "iss", "aud", "scope", "boards", "x"]),
        value in prop::sample::select(vec!["null", "true", "-1", "1e999", "\"a\"", "[]", "[\"a\"]", "{}", "\"\\u0000\""]),
    ) {
        let access = access(policy());
        let header = encode(&format!(r#"{{"alg":{alg}{kid}}}"#));
        let forged = format!("{header}.{}.{}", encode(&claims().to_string()), encode(&"x".repeat(64)));
        prop_assert!(identify(&access, &forged).is_err());
        let claims = format!(r#"{{"sub":"ann","exp":{},"{name}":{value}}}"#, NOW_S + 1);
        if let Ok(token) = sign_token(KEYS[0].private_jwk.as_bytes(), claims.as_bytes()) {
            let caller = identify(&access, &token);
            let harmless = matches!(name, "iss" | "aud" | "x") || matches!(
                (name, value),
                ("nbf", "-1") | ("scope", "\"a\"" | "\"\\u0000\"") | ("boards", "[]" | "[\"a\"]")
            );
            prop_assert_eq!(caller.is_ok(), harmless, "{}", claims);
        }
    }
}
