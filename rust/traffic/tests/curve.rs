//! The sampled curve beside exact ones.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;

use proptest::prelude::*;
use rankwire_traffic::{Curve, Fresh};

use support::{
    Random, curve_of, distances, hash, mean_error, misses, ratio, scan, shifting, ten_sizes, zipf,
};

/// What is promised of a curve: the mean of its absolute errors at ten sizes.
const BOUND: f64 = 0.02;

const MINUTE: u64 = 60_000;

fn check(name: &str, names: u64, trace: &[u64]) {
    let sizes = ten_sizes(names);
    let sampled = curve_of(trace).miss_ratios(&sizes).unwrap();
    let error = mean_error(&sampled, &misses(&distances(trace), &sizes));
    assert!(error <= BOUND, "{name}: {error}");
}

#[test]
fn the_curve_of_zipf_reads_is_near_the_exact_one() {
    for skew in [0.7, 1.0, 1.2] {
        check(&format!("zipf {skew}"), 100_000, &zipf(skew, 100_000, 400_000));
    }
}

#[test]
fn the_curve_of_a_scan_is_near_the_exact_one() {
    check("scan", 40_000, &scan(50_000, 300_000));
}

#[test]
fn the_curve_of_a_shifting_hot_set_is_near_the_exact_one() {
    check("shifting", 60_000, &shifting(60_000, 400_000, 40_000));
}

proptest! {
    /// While all names fit into the sample nothing is left to chance.
    #[test]
    fn the_curve_of_few_names_is_exact(trace in prop::collection::vec(0_u64..60, 1..3000)) {
        let sizes: Vec<u64> = (0..=63).collect();
        let sampled = curve_of(&trace).miss_ratios(&sizes).unwrap();
        for (sampled, exact) in sampled.iter().zip(misses(&distances(&trace), &sizes)) {
            prop_assert!((sampled - exact).abs() < 1e-9, "{} {}", sampled, exact);
        }
    }

    /// The model of the documentation: a void entry is a miss at every size and is filled anew.
    #[test]
    fn what_is_void_misses_at_every_size(
        trace in prop::collection::vec((0_u64..30, 0_u64..1000), 1..2000),
        fresh_ms in 0_u64..20_000,
    ) {
        let names: Vec<u64> = trace.iter().map(|(name, _)| *name).collect();
        let (mut curve, mut filled, mut now_ms) = (Curve::default(), HashMap::new(), 0);
        let mut found = distances(&names);
        for ((name, passed), distance) in trace.iter().zip(&mut found) {
            // All within the first ten minutes, before anything is halved.
            now_ms = (now_ms + passed).min(10 * MINUTE - 1);
            curve.add(now_ms, hash(*name), Fresh::For(fresh_ms));
            let then = filled.entry(*name).or_insert(now_ms);
            if now_ms - *then > fresh_ms {
                (*then, *distance) = (now_ms, None);
            }
        }
        let sizes: Vec<u64> = (0..=31).collect();
        let sampled = curve.miss_ratios(&sizes).unwrap();
        for (sampled, exact) in sampled.iter().zip(misses(&found, &sizes)) {
            prop_assert!((sampled - exact).abs() < 1e-9, "{} {}", sampled, exact);
        }
    }
}

/// An LRU cache whose entries are void after a time. It keeps them until they are the last, or are
/// read. Counts the misses.
fn simulate(trace: &[u64], size: usize, read_ms: impl Fn(usize) -> u64, fresh_ms: u64) -> f64 {
    // By name: when it was read last and when it was filled; and the other way round.
    let (mut entries, mut order) = (HashMap::new(), std::collections::BTreeMap::new());
    let mut missed = 0;
    for (read, &name) in trace.iter().enumerate() {
        let now_ms = read_ms(read);
        let known: Option<(usize, u64)> = entries.get(&name).copied();
        if let Some((before, _)) = known {
            order.remove(&before);
        }
        let filled = known.filter(|(_, filled)| now_ms - filled <= fresh_ms);
        missed += usize::from(filled.is_none());
        entries.insert(name, (read, filled.map_or(now_ms, |(_, filled)| filled)));
        order.insert(read, name);
        if entries.len() > size {
            let (_, last) = order.pop_first().unwrap();
            entries.remove(&last);
        }
    }
    ratio(missed, trace.len())
}

/// What the model leaves out, beside caches that really expire. Nine minutes of reads.
#[test]
fn the_curve_with_expiry_is_near_real_caches() {
    let trace = zipf(0.9, 30_000, 150_000);
    let read_ms = |read: usize| read as u64 * 9 * MINUTE / 150_000;
    for fresh_ms in [10_000, 60_000, 300_000] {
        let mut curve = Curve::default();
        for (read, name) in trace.iter().enumerate() {
            curve.add(read_ms(read), hash(*name), Fresh::For(fresh_ms));
        }
        let sizes = ten_sizes(30_000);
        let sampled = curve.miss_ratios(&sizes).unwrap();
        let real = |size: &u64| simulate(&trace, *size as usize, read_ms, fresh_ms);
        let exact: Vec<f64> = sizes.iter().map(real).collect();
        let error = mean_error(&sampled, &exact);
        assert!(error <= BOUND, "{fresh_ms}: {sampled:?} {exact:?}");
    }
}

#[test]
fn another_version_misses_and_the_same_one_hits() {
    let mut curve = Curve::default();
    for version in [1, 1, 1, 2, 2, 1] {
        curve.add(0, hash(1), Fresh::Version(version));
    }
    let [none, one] = curve.miss_ratios(&[0, 1]).unwrap()[..] else { unreachable!() };
    assert!((none - 1.0).abs() < 1e-9);
    assert!((one - 0.5).abs() < 1e-9);
}

#[test]
fn nothing_read_is_unknown() {
    assert_eq!(Curve::default().miss_ratios(&[1, 10]), None);
}

#[test]
fn recent_reads_weigh_most() {
    let mut curve = Curve::default();
    // Ten minutes of nothing but new names, then an hour of one.
    (0..1000).for_each(|name| curve.add(0, hash(name), Fresh::Version(0)));
    assert!(curve.miss_ratios(&[100]).unwrap()[0] > 0.999);
    for minute in 1..=60 {
        (0..100).for_each(|_| curve.add(minute * MINUTE, hash(1), Fresh::Version(0)));
    }
    let miss = curve.miss_ratios(&[100]).unwrap()[0];
    // A 64th of the new names, among some 1,100 reads.
    assert!(miss < 0.015, "{miss}");
}

/// A crawler thins the sample. When its names are void, the curve sees single names again.
#[test]
fn the_sample_recovers_from_a_crawler() {
    const FRESH: Fresh = Fresh::For(5 * MINUTE);
    let mut curve = Curve::default();
    (0..200_000).for_each(|name| curve.add(0, hash(name), FRESH));
    let mut random = Random(5);
    for minute in 10..40 {
        for _ in 0..2000 {
            curve.add(minute * MINUTE, hash(1_000_000 + random.below(100)), FRESH);
        }
    }
    let [small, large] = curve.miss_ratios(&[50, 100]).unwrap()[..] else { unreachable!() };
    // Half of 100 names that are read evenly; and a miss of each name in six minutes.
    assert!((small - 0.5).abs() < 0.03, "{small}");
    assert!((large - 100.0 / 12_000.0).abs() < 0.01, "{large}");
}

/// The sample is never larger, whatever is read for however long.
#[test]
fn the_slots_of_the_sample_never_run_out() {
    let trace: Vec<u64> =
        scan(8000, 8000 * 9).into_iter().chain(zipf(0.8, 50_000, 100_000)).collect();
    let sizes = ten_sizes(9000);
    let sampled = curve_of(&trace).miss_ratios(&sizes).unwrap();
    assert!(mean_error(&sampled, &misses(&distances(&trace), &sizes)) <= BOUND);
}
