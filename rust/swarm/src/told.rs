//! The parts of a result.

use std::ops::Range;

use serde_json::{Map, Value, json};

use crate::clock::seconds;
use crate::control::{Ready, Report};
use crate::driver::Driven;
use crate::options::Options;
use crate::tally::{Errors, Latencies, Summary, rounded};

/// How opening went.
pub(crate) fn opening(sockets: u64, ready: &Ready) -> Value {
    let took = seconds(ready.nanos);
    let opened = ready.latencies.summary().count;
    json!({
        "asked": sockets,
        "ready": ready.sockets,
        "seconds": rounded(took),
        "per_second": rounded(opened as f64 / took),
    })
}

/// What came in: in all, and by template.
pub(crate) fn traffic(options: &Options, report: &Report, window: f64) -> Value {
    let traffic = &report.traffic;
    let rate = |count: u64, of: u64| rounded(count as f64 / window / of.max(1) as f64);
    let templates: Map<String, Value> = options
        .mix
        .templates
        .iter()
        .zip(traffic.templates.iter().zip(&report.subscriptions))
        .map(|(template, (traffic, subscriptions))| {
            let told = json!({
                "subscriptions": subscriptions,
                "deliveries": traffic.deliveries,
                "message_bytes": traffic.bytes,
                "message_bytes_per_second_each": rate(traffic.bytes, *subscriptions),
                "deliveries_per_second_each": rate(traffic.deliveries, *subscriptions),
            });
            (template.clone(), told)
        })
        .collect();
    json!({
        "deliveries": traffic.deliveries,
        "deliveries_per_second": rate(traffic.deliveries, 1),
        "deltas": traffic.deltas,
        "pings": traffic.pings,
        "payload_bytes": traffic.payload_bytes,
        "frame_bytes": traffic.frame_bytes,
        "frame_bytes_per_second_each": rate(traffic.frame_bytes, report.sockets),
        "templates": templates,
    })
}

/// Latencies of one phase: of all deliveries, and by template.
pub(crate) fn latency(options: &Options, report: &Report, phase: usize) -> Value {
    latency_of(options, report, phase..phase + 1)
}

/// The same of several phases together.
pub(crate) fn latency_of(options: &Options, report: &Report, phases: Range<usize>) -> Value {
    let sent = by_template(&report.from_sent, phases.clone());
    let acked = by_template(&report.from_acked, phases);
    json!({
        "from_sent": sum(&sent).summary(),
        "from_receipt": sum(&acked).summary(),
        "from_sent_by_template": named(options, &sent),
        "untimed": report.untimed,
        "unlogged": report.unlogged,
    })
}

/// Deliveries of several windows together, from sending the submit.
pub(crate) fn delivery(options: &Options, report: &Report, windows: Range<usize>) -> Value {
    let sent = by_template(&report.from_sent, windows.clone());
    let stale: u64 = report.stale.get(windows).unwrap_or_default().iter().sum();
    json!({
        "all": sum(&sent).summary(),
        "by_template": named(options, &sent),
        "stale": stale,
    })
}

/// Latencies of several phases together, by template.
fn by_template(phases: &[Vec<Latencies>], chosen: Range<usize>) -> Vec<Latencies> {
    let mut sums = Vec::new();
    for phase in phases.get(chosen).unwrap_or_default() {
        sums.resize_with(phase.len(), Latencies::default);
        sums.iter_mut().zip(phase).for_each(|(sum, part)| sum.merge(part));
    }
    sums
}

fn sum(parts: &[Latencies]) -> Latencies {
    let mut sum = Latencies::default();
    for part in parts {
        sum.merge(part);
    }
    sum
}

fn named(options: &Options, latencies: &[Latencies]) -> Map<String, Value> {
    let templates = options.mix.templates.iter().zip(latencies);
    templates.map(|(template, part)| (template.clone(), json!(part.summary()))).collect()
}

/// From the first to the last watcher, over the publications on shared channels.
pub(crate) fn spread(report: &Report) -> Value {
    let mut spreads = Latencies::default();
    for spread in report.spreads.iter().filter(|spread| spread.count > 1) {
        spreads.record(spread.last - spread.first);
    }
    json!(spreads.summary())
}

/// What became of the submits; nothing if there was no driver.
pub(crate) fn driver_told(driven: &Driven, rate: Option<f64>) -> Option<Value> {
    let receipts: Summary = driven.latencies.summary();
    rate.map(|rate| {
        json!({
            "asked_per_second": rate,
            "changes": driven.changes,
            "receipts": receipts,
            "by_connection": driven.hands,
        })
    })
}

/// What went wrong in several places.
pub(crate) fn sum_of(parts: &[&Errors]) -> Errors {
    let mut sum = Errors::default();
    for part in parts {
        sum.merge(part);
    }
    sum
}
