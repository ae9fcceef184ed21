"""What the server measures of itself by timers, for metrics and the analyzer.

A scrape reads what is here and asks neither the database nor Redis. All of it costs the event loop
a few milliseconds a minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from rankwire.ops.loop_lag import LoopLag
from rankwire.ops.recent import Recent

if TYPE_CHECKING:
    from rankwire import _core
    from rankwire.ops.recent import Totals
    from rankwire.profiles import Profiles
    from rankwire.writer import Writer

SUBMITS: Final = "submits"


class Cache(NamedTuple):
    """What a cache counts; its size is None where this process does not hold it."""

    hits: int
    misses: int
    entries: int | None = None
    bytes: int | None = None


class Pulse:
    """The timers. Made on the event loop that they run on."""

    def __init__(self, writer: Writer, profiles: Profiles) -> None:
        """Prepare; `start` begins to measure."""
        self.loop_lag = LoopLag()
        engine = writer.engine

        def read() -> Totals:
            return totals(engine.stats(), caches(engine.page_stats(), profiles))

        self.recent = Recent(read)

    def start(self) -> None:
        """Begin to measure."""
        self.loop_lag.start()
        self.recent.start()

    def stop(self) -> None:
        """End that; what was measured stays. Idempotent."""
        self.loop_lag.stop()
        self.recent.stop()


def caches(pages: _core.PageStats, profiles: Profiles) -> dict[str, Cache]:
    """Give what every cache counts, by its `cache_type`."""
    local, shared = profiles.local, profiles.shared
    found = {
        "page": Cache(pages["hits"], pages["misses"], pages["entries"], pages["bytes"]),
        "profile_local": Cache(local.counts.hits, local.counts.misses, len(local), local.bytes),
    }
    if shared is not None:
        found["profile_redis"] = Cache(shared.counts.hits, shared.counts.misses)
    return found


def totals(stats: _core.Stats, found: Mapping[str, Cache]) -> Totals:
    """Give what `Pulse.recent` keeps samples of."""
    return {SUBMITS: stats["submits_total"], **counts(found)}


def counts(found: Mapping[str, Cache]) -> dict[str, float]:
    """Give the totals of caches, by the names that `hits` and `misses` make."""
    kept: dict[str, float] = {}
    for kind, cache in found.items():
        kept |= {hits(kind): float(cache.hits), misses(kind): float(cache.misses)}
    return kept


def hits(kind: str) -> str:
    """Name the total of what a cache had."""
    return f"{kind}.hits"


def misses(kind: str) -> str:
    """Name the total of what a cache had not."""
    return f"{kind}.misses"
