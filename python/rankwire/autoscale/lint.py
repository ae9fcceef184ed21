"""What is wrong with an autoscaler before it runs: a table of rules over a manifest.

Promises: each finding names a rule, says what would happen, and what to do instead; an `error` is
something that cannot work or does harm, a `warning` something that may be meant. What the facts
given do not decide is not judged. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Literal

import msgspec

from rankwire.autoscale.controller import Autoscaler
from rankwire.autoscale.metrics_table import METRICS

CONNECTIONS: Final = "websocket_connections_per_pod"
POOL: Final = "database_pool_utilization"
HIT_RATE: Final = "cache_hit_rate"

_CALM_SECONDS: Final = 60
"""A shorter window for falling follows every dip: two scrapes and two turns of the controller."""

Severity = Literal["error", "warning"]


class Facts(msgspec.Struct, frozen=True):
    """What is known beside the manifest; None is not known."""

    pool_size: int = 8
    """`storage.pool_size`."""
    beside_pool: int = 7
    """Connections of a node to PostgreSQL beside the pool, docs/settings.md."""
    database_connections: int | None = None
    """Connections that PostgreSQL has left for all nodes of this autoscaler."""
    connections: int | None = None
    """Watchers that are to be carried."""
    derived: int | None = None
    """Most connections that a pod should be aimed at, from `target.derive`."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong."""

    rule: str
    severity: Severity
    text: str


Rule = Callable[[Autoscaler, Facts], Iterator[Finding]]


def lint(autoscaler: Autoscaler, facts: Facts) -> list[Finding]:
    """Judge an autoscaler; errors come first."""
    found = [finding for rule in RULES for finding in rule(autoscaler, facts)]
    return sorted(found, key=lambda finding: finding.severity)


def _unknown(autoscaler: Autoscaler, _: Facts) -> Iterator[Finding]:
    for metric in autoscaler.metrics:
        # What is external may come from others; what they serve is not known here.
        if metric.kind.startswith(("pods", "object")) and metric.name not in METRICS:
            names = ", ".join(sorted(METRICS))
            yield Finding(
                "unknown-metric",
                "error",
                f"no node exports {metric.name}: the autoscaler could not scale down; there are "
                f"{names}",
            )


def _external(autoscaler: Autoscaler, _: Facts) -> Iterator[Finding]:
    for metric in autoscaler.metrics:
        served = METRICS.get(metric.name)
        if metric.kind.startswith("external") and served is not None and not served.adds_up:
            yield Finding(
                "no-total",
                "error",
                f"{metric.name} is served for each pod only, as a sum of it means nothing: the "
                "autoscaler would never get it",
            )


def _hit_rate(autoscaler: Autoscaler, _: Facts) -> Iterator[Finding]:
    if any(metric.name == HIT_RATE for metric in autoscaler.metrics):
        yield Finding(
            "hit-rate",
            "error",
            f"{HIT_RATE} falls when a cache is bad, and an autoscaler takes what falls for a "
            "reason to have fewer pods; alert on it instead",
        )


def _pool(autoscaler: Autoscaler, facts: Facts) -> Iterator[Finding]:
    if all(metric.name != POOL for metric in autoscaler.metrics):
        return
    if facts.database_connections is None:
        yield Finding(
            "pool-unguarded",
            "error",
            f"more pods open more connections, which makes a database that is full worse: {POOL} "
            "may only be a target where all of them fit; give --database-connections",
        )
    elif _needed(autoscaler, facts) <= facts.database_connections:
        yield Finding(
            "pool-target",
            "warning",
            f"{POOL} is high as well when the database is slow, which pods do not help",
        )


def _database(autoscaler: Autoscaler, facts: Facts) -> Iterator[Finding]:
    if facts.database_connections is None:
        return
    needed = _needed(autoscaler, facts)
    if needed > facts.database_connections:
        each = facts.pool_size + facts.beside_pool
        fit = facts.database_connections // each
        yield Finding(
            "database-connections",
            "error",
            f"{autoscaler.bounds.most} pods take {needed:,} connections to PostgreSQL, and there "
            f"are {facts.database_connections:,}: lower maxReplicas to {fit}, or storage.pool_size",
        )


def _target(autoscaler: Autoscaler, facts: Facts) -> Iterator[Finding]:
    for metric in autoscaler.metrics:
        if metric.name != CONNECTIONS or facts.derived is None:
            continue
        if metric.target > facts.derived * 1000:
            yield Finding(
                "target-too-high",
                "error",
                f"a target of {metric.target // 1000:,} connections is more than a pod should "
                f"have: {facts.derived:,}, by `rankwire ops hpa target`",
            )


def _reach(autoscaler: Autoscaler, facts: Facts) -> Iterator[Finding]:
    if facts.connections is None:
        return
    for metric in autoscaler.metrics:
        if metric.name != CONNECTIONS or metric.kind != "pods":
            continue
        reached = autoscaler.bounds.most * metric.target // 1000
        if reached < facts.connections:
            needed = -(-facts.connections * 1000 // metric.target)
            yield Finding(
                "out-of-reach",
                "error",
                f"{autoscaler.bounds.most} pods of {metric.target // 1000:,} connections are "
                f"{reached:,}, and {facts.connections:,} are asked for: raise maxReplicas to "
                f"{needed:,}, or the target",
            )


def _bounds(autoscaler: Autoscaler, _: Facts) -> Iterator[Finding]:
    bounds = autoscaler.bounds
    if bounds.least == bounds.most:
        yield Finding("no-room", "warning", "minReplicas is maxReplicas: it scales nothing")
    if bounds.least == 1:
        yield Finding(
            "single-pod", "warning", "with one pod, whatever happens to it happens to everybody"
        )


def _behavior(autoscaler: Autoscaler, _: Facts) -> Iterator[Finding]:
    rules = autoscaler.behavior
    if rules is None:
        return
    if rules.up.select == "Disabled":
        yield Finding("never-grows", "error", "scaleUp is Disabled: load is never followed")
    if rules.down.select == "Disabled":
        yield Finding("never-falls", "warning", "scaleDown is Disabled: a surge is paid for ever")
    elif rules.down.window < _CALM_SECONDS:
        yield Finding(
            "flaps",
            "warning",
            f"scaleDown follows each dip of {rules.down.window} s: every pod that goes sends its "
            f"watchers away; a window of {_CALM_SECONDS} s or more holds still",
        )


def _memory(autoscaler: Autoscaler, _: Facts) -> Iterator[Finding]:
    names = {metric.name for metric in autoscaler.metrics}
    if "memory" in names:
        yield Finding(
            "memory",
            "warning",
            "every node holds all boards, so memory does not fall with more pods: where boards "
            "alone pass the target it grows to maxReplicas and stays",
        )


RULES: Final[tuple[Rule, ...]] = (
    _unknown,
    _external,
    _hit_rate,
    _pool,
    _database,
    _target,
    _reach,
    _bounds,
    _behavior,
    _memory,
)
"""All rules; each yields what it finds."""


def _needed(autoscaler: Autoscaler, facts: Facts) -> int:
    return autoscaler.bounds.most * (facts.pool_size + facts.beside_pool)
