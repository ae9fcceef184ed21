"""What explains what: a small graph from symptoms to causes, and the order that follows from it.

An edge holds when both rules have fired and its evidence is there: a figure that says that the
cause is really what the symptom comes from, and not only true at the same time. The evidence for a
pool that is full is what its connections do: when most run statements and most of the statements'
time is of slow ones, the time of each statement fills the pool and not the number of requests;
when most wait for locks, or do nothing within a transaction, no statement does. The graph has no
cycles. docs/analytics.md draws it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from rankwire.ops.findings import Bottleneck, Known

_MOST: Final = 0.5
"""The larger part."""

_RANKS: Final = {"HIGH": 0, "MEDIUM": 1, "LOW": 2}


class Evidence(NamedTuple):
    """A figure that has to be above a bound."""

    figure: str
    above: float


class Edge(NamedTuple):
    """A symptom, what may explain it, and all of the evidence that has to be there."""

    symptom: str
    cause: str
    evidence: tuple[Evidence, ...] = ()


_BLOCKED: Final = Evidence("database.held_blocked_part", _MOST)
_RUNNING: Final = Evidence("database.held_running_part", _MOST)
_IDLE: Final = Evidence("database.held_in_transaction_part", _MOST)
_SLOW: Final = Evidence("database.slow_part", _MOST)
_REFUSED: Final = Evidence("database.pool_refused_per_second", 0)

EDGES: Final = (
    Edge("DATABASE_CONNECTION_POOL", "DATABASE_LOCK_WAITS", (_BLOCKED,)),
    Edge("DATABASE_CONNECTION_POOL", "DATABASE_LONG_TRANSACTION", (_IDLE,)),
    Edge("DATABASE_CONNECTION_POOL", "DATABASE_SLOW_QUERIES", (_RUNNING, _SLOW)),
    Edge("DATABASE_CONNECTION_POOL", "DATABASE_MISSING_INDEX", (_RUNNING, _SLOW)),
    Edge("DATABASE_POOL_WAIT", "DATABASE_CONNECTION_POOL"),
    Edge("DATABASE_POOL_WAIT", "DATABASE_LOCK_WAITS", (_BLOCKED,)),
    Edge("DATABASE_POOL_WAIT", "DATABASE_SLOW_QUERIES", (_RUNNING, _SLOW)),
    Edge(
        "DATABASE_SLOW_QUERIES",
        "DATABASE_MISSING_INDEX",
        (Evidence("database.slow_scan_part", _MOST),),
    ),
    Edge("DATABASE_SLOW_QUERIES", "DATABASE_LOCK_WAITS", (_BLOCKED,)),
    Edge(
        "DATABASE_LOCK_WAITS",
        "DATABASE_LONG_TRANSACTION",
        (Evidence("database.blocked_by_idle_part", _MOST),),
    ),
    Edge("DATABASE_DEAD_TUPLES", "DATABASE_LONG_TRANSACTION"),
    Edge("DATABASE_HEAP_HIT_RATE", "DATABASE_MISSING_INDEX"),
    Edge("REDIS_EVICTIONS", "REDIS_MEMORY"),
    Edge(
        "CACHE_HIT_RATE",
        "REDIS_EVICTIONS",
        (Evidence("cache.redis_evicted_per_second", 0),),
    ),
    Edge("API_CPU_UTILIZATION", "HOST_CPU_THROTTLING"),
    Edge("API_EVENT_LOOP_LAG", "HOST_CPU_THROTTLING"),
    Edge("API_EVENT_LOOP_LAG", "API_CPU_UTILIZATION"),
    Edge("WEBSOCKET_FANOUT", "HOST_CPU_THROTTLING"),
    Edge("WEBSOCKET_FANOUT", "API_CPU_UTILIZATION"),
    Edge("API_WRITE_QUEUE", "API_COMMIT_LATENCY"),
    Edge("API_ERROR_BUDGET_FAST", "API_WRITE_QUEUE"),
    Edge("API_ERROR_BUDGET_FAST", "DATABASE_CONNECTION_POOL", (_REFUSED,)),
    Edge("API_ERROR_BUDGET_SLOW", "API_WRITE_QUEUE"),
    Edge("API_ERROR_BUDGET_SLOW", "DATABASE_CONNECTION_POOL", (_REFUSED,)),
    Edge("REGION_LAG", "REGION_UNREACHABLE"),
    Edge("REGION_LAG", "REGION_CLOCK"),
    Edge("REGION_PRIMARY", "REGION_UNREACHABLE"),
)
"""In the order in which they are tried: the first that holds names the cause."""


def cause_of(symptom: str, fired: Iterable[str], figures: Mapping[str, Known]) -> str | None:
    """Name the rule that explains this one; None when none of those that have fired does."""
    there = set(fired)
    for edge in EDGES:
        if edge.symptom == symptom and edge.cause in there and _holds(edge, figures):
            return edge.cause
    return None


def in_order(bottlenecks: Iterable[Bottleneck]) -> list[Bottleneck]:
    """Put causes before their symptoms, and then the most severe first."""
    left = sorted(bottlenecks, key=lambda found: (_RANKS[found.severity], found.type))
    ordered: list[Bottleneck] = []
    while left:
        waiting = {found.type for found in left}
        free = next((found for found in left if found.cause not in waiting), left[0])
        left.remove(free)
        ordered.append(free)
    return ordered


def _holds(edge: Edge, figures: Mapping[str, Known]) -> bool:
    known = [(figures.get(figure), above) for figure, above in edge.evidence]
    return all(value is not None and value > above for value, above in known)
