"""The one node of a region that pulls, and what it does for the region twice a second.

Which node leads is an advisory lock of the region's database. A leader pulls every peer, extends
the lease of a region that is primary, and writes down what the other nodes are to know of the
peers. What of it fails is tried again; a node that loses the lock stops pulling.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from rankwire.storage import StorageError
from rankwire.sync.regions.intake import Intake
from rankwire.sync.regions.puller import Puller

if TYPE_CHECKING:
    from rankwire.storage.region_rows import RegionState
    from rankwire.sync.regions.here import Here
    from rankwire.sync.regions.peers import Peer
    from rankwire.sync.regions.puller import Link

_TURN_SECONDS: Final = 0.5
# Of fewer none is a majority without all of them.
_FEWEST_FOR_LEASES: Final = 3

_log = structlog.get_logger(__name__)


class Besides(Protocol):
    """What else is replicated, by a task for each peer."""

    @property
    def troubles(self) -> Mapping[str, str]:
        """Of each peer that has any, a sentence."""
        ...

    async def run(self, peer: Peer) -> None:
        """Replicate for ever."""
        ...


class Leader:
    """A node's part in leading: it may or may not be the one."""

    def __init__(self, here: Here, links: Mapping[str, Link]) -> None:
        """Prepare; `run` takes part."""
        self._here = here
        self._journal = here.journal
        self._threads = here.threads
        self._urgent = here.urgent
        self._state = here.state
        self._links = links
        self._tasks: list[asyncio.Task[None]] = []
        self._intake: Intake | None = None
        self.beside: Besides | None = None
        self.stable: dict[int, int] = {}
        """What all regions are known to have, as this leader knows."""
        self.trouble: str | None = None

    @property
    def leads(self) -> bool:
        """Whether this node pulls."""
        return self._intake is not None

    async def run(self) -> None:
        """Lead whenever it can be, until cancelled."""
        try:
            while True:
                try:
                    await self._turn()
                except StorageError as error:
                    await self._suffer(str(error))
                await asyncio.sleep(_TURN_SECONDS)
        finally:
            await self._end()

    async def _turn(self) -> None:
        if not await self._urgent.run(self._journal.lead):
            await self._end()
        elif self._state.clock.is_known:
            intake = self._intake or await self._begin()
            await self._work(intake)
        self.trouble = None

    async def _begin(self) -> Intake:
        row = await self._state.refresh()
        self.stable = dict(row.stable)
        if {link.region for link in row.links} != self._links.keys():
            await self._forget(row)
        has = await self._threads.run(self._journal.vector)
        intake = Intake(self._here, has)
        work: list[Coroutine[Any, Any, None]] = []
        for link in self._links.values():
            # A new leader knows nothing of what the last one heard.
            link.heard = link.agreed = None
            link.was_level = False
            work.append(Puller(self._here, intake, link, self._direct).run())
            if self.beside is not None:
                work.append(self.beside.run(link.peer))
        self._tasks = [asyncio.create_task(each) for each in work]
        self._intake = intake
        _log.info("leads the region", pulls=list(self._links))
        return intake

    async def _forget(self, row: RegionState) -> None:
        """Other regions than before: what these all have is not known, and how many there are.

        A lease without end was for fewer of them.
        """
        self.stable = {}
        if row.lease_until_ms == math.inf and len(self._links) + 1 >= _FEWEST_FOR_LEASES:
            await self._urgent.run(self._journal.extend_lease, row.epoch, row.clock_ms)
            await self._state.refresh()

    async def _end(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._intake is not None:
            self._intake = None
            _log.info("leads no more")

    async def _work(self, intake: Intake) -> None:
        await self._begin_first()
        await self._hold_lease()
        vectors = [link.known for link in self._links.values()]
        # While one is unknown, what was stable is so still: journals only grow.
        if (found := stable_of(intake.vector(), vectors)) is not None:
            self.stable = found
        rows = [link.row() for link in self._links.values()]
        await self._urgent.run(self._journal.save, self.stable, rows)

    async def _begin_first(self) -> None:
        """Become the first primary, if the settings say so and every region agrees.

        Every one has to say that it knows of none, and to be asked to the end: one that is away may
        have boards already whose names would be taken again.
        """
        settings, state = self._here.settings, self._state
        if state.epoch or settings.chosen_primary != settings.name:
            return
        now = state.clock.now()
        if all(link.is_blank(now) for link in self._links.values()):
            if await self._urgent.run(self._journal.begin):
                _log.info("this region is the first primary")
            await state.refresh()

    async def _hold_lease(self) -> None:
        row = self._state.row
        if row is None or not row.is_opened:
            return
        agreed = [link.agreed for link in self._links.values()]
        seconds = self._here.settings.lease_seconds
        end = lease_end(agreed, seconds, monotonic(), runs=self._state.is_primary)
        if end is None:
            return
        until = math.inf if math.isinf(end) else self._state.clock.not_after(end)
        # One without end was for fewer regions, or for one alone: with a majority it is not needed.
        if until <= row.lease_until_ms < math.inf or until == row.lease_until_ms:
            return
        limit = None if math.isinf(until) else until
        await self._urgent.run(self._journal.extend_lease, row.epoch, limit)
        # A region that could not write can do so now.
        if not self._state.is_primary:
            await self._state.refresh()

    def _direct(self) -> list[str]:
        return [name for name, link in self._links.items() if link.is_heard]

    async def _suffer(self, reason: str) -> None:
        if self.trouble != reason:
            _log.warning("cannot lead", reason=reason)
        self.trouble = reason
        await self._end()


def lease_end(
    agreed: Sequence[float | None], lease_seconds: float, now: float, *, runs: bool
) -> float | None:
    """When the lease of a primary ends, by `time.monotonic`; None if it gets no longer.

    `agreed` has for each other region when the last request was sent that it answered without
    knowing a newer primary. A lease counts from the oldest of the newest majority, this region
    included: whoever has promised to a newer primary since did so later, and that one waits for as
    long as a lease lasts. Two regions have no majority to lose: a lease that runs goes on, and one
    that has ended, while the region was stopped, begins again when the other one has answered. One
    region alone needs none: infinity.
    """
    if not agreed:
        return math.inf
    if len(agreed) + 1 < _FEWEST_FOR_LEASES:
        return now + lease_seconds if runs or agreed[0] is not None else None
    others = (len(agreed) + 1) // 2
    newest = sorted((sent for sent in agreed if sent is not None), reverse=True)
    return newest[others - 1] + lease_seconds if len(newest) >= others else None


def stable_of(
    own: Mapping[int, int], others: Sequence[Mapping[int, int] | None]
) -> dict[int, int] | None:
    """Give what all regions have; None while it is not known of one."""
    known = [vector for vector in others if vector is not None]
    if len(known) < len(others):
        return None
    stable = {
        origin: min([number, *(vector.get(origin, 0) for vector in known)])
        for origin, number in own.items()
    }
    return {origin: number for origin, number in stable.items() if number}
