"""How busy the database is, for all of its clients, how busy it was at most, and for what reads.

A load is how many sessions of a server work at a time, in the mean over a window.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from rankwire.storage import StorageError
from rankwire.storage.busy import active_seconds, profile_read_seconds

if TYPE_CHECKING:
    from rankwire.storage.pool import Database

_PATIENCE_SECONDS: Final = 2.0


class KnownLoad(msgspec.Struct, frozen=True):
    """What was measured."""

    most: list[float] | None
    """Of each server, the primary first, in its most loaded window; None if none is known."""
    mean: float | None
    """Of all servers together, in the last window; None if that was not measured."""
    seen_seconds: float
    """How much time `most` is about."""
    servers: int
    read_seconds: float | None
    """What a server works for one read of profiles, in the mean; None if that is not known."""


class Load:
    """Of one database; asked once a window."""

    def __init__(self, database: Database, seconds: float) -> None:
        """Measure over windows of so many seconds."""
        self._database = database
        self._seconds = seconds
        self._last: tuple[float, list[float]] | None = None
        self._read_seconds: float | None = None
        self.restart()

    @property
    def known(self) -> KnownLoad:
        """Tell it."""
        servers = 1 if self._database.replica is None else 2
        return KnownLoad(self._most, self._mean, self._seen_seconds, servers, self._read_seconds)

    def restart(self) -> None:
        """Forget the most there was: something has changed."""
        self._most: list[float] | None = None
        self._mean: float | None = None
        self._seen_seconds = 0.0

    async def look(self, now: float) -> None:
        """Measure, if it is time to. What cannot be asked leaves a gap."""
        last = self._last
        if last is not None and now - last[0] < self._seconds:
            return
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                active = await active_seconds(self._database)
                self._read_seconds = await profile_read_seconds(self._database)
        except (StorageError, TimeoutError):
            self._last, self._mean, self._read_seconds = None, None, None
            return
        self._last = now, active
        if last is None or len(active) != len(last[1]):
            return
        seconds = now - last[0]
        loads = [(b - a) / seconds for a, b in zip(last[1], active, strict=True)]
        # The statistics were reset in between.
        if min(loads) >= 0.0:
            self._take(loads, seconds)

    def _take(self, loads: list[float], seconds: float) -> None:
        self._mean = sum(loads)
        self._most = [*map(max, loads, self._most or loads)]
        self._seen_seconds += seconds
