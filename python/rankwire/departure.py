"""A node's way out: how long it goes on serving after it was told to stop, and what it says then.

Those who send traffic to a node learn only after a while that it is about to end, and until then
somebody comes. So a node that is told to stop leaves first: for `node.leave_seconds` it takes
everything on as before, but says that it is not ready. Being told again ends that at once. Nothing
here ends anything: what happens after is the server's.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final

import structlog

_WHY: Final = "leaving: the node was told to stop"

_log = structlog.get_logger(__name__)


class Departure:
    """Whether one node is to stop, and how far it is with it. For one event loop."""

    def __init__(self, seconds: float = 0.0) -> None:
        """Stay for now, and for so many seconds when told to stop."""
        self.asked = asyncio.Event()
        """Set when the node was told to stop, also while it starts."""
        self._seconds = seconds
        self._again = asyncio.Event()
        self._began: float | None = None

    def ask(self) -> None:
        """Take a signal: the first one is to stop, the next one to do so at once."""
        (self._again if self.asked.is_set() else self.asked).set()

    @property
    def reason(self) -> str | None:
        """Why nobody should be sent here any more; None as long as the node stays."""
        return _WHY if self.asked.is_set() else None

    @property
    def share(self) -> float:
        """How much of the time to leave has passed, from 0 to 1; 0 before it begins."""
        if self._began is None:
            return 0.0
        return min(1.0, (monotonic() - self._began) / self._seconds)

    async def wait(self, *failures: asyncio.Event) -> None:
        """Return when the node is to end: its time to leave is over, or anything has failed."""
        await _first(self.asked, *failures)
        if self._seconds == 0 or any(failure.is_set() for failure in failures):
            return
        self._began = monotonic()
        _log.info("leaving", seconds=self._seconds)
        await _first(self._again, *failures, seconds=self._seconds)


async def _first(*events: asyncio.Event, seconds: float | None = None) -> None:
    """Wait for any of these, and no longer than so many seconds."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
