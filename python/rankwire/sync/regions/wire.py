"""What regions say to each other: msgpack, maps with names, so that either side may know more.

Whatever comes from another region is checked here for its form: numbers are in range, lists are
bounded, anything else is `ValueError`. What it means is checked by whoever asked.
"""

from __future__ import annotations

import zlib
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

LARGEST: Final = 2**63 - 1
"""Of an origin and of a number."""
MOST_ORIGINS: Final = 65_536
"""Of a vector."""
MOST_ROWS: Final = 1000 + MOST_ORIGINS
"""Of an answer: batches, and pointers of which each origin has one more at most."""
MOST_REGIONS: Final = 64
MOST_WAIT_MS: Final = 500
"""Of a pull and of an `AwaitRequest`. Whoever asks for more waits so long."""
REQUEST_BYTES: Final = 4 * 1024**2
"""Largest request, inflated: more than what is bounded here and in `compare_wire` comes to."""
ANSWER_BYTES: Final = 16 * 1024**2
"""Largest answer, inflated."""

Id = Annotated[int, Meta(ge=1, le=LARGEST)]
Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Name = Annotated[str, Meta(min_length=1, max_length=63)]
Vector = Annotated[dict[Id, Count], Meta(max_length=MOST_ORIGINS)]
"""The last number of each origin."""

_T = TypeVar("_T")


class TooMuchError(Exception):
    """More came than is allowed."""


def inflate(body: bytes, limit: int) -> bytes:
    """Inflate up to so many bytes.

    Raises TooMuchError if there are more, and ValueError, which says of the body what it does, if
    it is damaged or not whole.
    """
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise ValueError(f"cannot be inflated: {error}") from error
    if len(inflated) > limit:
        raise TooMuchError
    if not inflater.eof:
        raise ValueError("ends too soon")
    return inflated


class Chosen(msgspec.Struct, frozen=True):
    """Settings that have to be the same in all regions."""

    primary: Annotated[str, Meta(max_length=63)]
    """Which region is to be primary at first."""
    names: Annotated[list[Name], Meta(max_length=MOST_REGIONS)]
    """All regions, in order."""
    mode: Annotated[str, Meta(max_length=63)]


class PullRequest(msgspec.Struct, frozen=True):
    """Asks for all that a region has beyond `vector`, as soon as there is anything."""

    region: Name
    """Who asks."""
    vector: Vector
    """All that the journal of who asks has."""
    direct: Annotated[list[Name], Meta(max_length=MOST_REGIONS)]
    """Regions whose batches are not wanted from here, only their places in the order."""
    wait_ms: Count
    epoch: Count
    primary: Annotated[str, Meta(max_length=63)]
    """With the epoch: a region that cannot ask us hears of a newer primary all the same."""
    open: Annotated[list[Id], Meta(max_length=MOST_ORIGINS)] = []
    """Origins that may have ended: the answer's `origins` tell which have."""


class Origin(msgspec.Struct, frozen=True):
    """A run of a node, which batches are from."""

    origin: Id
    region: Name
    node: Annotated[str, Meta(max_length=1024)]
    last: Count | None
    """Its last batch, if it has ended."""


class Pulled(msgspec.Struct, frozen=True, array_like=True):
    """A row of the journal, or the place of one."""

    origin: Id
    number: Id
    batch: bytes
    """Empty: a pointer. A batch of a direct region has its place here, up to that number."""
    answers: bytes = b""
    """What is kept of the batch's keyed writes: msgpack of `storage.region_rows.Answers`."""


class PullAnswer(msgspec.Struct, frozen=True):
    """What a region has, in the order of its journal, as of one snapshot.

    A batch builds on nothing but rows before it and what the asked vector includes.
    """

    region: Name
    cluster: Annotated[str, Meta(max_length=64)]
    """Which database it is."""
    epoch: Count
    primary: Annotated[str, Meta(max_length=63)]
    clock_ms: float
    """The database's time at the end of the waiting."""
    waited_ms: Annotated[float, Meta(ge=0)]
    """How long the request had waited before that."""
    origins: Annotated[list[Origin], Meta(max_length=MOST_ORIGINS)]
    """Those that batches here are from, and those asked about."""
    batches: Annotated[list[Pulled], Meta(max_length=MOST_ROWS)]
    lacks: Vector
    """Where the region has less than the asked vector: what it has."""
    gone: Annotated[list[Id], Meta(max_length=MOST_ORIGINS)]
    """Origins of which batches were wanted that its journal does not have any more."""
    is_all: bool
    """Whether there was nothing more."""
    more: Count = 0
    """Batches that are wanted beyond these, as far as it is known."""
    chosen: Chosen | None = None
    """Its settings."""


class AwaitRequest(msgspec.Struct, frozen=True):
    """Asks a region to answer when its journal has one of these batches and all before it."""

    wanted: Vector
    wait_ms: Count


class AwaitAnswer(msgspec.Struct, frozen=True):
    """The journal durably has all up to these numbers, of the origins that were asked for."""

    vector: Vector
    region: Name
    """Whose journal, so that nobody takes an address that leads elsewhere for that region's."""


class PromiseRequest(msgspec.Struct, frozen=True):
    """Asks a region to take no older primary for one from now on. Epoch 0 asks for the answer only.

    With `take` the region is asked to become the primary itself; the answer tells what came of it.
    """

    epoch: Count
    primary: Name
    take: bool = False
    names: Annotated[list[Name], Meta(max_length=MOST_REGIONS)] = []
    """All regions, in order, as who asks knows them."""


class PromiseAnswer(msgspec.Struct, frozen=True):
    """What a region says of the primary, and all that its journal has."""

    region: Name
    epoch: Count
    primary: Annotated[str, Meta(max_length=63)]
    vector: Vector
    promised: bool
    problem: Annotated[str, Meta(max_length=1000)] = ""
    """Why the region does not promise, or did not become the primary."""


def encode(message: msgspec.Struct) -> bytes:
    """Encode a message."""
    return _encoder.encode(message)


def decode(body: bytes, kind: type[_T]) -> _T:
    """Decode a message of this kind. Raises ValueError if it is none."""
    # msgspec's errors are ValueErrors already.
    return msgspec.msgpack.decode(body, type=kind)


_encoder: Final = msgspec.msgpack.Encoder()
