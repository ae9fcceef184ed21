//! Counts, latencies and their sums over processes.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::SECOND;

/// Different texts of errors that are counted apart; more are counted together.
const DISTINCT_ERRORS: usize = 64;

/// Largest time that is told from larger ones: ten minutes.
const LONGEST: u64 = 600 * SECOND;

/// Latencies in nanoseconds, to three digits.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

/// What is told of latencies, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// How many there were.
    pub(crate) count: u64,
    /// The median.
    pub(crate) p50_ms: f64,
    /// The 90th percentile.
    pub(crate) p90_ms: f64,
    /// The 95th percentile.
    pub(crate) p95_ms: f64,
    /// The 99th percentile.
    pub(crate) p99_ms: f64,
    /// The longest.
    pub(crate) max_ms: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are in order"))
    }
}

impl Latencies {
    /// Adds one.
    pub(crate) fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    /// Adds all of another process; nothing is lost, as all have the same buckets.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// The figures that are told.
    pub(crate) fn summary(&self) -> Summary {
        let at = |percent| millis(self.0.value_at_percentile(percent));
        Summary {
            count: self.0.len(),
            p50_ms: at(50.0),
            p90_ms: at(90.0),
            p95_ms: at(95.0),
            p99_ms: at(99.0),
            max_ms: millis(self.0.max()),
        }
    }
}

/// Milliseconds with three digits after the point.
pub(crate) fn millis(nanos: u64) -> f64 {
    (nanos as f64 / 1e3).round() / 1e3
}

/// A number with three digits after the point.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let buckets = self.0.iter_recorded();
        serializer.collect_seq(
            buckets.map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value())),
        )
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut made = Self::default();
        for (value, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            made.0.record_n(value, count).map_err(serde::de::Error::custom)?;
        }
        Ok(made)
    }
}

/// What went wrong, and how often.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Errors(BTreeMap<String, u64>);

impl Errors {
    /// Counts one.
    pub(crate) fn add(&mut self, what: &str) {
        self.add_many(what, 1);
    }

    /// Adds those of another process.
    pub(crate) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, count)| self.add_many(what, *count));
    }

    /// How many there were.
    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    fn add_many(&mut self, what: &str, count: u64) {
        let known = self.0.contains_key(what) || self.0.len() < DISTINCT_ERRORS;
        *self.0.entry(if known { what } else { "others" }.to_owned()).or_default() += count;
    }
}

/// What came in during a time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Traffic {
    /// States that were not the first of their subscription.
    pub(crate) deliveries: u64,
    /// Those of them that came as deltas.
    pub(crate) deltas: u64,
    /// Pings of the protocol, which were answered.
    pub(crate) pings: u64,
    /// Bytes of payloads of frames.
    pub(crate) payload_bytes: u64,
    /// Bytes of frames, headers included.
    pub(crate) frame_bytes: u64,
    /// The same by template of the mix.
    pub(crate) templates: Vec<TemplateTraffic>,
}

/// What came in for the channels of one template.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TemplateTraffic {
    /// States that were not the first of their subscription.
    pub(crate) deliveries: u64,
    /// Bytes of messages, without the headers of their frames.
    pub(crate) bytes: u64,
}

impl Traffic {
    /// Nothing yet, for a mix of so many templates.
    pub(crate) fn new(templates: usize) -> Self {
        Self { templates: vec![TemplateTraffic::default(); templates], ..Self::default() }
    }

    /// Adds that of another process with the same mix.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.deliveries += other.deliveries;
        self.deltas += other.deltas;
        self.pings += other.pings;
        self.payload_bytes += other.payload_bytes;
        self.frame_bytes += other.frame_bytes;
        self.templates.resize(self.templates.len().max(other.templates.len()), <_>::default());
        for (sum, template) in self.templates.iter_mut().zip(&other.templates) {
            sum.deliveries += template.deliveries;
            sum.bytes += template.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_cross_a_pipe_and_add_up_without_loss() {
        let (mut one, mut other, mut all) =
            (Latencies::default(), Latencies::default(), Latencies::default());
        for number in 0..20_000_u64 {
            let nanos = number * number * 37 % 5_000_000_000;
            if number % 3 == 0 {
                one.record(nanos);
            } else {
                other.record(nanos);
            }
            all.record(nanos);
        }
        let sent = serde_json::to_string(&other).unwrap();
        one.merge(&serde_json::from_str(&sent).unwrap());
        assert_eq!(one.0.len(), 20_000);
        for percent in [0.0, 1.0, 50.0, 90.0, 99.0, 99.9] {
            let equal = one.0.value_at_percentile(percent) == all.0.value_at_percentile(percent);
            assert!(equal, "{percent}");
        }
        assert!(one.0.equivalent(one.0.max(), all.0.max()));
    }

    #[test]
    fn a_summary_is_in_milliseconds() {
        let mut latencies = Latencies::default();
        (1..=100).for_each(|number| latencies.record(number * 1_000_000));
        let summary = latencies.summary();
        assert_eq!((summary.count, summary.max_ms.round()), (100, 100.0));
        assert!((summary.p50_ms - 50.0).abs() < 0.1 && (summary.p95_ms - 95.0).abs() < 0.1);
        assert!((summary.p99_ms - 99.0).abs() < 0.1);
    }

    #[test]
    fn errors_add_up_and_stay_few() {
        let (mut one, mut other) = (Errors::default(), Errors::default());
        one.add("a");
        other.add("a");
        (0..1000).for_each(|number| other.add(&number.to_string()));
        one.merge(&other);
        assert_eq!((one.total(), one.0["a"]), (1002, 2));
        assert!(one.0.len() <= DISTINCT_ERRORS + 1);
    }

    #[test]
    fn traffic_adds_up() {
        let part = Traffic {
            deliveries: 1,
            deltas: 2,
            pings: 3,
            payload_bytes: 4,
            frame_bytes: 5,
            templates: vec![TemplateTraffic { deliveries: 6, bytes: 7 }],
        };
        let mut sum = Traffic::default();
        sum.merge(&part);
        assert_eq!(sum, part);
        sum.merge(&part);
        assert_eq!((sum.frame_bytes, sum.templates[0].bytes, sum.pings), (10, 14, 6));
    }
}
