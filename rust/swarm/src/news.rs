//! What deliveries brought, so that each can be traced to the submit that made it. No I/O.
//!
//! Promises: a delivery is one number in the log of deliveries, however many watchers got it, and
//! news of a channel are kept once for those who get them soon after each other.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::rc::Rc;

use serde::Deserialize;

use crate::view::State;

/// News of a channel that are remembered, for those who get the same a little later.
const REMEMBERED: usize = 4;

/// A score that a state shows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// Whose.
    pub(crate) member: Box<str>,
    /// The score.
    pub(crate) score: f64,
}

/// News of a channel: of a version, or from one state to another.
#[derive(Debug)]
enum Step {
    Version { version: u64, number: u32 },
    States { before: Option<Rc<State>>, after: Rc<State>, number: u32 },
}

/// What a delivery brought.
#[derive(Debug, PartialEq)]
pub(crate) struct News {
    /// On which channel.
    pub(crate) channel: u32,
    /// By what it is traced to a submit.
    pub(crate) trace: Trace,
}

/// By what a delivery is traced to the submit that made it.
#[derive(Debug, PartialEq)]
pub(crate) enum Trace {
    /// The version.
    Version(u64),
    /// The scores that were not shown before.
    Rows(Box<[Row]>),
}

/// The number of news that can be traced to nothing.
pub(crate) const NO_NEWS: u32 = u32::MAX;

/// All that was new.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// By its number.
    pub(crate) all: Vec<News>,
    /// The last news of each channel.
    last: Vec<VecDeque<Step>>,
}

#[derive(Deserialize)]
struct Shown<'a> {
    #[serde(borrow, default)]
    entries: Vec<Entry<'a>>,
    score: Option<f64>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    member: Cow<'a, str>,
    score: f64,
}

impl Log {
    /// Makes a place for the next channel.
    pub(crate) fn add_channel(&mut self) {
        self.last.push(VecDeque::new());
    }

    /// The number of a version of a channel.
    pub(crate) fn of_version(&mut self, channel: u32, wanted: u64) -> u32 {
        let known = self.last[channel as usize].iter().find_map(|step| match step {
            Step::Version { version, number } if *version == wanted => Some(*number),
            _ => None,
        });
        known.unwrap_or_else(|| {
            let number = self.add(channel, Trace::Version(wanted));
            self.remember(channel, Step::Version { version: wanted, number });
            number
        })
    }

    /// The number of what a state shows that the one before did not.
    pub(crate) fn of_states(
        &mut self,
        channel: u32,
        before: Option<Rc<State>>,
        after: Rc<State>,
    ) -> u32 {
        let known = self.last[channel as usize].iter().find_map(|step| match step {
            Step::States { before: old, after: new, number }
                if Rc::ptr_eq(new, &after)
                    && old.as_ref().map(Rc::as_ptr) == before.as_ref().map(Rc::as_ptr) =>
            {
                Some(*number)
            }
            _ => None,
        });
        known.unwrap_or_else(|| {
            let old: &[Row] = before.as_ref().map_or(&[], |state| &state.rows);
            let new: Box<[Row]> =
                after.rows.iter().filter(|row| !old.contains(row)).cloned().collect();
            let is_news = !new.is_empty();
            let number = if is_news { self.add(channel, Trace::Rows(new)) } else { NO_NEWS };
            self.remember(channel, Step::States { before, after, number });
            number
        })
    }

    fn add(&mut self, channel: u32, trace: Trace) -> u32 {
        self.all.push(News { channel, trace });
        self.all.len() as u32 - 1
    }

    /// Remembers news for those who will get the same; for those who are very late it is new again.
    fn remember(&mut self, channel: u32, step: Step) {
        let last = &mut self.last[channel as usize];
        last.truncate(REMEMBERED - 1);
        last.push_front(step);
    }
}

/// Who has which score in a state of a channel.
pub(crate) fn rows(channel: &str, body: &[u8]) -> serde_json::Result<Box<[Row]>> {
    let Shown { entries, score } = serde_json::from_slice(body)?;
    let own = channel.splitn(4, ':').nth(3).filter(|_| channel.split(':').nth(2) == Some("member"));
    let own = own.zip(score).map(|(member, score)| Row { member: member.into(), score });
    let row = |entry: Entry<'_>| Row { member: entry.member.into(), score: entry.score };
    Ok(entries.into_iter().map(row).chain(own).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::TimedBy;
    use crate::protocol::Publication;
    use crate::view::{Channels, Rules, Subscription};

    fn full(text: &str) -> Publication<'_> {
        Publication { data: Cow::Borrowed(text.as_bytes()), delta: false, offset: 0 }
    }

    fn row(member: &str, score: u32) -> Row {
        Row { member: member.into(), score: score.into() }
    }

    #[test]
    fn news_are_the_scores_that_were_not_shown_before() {
        let rules = Rules { timed_by: TimedBy::Content, has_versions: false, first_state: true };
        let mut channels = Channels::new(rules);
        let top = channels.number("board:a:top:2", 0);
        let watch = || Subscription { channel: top, state: None, delta: false };
        let (mut one, mut other) = (watch(), watch());
        let mut news = |watcher: &mut Subscription, rows: &str| {
            let text = format!(r#"{{"total":9,"entries":[{rows}]}}"#);
            let known = channels.take_checked(watcher, text.as_bytes());
            let taken = known
                .unwrap_or_else(|| channels.take(watcher, &full(&text), Some(text.as_bytes())));
            match taken.unwrap().news {
                NO_NEWS => Vec::new(),
                number => match &channels.news.all[number as usize].trace {
                    Trace::Rows(rows) => rows.to_vec(),
                    Trace::Version(_) => panic!("traced by version"),
                },
            }
        };
        let (x, y, z) = (
            r#"{"member":"x","score":5}"#,
            r#"{"member":"y","score":4}"#,
            r#"{"member":"x","score":7.0}"#,
        );
        for watcher in [&mut one, &mut other] {
            assert_eq!(news(watcher, &format!("{x},{y}")), [row("x", 5), row("y", 4)]);
            assert_eq!(news(watcher, &format!("{y},{x}")), []);
        }
        assert_eq!(news(&mut one, &format!("{z},{y}")), [row("x", 7)]);
        assert_eq!(news(&mut one, z), []);
        // The same state is other news for who comes from another one.
        assert_eq!(news(&mut other, z), [row("x", 7)]);
        assert_eq!(news(&mut other, y), [row("y", 4)]);
    }

    #[test]
    fn news_of_a_member_are_its_own_score() {
        let name = "board:a:member:x:y";
        assert_eq!(*rows(name, br#"{"rank":1,"score":5}"#).unwrap(), [row("x:y", 5)]);
        assert!(rows(name, br#"{"rank":null,"score":null}"#).unwrap().is_empty());
        assert!(rows("board:a:top:1", br#"{"entries":[{"member":"x"}]}"#).is_err());
    }
}
