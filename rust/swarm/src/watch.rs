//! Watchers, a load that changes what they see and reads it, and what came of both.

use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::check::{Checked, compare};
use crate::clock::{SECOND, now, until};
use crate::control::{Fleet, Report};
use crate::driver::{Driven, Driver, Driving, http};
use crate::figures::Figures;
use crate::http::Http;
use crate::meter::{Memories, Meter, Used};
use crate::options::Options;
use crate::plan::{At, Timeline};
use crate::probe::Probe;
use crate::reads::{Reads, Told};
use crate::tally::{Errors, Latencies, millis, rounded};
use crate::told::{delivery, driver_told, latency_of, opening, spread, sum_of, traffic};
use crate::{Result, tell};

/// From starting those who ask until the first question is due: all connections are open then.
const HEAD_START: u64 = SECOND / 2;

/// What is on its way when the driver stops arrives within so long, unless something is wrong. It is
/// more than the longest time between two publications of a personal view.
const SETTLING: Duration = Duration::from_millis(1500);

/// Runs `watch`; returns whether all was as it should be.
pub(crate) fn run(options: &Options, arguments: &[String]) -> Result<bool> {
    options.check()?;
    let mut memories = Memories::default();
    memories.look("before", options)?;
    let mut fleet = Fleet::start(options.processes, arguments)?;
    let ready = fleet.open(options.sockets)?;
    memories.look("opened", options)?;
    let played = play(options, &mut fleet)?;
    sleep(SETTLING);
    let checked = compare_if_asked(&mut fleet, options)?;
    let report = fleet.report(&played.times(), &played.timeline.windows())?;
    memories.look("after", options)?;

    let errors = played.errors(&report);
    let all_there = ready.sockets == options.sockets && report.sockets == options.sockets;
    let is_right = errors.total() == 0 && all_there && is_equal(checked.as_ref());
    let window = played.used.seconds;
    let mut result = json!({
        "command": "watch",
        "ok": is_right,
        "opening": opening(options.sockets, &ready),
        "sockets": report.sockets,
        "seconds": rounded(window),
        "traffic": traffic(options, &report, window),
        "latency": latency_of(options, &report, 0..report.from_sent.len()),
        "spread": spread(&report),
        "server": played.used.tell(report.traffic.deliveries),
        "memory": memories.tell(options),
        "checked": checked,
        "errors": errors,
    });
    if let Value::Object(result) = &mut result {
        result.extend(played.tell(options, &report));
    }
    tell(options, &result)?;
    Ok(is_right)
}

/// Compares what all see with the server's answers, if it is known where to ask.
pub(crate) fn compare_if_asked(fleet: &mut Fleet, options: &Options) -> Result<Option<Checked>> {
    if options.https.is_empty() {
        return Ok(None);
    }
    Ok(Some(compare(fleet, &mut http(options)?)?))
}

/// Whether nothing differs; also if nothing was compared.
pub(crate) fn is_equal(checked: Option<&Checked>) -> bool {
    checked.is_none_or(|checked| checked.wrong == 0)
}

/// What came of the load.
#[derive(Debug)]
struct Played {
    timeline: Timeline,
    figures: Figures,
    used: Used,
    /// What the server used in each phase.
    by_phase: Vec<Used>,
    driven: Driven,
    driven_ws: Driven,
    reads: Option<Told>,
    probed: Option<(Latencies, Errors)>,
    asked: Vec<Asked>,
}

/// What became of a request at the beginning of a phase.
#[derive(Debug)]
struct Asked {
    at: At,
    /// Nothing if there was no answer.
    status: Option<u16>,
    nanos: u64,
    fault: Option<String>,
}

/// Plays all phases.
fn play(options: &Options, fleet: &mut Fleet) -> Result<Played> {
    let drivers = [Driver::prepare(options)?, Driver::prepare_second(options)?];
    fleet.begin()?;
    fleet.churn(options.churn)?;
    let probe = Probe::start(options)?;
    let begun = now() + HEAD_START;
    let timeline = Timeline::new(begun, &options.phases());
    let figures = Figures::new(timeline.clone());
    let drivings = drivers.map(|driver| driver.map(|driver| driver.start(&timeline, &figures)));
    let reads = Reads::start(options, &timeline, &figures)?;
    sleep(until(begun));
    let mut meters = vec![Meter::start(options)?];
    let mut asking = Vec::new();
    for phase in 0..timeline.phases.len() {
        asking.extend(begin_phase(options, fleet, &timeline, phase)?);
        sleep(until(timeline.end_of(phase)));
        meters.push(Meter::start(options)?);
    }
    fleet.end()?;
    fleet.churn(0.0)?;
    let [driven, driven_ws] = drivings.map(|one| one.map(Driving::stop).unwrap_or_default());
    let reads = reads.map(Reads::stop);
    let probed = probe.map(Probe::stop);
    let asked = asking.into_iter().map(|thread| thread.join().map_err(|_| "--at: panicked"));
    let asked = asked.collect::<std::result::Result<_, _>>()?;
    fleet.settle()?;
    let by_phase = meters.windows(2).map(|pair| pair[0].until(&pair[1], options)).collect();
    let used = meters[0].until(&meters[meters.len() - 1], options);
    Ok(Played { timeline, figures, used, by_phase, driven, driven_ws, reads, probed, asked })
}

/// Does what belongs to the beginning of a phase; requests are on their way then.
fn begin_phase(
    options: &Options,
    fleet: &mut Fleet,
    timeline: &Timeline,
    phase: usize,
) -> Result<Vec<JoinHandle<Asked>>> {
    let name = &timeline.phases[phase].name;
    let mut asking = Vec::new();
    for at in options.at.iter().filter(|at| at.phase == *name) {
        let (mut http, at) = (http(options)?, at.clone());
        asking.push(spawn(move || ask(&mut http, at)));
    }
    if let Some(cut) = options.cut.as_ref().filter(|cut| cut.phase == *name) {
        fleet.cut(cut.stay, options.at_once.unwrap_or(options.sockets))?;
    }
    if let Some(slow) = options.slow.filter(|_| phase == 1) {
        fleet.pause((slow.seconds * SECOND as f64) as u64)?;
    }
    Ok(asking)
}

fn ask(http: &mut Http, at: At) -> Asked {
    let begun = now();
    let answer = http.call(&at.method, &at.path, &at.body);
    let nanos = now() - begun;
    let fault = match &answer {
        Ok((200..=299, _)) => None,
        Ok((status, body)) => Some(format!("at: {status} {}", String::from_utf8_lossy(body))),
        Err(error) => Some(format!("at: {error}")),
    };
    Asked { at, status: answer.ok().map(|(status, _)| status), nanos, fault }
}

impl Played {
    /// When all that was submitted was made.
    fn times(&self) -> crate::times::Times {
        let mut times = self.driven.times.clone();
        times.merge(self.driven_ws.times.clone());
        times.sort();
        times
    }

    fn errors(&self, report: &Report) -> Errors {
        let mut errors = sum_of(&[&report.errors, &self.driven.errors, &self.driven_ws.errors]);
        self.reads.iter().for_each(|reads| errors.merge(&reads.errors));
        self.probed.iter().for_each(|(_, failed)| errors.merge(failed));
        self.asked.iter().filter_map(|one| one.fault.as_ref()).for_each(|fault| errors.add(fault));
        errors
    }

    /// The parts of the result that the load is about.
    fn tell(&self, options: &Options, report: &Report) -> Map<String, Value> {
        let phases = 0..self.timeline.phases.len();
        let phases: Vec<_> = phases.map(|phase| self.tell_phase(options, report, phase)).collect();
        let disturbed = &report.disturbed;
        let reads = self.reads.as_ref().zip(options.reads).map(|(told, rate)| {
            let mut told = json!(told);
            told["asked_per_second"] = json!(rate);
            told
        });
        let told = json!({
            "driver": driver_told(&self.driven, options.drive),
            "driver_ws": driver_told(&self.driven_ws, options.drive_ws),
            "reads": reads,
            "probe": self.probed.as_ref().map(|(latencies, _)| latencies.summary()),
            "phases": phases,
            "stale": report.stale.iter().sum::<u64>(),
            "churn": (options.churn > 0.0).then(|| disturbed.tell_churn()),
            "cut": options.cut.as_ref().map(|_| disturbed.tell_cut()),
            "slow": options.slow.map(|_| disturbed.tell_slow()),
            "ended": (!options.at.is_empty()).then(|| disturbed.tell_ended()),
            "refusals": disturbed.refusals,
            "at": self.asked.iter().map(Asked::tell).collect::<Vec<_>>(),
        });
        let Value::Object(told) = told else { return Map::new() };
        told
    }

    fn tell_phase(&self, options: &Options, report: &Report, phase: usize) -> Value {
        let used = &self.by_phase[phase];
        let deliveries = report.deliveries.get(phase).copied().unwrap_or_default();
        json!({
            "name": self.timeline.phases[phase].name,
            "seconds": rounded(used.seconds),
            "api": self.figures.tell(phase),
            "delivery": delivery(options, report, self.timeline.windows_of(phase)),
            "deliveries": deliveries,
            "deliveries_per_second": rounded(deliveries as f64 / used.seconds),
            "cpu": used.shares(),
        })
    }
}

impl Asked {
    fn tell(&self) -> Value {
        json!({
            "phase": self.at.phase,
            "method": self.at.method,
            "path": self.at.path,
            "status": self.status,
            "ms": millis(self.nanos),
        })
    }
}
