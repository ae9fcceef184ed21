"""What hits are worth: capacity that they free, and money that is really saved.

The two are not the same. A hit saves the database a piece of its time; the bill falls only when a
smaller server, or one server less, carries what is left of the load. So the saving is a step
function, and zero between its steps. What smaller servers would save without any caching belongs to
the optimizer and is not counted here. Pure arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, cast

import msgspec

from rankwire.ops.caching.report import Freed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rankwire.ops.caching.report import Strategy
    from rankwire.ops.findings import CostLine, Known
    from rankwire.ops.prices import Catalogue, Kind, Price

HOUR_SECONDS: Final = 3600.0

HEAD_ROOM: Final = 0.2
"""Part of a server's processors that is kept free: the default of AWS Compute Optimizer."""


class DatabaseCost(msgspec.Struct, frozen=True):
    """The database's price, now and for what is left of its load."""

    current: Known
    optimized: Known
    realizable: Known
    lines: list[CostLine]
    reason: str
    """Why the last two are what they are, or why they are None."""


class _Fleet(msgspec.Struct, frozen=True):
    """Servers of one kind."""

    line: CostLine
    servers: int


def freed(
    strategy: Strategy,
    resource: Literal["database", "processor"],
    per_second: Known,
    cost: tuple[float, int],
    hours: float,
) -> Freed:
    """Tell what the hits of a strategy save in a month of so many hours.

    `per_second` are questions, `cost` is seconds and how many misses took them. The hit rate is the
    measured one if there is one, otherwise the predicted one, against that without the strategy.
    """
    rate = strategy.measured_hit_rate
    if rate is None:
        rate = strategy.predicted_hit_rate
    hits, seconds = None, cost[0] / cost[1] if cost[1] else None
    if rate is not None and strategy.baseline_hit_rate is not None and per_second is not None:
        hits = per_second * max(0.0, rate - strategy.baseline_hit_rate)
    monthly = None if hits is None or seconds is None else hits * seconds * hours * HOUR_SECONDS
    return Freed(strategy.name, resource, hits, seconds, monthly, None)


def part_of(freed: Known, busy: Known) -> Known:
    """Give the part of the database's time that is freed, at most all of it; None if not known.

    Both in seconds of work each second; `busy` is without the freeing.
    """
    if freed is None or not busy:
        return None
    return min(1.0, freed / busy)


def loads_without(loads: Sequence[float], freed: float, *, is_on: bool) -> list[float]:
    """Give the servers' loads as they are without caching: as measured, unless it is on.

    Reads go to the last server.
    """
    return [*loads[:-1], loads[-1] + freed] if is_on else list(loads)


def loads_with(loads: Sequence[float], freed: float, *, is_on: bool) -> list[float]:
    """Give the servers' loads as they are with caching: as measured, if it is on."""
    return list(loads) if is_on else [*loads[:-1], max(0.0, loads[-1] - freed)]


def database_cost(
    catalogue: Catalogue, sku: str, without: Sequence[float], left: Sequence[float]
) -> DatabaseCost:
    """Price the database's servers now, and those that carry what is left of the load.

    A load is how many of a server's sessions work at a time, when there are most, the primary's
    first. A session keeps one processor busy at most, so it is an upper bound of what is needed.
    `without` is the load without caching. Raises PriceError for an unknown SKU.
    """
    price = catalogue.price(sku)
    servers = len(without)
    now = catalogue.line(sku, servers)
    # What would do without caching as well is no saving of it.
    before = _cheapest(catalogue, price, without)
    after = _cheapest(catalogue, price, left)
    if before is None or after is None:
        reason = "no server of its kind in the price table carries the load"
        return DatabaseCost(now.monthly, None, None, [now], reason)
    realizable = max(0.0, min(before.line.monthly, now.monthly) - after.line.monthly)
    optimized = now.monthly - realizable
    if realizable == 0.0:
        reason = "what is left of the load needs the same servers: the time is freed, no bill falls"
        return DatabaseCost(now.monthly, optimized, 0.0, [now], reason)
    reason = _step(after, servers, sku)
    return DatabaseCost(now.monthly, optimized, realizable, [now, after.line], reason)


def _cheapest(catalogue: Catalogue, price: Price, loads: Sequence[float]) -> _Fleet | None:
    """Give the cheapest servers for a load, as many as now or fewer, with no less memory each.

    How much memory the database needs is not known, so it is not made less.
    """
    found: list[_Fleet] = []
    for servers in range(1, len(loads) + 1):
        # What a server that is not there did falls to the first.
        most = max(loads[0] + sum(loads[servers:]), *loads[1:servers], 0.0)
        fitting = catalogue.instances(
            cast("Kind", price.kind),
            vcpu=most / (1.0 - HEAD_ROOM),
            memory_gb=price.number("memory_gb") or 0.0,
        )
        if fitting:
            found.append(_Fleet(catalogue.line(fitting[0].sku, servers), servers))
    return min(found, key=lambda fleet: fleet.line.monthly, default=None)


def _step(after: _Fleet, servers: int, sku: str) -> str:
    words = f"{after.servers} of {after.line.sku} instead of {servers} of {sku} carry what is left"
    if after.servers < servers:
        words += "; with a replica less there is none to take over when a server fails"
    return words
