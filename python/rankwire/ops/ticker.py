"""A timer of the event loop that calls again and again, and tells how late it was.

What it calls must be short and not raise: it runs on the loop like everything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter


class Ticker:
    """Calls on the event loop that it was made on."""

    def __init__(self, seconds: float, work: Callable[[float], object]) -> None:
        """Prepare to call `work` every so many seconds with how late the call is, in seconds."""
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._work = work
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin; the first call comes after one interval."""
        self._due = perf_counter() + self._seconds
        self._timer = self._loop.call_later(self._seconds, self._tick)

    def stop(self) -> None:
        """Call no more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        # A timer of uvloop counts milliseconds and may be early by one.
        late = max(0.0, perf_counter() - self._due)
        self.start()
        self._work(late)
