//! Who calls: what a credential stands for once it is verified.

use rankwire_engine::check_board_name;

use crate::jwk::TokenKeyId;

/// Who calls. [`Access::identify`](crate::Access::identify) makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Anybody, where everybody may do everything.
    Everybody,
    /// Somebody without a credential, where that is enough for reading.
    Anonymous,
    /// A player with a token.
    Player {
        /// The member that the player is, on every board.
        member: Box<str>,
        /// Whether the token lets it read.
        may_read: bool,
        /// Whether the token lets it submit its own scores, on boards that allow that.
        may_submit: bool,
        /// The boards that the token is for.
        boards: Boards,
        /// The end of the token, in seconds since 1970 in UTC.
        expires_s: u64,
        /// The key that verified the token.
        signed_by: TokenKeyId,
    },
    /// A program with an API key.
    Key {
        /// The public part of the key.
        id: Box<str>,
        /// What the key lets it do.
        scopes: Scopes,
        /// The boards that the key is for.
        boards: Boards,
    },
}

impl Caller {
    /// The kind of caller in one word: `everybody`, `anonymous`, `player` or `key`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Everybody => "everybody",
            Self::Anonymous => "anonymous",
            Self::Player { .. } => "player",
            Self::Key { .. } => "key",
        }
    }

    /// What to call the caller in a log: a player's member id, a key's id; never a secret.
    pub fn name(&self) -> &str {
        match self {
            Self::Player { member, .. } => member,
            Self::Key { id, .. } => id,
            Self::Everybody | Self::Anonymous => self.kind(),
        }
    }

    /// The member that a player is.
    pub fn member(&self) -> Option<&str> {
        match self {
            Self::Player { member, .. } => Some(member),
            _ => None,
        }
    }

    /// When the credential ends, in seconds since 1970 in UTC. It is still good for
    /// [`LEEWAY_S`](crate::limits::LEEWAY_S) more.
    pub fn expires_s(&self) -> Option<u64> {
        match self {
            Self::Player { expires_s, .. } => Some(*expires_s),
            _ => None,
        }
    }
}

/// One thing that an API key may be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Reading boards.
    Read = 1,
    /// Submitting scores for any member.
    Submit = 2,
    /// Creating and deleting boards, removing members.
    Admin = 4,
    /// Looking at the server's metrics.
    Operator = 8,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Read, Self::Submit, Self::Admin, Self::Operator];

    /// The scope's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Admin => "admin",
            Self::Operator => "operator",
        }
    }

    /// The scope of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Whether a scope is in the set.
    pub fn has(self, scope: Scope) -> bool {
        self.0 & scope as u8 != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | scope as u8))
    }
}

/// The boards that a credential is for: all, or those of a list of names and prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boards(Option<Box<[Box<str>]>>);

impl Boards {
    /// All boards.
    pub const ALL: Self = Self(None);

    /// The boards that a pattern names; none if there is no pattern. See [`is_board_pattern`];
    /// what is no pattern names no board.
    pub fn only<P: Into<Box<str>>>(patterns: impl IntoIterator<Item = P>) -> Self {
        let patterns: Box<[Box<str>]> = patterns.into_iter().map(Into::into).collect();
        if patterns.iter().any(|pattern| &**pattern == "*") {
            Self::ALL
        } else {
            Self(Some(patterns))
        }
    }

    /// Whether these are all boards, also those to come.
    pub fn are_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a board is among them.
    pub fn include(&self, board: &str) -> bool {
        let Some(patterns) = &self.0 else { return true };
        patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => board.starts_with(prefix),
            None => **pattern == *board,
        })
    }
}

/// Whether a text can stand in a list of boards: a board's name, the beginning of one followed by
/// `*`, or `*` alone for all boards.
pub fn is_board_pattern(pattern: &str) -> bool {
    pattern == "*" || check_board_name(pattern.strip_suffix('*').unwrap_or(pattern)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_hold_what_was_put_in() {
        let all: Scopes = Scope::ALL.into_iter().collect();
        for scope in Scope::ALL {
            assert_eq!(Scope::named(scope.name()), Some(scope));
            let alone: Scopes = [scope].into_iter().collect();
            for other in Scope::ALL {
                assert_eq!(alone.has(other), scope == other);
            }
            assert!(all.has(scope));
            assert!(!Scopes::default().has(scope));
        }
        assert_eq!(Scope::named("root"), None);
    }

    #[test]
    fn boards_are_names_and_prefixes() {
        let boards = Boards::only(["a", "season-*", "b*c"]);
        assert!(!boards.are_all());
        for inside in ["a", "season-", "season-1"] {
            assert!(boards.include(inside), "{inside}");
        }
        for outside in ["", "A", "ab", "season", "Season-1", "b", "bxc", "b*c*"] {
            assert!(!boards.include(outside), "{outside}");
        }
        assert!(!Boards::only([""; 0]).include("a"));
        assert!(!Boards::only([""; 0]).are_all());
        for all in [Boards::ALL, Boards::only(["x", "*"])] {
            assert!(all.are_all());
            assert!(all.include("a"));
        }
    }

    #[test]
    fn patterns() {
        for good in ["*", "a", "a*", "season-*", "0.x_Y"] {
            assert!(is_board_pattern(good), "{good}");
        }
        for bad in ["", "**", "a**", "-*", "a*b", "*a", "ä*", "a b", &"x".repeat(65)] {
            assert!(!is_board_pattern(bad), "{bad}");
        }
    }
}
