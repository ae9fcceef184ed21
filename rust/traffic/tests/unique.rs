//! How far HyperLogLog is off, and that a day has 24 hours.

mod support;

use rankwire_traffic::{Day, HyperLogLog};

use support::{Random, hash, real};

/// The standard error of 4,096 registers (Flajolet and others, 2007).
const SIGMA: f64 = 1.04 / 64.0;

#[test]
fn estimates_are_within_three_standard_errors() {
    for size in [100, 1000, 5000, 10_000, 20_000, 50_000, 200_000, 1_000_000] {
        for set in 1..=4 {
            let mut sketch = HyperLogLog::default();
            let mut random = Random(set * 1_000_003);
            for _ in 0..size {
                sketch.add(random.next());
            }
            let off = sketch.estimate() / real(size) - 1.0;
            assert!(off.abs() < 3.0 * SIGMA, "{size}: {off}");
        }
    }
}

/// A bias hides in single sets: the mean of many has to be nearer.
#[test]
fn estimates_have_no_bias() {
    for size in [2000, 8000, 14_000, 40_000] {
        let estimate = |set: u64| {
            let mut sketch = HyperLogLog::default();
            let mut random = Random(set * 7_000_003 + size);
            (0..size).for_each(|_| sketch.add(random.next()));
            sketch.estimate()
        };
        let off = (0..100).map(estimate).sum::<f64>() / 100.0 / real(size) - 1.0;
        assert!(off.abs() < 3.0 * SIGMA / 10.0, "{size}: {off}");
    }
}

#[test]
fn nothing_is_none_and_names_count_once() {
    let mut sketch = HyperLogLog::default();
    assert!(sketch.estimate().abs() < 1e-9);
    for _ in 0..1000 {
        sketch.add(hash(1));
    }
    assert!((sketch.estimate() - 1.0).abs() < 0.01);
}

#[test]
fn merging_is_the_sketch_of_both() {
    let (mut a, mut b, mut both) =
        (HyperLogLog::default(), HyperLogLog::default(), HyperLogLog::default());
    (0..20_000).for_each(|n| a.add(hash(n)));
    (20_000..30_000).for_each(|n| b.add(hash(n)));
    (0..30_000).for_each(|n| both.add(hash(n)));
    a.merge(&b);
    assert!((a.estimate() - both.estimate()).abs() < 1e-9);
}

#[test]
fn names_are_forgotten_after_a_day() {
    const HOUR: u64 = 3_600_000;
    let mut day = Day::default();
    let start = 100 * HOUR;
    (0..1000).for_each(|n| day.add(start, hash(n)));
    (1000..2000).for_each(|n| day.add(start + 12 * HOUR, hash(n)));
    let near = |estimate: f64, really: f64| (estimate - really).abs() <= 3.0 * SIGMA * really;
    assert!(near(day.estimate(start + 23 * HOUR), 2000.0));
    assert!(near(day.estimate(start + 24 * HOUR), 1000.0));
    // Time does not go back.
    assert!(near(day.estimate(start), 1000.0));
    assert!(near(day.estimate(start + 35 * HOUR), 1000.0));
    assert!(day.estimate(start + 36 * HOUR).abs() < 1e-9);
    day.add(start + 500 * HOUR, hash(1));
    assert!(near(day.estimate(start + 500 * HOUR), 1.0));
}
