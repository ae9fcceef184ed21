"""What a report for people is made of: the analyzer's report, and how things went until then.

`GET /v1/ops/report` answers with a `Bundle` as JSON; the command line renders it. Everything in it
is bounded: `Recorder` keeps the newest `MOST_POINTS` values of the figures in `HISTORY` and the
newest `MOST_EPISODES` bottlenecks. A figure that was not known is None there, so a plot has a gap
and no zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from rankwire.ops.findings import Known, Report, Severity

MOST_POINTS: Final = 720
"""Values kept of each figure: an hour at one every five seconds."""

MOST_EPISODES: Final = 100
"""Bottlenecks remembered, those that are over included."""


HISTORY: Final = (
    "api.requests_per_second",
    "api.request_p99",
    "api.error_part",
    "api.cpu_utilization",
    "api.event_loop_lag_p99",
    "api.commit_p99",
    "database.pool_utilization",
    "database.pool_wait_p99",
    "database.replication_lag",
    "cache.hit_rate",
    "cache.redis_memory_part",
    "websocket.connections",
    "websocket.deliveries_per_second",
    "host.memory_part",
    "host.fd_part",
)
"""Figures whose history is kept, in the order of the plots."""

Points = list[tuple[float, Known]]
"""Moments in seconds since 1970, ascending, with the value then."""


class Episode(msgspec.Struct, frozen=True):
    """How long a rule was true."""

    type: str
    severity: Severity
    since: float
    until: Known = None
    """None while it lasts."""


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """All that a report shows of one node."""

    node: str
    """The pod's name, or the host's."""
    version: str
    """Of Rankwire."""
    at: float
    """When this was put together."""
    report: Report
    units: Mapping[str, str] = {}
    """By figure, for all of the report's: `ratio`, `s`, `B`, `1/s` or a word like `watchers`."""
    history: Mapping[str, Points] = {}
    """By figure."""
    episodes: list[Episode] = []
    """Oldest first."""
    caching: Mapping[str, Any] | None = None
    """A `CachingReport` as JSON; None when caching is off."""
    optimization: Mapping[str, Any] | None = None
    """An `OptimizationReport` as JSON; None when there is none."""
