"""Reads that a client can rely on: of its own session, or not older than it takes.

A session's token is what its reads and writes have included, as a vector, without what all regions
have. The answer to a repeat may be ahead of this node's engine: then all that the journal has
counts. A node answers when its engine includes the vector. What all regions have lies in the
journal of each, but perhaps not yet in the engine of each node; so a number counts as had by all
only some seconds after it was found out, and a node that was not level for as long answers no
session. Neither does one of a database that is new or was restored, before it has had all that
each other region had. Only durations are compared, so no clock has to be right.

How old what a node has may be is told by the leader's links: when the region last had all that a
peer had. An engine is known to be as fresh when it includes what the journal had after that.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Final

import msgspec

from rankwire.storage import StorageError
from rankwire.sync.regions.errors import NotThereYetError, TooStaleError, WrongTokenError
from rankwire.sync.regions.state import SETTLED_SECONDS
from rankwire.sync.regions.wire import Vector

if TYPE_CHECKING:
    from rankwire.storage.region_rows import RegionState
    from rankwire.sync.region import Region
    from rankwire.sync.regions.here import Here

NEW: Final = "new"
"""In place of a token: begin a session."""
MOST_ENTRIES: Final = 128
"""Of a token."""
_VERSION: Final = b"\x01"
_MOST_CHARACTERS: Final = 4096
# Between two looks at the database while a read waits.
_LOOK_SECONDS: Final = 0.1


def encode_token(vector: Mapping[int, int]) -> str:
    """Make a token. Raises NotThereYetError if there is too much to remember."""
    if len(vector) > MOST_ENTRIES:
        raise NotThereYetError(
            f"the session would have to remember {len(vector)} runs of nodes, more than "
            f"{MOST_ENTRIES}: the regions are too far apart"
        )
    # In order, so that equal vectors have equal tokens.
    content = _VERSION + msgspec.msgpack.encode(dict(sorted(vector.items())))
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def decode_token(token: str) -> dict[int, int]:
    """Read a token. Raises WrongTokenError."""
    wrong = WrongTokenError(f"the session token is none: send {NEW!r} to begin a session")
    if len(token) > _MOST_CHARACTERS:
        raise wrong
    try:
        content = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        if content[:1] != _VERSION:
            raise wrong
        vector = msgspec.msgpack.decode(content[1:], type=Vector)
    except (binascii.Error, ValueError) as error:
        raise wrong from error
    if len(vector) > MOST_ENTRIES:
        raise wrong
    return vector


def merge(token: Mapping[int, int], has: Mapping[int, int], stable: Mapping[int, int]) -> _Vector:
    """Give what a session has seen: its token and what the engine has, without what all have."""
    vector = dict(token)
    for origin, number in has.items():
        if number > vector.get(origin, 0):
            vector[origin] = number
    return {o: number for o, number in vector.items() if number > stable.get(o, 0)}


_Vector = dict[int, int]


class Sessions:
    """Tokens, and waiting for what they say."""

    def __init__(self, here: Here) -> None:
        """Wait for this node's engine."""
        self._here = here
        self._region = here.region
        self._state = here.state
        self._arrivals = here.arrivals
        self._was_level = False
        """Whether the engine has included, once, all that each other region had."""
        self.waits = 0
        self.refusals = 0

    async def token(self, old: str, *, is_repeat: bool) -> str:
        """Give the token of a session whose last one is `old`, as of now; see `Here.seen`.

        Raises WrongTokenError, StorageError, and NotThereYetError if the regions are too far
        apart.
        """
        seen = {} if old == NEW else decode_token(old)
        has = await self._here.seen(is_repeat=is_repeat)
        return encode_token(merge(seen, has, self._state.settled.vector()))

    async def wait(self, token: str, timeout_ms: int) -> None:
        """Wait until this node includes all that a session has seen.

        Raises WrongTokenError, StorageError, and NotThereYetError if it does not in time.
        """
        if token == NEW:
            return
        seen = decode_token(token)
        if self._was_level and self._includes(seen):
            return
        self.waits += 1
        deadline = monotonic() + timeout_ms / 1000
        is_there = await self._until_level(deadline) and await self._arrivals.until(
            lambda: self._includes(seen), deadline - monotonic()
        )
        if not is_there:
            self.refusals += 1
            lacking = sum(self._region.number_of(o) < number for o, number in seen.items())
            raise NotThereYetError(
                f"this node lacks what the session has seen of {lacking} runs of nodes"
                if lacking
                else "this node does not know whether it has what the session has seen"
            )

    async def _until_level(self, deadline: float) -> bool:
        """Wait until the engine has included, once, all that each other region had."""
        if self._was_level:
            return True
        state = self._state
        if not await self._arrivals.until(
            lambda: state.row is not None and state.row.was_level, deadline - monotonic()
        ):
            return False
        # After the row, so all that made it level is in here.
        vector = await self._here.seen(is_repeat=True)
        self._was_level = await self._arrivals.until(
            lambda: _has(self._region, vector), deadline - monotonic()
        )
        return self._was_level

    def _includes(self, seen: Mapping[int, int]) -> bool:
        return self._region.lag_seconds <= SETTLED_SECONDS and _has(self._region, seen)


class Freshness:
    """How old what this node has may be."""

    def __init__(self, here: Here) -> None:
        """Know nothing."""
        self._peers = here.peers
        self._journal = here.journal
        self._threads = here.threads
        self._region = here.region
        self._state = here.state
        self._arrivals = here.arrivals
        self._looking: asyncio.Task[None] | None = None
        self._level_ms: dict[str, int] = {}
        """Of each peer the newest level that the engine is known to include."""
        self.waits = 0
        self.refusals = 0

    def staleness_ms(self) -> float | None:
        """Give how old what the engine has of a peer is at most; None while that is not known."""
        if not self._peers <= self._level_ms.keys():
            return None
        oldest = min((self._level_ms[name] for name in self._peers), default=None)
        return 0.0 if oldest is None else max(self._state.clock.now() - oldest, 0.0)

    async def wait(self, max_staleness_ms: int, timeout_ms: int) -> float:
        """Wait until nothing is older than that, and give how old it is.

        Raises TooStaleError if it does not become so in time.
        """
        deadline = monotonic() + timeout_ms / 1000
        is_waiting = False
        while True:
            staleness = self.staleness_ms()
            if staleness is not None and staleness <= max_staleness_ms:
                return staleness
            self.waits += not is_waiting
            is_waiting = True
            rest = deadline - monotonic()
            if rest <= 0:
                self.refusals += 1
                raise TooStaleError(_words_for_stale(staleness, max_staleness_ms))
            await self._look(rest)

    async def _look(self, seconds: float) -> None:
        """Join a look, which all who wait share."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_once())
        await asyncio.wait([self._looking], timeout=seconds)

    async def _look_once(self) -> None:
        try:
            row = await self._state.refresh()
            # After the row, so all that made it level is in here.
            vector = await self._threads.run(self._journal.vector)
        except StorageError as error:
            self._state.trouble = str(error)
        else:
            if await self._arrivals.until(lambda: _has(self._region, vector), 1.0):
                self._take(row)
        await asyncio.sleep(_LOOK_SECONDS)

    def _take(self, row: RegionState) -> None:
        self._level_ms |= {
            link.region: link.level_ms for link in row.links if link.level_ms is not None
        }


def _has(region: Region, vector: Mapping[int, int]) -> bool:
    """Tell whether the node's engine is known to have all of this."""
    return all(region.number_of(origin) >= number for origin, number in vector.items())


def _words_for_stale(staleness: float | None, most: int) -> str:
    if staleness is None:
        return "it is not known how old what this node has of other regions is"
    return f"what this node has may be {staleness:.0f} ms old, more than {most} ms"
