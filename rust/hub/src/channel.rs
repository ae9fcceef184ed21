//! Channel names: which view a client asks for.
//!
//! Names and views are one to one: a name that would be a second spelling of a view, such as
//! `top:010`, is unknown.

use rankwire_engine::{check_board_name, check_member};

use crate::limits;

/// The kinds of views: the words that name them in channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewKind {
    /// The best members.
    Top,
    /// A range of ranks.
    Page,
    /// One member.
    Member,
    /// One member and its neighbours.
    Around,
    /// The members that a client named.
    Friends,
    /// What happens to the board as a whole.
    Events,
}

impl ViewKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Top, Self::Page, Self::Member, Self::Around, Self::Friends, Self::Events];

    /// The word in channels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Top => "top",
            Self::Page => "page",
            Self::Member => "member",
            Self::Around => "around",
            Self::Friends => "friends",
            Self::Events => "events",
        }
    }
}

/// What a view shows of its board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// So many rows after the best `offset`. `from` says whether the client is told where it starts.
    Rows { offset: u64, limit: usize, from: bool },
    /// The standing of one member, who may not be there yet.
    Member(Box<str>),
    /// A member with so many neighbours on each side.
    Around(Box<str>, usize),
    /// The standings of the members that were named when subscribing.
    Friends(Box<[String]>),
    /// What happens to the board as a whole.
    Events,
}

impl Subject {
    /// What kind of view shows it.
    pub(crate) fn kind(&self) -> ViewKind {
        match self {
            Self::Rows { from: false, .. } => ViewKind::Top,
            Self::Rows { from: true, .. } => ViewKind::Page,
            Self::Member(_) => ViewKind::Member,
            Self::Around(..) => ViewKind::Around,
            Self::Friends(_) => ViewKind::Friends,
            Self::Events => ViewKind::Events,
        }
    }

    /// Whether the view is of one member, or of one client: looked at less often than the others.
    pub(crate) fn is_personal(&self) -> bool {
        matches!(self, Self::Member(_) | Self::Around(..) | Self::Friends(_))
    }

    /// Whether other clients may share the view: not if a list that came with the subscription is
    /// part of it.
    pub(crate) fn is_shared(&self) -> bool {
        !matches!(self, Self::Friends(_))
    }
}

/// Splits a channel name into the board's name and the subject. The names of friends come from
/// elsewhere: see [`Subject::Friends`].
pub(crate) fn parse(channel: &str) -> Option<(&str, Subject)> {
    if channel.len() > limits::CHANNEL_BYTES {
        return None;
    }
    let (board, rest) = channel.strip_prefix("board:")?.split_once(':')?;
    check_board_name(board).ok()?;
    Some((board, subject(rest)?))
}

fn subject(text: &str) -> Option<Subject> {
    let (word, rest) = match text.split_once(':') {
        None => (text, None),
        Some((word, rest)) => (word, Some(rest)),
    };
    match (word, rest) {
        ("events", None) => Some(Subject::Events),
        ("friends", None) => Some(Subject::Friends(Box::default())),
        ("friends", Some(label)) => {
            check_member(label).ok().map(|()| Subject::Friends(Box::default()))
        }
        ("top", Some(rows)) => {
            let limit = number(rows)?.try_into().ok()?;
            (1..=limits::ROWS).contains(&limit).then_some(Subject::Rows {
                offset: 0,
                limit,
                from: false,
            })
        }
        ("page", Some(range)) => page(range),
        ("member", Some(member)) => {
            check_member(member).ok().map(|()| Subject::Member(member.into()))
        }
        ("around", Some(rest)) => {
            let (member, radius) = rest.rsplit_once(':')?;
            check_member(member).ok()?;
            let radius = usize::try_from(number(radius)?).ok()?;
            (radius <= limits::RADIUS).then(|| Subject::Around(member.into(), radius))
        }
        _ => None,
    }
}

/// Ranks from and to, both counted from 1 and included.
fn page(range: &str) -> Option<Subject> {
    let (from, to) = range.split_once('-')?;
    let (from, to) = (number(from)?, number(to)?);
    let rows = to.checked_sub(from)?.checked_add(1)?;
    let limit = usize::try_from(rows).ok().filter(|rows| *rows <= limits::ROWS)?;
    Some(Subject::Rows { offset: from.checked_sub(1)?, limit, from: true })
}

/// A number of a member count's size in its only spelling: digits without a leading zero.
fn number(text: &str) -> Option<u64> {
    let plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse::<u32>().ok().filter(|_| plain).map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_name_views() {
        let member = |name: &str| Subject::Member(name.into());
        let rows = |offset, limit, from| Subject::Rows { offset, limit, from };
        let known = [
            ("board:a:top:1", "a", rows(0, 1, false)),
            ("board:season-1.eu:top:100", "season-1.eu", rows(0, 100, false)),
            ("board:a:page:1-100", "a", rows(0, 100, true)),
            ("board:a:page:51-60", "a", rows(50, 10, true)),
            ("board:a:page:7-7", "a", rows(6, 1, true)),
            ("board:a:member:p1", "a", member("p1")),
            ("board:a:member:steam:42", "a", member("steam:42")),
            ("board:a:member::", "a", member(":")),
            ("board:top:member:日本", "top", member("日本")),
            ("board:a:around:p1:5", "a", Subject::Around("p1".into(), 5)),
            ("board:a:around:p:1:0", "a", Subject::Around("p:1".into(), 0)),
            ("board:a:friends", "a", Subject::Friends(Box::default())),
            ("board:a:friends:clan", "a", Subject::Friends(Box::default())),
            ("board:a:events", "a", Subject::Events),
        ];
        for (channel, board, subject) in known {
            let word = channel.split(':').nth(2);
            assert_eq!(word, Some(subject.kind().name()), "{channel}");
            assert_eq!(parse(channel), Some((board, subject)), "{channel}");
        }
    }

    #[test]
    fn other_names_are_unknown() {
        let unknown = [
            "",
            "a",
            "board",
            "board:",
            "board:a",
            "board:a:",
            "board:a:top",
            "board:a:top:",
            "board:a:top:0",
            "board:a:top:101",
            "board:a:top:010",
            "board:a:top:+5",
            "board:a:top:-5",
            "board:a:top:5 ",
            "board:a:top:٣",
            "board:a:top:5:x",
            "board:a:page:5",
            "board:a:page:0-5",
            "board:a:page:5-4",
            "board:a:page:1-101",
            "board:a:page:1-4294967296",
            "board:a:page:01-4",
            "board:a:member",
            "board:a:member:",
            "board:a:member:x\n",
            "board:a:around:x",
            "board:a:around:x:",
            "board:a:around:x:51",
            "board:a:around::5",
            "board:a:around:x:05",
            "board:a:friends:",
            "board:a:events:",
            "board:a:events:x",
            "board::top:5",
            "board:ä:top:5",
            "Board:a:top:5",
            "board:a:top:99999999999999999999",
        ];
        for channel in unknown {
            assert_eq!(parse(channel), None, "{channel}");
        }
        assert!(parse(&format!("board:a:member:{}", "x".repeat(128))).is_some());
        assert!(parse(&format!("board:a:member:{}", "x".repeat(129))).is_none());
    }
}
