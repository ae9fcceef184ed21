//! What the frequency sketch promises.

mod support;

use std::collections::HashMap;

use proptest::prelude::*;
use rankwire_traffic::Frequency;

use support::{Random, hash, real, zipf};

proptest! {
    #[test]
    fn estimates_are_never_too_low(trace in prop::collection::vec(0_u64..50, 0..159)) {
        // The smallest sketch is halved after 160 names.
        let mut sketch = Frequency::new(1);
        let mut counts = HashMap::<u64, u64>::new();
        for name in trace {
            sketch.add(hash(name));
            *counts.entry(name).or_default() += 1;
        }
        for (name, count) in counts {
            let estimate = sketch.estimate(hash(name));
            prop_assert!((count.min(15)..=15).contains(&estimate), "{}: {}", count, estimate);
        }
    }

    #[test]
    fn halving_halves(counts in prop::collection::vec(0_u64..20, 1..30)) {
        let mut sketch = Frequency::new(1000);
        let names = || (0_u64..).zip(&counts);
        for (name, &count) in names() {
            (0..count).for_each(|_| sketch.add(hash(name)));
        }
        let before: Vec<_> = names().map(|(name, _)| sketch.estimate(hash(name))).collect();
        sketch.halve();
        for ((name, _), before) in names().zip(before) {
            prop_assert_eq!(sketch.estimate(hash(name)), before / 2);
        }
    }
}

#[test]
fn counts_are_halved_after_ten_names_for_each_entry() {
    let mut sketch = Frequency::new(100);
    (0..12).for_each(|_| sketch.add(hash(1)));
    let mut others = Random(3);
    (12..999).for_each(|_| sketch.add(others.next()));
    assert!(sketch.estimate(hash(1)) >= 12);
    sketch.add(others.next());
    assert!((6..=7).contains(&sketch.estimate(hash(1))));
    // Half of the period is over after a halving.
    (0..499).for_each(|_| sketch.add(others.next()));
    assert!(sketch.estimate(hash(1)) >= 6);
    sketch.add(others.next());
    assert!((3..=5).contains(&sketch.estimate(hash(1))));
}

/// The purpose: of two names, the one that is asked for more often is known.
#[test]
fn hot_names_are_told_from_cold_ones() {
    let mut sketch = Frequency::new(1000);
    for name in zipf(1.0, 20_000, 99_999) {
        sketch.add(hash(name));
    }
    let mean = |names: std::ops::Range<u64>| {
        let count = real(names.end - names.start);
        real(names.map(|name| sketch.estimate(hash(name))).sum()) / count
    };
    assert!(mean(0..50) > 10.0, "{}", mean(0..50));
    assert!(mean(10_000..20_000) < 1.5, "{}", mean(10_000..20_000));
}
