//! What a submit does on a board in memory. A pure function, as the log of the list needs it.
//!
//! The policies are those of [`policy`](crate::policy), with the position in the log for a stamp.
//! Positions grow in the order in which submits take effect, so nothing has to be said about
//! submits that arrive late.

use std::ops::RangeInclusive;

use rankwire_ranklist::{Key, Rule};

use super::score::{Column, Scores};
use crate::{Error, Order, Policy};

/// How scores are stored and how they combine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<const C: usize> {
    /// The columns, the most significant first.
    pub(super) columns: [Column; C],
    /// How a submit combines with what the member has.
    pub(super) policy: Policy,
}

/// What an entry of the log offers to a member.
#[derive(Debug, Clone, Copy)]
pub(super) enum Offer<const C: usize> {
    /// A score by its codes; with policy `sum` an amount.
    Score([u64; C]),
    /// That it leaves the board.
    Removal,
}

impl<const C: usize> Rules<C> {
    /// The codes of a score.
    ///
    /// # Errors
    /// [`Error::Score`] when it has another number of columns, or one does not take its number.
    pub(super) fn codes(&self, scores: &Scores) -> Result<[u64; C], Error> {
        if scores.len() != C {
            return Err(Error::Score("a score on this board has a number for each column"));
        }
        let mut codes = [0; C];
        for ((code, column), score) in codes.iter_mut().zip(self.columns).zip(&**scores) {
            *code = column.code(*score)?;
        }
        Ok(codes)
    }

    /// The score that a key stands for.
    pub(super) fn scores(&self, key: Key<C>) -> Scores {
        Scores::of::<C>(|column| self.columns[column].score(key.score[column]))
    }

    /// The codes from score `min` to score `max`, both included, both optional.
    ///
    /// # Errors
    /// [`Error::Score`] when one is not a score of this board.
    pub(super) fn range(
        &self,
        min: Option<&Scores>,
        max: Option<&Scores>,
    ) -> Result<RangeInclusive<[u64; C]>, Error> {
        let code = |bound: Option<&Scores>| bound.map(|score| self.codes(score)).transpose();
        let (min, max) = (code(min)?, code(max)?);
        let (best, worst) = match self.columns[0].order {
            Order::Asc => (min, max),
            Order::Desc => (max, min),
        };
        Ok(best.unwrap_or([0; C])..=worst.unwrap_or([u64::MAX; C]))
    }

    /// Whether the offer was refused by a member that stood at `current`: with policy `sum`, when a
    /// column would leave the range of its type.
    pub(super) fn overflows(&self, current: Key<C>, offered: [u64; C]) -> bool {
        self.policy == Policy::Sum && self.sum(current.score, offered).is_none()
    }

    fn sum(&self, held: [u64; C], amount: [u64; C]) -> Option<[u64; C]> {
        let mut sum = [0; C];
        for (index, column) in self.columns.into_iter().enumerate() {
            let (held, amount) = (column.score(held[index]), column.score(amount[index]));
            sum[index] = held.checked_add(amount)?.code(column.order);
        }
        Some(sum)
    }
}

impl<const C: usize> Rule<C> for Rules<C> {
    type Offer = Offer<C>;

    fn decide(&self, current: Option<Key<C>>, offer: &Offer<C>, position: u64) -> Option<Key<C>> {
        let Offer::Score(score) = *offer else { return None };
        let offered = Key { score, stamp: position };
        let Some(current) = current else { return Some(offered) };
        let replaces = match self.policy {
            Policy::Best => (score < current.score).then_some(offered),
            Policy::Last => Some(offered),
            Policy::Sum => self
                .sum(current.score, score)
                .filter(|sum| *sum != current.score)
                .map(|score| Key { score, stamp: position }),
        };
        Some(replaces.unwrap_or(current))
    }

    fn score(&self, offer: &Offer<C>) -> [u64; C] {
        match *offer {
            Offer::Score(score) => score,
            Offer::Removal => [u64::MAX; C],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Admission, admit};
    use crate::{BoardConfig, Score, ScoreType};
    use proptest::prelude::*;

    fn policy() -> impl Strategy<Value = Policy> {
        prop_oneof![Just(Policy::Best), Just(Policy::Last), Just(Policy::Sum)]
    }

    fn order() -> impl Strategy<Value = Order> {
        prop_oneof![Just(Order::Asc), Just(Order::Desc)]
    }

    proptest! {
        /// With one column, and times that grow, a board in memory is one of the server.
        #[test]
        fn one_column_is_decided_as_on_the_server(
            (policy, order) in (policy(), order()),
            offers in prop::collection::vec(
                prop_oneof![-2..3_i64, Just(i64::MAX - 1), Just(i64::MIN)], 1..12,
            ),
        ) {
            let column = Column { score: ScoreType::Int64, order };
            let rules = Rules { columns: [column], policy };
            let config = BoardConfig { score: column.score, order, policy, ..BoardConfig::default() };
            let mut current = None;
            for (position, offer) in (1..).zip(offers) {
                let score = Score::Int(offer);
                let code = [score.code(order)];
                let next = rules.decide(current, &Offer::Score(code), position);
                let overflows = current.is_some_and(|current| rules.overflows(current, code));
                let (expected, refused) = match admit(config, current, score, position) {
                    Admission::Changes(key) | Admission::Unchanged(key) => (Some(key), false),
                    Admission::Overflow => (current, true),
                };
                prop_assert_eq!((next, overflows), (expected, refused));
                current = next;
            }
        }

        #[test]
        fn codes_invert(order in order(), points: i64, seconds in -1e300..1e300) {
            let columns = [
                Column { score: ScoreType::Int64, order },
                Column { score: ScoreType::Float64, order },
            ];
            let rules = Rules { columns, policy: Policy::Best };
            let score = Scores::new(&[Score::Int(points), Score::Float(seconds + 0.0)]).unwrap();
            let key = Key { score: rules.codes(&score).unwrap(), stamp: 0 };
            prop_assert_eq!(rules.scores(key), score);
        }
    }

    #[test]
    fn a_sum_that_one_column_cannot_hold_leaves_all_as_they_are() {
        let rules = Rules { columns: [Column::default(); 2], policy: Policy::Sum };
        let codes =
            |a, b| rules.codes(&Scores::new(&[Score::Int(a), Score::Int(b)]).unwrap()).unwrap();
        let full = Key { score: codes(1, i64::MAX), stamp: 1 };
        assert_eq!(rules.decide(Some(full), &Offer::Score(codes(5, 1)), 2), Some(full));
        assert!(rules.overflows(full, codes(5, 1)));
        assert!(!rules.overflows(full, codes(5, 0)));
    }
}
