//! The engine's errors as Python exceptions.

use pyo3::PyErr;
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use rankwire_engine::Error;

create_exception!(_core, RankwireError, PyException);
create_exception!(_core, NotFoundError, RankwireError);
create_exception!(_core, ConflictError, RankwireError);
create_exception!(_core, InvalidError, RankwireError);
create_exception!(_core, LimitError, RankwireError);
create_exception!(_core, BusyError, RankwireError);
create_exception!(_core, UnavailableError, RankwireError);
create_exception!(_core, CorruptError, RankwireError);

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
        // Batches do not nest; an item of an item is still about that item.
        Error::Item { error, .. } => build(error, index),
        Error::TooManyBoards(_) | Error::TooManyMembers(_) => LimitError::new_err(args(None)),
        Error::Busy => BusyError::new_err(args(None)),
        Error::NotCommitted | Error::Entropy | Error::Closed => {
            UnavailableError::new_err(args(None))
        }
        Error::Journal { .. } | Error::Checkpoint { .. } => CorruptError::new_err(args(None)),
    }
}

/// The exception for an argument that is wrong before the engine sees it.
pub fn invalid(field: &'static str, message: impl Into<String>) -> PyErr {
    let args: Args = (message.into(), Some(field), None);
    InvalidError::new_err(args)
}
