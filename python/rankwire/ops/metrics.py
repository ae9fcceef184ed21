"""Metrics for Prometheus.

Every metric of ours is a row of a table here; the manual's table is compared with it. A scrape
reads one snapshot of the core's counters, so its figures belong to one moment. HTTP requests are
counted by plain integers on the event loop: well under a microsecond for each.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Final, cast

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
from rankwire.storage.pool import WAIT_BUCKETS

if TYPE_CHECKING:
    from rankwire.beside import Beside
    from rankwire.profiles import Profiles
    from rankwire.storage.pool import Database
    from rankwire.sync.region import Region
    from rankwire.writer import Writer

BUCKETS: Final = WAIT_BUCKETS
"""Upper bounds of the histograms of times, in seconds."""

# Key of the core's counters, name of the metric, what it means. Counters end in _total.
CORE_METRICS: Final = (
    ("submits_total", "rankwire_submits_total", "Scores taken, those of batches included."),
    ("changes_total", "rankwire_changes_total", "Writes that changed a board."),
    ("rejected_total", "rankwire_rejected_total", "Writes refused because they were wrong."),
    (
        "not_committed_total",
        "rankwire_not_committed_total",
        "Writes refused because the storage could not commit.",
    ),
    ("batches_total", "rankwire_commits_total", "Commits, each of all the writes that waited."),
    ("journal_bytes_total", "rankwire_journal_bytes_total", "Bytes written to the journal."),
    (
        "applied_records_total",
        "rankwire_applied_records_total",
        "Changes taken over from other nodes, and from the journal at the start.",
    ),
    ("pending_ops", "rankwire_pending_writes", "Writes that wait for a commit."),
    ("boards", "rankwire_boards", "Boards."),
    ("members", "rankwire_members", "Members of all boards."),
    ("dirty_members", "rankwire_dirty_members", "Members changed since the last checkpoint."),
    (
        "oldest_read_versions",
        "rankwire_oldest_read_versions",
        "Versions published since the oldest read began; growing means a stuck thread.",
    ),
)
SYNC_METRICS: Final = (
    ("redis_up", "rankwire_sync_redis_up", "1 while Redis answers, otherwise 0."),
    ("level", "rankwire_sync_level", "1 once the node was level with the others after its start."),
    (
        "lag_seconds",
        "rankwire_sync_lag_seconds",
        "Time since the node was known to be level; a few seconds at most when all is well.",
    ),
    (
        "stream_batches_total",
        "rankwire_sync_stream_batches_total",
        "Batches of other nodes that came through Redis.",
    ),
    (
        "storage_batches_total",
        "rankwire_sync_storage_batches_total",
        "Batches of other nodes that were read from PostgreSQL.",
    ),
    ("bytes_total", "rankwire_sync_bytes_total", "Bytes of both."),
    (
        "gaps_total",
        "rankwire_sync_gaps_total",
        "Times that what Redis had was not enough and PostgreSQL was asked.",
    ),
    (
        "unknown_total",
        "rankwire_sync_unknown_total",
        "Batches in Redis that PostgreSQL does not know; anything but 0 is a reason to look.",
    ),
    (
        "foreign_total",
        "rankwire_sync_foreign_total",
        "Entries and messages in Redis that are none of Rankwire's.",
    ),
    (
        "published_total",
        "rankwire_sync_published_total",
        "Own batches told to the others through Redis.",
    ),
    (
        "pointers_total",
        "rankwire_sync_pointers_total",
        "Those of them that were too large to go along.",
    ),
    (
        "publish_dropped_total",
        "rankwire_sync_publish_dropped_total",
        "Own batches that Redis was not told of; the others read them from PostgreSQL.",
    ),
    ("news_sent_total", "rankwire_sync_news_sent_total", "Messages sent to the other nodes."),
    ("news_dropped_total", "rankwire_sync_news_dropped_total", "Messages that could not be sent."),
    (
        "news_heard_total",
        "rankwire_sync_news_heard_total",
        "Messages heard, the node's own included.",
    ),
)
LIVE_METRICS: Final = (
    ("connections", "rankwire_live_connections", "Watchers connected."),
    ("connections_total", "rankwire_live_accepted_total", "Connections accepted."),
    ("refused_total", "rankwire_live_refused_total", "Connections turned away for want of room."),
    (
        "handshakes_failed_total",
        "rankwire_live_handshakes_failed_total",
        "Handshakes that were no good, or not done in time.",
    ),
    ("subscriptions", "rankwire_live_subscriptions", "Subscriptions."),
    ("views", "rankwire_live_views", "Different views watched."),
    ("publications_total", "rankwire_live_publications_total", "New states of views."),
    ("deliveries_total", "rankwire_live_deliveries_total", "States sent to watchers."),
    (
        "conflated_total",
        "rankwire_live_conflated_total",
        "States that a blocked watcher missed; it got a newer one later.",
    ),
    ("blocked", "rankwire_live_blocked", "Watchers whose sockets take no more bytes now."),
    ("bytes_sent_total", "rankwire_live_sent_bytes_total", "Bytes sent to watchers."),
    ("commands_total", "rankwire_live_commands_total", "Commands received from watchers."),
    ("submits_total", "rankwire_live_submits_total", "Submits received over WebSocket."),
)
# The same with a label for the code.
LIVE_CODES: Final = (
    ("closed_total", "rankwire_live_closed_total", "Connections closed, by close code."),
    ("errors_total", "rankwire_live_errors_total", "Commands answered with an error, by code."),
)
# Attribute of a pool, name of the metric, what it means; by pool.
POOL_METRICS: Final = (
    ("size", "rankwire_pool_size", "Most connections to PostgreSQL for requests, by pool."),
    ("used", "rankwire_pool_used", "Connections that work for a request, by pool."),
    ("idle", "rankwire_pool_idle", "Connections that wait for a request, by pool."),
    ("waiting", "rankwire_pool_waiting", "Requests that wait for a connection, by pool."),
    ("refused", "rankwire_pool_refused_total", "Requests that got no connection, by pool."),
)
POOL_UTILIZATION: Final = (
    "database_pool_utilization",
    "Part of the connections that work for a request, from 0 to 1, by pool.",
)
POOL_SECONDS: Final = (
    "rankwire_pool_wait_seconds",
    "Time that requests waited for a connection, by pool.",
)
# Attribute of the replica, name of the metric, what it means.
REPLICA_METRICS: Final = (
    ("lag", "rankwire_replica_lag_seconds", "How far the replica is behind; NaN if not known."),
    ("reads", "rankwire_replica_reads_total", "Reads that the replica answered."),
    (
        "avoided",
        "rankwire_replica_avoided_total",
        "Reads that the primary answered as the replica was away, busy or too far behind.",
    ),
)
# Attribute of a cache's counts, name of the metric, what it means; by cache.
CACHE_METRICS: Final = (
    ("hits", "rankwire_cache_hits_total", "Profiles found in a cache."),
    ("misses", "rankwire_cache_misses_total", "Profiles looked for in a cache in vain."),
)
CACHE_RATE: Final = (
    "cache_hit_rate",
    "Part of the profiles looked for in a cache that it had, since the start.",
)
CHECKPOINTER: Final = (
    "rankwire_checkpointer",
    "1 on the node that takes the checkpoints, otherwise 0.",
)
STORAGE_READY: Final = ("rankwire_storage_ready", "1 while the storage can commit, otherwise 0.")
REQUESTS: Final = (
    "rankwire_http_requests_total",
    "HTTP requests answered, by operation and class of status.",
)
SECONDS: Final = (
    "rankwire_http_request_seconds",
    "Time from the first byte of a request handled to its answer, by operation.",
)
BUILD: Final = ("rankwire_build_info", "1, labelled with what was built.")

Scrape = Callable[[str], tuple[bytes, bytes]]
"""From an Accept header to content-type and body."""


class Requests:
    """Counts the requests of one operation. For one thread."""

    __slots__ = ("by_class", "by_seconds", "seconds")

    def __init__(self) -> None:
        self.by_class = [0] * 6
        self.by_seconds = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0

    def count(self, status: int, seconds: float) -> None:
        """Count an answer."""
        self.by_class[status // 100] += 1
        self.by_seconds[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds


def scraper(
    writer: Writer,
    beside: Beside,
    hub: _core.Hub | None,
    region: Region | None,
    requests: Mapping[str, Requests],
) -> Scrape:
    """Make what `/metrics` answers with."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Rankwire(writer, beside, hub, region, requests))

    def scrape(accept: str) -> tuple[bytes, bytes]:
        encode, content_type = choose_encoder(accept)
        return content_type.encode(), encode(registry)

    return scrape


class _Rankwire(Collector):
    """Reads everything of ours, once per scrape."""

    def __init__(
        self,
        writer: Writer,
        beside: Beside,
        hub: _core.Hub | None,
        region: Region | None,
        requests: Mapping[str, Requests],
    ) -> None:
        self._region = region
        self._writer = writer
        self._beside = beside
        self._hub = hub
        self._requests = requests

    def collect(self) -> Iterator[Metric]:
        yield from _figures(CORE_METRICS, self._writer.engine.stats())
        if self._hub is not None:
            stats = self._hub.stats()
            yield from _figures(LIVE_METRICS, stats)
            yield from _by_code(LIVE_CODES, stats)
        if self._region is not None:
            yield from _figures(SYNC_METRICS, self._region.stats())
        followed = self._region.trouble if self._region is not None else None
        ready = self._writer.trouble is None and followed is None
        yield GaugeMetricFamily(*STORAGE_READY, value=float(ready))
        yield GaugeMetricFamily(*CHECKPOINTER, value=float(self._writer.is_leading))
        yield from _http(self._requests)
        yield from _caches(self._beside.profiles)
        if (database := self._beside.database) is not None:
            yield from _database(database)
        info = _core.build_info()
        labels = {"version": info["version"], "arch": info["arch"], "os": info["os"]}
        name, text = BUILD
        yield InfoMetricFamily(name.removesuffix("_info"), text, value=labels)


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


def _caches(profiles: Profiles) -> Iterator[Metric]:
    caches = {"profile_local": profiles.local.counts}
    if profiles.shared is not None:
        caches["profile_redis"] = profiles.shared.counts
    for key, name, text in CACHE_METRICS:
        found = CounterMetricFamily(name, text, labels=("cache_type",))
        for kind, counts in caches.items():
            found.add_metric((kind,), getattr(counts, key))
        yield found
    rate = GaugeMetricFamily(*CACHE_RATE, labels=("cache_type",))
    for kind, counts in caches.items():
        rate.add_metric((kind,), counts.hits / max(1, counts.hits + counts.misses))
    yield rate


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
        seconds.add_metric((pool.name,), _cumulative(pool.waits), pool.waited_seconds)
    yield part
    yield seconds
    if replica is not None:
        lag = math.nan if replica.lag is None else replica.lag
        figures = {"lag": lag, "reads": replica.reads, "avoided": replica.avoided}
        yield from _figures(REPLICA_METRICS, figures)


def _cumulative(counts: Iterable[int]) -> list[tuple[str, float]]:
    bounds = [*map(str, BUCKETS), "+Inf"]
    return list(zip(bounds, accumulate(counts), strict=True))


def _http(requests: Mapping[str, Requests]) -> Iterator[Metric]:
    answers = CounterMetricFamily(*REQUESTS, labels=("operation", "status"))
    seconds = HistogramMetricFamily(*SECONDS, labels=("operation",))
    for operation, counted in requests.items():
        for status, count in enumerate(counted.by_class):
            if count:
                answers.add_metric((operation, f"{status}xx"), count)
        seconds.add_metric((operation,), _cumulative(counted.by_seconds), counted.seconds)
    yield answers
    yield seconds
