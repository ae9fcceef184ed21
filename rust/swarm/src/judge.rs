//! What the sockets of a process share: the channels, the counts and the log of deliveries.

use std::collections::BTreeMap;

use crate::clock::{SECOND, now};
use crate::control::{Report, Seen};
use crate::mix::is_shared;
use crate::news::{NO_NEWS, News, Trace};
use crate::options::Options;
use crate::protocol::Encoding;
use crate::spread::Spread;
use crate::tally::{Errors, Latencies, Traffic};
use crate::times::Times;
use crate::view::{Channels, Rules, Subscription, Taken};

/// Deliveries whose time is kept: 256 MB.
const LOGGED: usize = 32 << 20;

/// Nanoseconds in a step of the log's clock, which lasts for more than an hour.
const TICK: u64 = 1000;

/// A delivery.
#[derive(Debug, Clone, Copy)]
struct Delivery {
    /// Steps since moment zero.
    time: u32,
    /// Number of the news.
    news: u32,
}

/// All that sockets share.
#[derive(Debug)]
pub(crate) struct Judge {
    /// What was chosen.
    pub(crate) options: Options,
    /// What is watched.
    pub(crate) channels: Channels,
    /// What came in since the beginning of the count.
    pub(crate) traffic: Traffic,
    /// What went wrong since the start.
    pub(crate) errors: Errors,
    /// When which news was delivered.
    log: Vec<Delivery>,
    /// Deliveries that the log had no place for.
    unlogged: u64,
    /// Moment zero of the log.
    origin: u64,
    /// The last mask.
    mask: u32,
}

impl Judge {
    /// Nothing has come in yet.
    pub(crate) fn new(options: Options) -> Self {
        let traffic = Traffic::new(options.mix.templates.len());
        let rules = Rules {
            timed_by: options.timed_by,
            has_versions: options.encoding != Encoding::Plain,
            first_state: options.first_state,
        };
        Self {
            options,
            channels: Channels::new(rules),
            traffic,
            errors: Errors::default(),
            log: Vec::new(),
            unlogged: 0,
            origin: now(),
            mask: 0,
        }
    }

    /// The mask of the next frame.
    pub(crate) fn mask(&mut self) -> [u8; 4] {
        self.mask = self.mask.wrapping_add(0x9e37_79b9);
        self.mask.to_be_bytes()
    }

    /// Counts a message of a channel that was taken.
    pub(crate) fn count(&mut self, channel: u32, taken: Taken, bytes: usize, at: u64) {
        let template = &mut self.traffic.templates[self.channels.get(channel).template];
        template.bytes += bytes as u64;
        if taken.first {
            return;
        }
        template.deliveries += 1;
        self.traffic.deliveries += 1;
        self.traffic.deltas += u64::from(taken.delta);
        match u32::try_from((at - self.origin) / TICK) {
            Ok(time) if self.log.len() < LOGGED => {
                self.log.push(Delivery { time, news: taken.news });
            }
            _ => self.unlogged += 1,
        }
    }

    /// The channels and what their watchers see.
    pub(crate) fn seen(&self, subscriptions: &[&Subscription]) -> Vec<Seen> {
        let mut seen: Vec<BTreeMap<&[u8], u64>> = vec![BTreeMap::new(); self.channels.len()];
        for subscription in subscriptions {
            if let Some(state) = &subscription.state {
                *seen[subscription.channel as usize].entry(&state.body).or_default() += 1;
            }
        }
        let watched = (0..).zip(&seen).filter(|(_, states)| !states.is_empty());
        watched
            .map(|(channel, states)| Seen {
                channel: self.channels.get(channel).name.to_string(),
                states: states
                    .iter()
                    .map(|(state, count)| (String::from_utf8_lossy(state).into_owned(), *count))
                    .collect(),
            })
            .collect()
    }

    /// Fills the parts of a report that come from the log.
    pub(crate) fn tell(&self, times: &Times, phases: &[(u64, u64)], report: &mut Report) {
        let empty = || vec![Latencies::default(); self.options.mix.templates.len()];
        report.from_sent = phases.iter().map(|_| empty()).collect();
        report.from_acked = phases.iter().map(|_| empty()).collect();
        report.deliveries = vec![0; phases.len()];
        report.stale = vec![0; phases.len()];
        report.unlogged = self.unlogged;
        let stale = (self.options.stale * SECOND as f64) as u64;
        let mut made: Vec<Option<Made>> = vec![None; self.channels.news.all.len()];
        let mut spreads: Vec<Option<Spread>> = vec![None; made.len()];
        for delivery in &self.log {
            let at = self.origin + u64::from(delivery.time) * TICK;
            let inside = |(from, to): &(u64, u64)| (*from..*to).contains(&at);
            let phase = phases.iter().position(inside);
            if let Some(phase) = phase {
                report.deliveries[phase] += 1;
            }
            let traced = self.traced(delivery.news, times, at, &mut made);
            let Some((news, sent, acked)) = traced else {
                report.untimed += 1;
                continue;
            };
            let template = self.channels.get(news.channel).template;
            if let Some(phase) = phase {
                let late = at.saturating_sub(sent);
                report.stale[phase] += u64::from(late > stale);
                report.from_sent[phase][template].record(late);
                report.from_acked[phase][template].record(at.saturating_sub(acked));
            }
            if is_shared(&self.options.mix.templates[template]) {
                self.widen(&mut spreads[delivery.news as usize], news, sent, at);
            }
        }
        report.spreads = spreads.into_iter().flatten().collect();
    }

    /// The news of a number, with the moments of the submit that made it.
    fn traced(
        &self,
        number: u32,
        times: &Times,
        at: u64,
        made: &mut [Option<Made>],
    ) -> Option<(&News, u64, u64)> {
        if number == NO_NEWS {
            return None;
        }
        let news = &self.channels.news.all[number as usize];
        // The log is in the order of time, so this is the first delivery of these news.
        let made = made[number as usize].get_or_insert_with(|| self.made(news, times, at));
        made.map(|(sent, acked)| (news, sent, acked))
    }

    /// When news were made, that were delivered at a moment.
    fn made(&self, news: &News, times: &Times, at: u64) -> Made {
        let board = self.channels.get(news.channel).name.split(':').nth(1)?;
        match &news.trace {
            Trace::Version(version) => times.of_version(board, *version),
            Trace::Rows(rows) => rows
                .iter()
                .filter_map(|row| times.of_score(board, &row.member, row.score, at))
                .max(),
        }
    }

    fn widen(&self, spread: &mut Option<Spread>, news: &News, sent: u64, at: u64) {
        let spread = spread.get_or_insert_with(|| Spread {
            channel: self.channels.get(news.channel).name.to_string(),
            version: match news.trace {
                Trace::Version(version) => version,
                // It tells news apart as well as a version does.
                Trace::Rows(_) => sent,
            },
            first: at,
            last: at,
            count: 0,
        });
        // The log is in the order of time.
        spread.last = at;
        spread.count += 1;
    }
}

/// When news were made: the moments at which the submit was sent and acknowledged, if it is known.
type Made = Option<(u64, u64)>;

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::protocol::Publication;

    fn judge() -> Judge {
        let mix = "board:a:top:1, board:a:member:{member}";
        Judge::new(Options::parse(&["--mix".to_owned(), mix.to_owned()]).unwrap())
    }

    fn deliver(judge: &mut Judge, to: &mut Subscription, version: u64, after: u64) {
        let data = format!(r#"{{"version":{version}}}"#).into_bytes();
        let publication = Publication { data: Cow::Owned(data), delta: false, offset: 0 };
        let taken = judge.channels.take(to, &publication, None).unwrap();
        judge.count(to.channel, taken, 100, judge.origin + after);
    }

    #[test]
    fn latencies_are_from_the_making_of_the_version_that_was_delivered() {
        let mut judge = judge();
        let number = judge.channels.number("board:a:top:1", 0);
        let own = judge.channels.number("board:a:member:player-1", 1);
        let watch = |channel| Subscription { channel, state: None, delta: false };
        let (mut one, mut other, mut third) = (watch(number), watch(number), watch(own));
        for watcher in [&mut one, &mut other, &mut third] {
            deliver(&mut judge, watcher, 1, 0);
        }
        deliver(&mut judge, &mut one, 5, 40_000_000);
        deliver(&mut judge, &mut third, 5, 50_000_000);
        deliver(&mut judge, &mut other, 5, 60_000_000);
        deliver(&mut judge, &mut one, 7, 90_000_000);
        let start = judge.origin;
        let rows = vec![(4, 0, 0), (5, start + 10_000_000, start + 30_000_000)];
        let times = Times { versions: [("a".to_owned(), rows)].into(), ..Times::default() };
        let mut report = Report::default();
        judge.options.stale = 0.045;
        let phases = [(start, start + 55_000_000), (start + 55_000_000, u64::MAX)];
        judge.tell(&times, &phases, &mut report);
        let told = |latencies: &[Vec<Latencies>], phase: usize, template: usize| {
            let summary = latencies[phase][template].summary();
            (summary.count, summary.max_ms.round() as u64)
        };
        assert_eq!(told(&report.from_sent, 0, 0), (1, 30));
        assert_eq!(told(&report.from_sent, 0, 1), (1, 40));
        assert_eq!(told(&report.from_sent, 1, 0), (1, 50));
        assert_eq!(told(&report.from_acked, 1, 0), (1, 30));
        // Version 7 was made by somebody else; first states are no deliveries.
        assert_eq!((report.untimed, judge.traffic.deliveries), (1, 4));
        // Those at 90 ms belong to no time at which something was made.
        assert_eq!((&report.deliveries[..], &report.stale[..]), (&[2, 2][..], &[0, 1][..]));
        // Only the shared channel has a spread.
        let [spread] = &report.spreads[..] else { panic!("{:?}", report.spreads) };
        assert_eq!((spread.version, spread.count), (5, 2));
        assert_eq!((spread.last - spread.first).div_ceil(1_000_000), 20);
        assert_eq!(judge.traffic.templates[0].bytes, 500);
    }

    #[test]
    fn what_watchers_see_is_told_by_channel() {
        let mut judge = judge();
        let channel = judge.channels.number("board:a:top:1", 0);
        let mut watchers: Vec<_> =
            (0..3).map(|_| Subscription { channel, state: None, delta: false }).collect();
        deliver(&mut judge, &mut watchers[0], 2, 0);
        deliver(&mut judge, &mut watchers[1], 1, 0);
        deliver(&mut judge, &mut watchers[2], 2, 0);
        let [seen] = &judge.seen(&watchers.iter().collect::<Vec<_>>())[..] else { panic!() };
        assert_eq!(seen.channel, "board:a:top:1");
        let states: Vec<_> = seen.states.iter().map(|(text, count)| (&text[..], *count)).collect();
        assert_eq!(states, [(r#"{"version":1}"#, 1), (r#"{"version":2}"#, 2)]);
    }
}
