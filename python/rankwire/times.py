"""How long something took, again and again, as a histogram of plain integers.

Adding costs well under a microsecond and never fails. One thread adds; others may read at any time
and see counts and total at most one addition apart.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds, in seconds; one more bucket follows for everything above."""


class Times:
    """A histogram by `BUCKETS`."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        """How many took up to each bound and longer than the one before."""
        self.total = 0.0
        """Seconds, all together."""

    def add(self, seconds: float) -> None:
        """Count one time."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds
