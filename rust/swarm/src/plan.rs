//! The course of a run: its phases, what happens at their beginning, and when requests are due.
//! No I/O.

use std::ops::Range;

use crate::Result;
use crate::clock::SECOND;
use crate::values::{LONGEST_RUN, duration, positive, rate};

/// A part of a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Phase {
    /// What it is called.
    pub(crate) name: String,
    /// How long it takes.
    pub(crate) seconds: f64,
    /// By how much rates are multiplied.
    pub(crate) factor: f64,
}

/// Sockets that all come back at the beginning of a phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Name of the phase.
    pub(crate) phase: String,
    /// Watchers that stay.
    pub(crate) stay: u64,
}

/// Sockets that stop reading from the beginning of the second phase.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Slow {
    /// How many.
    pub(crate) sockets: u64,
    /// For how long.
    pub(crate) seconds: f64,
}

/// A request at the beginning of a phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At {
    /// Name of the phase.
    pub(crate) phase: String,
    /// Method of HTTP.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    /// JSON; empty for none.
    pub(crate) body: String,
}

impl Phase {
    /// Reads `NAME:SECONDS:FACTOR[,...]`.
    pub(crate) fn parse_all(text: &str) -> Result<Vec<Self>> {
        let all: Vec<Self> = text.split(',').map(Self::parse).collect::<Result<_>>()?;
        for (place, phase) in all.iter().enumerate() {
            if all[..place].iter().any(|other| other.name == phase.name) {
                return Err(format!("{:?} is there twice", phase.name).into());
            }
        }
        if all.iter().map(|phase| phase.seconds).sum::<f64>() > LONGEST_RUN {
            return Err(format!("at most {LONGEST_RUN} seconds in all").into());
        }
        Ok(all)
    }

    fn parse(text: &str) -> Result<Self> {
        let fields: Vec<&str> = text.trim().split(':').collect();
        let [name, seconds, factor] = fields[..] else {
            return Err("NAME:SECONDS:FACTOR is needed".into());
        };
        if name.is_empty() {
            return Err("a phase has a name".into());
        }
        Ok(Self { name: name.to_owned(), seconds: duration(seconds)?, factor: rate(factor)? })
    }
}

impl Cut {
    /// Reads `PHASE:STAY`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (phase, stay) = text.split_once(':').ok_or("PHASE:STAY is needed")?;
        Ok(Self { phase: phase.to_owned(), stay: stay.parse()? })
    }
}

impl Slow {
    /// Reads `SOCKETS:SECONDS`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (sockets, seconds) = text.split_once(':').ok_or("SOCKETS:SECONDS is needed")?;
        Ok(Self { sockets: positive(sockets)?, seconds: duration(seconds)? })
    }
}

impl At {
    /// Reads `PHASE:METHOD:PATH[:BODY]`. A path may hold colons, as a body begins with a bracket.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let fields: Vec<&str> = text.splitn(3, ':').collect();
        let [phase, method, rest] = fields[..] else {
            return Err("PHASE:METHOD:PATH[:BODY] is needed".into());
        };
        let body = rest.find(":{").or_else(|| rest.find(":["));
        let (path, body) = body.map_or((rest, ""), |at| (&rest[..at], &rest[at + 1..]));
        if !path.starts_with('/') {
            return Err("a path begins with /".into());
        }
        Ok(Self {
            phase: phase.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            body: body.to_owned(),
        })
    }
}

/// When the phases of a run begin.
#[derive(Debug, Clone)]
pub(crate) struct Timeline {
    /// The phases.
    pub(crate) phases: Vec<Phase>,
    /// The beginning of each, and the end of the last.
    bounds: Vec<u64>,
}

impl Timeline {
    /// The phases one after the other from a moment on.
    pub(crate) fn new(start: u64, phases: &[Phase]) -> Self {
        let mut bounds = vec![start];
        let mut elapsed = 0.0;
        for phase in phases {
            elapsed += phase.seconds;
            bounds.push(start + (elapsed * SECOND as f64) as u64);
        }
        Self { phases: phases.to_vec(), bounds }
    }

    /// When a phase ends.
    pub(crate) fn end_of(&self, phase: usize) -> u64 {
        self.bounds[phase + 1]
    }

    /// When the run ends.
    pub(crate) fn end(&self) -> u64 {
        self.bounds[self.phases.len()]
    }

    /// The phase of a moment; what is after the end belongs to the last.
    pub(crate) fn phase_of(&self, moment: u64) -> usize {
        let begun = self.bounds[..self.phases.len()].partition_point(|begin| *begin <= moment);
        begun.saturating_sub(1)
    }

    /// Each phase's beginning and end, and the time after the last.
    pub(crate) fn windows(&self) -> Vec<(u64, u64)> {
        let phases = self.bounds.windows(2).map(|pair| (pair[0], pair[1]));
        phases.chain([(self.end(), u64::MAX)]).collect()
    }

    /// The windows whose latencies belong to a phase: what comes after the end belongs to the last.
    pub(crate) fn windows_of(&self, phase: usize) -> Range<usize> {
        phase..phase + 1 + usize::from(phase + 1 == self.phases.len())
    }

    /// When the request of a number, counted from 0, is due at a rate a second times the factors
    /// of the phases. The last phase goes on after its end; without a rate it has no requests.
    pub(crate) fn due(&self, rate: f64, number: u64) -> u64 {
        let mut rest = number as f64;
        for (place, phase) in self.phases.iter().enumerate() {
            let rate = rate * phase.factor;
            let count = rate * phase.seconds;
            let is_last = place + 1 == self.phases.len();
            if rate > 0.0 && (rest < count || is_last) {
                return self.bounds[place] + (rest / rate * SECOND as f64) as u64;
            }
            rest -= count;
        }
        u64::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(text: &str) -> Timeline {
        Timeline::new(1000 * SECOND, &Phase::parse_all(text).unwrap())
    }

    #[test]
    fn requests_are_due_at_the_rate_of_their_phase() {
        let timeline = timeline("calm:10:1,rest:5:0,peak:10:3");
        let counts: Vec<usize> = [(0, 10), (10, 15), (15, 25), (25, 26)]
            .map(|(from, to)| {
                let window = (1000 + from) * SECOND..(1000 + to) * SECOND;
                (0..1000).filter(|number| window.contains(&timeline.due(2.0, *number))).count()
            })
            .to_vec();
        // The last phase goes on.
        assert_eq!(counts, [20, 0, 60, 6]);
        let moments: Vec<u64> = (0..100).map(|number| timeline.due(2.0, number)).collect();
        assert!(moments.is_sorted());
        assert_eq!(moments[1] - moments[0], SECOND / 2);
    }

    #[test]
    fn nothing_is_due_after_a_last_phase_without_a_rate() {
        let timeline = timeline("a:1:1,b:1:0");
        assert_eq!(timeline.due(2.0, 1), 1000 * SECOND + SECOND / 2);
        assert_eq!(timeline.due(2.0, 2), u64::MAX);
    }

    #[test]
    fn moments_belong_to_phases() {
        let timeline = timeline("a:1:1,b:2:1");
        let of = |tenths: u64| timeline.phase_of(1000 * SECOND + tenths * SECOND / 10);
        assert_eq!([of(0), of(9), of(10), of(29), of(99)], [0, 0, 1, 1, 1]);
        assert_eq!(timeline.phase_of(0), 0);
        let windows = [(1001 * SECOND, 1003 * SECOND), (1003 * SECOND, u64::MAX)];
        assert_eq!(timeline.windows()[1..], windows);
        assert_eq!([timeline.windows_of(0), timeline.windows_of(1)], [0..1, 1..3]);
        assert_eq!((timeline.end_of(0), timeline.end()), (1001 * SECOND, 1003 * SECOND));
    }

    #[test]
    fn events_are_read() {
        let at = At::parse(r#"b:POST:/v1/boards/a/scores:batch:[{"member":"x"}]"#).unwrap();
        assert_eq!(
            (&at.path[..], &at.body[..]),
            ("/v1/boards/a/scores:batch", r#"[{"member":"x"}]"#)
        );
        assert_eq!(At::parse("b:PUT:/x:{\"a\":[1]}").unwrap().body, "{\"a\":[1]}");
        assert_eq!(At::parse("b:DELETE:/x").unwrap().body, "");
        assert_eq!(Cut::parse("b:7").unwrap(), Cut { phase: "b".to_owned(), stay: 7 });
        assert_eq!(Slow::parse("3:1.5").unwrap(), Slow { sockets: 3, seconds: 1.5 });
        for bad in ["", "b:GET", "b:GET:x"] {
            assert!(At::parse(bad).is_err(), "{bad}");
        }
        for bad in ["a", "a:1", "a:1:-1", ":1:1", "a:0:1", "a:1:1,a:2:2", "a:500:1,b:500:1"] {
            assert!(Phase::parse_all(bad).is_err(), "{bad}");
        }
        assert!(Cut::parse("b").is_err() && Slow::parse("0:1").is_err());
    }
}
