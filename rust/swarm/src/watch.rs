//! Watchers, a driver that changes what they see, and what came of it.

use std::thread::sleep;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::check::{Checked, compare};
use crate::clock::{now, seconds};
use crate::control::{Fleet, Ready, Report};
use crate::driver::{Driven, Driver, Probe, http};
use crate::options::Options;
use crate::process::{Cpu, Memory};
use crate::tally::{Errors, Latencies, Summary, rounded};
use crate::{Result, tell};

/// What is on its way when the driver stops arrives within so long, unless something is wrong. It is
/// more than the longest time between two publications of a personal view.
const SETTLING: Duration = Duration::from_millis(1500);

/// Runs `watch`; returns whether all was as it should be.
pub(crate) fn run(options: &Options, arguments: &[String]) -> Result<bool> {
    options.url()?;
    let memory_before = memory(options)?;
    let mut fleet = Fleet::start(options.processes, arguments)?;
    let ready = fleet.open(options.sockets)?;
    let begun = now();
    fleet.begin()?;
    let meter = Meter::start(options)?;
    let probe = Probe::start(options)?;
    let driver = Driver::start(options)?;
    sleep(Duration::from_secs_f64(options.seconds));
    let server = meter.stop(options)?;
    fleet.end()?;
    let window = server.seconds;
    let outcome = driver.map(Driver::stop).unwrap_or_default();
    let probed = probe.map(Probe::stop);
    sleep(SETTLING);
    let checked = compare_if_asked(&mut fleet, options)?;
    let report = fleet.report(&outcome.times, &[(begun, u64::MAX)])?;

    let none = Errors::default();
    let failed = probed.as_ref().map_or(&none, |(_, failed)| failed);
    let errors = sum_of(&[&report.errors, &outcome.errors, failed]);
    let all_there = ready.sockets == options.sockets && report.sockets == options.sockets;
    let is_right = errors.total() == 0 && all_there && is_equal(checked.as_ref());
    let result = json!({
        "command": "watch",
        "ok": is_right,
        "opening": opening(options.sockets, &ready),
        "sockets": report.sockets,
        "seconds": rounded(window),
        "traffic": traffic(options, &report, window),
        "latency": latency(options, &report, 0),
        "spread": spread(&report),
        "driver": driver_told(&outcome, options),
        "probe": probed.map(|(latencies, _)| latencies.summary()),
        "server": server.tell(report.traffic.deliveries),
        "memory": {"before": memory_before, "after": memory(options)?},
        "checked": checked,
        "errors": errors,
    });
    tell(options, &result)?;
    Ok(is_right)
}

/// Compares what all see with the server's answers, if it is known where to ask.
pub(crate) fn compare_if_asked(fleet: &mut Fleet, options: &Options) -> Result<Option<Checked>> {
    match options.http {
        Some(_) => Ok(Some(compare(fleet, &mut http(options)?)?)),
        None => Ok(None),
    }
}

/// Whether nothing differs; also if nothing was compared.
pub(crate) fn is_equal(checked: Option<&Checked>) -> bool {
    checked.is_none_or(|checked| checked.wrong == 0)
}

/// Measures the server, if it is known which process that is.
#[derive(Debug)]
pub(crate) struct Meter {
    started: u64,
    before: Option<Cpu>,
}

/// What the server used.
#[derive(Debug)]
pub(crate) struct Used {
    /// Length of the measurement.
    pub(crate) seconds: f64,
    cpu: Option<Cpu>,
}

impl Meter {
    /// Begins.
    pub(crate) fn start(options: &Options) -> Result<Self> {
        let before = options.server_pid.map(Cpu::of).transpose()?;
        Ok(Self { started: now(), before })
    }

    /// Ends.
    pub(crate) fn stop(self, options: &Options) -> Result<Used> {
        let seconds = seconds(now() - self.started);
        let after = options.server_pid.map(Cpu::of).transpose()?;
        let cpu = after.zip(self.before).map(|(after, before)| after.since(&before));
        Ok(Used { seconds, cpu })
    }
}

impl Used {
    /// The figures; processor time is also told for each delivery.
    pub(crate) fn tell(&self, deliveries: u64) -> Value {
        let Some(cpu) = &self.cpu else { return Value::Null };
        let each = |seconds: f64| rounded(seconds * 1e6 / deliveries.max(1) as f64);
        json!({
            "cpu_seconds": cpu.seconds,
            "cpu_share": rounded(cpu.seconds / self.seconds),
            "cpu_us_per_delivery": each(cpu.seconds),
            "threads": cpu.threads,
        })
    }
}

/// The server's memory, if it is known which process that is.
pub(crate) fn memory(options: &Options) -> Result<Option<Memory>> {
    options.server_pid.map(Memory::of).transpose()
}

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

fn traffic(options: &Options, report: &Report, window: f64) -> Value {
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
    let all = |phases: &[Vec<Latencies>]| {
        let mut sum = Latencies::default();
        phases.get(phase).into_iter().flatten().for_each(|part| sum.merge(part));
        sum.summary()
    };
    let sent: &[Latencies] = report.from_sent.get(phase).map_or(&[], Vec::as_slice);
    let by_template: Map<String, Value> = options
        .mix
        .templates
        .iter()
        .zip(sent)
        .map(|(template, latencies)| (template.clone(), json!(latencies.summary())))
        .collect();
    json!({
        "from_sent": all(&report.from_sent),
        "from_receipt": all(&report.from_acked),
        "from_sent_by_template": by_template,
        "untimed": report.untimed,
        "unlogged": report.unlogged,
    })
}

/// From the first to the last watcher, over the publications on shared channels.
fn spread(report: &Report) -> Value {
    let mut spreads = Latencies::default();
    for spread in report.spreads.iter().filter(|spread| spread.count > 1) {
        spreads.record(spread.last - spread.first);
    }
    json!(spreads.summary())
}

/// What became of the submits; nothing if there was no driver.
pub(crate) fn driver_told(driven: &Driven, options: &Options) -> Option<Value> {
    let receipts: Summary = driven.latencies.summary();
    options.drive.map(|rate| {
        json!({
            "asked_per_second": rate,
            "changes": driven.changes,
            "receipts": receipts,
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
