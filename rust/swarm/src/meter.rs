//! Measures the server's processes: each, and all together.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::Result;
use crate::clock::{now, seconds};
use crate::options::Options;
use crate::process::{Cpu, Memory};
use crate::tally::rounded;
use crate::values::Measured;

/// What the processes had used at a moment, in the order of the options; none if none is known.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    at: u64,
    cpus: Vec<Cpu>,
}

/// What the server used.
#[derive(Debug)]
pub(crate) struct Used {
    /// Length of the measurement.
    pub(crate) seconds: f64,
    cpus: Vec<(String, Cpu)>,
}

impl Meter {
    /// Begins.
    pub(crate) fn start(options: &Options) -> Result<Self> {
        Ok(Self { at: now(), cpus: of_each(options, Cpu::of)? })
    }

    /// Ends.
    pub(crate) fn stop(self, options: &Options) -> Result<Used> {
        Ok(self.until(&Self::start(options)?, options))
    }

    /// What was used until a later look.
    pub(crate) fn until(&self, later: &Self, options: &Options) -> Used {
        let used = |(server, (after, before)): (&Measured, (&Cpu, &Cpu))| {
            (server.name.clone(), after.since(before))
        };
        let cpus = options.servers.iter().zip(later.cpus.iter().zip(&self.cpus)).map(used);
        Used { seconds: seconds(later.at - self.at), cpus: cpus.collect() }
    }
}

impl Used {
    /// The figures; processor time is also told for each delivery.
    pub(crate) fn tell(&self, deliveries: u64) -> Value {
        if self.cpus.is_empty() {
            return Value::Null;
        }
        let all = self.sum();
        let each = |seconds: f64| rounded(seconds * 1e6 / deliveries.max(1) as f64);
        let processes: Map<String, Value> =
            self.cpus.iter().map(|(name, cpu)| (name.clone(), self.tell_one(cpu))).collect();
        json!({
            "cpu_seconds": all.seconds,
            "cpu_share": self.share(&all),
            "cpu_us_per_delivery": each(all.seconds),
            "threads": all.threads,
            "processes": processes,
        })
    }

    /// Processor time of each process, and of `all`, as a share of one core.
    pub(crate) fn shares(&self) -> BTreeMap<String, f64> {
        let of = |(name, cpu): &(String, Cpu)| (name.clone(), self.share(cpu));
        let mut shares: BTreeMap<_, _> = self.cpus.iter().map(of).collect();
        if !self.cpus.is_empty() {
            shares.insert("all".to_owned(), self.share(&self.sum()));
        }
        shares
    }

    fn tell_one(&self, cpu: &Cpu) -> Value {
        json!({
            "cpu_seconds": cpu.seconds,
            "cpu_share": self.share(cpu),
            "threads": cpu.threads,
        })
    }

    fn share(&self, cpu: &Cpu) -> f64 {
        rounded(cpu.seconds / self.seconds)
    }

    fn sum(&self) -> Cpu {
        let mut sum = Cpu::default();
        self.cpus.iter().for_each(|(_, cpu)| sum.add(cpu));
        sum
    }
}

/// The memory of the processes together, if it is known which they are.
pub(crate) fn memory(options: &Options) -> Result<Option<Memory>> {
    Ok(Memory::sum(&of_each(options, Memory::of)?))
}

/// The memory at several moments.
#[derive(Debug, Default)]
pub(crate) struct Memories(Vec<(&'static str, Vec<Memory>)>);

impl Memories {
    /// Looks now.
    pub(crate) fn look(&mut self, moment: &'static str, options: &Options) -> Result<()> {
        self.0.push((moment, of_each(options, Memory::of)?));
        Ok(())
    }

    /// The sums by moment, and under `processes` each process's by moment.
    pub(crate) fn tell(&self, options: &Options) -> Value {
        let mut told: Map<String, Value> = self
            .0
            .iter()
            .map(|(moment, memories)| ((*moment).to_owned(), json!(Memory::sum(memories))))
            .collect();
        let of = |place: usize| {
            let by_moment = self.0.iter().map(|(moment, all)| (*moment, all[place]));
            json!(by_moment.collect::<BTreeMap<_, _>>())
        };
        let names = options.servers.iter().enumerate();
        let processes: Map<String, Value> =
            names.map(|(place, server)| (server.name.clone(), of(place))).collect();
        told.insert("processes".to_owned(), Value::Object(processes));
        Value::Object(told)
    }
}

fn of_each<T>(options: &Options, look: impl Fn(u32) -> Result<T>) -> Result<Vec<T>> {
    let look = |server: &Measured| {
        look(server.pid)
            .map_err(|error| format!("{} ({}): {error}", server.name, server.pid).into())
    };
    options.servers.iter().map(look).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_told_each_and_together() {
        let pid = std::process::id();
        let options = ["--server-pid".to_owned(), format!("a={pid},b={pid}")];
        let options = Options::parse(&options).unwrap();
        let mut memories = Memories::default();
        memories.look("before", &options).unwrap();
        let meter = Meter::start(&options).unwrap();
        let end = crate::clock::thread_cpu() + 50_000_000;
        while crate::clock::thread_cpu() < end {}
        let used = meter.stop(&options).unwrap();
        let told = used.tell(1);
        let of = |told: &Value| told["cpu_seconds"].as_f64().unwrap();
        let parts = [&told["processes"]["a"], &told["processes"]["b"]].map(of);
        assert!(parts[0] > 0.02 && (parts[0] + parts[1] - of(&told)).abs() < 0.01, "{told}");
        assert_eq!(used.shares().keys().collect::<Vec<_>>(), ["a", "all", "b"]);
        let told = memories.tell(&options);
        let kb = |told: &Value| told["anon_kb"].as_u64().unwrap();
        assert!(kb(&told["before"]) >= kb(&told["processes"]["a"]["before"]));
    }

    #[test]
    fn nothing_is_told_of_unknown_processes() {
        let options = Options::parse(&[]).unwrap();
        let used = Meter::start(&options).unwrap().stop(&options).unwrap();
        assert_eq!((used.tell(1), used.shares().len()), (Value::Null, 0));
        assert!(memory(&options).unwrap().is_none());
    }
}
