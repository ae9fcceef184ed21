//! Channel names: which view a client asks for.
//!
//! Names and views are one to one: a name that would be a second spelling of a view, such as
//! `top:010`, is unknown.

use rankwire_engine::{check_board_name, check_member};

use crate::limits;
use crate::protocol::CommandError;

/// What a view shows of its board.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// The best so many members.
    Top(usize),
    /// The standing of one member, who may not be there yet.
    Member(Box<str>),
}

/// Splits a channel name into the board's name and the subject.
pub(crate) fn parse(channel: &str) -> Result<(&str, Subject), CommandError> {
    let unknown = || CommandError::UnknownChannel("unknown channel".to_owned());
    let rest = channel.strip_prefix("board:").ok_or_else(unknown)?;
    let (board, rest) = rest.split_once(':').ok_or_else(unknown)?;
    check_board_name(board).map_err(|_| unknown())?;
    let subject = match rest.split_once(':') {
        Some(("top", rows)) => rows_from(rows).map(Subject::Top),
        Some(("member", member)) if check_member(member).is_ok() => {
            Some(Subject::Member(member.into()))
        }
        _ => None,
    };
    Ok((board, subject.ok_or_else(unknown)?))
}

/// A row count in its only spelling: digits without a leading zero.
fn rows_from(text: &str) -> Option<usize> {
    let rows = text.parse().ok()?;
    ((1..=limits::ROWS).contains(&rows) && text.as_bytes()[0].is_ascii_digit())
        .then_some(rows)
        .filter(|_| !text.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_name_views() {
        let member = |name: &str| Subject::Member(name.into());
        let known = [
            ("board:a:top:1", "a", Subject::Top(1)),
            ("board:season-1.eu:top:100", "season-1.eu", Subject::Top(100)),
            ("board:a:member:p1", "a", member("p1")),
            ("board:a:member:steam:42", "a", member("steam:42")),
            ("board:a:member::", "a", member(":")),
            ("board:top:member:日本", "top", member("日本")),
        ];
        for (channel, board, subject) in known {
            assert_eq!(parse(channel).unwrap(), (board, subject), "{channel}");
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
            "board:a:member",
            "board:a:member:",
            "board:a:member:x\n",
            "board::top:5",
            "board:ä:top:5",
            "board:a:page:5",
            "Board:a:top:5",
            "board:a:top:99999999999999999999",
        ];
        for channel in unknown {
            assert!(matches!(parse(channel), Err(CommandError::UnknownChannel(_))), "{channel}");
        }
        assert!(parse(&format!("board:a:member:{}", "x".repeat(129))).is_err());
    }
}
