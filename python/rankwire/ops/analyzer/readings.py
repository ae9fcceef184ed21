"""What was measured: readings of a source, and the window between two of them.

A source is asked every few seconds and answers with a `Reading` or fails. Totals are kept as they
were read; rates are only ever made from two readings of one life of the source: when it was
restarted or its statistics were reset in between, the window starts after that. Whatever cannot be
known is None, never zero.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from rankwire.settings import MOST_INTERVALS
from rankwire.times import BUCKETS

if TYPE_CHECKING:
    from rankwire.ops.findings import Known
    from rankwire.times import Times

# Rows that are needed of every reading of a window, the others only of the newest: each reading is
# once the first of a window, with which the newest is compared.
_KEPT_ROWS: Final = ("statements", "tables", "replication")
# Columns of statements that are added up over a window.
_ADDED: Final = ("calls", "seconds", "rows")


class Buckets(msgspec.Struct, frozen=True):
    """A histogram of times since the start of a life: how many took up to each bound."""

    bounds: Sequence[float]
    """In seconds, ascending; one more bucket follows for everything above."""
    counts: Sequence[int]
    """Not cumulative; one more than bounds."""
    total: float
    """Seconds, all together."""

    @classmethod
    def of(cls, times: Times) -> Buckets:
        """Take what was measured until now."""
        return cls(BUCKETS, tuple(times.counts), times.total)


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a source said at one moment."""

    at: float
    """Seconds since 1970."""
    life: str = ""
    """Changes whenever totals start anew."""
    gauges: Mapping[str, float] = {}
    """What is now."""
    totals: Mapping[str, float] = {}
    """What has been counted since the life began."""
    times: Mapping[str, Buckets] = {}
    rows: Mapping[str, Sequence[Mapping[str, Any]]] = {}
    """Tables, like statements or indexes, with the columns that the source documents."""
    note: str = ""
    """What the source could not tell this time, and why."""
    trouble: str = ""
    """Why a part of the source could not be asked; it counts as unavailable, the rest is told."""
    unknown: Sequence[str] = ()
    """How the names of figures begin of which this reading can tell nothing."""


class UnavailableError(Exception):
    """A source could not be asked; the text says why."""


class AbsentError(UnavailableError):
    """The node has no such part; the text says so."""


class Source(Protocol):
    """Something that can be asked how it is."""

    name: str
    """`api`, `database`, `cache`, `websocket`, `host` or `regions`."""

    async def read(self) -> Reading:
        """Ask it, without blocking the event loop. Raises UnavailableError."""
        ...

    async def close(self) -> None:
        """Let go of what it uses. Idempotent."""
        ...


class Window:
    """Two readings of one life, with time between them."""

    def __init__(self, before: Reading, after: Reading, between: Sequence[Reading] = ()) -> None:
        """Take them in their order, and what was read of the same life between them."""
        self.before = before
        self.after = after
        self.readings = (before, *between, after)

    @property
    def seconds(self) -> float:
        """Time between the two."""
        return self.after.at - self.before.at

    @property
    def unknown(self) -> set[str]:
        """How the names of figures begin that a reading could tell nothing of."""
        return {prefix for reading in self.readings for prefix in reading.unknown}

    @cached_property
    def statements(self) -> list[dict[str, Any]] | None:
        """What each statement did within the window, those with the most time first.

        None unless it is known of all of the window.
        """
        found: dict[int, dict[str, Any]] = {}
        for reading in islice(self.readings, 1, None):
            if (rows := reading.rows.get("statements")) is None:
                return None
            for row in rows:
                old = found.setdefault(row["id"], {**row, **dict.fromkeys(_ADDED, 0.0)})
                for name in _ADDED:
                    old[name] += row[name]
        return sorted(found.values(), key=lambda row: -row["seconds"])

    def gauge(self, name: str) -> Known:
        """Tell what is at the end of the window."""
        return self.after.gauges.get(name)

    def most(self, name: str) -> Known:
        """Tell the largest that was read of a gauge."""
        return max(self._gauges(name), default=None)

    def average(self, name: str) -> Known:
        """Give the mean of what was read of a gauge."""
        found = self._gauges(name)
        return sum(found) / len(found) if found else None

    def delta(self, name: str) -> Known:
        """Tell how much a total grew."""
        before, after = self.before.totals.get(name), self.after.totals.get(name)
        return None if before is None or after is None else after - before

    def rate(self, name: str) -> Known:
        """Tell how much a total grew each second."""
        delta = self.delta(name)
        return None if delta is None else delta / self.seconds

    def count(self, name: str) -> Known:
        """Count the times that were measured within the window."""
        counts = self._counts(name)
        return None if counts is None else float(sum(counts))

    def mean(self, name: str) -> Known:
        """Give the mean of the times measured within the window; None when there were none."""
        before, after = self.before.times.get(name), self.after.times.get(name)
        if before is None or after is None or not (count := self.count(name)):
            return None
        return (after.total - before.total) / count

    def quantile(self, name: str, part: float) -> Known:
        """Give the bound below which this part of the times lies, within the width of a bucket.

        None when there were none; the last bound stands for all above it.
        """
        counts = self._counts(name)
        if counts is None or not (total := sum(counts)):
            return None
        bounds = self.after.times[name].bounds
        reached = 0
        for bound, count in zip(bounds, counts, strict=False):
            reached += count
            if reached >= part * total:
                return bound
        return bounds[-1]

    def _gauges(self, name: str) -> list[float]:
        return [reading.gauges[name] for reading in self.readings if name in reading.gauges]

    def _counts(self, name: str) -> list[int] | None:
        before, after = self.before.times.get(name), self.after.times.get(name)
        if before is None or after is None:
            return None
        return [b - a for a, b in zip(before.counts, after.counts, strict=True)]


class History:
    """The last readings of one source, and why the last attempt failed if it did.

    Bounded: `MOST_INTERVALS` readings and one, of which those that no window reaches any more have
    no rows, and those within have only what windows compare.
    """

    def __init__(self, seconds: float) -> None:
        """Begin without any; windows are to be so long."""
        self._seconds = seconds
        self._readings: deque[Reading] = deque(maxlen=MOST_INTERVALS + 1)
        self.trouble: str | None = "not asked yet"
        """Why the newest attempt gave no reading; None when it did."""

    def add(self, reading: Reading) -> None:
        """Take a reading, which is newer than those before."""
        # Without a later moment the clock was set, and no time between the two is known.
        last = self.last
        if last is not None and (last.life != reading.life or last.at >= reading.at):
            self._readings.clear()
        if self._readings:
            self._strip(-1, _KEPT_ROWS)
        self._readings.append(reading)
        self.trouble = None
        left = self._first() - 1
        while left >= 0 and self._readings[left].rows:
            self._strip(left, ())
            left -= 1

    def fail(self, reason: str) -> None:
        """Note an attempt that failed. What was read before stays for windows to come."""
        self.trouble = reason

    @property
    def last(self) -> Reading | None:
        """The newest reading, also when a later attempt failed."""
        return self._readings[-1] if self._readings else None

    def window(self) -> Window | None:
        """Give the window that ends with the newest reading and is about as long as it is to be.

        None when the newest attempt failed, or there are not two readings of one life.
        """
        if self.trouble is not None or len(self._readings) <= 1:
            return None
        before, *between, after = islice(self._readings, self._first(), None)
        return Window(before, after, between)

    def _first(self) -> int:
        """Find the reading that a window begins with."""
        begin = self._readings[-1].at - self._seconds
        first = bisect_left(self._readings, begin, key=lambda reading: reading.at)
        return min(first, len(self._readings) - 2)

    def _strip(self, number: int, kept: Sequence[str]) -> None:
        """Forget all other rows of a reading."""
        reading = self._readings[number]
        rows = {name: rows for name, rows in reading.rows.items() if name in kept}
        self._readings[number] = msgspec.structs.replace(reading, rows=rows)

    def __iter__(self) -> Iterator[Reading]:
        return iter(self._readings)

    def __len__(self) -> int:
        return len(self._readings)
