//! How long the requests of the load took, by phase and kind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::plan::Timeline;
use crate::tally::Latencies;

/// Latencies from the moment at which each request was due, so that none that had to wait for the
/// ones before looks faster than it was. Shared by all who send requests.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    timeline: Timeline,
    phases: Arc<Mutex<Vec<ByKind>>>,
}

type ByKind = BTreeMap<&'static str, Latencies>;

impl Figures {
    /// Nothing yet.
    pub(crate) fn new(timeline: Timeline) -> Self {
        let phases = vec![ByKind::new(); timeline.phases.len()];
        Self { timeline, phases: Arc::new(Mutex::new(phases)) }
    }

    /// Adds a request that was answered; it belongs to the phase in which it was due.
    pub(crate) fn record(&self, kind: &'static str, due: u64, done: u64) {
        let mut phases = self.phases.lock().unwrap_or_else(PoisonError::into_inner);
        let phase = &mut phases[self.timeline.phase_of(due)];
        phase.entry(kind).or_default().record(done.saturating_sub(due));
    }

    /// What is told of a phase: each kind, and all together.
    pub(crate) fn tell(&self, phase: usize) -> Value {
        let phases = self.phases.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Latencies::default();
        let mut told = Map::new();
        for (kind, latencies) in &phases[phase] {
            all.merge(latencies);
            told.insert((*kind).to_owned(), json!(latencies.summary()));
        }
        told.insert("all".to_owned(), json!(all.summary()));
        Value::Object(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;
    use crate::plan::Phase;

    #[test]
    fn requests_count_where_they_were_due() {
        let phases = Phase::parse_all("a:1:1,b:1:1").unwrap();
        let figures = Figures::new(Timeline::new(10 * SECOND, &phases));
        figures.record("top", 11 * SECOND - 1, 11 * SECOND + SECOND / 2);
        figures.record("top", 11 * SECOND, 11 * SECOND + 1_000_000);
        figures.record("member", 12 * SECOND, 12 * SECOND + 3_000_000);
        let (one, other) = (figures.tell(0), figures.tell(1));
        assert_eq!((&one["top"]["count"], &one["all"]["count"]), (&json!(1), &json!(1)));
        assert_eq!(one["member"], Value::Null);
        assert_eq!((&other["all"]["count"], &other["member"]["count"]), (&json!(2), &json!(1)));
        assert!((other["all"]["max_ms"].as_f64().unwrap() - 3.0).abs() < 0.01);
        assert!((one["top"]["p50_ms"].as_f64().unwrap() - 500.0).abs() < 1.0);
    }
}
