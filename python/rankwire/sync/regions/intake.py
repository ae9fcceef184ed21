"""The leader's way into its region's journal: stores what was pulled, in an order that is safe.

A follower trusts the order of the journal: what a batch builds on is before it. An answer of a peer
is in the order of that peer's journal, with pointers in the places of batches that come from
elsewhere. So it is stored up to the first pointer to something that our journal does not have,
and goes on when that has come. Two regions that build on each other do not wait in a circle:
what is before a batch in a journal was committed before it, anywhere.

A second leader, for a moment, does no harm: what this one believes the journal to have, it has, and
storing a batch twice changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from rankwire import _core
from rankwire.storage.region_rows import ForeignBatch, OriginRow
from rankwire.sync.regions.errors import PeerError

if TYPE_CHECKING:
    from rankwire.sync.regions.here import Here
    from rankwire.sync.regions.wire import Origin, PullAnswer, Pulled

# How long the rest of an answer waits for what it builds on, each time.
PATIENCE_SECONDS: Final = 2.0


class Taken(NamedTuple):
    """What became of an answer."""

    is_whole: bool
    """Whether all batches of it are in the journal now."""
    batches: int
    """How many were new."""
    bytes: int
    pointers: Sequence[Pulled]
    """What stands behind the last batch: others should bring it soon."""
    twice: list[str]
    """Names of boards that began there and stand for another board here, some of them."""


class Intake:
    """What all pullers of a leader share. For one leadership."""

    def __init__(self, here: Here, has: Mapping[int, int]) -> None:
        """Begin with what the journal has."""
        self._journal = here.journal
        self._threads = here.threads
        self._region = here.region
        self._arrivals = here.arrivals
        self._has = dict(has)
        self._storing = asyncio.Lock()

    def number_of(self, origin: int) -> int:
        """Give the last batch of an origin that the journal is known to have."""
        # What the engine has is in the journal; that is how batches of our own nodes count.
        return max(self._has.get(origin, 0), self._region.number_of(origin))

    def vector(self) -> dict[int, int]:
        """Give all that the journal is known to have."""
        vector = dict(self._has)
        for origin, number in self._region.vector().items():
            if number > vector.get(origin, 0):
                vector[origin] = number
        return vector

    async def take(self, answer: PullAnswer, patience: float = PATIENCE_SECONDS) -> Taken:
        """Store an answer, as much of it as can be.

        Raises PeerError for one that cannot be right, of which nothing more is stored, and
        StorageError.
        """
        sources = {row.origin: row for row in answer.origins}
        rest, pointers = _split(answer.batches)
        batches = size = 0
        twice: list[str] = []
        while rest:
            ready = _before_pointer(rest, self.number_of)
            if ready:
                stored = await self._store(sources, rest[:ready], twice)
                batches += len(stored)
                size += sum(len(batch.batch) for batch in stored)
                rest = rest[ready:]
            elif not await self._await(rest[0], patience):
                return Taken(False, batches, size, pointers, twice)
        await self._end(answer)
        return Taken(True, batches, size, pointers, twice)

    async def _store(
        self, sources: Mapping[int, Origin], rows: Sequence[Pulled], twice: list[str]
    ) -> list[ForeignBatch]:
        async with self._storing:
            batches = self._new(rows)
            if not batches:
                return []
            origins = {batch.origin for batch in batches}
            if not origins <= sources.keys():
                raise PeerError("it does not say where a batch is from")
            # That an origin has ended is told when all of it is there.
            used = [sources[origin] for origin in origins]
            told = [OriginRow(row.origin, row.region, row.node, None) for row in used]
            try:
                twice += await self._threads.run(self._journal.insert, told, batches)
            except _core.CorruptError as error:
                raise PeerError(f"what it sent is damaged: {error.args[0]}") from error
            self._has |= {batch.origin: batch.number for batch in batches}
        for batch in batches:
            self._region.spread(batch.origin, batch.number, batch.batch)
        self._arrivals.notify()
        return batches

    async def _end(self, answer: PullAnswer) -> None:
        """Note which origins have ended, of those whose batches are all there."""
        ended = [
            OriginRow(row.origin, row.region, row.node, row.last)
            for row in answer.origins
            if row.last is not None and row.last <= self.number_of(row.origin)
        ]
        if ended:
            await self._threads.run(self._journal.insert, ended, [])

    def _new(self, rows: Sequence[Pulled]) -> list[ForeignBatch]:
        """Leave out what the journal has, and pointers. What is left goes on without a gap."""
        numbers: dict[int, int] = {}
        new = []
        for row in rows:
            last = numbers.get(row.origin) or self.number_of(row.origin)
            if not row.batch or row.number <= last:
                continue
            if row.number != last + 1:
                raise PeerError(f"it left out batch {last + 1} of {row.origin}")
            numbers[row.origin] = row.number
            new.append(ForeignBatch(row.origin, row.number, row.batch, row.answers))
        return new

    async def _await(self, pointer: Pulled, patience: float) -> bool:
        """Wait for what a pointer stands for, which another puller or an own node brings."""
        origin, number = pointer.origin, pointer.number
        if await self._arrivals.until(lambda: self.number_of(origin) >= number, patience):
            return True
        # An engine that is behind says nothing about the journal.
        found = await self._threads.run(self._journal.number_of, origin)
        self._has[origin] = max(found, self._has.get(origin, 0))
        return found >= number


def _split(rows: Sequence[Pulled]) -> tuple[Sequence[Pulled], Sequence[Pulled]]:
    """Cut off the pointers at the end, which nothing here builds on."""
    end = len(rows)
    while end and not rows[end - 1].batch:
        end -= 1
    return rows[:end], rows[end:]


def _before_pointer(rows: Sequence[Pulled], number_of: Callable[[int], int]) -> int:
    """Count the rows before the first pointer to what is not there yet."""
    for place, row in enumerate(rows):
        if not row.batch and row.number > number_of(row.origin):
            return place
    return len(rows)
