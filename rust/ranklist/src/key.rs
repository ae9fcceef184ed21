//! What an entry is ordered by, and what a reader gets back.

use std::cmp::Ordering;

/// A member's standing: its score and when it was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// An order-preserving code of the score; the smaller code ranks better.
    pub score: u64,
    /// When the score was reached, in any unit that grows with time.
    pub stamp: u64,
}

/// How members with equal scores are ranked.
///
/// Whatever the rule, members that are still equal stand in ascending order of their bytes, so no
/// two members ever share a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Ties {
    /// The smaller stamp ranks better: whoever reached the score first.
    #[default]
    First,
    /// The larger stamp ranks better: whoever reached the score last.
    Last,
    /// The stamp is ignored; only the member's bytes count.
    Member,
}

impl Ties {
    /// Orders two stamps under this rule, the better one first.
    pub(crate) fn order(self, a: u64, b: u64) -> Ordering {
        match self {
            Self::First => a.cmp(&b),
            Self::Last => b.cmp(&a),
            Self::Member => Ordering::Equal,
        }
    }
}

/// The key of a list's member hash. Keep it secret: see the crate's front page.
pub type Seed = [u8; 16];

/// One member as a reader of one version sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The exact rank, counted from 1.
    pub rank: u64,
    /// The member's name.
    pub member: &'a str,
    /// The member's score and stamp.
    pub key: Key,
}
