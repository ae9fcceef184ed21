"""What caching says of itself: patterns, curves, strategies, and what they save, as data.

Like `ops.findings`: what is not known is None, and `reasons` tells why, by the name of the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from rankwire.ops.findings import CostLine, Known

Mode = Literal["off", "advise", "apply"]
State = Literal["off", "on", "rolled_back"]
StrategyName = Literal["PRECOMPUTED_LEADERBOARDS", "USER_PROFILE_CACHE"]


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """Something about the traffic that a strategy is for."""

    strategy: StrategyName
    figure: str
    """What is compared: `reads a minute of a board` or `members in 24 h`."""
    value: Known
    threshold: float
    found: bool
    """Whether the value is above the threshold."""
    names: list[str] = []
    """The boards it is about, the most read first, at most a hundred."""


class Point(msgspec.Struct, frozen=True):
    """One size of a cache."""

    entries: int
    bytes: Known
    """What they need, at the mean size of those that are cached now."""
    miss_ratio: float
    """Of a cache that throws out what was used the longest time ago."""


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """How the misses fall with the size of a cache, for a plot."""

    kind: Literal["page", "user_profile"]
    points: list[Point]
    """Ascending."""
    knee: int | None
    """The size, in entries, beyond which more brings little; None if nothing brings anything."""


class Strategy(msgspec.Struct, frozen=True, kw_only=True):
    """Something that can be turned on, and what came of it."""

    name: StrategyName
    state: State
    reason: str
    """Why it is in this state."""
    since: float
    """When it came into it, in seconds since 1970."""
    predicted_hit_rate: Known
    """What it promises; while it is on, what it promised when it was turned on."""
    measured_hit_rate: Known
    """Since it was turned on and its cache is filled; None while it is not on."""
    baseline_hit_rate: Known
    """Without it, as measured last."""
    entries: int | None
    """Size that it has or would have, in profiles or boards."""
    seconds: Known
    """How long what is cached counts; None for until it changes."""
    memory_bytes: Known
    """What is cached needs now; what it would need if it is not on."""


class Freed(msgspec.Struct, frozen=True):
    """Work that hits save or would save. This is room for more load, not money."""

    strategy: StrategyName
    resource: Literal["database", "processor"]
    """Profiles are read from the database; pages are made by this node's processor."""
    hits_per_second: Known
    """More of them than without the strategy."""
    miss_seconds: Known
    """Measured mean cost of a miss, of a profile or a page. With Redis it is the mean over the
    misses that Redis answered as well, and hits spare Redis first."""
    monthly_seconds: Known
    part: Known
    """Of all the time that the database works; None for the processor, and where not known."""
    is_bound: bool = False
    """Whether the times are only upper bounds: without pg_stat_statements it is not known how long
    the database worked, only when the answer was there, after waiting and the network as well."""


class CachingReport(msgspec.Struct, frozen=True, kw_only=True):
    """What caching does, or would do, on one node.

    The costs are those of the whole database, which all nodes share, and so is the saving: each
    node tells what its hits alone save of it. Adding up the reports of nodes counts it twice.
    """

    at: float
    mode: Mode
    window_seconds: float
    patterns: list[Pattern]
    """Empty in the mode `off`, in which nobody counts."""
    curves: list[Curve]
    strategies: list[Strategy]
    capacity_freed: list[Freed]
    current_database_cost: Known
    """Dollars a month for the database's servers of `ops.database_sku`."""
    optimized_database_cost: Known
    """The same for the cheapest servers that carry what is left of the load."""
    added_cache_cost: Known
    """For the memory of the caches."""
    realizable_saving: Known
    """What the hits save of the database's price: that comes in steps, one size or one replica at
    a time, so it is zero as long as no step is reached. Without what smaller servers would save
    already."""
    net_saving: Known
    """`realizable_saving` without `added_cache_cost`."""
    lines: list[CostLine]
    """The prices behind it: of the servers now, and of those that would do."""
    reasons: Mapping[str, str]
    """Why a figure is None, or what it is about, by its name."""
