//! How the program leads the processes that hold its sockets: JSON lines over their pipes.
//!
//! Every order has one answer. A process ends when its standard input ends, so none outlives the
//! program, however that ends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::disturb::Disturbed;
use crate::spread::{Spread, merge_spreads};
use crate::tally::{Errors, Latencies, Traffic};
use crate::times::Times;

/// What a process is told to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Open sockets until this process has so many, and wait for their first states.
    Open(u64),
    /// Begin to count traffic.
    Begin,
    /// End to count traffic.
    End,
    /// Drop all sockets and open them again, so many at once.
    Reconnect(u64),
    /// From now on so many sockets a minute close and come back; 0 for none.
    Churn(f64),
    /// Slow sockets stop reading for so many nanoseconds.
    Pause(u64),
    /// Drop all sockets but the first watchers, and open them again, so many at once.
    Cut {
        /// Watchers that stay, of all processes.
        stay: u64,
        /// Sockets on their way at the same time.
        at_once: u64,
    },
    /// Wait until all sockets are back, for some time.
    Settle,
    /// Say what the watchers see.
    States,
    /// Say what was counted, and how late deliveries were.
    Report {
        /// When the versions were made.
        times: Times,
        /// Latencies are told for each of these times: from, to.
        phases: Vec<(u64, u64)>,
    },
}

/// What a process answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// To [`Order::Open`], [`Order::Reconnect`] and [`Order::Settle`].
    Ready(Ready),
    /// To orders that are done at once.
    Done,
    /// To [`Order::States`]: every channel that is watched.
    States(Vec<Seen>),
    /// To [`Order::Report`].
    Report(Box<Report>),
}

/// How opening went.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// Sockets that have all of their first states.
    pub(crate) sockets: u64,
    /// Nanoseconds that it took.
    pub(crate) nanos: u64,
    /// From the order until each socket had its first states.
    pub(crate) latencies: Latencies,
}

/// What the watchers of a channel see.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// The channel's name.
    pub(crate) channel: String,
    /// The states as JSON, each with the number of those who see it.
    pub(crate) states: BTreeMap<String, u64>,
}

/// What a process has counted.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Sockets that are open and have their first states.
    pub(crate) sockets: u64,
    /// Subscriptions by template.
    pub(crate) subscriptions: Vec<u64>,
    /// What came in between [`Order::Begin`] and [`Order::End`].
    pub(crate) traffic: Traffic,
    /// What went wrong since the start.
    pub(crate) errors: Errors,
    /// For each phase and template: from sending the submit to the delivery.
    pub(crate) from_sent: Vec<Vec<Latencies>>,
    /// For each phase and template: from the receipt to the delivery; 0 if that came first.
    pub(crate) from_acked: Vec<Vec<Latencies>>,
    /// Deliveries by phase.
    pub(crate) deliveries: Vec<u64>,
    /// Those of them that came too late after their submit.
    pub(crate) stale: Vec<u64>,
    /// Sockets that closed and came back.
    pub(crate) disturbed: Disturbed,
    /// Deliveries of what the driver did not make.
    pub(crate) untimed: u64,
    /// Deliveries whose time was not kept, as there were too many.
    pub(crate) unlogged: u64,
    /// Publications on shared channels.
    pub(crate) spreads: Vec<Spread>,
}

/// Writes one line and sends it on its way.
pub(crate) fn write_line(to: &mut impl Write, message: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)?;
    Ok(to.flush()?)
}

/// Reads one line; nothing at the end.
pub(crate) fn read_line<T: DeserializeOwned>(from: &mut impl BufRead) -> Result<Option<T>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}

/// The processes that hold the sockets.
#[derive(Debug)]
pub(crate) struct Fleet {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Fleet {
    /// Starts so many processes with the given arguments.
    pub(crate) fn start(processes: u64, arguments: &[String]) -> Result<Self> {
        let program = std::env::current_exe()?;
        let start = |number| {
            let mut process = Command::new(&program)
                .args(["fleet", "--share", &format!("{number}/{processes}")])
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let orders = process.stdin.take();
            let answers = process.stdout.take().ok_or("no pipe")?;
            Ok(Member { process, orders, answers: BufReader::new(answers) })
        };
        Ok(Self { members: (0..processes).map(start).collect::<Result<_>>()? })
    }

    /// Opens sockets until there are so many in all.
    pub(crate) fn open(&mut self, sockets: u64) -> Result<Ready> {
        let processes = self.members.len() as u64;
        self.order_each(|number| Order::Open((sockets + processes - 1 - number) / processes))?;
        self.all_ready()
    }

    /// Drops all sockets, opens them again and waits for their first states.
    pub(crate) fn reconnect(&mut self, at_once: u64) -> Result<Ready> {
        let share = at_once.div_ceil(self.members.len() as u64);
        self.order_each(|_| Order::Reconnect(share))?;
        self.all_ready()
    }

    /// Begins to count traffic.
    pub(crate) fn begin(&mut self) -> Result<()> {
        self.order_each(|_| Order::Begin)?;
        self.all_done()
    }

    /// Ends to count traffic.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.order_each(|_| Order::End)?;
        self.all_done()
    }

    /// Lets so many sockets a minute close and come back.
    pub(crate) fn churn(&mut self, per_minute: f64) -> Result<()> {
        let share = per_minute / self.members.len() as f64;
        self.order_each(|_| Order::Churn(share))?;
        self.all_done()
    }

    /// Lets slow sockets stop reading for so many nanoseconds.
    pub(crate) fn pause(&mut self, nanos: u64) -> Result<()> {
        self.order_each(|_| Order::Pause(nanos))?;
        self.all_done()
    }

    /// Drops all sockets but some and opens them again, without waiting for them.
    pub(crate) fn cut(&mut self, stay: u64, at_once: u64) -> Result<()> {
        let at_once = at_once.div_ceil(self.members.len() as u64);
        self.order_each(|_| Order::Cut { stay, at_once })?;
        self.all_done()
    }

    /// Waits until all sockets are back.
    pub(crate) fn settle(&mut self) -> Result<Ready> {
        self.order_each(|_| Order::Settle)?;
        self.all_ready()
    }

    /// What all watchers see.
    pub(crate) fn states(&mut self) -> Result<BTreeMap<String, BTreeMap<String, u64>>> {
        self.order_each(|_| Order::States)?;
        let mut all: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        self.answers(|answer| {
            let Answer::States(seen) = answer else { return Err(wrong(&answer)) };
            for Seen { channel, states } in seen {
                let sum = all.entry(channel).or_default();
                for (state, count) in states {
                    *sum.entry(state).or_default() += count;
                }
            }
            Ok(())
        })?;
        Ok(all)
    }

    /// What all have counted.
    pub(crate) fn report(&mut self, times: &Times, phases: &[(u64, u64)]) -> Result<Report> {
        let order = || Order::Report { times: times.clone(), phases: phases.to_vec() };
        self.order_each(|_| order())?;
        let mut sum = Report::default();
        self.answers(|answer| {
            let Answer::Report(report) = answer else { return Err(wrong(&answer)) };
            sum.merge(*report);
            Ok(())
        })?;
        Ok(sum)
    }

    fn order_each(&mut self, order: impl Fn(u64) -> Order) -> Result<()> {
        for (number, member) in (0..).zip(&mut self.members) {
            let orders = member.orders.as_mut().ok_or("a process has ended")?;
            write_line(orders, &order(number))?;
        }
        Ok(())
    }

    fn answers(&mut self, mut take: impl FnMut(Answer) -> Result<()>) -> Result<()> {
        for member in &mut self.members {
            take(read_line(&mut member.answers)?.ok_or("a process of the swarm has ended")?)?;
        }
        Ok(())
    }

    fn all_ready(&mut self) -> Result<Ready> {
        let mut sum = Ready::default();
        self.answers(|answer| {
            let Answer::Ready(ready) = answer else { return Err(wrong(&answer)) };
            sum.sockets += ready.sockets;
            sum.nanos = sum.nanos.max(ready.nanos);
            sum.latencies.merge(&ready.latencies);
            Ok(())
        })?;
        Ok(sum)
    }

    fn all_done(&mut self) -> Result<()> {
        self.answers(|answer| match answer {
            Answer::Done => Ok(()),
            other => Err(wrong(&other)),
        })
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // Without orders the processes reset their connections and end.
        self.members.iter_mut().for_each(|member| member.orders = None);
        for member in &mut self.members {
            // Waiting fails only for a process that was waited for.
            let _ = member.process.wait();
        }
    }
}

impl Report {
    /// Adds that of another process with the same mix and the same phases.
    pub(crate) fn merge(&mut self, other: Self) {
        self.sockets += other.sockets;
        add_all(&mut self.subscriptions, &other.subscriptions);
        self.traffic.merge(&other.traffic);
        self.errors.merge(&other.errors);
        merge_all(&mut self.from_sent, other.from_sent);
        merge_all(&mut self.from_acked, other.from_acked);
        add_all(&mut self.deliveries, &other.deliveries);
        add_all(&mut self.stale, &other.stale);
        self.disturbed.merge(&other.disturbed);
        self.untimed += other.untimed;
        self.unlogged += other.unlogged;
        self.spreads = merge_spreads(std::mem::take(&mut self.spreads), other.spreads);
    }
}

fn add_all(sums: &mut Vec<u64>, others: &[u64]) {
    sums.resize(sums.len().max(others.len()), 0);
    sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
}

fn merge_all(sums: &mut Vec<Vec<Latencies>>, others: Vec<Vec<Latencies>>) {
    if sums.is_empty() {
        *sums = others;
        return;
    }
    for (sum, other) in sums.iter_mut().flatten().zip(others.into_iter().flatten()) {
        sum.merge(&other);
    }
}

fn wrong(answer: &Answer) -> Box<dyn std::error::Error + Send + Sync> {
    format!("a process of the swarm answered something else: {answer:?}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(version: u64, first: u64, last: u64, count: u64) -> Spread {
        Spread { channel: "c".to_owned(), version, first, last, count }
    }

    fn report(sockets: u64, spreads: Vec<Spread>) -> Report {
        let mut latencies = Latencies::default();
        latencies.record(sockets * 1_000_000);
        let mut errors = Errors::default();
        errors.add("x");
        Report {
            sockets,
            subscriptions: vec![sockets, 1],
            errors,
            from_sent: vec![vec![latencies.clone()], vec![latencies.clone()]],
            from_acked: vec![vec![latencies.clone()], vec![latencies]],
            deliveries: vec![1, sockets],
            stale: vec![sockets],
            disturbed: Disturbed::default(),
            untimed: 1,
            unlogged: 2,
            spreads,
            traffic: Traffic { deliveries: sockets, ..Traffic::new(2) },
        }
    }

    #[test]
    fn reports_cross_the_pipe_and_add_up() {
        let mut sum = Report::default();
        for part in [
            report(3, vec![spread(1, 10, 20, 3), spread(2, 5, 6, 1)]),
            report(4, vec![spread(1, 8, 15, 4), spread(3, 7, 7, 1)]),
        ] {
            let mut pipe = Vec::new();
            write_line(&mut pipe, &Answer::Report(Box::new(part))).unwrap();
            let Some(Answer::Report(read)) = read_line(&mut &pipe[..]).unwrap() else { panic!() };
            sum.merge(*read);
        }
        assert_eq!((sum.sockets, sum.traffic.deliveries), (7, 7));
        assert_eq!(sum.subscriptions, [7, 2]);
        assert_eq!((&sum.deliveries[..], &sum.stale[..]), (&[2, 7][..], &[7][..]));
        assert_eq!((sum.errors.total(), sum.untimed, sum.unlogged), (2, 2, 4));
        let expected = [spread(1, 8, 20, 7), spread(2, 5, 6, 1), spread(3, 7, 7, 1)];
        assert_eq!(sum.spreads, expected);
        for latencies in [&sum.from_sent, &sum.from_acked] {
            assert_eq!(latencies.len(), 2);
            assert_eq!(latencies[1][0].summary().count, 2);
            assert_eq!(latencies[1][0].summary().max_ms.round() as u64, 4);
        }
    }

    #[test]
    fn the_end_of_a_pipe_is_no_message() {
        assert!(read_line::<Answer>(&mut &b""[..]).unwrap().is_none());
        assert!(read_line::<Answer>(&mut &b"x\n"[..]).is_err());
    }
}
