//! Calls that read a board once, answered with the JSON of the HTTP API.
//!
//! | method | data | answer |
//! |---|---|---|
//! | `rank` | `{"board","member"}` | `{"board","version","member","score","rank","total"}` |
//! | `top` | `{"board","limit"?,"offset"?}`, limit 1 to 100, 10 if absent | `{"board","version","total","entries":[{"rank","member","score"}]}` |

use std::ops::RangeInclusive;

use rankwire_engine::{Engine, Error, answer, check_board_name, check_member};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::limits;
use crate::protocol::CommandError;

const DEFAULT_ROWS: u64 = 10;

/// Executes one call.
pub(crate) fn call(
    engine: &Engine,
    method: &str,
    data: Option<&RawValue>,
) -> Result<Vec<u8>, CommandError> {
    match method {
        "rank" => rank(engine, &Params::read(data, &["board", "member"])?),
        "top" => top(engine, &Params::read(data, &["board", "limit", "offset"])?),
        _ => Err(CommandError::MethodNotFound),
    }
}

fn rank(engine: &Engine, params: &Params) -> Result<Vec<u8>, CommandError> {
    let board = params.name("board", check_board_name)?;
    let member = params.name("member", check_member)?;
    let board = engine.board(board)?;
    Ok(answer::standing(&board, &board.load(), member)?)
}

fn top(engine: &Engine, params: &Params) -> Result<Vec<u8>, CommandError> {
    let board = params.name("board", check_board_name)?;
    let limit = params.number("limit", DEFAULT_ROWS, 1..=limits::ROWS as u64)?;
    let offset = params.number("offset", 0, 0..=u64::MAX)?;
    let board = engine.board(board)?;
    Ok(answer::page(&board, &board.load(), offset, limit as usize))
}

/// What a board lookup or a member lookup can fail with.
impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        Self::NotFound(error.to_string())
    }
}

fn bad(field: &str, problem: impl std::fmt::Display) -> CommandError {
    CommandError::BadParams(format!("{field}: {problem}"))
}

/// The parameters of a call. Every complaint begins with the name of the field.
struct Params(Map<String, Value>);

impl Params {
    /// Reads an object that has no fields but the given ones.
    fn read(data: Option<&RawValue>, fields: &[&str]) -> Result<Self, CommandError> {
        let object = data.and_then(|data| serde_json::from_str(data.get()).ok());
        let Some(Value::Object(object)) = object else {
            return Err(bad("data", "must be an object"));
        };
        match object.keys().find(|key| !fields.contains(&key.as_str())) {
            Some(_) => Err(bad("data", format_args!("may only have {}", fields.join(", ")))),
            None => Ok(Self(object)),
        }
    }

    fn name(
        &self,
        field: &str,
        check: fn(&str) -> Result<(), Error>,
    ) -> Result<&str, CommandError> {
        let name = match self.0.get(field) {
            None => return Err(bad(field, "is required")),
            Some(Value::String(name)) => name,
            Some(_) => return Err(bad(field, "must be a string")),
        };
        check(name).map_err(|error| bad(field, error))?;
        Ok(name)
    }

    fn number(
        &self,
        field: &str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Result<u64, CommandError> {
        let Some(value) = self.0.get(field) else { return Ok(default) };
        value.as_u64().filter(|number| range.contains(number)).ok_or_else(|| {
            let (min, max) = range.into_inner();
            bad(field, format_args!("must be an integer from {min} to {max}"))
        })
    }
}
