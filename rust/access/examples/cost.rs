//! What each call costs: the least of several runs, in nanoseconds.
//!
//! ```console
//! $ cargo run --release -p rankwire-access --example cost
//! ```

#![expect(clippy::print_stdout, reason = "the result is what it prints")]
#![expect(clippy::unwrap_used, reason = "nothing here can fail but the program itself")]

use std::hint::black_box;
use std::time::Instant;

use rankwire_access::{
    Access, Action, KeyRecord, Mode, Policy, Scope, new_key, new_token_key, sign_token,
};

const NOW_S: u64 = 1_800_000_000;

/// Prints how long a call takes.
fn measure(what: &str, calls: u32, mut call: impl FnMut(u32)) {
    let run = |_| {
        let start = Instant::now();
        (0..calls).for_each(&mut call);
        start.elapsed().as_nanos() / u128::from(calls)
    };
    let least = (0..7).map(run).min().unwrap_or_default();
    println!("{what:<44} {least:>9} ns");
}

fn main() {
    let access = Access::new(Policy {
        mode: Mode::Keys,
        anonymous_read: false,
        audience: None,
        issuer: None,
        key_submits_per_second: 1_000_000,
        member_submits_per_second: 1_000_000,
    });
    let key = new_key().unwrap();
    let scopes = [Scope::Submit].into_iter().collect();
    access.set_keys(vec![KeyRecord { id: key.id, hash: key.hash, scopes, boards: Vec::new() }]);
    let unknown = new_key().unwrap().text;
    measure("identify, API key", 100_000, |_| {
        black_box(access.identify(Some(&key.text), NOW_S)).unwrap();
    });
    let wrong = format!("{}{}", &key.text[..17], &unknown[17..]);
    for (what, text) in [("of an unknown id", unknown), ("with a wrong secret", wrong)] {
        measure(&format!("identify, API key {what}"), 100_000, |_| {
            black_box(access.identify(Some(&text), NOW_S)).unwrap_err();
        });
    }
    for alg in ["HS256", "ES256", "EdDSA"] {
        let token_key = new_token_key(alg, alg).unwrap();
        let jwks = format!(r#"{{"keys":[{}]}}"#, token_key.public_jwk);
        access.set_token_keys(jwks.as_bytes()).unwrap();
        let claims = |n: u32| format!(r#"{{"sub":"player-{n}","exp":{}}}"#, NOW_S + 3600);
        let sign = |n| sign_token(token_key.private_jwk.as_bytes(), claims(n).as_bytes()).unwrap();
        let tokens: Vec<String> = (0..7_000).map(sign).collect();
        let mut fresh = tokens.iter();
        measure(&format!("identify, {alg}, first sight"), 1_000, |_| {
            black_box(access.identify(fresh.next().map(String::as_str), NOW_S)).unwrap();
        });
        measure(&format!("identify, {alg}, seen before"), 100_000, |n| {
            black_box(access.identify(Some(&tokens[n as usize % 7_000]), NOW_S)).unwrap();
        });
        let forged = &tokens[0].replace(".e", ".f");
        measure(&format!("identify, {alg}, forged"), 1_000, |_| {
            black_box(access.identify(Some(forged), NOW_S)).unwrap_err();
        });
        if alg == "EdDSA" {
            let player = access.identify(Some(&tokens[0]), NOW_S).unwrap();
            let submit = Action::Submit { board: "b", member: "player-0", player_submits: true };
            measure("check, player submits", 100_000, |_| {
                black_box(access.check(&player, &submit, NOW_S)).unwrap();
            });
            measure("spend, player", 100_000, |n| {
                black_box(access.spend(&player, 1, u64::from(n))).unwrap_or_default();
            });
        }
    }
    let caller = access.identify(Some(&key.text), NOW_S).unwrap();
    measure("check, key submits a batch", 100_000, |_| {
        black_box(access.check(&caller, &Action::SubmitBatch { board: "b" }, NOW_S)).unwrap();
    });
}
