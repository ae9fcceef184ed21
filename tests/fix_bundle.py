"""A bundle as a busy node's would be, for tests of what is made of it."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from rankwire.ops.caching.report import CachingReport, Curve, Freed, Pattern, Point, Strategy
from rankwire.ops.findings import (
    Bottleneck,
    CostLine,
    Health,
    Prediction,
    Recommendation,
    Report,
    SourceStatus,
    Trigger,
)
from rankwire.ops.optimizer.savings import Capacity, OptimizationReport, Refusal, Risk
from rankwire.ops.report.bundle import Bundle, Episode

AT: Final = 1_772_366_400.0
"""2026-03-01 12:00:00 UTC."""

STATEMENT: Final = "SELECT body FROM profiles WHERE lower(member) = $1 AND region = ANY($2)"

UNITS: Final = {
    "api.requests_per_second": "1/s",
    "api.request_p99": "s",
    "api.cpu_utilization": "ratio",
    "database.pool_utilization": "ratio",
    "database.pool_wait_p99": "s",
    "database.slow_queries": "calls",
    "cache.hit_rate": "ratio",
    "cache.redis_memory_part": "ratio",
    "websocket.connections": "watchers",
    "host.memory_part": "ratio",
    "host.rss": "B",
}

LINE: Final = CostLine(
    "rds.db.r6g.large", 1.0, "hour", 0.225, 164.25, "AWS price list", "2026-02-20"
)


def bottlenecks() -> list[Bottleneck]:
    """Slow statements, and a pool that is full because of them."""
    return [
        Bottleneck(
            type="DATABASE_SLOW_QUERIES",
            severity="MEDIUM",
            source="database",
            figure="database.slow_queries",
            value=412.0,
            threshold=10.0,
            since=AT - 700,
            impact="Statements that take long keep connections from others.",
            details={"statement": STATEMENT, "calls": 412, "mean seconds": 0.31},
        ),
        Bottleneck(
            type="DATABASE_CONNECTION_POOL",
            severity="HIGH",
            source="database",
            figure="database.pool_utilization",
            value=0.97,
            threshold=0.8,
            since=AT - 640,
            impact="Requests for profiles and history wait for a connection.",
            cause="DATABASE_SLOW_QUERIES",
            details={"pool": "primary", "size": 8},
        ),
        Bottleneck(
            type="API_LATENCY",
            severity="LOW",
            source="api",
            figure="api.request_p99",
            value=0.25,
            threshold=0.1,
            since=AT - 600,
            impact="One request in a hundred takes longer than players like.",
            cause="DATABASE_CONNECTION_POOL",
        ),
    ]


def recommendations() -> list[Recommendation]:
    """An index that costs nothing and a pool that costs memory."""
    return [
        Recommendation(
            id="pool",
            priority="MEDIUM",
            action="RESIZE_POOL",
            resource="database pool",
            description="Give the pool 12 connections, so that fewer than 1 in 100 requests wait.",
            because="DATABASE_CONNECTION_POOL",
            inputs={"arrivals a second": 41.2, "seconds each": 0.182, "connections": 8.0},
            model="Erlang C",
            predicted=[Prediction("database.pool_wait_mean", "s", 0.24, 0.0031, 0.0018, 0.0052)],
            cost=[LINE],
            monthly=164.25,
            confidence="medium",
            caveats=["Service times were not exponential: their deviation is 1.4 of the mean."],
            verify="histogram_quantile(0.99, rate(rankwire_pool_wait_seconds_bucket[5m]))",
            apply="[storage]\npool_size = 12\n",
        ),
        Recommendation(
            id="index",
            priority="HIGH",
            action="ADD_INDEX",
            resource="profiles",
            description="Add the index that the slow statement looks for.",
            because="DATABASE_SLOW_QUERIES",
            inputs={"rows": 200_000.0, "share of time": 0.91},
            model="utilization law",
            predicted=[Prediction("database.pool_load", "erlangs", 7.5, 0.68)],
            cost=[],
            monthly=0.0,
            confidence="high",
            verify="rate(rankwire_pool_refused_total[5m])",
            apply="CREATE INDEX CONCURRENTLY ON profiles (lower(member));",
        ),
    ]


def history() -> dict[str, list[tuple[float, float | None]]]:
    """An hour in steps of five seconds, with ten minutes of which nothing is known."""
    moments = [AT - 3600 + 5 * n for n in range(721)][1:]

    def known(at: float, value: float) -> float | None:
        return None if AT - 2400 <= at < AT - 1800 else value

    def rise(at: float) -> float:
        return 1 / (1 + math.exp(-(at - AT + 700) / 60))

    return {
        "api.requests_per_second": [
            (at, 800 + 90 * math.sin(at / 200) + 400 * rise(at)) for at in moments
        ],
        "api.request_p99": [(at, 0.012 + 0.24 * rise(at)) for at in moments],
        "database.pool_utilization": [
            (at, known(at, 0.3 + 0.05 * math.sin(at / 70) + 0.62 * rise(at))) for at in moments
        ],
        "cache.hit_rate": [(at, 0.91 - 0.02 * math.sin(at / 300)) for at in moments],
        "websocket.connections": [(at, 12_000 + (at - AT + 3600) * 2) for at in moments],
        "cache.redis_memory_part": [(at, None) for at in moments],
    }


def triggers() -> list[Trigger]:
    """One beyond its limit, one with room, one that is not known."""
    return [
        Trigger(
            resource="database pool", figure="database.pool_utilization", now=0.97, limit=0.8,
            load="requests a second", load_now=41.2, load_at_limit=33.0, days_left=None,
            note="insufficient history",
        ),
        Trigger(
            resource="memory", figure="host.memory_part", now=0.41, limit=0.9,
            load="members", load_now=1_200_000.0, load_at_limit=2_634_000.0, days_left=41.0,
            note="by the slope of 9 days, 33 to 57 days",
        ),
        Trigger(
            resource="Redis memory", figure="cache.redis_memory_part", now=None, limit=0.9,
            load="profiles", load_now=None, load_at_limit=None, days_left=None,
            note="Redis could not be asked",
        ),
    ]  # fmt: skip


def report(**changed: Any) -> Report:
    """What the analyzer says; cache could not be asked."""
    figures = dict.fromkeys(UNITS, None) | {
        name: points[-1][1] for name, points in history().items()
    }
    found = Report(
        at=AT,
        window_seconds=60.0,
        overall=Health(0.21, "database: the pool is full, as statements are slow"),
        health={
            "api": Health(0.8, "one request in a hundred takes 250 ms"),
            "database": Health(0.21, "the pool is full"),
            "cache": Health(None, "not known"),
            "host": Health(1.0, "nothing to say"),
        },
        sources={
            "api": SourceStatus("ok", at=AT, samples=720),
            "database": SourceStatus("ok", at=AT, samples=720),
            "cache": SourceStatus("unavailable", "Redis does not answer: Connection refused", AT),
            "websocket": SourceStatus("absent"),
            "host": SourceStatus("ok", at=AT, samples=720),
        },
        figures=figures | {"host.rss": 412.0 * 1024**2},
        bottlenecks=bottlenecks(),
        recommendations=recommendations(),
        triggers=triggers(),
    )
    return msgspec.structs.replace(found, **changed)


def caching() -> CachingReport:
    """Profiles are cached, and pages would be."""
    points = [Point(64 * 2**n, 64.0 * 2**n * 900, 0.94 * math.exp(-n / 3.1)) for n in range(12)]
    return CachingReport(
        at=AT,
        mode="apply",
        window_seconds=60.0,
        patterns=[
            Pattern(strategy="USER_PROFILE_CACHE", figure="members in 24 h", value=48_211.0,
                    threshold=10_000.0, found=True),
        ],
        curves=[Curve(kind="user_profile", points=points, knee=8192)],
        strategies=[
            Strategy(name="USER_PROFILE_CACHE", state="on", reason="48,211 members in 24 h",
                     since=AT - 1800, predicted_hit_rate=0.89, measured_hit_rate=0.902,
                     baseline_hit_rate=0.71, entries=8192, seconds=60.0, memory_bytes=7.4e6),
            Strategy(name="PRECOMPUTED_LEADERBOARDS", state="off", reason="no board is read often",
                     since=AT - 3600, predicted_hit_rate=None, measured_hit_rate=None,
                     baseline_hit_rate=None, entries=None, seconds=None, memory_bytes=None),
        ],
        capacity_freed=[
            Freed(strategy="USER_PROFILE_CACHE", resource="database", hits_per_second=212.0,
                  miss_seconds=0.0021, monthly_seconds=1.1e6, part=0.34),
        ],
        current_database_cost=328.5,
        optimized_database_cost=164.25,
        added_cache_cost=0.05,
        realizable_saving=164.25,
        net_saving=None,
        lines=[LINE],
        reasons={"net_saving": "the SKU of the cache has no price"},
    )  # fmt: skip


def optimization() -> OptimizationReport:
    """Smaller machines would do."""
    return OptimizationReport(
        at=AT,
        window_hours=240,
        current_costs=[LINE],
        optimized_costs=[msgspec.structs.replace(LINE, monthly=82.13, unit_price=0.1125)],
        current_monthly=164.25,
        optimized_monthly=82.13,
        savings=82.12,
        capacity_freed=Capacity(2.0, 8e9),
        recommendations=[
            msgspec.structs.replace(recommendations()[0], id="smaller", action="RIGHT_SIZE",
                                    resource="api", because="", monthly=-82.12),
        ],
        risk_assessment=[Risk("smaller", "performance", 0.004, "0.4 % of the hours were above it")],
        refused=[Refusal("hub", "RIGHT_SIZE", "only 3 days of history")],
        unpriced=["redis"],
    )  # fmt: skip


def priceless() -> OptimizationReport:
    """Nothing of what is used has a price, so there are no sums."""
    return msgspec.structs.replace(
        optimization(), current_costs=[], optimized_costs=[], current_monthly=0.0,
        optimized_monthly=0.0, savings=0.0, recommendations=[], unpriced=["own node", "redis"],
    )  # fmt: skip


def bundle(**changed: Any) -> Bundle:
    """All of it."""
    found = Bundle(
        node="rankwire-7",
        version="0.1.0",
        at=AT,
        report=report(),
        units=UNITS,
        history=history(),
        episodes=[
            Episode("API_EVENT_LOOP_LAG", "LOW", AT - 3000, AT - 2800),
            Episode("API_EVENT_LOOP_LAG", "LOW", AT - 1500, AT - 1420),
            Episode("DATABASE_SLOW_QUERIES", "MEDIUM", AT - 700),
            Episode("DATABASE_CONNECTION_POOL", "HIGH", AT - 640),
        ],
        caching=msgspec.to_builtins(caching()),
        optimization=msgspec.to_builtins(optimization()),
    )
    return msgspec.structs.replace(found, **changed)
