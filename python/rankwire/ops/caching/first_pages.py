"""The strategy PRECOMPUTED_LEADERBOARDS: first pages of busy boards, kept encoded.

It is for boards that are read more than 100 times a minute; the 100 busiest of them by their
counters (SpaceSaving; a count that is too large by its error is taken without it). A kept page
answers only while its board has the version that it was made from, so it is never older than an
answer without it, and no time limits it.

The hit rate is predicted from the reads themselves: the curve of pages takes the first read of a
page after its board has changed for a miss, whatever the size, so it measures reads per change. It
is of all pages, those of quiet boards and later ones included, of which fewer are read again
unchanged: the pages that are kept do better than predicted, not worse. What it is compared with is
what a board does by itself: it keeps the last page that it has encoded, until it changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from rankwire.ops.caching.curve import knee, sizes
from rankwire.ops.caching.economy import freed
from rankwire.ops.caching.meter import Count, Meter
from rankwire.ops.caching.report import Curve, Freed, Pattern, Point, Strategy
from rankwire.ops.caching.switch import Limits, Promise, Switch

if TYPE_CHECKING:
    from rankwire._core import Engine
    from rankwire.ops.findings import Known

_KIND: Final = "page"
_NAME: Final = "PRECOMPUTED_LEADERBOARDS"
_MOST_BOARDS: Final = 100
# Counters of traffic: there are never more heavy pages.
_MOST_PAGES: Final = 1024


class FirstPages:
    """Watches which boards are read, and keeps the first pages of the busiest."""

    def __init__(self, engine: Engine, limits: Limits, now: float) -> None:
        """Keep pages of boards with more than `limits.least` reads a minute."""
        window_seconds = limits.window_seconds
        self._engine = engine
        self._most_bytes = limits.most_bytes
        self._least_reads = limits.least
        self.name = _NAME
        self.switch = Switch(window_seconds, self._turn)
        # Of all first pages, what was encoded or not; of the kept ones, what was there or not.
        self._all = Meter(self._count_all, window_seconds, now)
        self._kept = Meter(self._count_kept, window_seconds, now)
        self._boards: list[str] = []
        self._busiest: Known = None
        self._baseline: Known = None
        self._per_second: Known = None
        self._busy_per_second = 0.0

    def look(self, now: float, *, apply: bool) -> None:
        """Measure, predict, turn it on or back."""
        self._find()
        was_on = self.switch.is_on
        every, kept = self._all.close(now), self._kept.close(now)
        if every is not None:
            self._per_second = every.per_second
        if was_on:
            self._engine.keep_pages(self._boards, self._most_bytes)
            if kept is not None:
                self.switch.judge(kept, now)
        else:
            if every is not None:
                self._baseline = every.rate
            self.switch.offer(self._promise(), self._missing(), now, apply=apply)
        if self.switch.is_on != was_on:
            self._restart(now)

    def end(self, reason: str, now: float) -> None:
        """Turn it off."""
        self.switch.end(reason)
        self._restart(now)
        self._baseline, self._per_second = None, None

    # What it knows.

    def _find(self) -> None:
        heavy = self._engine.traffic.heavy("leaderboard", _MOST_BOARDS)
        counts = {board: reads - error for board, reads, error in heavy}
        self._busiest = float(max(counts.values())) if counts else None
        self._boards = [board for board, reads in counts.items() if reads > self._least_reads]

    def _reads(self) -> list[int]:
        """Give how often each first page of those boards was read in the last minute."""
        boards = set(self._boards)
        heavy = self._engine.traffic.heavy(_KIND, _MOST_PAGES) if boards else []
        return [
            reads - error
            for page, reads, error in heavy
            if page.rpartition("?offset=0&limit=")[0] in boards
        ]

    def _promise(self) -> Promise | None:
        reads = self._reads()
        self._busy_per_second = sum(reads) / 60
        if not reads or self._baseline is None:
            return None
        (misses,) = self._engine.traffic.curve(_KIND, [len(reads)]) or (None,)
        return None if misses is None else Promise(1.0 - misses, self._baseline)

    def _missing(self) -> str:
        if not self._boards:
            return f"no board was read more than {self._least_reads:,.0f} times in the last minute"
        return "too few pages were read yet"

    # What it does.

    def _turn(self, on: bool) -> None:
        self._engine.keep_pages(self._boards if on else [], self._most_bytes)

    def _restart(self, now: float) -> None:
        self._all.restart(now)
        self._kept.restart(now)

    def _count_all(self) -> Count:
        stats = self._engine.page_stats()
        return Count(stats["reads"] - stats["built"], stats["built"], 0)

    def _count_kept(self) -> Count:
        stats = self._engine.page_stats()
        return Count(stats["hits"], stats["misses"], 0)

    # What it says.

    def pattern(self) -> Pattern:
        """Tell which boards are read most."""
        return Pattern(
            strategy=_NAME,
            figure="reads of the busiest board in a minute",
            value=self._busiest,
            threshold=self._least_reads,
            found=bool(self._boards),
            names=self._boards,
        )

    def curve(self) -> Curve | None:
        """Give the curve of pages; None while it is not known. What a page needs is not known."""
        entries = sizes(_MOST_PAGES)
        misses = self._engine.traffic.curve(_KIND, entries)
        if not misses:
            return None
        points = [Point(size, None, miss) for size, miss in zip(entries, misses, strict=True)]
        return Curve(kind=_KIND, points=points, knee=knee(entries, misses))

    def strategy(self) -> Strategy:
        """Tell how it stands."""
        switch = self.switch
        promise = switch.promise
        kept = self._engine.page_stats()
        return Strategy(
            name=_NAME,
            state=switch.state,
            reason=switch.reason,
            since=switch.since,
            predicted_hit_rate=promise.predicted if promise is not None else None,
            measured_hit_rate=self._kept.rate if switch.is_on else None,
            baseline_hit_rate=self._baseline,
            entries=len(self._boards) or None,
            seconds=None,
            memory_bytes=float(kept["bytes"]) if switch.is_on else None,
        )

    def freed(self, hours: float) -> Freed:
        """Tell what of this node's processor time the hits save, in a month of so many hours."""
        stats = self._engine.page_stats()
        cost = (stats["built_seconds"], stats["built"])
        strategy, per_second = self.strategy(), self._per_second
        if self.switch.is_on:
            # Of all first pages, like the questions and the rate without it; no promise is.
            rate = self._all.rate
            strategy = replace(strategy, measured_hit_rate=rate, predicted_hit_rate=None)
        elif per_second is not None:
            # Only those that would be kept would be found more often.
            per_second = min(per_second, self._busy_per_second)
        return freed(strategy, "processor", per_second, cost, hours)
