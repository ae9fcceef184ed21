//! Names to play with.

use std::sync::LazyLock;

use siphasher::sip::SipHasher13;

use super::model::SEED;

/// How many levels the name's entry rises under [`SEED`], as the crate's documentation has it: one
/// for every four zero bits that its hash starts with.
pub(crate) fn height(name: &str) -> usize {
    SipHasher13::new_with_key(&SEED).hash(name.as_bytes()).leading_zeros() as usize / 4
}

/// Names with far more tall ones among them than chance would give, so that short histories split
/// and join nodes on many levels.
pub(crate) static TALL: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut names = Vec::new();
    for (wanted, count) in [(0, 24), (1, 16), (2, 8), (3, 4), (4, 2)] {
        let is_wanted = |name: &String| height(name) == wanted;
        names.extend((0..).map(|i| format!("m{i}")).filter(is_wanted).take(count));
    }
    names
});

/// Names of every kind: empty, of the greatest length, of several scripts, prefixes of one
/// another, and equal but for their Unicode normal form.
pub(crate) static ODD: LazyLock<Vec<String>> = LazyLock::new(|| {
    let fixed =
        ["", "a", "aa", "A", "\0", "\u{10ffff}", "é", "e\u{301}", "名前", "🏆", "🏆🏆", "ש"];
    let long = (0..4).map(|i| format!("{}{i}", "l".repeat(251 + i)));
    fixed.into_iter().map(String::from).chain(long).collect()
});

/// Ordinary names, enough for several levels and buckets.
pub(crate) static MANY: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..600).map(|i| format!("player-{i}")).collect());
