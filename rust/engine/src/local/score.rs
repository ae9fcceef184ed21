//! Scores of several columns: what callers see of them.

use std::ops::Deref;

use crate::{Error, Order, Score, ScoreType};

/// The most columns that a score has.
pub const MAX_COLUMNS: usize = 3;

/// Type and direction of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Column {
    /// The type of its numbers.
    pub score: ScoreType,
    /// Which of them are better.
    pub order: Order,
}

impl Column {
    /// The code of a number in this column.
    ///
    /// # Errors
    /// [`Error::Score`], as [`Score::cast`].
    pub(super) fn code(self, score: Score) -> Result<u64, Error> {
        Ok(score.cast(self.score)?.code(self.order))
    }

    /// The inverse of [`code`](Self::code).
    pub(super) fn score(self, code: u64) -> Score {
        Score::from_code(code, self.score, self.order)
    }
}

/// A score: one number for each column, the most significant first. A slice that is stored inline.
#[derive(Debug, Clone, Copy)]
pub struct Scores {
    numbers: [Score; MAX_COLUMNS],
    columns: usize,
}

impl Scores {
    /// A score of these numbers.
    ///
    /// # Errors
    /// [`Error::Score`] if there are none or more than [`MAX_COLUMNS`].
    pub fn new(numbers: &[Score]) -> Result<Self, Error> {
        let columns = numbers.len();
        if !(1..=MAX_COLUMNS).contains(&columns) {
            return Err(Error::Score("a score has one to three columns"));
        }
        let numbers = std::array::from_fn(|column| numbers[column.min(columns - 1)]);
        Ok(Self { numbers, columns })
    }

    /// A score of a number of columns that is known to be right.
    pub(super) fn of<const C: usize>(number: impl Fn(usize) -> Score) -> Self {
        Self { numbers: std::array::from_fn(|column| number(column.min(C - 1))), columns: C }
    }
}

impl Deref for Scores {
    type Target = [Score];

    fn deref(&self) -> &[Score] {
        &self.numbers[..self.columns]
    }
}

impl PartialEq for Scores {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}
