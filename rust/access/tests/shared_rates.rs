//! Rates that several servers share, with a clock of the tests' own and gossip without a network.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use rankwire_access::limits::BURST_S;
use rankwire_access::{Access, Caller, Mode, Policy, RetryAfter};
use support::{NOW_S, access, api_key, identify, policy, sign, with};

/// Between two rounds of gossip.
const ROUND_MS: u64 = 200;

fn rates(key: u32, member: u32) -> Access {
    access(Policy { key_submits_per_second: key, member_submits_per_second: member, ..policy() })
}

fn player(access: &Access, member: &str) -> Arc<Caller> {
    identify(access, &sign(0, &with("sub", member))).unwrap()
}

static ANN: LazyLock<Arc<Caller>> = LazyLock::new(|| player(&rates(0, 1), "ann"));

fn sorted(mut spent: Vec<(String, u64)>) -> Vec<(String, u64)> {
    spent.sort();
    spent
}

/// Tells every node what the others spent.
fn gossip(nodes: &[Access], now_ms: u64) {
    let told: Vec<_> = nodes.iter().map(|node| node.take_spent(usize::MAX)).collect();
    for (listener, node) in nodes.iter().enumerate() {
        for (teller, spent) in told.iter().enumerate() {
            if listener != teller {
                for (subject, amount) in spent {
                    node.debit(subject, *amount, now_ms);
                }
            }
        }
    }
}

#[test]
fn what_is_spent_is_taken_once() {
    let access = rates(10, 10);
    let (ann, bob) = (player(&access, "ann"), player(&access, "b:ob"));
    let (text, record) = api_key(&[], &[]);
    access.set_keys(vec![record]);
    let key = identify(&access, &text).unwrap();
    let spend = |caller, submits| access.spend(caller, submits, 0);

    // Nobody asks: nothing is counted.
    assert_eq!(spend(&ann, 1), Ok(()));
    assert_eq!(access.take_spent(10), []);

    for (caller, submits) in [(&ann, 2), (&bob, 5), (&ann, 3), (&key, 7), (&ann, 0)] {
        assert_eq!(spend(caller, submits), Ok(()));
    }
    // What was refused was not spent.
    assert!(spend(&ann, 30).is_err());
    let of_key = (format!("key:{}", key.name()), 7);
    assert_eq!(access.take_spent(1), [of_key]);
    let players = [("player:ann".into(), 5), ("player:b:ob".into(), 5)];
    assert_eq!(sorted(access.take_spent(10)), players);
    assert_eq!(access.take_spent(10), []);

    // No more than asked for, and the rest the next time.
    for caller in [&ann, &bob, &key] {
        assert_eq!(spend(caller, 1), Ok(()));
    }
    assert_eq!(access.take_spent(0), []);
    let mut rest = access.take_spent(2);
    assert_eq!(rest.len(), 2);
    rest.extend(access.take_spent(2));
    assert_eq!(sorted(rest).iter().map(|(_, amount)| amount).sum::<u64>(), 3);
    assert_eq!(access.take_spent(2), []);
}

#[test]
fn debits_are_not_handed_on() {
    let access = rates(0, 10);
    assert_eq!(access.take_spent(10), []);
    access.debit("player:ann", 5, 0);
    assert_eq!(access.take_spent(10), []);
}

#[test]
fn without_a_rate_there_is_nothing_to_share() {
    let unlimited = rates(0, 0);
    let open = Access::new(Policy { mode: Mode::Open, member_submits_per_second: 1, ..policy() });
    let everybody = open.identify(None, NOW_S).unwrap();
    for (access, caller) in [(&unlimited, &*ANN), (&open, &everybody)] {
        assert_eq!(access.take_spent(10), []);
        access.debit("player:ann", u64::MAX, 0);
        assert_eq!(access.spend(caller, 1, 0), Ok(()));
        assert_eq!(access.take_spent(10), []);
    }
}

#[test]
fn a_debit_counts_for_its_subject_alone() {
    let access = rates(10, 10);
    let (text, record) = api_key(&[], &[]);
    access.set_keys(vec![record]);
    let key = identify(&access, &text).unwrap();
    let namesake = player(&access, key.name());
    let colon = player(&access, "b:ob");

    access.debit(&format!("key:{}", key.name()), 20, 0);
    assert_eq!(access.spend(&key, 11, 0), Err(RetryAfter(100)));
    assert_eq!(access.spend(&key, 10, 0), Ok(()));
    assert_eq!(access.spend(&namesake, 30, 0), Ok(()));

    access.debit("player:b:ob", 30, 0);
    assert_eq!(access.spend(&colon, 1, 0), Err(RetryAfter(100)));

    for strange in ["", "ann", ":ann", "Player:ann", "players:ann", "key", "player ann"] {
        access.debit(strange, 30, 0);
    }
    access.debit("player:ann", 0, 0);
    assert_eq!(access.spend(&ANN, 30, 0), Ok(()));
}

#[test]
fn nobody_owes_more_than_a_burst_because_of_debits() {
    for amounts in [&[61][..], &[30, 30, 1], &[u64::MAX], &[u64::MAX, u64::MAX]] {
        let access = rates(0, 10);
        for amount in amounts {
            access.debit("player:ann", *amount, 1_000);
        }
        // 30 are a burst: as many are owed, and then one has to come in.
        assert_eq!(access.spend(&ANN, 1, 1_000), Err(RetryAfter(3_100)), "{amounts:?}");
        assert_eq!(access.spend(&ANN, 1, 4_100), Ok(()));
    }
    // What was taken here at once, more than a bucket holds, is owed all the same.
    let access = rates(0, 10);
    assert_eq!(access.spend(&ANN, 100, 0), Ok(()));
    access.debit("player:ann", 100, 0);
    assert_eq!(access.spend(&ANN, 1, 0), Err(RetryAfter(7_100)));
    // Extreme numbers are only numbers.
    for now_ms in [u64::MAX, 0, u64::MAX] {
        access.debit("player:ann", u64::MAX, now_ms);
    }
}

/// Whoever submits as fast as it can, everywhere at once, gets a burst of each node and then the
/// rate: all nodes' together.
#[test]
fn a_hurry_everywhere_gets_the_rate_and_a_burst_of_each() {
    let (rate, rounds) = (10_u32, 300_u64);
    let burst = BURST_S * u64::from(rate);
    for count in 1..=5 {
        let nodes: Vec<Access> = (0..count).map(|_| rates(0, rate)).collect();
        gossip(&nodes, 0);
        let mut total = 0_u64;
        for round in 0..rounds {
            for now_ms in (round * ROUND_MS..(round + 1) * ROUND_MS).step_by(10) {
                for node in &nodes {
                    total += u64::from(node.spend(&ANN, 1, now_ms).is_ok());
                }
            }
            gossip(&nodes, (round + 1) * ROUND_MS);
        }
        let allowed = u64::from(rate) * rounds * ROUND_MS / 1_000;
        let before_hearing = count * u64::from(rate) * ROUND_MS / 1_000;
        assert!(total >= allowed, "{count} nodes allowed only {total}");
        assert!(total <= allowed + count * burst + before_hearing, "{count} nodes allowed {total}");
    }
}

/// Nodes that do not hear each other limit by themselves, no more and no less than one alone.
#[test]
fn nodes_that_hear_nothing_limit_by_themselves() {
    let nodes = [rates(0, 10), rates(0, 10)];
    for node in &nodes {
        node.take_spent(10);
        let spent = (0..10_000).filter(|now_ms| node.spend(&ANN, 1, *now_ms).is_ok()).count();
        assert_eq!(spent, 30 + 99);
    }
}

/// What a node does in a round.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Idle,
    /// So many tenths of a second's worth, at once.
    Submit(u32),
    /// One by one until refused.
    Hurry,
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        3 => Just(Turn::Idle),
        2 => (1..=30_u32).prop_map(Turn::Submit),
        2 => Just(Turn::Hurry),
    ]
}

/// Rounds of some nodes; some last for a while, so that buckets fill and debts are paid.
fn histories() -> impl Strategy<Value = (usize, Vec<(u64, Vec<Turn>)>)> {
    (1..=4_usize).prop_flat_map(|count| {
        let round = (1..=35_u64, prop::collection::vec(turn(), count));
        (Just(count), prop::collection::vec(round, 1..60))
    })
}

proptest! {
    /// Each node is the same as a bucket that is filled drop by drop and debited each round; and
    /// all together stay below what docs/access.md promises.
    #[test]
    fn all_together_are_bounded(
        // Rates that a nanosecond divides, so that the model is exact.
        rate in prop::sample::select(vec![10_u32, 1_000, 20_000]),
        (count, history) in histories(),
    ) {
        let nodes: Vec<Access> = (0..count).map(|_| rates(0, rate)).collect();
        gossip(&nodes, 0);
        let per_ms = i64::from(rate);
        // In thousandths of a submit.
        let full = i64::try_from(BURST_S).unwrap() * per_ms * 1_000;
        let mut levels = vec![full; count];
        let (mut now_ms, mut total) = (0, 0);
        for (rounds, turns) in history {
            let mut spent = vec![0; count];
            for (node, turn) in turns.into_iter().enumerate() {
                let (submits, times) = match turn {
                    Turn::Idle => (0, 0),
                    Turn::Submit(tenths) => (tenths * rate / 10, 1),
                    Turn::Hurry => (rate / 10, 40),
                };
                for _ in 0..times {
                    let cost = i64::from(submits) * 1_000;
                    let allowed = nodes[node].spend(&ANN, submits, now_ms).is_ok();
                    prop_assert_eq!(allowed, cost <= levels[node], "{} of {:?}", cost, &levels);
                    if allowed {
                        levels[node] -= cost;
                        spent[node] += cost;
                    }
                }
            }
            let all: i64 = spent.iter().sum();
            total += all;
            gossip(&nodes, now_ms);
            for (level, own) in levels.iter_mut().zip(&spent) {
                *level = (*level - (all - own)).max(-full);
            }
            now_ms += rounds * ROUND_MS;
            let came = i64::try_from(rounds * ROUND_MS).unwrap() * per_ms;
            for level in &mut levels {
                *level = full.min(*level + came);
            }
            let (nodes, allowed) = (i64::try_from(count).unwrap(), per_ms * now_ms.cast_signed());
            // The rate, or half the nodes' if bursts come everywhere in the same round.
            prop_assert!(total <= nodes * full + allowed.max(allowed * nodes / 2));
        }
    }
}
