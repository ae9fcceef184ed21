//! API keys, the modes, and callers without a credential.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashSet;

use rankwire_access::{
    Access, Action, Boards, Caller, Denied, KeyRecord, Mode, Policy, Scope, Scopes, Unauthorized,
    new_key,
};
use sha2::{Digest, Sha256};
use support::{NOW_S, api_key, identify, policy};

#[test]
fn new_keys_are_of_the_documented_form() {
    let mut ids = HashSet::new();
    for _ in 0..100 {
        let key = new_key().unwrap();
        let (id, secret) = key.text.strip_prefix("rwk_").unwrap().split_once('_').unwrap();
        assert_eq!(id, key.id);
        assert_eq!(id.len(), 12);
        assert!(id.bytes().all(|byte| b"abcdefghijklmnopqrstuvwxyz234567".contains(&byte)));
        assert_eq!(secret.len(), 43);
        assert_eq!(Sha256::digest(secret)[..], key.hash);
        assert!(ids.insert(key.id.clone()));
        let shown = format!("{key:?}");
        assert!(shown.contains(id) && !shown.contains(secret), "{shown}");
    }
}

/// Made with `printf %s SECRET | sha256sum`.
#[test]
fn the_hash_is_that_of_the_secrets_text() {
    let access = Access::new(policy());
    let hash = b"7c0f8c6d53703bc174037416df586b011c4b63e3741e6df74fc5d77168abb1cc";
    let hex = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    let hash: Vec<u8> = hash.chunks(2).map(hex).collect();
    let record = KeyRecord {
        id: "abcdefgh2345".into(),
        hash: hash.try_into().unwrap(),
        scopes: Scopes::default(),
        boards: Vec::new(),
    };
    access.set_keys(vec![record]);
    let key = "rwk_abcdefgh2345_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmn_-_";
    assert_eq!(identify(&access, key).unwrap().name(), "abcdefgh2345");
}

#[test]
fn keys_identify_their_owners() {
    let access = Access::new(policy());
    assert!(!access.knows_anybody());
    let (one, first) = api_key(&[Scope::Read, Scope::Admin], &["a", "b*"]);
    let (two, second) = api_key(&[], &[]);
    let ids = (first.id.clone(), second.id.clone());
    access.set_keys(vec![first, second]);
    assert!(access.knows_anybody());
    let caller = identify(&access, &one).unwrap();
    let scopes = [Scope::Read, Scope::Admin].into_iter().collect();
    let boards = Boards::only(["a", "b*"]);
    assert_eq!(*caller, Caller::Key { id: ids.0.clone().into(), scopes, boards });
    assert_eq!(caller.kind(), "key");
    assert_eq!(caller.name(), ids.0);
    assert_eq!(caller.member(), None);
    assert_eq!(caller.expires_s(), None);
    let scopes = Scopes::default();
    let expected = Caller::Key { id: ids.1.into(), scopes, boards: Boards::ALL };
    assert_eq!(*identify(&access, &two).unwrap(), expected);
}

/// Who guesses is not told whether the id or the secret was wrong.
#[test]
fn wrong_keys_are_unknown() {
    let access = Access::new(policy());
    let (good, record) = api_key(&[Scope::Read], &[]);
    let (other, _) = api_key(&[Scope::Read], &[]);
    access.set_keys(vec![record]);
    assert!(identify(&access, &good).is_ok());
    let mixed = format!("{}{}", &good[..17], &other[17..]);
    assert_eq!(identify(&access, &mixed), Err(Unauthorized::UnknownKey));
    assert_eq!(identify(&access, &other), Err(Unauthorized::UnknownKey));
    let mixed = format!("{}{}", &other[..17], &good[17..]);
    assert_eq!(identify(&access, &mixed), Err(Unauthorized::UnknownKey));
    // No character of the secret can be another one.
    for position in 17..good.len() {
        for new in ['A', 'B', 'z', '-', '_'] {
            let mut bad = good.clone();
            bad.replace_range(position..=position, new.encode_utf8(&mut [0; 4]));
            assert!(bad == good || identify(&access, &bad) == Err(Unauthorized::UnknownKey));
        }
    }
}

#[test]
fn what_is_no_key_is_malformed() {
    let access = Access::new(policy());
    let (good, record) = api_key(&[Scope::Read], &[]);
    access.set_keys(vec![record]);
    for bad in [
        "rwk_",
        "rwk__",
        &good[..good.len() - 1],
        &good[..16],
        &format!("{good}A"),
        &format!("{good} "),
        &format!("{}+", &good[..good.len() - 1]),
        &format!("{}1{}", &good[..4], &good[5..]),
        &format!("{}A{}", &good[..4], &good[5..]),
        &format!("{}ab{}", &good[..4], &good[4..]),
        &good.to_uppercase(),
        &good[1..],
        &good[4..],
    ] {
        assert_eq!(identify(&access, bad), Err(Unauthorized::Malformed), "{bad}");
    }
}

#[test]
fn new_records_count_at_once() {
    let access = Access::new(policy());
    let read = Action::Read { board: "a" };
    let (text, record) = api_key(&[Scope::Read], &[]);
    access.set_keys(vec![record.clone()]);
    let caller = identify(&access, &text).unwrap();
    assert_eq!(access.check(&caller, &read, NOW_S), Ok(()));
    assert_eq!(access.vouch(&caller, NOW_S), Ok(()));

    let less = KeyRecord { boards: vec!["b".into()], ..record.clone() };
    access.set_keys(vec![less]);
    assert!(matches!(access.check(&caller, &read, NOW_S), Err(Denied::Forbidden(_))));
    assert_eq!(access.vouch(&caller, NOW_S), Ok(()));

    access.set_keys(Vec::new());
    assert_eq!(access.check(&caller, &read, NOW_S), Err(Denied::Revoked));
    assert_eq!(access.vouch(&caller, NOW_S), Err(Denied::Revoked));
    assert_eq!(identify(&access, &text), Err(Unauthorized::UnknownKey));
    assert!(!access.knows_anybody());

    // Of two records with the same id, the last.
    let more = KeyRecord { boards: Vec::new(), ..record.clone() };
    let none = KeyRecord { scopes: Scopes::default(), ..record };
    access.set_keys(vec![none, more]);
    assert_eq!(access.check(&caller, &read, NOW_S), Ok(()));
}

#[test]
fn callers_without_a_credential() {
    let strict = Access::new(policy());
    let reading = Access::new(Policy { anonymous_read: true, ..policy() });
    for none in [None, Some("")] {
        assert_eq!(strict.identify(none, NOW_S), Err(Unauthorized::Missing));
        let caller = reading.identify(none, NOW_S).unwrap();
        assert_eq!(*caller, Caller::Anonymous);
        assert_eq!((caller.kind(), caller.name()), ("anonymous", "anonymous"));
        assert_eq!(reading.vouch(&caller, NOW_S), Ok(()));
    }
    // A wrong credential is not the same as none.
    assert_eq!(identify(&reading, "x"), Err(Unauthorized::Malformed));
    let (text, _) = api_key(&[], &[]);
    assert_eq!(identify(&reading, &text), Err(Unauthorized::UnknownKey));
}

#[test]
fn in_the_mode_open_nobody_is_asked() {
    let access = Access::new(Policy { mode: Mode::Open, ..policy() });
    for credential in [None, Some(""), Some("x"), Some("rwk_x")] {
        let caller = access.identify(credential, NOW_S).unwrap();
        assert_eq!(*caller, Caller::Everybody);
        assert_eq!((caller.kind(), caller.name()), ("everybody", "everybody"));
        assert_eq!(access.vouch(&caller, NOW_S), Ok(()));
    }
}
