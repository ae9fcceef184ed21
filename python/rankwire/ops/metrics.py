"""Metrics for Prometheus.

Every metric of ours is a row of `metric_tables`; the manual's table is compared with it. A scrape
reads one snapshot of the core's counters, so its figures belong to one moment, and asks neither the
database nor Redis. HTTP requests are counted by plain integers on the event loop: well under a
microsecond for each.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from rankwire import _core
from rankwire.ops import pulse
from rankwire.ops.memory import read_memory
from rankwire.ops.metric_regions import RegionView, region_metrics
from rankwire.ops.metric_tables import (
    ARCHIVE_METRICS,
    BUILD,
    CACHE_METRICS,
    CACHE_RATE,
    CHECKPOINTER,
    COMMIT_SECONDS,
    CONNECTIONS,
    CORE_METRICS,
    LIMIT_METRICS,
    LIVE_CODES,
    LIVE_METRICS,
    LOOP_LAG,
    MEMORY_METRICS,
    PAGE_METRICS,
    POOL_METRICS,
    POOL_SECONDS,
    POOL_UTILIZATION,
    REPLICA_METRICS,
    REQUESTS,
    SCORE_RATE,
    SECONDS,
    STORAGE_READY,
    SYNC_METRICS,
    VIEW_METRICS,
    VIEW_SECONDS,
)
from rankwire.times import BUCKETS, Times

if TYPE_CHECKING:
    from rankwire.beside import Beside
    from rankwire.ops.lifecycle import Keeper
    from rankwire.ops.pulse import Cache, Pulse
    from rankwire.ops.recent import Growth
    from rankwire.storage.pool import Database
    from rankwire.sync.region import Region
    from rankwire.writer import Writer

_ERROR_CLASS: Final = 5
START_TIME: Final = "process_start_time_seconds"
_STEADY_SECONDS: Final = 1.0
"""A rate over less time than this says nothing."""

Scrape = Callable[[str], tuple[bytes, bytes]]
"""From an Accept header to content-type and body."""


class Observed(msgspec.Struct, frozen=True):
    """What the metrics are about."""

    writer: Writer
    beside: Beside
    pulse: Pulse
    hub: _core.Hub | None
    region: Region | None
    requests: Mapping[str, Requests]
    """By operation."""
    limits: Mapping[str, int]
    """How much there may be of what `LIMIT_METRICS` names."""
    keeper: Keeper | None = None
    """What archives the journal, if anything does."""
    among: RegionView | None = None
    """This region among others, if there are any."""


class Requests:
    """Counts the requests of one operation. For one thread."""

    __slots__ = ("by_class", "times")

    def __init__(self) -> None:
        self.by_class = [0] * 6
        self.times = Times()

    def count(self, status: int, seconds: float) -> None:
        """Count an answer."""
        self.by_class[status // 100] += 1
        self.times.add(seconds)


def of_a_start() -> tuple[bytes, bytes]:
    """Give content-type and page of a node that does not serve yet: since when it runs."""
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder("")
    return content_type.encode(), encode(registry.restricted_registry([START_TIME]))


def scraper(observed: Observed) -> Scrape:
    """Make what `/metrics` answers with."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Rankwire(observed))

    def scrape(accept: str) -> tuple[bytes, bytes]:
        encode, content_type = choose_encoder(accept)
        return content_type.encode(), encode(registry)

    return scrape


def pod_name() -> str:
    """Name this node as Kubernetes does, where that is told in POD_NAME, or by its host."""
    return os.environ.get("POD_NAME") or socket.gethostname()


class _Rankwire(Collector):
    """Reads everything of ours, once per scrape."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._pod = pod_name()

    def collect(self) -> Iterator[Metric]:
        observed = self._observed
        writer, profiles, region = observed.writer, observed.beside.profiles, observed.region
        stats, pages = writer.engine.stats(), writer.engine.page_stats()
        caches = pulse.caches(pages, profiles)
        yield from _figures(CORE_METRICS, stats)
        yield from _live(observed.hub, self._pod)
        limits = [row for row in LIMIT_METRICS if row[0] in observed.limits]
        yield from _figures(limits, observed.limits)
        if region is not None:
            yield from _figures(SYNC_METRICS, region.stats())
        followed = region.trouble if region is not None else None
        ready = writer.trouble is None and followed is None
        yield GaugeMetricFamily(*STORAGE_READY, value=float(ready))
        yield GaugeMetricFamily(*CHECKPOINTER, value=float(writer.is_leading))
        yield _histogram(COMMIT_SECONDS, writer.append_times)
        yield from _http(observed.requests)
        totals = pulse.totals(stats, caches)
        yield from _of_late(observed.pulse.recent.growth(totals, monotonic()), caches)
        yield from _caches(caches)
        yield from _figures(PAGE_METRICS, pages)
        if (database := observed.beside.database) is not None:
            yield from _database(database)
        if observed.keeper is not None:
            yield from _archive(observed.keeper)
        if observed.among is not None:
            yield from region_metrics(observed.among)
        yield _histogram(LOOP_LAG, observed.pulse.loop_lag.times)
        yield from _process()


def _process() -> Iterator[Metric]:
    if (memory := read_memory()) is not None:
        yield from _figures(MEMORY_METRICS, {"limit": memory.limit, "used": memory.used})
    info = _core.build_info()
    labels = {"version": info["version"], "arch": info["arch"], "os": info["os"]}
    name, text = BUILD
    yield InfoMetricFamily(name.removesuffix("_info"), text, value=labels)


def _archive(keeper: Keeper) -> Iterator[Metric]:
    totals = keeper.totals
    last = math.nan if totals.last_success is None else totals.last_success
    figures = {name: getattr(totals, name) for name, *_ in ARCHIVE_METRICS}
    yield from _figures(
        ARCHIVE_METRICS,
        figures | {"is_held": int(totals.is_held), "last_success": last},
    )


def _live(hub: _core.Hub | None, pod: str) -> Iterator[Metric]:
    # Of every node, with zero where no watcher can be: a mean over pods needs all of them.
    connections = GaugeMetricFamily(*CONNECTIONS, labels=("pod_name",))
    stats = hub.stats() if hub else None
    connections.add_metric((pod,), stats["connections"] if stats else 0)
    yield connections
    if stats is None:
        return
    yield from _figures(LIVE_METRICS, stats)
    yield from _by_code(LIVE_CODES, stats)
    yield from _by_view(stats["by_view"])


def _figures(
    table: Iterable[tuple[str, str, str]], stats: Mapping[str, object]
) -> Iterator[Metric]:
    for key, name, text in table:
        value = float(str(stats[key]))
        if name.endswith("_total"):
            yield CounterMetricFamily(name, text, value=value)
        else:
            yield GaugeMetricFamily(name, text, value=value)


def _by_code(
    table: Iterable[tuple[str, str, str]], stats: Mapping[str, object]
) -> Iterator[Metric]:
    for key, name, text in table:
        family = CounterMetricFamily(name, text, labels=("code",))
        for code, count in cast("dict[int, int]", stats[key]).items():
            family.add_metric((str(code) if code else "other",), count)
        yield family


def _by_view(by_view: Mapping[str, _core.ViewStats]) -> Iterator[Metric]:
    labels = ("view",)
    for key, name, text in VIEW_METRICS:
        kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
        family = kind(name, text, labels=labels)
        for view, stats in by_view.items():
            family.add_metric((view,), cast("Mapping[str, int]", stats)[key])
        yield family
    seconds = HistogramMetricFamily(*VIEW_SECONDS, labels=labels)
    for view, stats in by_view.items():
        seconds.add_metric((view,), _cumulative(stats["fanout"].values()), stats["fanout_seconds"])
    yield seconds


def _of_late(growth: Growth, caches: Mapping[str, Cache]) -> Iterator[Metric]:
    """Say what is over a window. What cannot be said is NaN."""
    steady = growth.seconds >= _STEADY_SECONDS
    rate = growth.by[pulse.SUBMITS] / growth.seconds if steady else math.nan
    yield GaugeMetricFamily(*SCORE_RATE, value=rate)
    part = GaugeMetricFamily(*CACHE_RATE, labels=("cache_type",))
    for kind in caches:
        found = growth.by[pulse.hits(kind)]
        asked = found + growth.by[pulse.misses(kind)]
        part.add_metric((kind,), found / asked if asked else math.nan)
    yield part


def _caches(caches: Mapping[str, Cache]) -> Iterator[Metric]:
    for key, name, text in CACHE_METRICS:
        kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
        family = kind(name, text, labels=("cache_type",))
        for cache_type, cache in caches.items():
            if (value := getattr(cache, key)) is not None:
                family.add_metric((cache_type,), value)
        yield family


def _database(database: Database) -> Iterator[Metric]:
    replica = database.replica
    pools = [database.primary, *([replica.pool] if replica else ())]
    labels = ("pool",)
    for key, name, text in POOL_METRICS:
        kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
        family = kind(name, text, labels=labels)
        for pool in pools:
            family.add_metric((pool.name,), getattr(pool, key))
        yield family
    part = GaugeMetricFamily(*POOL_UTILIZATION, labels=labels)
    seconds = HistogramMetricFamily(*POOL_SECONDS, labels=labels)
    for pool in pools:
        part.add_metric((pool.name,), pool.used / pool.size)
        seconds.add_metric((pool.name,), _cumulative(pool.waits.counts), pool.waits.total)
    yield part
    yield seconds
    if replica is not None:
        lag = math.nan if replica.lag is None else replica.lag
        figures = {"lag": lag, "reads": replica.reads, "avoided": replica.avoided}
        yield from _figures(REPLICA_METRICS, figures)


def _histogram(described: tuple[str, str], times: Times) -> Metric:
    return HistogramMetricFamily(
        *described, buckets=_cumulative(times.counts), sum_value=times.total
    )


def _cumulative(counts: Iterable[int]) -> list[tuple[str, float]]:
    bounds = [*map(str, BUCKETS), "+Inf"]
    return list(zip(bounds, accumulate(counts), strict=True))


def _http(requests: Mapping[str, Requests]) -> Iterator[Metric]:
    answers = CounterMetricFamily(*REQUESTS, labels=("operation", "status"))
    seconds = HistogramMetricFamily(*SECONDS, labels=("operation",))
    for operation, counted in requests.items():
        for status, count in enumerate(counted.by_class):
            # Errors are there from the start: a rate does not see the first of a new series.
            if count or status == _ERROR_CLASS:
                answers.add_metric((operation, f"{status}xx"), count)
        times = counted.times
        seconds.add_metric((operation,), _cumulative(times.counts), times.total)
    yield answers
    yield seconds
