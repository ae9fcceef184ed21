//! Merging: what a record does to the state of a member. Pure functions, no clock, no board.
//!
//! [`merge`] must give one result for a set of records in any order, because nodes receive them
//! in different orders. Per policy that holds because the state is a maximum (or a sum and a
//! maximum) in a total order:
//!
//! * `best`: the smaller (score code, stamp) pair stays.
//! * `last`: the larger stamp stays; of equal stamps the better score.
//! * `sum`: amounts add, the larger stamp stays. Adding is not idempotent, so the journal applies
//!   each record exactly once. Float sums depend on the order in the last bits; integers do not.

use rankwire_ranklist::Key;

use crate::config::{BoardConfig, Policy};
use crate::score::Score;

/// The state of a member after a record with `score` and `stamp`, given its `current` state.
/// Returns the current state itself when the record changes nothing.
///
/// Sums that leave the range stay at its end here; [`admit`] refuses them at the node that takes
/// the submit, so this happens only when nodes add concurrently at the very edge.
pub(crate) fn merge(config: BoardConfig, current: Option<Key>, score: Score, stamp: u64) -> Key {
    let incoming = Key { score: [score.code(config.order)], stamp };
    let Some(current) = current else { return incoming };
    match config.policy {
        Policy::Best if (incoming.score, stamp) < (current.score, current.stamp) => incoming,
        Policy::Last
            if stamp > current.stamp
                || (stamp == current.stamp && incoming.score < current.score) =>
        {
            incoming
        }
        Policy::Best | Policy::Last => current,
        Policy::Sum => {
            let sum = decode(config, current).saturating_add(score);
            Key { score: [sum.code(config.order)], stamp: stamp.max(current.stamp) }
        }
    }
}

/// Whether the node that takes a submit may accept it and must record it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Record it: the member's state becomes this.
    Changes(Key),
    /// The state stays as it is; nothing to record.
    Unchanged(Key),
    /// The sum would leave the range of the score type.
    Overflow,
}

/// Decides about a submit at the node that takes it; see [`Admission`].
///
/// Adding zero to a member that exists changes nothing, so it is not recorded: repeating it must
/// not cost the member its place among equals.
pub(crate) fn admit(
    config: BoardConfig,
    current: Option<Key>,
    score: Score,
    stamp: u64,
) -> Admission {
    if let (Policy::Sum, Some(current)) = (config.policy, current) {
        let held = decode(config, current);
        match held.checked_add(score) {
            None => return Admission::Overflow,
            Some(sum) if sum == held => return Admission::Unchanged(current),
            Some(_) => {}
        }
    }
    let merged = merge(config, current, score, stamp);
    match current {
        Some(current) if current == merged => Admission::Unchanged(current),
        _ => Admission::Changes(merged),
    }
}

/// The score that a member's key stands for.
pub(crate) fn decode(config: BoardConfig, key: Key) -> Score {
    Score::from_code(key.score[0], config.score, config.order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Order, ScoreType, TieBreak};
    use proptest::prelude::*;

    fn config() -> impl Strategy<Value = BoardConfig> {
        (
            prop_oneof![Just(Policy::Best), Just(Policy::Last), Just(Policy::Sum)],
            prop_oneof![Just(Order::Asc), Just(Order::Desc)],
        )
            .prop_map(|(policy, order)| BoardConfig {
                score: ScoreType::Int64,
                order,
                policy,
                ties: TieBreak::First,
                player_submits: false,
            })
    }

    proptest! {
        /// Few scores and stamps, so that every kind of tie comes up.
        #[test]
        fn any_order_of_records_gives_one_state(
            config in config(),
            records in prop::collection::vec((-2..3_i64, 0..3_u64), 1..6),
            swaps in prop::collection::vec((0..6_usize, 0..6_usize), 0..6),
        ) {
            let apply = |records: &[(i64, u64)]| {
                records.iter().fold(None, |state, &(score, stamp)| {
                    Some(merge(config, state, Score::Int(score), stamp))
                })
            };
            let mut shuffled = records.clone();
            for (a, b) in swaps {
                let n = shuffled.len();
                shuffled.swap(a % n, b % n);
            }
            prop_assert_eq!(apply(&records), apply(&shuffled));
        }

        /// What admission leaves out of the journal must not be missed by any other node.
        #[test]
        fn unrecorded_submits_are_dominated(
            config in config(),
            records in prop::collection::vec((-2..3_i64, 0..3_u64), 1..6),
        ) {
            prop_assume!(config.policy != Policy::Sum);
            let (mut at_origin, mut elsewhere) = (None, None);
            for (score, stamp) in records {
                let score = Score::Int(score);
                if let Admission::Changes(key) = admit(config, at_origin, score, stamp) {
                    at_origin = Some(key);
                    elsewhere = Some(merge(config, elsewhere, score, stamp));
                }
                prop_assert_eq!(at_origin, Some(merge(config, at_origin, score, stamp)));
                prop_assert_eq!(at_origin, elsewhere);
            }
        }
    }

    #[test]
    fn sums_refuse_overflow_and_ignore_zero() {
        let config = BoardConfig { policy: Policy::Sum, ..BoardConfig::default() };
        let full = merge(config, None, Score::Int(i64::MAX), 1);
        assert_eq!(admit(config, Some(full), Score::Int(1), 2), Admission::Overflow);
        assert_eq!(admit(config, Some(full), Score::Int(0), 2), Admission::Unchanged(full));
        assert_eq!(
            decode(config, merge(config, Some(full), Score::Int(1), 2)),
            Score::Int(i64::MAX)
        );
    }
}
