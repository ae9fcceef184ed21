//! What idle watchers cost the server: memory for each, and processor time for all.

use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::control::Fleet;
use crate::meter::{Meter, memory};
use crate::options::Options;
use crate::tally::rounded;
use crate::times::Times;
use crate::told::opening;
use crate::watch::{compare_if_asked, is_equal};
use crate::{Result, tell};

/// Buffers of the handshakes are free again after so long.
const SETTLING: Duration = Duration::from_secs(2);

/// Runs `idle`; returns whether all was as it should be.
pub(crate) fn run(options: &Options, arguments: &[String]) -> Result<bool> {
    options.url()?;
    options.servers.first().ok_or("--server-pid is needed")?;
    let memory_before = memory(options)?;
    let mut fleet = Fleet::start(options.processes, arguments)?;
    let mut steps = Vec::new();
    let mut points = Vec::new();
    for sockets in &options.steps {
        let ready = fleet.open(*sockets)?;
        sleep(SETTLING);
        let memory = memory(options)?.unwrap_or_default();
        points.push((ready.sockets as f64, memory.anon_kb as f64 * 1024.0));
        steps.push(json!({"opening": opening(*sockets, &ready), "memory": memory}));
    }
    fleet.begin()?;
    let meter = Meter::start(options)?;
    sleep(Duration::from_secs_f64(options.seconds));
    let server = meter.stop(options)?;
    fleet.end()?;
    let checked = compare_if_asked(&mut fleet, options)?;
    let report = fleet.report(&Times::default(), &[])?;
    let wanted = options.steps.iter().copied().max().unwrap_or_default();
    let is_right =
        report.errors.total() == 0 && report.sockets == wanted && is_equal(checked.as_ref());
    let result = json!({
        "command": "idle",
        "ok": is_right,
        "sockets": report.sockets,
        "memory_before": memory_before,
        "steps": steps,
        "bytes_per_socket": slope(&points).map_or(Value::Null, |bytes| json!(rounded(bytes))),
        "seconds": rounded(server.seconds),
        "server": server.tell(0),
        "pings": report.traffic.pings,
        "frame_bytes": report.traffic.frame_bytes,
        "checked": checked,
        "errors": report.errors,
    });
    tell(options, &result)?;
    Ok(is_right)
}

/// The slope of the line through the points with the least squares; nothing if they have none.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let mean = |part: fn(&(f64, f64)) -> f64| points.iter().map(part).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let up: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let along: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    (along > 0.0).then(|| up / along)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_what_one_more_costs() {
        let line: Vec<_> = [1.0, 5.0, 19.0].iter().map(|x| (*x, 500.0 * x + 7.0)).collect();
        assert!((slope(&line).unwrap() - 500.0).abs() < 1e-9);
        let noisy = [(0.0, 0.0), (1.0, 2.0), (2.0, 2.0)];
        assert!((slope(&noisy).unwrap() - 1.0).abs() < 1e-9);
        assert_eq!(slope(&line[..1]), None);
        assert_eq!(slope(&[]), None);
    }
}
