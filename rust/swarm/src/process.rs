//! What another process has used, from `/proc`.

use std::collections::BTreeMap;
use std::fs::{read_dir, read_to_string};
use std::path::Path;

use serde::Serialize;

use crate::Result;
use crate::tally::rounded;

/// Ticks a second in `/proc/PID/stat`: the kernel's `USER_HZ`, which is 100 everywhere.
const TICKS: f64 = 100.0;

/// Processor time of a process.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Cpu {
    /// Seconds of all threads together, in the kernel and outside.
    pub(crate) seconds: f64,
    /// Seconds of threads by name.
    pub(crate) threads: BTreeMap<String, f64>,
}

/// Memory of a process in kB.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[allow(clippy::struct_field_names, reason = "the names in the result say the unit")]
pub(crate) struct Memory {
    /// Resident.
    pub(crate) rss_kb: u64,
    /// Resident, shared pages divided among those who share them.
    pub(crate) pss_kb: u64,
    /// Of this, what is backed by no file: heap and stacks.
    pub(crate) anon_kb: u64,
}

impl Cpu {
    /// What the process has used since its start.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let mut cpu =
            Self { seconds: stat(Path::new(&format!("/proc/{pid}/stat")))?.1, ..Self::default() };
        for entry in read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between the listing and the look.
            if let Ok((name, seconds)) = stat(&entry?.path().join("stat")) {
                *cpu.threads.entry(name).or_default() += seconds;
            }
        }
        Ok(cpu)
    }

    /// What it has used since an earlier moment.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let used = |(name, seconds): (&String, &f64)| {
            let before = before.threads.get(name).copied().unwrap_or_default();
            (name.clone(), rounded(seconds - before))
        };
        let threads = self.threads.iter().map(used).filter(|(_, seconds)| *seconds > 0.0).collect();
        Self { seconds: rounded(self.seconds - before.seconds), threads }
    }

    /// Adds that of another process.
    pub(crate) fn add(&mut self, other: &Self) {
        self.seconds = rounded(self.seconds + other.seconds);
        for (name, seconds) in &other.threads {
            let sum = self.threads.entry(name.clone()).or_default();
            *sum = rounded(*sum + seconds);
        }
    }
}

impl Memory {
    /// What the process has now.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let text = read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let kb = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().strip_suffix(" kB")?.parse().ok()
        };
        let needed = |name: &str| kb(name).ok_or(format!("no {name} in smaps_rollup"));
        // Older kernels do not divide anonymous pages; a server's are hardly ever shared.
        let anon_kb = kb("Pss_Anon").map_or_else(|| needed("Anonymous"), Ok)?;
        Ok(Self { rss_kb: needed("Rss")?, pss_kb: needed("Pss")?, anon_kb })
    }

    /// That of several together; nothing if there are none. Shared pages count in each `rss_kb`.
    pub(crate) fn sum(all: &[Self]) -> Option<Self> {
        all.iter().copied().reduce(|sum, one| Self {
            rss_kb: sum.rss_kb + one.rss_kb,
            pss_kb: sum.pss_kb + one.pss_kb,
            anon_kb: sum.anon_kb + one.anon_kb,
        })
    }
}

/// The name and the seconds of a `stat` file.
fn stat(file: &Path) -> Result<(String, f64)> {
    parse_stat(&read_to_string(file)?)
        .ok_or_else(|| format!("{} is strange", file.display()).into())
}

fn parse_stat(text: &str) -> Option<(String, f64)> {
    // The name may hold anything, also spaces and parentheses.
    let (head, rest) = text.rsplit_once(") ")?;
    let (_, name) = head.split_once(" (")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some((name.to_owned(), ticks as f64 / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_name_is() {
        let line = "7 (rank) (wire 0) S 1 7 7 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 1 0 9 9 9";
        assert_eq!(parse_stat(line), Some(("rank) (wire 0".to_owned(), 4.0)));
        assert_eq!(parse_stat("7 (x) S 1"), None);
    }

    #[test]
    fn this_process_has_threads_and_memory() {
        let pid = std::process::id();
        let before = Cpu::of(pid).unwrap();
        let end = crate::clock::thread_cpu() + 50_000_000;
        while crate::clock::thread_cpu() < end {}
        let used = Cpu::of(pid).unwrap().since(&before);
        assert!(used.seconds > 0.02 && !used.threads.is_empty(), "{used:?}");
        let memory = Memory::of(pid).unwrap();
        assert!(memory.rss_kb >= memory.anon_kb && memory.anon_kb > 0);
    }
}
