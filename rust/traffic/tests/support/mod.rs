//! Traces, and what is exactly true of them.
#![allow(dead_code, reason = "every test file uses another part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;

use rankwire_traffic::{Curve, Fresh, Names};

/// A trace never changes: the same numbers in every run (`SplitMix64`; Steele, Lea, Flood, 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn unit(&mut self) -> f64 {
        f64::from((self.next() >> 32) as u32) / f64::from(u32::MAX)
    }
}

/// The hash of name number `n`, with a fixed key.
pub(crate) fn hash(n: u64) -> u64 {
    Names::with_key(*b"a key for traces").hash(&n.to_string())
}

/// Reads of `names` names, the n-th of them in proportion to n^-skew.
pub(crate) fn zipf(skew: f64, names: u32, reads: usize) -> Vec<u64> {
    let mut random = Random(7);
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=names)
        .map(|n| {
            sum += f64::from(n).powf(-skew);
            sum
        })
        .collect();
    let draw = |_| {
        let at = random.unit() * sum;
        sums.partition_point(|&sum| sum < at).min(sums.len() - 1) as u64
    };
    (0..reads).map(draw).collect()
}

/// All names one after the other, again and again: the worst case of LRU.
pub(crate) fn scan(names: u64, reads: u64) -> Vec<u64> {
    (0..reads).map(|read| read % names).collect()
}

/// A hot tenth of the names gets nine reads of ten, and is another tenth after every `shift` reads.
pub(crate) fn shifting(names: u64, reads: u64, shift: u64) -> Vec<u64> {
    let mut random = Random(9);
    let hot = names / 10;
    let draw = |read: u64| {
        let first = read / shift * hot;
        if random.below(10) > 0 { (first + random.below(hot)) % names } else { random.below(names) }
    };
    (0..reads).map(draw).collect()
}

/// The distance of every read from the name's read before, counted in other names, plus 1; `None`
/// for first reads. By a Fenwick tree over the whole trace (Mattson and others, 1970; Olken, 1981).
pub(crate) fn distances(trace: &[u64]) -> Vec<Option<u64>> {
    let mut tree = vec![0_i64; trace.len() + 1];
    let change = |tree: &mut [i64], at: usize, by: i64| {
        let mut at = at + 1;
        while at < tree.len() {
            tree[at] += by;
            at += at & at.wrapping_neg();
        }
    };
    let before = |tree: &[i64], end: usize| {
        let (mut at, mut sum) = (end, 0);
        while at > 0 {
            sum += tree[at];
            at &= at - 1;
        }
        sum
    };
    let mut last = HashMap::new();
    let mut found = Vec::with_capacity(trace.len());
    for (now, name) in trace.iter().enumerate() {
        found.push(last.insert(name, now).map(|then: usize| {
            let others = before(&tree, now) - before(&tree, then + 1);
            change(&mut tree, then, -1);
            others.unsigned_abs() + 1
        }));
        change(&mut tree, now, 1);
    }
    found
}

/// The part of the reads that caches of these sizes miss, given the distances of possible hits.
pub(crate) fn misses(distances: &[Option<u64>], sizes: &[u64]) -> Vec<f64> {
    let missed = |&size: &u64| {
        distances.iter().filter(|distance| distance.is_none_or(|distance| distance > size)).count()
    };
    sizes.iter().map(|size| ratio(missed(size), distances.len())).collect()
}

pub(crate) fn ratio(part: usize, of: usize) -> f64 {
    real(part as u64) / real(of as u64)
}

pub(crate) fn real(n: u64) -> f64 {
    f64::from(u32::try_from(n).unwrap())
}

/// Ten sizes up to a number of names.
pub(crate) fn ten_sizes(names: u64) -> Vec<u64> {
    (0..10).map(|step| (names >> step).max(1)).collect()
}

/// The curve of a trace in which nothing is ever void.
pub(crate) fn curve_of(trace: &[u64]) -> Curve {
    let mut curve = Curve::default();
    for &name in trace {
        curve.add(0, hash(name), Fresh::Version(0));
    }
    curve
}

pub(crate) fn mean_error(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>() / ratio(a.len(), 1)
}
