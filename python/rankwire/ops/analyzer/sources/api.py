"""The source `api`: requests, the event loop, the write queue and the processor, in this process.

Gauges: `pending`, `pending_limit`, `cores` as the host last told, `sync_lag` (with other nodes).
Totals: `requests`, `errors` (answers with 5xx), `cpu_seconds` of the process, `loop_seconds` of the
event loop's thread, `submits`, `commits`, `not_committed`. Times: `requests`, `commits`,
`loop_lag`, and `operation.NAME` for every operation. Requests are those of clients: no probes, no
metrics, no analytics.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rankwire.ops.analyzer.readings import Buckets, Reading
from rankwire.times import BUCKETS

if TYPE_CHECKING:
    from rankwire.ops.analyzer.sources import Watched
    from rankwire.ops.analyzer.sources.host import HostSource
    from rankwire.ops.loop_lag import LoopLag
    from rankwire.ops.metrics import Requests

_ERROR_CLASS = 5


class ApiSource:
    """Reads plain integers; its answer takes well under a millisecond."""

    name = "api"

    def __init__(
        self, watched: Watched, loop_lag: LoopLag, host: HostSource, pending_limit: int
    ) -> None:
        """Read these; `pending_limit` is how many writes may wait."""
        self._writer = watched.writer
        self._region = watched.region
        self._requests: Mapping[str, Requests] = watched.requests
        self._loop_lag = loop_lag
        self._host = host
        self._pending_limit = pending_limit
        self._kept: dict[str, Buckets] = {}

    async def read(self) -> Reading:
        """See `Source.read`. Has to run on the event loop whose thread is measured."""
        stats = self._writer.engine.stats()
        counted = self._requests.values()
        gauges = {
            "pending": float(stats["pending_ops"]),
            "pending_limit": float(self._pending_limit),
        }
        if (cores := self._host.cores) is not None:
            gauges["cores"] = cores
        if self._region is not None:
            gauges["sync_lag"] = self._region.stats()["lag_seconds"]
        totals = {
            "requests": float(sum(sum(each.by_class) for each in counted)),
            "errors": float(sum(each.by_class[_ERROR_CLASS] for each in counted)),
            "cpu_seconds": time.process_time(),
            "loop_seconds": time.thread_time(),
            "submits": float(stats["submits_total"]),
            "commits": float(stats["batches_total"]),
            "not_committed": float(stats["not_committed_total"]),
        }
        return Reading(at=time.time(), gauges=gauges, totals=totals, times=self._times())

    async def close(self) -> None:
        """See `Source.close`: there is nothing to let go of."""

    def _times(self) -> dict[str, Buckets]:
        times = {
            f"operation.{name}": self._keep(name, each) for name, each in self._requests.items()
        }
        times["requests"] = _sum(times.values())
        times["commits"] = Buckets.of(self._writer.append_times)
        times["loop_lag"] = Buckets.of(self._loop_lag.times)
        return times

    def _keep(self, name: str, counted: Requests) -> Buckets:
        """Give the buckets of an operation: the same ones again while nothing was added."""
        kept = self._kept.get(name)
        # Not by the seconds: some answers take none that anybody counts.
        if kept is None or kept.counts != tuple(counted.times.counts):
            kept = self._kept[name] = Buckets.of(counted.times)
        return kept


def _sum(many: Iterable[Buckets]) -> Buckets:
    found = list(many)
    counts = [each.counts for each in found] or [(0,) * (len(BUCKETS) + 1)]
    return Buckets(
        BUCKETS,
        tuple(map(sum, zip(*counts, strict=True))),
        sum(each.total for each in found),
    )
