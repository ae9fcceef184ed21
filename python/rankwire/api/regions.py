"""What operators ask and tell a region: its state, a comparison, another primary, out or in.

Answers come from `rankwire.sync.regions`, which does the work. Without regions all of it is refused
as `regions-off`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from rankwire.api.answers import JSON, JSON_OK, NO_CONTENT, Answer, start
from rankwire.api.problems import BUSY, INVALID, REGIONS_OFF, ProblemError
from rankwire.model_regions import Failover, Out, Verify, Verifying, is_reason
from rankwire.sync.regions.verify import AlreadyRunningError

if TYPE_CHECKING:
    from rankwire.sync.regions.regions import Regions
    from rankwire.sync.regions.report import Report
    from rankwire.sync.regions.verify import Verifier

# A comparison that takes longer goes on while the answer tells how far it is.
_VERIFY_SECONDS: Final = 20.0


class Operators:
    """Answers operators."""

    def __init__(self, regions: Regions | None, origin: int) -> None:
        """Answer for this region, if the server is in one; `origin` is this run of the node."""
        self._known = regions
        self._node = f"{origin:x}"
        self._comparison: asyncio.Task[Report] | None = None

    def status(self) -> Answer:
        """Tell how this region and its links are."""
        return JSON_OK, msgspec.json.encode(self._regions.status())

    async def verify(self, wanted: Verify) -> Answer:
        """Compare with the other regions, and wait some time for the outcome."""
        verifier = self._verifier
        work = verifier.run(wanted.boards, repair=wanted.repair, source=wanted.source or "")
        task = self._comparison = asyncio.create_task(work)
        await asyncio.wait([task], timeout=_VERIFY_SECONDS)
        if not task.done():
            return start(202, JSON), self._verifying(verifier)
        try:
            task.result()
        except AlreadyRunningError as error:
            raise ProblemError(BUSY, str(error)) from error
        except ValueError as error:
            raise ProblemError(INVALID, str(error), "source") from error
        return JSON_OK, self._verifying(verifier)

    def verifying(self) -> Answer:
        """Tell of the comparison that is under way, and of the last one."""
        return JSON_OK, self._verifying(self._verifier)

    async def failover(self, wanted: Failover) -> Answer:
        """Make this region the primary."""
        return JSON_OK, msgspec.json.encode(await self._regions.failover(force=wanted.force))

    async def failback(self) -> Answer:
        """Make the chosen region the primary again."""
        return JSON_OK, msgspec.json.encode(await self._regions.failback())

    async def take_out(self, wanted: Out) -> Answer:
        """Have the region's nodes say that no traffic should come."""
        if not is_reason(wanted.reason):
            raise ProblemError(INVALID, "a reason is a line of printable text", "reason")
        await self._regions.set_out(wanted.reason)
        return NO_CONTENT

    async def take_in(self) -> Answer:
        """Take that back."""
        await self._regions.set_out(None)
        return NO_CONTENT

    @property
    def _regions(self) -> Regions:
        if self._known is None:
            raise ProblemError(REGIONS_OFF, "this server is in no region")
        return self._known

    @property
    def _verifier(self) -> Verifier:
        if (verifier := self._regions.verifier) is None:
            raise ProblemError(REGIONS_OFF, "this node compares nothing")
        return verifier

    def _verifying(self, verifier: Verifier) -> bytes:
        return msgspec.json.encode(Verifying(verifier.progress, verifier.last, self._node))
