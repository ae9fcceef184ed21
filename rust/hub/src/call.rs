//! What RPCs say and what they are answered: JSON in every encoding, the JSON of the HTTP API.
//!
//! | method | data | answer |
//! |---|---|---|
//! | `rank` | `{"board","member"}` | a standing |
//! | `top` | `{"board","limit"?,"offset"?}`, limit 1 to 1000, 10 if absent | a page |
//! | `around` | `{"board","member","radius"?}`, radius 0 to 500, 5 if absent | a page |
//! | `count` | `{"board","min"?,"max"?}` | a count |
//! | `submit` | `{"board","member"?,"score","at"?,"id"?}`; without a member, a player's own | a receipt |
//!
//! A submit with an `id` counts once, however often its caller sends it.
//!
//! Every complaint begins with the name of the field that it is about.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;

use rankwire_access::Caller;
use rankwire_engine::{
    Command, Engine, Error, Score, Submit, Write, WriteKey, answer, check_board_name, check_member,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::centrifuge::CommandError;
use crate::limits;

/// The method by which a hub process hands on a submit of a player.
pub(crate) const PLAYER_SUBMIT: &str = "player-submit";

const DEFAULT_ROWS: u64 = 10;
const DEFAULT_RADIUS: u64 = 5;

/// Answers a read, if its board is allowed.
pub(crate) fn read(
    engine: &Engine,
    method: &str,
    data: &[u8],
    allowed: impl FnOnce(&str) -> Result<(), CommandError>,
) -> Result<Vec<u8>, CommandError> {
    let params = Params::of(method, data)?;
    let name = params.name("board", check_board_name)?;
    allowed(name)?;
    let board = || engine.board(name).map_err(|error| refusal(&error));
    match method {
        "rank" => {
            let member = params.name("member", check_member)?;
            let board = board()?;
            answer::standing(&board, &board.load(), member).map_err(|error| refusal(&error))
        }
        "top" => {
            let limit = params.number("limit", DEFAULT_ROWS, 1..=limits::RPC_ROWS as u64)?;
            let offset = params.number("offset", 0, 0..=u64::from(u32::MAX))?;
            let board = board()?;
            Ok(answer::page(&board, &board.load(), offset, limit as usize))
        }
        "around" => {
            let member = params.name("member", check_member)?;
            let radius = params.number("radius", DEFAULT_RADIUS, 0..=limits::RPC_RADIUS as u64)?;
            let board = board()?;
            answer::around(&board, &board.load(), member, radius as usize)
                .map_err(|error| refusal(&error))
        }
        _ => {
            let (min, max) = (params.bound("min")?, params.bound("max")?);
            let board = board()?;
            for (field, bound) in [("min", min), ("max", max)] {
                board.codes(bound, None).map_err(|error| bad(field, error))?;
            }
            answer::count(&board, &board.load(), min, max).map_err(|error| refusal(&error))
        }
    }
}

/// Whether a read that another hub answers is one, and of a board that is allowed.
pub(crate) fn check_read(
    method: &str,
    data: &[u8],
    allowed: impl FnOnce(&str) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    allowed(Params::of(method, data)?.name("board", check_board_name)?)
}

/// What the engine's refusals are over WebSocket.
pub(crate) fn refusal(error: &Error) -> CommandError {
    match error {
        Error::UnknownBoard(_) | Error::UnknownMember(_) => {
            CommandError::NotFound(error.to_string())
        }
        Error::Busy => CommandError::TooManyRequests,
        Error::BoardName => bad("board", error),
        Error::MemberName | Error::TooManyMembers(_) => bad("member", error),
        Error::Score(_) | Error::Overflow(_) => bad("score", error),
        Error::At(_) => bad("at", error),
        Error::Key => bad("id", error),
        Error::KeyReused => CommandError::IdReused,
        Error::NotPrimary(_) => CommandError::NotPrimary(error.to_string()),
        _ => CommandError::Internal,
    }
}

/// A submit as it came in.
#[derive(Debug)]
pub(crate) struct SubmitCall {
    pub(crate) board: String,
    pub(crate) submit: Submit,
    id: Option<Id>,
}

/// The id that a caller gave a submit.
#[derive(Debug, PartialEq)]
struct Id {
    /// Whose it is: see [`scope`].
    scope: String,
    text: String,
    key: WriteKey,
}

/// What keeps the ids of two callers apart. The HTTP API makes the same texts
/// (`python/rankwire/api/idempotency.py`), so a caller may repeat through either door.
fn scope(caller: &Caller) -> String {
    match caller {
        Caller::Everybody => caller.kind().to_owned(),
        _ => format!("{}:{}", caller.kind(), caller.name()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubmitData<'a> {
    #[serde(borrow)]
    board: Cow<'a, str>,
    #[serde(borrow)]
    member: Option<Cow<'a, str>>,
    score: Number,
    #[serde(borrow)]
    at: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

/// A submit on a trunk.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Relayed<'a> {
    /// Whose the id is, if it has one.
    #[serde(borrow)]
    scope: Option<Cow<'a, str>>,
    #[serde(borrow)]
    submit: SubmitData<'a>,
}

/// A JSON number as a score.
#[derive(Deserialize, Clone, Copy)]
#[serde(untagged)]
enum Number {
    Int(i64),
    Float(f64),
}

impl From<Number> for Score {
    fn from(number: Number) -> Self {
        match number {
            Number::Int(score) => Self::Int(score),
            Number::Float(score) => Self::Float(score),
        }
    }
}

impl SubmitCall {
    /// Reads one of a client. A player submits for itself if it names nobody.
    pub(crate) fn read(data: &[u8], caller: &Caller) -> Result<Self, CommandError> {
        let Ok(data) = serde_json::from_slice::<SubmitData<'_>>(data) else {
            return Err(complaint(data));
        };
        Self::of(&data, caller.member(), || scope(caller))
    }

    /// Reads one that a hub process hands on.
    pub(crate) fn relayed(data: &[u8]) -> Result<Self, CommandError> {
        let Ok(Relayed { scope, submit }) = serde_json::from_slice(data) else {
            return Err(bad("data", "is not what hub processes send"));
        };
        Self::of(&submit, None, || scope.unwrap_or_default().into_owned())
    }

    fn of(
        data: &SubmitData<'_>,
        own: Option<&str>,
        scope: impl FnOnce() -> String,
    ) -> Result<Self, CommandError> {
        check_board_name(&data.board).map_err(|error| bad("board", error))?;
        let member = match (&data.member, own) {
            (Some(member), _) => member.as_ref(),
            (None, Some(own)) => own,
            (None, None) => return Err(bad("member", "is required")),
        };
        check_member(member).map_err(|error| bad("member", error))?;
        let at_ms = data.at.as_deref().map(milliseconds).transpose()?;
        let submit = Submit { member: member.to_owned(), score: data.score.into(), at_ms };
        let id = data.id.as_deref().map(|text| Id::new(scope(), text)).transpose()?;
        Ok(Self { board: data.board.clone().into_owned(), submit, id })
    }

    /// The submit for the engine.
    pub(crate) fn into_write(self) -> Write {
        let Self { board, submit, id } = self;
        Write { command: Command::Submit { board, submit }, key: id.map(|id| id.key) }
    }

    /// The submit for another hub.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let Self { board, submit, id } = self;
        let mut data = serde_json::json!({
            "board": board, "member": submit.member, "score": submit.score,
        });
        if let Some(at) = submit.at_ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
            data["at"] = at.to_string().into();
        }
        let mut relayed = serde_json::json!({});
        if let Some(Id { scope, text, .. }) = id {
            data["id"] = text.as_str().into();
            relayed["scope"] = scope.as_str().into();
        }
        relayed["submit"] = data;
        relayed.to_string().into_bytes()
    }
}

impl Id {
    fn new(scope: String, text: &str) -> Result<Self, CommandError> {
        let key = WriteKey::new(&scope, text).map_err(|error| refusal(&error))?;
        Ok(Self { scope, text: text.to_owned(), key })
    }
}

/// Milliseconds since 1970 of an RFC 3339 time, rounded down.
fn milliseconds(at: &str) -> Result<i64, CommandError> {
    let time: jiff::Timestamp =
        at.parse().map_err(|_| bad("at", "must be a time like 2026-11-24T12:00:00Z"))?;
    Ok(time.as_nanosecond().div_euclid(1_000_000) as i64)
}

/// What is wrong with the data of a submit.
fn complaint(data: &[u8]) -> CommandError {
    let diagnose = || {
        let params = Params::read(data, &["board", "member", "score", "at", "id"])?;
        params.name("board", check_board_name)?;
        if params.0.contains_key("member") {
            params.name("member", check_member)?;
        }
        params.bound("score")?.ok_or_else(|| bad("score", "is required"))?;
        for field in ["at", "id"] {
            if params.0.contains_key(field) {
                params.name(field, |_| Ok(()))?;
            }
        }
        Ok(())
    };
    diagnose().err().unwrap_or_else(|| bad("data", "must be an object"))
}

fn bad(field: &str, problem: impl Display) -> CommandError {
    CommandError::BadParams(format!("{field}: {problem}"))
}

/// The parameters of a call.
struct Params(Map<String, Value>);

impl Params {
    /// The parameters of a read.
    fn of(method: &str, data: &[u8]) -> Result<Self, CommandError> {
        let fields: &[&str] = match method {
            "rank" => &["board", "member"],
            "top" => &["board", "limit", "offset"],
            "around" => &["board", "member", "radius"],
            "count" => &["board", "min", "max"],
            _ => return Err(CommandError::MethodNotFound),
        };
        Self::read(data, fields)
    }

    /// Reads an object that has no fields but the given ones.
    fn read(data: &[u8], fields: &[&str]) -> Result<Self, CommandError> {
        let Ok(Value::Object(object)) = serde_json::from_slice(data) else {
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

    /// A score, if there is one.
    fn bound(&self, field: &str) -> Result<Option<Score>, CommandError> {
        let Some(value) = self.0.get(field) else { return Ok(None) };
        let number = value.as_i64().map(Score::Int).or_else(|| value.as_f64().map(Score::Float));
        number.map(Some).ok_or_else(|| bad(field, "must be a number"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rankwire_access::{Access, Boards, Mode, Policy, Scopes, new_token_key, sign_token};
    use serde_json::json;

    use super::*;

    fn submit(data: &str, caller: &Caller) -> Result<(String, Submit), String> {
        SubmitCall::read(data.as_bytes(), caller)
            .map(|call| (call.board, call.submit))
            .map_err(|error| error.to_string())
    }

    fn player(member: &str) -> Arc<Caller> {
        let access = Access::new(Policy {
            mode: Mode::Keys,
            anonymous_read: false,
            audience: None,
            issuer: None,
            key_submits_per_second: 0,
            member_submits_per_second: 0,
        });
        let signer = new_token_key("HS256", "one").unwrap();
        let jwks = format!(r#"{{"keys":[{}]}}"#, signer.public_jwk);
        access.set_token_keys(jwks.as_bytes()).unwrap();
        let claims = serde_json::json!({"sub": member, "exp": 1000}).to_string();
        let token = sign_token(signer.private_jwk.as_bytes(), claims.as_bytes()).unwrap();
        access.identify(Some(&token), 1).unwrap()
    }

    fn key(id: &str) -> Caller {
        Caller::Key { id: id.into(), scopes: Scopes::default(), boards: Boards::ALL }
    }

    #[test]
    fn submits_are_read_with_and_without_a_member() {
        let one = |member: &str, score, at_ms| {
            ("b".to_owned(), Submit { member: member.to_owned(), score, at_ms })
        };
        let bob = player("bob");
        let good = [
            (
                r#"{"board":"b","member":"ann","score":5}"#,
                &Caller::Everybody,
                one("ann", Score::Int(5), None),
            ),
            (r#"{"score":-0.5,"board":"b"}"#, &*bob, one("bob", Score::Float(-0.5), None)),
            (
                r#"{"board":"b","member":"a\"n","score":1,"at":"1970-01-01T00:00:01.0019+00:00"}"#,
                &bob,
                one("a\"n", Score::Int(1), Some(1001)),
            ),
            (
                r#"{"board":"b","member":"a","score":1,"at":"1969-12-31T23:59:59.9999Z"}"#,
                &key("k"),
                one("a", Score::Int(1), Some(-1)),
            ),
        ];
        for (data, caller, expected) in good {
            assert_eq!(submit(data, caller), Ok(expected), "{data}");
        }
    }

    #[test]
    fn complaints_name_the_field() {
        let too_long = json!({"board": "b", "member": "a", "score": 1, "id": "x".repeat(129)});
        let too_long = too_long.to_string();
        let bad = [
            ("", "data"),
            ("[]", "data"),
            (r#"{"board":"b","member":"a","score":1,"x":1}"#, "data"),
            (r#"{"member":"a","score":1}"#, "board"),
            (r#"{"board":"-","member":"a","score":1}"#, "board"),
            (r#"{"board":"b","score":1}"#, "member"),
            (r#"{"board":"b","member":"","score":1}"#, "member"),
            (r#"{"board":"b","member":7,"score":1}"#, "member"),
            (r#"{"board":"b","member":"a"}"#, "score"),
            (r#"{"board":"b","member":"a","score":"1"}"#, "score"),
            (r#"{"board":"b","member":"a","score":1,"at":5}"#, "at"),
            (r#"{"board":"b","member":"a","score":1,"at":"yesterday"}"#, "at"),
            (r#"{"board":"b","member":"a","score":1,"at":"2026-01-01T00:00:00"}"#, "at"),
            (r#"{"board":"b","member":"a","score":1,"id":7}"#, "id"),
            (r#"{"board":"b","member":"a","score":1,"id":""}"#, "id"),
            (r#"{"board":"b","member":"a","score":1,"id":"é"}"#, "id"),
            (r#"{"board":"b","member":"a","score":1,"id":"a\u007f"}"#, "id"),
            (&too_long, "id"),
        ];
        for (data, field) in bad {
            let error = submit(data, &Caller::Everybody).unwrap_err();
            assert!(error.starts_with(&format!("bad request: {field}: ")), "{data}: {error}");
        }
    }

    #[test]
    fn a_submit_reads_the_same_at_the_next_hub() {
        let data = r#"{"board":"b","member":"日\"本","score":-7,"at":"2026-01-01T00:00:00.123Z"}"#;
        let call = SubmitCall::read(data.as_bytes(), &Caller::Everybody).unwrap();
        let again = SubmitCall::relayed(&call.to_json()).unwrap();
        assert_eq!(call.into_write(), again.into_write());
    }

    /// The texts of the scopes are those of the HTTP API, and outlive the process.
    #[test]
    fn an_id_is_its_callers_own_and_stays_so_on_a_trunk() {
        let most = "~ ".repeat(64);
        let callers = [
            (&*player("a"), "player:a"),
            (&*player("a:b\"é"), "player:a:b\"é"),
            (&key("a"), "key:a"),
            (&Caller::Everybody, "everybody"),
        ];
        for (caller, scope) in callers {
            for id in ["a", "a\"b\\", &most] {
                let data = json!({"board": "b", "member": "m", "score": 1, "id": id}).to_string();
                let call = SubmitCall::read(data.as_bytes(), caller).unwrap();
                let again = SubmitCall::relayed(&call.to_json()).unwrap();
                let key = Some(WriteKey::new(scope, id).unwrap());
                assert_eq!(call.into_write().key, key, "{scope} {id}");
                assert_eq!(again.into_write().key, key, "{scope} {id}");
            }
        }
        // Nobody but a hub process names a scope.
        for data in [
            r#"{"board":"b","member":"m","score":1,"id":"a","scope":"key:a"}"#,
            r#"{"scope":"key:a","submit":{"board":"b","member":"m","score":1,"id":"a"}}"#,
        ] {
            assert!(submit(data, &Caller::Everybody).unwrap_err().starts_with("bad request: data"));
        }
    }
}
