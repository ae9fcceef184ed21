//! Why a command was refused, and why a connection was ended: the numbers that SDKs act on.
//!
//! After an error the connection stays. A temporary one makes SDKs ask again later, and so does
//! 109, with a new token; all others are final. After a close code below 3500 SDKs come back, after
//! one from 3500 to 3999 they stop for good.

/// Why a command was answered with an error; the connection stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// 100: something broke in the server. Temporary.
    #[error("internal error")]
    Internal,
    /// 101: the command needs credentials that the connection does not have.
    #[error("unauthorized")]
    Unauthorized,
    /// 102: a channel name of no view, or of a board that does not exist.
    #[error("{0}")]
    UnknownChannel(String),
    /// 103: the credentials of the connection do not allow it.
    #[error("permission denied")]
    PermissionDenied,
    /// 104: an RPC method that does not exist.
    #[error("method not found")]
    MethodNotFound,
    /// 105: the channel is subscribed to.
    #[error("already subscribed")]
    AlreadySubscribed,
    /// 106: the connection has as many subscriptions as it may have.
    #[error("limit exceeded: a connection has at most {0} subscriptions")]
    LimitExceeded(usize),
    /// 107: bad parameters.
    #[error("bad request: {0}")]
    BadParams(String),
    /// 108: a command that the hub does not offer.
    #[error("not available")]
    NotAvailable,
    /// 109: the token was good once; the SDK fetches a new one.
    #[error("token expired")]
    TokenExpired,
    /// 111: more commands or submits than the caller may send. Temporary.
    #[error("too many requests")]
    TooManyRequests,
    /// What another hub answered, for a hub process without boards.
    #[error("{message}")]
    Relayed {
        /// The number of the error.
        code: u32,
        /// Its words.
        message: String,
        /// Whether the same command may succeed later.
        temporary: bool,
    },
    /// 404: an RPC about something that does not exist. A code of our own.
    #[error("{0}")]
    NotFound(String),
    /// 421: a submit that only another region takes, which the words name. A code of our own.
    #[error("{0}")]
    NotPrimary(String),
    /// 422: the id of a submit that the caller has used for another one. A code of our own.
    #[error("the id was used for another submit")]
    IdReused,
    /// 503: a submit on a connection that is about to be ended; nothing was done. Temporary. A code
    /// of our own.
    #[error("this connection is about to end: send it on the next one")]
    Leaving,
}

impl CommandError {
    /// The number of the error.
    pub fn code(&self) -> u32 {
        match self {
            Self::Internal => 100,
            Self::Unauthorized => 101,
            Self::UnknownChannel(_) => 102,
            Self::PermissionDenied => 103,
            Self::MethodNotFound => 104,
            Self::AlreadySubscribed => 105,
            Self::LimitExceeded(_) => 106,
            Self::BadParams(_) => 107,
            Self::NotAvailable => 108,
            Self::TokenExpired => 109,
            Self::TooManyRequests => 111,
            Self::NotFound(_) => 404,
            Self::NotPrimary(_) => 421,
            Self::IdReused => 422,
            Self::Leaving => 503,
            Self::Relayed { code, .. } => *code,
        }
    }

    /// Whether the same command may succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Internal
                | Self::TooManyRequests
                | Self::Leaving
                | Self::Relayed { temporary: true, .. }
        )
    }
}

/// Why the hub ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// 1002: the bytes are no WebSocket frames.
    Protocol,
    /// 1007: a text message that is not UTF-8.
    Utf8,
    /// 3001: the server is shutting down; come back.
    Shutdown,
    /// 3005: the token expired and was not refreshed.
    Expired,
    /// 3008: the client took no byte for too long.
    Slow,
    /// 3011: the session has lasted long enough; come back, perhaps to another node.
    Reconnect,
    /// 3012: the client did not answer a ping.
    NoPong,
    /// 3013: far more commands than the client may send.
    TooManyRequests,
    /// 3500: a token or key that is none of ours.
    InvalidToken,
    /// 3501: the client does not speak the protocol; it would do the same again, so it should not
    /// come back. Also for messages that are too large: on the WebSocket code 1009 one SDK stops
    /// and another comes back at once, again and again.
    BadRequest(&'static str),
    /// 3502: the client did not send `connect`.
    Stale,
}

impl Close {
    /// The number for the WebSocket close frame and for the disconnect push.
    pub fn code(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            Self::Utf8 => 1007,
            Self::Shutdown => 3001,
            Self::Expired => 3005,
            Self::Slow => 3008,
            Self::Reconnect => 3011,
            Self::NoPong => 3012,
            Self::TooManyRequests => 3013,
            Self::InvalidToken => 3500,
            Self::BadRequest(_) => 3501,
            Self::Stale => 3502,
        }
    }

    /// The words for it: never empty, and short enough for a close frame.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Protocol => "protocol error",
            Self::Utf8 => "text is not UTF-8",
            Self::Shutdown => "shutdown",
            Self::Expired => "connection expired",
            Self::Slow => "slow",
            Self::Reconnect => "force reconnect",
            Self::NoPong => "no pong",
            Self::TooManyRequests => "too many requests",
            Self::InvalidToken => "invalid token",
            Self::BadRequest(reason) => reason,
            Self::Stale => "stale",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_numbers_and_kinds_that_sdks_know() {
        let table = [
            (CommandError::Internal, 100, true),
            (CommandError::Unauthorized, 101, false),
            (CommandError::UnknownChannel("no such board".into()), 102, false),
            (CommandError::PermissionDenied, 103, false),
            (CommandError::MethodNotFound, 104, false),
            (CommandError::AlreadySubscribed, 105, false),
            (CommandError::LimitExceeded(8), 106, false),
            (CommandError::BadParams("board: is required".into()), 107, false),
            (CommandError::NotAvailable, 108, false),
            (CommandError::TokenExpired, 109, false),
            (CommandError::TooManyRequests, 111, true),
            (CommandError::NotFound("no such member".into()), 404, false),
            (CommandError::NotPrimary("eu is".into()), 421, false),
            (CommandError::IdReused, 422, false),
            (CommandError::Leaving, 503, true),
        ];
        for (error, code, temporary) in table {
            assert_eq!((error.code(), error.is_temporary()), (code, temporary), "{error}");
            assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn closes_have_the_numbers_that_sdks_know() {
        let table = [
            (Close::Protocol, 1002),
            (Close::Utf8, 1007),
            (Close::Shutdown, 3001),
            (Close::Expired, 3005),
            (Close::Slow, 3008),
            (Close::Reconnect, 3011),
            (Close::NoPong, 3012),
            (Close::TooManyRequests, 3013),
            (Close::InvalidToken, 3500),
            (Close::BadRequest("not a command"), 3501),
            (Close::Stale, 3502),
        ];
        for (close, code) in table {
            assert_eq!(close.code(), code, "{close:?}");
            assert!((1..=123).contains(&close.reason().len()), "{close:?}");
        }
    }
}
