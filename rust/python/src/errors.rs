//! The errors of the engine and of access as Python exceptions.

use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use rankwire_access::{Denied, IssueError, RetryAfter, Unauthorized};
use rankwire_engine::Error;

create_exception!(_core, RankwireError, PyException);
create_exception!(_core, NotFoundError, RankwireError);
create_exception!(_core, ConflictError, RankwireError);
create_exception!(_core, InvalidError, RankwireError);
create_exception!(_core, LimitError, RankwireError);
create_exception!(_core, KeyReusedError, RankwireError);
create_exception!(_core, BusyError, RankwireError);
create_exception!(_core, UnavailableError, RankwireError);
create_exception!(_core, NotPrimaryError, RankwireError);
create_exception!(_core, CorruptError, RankwireError);
create_exception!(_core, UnauthorizedError, RankwireError);
create_exception!(_core, ForbiddenError, RankwireError);
create_exception!(_core, TooManyRequestsError, RankwireError);

/// What every exception carries: the message, the field it is about, and the item of a batch.
type Args = (String, Option<&'static str>, Option<usize>);

/// The exception for an engine error.
pub fn to_py(error: &Error) -> PyErr {
    match error {
        Error::Item { index, error } => build(error, Some(*index)),
        other => build(other, None),
    }
}

fn build(error: &Error, index: Option<usize>) -> PyErr {
    let args = |field| -> Args { (error.to_string(), field, index) };
    match error {
        Error::UnknownBoard(_) => NotFoundError::new_err(args(Some("board"))),
        Error::UnknownMember(_) => NotFoundError::new_err(args(Some("member"))),
        Error::BoardConflict(_) => ConflictError::new_err(args(Some("board"))),
        Error::BoardName => InvalidError::new_err(args(Some("board"))),
        Error::MemberName => InvalidError::new_err(args(Some("member"))),
        Error::Score(_) | Error::Overflow(_) => InvalidError::new_err(args(Some("score"))),
        Error::At(_) => InvalidError::new_err(args(Some("at"))),
        Error::FloatSum => InvalidError::new_err(args(Some("policy"))),
        Error::Outline(_) => InvalidError::new_err(args(Some("outline"))),
        Error::Key => InvalidError::new_err(args(Some("key"))),
        Error::KeyReused => KeyReusedError::new_err(args(Some("key"))),
        // Batches do not nest; an item of an item is still about that item.
        Error::Item { error, .. } => build(error, index),
        Error::TooManyBoards(_) | Error::TooManyMembers(_) => LimitError::new_err(args(None)),
        Error::NotPrimary(_) => NotPrimaryError::new_err(args(None)),
        Error::Busy => BusyError::new_err(args(None)),
        Error::NotCommitted | Error::Entropy | Error::Closed => {
            UnavailableError::new_err(args(None))
        }
        Error::Journal { .. } | Error::Checkpoint { .. } => CorruptError::new_err(args(None)),
    }
}

/// The exception for stored bytes that are not what they should be.
pub fn corrupt(reason: &'static str) -> PyErr {
    let args: Args = (format!("the checkpoint is damaged: {reason}"), None, None);
    CorruptError::new_err(args)
}

/// The exception for a credential that identifies nobody.
pub fn unauthorized(error: Unauthorized) -> PyErr {
    let args: Args = (error.to_string(), None, None);
    UnauthorizedError::new_err(args)
}

/// The exception for something that a caller may not do.
pub fn denied(error: Denied) -> PyErr {
    let args: Args = (error.to_string(), None, None);
    match error {
        Denied::Forbidden(_) => ForbiddenError::new_err(args),
        // Another credential, or any, would help.
        Denied::Anonymous | Denied::Expired | Denied::Revoked => UnauthorizedError::new_err(args),
    }
}

/// The exception for a rate that was reached. It carries `retry_after` in seconds.
pub fn too_many(py: Python<'_>, RetryAfter(ms): RetryAfter) -> PyErr {
    let args: Args = (RetryAfter(ms).to_string(), None, None);
    let error = TooManyRequestsError::new_err(args);
    // A wait is far from 2^53 ms.
    #[expect(clippy::cast_precision_loss)]
    let seconds = ms as f64 / 1e3;
    match error.value(py).setattr("retry_after", seconds) {
        Ok(()) => error,
        Err(failure) => failure,
    }
}

/// The exception for a key or a token that could not be made.
pub fn not_issued(error: IssueError) -> PyErr {
    let args = |field| -> Args { (error.to_string(), field, None) };
    match error {
        IssueError::Key(_) => InvalidError::new_err(args(Some("jwk"))),
        IssueError::Claims => InvalidError::new_err(args(Some("claims"))),
        IssueError::Algorithm => InvalidError::new_err(args(Some("alg"))),
        IssueError::Entropy => UnavailableError::new_err(args(None)),
    }
}

/// The exception for an argument that is wrong before the engine sees it.
pub fn invalid(field: &'static str, message: impl Into<String>) -> PyErr {
    let args: Args = (message.into(), Some(field), None);
    InvalidError::new_err(args)
}

/// The exception for an item of a list that is wrong before anything is done.
pub fn invalid_item(index: usize, field: &'static str, message: impl Into<String>) -> PyErr {
    let args: Args = (message.into(), Some(field), Some(index));
    InvalidError::new_err(args)
}
