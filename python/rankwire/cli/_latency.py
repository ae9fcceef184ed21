"""Latencies of any number of requests in constant memory.

Samples are counted in buckets, each 1 % wider than the one before, from 1 µs up. A percentile is
the upper end of its bucket, so it is never too low and at most 1 % too high; the maximum is exact.
"""

from __future__ import annotations

import math
from collections import Counter

import msgspec

_GROWTH = math.log(1.01)
_SMALLEST_SECONDS = 1e-6


class LatencySummary(msgspec.Struct, frozen=True):
    """Percentiles in milliseconds; a percentile is the least value that so many samples reach."""

    p50: float
    p95: float
    p99: float
    max: float

    def __str__(self) -> str:
        """Return the summary as one line."""
        return f"p50 {self.p50}  p95 {self.p95}  p99 {self.p99}  max {self.max}"


class Latencies:
    """Counts samples; see the module for how exact it is."""

    def __init__(self) -> None:
        """Start without samples."""
        self._buckets: Counter[int] = Counter()
        self._longest = 0.0
        self.count = 0

    def add(self, seconds: float) -> None:
        """Count one sample."""
        ratio = max(seconds, _SMALLEST_SECONDS) / _SMALLEST_SECONDS
        self._buckets[math.ceil(math.log(ratio) / _GROWTH)] += 1
        self._longest = max(self._longest, seconds)
        self.count += 1

    def percentile(self, percent: float) -> float:
        """Return the latency in seconds that ``percent`` of the samples did not exceed."""
        wanted = math.ceil(self.count * percent / 100)
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(_SMALLEST_SECONDS * math.exp(bucket * _GROWTH), self._longest)
        return self._longest

    def summary(self) -> LatencySummary | None:
        """Return the usual percentiles, or None without samples."""
        if not self.count:
            return None
        p50, p95, p99 = (round(self.percentile(p) * 1000, 3) for p in (50, 95, 99))
        return LatencySummary(p50=p50, p95=p95, p99=p99, max=round(self._longest * 1000, 3))
