//! Watchers that all come back at once, beside some that stay and see how late they are served.

use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use crate::clock::{now, seconds};
use crate::control::Fleet;
use crate::driver::{Driver, Driving};
use crate::figures::Figures;
use crate::meter::{Meter, memory};
use crate::options::Options;
use crate::plan::Timeline;
use crate::tally::rounded;
use crate::told::{driver_told, latency, opening, sum_of};
use crate::watch::{compare_if_asked, is_equal};
use crate::{Result, tell};

/// Runs `storm`; returns whether all was as it should be.
///
/// Those who come back try again when they are refused, as clients do; refusals are counted apart
/// and are no mistake.
pub(crate) fn run(options: &Options, arguments: &[String]) -> Result<bool> {
    options.url()?;
    let memory_before = memory(options)?;
    let mut staying = Fleet::start(1, arguments)?;
    let mut coming =
        Fleet::start(options.processes, &[arguments, &["--retry".to_owned()]].concat())?;
    let stayed = staying.open(options.stay)?;
    let came = coming.open(options.sockets)?;
    let driver = Driver::prepare(options)?;
    let calm = now();
    let timeline = Timeline::new(calm, &options.phases());
    let figures = Figures::new(timeline.clone());
    let driving = driver.map(|driver| driver.start(&timeline, &figures));
    sleep(Duration::from_secs_f64(options.seconds));
    let meter = Meter::start(options)?;
    let storm = now();
    let back = coming.reconnect(options.at_once.unwrap_or(options.sockets))?;
    let over = now();
    let server = meter.stop(options)?;
    sleep(Duration::from_secs_f64(options.seconds));
    let outcome = driving.map(Driving::stop).unwrap_or_default();
    let checked =
        [compare_if_asked(&mut staying, options)?, compare_if_asked(&mut coming, options)?];
    let phases = [(calm, storm), (storm, over), (over, u64::MAX)];
    let report = staying.report(&outcome.times, &phases)?;
    let returned = coming.report(&outcome.times, &phases)?;

    let errors = sum_of(&[&report.errors, &outcome.errors]);
    let all_there = stayed.sockets == options.stay
        && report.sockets == options.stay
        && back.sockets == options.sockets
        && returned.sockets == options.sockets;
    let are_equal = checked.iter().all(|checked| is_equal(checked.as_ref()));
    let is_right = errors.total() == 0 && all_there && are_equal;
    let result = json!({
        "command": "storm",
        "ok": is_right,
        "opening": {"stay": opening(options.stay, &stayed), "come": opening(options.sockets, &came)},
        "back": {
            "sockets": back.sockets,
            "seconds": rounded(seconds(back.nanos)),
            "each": back.latencies.summary(),
            "refusals": sum_of(&[&returned.errors, &returned.disturbed.refusals]),
        },
        "latency": {
            "before": latency(options, &report, 0),
            "during": latency(options, &report, 1),
            "after": latency(options, &report, 2),
        },
        "driver": driver_told(&outcome, options.drive),
        "server": server.tell(back.sockets),
        "memory": {"before": memory_before, "after": memory(options)?},
        "checked": checked,
        "errors": errors,
    });
    tell(options, &result)?;
    Ok(is_right)
}
