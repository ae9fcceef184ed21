"""Metrics for Prometheus.

Every metric of ours is a row of a table here; the manual's table is compared with it. A scrape
reads one snapshot of the core's counters, so its figures belong to one moment. HTTP requests are
counted by plain integers on the event loop: well under a microsecond for each.
"""

from __future__ import annotations

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

if TYPE_CHECKING:
    from rankwire.writer import Writer

BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the latency histogram in seconds."""

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


def scraper(writer: Writer, hub: _core.Hub | None, requests: Mapping[str, Requests]) -> Scrape:
    """Make what `/metrics` answers with."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Rankwire(writer, hub, requests))

    def scrape(accept: str) -> tuple[bytes, bytes]:
        encode, content_type = choose_encoder(accept)
        return content_type.encode(), encode(registry)

    return scrape


class _Rankwire(Collector):
    """Reads everything of ours, once per scrape."""

    def __init__(
        self, writer: Writer, hub: _core.Hub | None, requests: Mapping[str, Requests]
    ) -> None:
        self._writer = writer
        self._hub = hub
        self._requests = requests

    def collect(self) -> Iterator[Metric]:
        yield from _figures(CORE_METRICS, self._writer.engine.stats())
        if self._hub is not None:
            stats = self._hub.stats()
            yield from _figures(LIVE_METRICS, stats)
            yield from _by_code(LIVE_CODES, stats)
        yield GaugeMetricFamily(*STORAGE_READY, value=float(self._writer.trouble is None))
        yield from _http(self._requests)
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


def _http(requests: Mapping[str, Requests]) -> Iterator[Metric]:
    answers = CounterMetricFamily(*REQUESTS, labels=("operation", "status"))
    seconds = HistogramMetricFamily(*SECONDS, labels=("operation",))
    bounds = [*map(str, BUCKETS), "+Inf"]
    for operation, counted in requests.items():
        for status, count in enumerate(counted.by_class):
            if count:
                answers.add_metric((operation, f"{status}xx"), count)
        cumulative = list(zip(bounds, accumulate(counted.by_seconds), strict=True))
        seconds.add_metric((operation,), cumulative, counted.seconds)
    yield answers
    yield seconds
