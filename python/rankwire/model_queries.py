"""Query parameters: the one definition of each, for the server, the OpenAPI document and the tests.

An unknown parameter is refused. Those about other regions mean nothing on a server that has none:
there only what holds anyway may be asked for, see `rankwire.api.across`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from rankwire.model import PAGE_ENTRIES, RADIUS, Request, Score

LEAST_STALENESS_MS: Final = 1000
"""Least `max_staleness_ms`: how level regions are is known about once a second."""

MOST_WAIT_MS: Final = 30_000
"""Longest that a request waits for other regions."""

LEVEL_PATTERN: Final = r"^(local|quorum|all|any\([1-9][0-9]?\))$"

# No board has more members, so no page starts later.
_LARGEST_OFFSET: Final = 2**32 - 1

_Profiles = Annotated[bool, Meta(description="Whether to add the members' profiles.")]


class NoQuery(Request, frozen=True):
    """No parameters."""


class ReadyQuery(Request, frozen=True, rename={"purpose": "for"}):
    """What a node is to be ready for."""

    purpose: Annotated[
        Literal["writes", "reads"],
        Meta(
            description="`writes`: whether writes can be committed, which fails on all nodes while "
            "PostgreSQL is away. `reads`: whether the node has its boards and stays, which is all "
            "that reads and live views need."
        ),
    ] = "writes"


class WaitQuery(Request, frozen=True):
    """How long to wait for what other regions have."""

    timeout_ms: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=MOST_WAIT_MS,
                description="Longest wait for other regions in milliseconds. If absent, 1000, and "
                "2000 for a `level`.",
            ),
        ]
        | UnsetType
    ) = UNSET


class LevelQuery(WaitQuery, frozen=True):
    """How many regions are to have a write before it is answered."""

    level: (
        Annotated[
            str,
            Meta(
                extra_json_schema={"pattern": LEVEL_PATTERN},
                description="In how many regions the write is to be durable when it is answered: "
                "`local` is one, `any(2)` two, `quorum` more than half, `all` all. The answer then "
                "has `sync`, and status 202 if there were fewer within `timeout_ms`.",
            ),
        ]
        | UnsetType
    ) = UNSET


class ReadQuery(WaitQuery, frozen=True):
    """How fresh a read has to be, where there are other regions."""

    consistency: Annotated[
        Literal["local", "bounded", "session"],
        Meta(
            description="`local` is what this node has, `bounded` what every region had "
            "`max_staleness_ms` ago, `session` what the token in `Rankwire-Session` stands for."
        ),
    ] = "local"
    max_staleness_ms: Annotated[
        int,
        Meta(
            ge=LEAST_STALENESS_MS,
            le=86_400_000,
            description="For `bounded`: how old what was read may be.",
        ),
    ] = 5000


class ProfilesQuery(ReadQuery, frozen=True):
    """What to add."""

    profiles: _Profiles = False


class TopQuery(ReadQuery, frozen=True):
    """Which part of the ranking."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_ENTRIES, description="Most entries.")] = 10
    offset: Annotated[
        int, Meta(ge=0, le=_LARGEST_OFFSET, description="How many of the best to leave out.")
    ] = 0
    profiles: _Profiles = False


class AroundQuery(ReadQuery, frozen=True):
    """How far to look."""

    radius: Annotated[int, Meta(ge=0, le=RADIUS, description="Most neighbours on each side.")] = 5
    profiles: _Profiles = False


class CountQuery(ReadQuery, frozen=True):
    """Which scores; both bounds are included."""

    min: Annotated[Score, Meta(description="Lowest score.")] | UnsetType = UNSET
    max: Annotated[Score, Meta(description="Highest score.")] | UnsetType = UNSET


class HistoryQuery(ReadQuery, frozen=True):
    """Which part of a board's history."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_ENTRIES, description="Most events.")] = 100
    before: Annotated[str, Meta(description="`next` of the page before.")] = ""
    member: Annotated[str, Meta(description="Only events of this member.")] | UnsetType = UNSET


class BoardsQuery(ReadQuery, frozen=True):
    """Which part of the list of boards."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_ENTRIES, description="Most boards.")] = 100
    after: Annotated[str, Meta(description="`next` of the page before.")] = ""
