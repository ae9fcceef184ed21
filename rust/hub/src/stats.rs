//! Counters of the hub: plain atomics, read in one go.
//!
//! Workers count, anybody reads. What is about views is counted by their kind, and the totals are
//! the sums over the kinds: one addition serves both. A hub process that serves as another's
//! fan-out sends its figures to it, so figures also go over a wire: [`Stats::to_bytes`].

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::channel::ViewKind;
use crate::times::{Timer, Times};

/// Close codes that are counted apart; all others are counted under 0.
pub const CLOSE_CODES: [u16; 12] =
    [0, 1002, 1007, 3001, 3005, 3008, 3011, 3012, 3013, 3500, 3501, 3502];

/// Error codes that are counted apart; all others are counted under 0.
pub const ERROR_CODES: [u16; 16] =
    [0, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 111, 404, 421, 422, 503];

/// One number that many threads change.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Leaves the memory alone if there is nothing to add.
    fn add_some(&self, n: u64) {
        if n > 0 {
            self.add(n);
        }
    }

    /// Takes back `n` that were added before.
    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counters by code, for a fixed list of codes.
#[derive(Debug)]
pub(crate) struct ByCode<const N: usize> {
    codes: &'static [u16; N],
    counts: [Counter; N],
}

impl<const N: usize> ByCode<N> {
    fn new(codes: &'static [u16; N]) -> Self {
        Self { codes, counts: std::array::from_fn(|_| Counter::default()) }
    }

    pub(crate) fn add(&self, code: u16) {
        let index = self.codes.iter().position(|known| *known == code).unwrap_or(0);
        self.counts[index].add(1);
    }
}

/// What a slice of deliveries came to. It is added to the counters at once, as an addition for
/// every watcher would make the workers fight for the same line of memory.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    delivered: [u64; ViewKind::ALL.len()],
    missed: [u64; ViewKind::ALL.len()],
    bytes: u64,
}

impl Tally {
    /// A socket has a state, or begins to.
    pub(crate) fn delivered(&mut self, kind: ViewKind, bytes: usize) {
        self.delivered[kind as usize] += 1;
        self.bytes += bytes as u64;
    }

    /// A blocked socket could not take a state.
    pub(crate) fn missed(&mut self, kind: ViewKind) {
        self.missed[kind as usize] += 1;
    }
}

impl Counters {
    /// The counters of one kind of view.
    pub(crate) fn of(&self, kind: ViewKind) -> &ViewCounters {
        &self.by_view[kind as usize]
    }

    pub(crate) fn add(&self, tally: &Tally) {
        for (kind, counters) in self.by_view.iter().enumerate() {
            counters.deliveries_total.add_some(tally.delivered[kind]);
            counters.conflated_total.add_some(tally.missed[kind]);
        }
        self.bytes_sent_total.add_some(tally.bytes);
    }
}

macro_rules! stats {
    (
        $($(#[doc = $doc:literal])+ $name:ident;)+
        by view: $($(#[doc = $view_doc:literal])+ $of_view:ident;)+
    ) => {
        /// The live counters. Relaxed everywhere: each is a total of its own that orders nothing.
        #[derive(Debug)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)+
            /// Connections closed by the hub, by close code.
            pub(crate) closed: ByCode<{ CLOSE_CODES.len() }>,
            /// Commands answered with an error, by its code.
            pub(crate) failed: ByCode<{ ERROR_CODES.len() }>,
            by_view: [ViewCounters; ViewKind::ALL.len()],
        }

        /// The live counters of one kind of view.
        #[derive(Debug, Default)]
        pub(crate) struct ViewCounters {
            $(pub(crate) $of_view: Counter,)+
            /// From the publication of a state until a worker has no more watchers to visit.
            pub(crate) fanout: Timer,
        }

        impl Default for Counters {
            fn default() -> Self {
                Self {
                    $($name: Counter::default(),)+
                    closed: ByCode::new(&CLOSE_CODES),
                    failed: ByCode::new(&ERROR_CODES),
                    by_view: Default::default(),
                }
            }
        }

        /// What a hub has done since it started, and what it holds now.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: u64,)+
            $($(#[doc = $view_doc])+ pub $of_view: u64,)+
            /// Connections that the hub closed, in the order of [`CLOSE_CODES`].
            pub closed: [u64; CLOSE_CODES.len()],
            /// Commands answered with an error, in the order of [`ERROR_CODES`].
            pub failed: [u64; ERROR_CODES.len()],
            /// What of it is about views, in the order of [`ViewKind::ALL`].
            pub by_view: [ViewStats; ViewKind::ALL.len()],
        }

        /// The part of [`Stats`] that is about one kind of view.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct ViewStats {
            $($(#[doc = $view_doc])+ pub $of_view: u64,)+
            /// Time from the publication of a state until the last of its watchers was visited: the
            /// state was sent, or the watcher marked as blocked. Counted once by each worker whose
            /// clients watch the view; in a hub process it begins when the state comes there. A
            /// state that the next one replaces on its way is counted with that one, from its own
            /// publication on. A state that nobody waits for and the end of a view are not counted.
            pub fanout: Times,
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> Stats {
                let by_view = self.by_view.each_ref().map(ViewCounters::snapshot);
                Stats {
                    $($name: self.$name.get(),)+
                    $($of_view: by_view.iter().map(|view| view.$of_view).sum(),)+
                    closed: self.closed.counts.each_ref().map(Counter::get),
                    failed: self.failed.counts.each_ref().map(Counter::get),
                    by_view,
                }
            }
        }

        impl ViewCounters {
            fn snapshot(&self) -> ViewStats {
                ViewStats { $($of_view: self.$of_view.get(),)+ fanout: self.fanout.snapshot() }
            }
        }

        impl Stats {
            /// Every figure that is neither by code nor by kind of view, with its name.
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![
                    $((stringify!($name), self.$name),)+
                    $((stringify!($of_view), self.$of_view),)+
                ]
            }

            fn each(&mut self) -> impl Iterator<Item = &mut u64> {
                [$(&mut self.$name,)+ $(&mut self.$of_view,)+]
                    .into_iter()
                    .chain(&mut self.closed)
                    .chain(&mut self.failed)
                    .chain(self.by_view.iter_mut().flat_map(ViewStats::each))
            }
        }

        impl ViewStats {
            /// Every figure that is no time, with its name.
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($of_view), self.$of_view),)+]
            }

            fn each(&mut self) -> impl Iterator<Item = &mut u64> {
                let Times { counts, micros } = &mut self.fanout;
                [$(&mut self.$of_view,)+ micros].into_iter().chain(counts)
            }
        }
    };
}

stats! {
    /// WebSocket connections now, past their handshake.
    connections;
    /// WebSocket connections ever.
    connections_total;
    /// Connections refused because there were too many.
    refused_total;
    /// Handshakes that were no good, or not done in time.
    handshakes_failed_total;
    /// Bytes written to sockets, handshakes and frame headers included.
    bytes_sent_total;
    /// Commands read, without pongs.
    commands_total;
    /// Submits that came in over WebSocket.
    submits_total;
    /// Sockets that take no more bytes now.
    blocked;

    by view:
    /// Subscriptions now, of all connections.
    subscriptions;
    /// Views that somebody watches now.
    views;
    /// Times a state was published because it changed.
    publications_total;
    /// States handed to a socket.
    deliveries_total;
    /// Deliveries that a blocked socket could not take: it got a newer state later.
    conflated_total;
}

impl Stats {
    /// The figures as little-endian numbers, for [`from_bytes`](Self::from_bytes) of the same build.
    pub(crate) fn to_bytes(mut self) -> Vec<u8> {
        self.each().flat_map(|figure| figure.to_le_bytes()).collect()
    }

    /// Inverse of [`to_bytes`](Self::to_bytes); nothing if the length is another.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut stats = Self::default();
        let mut words = bytes.chunks_exact(8);
        for figure in stats.each() {
            *figure = u64::from_le_bytes(words.next()?.try_into().ok()?);
        }
        (words.next().is_none() && words.remainder().is_empty()).then_some(stats)
    }

    /// What stays when the hub is gone: totals, and not what it held.
    pub(crate) fn past(self) -> Self {
        let by_view = self.by_view.map(|view| ViewStats { subscriptions: 0, views: 0, ..view });
        Self { connections: 0, subscriptions: 0, views: 0, blocked: 0, by_view, ..self }
    }

    /// Adds the figures of another hub.
    pub(crate) fn add(&mut self, mut other: Self) {
        for (mine, theirs) in self.each().zip(other.each()) {
            *mine += *theirs;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn figures_go_over_a_wire_and_add_up() {
        let counters = Counters::default();
        counters.connections.add(3);
        counters.blocked.add(7);
        counters.closed.add(3008);
        counters.closed.add(4999);
        counters.failed.add(102);
        let stats = counters.snapshot();
        assert_eq!(Stats::from_bytes(&stats.to_bytes()), Some(stats));
        assert_eq!(Stats::from_bytes(&stats.to_bytes()[1..]), None);
        assert_eq!(Stats::from_bytes(&[&stats.to_bytes()[..], &[0]].concat()), None);
        let mut sum = stats;
        sum.add(stats);
        assert_eq!((sum.connections, sum.blocked, sum.failed[3]), (6, 14, 2));
        assert_eq!((sum.closed[0], sum.closed[5]), (2, 2));
    }

    /// Counters of two kinds of views with a different number in each.
    fn counted() -> Counters {
        let counters = Counters::default();
        for (kind, n) in [(ViewKind::Top, 1), (ViewKind::Events, 10)] {
            let of = counters.of(kind);
            of.subscriptions.add(n);
            of.views.add(2 * n);
            of.publications_total.add(3 * n);
            of.fanout.count(Duration::from_millis(4 * n));
        }
        let mut tally = Tally::default();
        (0..5).for_each(|_| tally.delivered(ViewKind::Top, 100));
        (0..6).for_each(|_| tally.missed(ViewKind::Events));
        counters.add(&tally);
        counters
    }

    #[test]
    fn totals_are_the_sums_over_the_kinds() {
        let stats = counted().snapshot();
        let totals = (stats.subscriptions, stats.views, stats.publications_total);
        assert_eq!(totals, (11, 22, 33));
        let totals = (stats.deliveries_total, stats.conflated_total, stats.bytes_sent_total);
        assert_eq!(totals, (5, 6, 500));
        let [top, .., events] = stats.by_view;
        assert_eq!((top.views, top.deliveries_total, top.conflated_total), (2, 5, 0));
        assert_eq!((events.views, events.deliveries_total, events.conflated_total), (20, 0, 6));
        assert_eq!((top.fanout.micros, events.fanout.micros), (4000, 40_000));
        assert_eq!(stats.by_view[1..5], [ViewStats::default(); 4]);
    }

    #[test]
    fn figures_of_views_go_over_the_wire_and_stay_as_far_as_they_are_totals() {
        let stats = counted().snapshot();
        assert_eq!(Stats::from_bytes(&stats.to_bytes()), Some(stats));
        // What a build without one of the figures would send.
        let bytes = stats.to_bytes();
        assert_eq!(Stats::from_bytes(&bytes[..bytes.len() - 8]), None);
        let past = stats.past();
        assert_eq!((past.subscriptions, past.views, past.publications_total), (0, 0, 33));
        for (was, is) in stats.by_view.iter().zip(past.by_view) {
            assert_eq!(is, ViewStats { subscriptions: 0, views: 0, ..*was });
        }
        let mut sum = stats;
        sum.add(stats);
        let (fanout, twice) = (stats.by_view[5].fanout, sum.by_view[5].fanout);
        assert_eq!(twice.counts, fanout.counts.map(|count| 2 * count));
        assert_eq!(twice.micros, 80_000);
    }

    #[test]
    fn kinds_are_where_their_numbers_say() {
        for (number, kind) in ViewKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
        }
    }
}
