"""The figures: what the analyzer makes of readings, one row of a table for each.

A figure belongs to the source that its name begins with and is computed from one window of that
source alone, see `measures`. docs/analytics.md has this table, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from rankwire.ops.analyzer.figures_database import DATABASE_FIGURES
from rankwire.ops.analyzer.figures_regions import REGION_FIGURES
from rankwire.ops.analyzer.measures import (
    Figure,
    averages,
    blocked_watchers,
    concurrency,
    conflated,
    cpu_utilization,
    deltas,
    fragmentation,
    gauge,
    gauges,
    hits,
    process_cpu,
    quantile,
    rate,
)
from rankwire.ops.analyzer.readings import Window

if TYPE_CHECKING:
    from rankwire.ops.findings import Known

FIGURES: Final = (
    Figure(
        "api.requests_per_second",
        "1/s",
        "HTTP requests of clients answered: no probes, no metrics, no analytics.",
        rate("requests"),
    ),
    Figure(
        "api.error_part",
        "ratio",
        "Part of the answers with a status of 500 or above.",
        deltas("errors", "requests"),
    ),
    Figure(
        "api.request_mean",
        "s",
        "Mean time of a request.",
        lambda window: window.mean("requests"),
    ),
    Figure("api.request_p50", "s", "Median time of a request.", quantile("requests", 0.5)),
    Figure("api.request_p99", "s", "99th percentile of it.", quantile("requests", 0.99)),
    Figure(
        "api.submit_p99",
        "s",
        "The same of the operation `submit`: until the score is durable.",
        quantile("operation.submit", 0.99),
    ),
    Figure(
        "api.concurrency",
        "requests",
        "Requests worked on at once, by Little's law.",
        concurrency,
    ),
    Figure(
        "api.cpu_utilization",
        "ratio",
        "The fuller of `api.process_cpu` and `api.loop_cpu`.",
        cpu_utilization,
    ),
    Figure(
        "api.process_cpu",
        "ratio",
        "Part of the cores that it may use that the process used, without hub processes.",
        process_cpu,
    ),
    Figure(
        "api.loop_cpu",
        "ratio",
        "Part of one core that the event loop's thread used; it cannot use more than one.",
        rate("loop_seconds"),
    ),
    Figure(
        "api.cpu_seconds_per_request",
        "s",
        "Processor time of the process for each HTTP request, background work included.",
        deltas("cpu_seconds", "requests"),
    ),
    Figure(
        "api.event_loop_lag_p99",
        "s",
        "99th percentile of how late timers of the event loop were.",
        quantile("loop_lag", 0.99),
    ),
    Figure(
        "api.write_queue_part",
        "ratio",
        "Writes that wait for a commit, of `limits.pending_submits`; mean of the readings.",
        averages("pending", "pending_limit"),
    ),
    Figure("api.commits_per_second", "1/s", "Commits.", rate("commits")),
    Figure(
        "api.submits_per_commit",
        "scores",
        "Scores in a commit: above 1 under load.",
        deltas("submits", "commits"),
    ),
    Figure(
        "api.commit_p99",
        "s",
        "99th percentile of the time that the storage took for a commit.",
        quantile("commits", 0.99),
    ),
    Figure(
        "api.not_committed_per_second",
        "1/s",
        "Writes refused because the storage could not commit.",
        rate("not_committed"),
    ),
    Figure(
        "api.sync_lag",
        "s",
        "Time since the node was known to be level with the others; none without others.",
        gauge("sync_lag"),
    ),
    *DATABASE_FIGURES,
    Figure(
        "cache.hit_rate",
        "ratio",
        "Part of the profiles looked for that a cache had, of at least 400.",
        hits("profile_local", "profile_redis"),
    ),
    Figure(
        "cache.local_hit_rate", "ratio", "The same of this process's cache.", hits("profile_local")
    ),
    Figure("cache.shared_hit_rate", "ratio", "The same of Redis.", hits("profile_redis")),
    Figure("cache.page_hit_rate", "ratio", "The same of kept pages of boards.", hits("page")),
    Figure(
        "cache.redis_memory_part",
        "ratio",
        "Memory of Redis, of its `maxmemory`; none without that.",
        gauge("redis_memory_part"),
    ),
    Figure("cache.redis_evicted_per_second", "1/s", "Keys evicted.", rate("redis_evicted")),
    Figure("cache.redis_expired_per_second", "1/s", "Keys expired.", rate("redis_expired")),
    Figure(
        "cache.redis_clients_part",
        "ratio",
        "Connections to Redis, of its `maxclients`.",
        gauge("redis_clients_part"),
    ),
    Figure(
        "cache.redis_rejected_per_minute",
        "1/min",
        "Connections that Redis rejected.",
        rate("redis_rejected", 60.0),
    ),
    Figure(
        "cache.redis_fragmentation",
        "ratio",
        "Memory that the process of Redis has, of what it uses, from 64 MB on.",
        fragmentation,
    ),
    Figure(
        "cache.redis_ping",
        "s",
        "Time of a round trip to Redis; mean of the readings.",
        lambda window: window.average("redis_ping_seconds"),
    ),
    Figure("websocket.connections", "watchers", "Watchers connected.", gauge("connections")),
    Figure(
        "websocket.connections_part",
        "ratio",
        "The same, of `live.max_connections` of all hub processes, or what open files allow.",
        gauges("connections", "connections_limit"),
    ),
    Figure(
        "websocket.blocked_part",
        "ratio",
        "Part of the watchers whose sockets took no more bytes; mean of the readings.",
        blocked_watchers,
    ),
    Figure(
        "websocket.conflated_part",
        "ratio",
        "Part of the states that a blocked watcher missed for a newer one.",
        conflated,
    ),
    Figure(
        "websocket.fanout_p99",
        "s",
        "99th percentile of the time until a new state had reached all who watch it.",
        quantile("fanout", 0.99),
    ),
    Figure("websocket.deliveries_per_second", "1/s", "States sent.", rate("deliveries")),
    Figure("websocket.bytes_per_second", "B/s", "Bytes sent to watchers.", rate("bytes")),
    Figure("websocket.refused_per_second", "1/s", "Watchers turned away.", rate("refused")),
    Figure(
        "websocket.errors_per_second",
        "1/s",
        "Commands answered with an error.",
        rate("errors"),
    ),
    Figure(
        "host.memory_part",
        "ratio",
        "Memory in use, of the limit of the control group or the machine.",
        gauges("memory_used", "memory_limit"),
    ),
    Figure("host.rss", "B", "Memory of the process.", gauge("rss")),
    Figure("host.fd_part", "ratio", "Open files, of their limit.", gauges("files", "files_limit")),
    Figure(
        "host.cpu_throttled_part",
        "ratio",
        "Part of the periods in which the control group's processor time was used up.",
        deltas("cpu_throttled", "cpu_periods"),
    ),
    Figure(
        "host.load_per_core",
        "ratio",
        "Processes that run or want to, over a minute, for each core.",
        gauges("load", "cores"),
    ),
    *REGION_FIGURES,
)
"""Every figure that is made from a window."""

BURNS: Final = (
    (
        "api.budget_burn_fast",
        "ratio",
        "How many times faster than is allowed requests failed, over an hour or its last 5 min.",
    ),
    (
        "api.budget_burn_slow",
        "ratio",
        "The same over the last six hours and their last half an hour.",
    ),
)
"""Name, unit and meaning of the figures that are made by `rankwire.ops.analyzer.budget`."""


UNITS: Final = {figure.name: figure.unit for figure in FIGURES} | {
    name: unit for name, unit, _ in BURNS
}
"""The unit of every figure, by its name."""


def compute(windows: Mapping[str, Window | None]) -> dict[str, Known]:
    """Compute all figures from the windows of the sources; None where there is no window."""
    return {figure.name: _known(figure, windows.get(figure.source)) for figure in FIGURES}


def _known(figure: Figure, window: Window | None) -> Known:
    if window is None or figure.name.startswith(tuple(window.after.unknown)):
        return None
    return figure.compute(window)
