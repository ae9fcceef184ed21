//! How long news take from the first to the last of those who watch a channel.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a publication reached those who watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spread {
    /// On which channel.
    pub(crate) channel: String,
    /// Of which version.
    pub(crate) version: u64,
    /// The first delivery, in nanoseconds of the shared clock.
    pub(crate) first: u64,
    /// The last one.
    pub(crate) last: u64,
    /// How many.
    pub(crate) count: u64,
}

/// Adds up what several processes saw of the same news.
pub(crate) fn merge_spreads(ours: Vec<Spread>, theirs: Vec<Spread>) -> Vec<Spread> {
    let mut merged: BTreeMap<(String, u64), Spread> = BTreeMap::new();
    for spread in ours.into_iter().chain(theirs) {
        merged
            .entry((spread.channel.clone(), spread.version))
            .and_modify(|sum| {
                sum.first = sum.first.min(spread.first);
                sum.last = sum.last.max(spread.last);
                sum.count += spread.count;
            })
            .or_insert(spread);
    }
    merged.into_values().collect()
}
