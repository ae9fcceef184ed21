//! What an entry is ordered by, and what a reader gets back.

/// A member's standing: its score and when it was reached.
///
/// A score has one to three columns. The first one counts most; the next is looked at where the
/// first ones are equal.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<const C: usize = 1> {
    /// Order-preserving codes of the score's columns; the smaller code ranks better.
    pub score: [u64; C],
    /// When the score was reached, in any unit that grows with time.
    pub stamp: u64,
}

/// How members with equal scores are ranked.
///
/// Whatever the rule, members that are still equal stand in ascending order of their bytes, so no
/// two members ever share an ordinal rank.
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

/// The key of a list's member hash. Keep it secret: see the crate's front page.
pub type Seed = [u8; 16];

/// One member as a reader of one version sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a, const C: usize = 1> {
    /// The exact ordinal rank, counted from 1.
    pub rank: u64,
    /// The member's name.
    pub member: &'a str,
    /// The member's score and stamp.
    pub key: Key<C>,
}

/// Where a member stands and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing<const C: usize = 1> {
    /// The exact ordinal rank, counted from 1.
    pub rank: u64,
    /// The member's score and stamp.
    pub key: Key<C>,
}
