//! Rates, with a clock of the tests' own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use rankwire_access::limits::BURST_S;
use rankwire_access::{Access, Caller, Mode, Policy, RetryAfter};
use support::{NOW_S, access, api_key, identify, policy, sign, with};

fn rates(key: u32, member: u32) -> Access {
    access(Policy { key_submits_per_second: key, member_submits_per_second: member, ..policy() })
}

fn player(access: &Access, member: &str) -> Arc<Caller> {
    identify(access, &sign(0, &with("sub", member))).unwrap()
}

#[test]
fn a_burst_and_then_the_rate() {
    let access = rates(0, 10);
    let ann = player(&access, "ann");
    for _ in 0..30 {
        assert_eq!(access.spend(&ann, 1, 5_000), Ok(()));
    }
    assert_eq!(access.spend(&ann, 1, 5_000), Err(RetryAfter(100)));
    assert_eq!(access.spend(&ann, 1, 5_099), Err(RetryAfter(1)));
    assert_eq!(access.spend(&ann, 1, 5_100), Ok(()));
    assert_eq!(access.spend(&ann, 1, 5_100), Err(RetryAfter(100)));
    assert_eq!(access.spend(&ann, 4, 5_100), Err(RetryAfter(400)));
    // Nothing was counted by the refusals.
    assert_eq!(access.spend(&ann, 4, 5_500), Ok(()));
    // Never more than a burst, however long the pause.
    assert_eq!(access.spend(&ann, 30, 1_000_000), Ok(()));
    assert_eq!(access.spend(&ann, 1, 1_000_000), Err(RetryAfter(100)));
    // Nothing costs nothing.
    assert_eq!(access.spend(&ann, 0, 1_000_000), Ok(()));
}

#[test]
fn each_has_its_own_bucket() {
    let access = rates(2, 1);
    let (ann, bob) = (player(&access, "ann"), player(&access, "bob"));
    let (text, record) = api_key(&[], &[]);
    let (other, another) = api_key(&[], &[]);
    access.set_keys(vec![record, another]);
    let (key, other) = (identify(&access, &text).unwrap(), identify(&access, &other).unwrap());
    // A player is not the key of the same name, nor another player.
    let namesake = player(&access, key.name());
    for (caller, burst) in [(&ann, 3), (&bob, 3), (&key, 6), (&other, 6), (&namesake, 3)] {
        for _ in 0..burst {
            assert_eq!(access.spend(caller, 1, 0), Ok(()));
        }
        assert_eq!(
            access.spend(caller, 1, 0),
            Err(RetryAfter(if burst == 6 { 500 } else { 1_000 }))
        );
    }
    // Another token of a player is no other player.
    let again = identify(&access, &sign(1, &with("sub", "ann"))).unwrap();
    assert_eq!(access.spend(&again, 1, 0), Err(RetryAfter(1_000)));
    // New keys do not fill buckets.
    access.set_keys(Vec::new());
    assert_eq!(access.spend(&key, 1, 0), Err(RetryAfter(500)));
}

#[test]
fn no_rate_is_no_limit() {
    let access = rates(0, 0);
    let (text, record) = api_key(&[], &[]);
    access.set_keys(vec![record]);
    for caller in [player(&access, "ann"), identify(&access, &text).unwrap()] {
        for _ in 0..1_000 {
            assert_eq!(access.spend(&caller, u32::MAX, 0), Ok(()));
        }
    }
    let open = Access::new(Policy { mode: Mode::Open, member_submits_per_second: 1, ..policy() });
    let everybody = open.identify(None, NOW_S).unwrap();
    for _ in 0..1_000 {
        assert_eq!(open.spend(&everybody, u32::MAX, 0), Ok(()));
    }
}

#[test]
fn more_than_a_burst_at_once_waits_for_a_full_bucket() {
    let access = rates(0, 10);
    let ann = player(&access, "ann");
    assert_eq!(access.spend(&ann, 1, 0), Ok(()));
    assert_eq!(access.spend(&ann, 100, 0), Err(RetryAfter(100)));
    assert_eq!(access.spend(&ann, 100, 100), Ok(()));
    // Ten seconds' worth were taken; what comes next finds room when it is less than a burst.
    assert_eq!(access.spend(&ann, 1, 100), Err(RetryAfter(7_100)));
    assert_eq!(access.spend(&ann, 100, 100), Err(RetryAfter(10_000)));
    assert_eq!(access.spend(&ann, 1, 7_200), Ok(()));
}

#[test]
fn extreme_numbers_are_only_numbers() {
    for rate in [1, u32::MAX] {
        let access = rates(0, rate);
        let ann = player(&access, "ann");
        for now_ms in [0, 1, u64::MAX / 2, u64::MAX, 0] {
            for submits in [1, u32::MAX, 0, u32::MAX] {
                let _ = access.spend(&ann, submits, now_ms);
            }
        }
    }
}

#[test]
fn the_clock_goes_on() {
    let access = rates(0, 0);
    let first = access.clock_ms();
    assert!(first < 60_000);
    while access.clock_ms() == first {
        std::hint::spin_loop();
    }
    assert!(access.clock_ms() > first);
}

static PLAYERS: LazyLock<Vec<Arc<Caller>>> =
    LazyLock::new(|| ["a", "b", "c"].map(|name| player(&rates(0, 1), name)).into());

proptest! {
    /// The same as a bucket that is filled drop by drop, and what a refusal says is true.
    #[test]
    fn buckets_fill_drop_by_drop(
        // Rates that a nanosecond divides, so that the model is exact.
        rate in prop::sample::select(vec![1_u32, 2, 10, 1_000, 20_000]),
        steps in prop::collection::vec((0..3_usize, 0..4_000_u64, 0..40_u32), 1..60),
    ) {
        let access = Access::new(Policy { member_submits_per_second: rate, ..policy() });
        // In billionths of a submit; negative while more than a burst is made up for.
        let (second, rate) = (1_000_000_000, i128::from(rate));
        let full = i128::from(BURST_S) * rate * second;
        let mut levels = [full; 3];
        let mut now_ms = 0;
        for (who, pause_ms, share) in steps {
            now_ms += pause_ms;
            for level in &mut levels {
                *level = full.min(*level + i128::from(pause_ms) * 1_000_000 * rate);
            }
            // From nothing to somewhat more than a burst.
            let submits = u32::try_from(i128::from(share) * rate / 10).unwrap();
            let cost = i128::from(submits) * second;
            let result = access.spend(&PLAYERS[who], submits, now_ms);
            let missing = cost.min(full) - levels[who];
            if submits == 0 || missing <= 0 {
                prop_assert_eq!(result, Ok(()));
                levels[who] -= cost;
            } else {
                // Whole milliseconds, rounded up.
                let ms_of_rate = 1_000_000 * rate;
                let ms = (missing + ms_of_rate - 1) / ms_of_rate;
                prop_assert_eq!(result, Err(RetryAfter(u64::try_from(ms).unwrap())));
            }
        }
    }
}
