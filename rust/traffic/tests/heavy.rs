//! What SpaceSaving promises, on any reads; and that minutes turn over.

mod support;

use std::collections::HashMap;

use proptest::prelude::*;
use rankwire_traffic::{Heavy, Minutes, SpaceSaving, heaviest};

use support::{hash, zipf};

fn counts(trace: &[u64]) -> HashMap<String, u64> {
    let mut counts = HashMap::new();
    for name in trace {
        *counts.entry(name.to_string()).or_default() += 1;
    }
    counts
}

/// Checks all that is promised of a summary with `counters` counters.
fn check(trace: &[u64], counters: usize) {
    let mut summary = SpaceSaving::new(counters);
    for name in trace {
        summary.add(hash(*name), |text| text.push_str(&name.to_string()));
    }
    let (counts, top) = (counts(trace), heaviest(summary.all(), usize::MAX));
    let most_error = trace.len() as u64 / counters as u64;
    assert_eq!(top.len(), counts.len().min(counters));
    assert!(top.is_sorted_by(|a, b| a.count >= b.count));
    assert_eq!(top.iter().map(|heavy| heavy.count).sum::<u64>(), trace.len() as u64);
    for Heavy { name, count, error } in &top {
        let really = counts[name];
        assert!((count - error..=*count).contains(&really), "{name}: {really}, {count} - {error}");
        assert!(*error <= most_error);
    }
    for (name, count) in counts {
        assert!(count <= most_error || top.iter().any(|heavy| heavy.name == name), "{name}");
    }
}

proptest! {
    #[test]
    fn no_heavy_name_is_missing_and_errors_are_bounded(
        trace in prop::collection::vec(0_u64..40, 0..2000),
        counters in 1_usize..50,
    ) {
        check(&trace, counters);
    }

    #[test]
    fn the_same_holds_when_few_names_have_most_reads(
        powers in prop::collection::vec(0_u32..8, 0..3000),
        counters in 1_usize..30,
    ) {
        let trace: Vec<u64> = powers.iter().map(|&power| u64::from(power.pow(3))).collect();
        check(&trace, counters);
    }
}

#[test]
fn the_same_holds_for_many_reads() {
    check(&zipf(1.0, 20_000, 200_000), 1024);
}

#[test]
fn the_heaviest_come_first_and_equal_ones_by_name() {
    let heavy = |name: &str, count| Heavy { name: name.into(), count, error: 0 };
    let all = vec![heavy("b", 2), heavy("d", 1), heavy("a", 2), heavy("c", 3)];
    assert_eq!(heaviest(all, 3), [heavy("c", 3), heavy("a", 2), heavy("b", 2)]);
}

#[test]
fn a_cleared_summary_is_as_new() {
    let mut summary = SpaceSaving::new(4);
    for name in 0..100 {
        summary.add(hash(name), |text| text.push_str(&name.to_string()));
    }
    summary.clear();
    assert!(summary.all().is_empty());
    summary.add(hash(7), |text| text.push('7'));
    assert_eq!(summary.all(), [Heavy { name: "7".into(), count: 1, error: 0 }]);
}

/// The last whole minute at a time, as text.
fn at(minutes: &mut Minutes, now_ms: u64) -> Vec<(String, u64)> {
    let top = minutes.all(now_ms).into_iter();
    top.map(|heavy| (heavy.name, heavy.count)).collect()
}

#[test]
fn the_last_whole_minute_is_told() {
    let mut minutes = Minutes::default();
    let read = |minutes: &mut Minutes, now_ms| minutes.add(now_ms, hash(1), |text| text.push('a'));
    let twice = [("a".to_owned(), 2)];
    read(&mut minutes, 59_000);
    assert_eq!(at(&mut minutes, 59_999), []);
    assert_eq!(at(&mut minutes, 60_000), [("a".to_owned(), 1)]);
    read(&mut minutes, 60_000);
    read(&mut minutes, 119_999);
    assert_eq!(at(&mut minutes, 120_000), twice);
    assert_eq!(at(&mut minutes, 179_999), twice);
    assert_eq!(at(&mut minutes, 180_000), []);
}

#[test]
fn a_minute_without_reads_is_empty() {
    let mut minutes = Minutes::default();
    minutes.add(59_000, hash(1), |text| text.push('a'));
    assert_eq!(at(&mut minutes, 120_000), []);
}
