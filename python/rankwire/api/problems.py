"""Every way in which a request is refused, and how refusals are written (RFC 9457).

`KINDS` is the only list of them: the code raises them, the OpenAPI document declares them and the
manual's table is compared with them. A refused request has changed nothing. Details quote at most
a few words of what the client sent.
"""

from __future__ import annotations

import re
from math import ceil
from typing import Final

import msgspec
import structlog
from msgspec import UNSET

from rankwire import _core
from rankwire.api.answers import Answer, Headers, start
from rankwire.model import Problem
from rankwire.storage import StorageError
from rankwire.storage.pool import BusyError
from rankwire.storage.profiles import KeyUsedError, UnknownProfileError
from rankwire.sync.regions.errors import (
    FailoverError,
    NotAPeerError,
    NotThereYetError,
    PeerError,
    TooManyError,
    TooStaleError,
    WrongLevelError,
    WrongTokenError,
)

PROBLEM_JSON: Final = b"application/problem+json"
TYPE_PREFIX: Final = "urn:rankwire:problem:"
KEY_FIELD: Final = "Idempotency-Key"
"""The header, as the field of a problem."""
SESSION_FIELD: Final = "Rankwire-Session"
"""Likewise: the header with a session's token, in requests and in answers."""

# Longest texts in a problem; what is longer is a client's input and gets cut.
_DETAIL_CHARACTERS: Final = 200
_FIELD_CHARACTERS: Final = 100
_INSTANCE_CHARACTERS: Final = 200

_log = structlog.get_logger(__name__)


class Kind(msgspec.Struct, frozen=True):
    """One kind of problem."""

    slug: str
    status: int
    title: str
    meaning: str
    headers: Headers = ()


_LATER: Final[Headers] = ((b"retry-after", b"1"),)

MALFORMED = Kind(
    "malformed",
    400,
    "Malformed request",
    "The body is not JSON, NDJSON or MessagePack, or an escape in the address is broken.",
)
UNAUTHORIZED = Kind(
    "unauthorized",
    401,
    "Unauthorized",
    "The request comes without a credential or with one that is not good.",
    ((b"www-authenticate", b"Bearer"),),
)
FORBIDDEN = Kind(
    "forbidden", 403, "Forbidden", "The credential is good, but not for this operation or board."
)
UNKNOWN_PATH = Kind("unknown-path", 404, "Unknown path", "Nothing is served at this path.")
UNKNOWN_BOARD = Kind("unknown-board", 404, "Unknown board", "There is no board of this name.")
UNKNOWN_MEMBER = Kind("unknown-member", 404, "Unknown member", "The board has no such member.")
UNKNOWN_PROFILE = Kind("unknown-profile", 404, "Unknown profile", "The member has no profile.")
METHOD_NOT_ALLOWED = Kind(
    "method-not-allowed",
    405,
    "Method not allowed",
    "The path is served, but not with this method; `Allow` lists those it takes.",
)
REGIONS_OFF = Kind(
    "regions-off",
    404,
    "Regions off",
    "The server is in no region (`regions.name`), so it cannot do this.",
)
CONFLICT = Kind(
    "board-conflict", 409, "Board conflict", "The board exists with another configuration."
)
LIMIT = Kind(
    "limit-reached",
    409,
    "Limit reached",
    "The server holds as many boards, or the board as many members, as it may.",
)
REFUSED_FAILOVER = Kind(
    "failover-refused",
    409,
    "Failover refused",
    "The regions are in no state for it; the detail tells why.",
)
TOO_LARGE = Kind("too-large", 413, "Body too large", "The body is larger than the limit.")
UNSUPPORTED = Kind(
    "unsupported-media-type",
    415,
    "Unsupported media type",
    "The body's type, charset or encoding is not taken here.",
)
INVALID = Kind(
    "invalid",
    422,
    "Invalid request",
    "The request can be read, but a value is wrong; `field` names it.",
)
KEY_REUSED = Kind(
    "key-reused",
    422,
    "Key reused",
    "The caller has used this `Idempotency-Key` for another request.",
)
TOO_MANY = Kind(
    "too-many-requests",
    429,
    "Too many requests",
    "The credential has submitted more than its rate allows; see `Retry-After`.",
)
INTERNAL = Kind("internal", 500, "Internal error", "A fault of the server; its log tells more.")
BUSY = Kind(
    "busy", 503, "Busy", "Too much waits already; send it again, see `Retry-After`.", _LATER
)
UNAVAILABLE = Kind(
    "unavailable",
    503,
    "Service unavailable",
    "The storage cannot be used, or the server starts or stops; see `Retry-After`.",
    _LATER,
)
NOT_PRIMARY = Kind(
    "not-primary",
    503,
    "Not primary",
    "Only the primary region takes this write, and it is not this one or not for now.",
    _LATER,
)
PRIMARY_UNREACHABLE = Kind(
    "primary-unreachable",
    503,
    "Primary unreachable",
    "The write belongs to the primary region, which gave no answer. It may have been done: send "
    "it again with the same `Idempotency-Key`.",
    _LATER,
)
TOO_STALE = Kind(
    "too-stale",
    503,
    "Too stale",
    "This region has not heard from another one for longer than `max_staleness_ms`.",
    _LATER,
)
NOT_THERE_YET = Kind(
    "not-there-yet",
    503,
    "Not there yet",
    "Something has not come to this node in time: what the `Rankwire-Session` stands for, or a "
    "board that the primary has created or deleted.",
    _LATER,
)

KINDS: Final = (
    MALFORMED,
    UNAUTHORIZED,
    FORBIDDEN,
    UNKNOWN_PATH,
    UNKNOWN_BOARD,
    UNKNOWN_MEMBER,
    UNKNOWN_PROFILE,
    REGIONS_OFF,
    METHOD_NOT_ALLOWED,
    CONFLICT,
    LIMIT,
    REFUSED_FAILOVER,
    TOO_LARGE,
    UNSUPPORTED,
    INVALID,
    KEY_REUSED,
    TOO_MANY,
    INTERNAL,
    BUSY,
    UNAVAILABLE,
    NOT_PRIMARY,
    PRIMARY_UNREACHABLE,
    TOO_STALE,
    NOT_THERE_YET,
)

_OF_CORE: Final[dict[type[_core.RankwireError], Kind]] = {
    _core.UnauthorizedError: UNAUTHORIZED,
    _core.ForbiddenError: FORBIDDEN,
    _core.ConflictError: CONFLICT,
    _core.InvalidError: INVALID,
    _core.LimitError: LIMIT,
    _core.BusyError: BUSY,
    _core.NotPrimaryError: NOT_PRIMARY,
    _core.UnavailableError: UNAVAILABLE,
}
_NOT_FOUND: Final = {"board": UNKNOWN_BOARD, "member": UNKNOWN_MEMBER}


class _Known(msgspec.Struct, frozen=True):
    kind: Kind
    field: str | None = None
    detail: str = ""
    """What is wrong, if the exception does not say it in words for users."""


_OF_OURS: Final[dict[type[Exception], _Known]] = {
    BusyError: _Known(BUSY),
    UnknownProfileError: _Known(UNKNOWN_PROFILE, "member", "the member has no profile"),
    KeyUsedError: _Known(KEY_REUSED, KEY_FIELD, "the key came with another request before"),
    TooManyError: _Known(BUSY),
    NotAPeerError: _Known(FORBIDDEN),
    PeerError: _Known(PRIMARY_UNREACHABLE),
    TooStaleError: _Known(TOO_STALE),
    NotThereYetError: _Known(NOT_THERE_YET),
    WrongTokenError: _Known(INVALID, SESSION_FIELD),
    WrongLevelError: _Known(INVALID, "level"),
    FailoverError: _Known(REFUSED_FAILOVER),
}

# How msgspec ends its messages: where it is, and whether it was a key.
_PLACE = re.compile(r" - at (?:`key` in )?`\$(.*)`\Z", re.DOTALL)
_NAMED = re.compile(r"Object (?:contains unknown|missing required) field `(.*)`\Z", re.DOTALL)


class ProblemError(Exception):
    """A refusal."""

    def __init__(
        self, kind: Kind, detail: str, field: str | None = None, headers: Headers = ()
    ) -> None:
        """Say what kind it is, what is wrong and where; `headers` add to the kind's own."""
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.field = field
        self.headers = headers


class DisconnectedError(Exception):
    """The client went away; there is nobody to answer."""


def classify(error: Exception) -> ProblemError:  # noqa: PLR0911  # as many as there are kinds
    """Tell what kind of refusal an exception is; an unexpected one is logged."""
    if (known := _OF_OURS.get(type(error))) is not None:
        return ProblemError(known.kind, known.detail or str(error), known.field)
    match error:
        case ProblemError():
            return error
        case _core.RankwireError():
            return _from_core(error)
        case StorageError():
            return ProblemError(UNAVAILABLE, str(error))
        case msgspec.ValidationError():
            return _from_validation(str(error))
        case msgspec.DecodeError():
            return ProblemError(MALFORMED, str(error))
        case UnicodeDecodeError():
            return ProblemError(MALFORMED, "the text is not UTF-8")
        case _:
            _log.error("request failed", exc_info=error)
            return ProblemError(INTERNAL, "something went wrong on the server")


def refuse(error: Exception, raw_path: bytes) -> Answer:
    """Answer a request that failed."""
    problem = classify(error)
    kind, field = problem.kind, problem.field
    body = msgspec.json.encode(
        Problem(
            type=TYPE_PREFIX + kind.slug,
            title=kind.title,
            status=kind.status,
            detail=_cut(problem.detail, _DETAIL_CHARACTERS),
            instance=_cut(raw_path.decode("latin-1"), _INSTANCE_CHARACTERS),
            field=UNSET if field is None else _cut(field, _FIELD_CHARACTERS),
        )
    )
    content_type = (b"content-type", PROBLEM_JSON)
    return start(kind.status, content_type, *kind.headers, *problem.headers), body


def _from_core(error: _core.RankwireError) -> ProblemError:
    message, field, index = error.args
    if isinstance(error, _core.TooManyRequestsError):
        later = (b"retry-after", str(ceil(error.retry_after)).encode())
        return ProblemError(TOO_MANY, message, headers=(later,))
    if isinstance(error, _core.KeyReusedError):
        return ProblemError(KEY_REUSED, message, KEY_FIELD)
    if isinstance(error, _core.NotFoundError):
        return ProblemError(_NOT_FOUND[field or "board"], message, field)
    kind = _OF_CORE.get(type(error), INTERNAL)
    return ProblemError(kind, message, field if index is None else _join(f"[{index}]", field))


def _from_validation(message: str) -> ProblemError:
    """Take msgspec's message apart: what is wrong, and in which field."""
    place = _PLACE.search(message)
    what = message[: place.start()] if place else message
    field = place[1].removeprefix(".") if place else ""
    # A field that is missing or too much is named in the text, not in the place.
    if named := _NAMED.match(what):
        field = _join(field, named[1])
    return ProblemError(INVALID, what, field or None)


def _join(place: str, name: str | None) -> str:
    return f"{place}.{name}" if place and name else place or name or ""


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[:characters] + "…"
