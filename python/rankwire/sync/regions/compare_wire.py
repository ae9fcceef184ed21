"""What two regions say to each other when they compare and repair their boards: msgpack.

Promises: everything has a limit, and decoding refuses what is beyond one.
The bytes in `BoardsAnswer`, `OutlineRequest` and `OutlineAnswer` are the core's own, which
rust/engine/src/compare/codec.rs describes. Whoever answers is any node of a region, and whoever
asks has shown the secret of the regions before.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from rankwire.sync.regions.wire import MOST_ORIGINS

OUTLINE: Final = "outline"
STATES: Final = "states"
REPAIR: Final = "repair"

MOST_STATES: Final = 1_000
"""Members of one request for states: reading them takes the writers' lock for less than 1 ms."""
MOST_REPAIRS: Final = 1_000
"""Members of one request for a repair: they become one batch of the journal."""
MOST_WAIT_MS: Final = 5_000
"""How long a region waits at most until it has what the other one had."""

_MOST_ASKS_BYTES: Final = 1 << 20

# msgpack has no larger ones than of 64 bits.
_Unsigned = Annotated[int, msgspec.Meta(ge=0)]
_Member = Annotated[str, msgspec.Meta(max_length=255)]


class State(msgspec.Struct, frozen=True, array_like=True):
    """What a region holds of a member: how often it was removed, and its score if it has one."""

    generation: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
    code: _Unsigned | None = None
    """The score's code, by which boards are ordered."""
    stamp: _Unsigned = 0
    """When the score was reached; 0 without one."""


class OutlineRequest(msgspec.Struct, frozen=True):
    """Which parts of the boards are wanted: a page of all boards, or what is in `asks`."""

    after: _Unsigned | None = None
    """With a number, the boards whose ids come after it are told, and `asks` does not count."""
    asks: Annotated[bytes, msgspec.Meta(max_length=_MOST_ASKS_BYTES)] = b""


class OutlineAnswer(msgspec.Struct, frozen=True):
    """Hashes, or what is so small that it is told at once; the first of the asks, if not all."""

    answer: bytes


class StatesRequest(msgspec.Struct, frozen=True):
    """Members of a board whose states are wanted, once everything in `vector` is known."""

    board: _Unsigned
    members: Annotated[list[_Member], msgspec.Meta(max_length=MOST_STATES)]
    vector: Annotated[dict[int, int], msgspec.Meta(max_length=MOST_ORIGINS)]
    wait_ms: Annotated[int, msgspec.Meta(ge=0, le=MOST_WAIT_MS)] = 2_000
    is_stored: bool = False
    """Whether the region's database is to say, and not what the node has in memory."""


class StatesAnswer(msgspec.Struct, frozen=True):
    """The states in the order of the members, and the last batch of each origin that is in them."""

    vector: dict[int, int]
    name: str | None
    """The board's; None if there is no such board."""
    states: list[State] | None


class Repair(msgspec.Struct, frozen=True, array_like=True):
    """One member to be repaired, if it still is as it was `seen`."""

    member: _Member
    seen: State
    given: State


class RepairRequest(msgspec.Struct, frozen=True):
    """What is to be taken in of a board."""

    board: _Unsigned
    name: str
    items: Annotated[list[Repair], msgspec.Meta(max_length=MOST_REPAIRS)]


class RepairAnswer(msgspec.Struct, frozen=True):
    """What became of it: taken in, not as it was seen any more, or the same already."""

    repaired: int
    moved: int
    same: int
