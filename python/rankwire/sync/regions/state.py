"""What a node believes of the primary, kept fresh: every second, and at once when it was wrong.

The truth is a row in the region's database, and every write that needs primacy is checked there.
So what is believed here decides only who is refused early and whom requests are forwarded to.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from rankwire.storage import StorageError
from rankwire.sync.regions.wire import Chosen

if TYPE_CHECKING:
    from rankwire import _core
    from rankwire.settings_regions import Regions as Settings
    from rankwire.storage.region_journal import RegionJournal
    from rankwire.storage.region_rows import RegionState
    from rankwire.sync.regions.threads import Threads

SETTLED_SECONDS: Final = 5.0
"""After so long what all journals have is taken to be in all engines that answer sessions."""

LEASE_MARGIN_SECONDS: Final = 1.0
"""Whoever waits for the end of a lease waits so much longer, for what was sent just before it."""
MOST_AHEAD: Final = 2**32
"""An epoch that is further ahead than this comes from no failover: nobody has had so many."""

# A region that has never had a primary has nothing to compare with. There is room for many such
# mistakes below the largest number that the database has.
_LARGEST_FIRST: Final = 2**53
_REFRESH_SECONDS: Final = 1.0
# Two machines' clocks may run apart by so much of the time that has passed.
_RUNS_APART: Final = 0.001

_log = structlog.get_logger(__name__)


def chosen(settings: Settings) -> Chosen:
    """Give what has to be the same in all regions."""
    return Chosen(settings.chosen_primary, settings.all_names, settings.mode)


class Fenced(Protocol):
    """What is needed of the storage."""

    epoch: int
    """Which epoch this node writes in."""


class Clock:
    """The database's clock, as far as it is known between two looks at it."""

    def __init__(self) -> None:
        self._ahead_ms: float | None = None
        self._read = 0.0
        self._error_ms = 0.0

    @property
    def error_ms(self) -> float:
        """How far off it may be."""
        return self._error_at(monotonic())

    @property
    def is_known(self) -> bool:
        """Whether it was ever read."""
        return self._ahead_ms is not None

    def set(self, ms: float, asked: float, answered: float) -> None:
        """Take a reading, made between two times of `time.monotonic`, unless the last is better.

        One that was long on its way says little: the database may have read its clock at any time
        between.
        """
        error_ms = (answered - asked) * 500
        if self.is_known and error_ms > self._error_at(answered):
            return
        self._error_ms, self._read = error_ms, answered
        self._ahead_ms = ms - (asked + answered) * 500

    def at(self, moment: float) -> float:
        """Give the database's time at a time of `time.monotonic`, in ms.

        Raises RuntimeError while it is not known.
        """
        if self._ahead_ms is None:
            raise RuntimeError("the database's clock was never read")
        return moment * 1000 + self._ahead_ms

    def now(self) -> float:
        """Give the database's time now, in milliseconds since 1970; see `at`."""
        return self.at(monotonic())

    def not_after(self, moment: float) -> float:
        """Give a time that the database had passed at that moment, for sure; see `at`."""
        return self.at(moment) - self._error_at(moment)

    def _error_at(self, moment: float) -> float:
        return self._error_ms + max(moment - self._read, 0.0) * 1000 * _RUNS_APART


class Settled:
    """What all regions have had for long enough."""

    def __init__(self) -> None:
        self._found: deque[tuple[float, Mapping[int, int]]] = deque()
        self._vector: Mapping[int, int] = {}

    def note(self, now: float, stable: Mapping[int, int]) -> None:
        """Take what was found out now, by `time.monotonic`."""
        self._found.append((now, stable))
        while self._found and self._found[0][0] <= now - SETTLED_SECONDS:
            self._vector = self._found.popleft()[1]

    def vector(self) -> Mapping[int, int]:
        """Give what counts as had by all."""
        return self._vector


class State:
    """A node's view of its region's row."""

    def __init__(
        self, settings: Settings, journal: RegionJournal, threads: Threads, storage: Fenced
    ) -> None:
        """Prepare; `run` keeps it fresh. Made on the loop."""
        self._settings = settings
        self._journal = journal
        self._threads = threads
        self._storage = storage
        self._loop = asyncio.get_running_loop()
        self._refreshing = asyncio.Lock()
        self._is_asked = asyncio.Event()
        self.engine: _core.Engine | None = None
        """Whose writes are refused early, once it is set."""
        self.clock = Clock()
        self.row: RegionState | None = None
        """As it was read last; None before that."""
        self.settled = Settled()
        self.trouble: str | None = None
        """Why it cannot be read."""

    @property
    def epoch(self) -> int:
        """Of the primary that is known; 0 for none."""
        return self.row.epoch if self.row else 0

    @property
    def primary(self) -> str:
        """The primary region; empty while none is known."""
        return self.row.primary if self.row else ""

    @property
    def ballot(self) -> tuple[int, str]:
        """The epoch and its primary: what is compared to find the newer one of two."""
        return self.row.ballot if self.row else (0, "")

    @property
    def is_primary(self) -> bool:
        """Whether this region may do what only the primary may, as far as is known."""
        row = self.row
        return row is not None and row.is_opened and row.lease_until_ms > self.clock.now()

    async def run(self) -> None:
        """Read the row again and again."""
        while True:
            try:
                await self.refresh()
            except StorageError as error:
                self._suffer(str(error))
            await self._pause()

    def ask(self) -> None:
        """Have it read again at once. For any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._is_asked.set)

    def look(self) -> None:
        """Let the engine refuse what is not this region's, right now. Blocks; for threads.

        What is known here follows.
        """
        try:
            self._tell_engine(self._journal.state())
        except StorageError as error:
            _log.warning("the region's row cannot be read", reason=str(error))
        self.ask()

    async def refresh(self) -> RegionState:
        """Read the row now, and act on it. Raises StorageError."""
        # One after the other, so that no older row is taken after a newer one.
        async with self._refreshing:
            most = self._settings.lease_seconds + LEASE_MARGIN_SECONDS
            asked = monotonic()
            row = await self._threads.run(self._journal.state)
            if row.clock_ms + most * 1000 < row.lease_until_ms < math.inf:
                _log.warning("the database's clock was set back: the lease ends")
                await self._threads.run(self._journal.end_lease, most)
                row = await self._threads.run(self._journal.state)
            self.clock.set(row.clock_ms, asked, monotonic())
            self._take(row)
        if self.trouble is not None:
            _log.info("the region's row is read again", after=self.trouble)
            self.trouble = None
        return row

    def doubt(self, epoch: int, primary: str) -> str | None:
        """Tell why what another region says of the primary is not believed; None if it may be true.

        Whoever has the regions' secret can say anything. What cannot be true is not taken, as an
        epoch never becomes smaller again.
        """
        if not self._is_newer(epoch, primary):
            return None
        names = self._settings.all_names
        if primary not in names:
            return f"it tells of a primary {primary!r}, and the regions here are {', '.join(names)}"
        if epoch > (self.epoch + MOST_AHEAD if self.epoch else _LARGEST_FIRST):
            return f"it tells of epoch {epoch}, which is too far beyond {self.epoch} to be true"
        return None

    async def adopt(self, epoch: int, primary: str) -> None:
        """Take over a newer primary that is not doubted. Raises StorageError."""
        if not self._is_newer(epoch, primary) or self.doubt(epoch, primary):
            return
        if await self._threads.run(self._journal.promise, epoch, primary):
            _log.warning("another region is primary", primary=primary, epoch=epoch)
        await self.refresh()

    def _is_newer(self, epoch: int, primary: str) -> bool:
        # Whoever tells of epoch 0 knows of no primary.
        return epoch > 0 and (epoch, primary) > self.ballot

    async def _pause(self) -> None:
        # Nodes of a region do not ask all at once.
        seconds = _REFRESH_SECONDS * random.uniform(0.9, 1.0)  # noqa: S311 - no secret
        try:
            async with asyncio.timeout(seconds):
                await self._is_asked.wait()
        except TimeoutError:
            return
        self._is_asked.clear()

    def _take(self, row: RegionState) -> None:
        before, self.row = self.row, row
        self._storage.epoch = row.epoch
        self._tell_engine(row)
        self.settled.note(monotonic(), row.stable)
        if before is None or (before.ballot, before.is_open) != (row.ballot, row.is_open):
            _log.info("primary", region=row.primary, epoch=row.epoch, is_open=row.is_open)

    def _tell_engine(self, row: RegionState) -> None:
        if self.engine is not None:
            takes_writes = row.is_primary or self._settings.mode == "active-active"
            self.engine.set_primary(row.primary or None, takes_writes, row.is_primary)

    def _suffer(self, reason: str) -> None:
        if self.trouble != reason:
            _log.warning("the region's row cannot be read", reason=reason)
        self.trouble = reason
