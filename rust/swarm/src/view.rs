//! What watchers of a channel see, and whether it is what they may see. No I/O.
//!
//! Promises: every message of every watcher is checked, and a message that was checked for one
//! watcher costs the others a comparison of its bytes. States are shared by all watchers of a
//! process that have the same one, so that memory does not grow with watchers but with channels.

use std::collections::HashMap;
use std::rc::Rc;

use serde::Deserialize;

use crate::delta;
use crate::frame::Fault;
use crate::news::{Log, Row, rows};
use crate::options::TimedBy;
use crate::protocol::Publication;

/// Messages of a channel that are remembered as checked: one for those who are up to date, and some
/// for those who are late.
const REMEMBERED: usize = 4;

/// A state of a channel.
#[derive(Debug)]
pub(crate) struct State {
    /// Version of the board that it shows; 0 if servers need not tell.
    pub(crate) version: u64,
    /// The data as JSON.
    pub(crate) body: Box<[u8]>,
    /// Who has which score in it, where deliveries are traced by that.
    pub(crate) rows: Box<[Row]>,
}

/// A channel that somebody in this process watches.
#[derive(Debug)]
pub(crate) struct Channel {
    /// Its name.
    pub(crate) name: Box<str>,
    /// Number of its template in the mix.
    pub(crate) template: usize,
    /// The last messages that were checked, the newest at `newest`.
    checked: [Option<Checked>; REMEMBERED],
    newest: usize,
}

/// A message that was checked, and the state that it leads to.
#[derive(Debug)]
struct Checked {
    message: Box<[u8]>,
    /// For a delta: the state that it belongs to.
    base: Option<Rc<State>>,
    state: Rc<State>,
}

/// One watcher's view of one channel.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// Number of the channel.
    pub(crate) channel: u32,
    /// The newest state, once there is one.
    pub(crate) state: Option<Rc<State>>,
    /// Whether the server has agreed to send deltas.
    pub(crate) delta: bool,
}

/// A state that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Number of the news.
    pub(crate) news: u32,
    /// Whether it is the first one of its subscription.
    pub(crate) first: bool,
    /// Whether it came as a delta.
    pub(crate) delta: bool,
}

/// What servers promise of states, and how deliveries are traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// How deliveries are traced to submits.
    pub(crate) timed_by: TimedBy,
    /// Whether every state has a version, which goes forward.
    pub(crate) has_versions: bool,
    /// Whether the first state of a subscription is sent at once, so that it is no delivery.
    pub(crate) first_state: bool,
}

/// All channels of this process.
#[derive(Debug)]
pub(crate) struct Channels {
    rules: Rules,
    all: Vec<Channel>,
    by_name: HashMap<Box<str>, u32>,
    /// What was new on them.
    pub(crate) news: Log,
}

#[derive(Deserialize)]
struct Versioned {
    version: Option<u64>,
}

impl Channels {
    /// None yet.
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, all: Vec::new(), by_name: HashMap::new(), news: Log::default() }
    }

    /// Finds or adds a channel.
    pub(crate) fn number(&mut self, name: &str, template: usize) -> u32 {
        if let Some(number) = self.by_name.get(name) {
            return *number;
        }
        let number = self.all.len() as u32;
        let checked = std::array::from_fn(|_| None);
        self.all.push(Channel { name: name.into(), template, checked, newest: 0 });
        self.news.add_channel();
        self.by_name.insert(name.into(), number);
        number
    }

    /// The channel of a number that [`number`](Self::number) gave.
    pub(crate) fn get(&self, number: u32) -> &Channel {
        &self.all[number as usize]
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Takes a message if exactly this one was checked before for a watcher in the same place.
    pub(crate) fn take_checked(
        &mut self,
        subscription: &mut Subscription,
        message: &[u8],
    ) -> Option<Result<Taken, Fault>> {
        let channel = self.get(subscription.channel);
        let place = |base: &Rc<State>| {
            subscription.state.as_ref().is_some_and(|state| Rc::ptr_eq(state, base))
        };
        let known = (0..REMEMBERED).find_map(|age| {
            let checked =
                channel.checked[(channel.newest + REMEMBERED - age) % REMEMBERED].as_ref()?;
            let same = *checked.message == *message && checked.base.as_ref().is_none_or(place);
            same.then_some(checked)
        })?;
        let (state, delta) = (Rc::clone(&known.state), known.base.is_some());
        Some(self.advance(subscription, state, delta))
    }

    /// Checks a publication and takes it. `message` are its bytes, if others will get the same ones.
    pub(crate) fn take(
        &mut self,
        subscription: &mut Subscription,
        publication: &Publication<'_>,
        message: Option<&[u8]>,
    ) -> Result<Taken, Fault> {
        let base = subscription.state.clone().filter(|_| publication.delta);
        let body = match (&base, publication.delta) {
            (_, true) if !subscription.delta => {
                return Err("view: a delta that was not asked for".to_owned());
            }
            (None, true) => return Err("view: a delta without a state".to_owned()),
            (Some(base), true) => delta::apply(&base.body, &publication.data)
                .map_err(|problem| format!("view: delta does not apply: {problem:?}"))?,
            (_, false) => publication.data.to_vec(),
        };
        let number = subscription.channel;
        let state = Rc::new(self.read(number, body)?);
        if publication.offset != 0 && publication.offset != state.version + 1 {
            return Err("view: offset is not version + 1".to_owned());
        }
        if let Some(message) = message {
            let channel = &mut self.all[number as usize];
            channel.newest = (channel.newest + 1) % REMEMBERED;
            channel.checked[channel.newest] =
                Some(Checked { message: message.into(), base, state: Rc::clone(&state) });
        }
        self.advance(subscription, state, publication.delta)
    }

    /// Reads a state.
    fn read(&self, channel: u32, body: Vec<u8>) -> Result<State, Fault> {
        let fault = |error| format!("view: data: {error}");
        let Versioned { version } = serde_json::from_slice(&body).map_err(fault)?;
        if version.is_none() && self.rules.has_versions {
            return Err("view: data: no version".to_owned());
        }
        let rows = match self.rules.timed_by {
            TimedBy::Version => Box::default(),
            TimedBy::Content => rows(&self.get(channel).name, &body).map_err(fault)?,
        };
        Ok(State { version: version.unwrap_or_default(), body: body.into(), rows })
    }

    /// Takes a state that is newer than the one before.
    fn advance(
        &mut self,
        subscription: &mut Subscription,
        state: Rc<State>,
        delta: bool,
    ) -> Result<Taken, Fault> {
        let known = subscription.state.as_ref();
        if self.rules.has_versions && known.is_some_and(|known| known.version >= state.version) {
            return Err("view: version did not go forward".to_owned());
        }
        let before = subscription.state.replace(Rc::clone(&state));
        let first = before.is_none() && self.rules.first_state;
        let news = match self.rules.timed_by {
            TimedBy::Version => self.news.of_version(subscription.channel, state.version),
            TimedBy::Content => self.news.of_states(subscription.channel, before, state),
        };
        Ok(Taken { news, first, delta })
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::news::{News, Trace};

    const VERSIONS: Rules =
        Rules { timed_by: TimedBy::Version, has_versions: true, first_state: true };

    fn full(text: &str) -> Publication<'_> {
        Publication { data: Cow::Borrowed(text.as_bytes()), delta: false, offset: 0 }
    }

    fn taken(news: u32, first: bool, delta: bool) -> Taken {
        Taken { news, first, delta }
    }

    fn watcher(channels: &mut Channels) -> Subscription {
        Subscription { channel: channels.number("c", 0), state: None, delta: true }
    }

    /// Version 1 to version 2 of `{"version":1}`.
    const DELTA: &str = "D\nB@0,2:2}3Oj1d6;";

    fn delta(checksum: &str) -> Publication<'static> {
        let text = DELTA.replace("3Oj1d6", checksum);
        Publication { data: Cow::Owned(text.into_bytes()), delta: true, offset: 0 }
    }

    #[test]
    fn versions_go_forward_only() {
        let mut channels = Channels::new(VERSIONS);
        let mut one = watcher(&mut channels);
        let first = channels.take(&mut one, &full(r#"{"version":3}"#), None);
        assert_eq!(first, Ok(taken(0, true, false)));
        let second = channels.take(&mut one, &full(r#"{"version":5}"#), None);
        assert_eq!(second, Ok(taken(1, false, false)));
        for back in [r#"{"version":5}"#, r#"{"version":4}"#] {
            let fault = channels.take(&mut one, &full(back), None).unwrap_err();
            assert_eq!(fault, "view: version did not go forward");
        }
        let news = |version| News { channel: 0, trace: Trace::Version(version) };
        assert_eq!(channels.news.all[..2], [news(3), news(5)]);
    }

    #[test]
    fn a_message_that_was_checked_is_taken_without_reading_it() {
        let mut channels = Channels::new(VERSIONS);
        let (mut one, mut other) = (watcher(&mut channels), watcher(&mut channels));
        let message = b"the whole message";
        assert_eq!(channels.take_checked(&mut one, message), None);
        channels.take(&mut one, &full(r#"{"version":1}"#), Some(message)).unwrap();
        assert_eq!(channels.take_checked(&mut other, message), Some(Ok(taken(0, true, false))));
        assert!(Rc::ptr_eq(one.state.as_ref().unwrap(), other.state.as_ref().unwrap()));
        // It is checked for each watcher that it goes forward.
        assert!(channels.take_checked(&mut other, message).unwrap().is_err());
        assert_eq!(channels.take_checked(&mut other, b"The whole message"), None);
    }

    #[test]
    fn a_checked_delta_holds_only_for_those_with_its_base() {
        let mut channels = Channels::new(VERSIONS);
        let mut watchers: Vec<_> = (0..3).map(|_| watcher(&mut channels)).collect();
        let first = full(r#"{"version":1}"#);
        for watcher in &mut watchers[..2] {
            if channels.take_checked(watcher, b"first").is_none() {
                channels.take(watcher, &first, Some(b"first")).unwrap();
            }
        }
        channels.take(&mut watchers[2], &full(r#"{"version":0}"#), None).unwrap();
        let sum = delta("3Oj1d6");
        let second = channels.take(&mut watchers[0], &sum, Some(b"second"));
        assert_eq!(second, Ok(taken(2, false, true)));
        assert_eq!(&*watchers[0].state.as_ref().unwrap().body, br#"{"version":2}"#);
        let same = channels.take_checked(&mut watchers[1], b"second");
        assert_eq!(same, Some(Ok(taken(2, false, true))));
        assert_eq!(channels.take_checked(&mut watchers[2], b"second"), None);
    }

    #[test]
    fn deltas_that_do_not_fit_are_faults() {
        let mut channels = Channels::new(VERSIONS);
        let mut one = watcher(&mut channels);
        let mut fault = |one: &mut Subscription, publication: &Publication<'_>| {
            channels.take(one, publication, None).unwrap_err()
        };
        assert_eq!(fault(&mut one, &delta("3Oj1d6")), "view: a delta without a state");
        channels.take(&mut one, &full(r#"{"version":1}"#), None).unwrap();
        let mut fault = |one: &mut Subscription, publication: &Publication<'_>| {
            channels.take(one, publication, None).unwrap_err()
        };
        assert_eq!(fault(&mut one, &delta("3Oj1d7")), "view: delta does not apply: Checksum");
        one.delta = false;
        assert_eq!(fault(&mut one, &delta("3Oj1d6")), "view: a delta that was not asked for");
    }

    #[test]
    fn data_without_a_version_and_wrong_offsets_are_faults() {
        let mut channels = Channels::new(VERSIONS);
        let mut one = watcher(&mut channels);
        for text in ["{}", "[]", r#"{"version":-1}"#, r#"{"version":1"#] {
            assert!(channels.take(&mut one, &full(text), None).is_err(), "{text}");
        }
        for (offset, good) in [(3, false), (2, true)] {
            let publication = Publication { offset, ..full(r#"{"version":1}"#) };
            assert_eq!(channels.take(&mut one, &publication, None).is_ok(), good);
        }
    }
}
