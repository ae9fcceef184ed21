"""Hit rates of windows of time, from counters that only grow.

A window is long enough when its time is over and it has seen enough questions that chance alone
does not move the rate by what counts: between two windows of 5,000 the difference has a standard
error of at most 0.01, a fifth of the tolerance. A window in which the cache still filled up says
nothing about it yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from rankwire.ops.findings import Known

LEAST_QUESTIONS: Final = 5_000
"""Fewer do not make a window."""

# A cache that grows by more entries than this part of the questions is still filling up: what it
# had not been asked for before lowers the rate by more than that.
_SETTLED_PART: Final = 0.02


class Count(msgspec.Struct, frozen=True):
    """What a cache has counted up to now, and how full it is."""

    hits: int
    misses: int
    entries: int


class Tally(msgspec.Struct, frozen=True):
    """What happened within a window."""

    hits: int
    misses: int
    seconds: float
    settled: bool
    """Whether the cache had filled up before."""

    @property
    def rate(self) -> float:
        """Part of the questions that the cache could answer."""
        return self.hits / (self.hits + self.misses)

    @property
    def per_second(self) -> float:
        """Questions each second."""
        return (self.hits + self.misses) / self.seconds


class Meter:
    """Cuts the life of a cache into windows."""

    def __init__(self, read: Callable[[], Count], seconds: float, now: float) -> None:
        """Read counters for windows of at least so many seconds; the first begins now."""
        self._read = read
        self._seconds = seconds
        self._hits = self._misses = 0
        self.restart(now)

    def restart(self, now: float) -> None:
        """Begin a window; what was measured before counts no more."""
        self._began = now
        self._first = self._read()
        self._hits = self._misses = 0

    @property
    def rate(self) -> Known:
        """The hit rate of all settled windows since the last restart; None if there is none yet."""
        total = self._hits + self._misses
        return self._hits / total if total else None

    def close(self, now: float) -> Tally | None:
        """End the window if it is long enough, and begin the next; None if it goes on."""
        last, first = self._read(), self._first
        hits, misses = last.hits - first.hits, last.misses - first.misses
        if now - self._began < self._seconds or hits + misses < LEAST_QUESTIONS:
            return None
        settled = last.entries - first.entries <= _SETTLED_PART * (hits + misses)
        tally = Tally(hits, misses, now - self._began, settled)
        self._began, self._first = now, last
        if settled:
            self._hits += hits
            self._misses += misses
        return tally
