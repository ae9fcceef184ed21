"""What this node answers the other regions: pulls, and whether a batch has come.

A pull waits until this node's engine has something new for who asks, and is then answered from the
database, so an engine that is behind costs time and never truth. Promises: as many requests wait as
are allowed and no more; what reads the database does so on a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from rankwire.sync.regions.errors import NotAPeerError, TooManyError
from rankwire.sync.regions.state import chosen
from rankwire.sync.regions.wire import (
    MOST_WAIT_MS,
    AwaitAnswer,
    AwaitRequest,
    Origin,
    PullAnswer,
    Pulled,
    PullRequest,
    decode,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rankwire.storage.region_rows import Served
    from rankwire.sync.regions.here import Here

_log = structlog.get_logger(__name__)

MOST_PULLS: Final = 32
"""Pulls that one node answers at once: two for each region at most, while leaders change."""
MOST_AWAITS: Final = 512
"""Each node of each region asks one at a time."""


class Serving:
    """The side of a node that other regions ask."""

    def __init__(self, here: Here) -> None:
        """Answer for this node."""
        self._name = here.settings.name
        self._peers = here.peers
        self._journal = here.journal
        self._threads = here.threads
        self._region = here.region
        self._state = here.state
        self._arrivals = here.arrivals
        self._regions_of: dict[int, str] = {}
        self._waiting = {"pull": 0, "await": 0}
        self._doubts: dict[str, str | None] = {}
        self._chosen = chosen(here.settings)
        self.refused = 0
        """Requests beyond the limits."""
        self.batches = dict.fromkeys(self._peers, 0)
        """Given to each peer."""
        self.bytes = dict.fromkeys(self._peers, 0)

    async def pull(self, body: bytes) -> bytes:
        """Answer a `PullRequest`. Raises ValueError, NotAPeerError, TooManyError, StorageError."""
        request = await asyncio.to_thread(decode, body, PullRequest)
        if request.region not in self._peers:
            raise NotAPeerError(f"region {request.region!r} is no peer of region {self._name!r}")
        with self._room("pull", MOST_PULLS):
            await self._believe(request)
            await self._learn_origins()
            direct = frozenset(request.direct)
            began = monotonic()
            await self._arrivals.until(
                lambda: self._has_news(request.vector, direct),
                min(request.wait_ms, MOST_WAIT_MS) / 1000,
            )
            waited_ms = (monotonic() - began) * 1000
            served = await self._threads.run(
                self._journal.serve, request.vector, request.direct, request.open
            )
            self.batches[request.region] += sum(bool(row.batch) for row in served.batches)
            self.bytes[request.region] += sum(len(row.batch) for row in served.batches)
            return await asyncio.to_thread(self._encode, served, waited_ms)

    async def wait(self, body: bytes) -> bytes:
        """Answer an `AwaitRequest`. Raises ValueError, TooManyError, StorageError."""
        request = decode(body, AwaitRequest)
        wanted, has = request.wanted, self._region.number_of
        with self._room("await", MOST_AWAITS):
            seconds = min(request.wait_ms, MOST_WAIT_MS) / 1000
            # What the engine has is in the journal. It may be behind, so the journal is asked too.
            if await self._arrivals.until(
                lambda: any(has(origin) >= number for origin, number in wanted.items()), seconds
            ):
                found = {origin: has(origin) for origin in wanted}
            else:
                vector = await self._threads.run(self._journal.vector)
                found = {origin: vector.get(origin, 0) for origin in wanted}
            return encode(AwaitAnswer(found, self._name))

    async def _believe(self, request: PullRequest) -> None:
        """Take over a newer primary. One that cannot be is logged once; the rest is answered."""
        doubt = self._state.doubt(request.epoch, request.primary)
        if doubt and doubt != self._doubts.get(request.region):
            _log.warning("a primary is not believed", region=request.region, reason=doubt)
        self._doubts[request.region] = doubt
        await self._state.adopt(request.epoch, request.primary)

    async def _learn_origins(self) -> None:
        """Know which regions the engine's origins are of, so that only news for who asks wake."""
        if unknown := self._region.vector().keys() - self._regions_of.keys():
            found = await self._threads.run(self._journal.origins)
            # Those that the database has forgotten have ended long ago.
            self._regions_of |= dict.fromkeys(unknown, "") | found

    def _has_news(self, vector: Mapping[int, int], direct: frozenset[str]) -> bool:
        return any(
            number > vector.get(origin, 0) and self._regions_of.get(origin, "") not in direct
            for origin, number in self._region.vector().items()
        )

    def _encode(self, served: Served, waited_ms: float) -> bytes:
        rows = [Pulled(row.origin, row.number, row.batch, row.answers) for row in served.batches]
        origins = [Origin(row.origin, row.region, row.node, row.last) for row in served.origins]
        return encode(
            PullAnswer(
                region=self._name,
                cluster=self._region.cluster,
                epoch=served.epoch,
                primary=served.primary,
                clock_ms=served.clock_ms,
                waited_ms=waited_ms,
                origins=origins,
                batches=rows,
                lacks=served.lacks,
                gone=served.gone,
                is_all=served.is_all,
                more=served.more,
                chosen=self._chosen,
            )
        )

    @contextmanager
    def _room(self, kind: str, most: int) -> Iterator[None]:
        if self._waiting[kind] >= most:
            self.refused += 1
            raise TooManyError(f"{most} requests of other regions wait here already; ask again")
        self._waiting[kind] += 1
        try:
            yield
        finally:
            self._waiting[kind] -= 1
