"""What goes over the wire: the requests and the answers; their parameters are in `model_queries`.

Each Struct is the one definition of its shape: requests are decoded into it, the OpenAPI document
describes it, and the tests read answers through it. Requests refuse fields they do not know.
The server itself never builds the answers here except `Status` and `Problem`: the core hands them
over as JSON.

What depends on a board is left to the core, which knows it: whether a fraction is a score there,
or how large a sum may grow. Rules that only the core checks stand in the schema for readers.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

BATCH_ITEMS: Final = 10_000
"""Most scores in one batch."""

PAGE_ENTRIES: Final = 1000
"""Most entries of a page, and most names in one question for standings."""

RADIUS: Final = 500
"""Most neighbours on each side."""

BOARD_PATTERN: Final = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

_Int64 = Annotated[int, Meta(ge=_INT64_MIN, le=_INT64_MAX)]
Score = _Int64 | float
"""An integer of 64 bits or a finite float; NaN and infinities are refused by the core."""

BoardName = Annotated[
    str,
    Meta(
        description="A letter or digit, then letters, digits, '.', '_' or '-'; at most 64.",
        extra_json_schema={"pattern": BOARD_PATTERN},
    ),
]
Member = Annotated[
    str,
    Meta(
        description="Any text of 1 to 128 bytes in UTF-8 without control characters.",
        extra_json_schema={
            "minLength": 1,
            "maxLength": 128,
            "pattern": "^[^\\u0000-\\u001F\\u007F-\\u009F]*$",
        },
    ),
]
Version = Annotated[int, Meta(description="Grows with every change of the board.")]
Rank = Annotated[int, Meta(description="Counts from 1.")]
Total = Annotated[int, Meta(description="How many members the board has.")]


ProfileName = Annotated[
    str,
    Meta(
        description="What the member is called, for people: up to 64 characters on one line.",
        extra_json_schema={"minLength": 1, "maxLength": 64},
    ),
]
Avatar = Annotated[
    str,
    Meta(
        description="Where its picture is: an http or https address of at most 512 characters.",
        extra_json_schema={"maxLength": 512, "pattern": "^https?://"},
    ),
]
Attributes = Annotated[
    dict[str, str | _Int64 | float | bool | None],
    Meta(description="Anything else, by name: texts, numbers, true, false and null."),
]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of everything that comes in."""


# Bodies.


class BoardConfig(Request, frozen=True):
    """Configuration of a board; it stays as it was when the board was created."""

    score: Annotated[
        Literal["int64", "float64"], Meta(description="What a score is on this board.")
    ] = "int64"
    order: Annotated[
        Literal["desc", "asc"], Meta(description="Whether the highest or the lowest is best.")
    ] = "desc"
    policy: Annotated[
        Literal["best", "last", "sum"],
        Meta(description="What counts of a member's submits: the best, the last, or their sum."),
    ] = "best"
    ties: Annotated[
        Literal["first", "last", "member"],
        Meta(
            description="Who is ahead at equal scores: who reached it first, who reached it last, "
            "or the smaller member id."
        ),
    ] = "first"
    player_submits: Annotated[
        bool, Meta(description="Whether players may submit their own scores.")
    ] = False


class Submit(Request, frozen=True, gc=False):
    """A score that a member has reached, or an amount to add on a board that sums."""

    member: Member
    score: Annotated[Score, Meta(description="A whole number on an int64 board.")]
    at: Annotated[
        Annotated[datetime, Meta(tz=True)] | None,
        Meta(description="When it was reached, with a UTC offset; now if absent."),
    ] = None

    @property
    def at_ms(self) -> int | None:
        """The time in milliseconds since 1970, rounded down."""
        return None if self.at is None else (self.at - _EPOCH) // _MILLISECOND


Submits = Annotated[list[Submit], Meta(min_length=1, max_length=BATCH_ITEMS)]


class ProfileContent(Request, frozen=True):
    """What a profile is to say, in the place of all that it said before."""

    name: ProfileName | None = None
    avatar: Avatar | None = None
    attributes: Attributes = {}


class Names(Request, frozen=True):
    """Members to look up."""

    members: Annotated[list[Member], Meta(min_length=1, max_length=PAGE_ENTRIES)]


# Answers.


class Board(msgspec.Struct, frozen=True):
    """A board's configuration and size."""

    board: BoardName
    score: Literal["int64", "float64"]
    order: Literal["desc", "asc"]
    policy: Literal["best", "last", "sum"]
    ties: Literal["first", "last", "member"]
    player_submits: bool
    version: Version
    total: Total


class Boards(msgspec.Struct, frozen=True):
    """Boards in the order of their names."""

    boards: list[Board]
    next: Annotated[
        str | None, Meta(description="`after` of the following page; null on the last one.")
    ]


class Receipt(msgspec.Struct, frozen=True):
    """A submit that is durable, and where it left the member."""

    board: BoardName
    member: Member
    score: Annotated[Score, Meta(description="What the board holds now.")]
    rank: Rank
    previous_score: Score | None
    previous_rank: Rank | None
    changed: Annotated[bool, Meta(description="Whether the board changed.")]
    version: Version


class BatchReceipt(msgspec.Struct, frozen=True):
    """A batch that is durable as a whole."""

    board: BoardName
    submitted: Annotated[int, Meta(description="How many scores the batch had.")]
    changed: Annotated[int, Meta(description="How many of them changed the board.")]
    version: Version


class Profile(msgspec.Struct, frozen=True):
    """What is told of a member beside its scores."""

    name: ProfileName | None
    avatar: Avatar | None
    attributes: Attributes


class MemberProfile(msgspec.Struct, frozen=True):
    """A member's profile by itself."""

    member: Member
    name: ProfileName | None
    avatar: Avatar | None
    attributes: Attributes
    updated_at: Annotated[datetime, Meta(description="When it was written.")]


_Joined = (
    Annotated[
        Profile | None,
        Meta(description="With `profiles=true`: the member's profile, null if it has none."),
    ]
    | UnsetType
)


class Entry(msgspec.Struct, frozen=True):
    """One place of the ranking."""

    rank: Rank
    member: Member
    score: Score
    profile: _Joined = UNSET


class Page(msgspec.Struct, frozen=True):
    """A part of the ranking at one version."""

    board: BoardName
    version: Version
    total: Total
    entries: list[Entry]


class Standings(Page, frozen=True):
    """The given members at one version, best first."""

    missing: Annotated[list[str], Meta(description="Names that are not on the board.")]


class Standing(msgspec.Struct, frozen=True):
    """One member's place."""

    board: BoardName
    version: Version
    member: Member
    score: Score
    rank: Rank
    total: Total
    profile: _Joined = UNSET


class HistoryEvent(msgspec.Struct, frozen=True):
    """Something that changed a board."""

    at: Annotated[datetime, Meta(description="When it became durable.")]
    type: Annotated[
        Literal["create", "drop", "score", "delete", "fix"],
        Meta(
            description="`create` begins the board; `score` and `delete` are about a member, and "
            "so is `fix`, a repair of its sum, which counts in one region only."
        ),
    ]
    member: Member | UnsetType = UNSET
    score: (
        Annotated[
            Score, Meta(description="What was submitted; the amount to add on a board that sums.")
        ]
        | UnsetType
    ) = UNSET
    reached_at: (
        Annotated[datetime, Meta(description="When the score counts as reached.")] | UnsetType
    ) = UNSET
    region: (
        Annotated[str, Meta(description="With regions: where it was committed.")] | UnsetType
    ) = UNSET


class History(msgspec.Struct, frozen=True):
    """What changed a board, the newest first."""

    board: BoardName
    events: list[HistoryEvent]
    next: Annotated[
        str | None,
        Meta(
            description="`before` of the following page, null after the last one. A page may have "
            "few events or none and still have a next one."
        ),
    ]


class Count(msgspec.Struct, frozen=True):
    """How many members have a score within bounds."""

    board: BoardName
    version: Version
    count: int
    total: Total


class BoardDigest(msgspec.Struct, frozen=True):
    """A board in few bytes: what holds the same members at the same places has the same digest."""

    id: Annotated[str, Meta(description="Which life of the name it is, hexadecimal.")]
    board: BoardName
    version: Annotated[
        int, Meta(description="As counted by this node; others may count otherwise.")
    ]
    total: Total
    digest: Annotated[str, Meta(description="Of members, scores and times.")]


class Digest(msgspec.Struct, frozen=True):
    """What the server holds in memory, to be compared with other nodes or with the storage."""

    vector: Annotated[
        dict[str, int],
        Meta(description="The last batch that is included, of each run of a server (decimal)."),
    ]
    boards: Annotated[list[BoardDigest], Meta(description="All boards, by name.")]


class Status(msgspec.Struct, frozen=True):
    """How the server is."""

    status: Literal["ok", "ready", "degraded"]
    reasons: (
        Annotated[list[str], Meta(description="What is not as it should be, if degraded.")]
        | UnsetType
    ) = UNSET


class Problem(msgspec.Struct, frozen=True):
    """Why a request was refused (RFC 9457). Nothing was changed by it."""

    type: Annotated[str, Meta(description="`urn:rankwire:problem:` and what kind of problem.")]
    title: Annotated[str, Meta(description="The kind in words.")]
    status: Annotated[int, Meta(description="The HTTP status, repeated.")]
    detail: Annotated[str, Meta(description="What is wrong with this request.")]
    instance: Annotated[str, Meta(description="The path that was asked for.")]
    field: (
        Annotated[str, Meta(description="The parameter or field at fault, like `[17].score`.")]
        | UnsetType
    ) = UNSET
