//! Scores and their order-preserving codes.
//!
//! The ranked list compares plain `u64` codes, ascending, best first. This module is the only
//! place that knows how an `int64` or `float64` score under a direction becomes such a code and
//! back. The mapping is a bijection on the scores a board accepts: integers exactly, floats
//! without NaN and infinities and with `-0.0` read as `0.0`.

use serde::{Deserialize, Serialize};

use crate::Error;

/// Type of a board's score column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScoreType {
    /// 64-bit signed integer.
    #[default]
    Int64,
    /// IEEE 754 double, finite.
    Float64,
}

/// Direction of a board's score column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Highest score first.
    #[default]
    Desc,
    /// Lowest score first.
    Asc,
}

/// A score as callers see it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Score {
    /// Score of an `int64` board.
    Int(i64),
    /// Score of a `float64` board.
    Float(f64),
}

/// Every integer up to here has its own double: 2^53.
const EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

impl Score {
    /// This score in the type of the board. An integral float counts as an integer, because some
    /// clients write every number with a decimal point; anything that would lose digits does not.
    ///
    /// # Errors
    /// [`Error::Score`] for NaN, infinities and fractions on an `int64` board.
    pub fn cast(self, to: ScoreType) -> Result<Score, Error> {
        match (self, to) {
            (Score::Int(_), ScoreType::Int64) => Ok(self),
            (Score::Float(x), _) if !x.is_finite() => {
                Err(Error::Score("a score is a finite number"))
            }
            (Score::Float(x), ScoreType::Float64) => Ok(Score::Float(x + 0.0)),
            #[expect(
                clippy::cast_precision_loss,
                reason = "the nearest double, as JSON parsers do"
            )]
            (Score::Int(i), ScoreType::Float64) => Ok(Score::Float(i as f64)),
            (Score::Float(x), ScoreType::Int64) if x.fract() == 0.0 && x.abs() <= EXACT_FLOAT => {
                Ok(Score::Int(x as i64))
            }
            (Score::Float(_), ScoreType::Int64) => {
                Err(Error::Score("a score on this board is an integer"))
            }
        }
    }

    /// The code that the ranked list sorts ascending, best first.
    pub fn code(self, order: Order) -> u64 {
        let ascending = match self {
            Score::Int(i) => i.cast_unsigned() ^ SIGN,
            Score::Float(x) => float_code(x),
        };
        flip(ascending, order)
    }

    /// Inverse of [`code`](Self::code).
    pub fn from_code(code: u64, score_type: ScoreType, order: Order) -> Score {
        let ascending = flip(code, order);
        match score_type {
            ScoreType::Int64 => Score::Int((ascending ^ SIGN).cast_signed()),
            ScoreType::Float64 => Score::Float(float_from_code(ascending)),
        }
    }

    /// The eight bytes that stand for this score in the journal.
    pub fn to_bits(self) -> u64 {
        match self {
            Score::Int(i) => i.cast_unsigned(),
            Score::Float(x) => x.to_bits(),
        }
    }

    /// Inverse of [`to_bits`](Self::to_bits).
    pub fn from_bits(bits: u64, score_type: ScoreType) -> Score {
        match score_type {
            ScoreType::Int64 => Score::Int(bits.cast_signed()),
            ScoreType::Float64 => Score::Float(f64::from_bits(bits)),
        }
    }

    /// The sum of two scores of one type, or nothing when it leaves the type's range.
    pub fn checked_add(self, other: Score) -> Option<Score> {
        match (self, other) {
            (Score::Int(a), Score::Int(b)) => a.checked_add(b).map(Score::Int),
            (a, b) => Some(a.to_f64() + b.to_f64()).filter(|x| x.is_finite()).map(Score::Float),
        }
    }

    /// The sum of two scores of one type, held at the end of the range.
    #[must_use]
    pub fn saturating_add(self, other: Score) -> Score {
        match (self, other) {
            (Score::Int(a), Score::Int(b)) => Score::Int(a.saturating_add(b)),
            (a, b) => Score::Float((a.to_f64() + b.to_f64()).clamp(f64::MIN, f64::MAX)),
        }
    }

    fn to_f64(self) -> f64 {
        match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "the nearest double, as JSON parsers do"
            )]
            Score::Int(i) => i as f64,
            Score::Float(x) => x,
        }
    }
}

const SIGN: u64 = 1 << 63;

fn flip(code: u64, order: Order) -> u64 {
    match order {
        Order::Asc => code,
        Order::Desc => !code,
    }
}

/// IEEE 754 totalOrder on finite values: flip all bits of negatives, the sign bit of the rest.
fn float_code(x: f64) -> u64 {
    let bits = x.to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

fn float_from_code(code: u64) -> f64 {
    f64::from_bits(if code & SIGN == 0 { !code } else { code & !SIGN })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn finite() -> impl Strategy<Value = f64> {
        prop_oneof![any::<f64>(), Just(0.0), Just(-0.0), Just(f64::MAX), Just(5e-324)]
            .prop_filter("finite", |x| x.is_finite())
    }

    proptest! {
        #[test]
        fn integer_codes_keep_order_and_invert(a: i64, b: i64) {
            let (x, y) = (Score::Int(a), Score::Int(b));
            prop_assert_eq!(a.cmp(&b), x.code(Order::Asc).cmp(&y.code(Order::Asc)));
            prop_assert_eq!(b.cmp(&a), x.code(Order::Desc).cmp(&y.code(Order::Desc)));
            for order in [Order::Asc, Order::Desc] {
                prop_assert_eq!(Score::from_code(x.code(order), ScoreType::Int64, order), x);
            }
        }

        #[test]
        fn float_codes_keep_order_and_invert(a in finite(), b in finite()) {
            let x = Score::Float(a).cast(ScoreType::Float64).unwrap();
            let y = Score::Float(b).cast(ScoreType::Float64).unwrap();
            prop_assert_eq!(a.partial_cmp(&b), Some(x.code(Order::Asc).cmp(&y.code(Order::Asc))));
            for order in [Order::Asc, Order::Desc] {
                prop_assert_eq!(Score::from_code(x.code(order), ScoreType::Float64, order), x);
            }
        }
    }

    #[test]
    fn casts_lose_nothing_silently() {
        assert_eq!(Score::Float(5.0).cast(ScoreType::Int64), Ok(Score::Int(5)));
        assert_eq!(Score::Int(5).cast(ScoreType::Float64), Ok(Score::Float(5.0)));
        for bad in [5.5, 1e19, f64::NAN, f64::INFINITY] {
            assert!(Score::Float(bad).cast(ScoreType::Int64).is_err(), "{bad}");
        }
        assert!(Score::Float(f64::NEG_INFINITY).cast(ScoreType::Float64).is_err());
        assert_eq!(Score::Float(-0.0).cast(ScoreType::Float64), Ok(Score::Float(0.0)));
    }

    #[test]
    fn sums_stop_at_the_range() {
        let max = Score::Int(i64::MAX);
        assert_eq!(max.checked_add(Score::Int(1)), None);
        assert_eq!(max.saturating_add(Score::Int(1)), max);
        let huge = Score::Float(f64::MAX);
        assert_eq!(huge.checked_add(huge), None);
        assert_eq!(huge.saturating_add(huge), huge);
    }
}
