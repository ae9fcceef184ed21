"""How much more load a resource carries, and for how long at the present growth.

A resource's utilisation is its load times the time that each unit of load needs of it (the
utilisation law, Denning and Buzen 1978), so in a straight line the limit is reached at
load x limit / utilisation. Days are the Theil-Sen slope of hourly means of the utilisation since
the start, and only with a week of them, of which at least half are known: less says nothing about a
week. A slope is computed once an hour.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from rankwire.ops.findings import Trigger
from rankwire.ops.models.trend import Trend, theil_sen

if TYPE_CHECKING:
    from rankwire.ops.analyzer.rules import Rule
    from rankwire.ops.findings import Known

DAYS: Final = 7
"""Days of history without which nothing is said about the future."""

MOST_HOURS: Final = 24 * 90
"""Hourly means kept of each figure."""

LEAST_HOURS: Final = DAYS * 24 // 2
"""Hours of the last `DAYS` days that have to be known."""

_HOUR: Final = 3600.0
_DAY: Final = 86_400.0
_INSUFFICIENT: Final = f"insufficient history: less than {DAYS} days since the start"


class Resource(NamedTuple):
    """Something that fills up."""

    name: str
    rule: str
    """Whose figure and bound these are."""
    load: str
    """Figure that drives it."""
    unit: str


RESOURCES: Final = (
    Resource("API processor", "API_CPU_UTILIZATION", "api.requests_per_second", "requests/s"),
    Resource(
        "connection pool",
        "DATABASE_CONNECTION_POOL",
        "database.pool_requests_per_second",
        "requests/s for a connection",
    ),
    Resource("live connections", "WEBSOCKET_CONNECTIONS", "websocket.connections", "watchers"),
    Resource("PostgreSQL sessions", "DATABASE_CONNECTIONS", "", "sessions"),
    Resource("Redis memory", "REDIS_MEMORY", "", "memory"),
    Resource("disk", "DATABASE_DISK", "", "bytes"),
    Resource("memory", "HOST_MEMORY", "", "memory"),
    Resource("open files", "HOST_FILES", "", "files"),
)


class Hourly:
    """Means of some figures, hour by hour; bounded, oldest forgotten first."""

    def __init__(self, figures: Iterable[str]) -> None:
        """Keep these."""
        self._points: dict[str, deque[tuple[float, float]]] = {
            name: deque(maxlen=MOST_HOURS) for name in figures
        }
        self._hour: dict[str, list[float]] = {}
        self._trends: dict[str, tuple[float, Trend | None]] = {}

    def add(self, figures: Mapping[str, Known], at: float) -> None:
        """Take the figures of a look, not before the last one."""
        hour = at // _HOUR * _HOUR
        for name, points in self._points.items():
            if (value := figures.get(name)) is None:
                continue
            if not points or points[-1][0] != hour:
                points.append((hour, value))
                self._hour[name] = [0.0, 0.0]
            sums = self._hour.setdefault(name, [1.0, points[-1][1]])
            sums[0] += 1
            sums[1] += value
            points[-1] = (hour, sums[1] / sums[0])

    def points(self, name: str) -> list[tuple[float, float]]:
        """Give the means of a figure with their hours, oldest first."""
        return list(self._points.get(name, ()))

    def trend(self, name: str) -> Trend | None:
        """Give the growth of a figure each day, as it was when the hour began; see `trend_of`."""
        points = self._points.get(name)
        if not points:
            return None
        hour = points[-1][0]
        kept = self._trends.get(name)
        if kept is None or kept[0] != hour:
            kept = self._trends[name] = hour, trend_of(points)
        return kept[1]


def make_triggers(
    rules: Iterable[Rule], figures: Mapping[str, Known], hourly: Hourly
) -> list[Trigger]:
    """Tell of every resource whose utilisation is known."""
    by_id = {rule.id: rule for rule in rules}
    return [
        _trigger(resource, by_id[resource.rule], now, figures, hourly)
        for resource in RESOURCES
        if (now := figures.get(by_id[resource.rule].figure)) is not None
    ]


def _trigger(
    resource: Resource, rule: Rule, now: float, figures: Mapping[str, Known], hourly: Hourly
) -> Trigger:
    load = figures.get(resource.load)
    days, note = days_left(hourly.trend(rule.figure), now, rule.bound)
    return Trigger(
        resource=resource.name,
        figure=rule.figure,
        now=now,
        limit=rule.bound,
        load=resource.unit,
        load_now=load,
        load_at_limit=load * rule.bound / now if load and now > 0 else None,
        days_left=days,
        note=note,
    )


def trend_of(points: Sequence[tuple[float, float]]) -> Trend | None:
    """Give the growth each day of hourly means; None where they say nothing about a week."""
    begin = points[-1][0] - DAYS * _DAY
    if points[0][0] > begin or sum(at > begin for at, _ in points) < LEAST_HOURS:
        return None
    return theil_sen([(at / _DAY, value) for at, value in points])


def days_left(trend: Trend | None, now: float, limit: float) -> tuple[Known, str]:
    """Tell in how many days a figure reaches its limit, and what to know about that."""
    if trend is None:
        return None, _INSUFFICIENT
    if now >= limit:
        return 0.0, "the limit is reached"
    if trend.low <= 0:
        return None, "no growth that stands out from the noise"
    soon, late = (limit - now) / trend.high, (limit - now) / trend.low
    return (limit - now) / trend.slope, f"19 times in 20 between {soon:.0f} and {late:.0f} days"
