"""The analyzer's recommendations: computed by their models from what was measured, or not made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankwire.ops.analyzer.advice import Context, advise, price
from rankwire.ops.analyzer.advice_database import (
    MOST_WAITING,
    advise_index,
    advise_pool,
    advise_replica,
)
from rankwire.ops.analyzer.advice_others import (
    advise_cache,
    advise_cpu,
    advise_files,
    advise_redis,
    advise_watchers,
    fitted,
    levels,
)
from rankwire.ops.analyzer.details import columns_without_index, dominating
from rankwire.ops.analyzer.figures import compute
from rankwire.ops.analyzer.readings import Buckets, Reading, Window
from rankwire.ops.analyzer.rule_table import RULES
from rankwire.ops.findings import Bottleneck, Recommendation
from rankwire.ops.models.queueing import mean_wait, wait_probability
from rankwire.ops.prices import Catalogue
from rankwire.times import BUCKETS

CATALOGUE = Catalogue.load()
BY_ID = {rule.id: rule for rule in RULES}
SECONDS = 60.0


def _bottleneck(rule: str, value: float = 0.9, **changed: Any) -> Bottleneck:
    values: dict[str, Any] = {"since": 0.0, "impact": "", "threshold": BY_ID[rule].bound}
    figure = BY_ID[rule].figure
    source = figure.partition(".")[0]
    return Bottleneck(
        type=rule, severity=BY_ID[rule].severity, source=source, figure=figure, value=value,
        **(values | changed),
    )  # fmt: skip


def _context(source: str, window: Window | None, **more: Any) -> Context:
    windows = {source: window}
    values = {"figures": compute(windows), "readings": []} | more
    return Context(windows=windows, rules=BY_ID, catalogue=CATALOGUE, **values)


def _pool_window(
    load: float = 7.5,
    hold: float = 0.05,
    size: float = 8,
    statements: Sequence[Any] = (),
    **gauges: float,
) -> Window:
    """Make a minute in which a pool carried so many erlangs."""
    requests = load / hold * SECONDS
    waits = [0] * (len(BUCKETS) + 1)
    waits[3] = round(requests)

    def reading(part: float) -> Reading:
        limits = {"pool.primary.size": size, "max_connections": 100.0, "reserved_connections": 3.0}
        return Reading(
            at=part * SECONDS,
            gauges=limits | {"nodes": 1.0} | gauges,
            totals={
                "pool.primary.requests": requests * part,
                "pool.primary.refused": 0.0,
                "pool.primary.busy_seconds": load * SECONDS * part,
            },
            times={"pool.primary": Buckets(BUCKETS, [round(w * part) for w in waits], 9.0 * part)},
            rows={"statements": list(statements), "tables": []},
        )

    return Window(reading(0), reading(1))


def _gauges(gauges: dict[str, float]) -> Window:
    return Window(Reading(at=0.0, gauges=gauges), Reading(at=SECONDS, gauges=gauges))


def _only(found: Any) -> Recommendation:
    (recommendation,) = found
    assert isinstance(recommendation, Recommendation)
    return recommendation


@given(st.floats(1, 60), st.floats(0.001, 1.0), st.integers(1, 60))
def test_a_pool_is_just_large_enough(load: float, hold: float, size: int) -> None:
    window = _pool_window(load, hold, size, max_connections=1000.0)
    found = list(advise_pool(_context("database", window), _bottleneck("DATABASE_CONNECTION_POOL")))
    if not found:
        # Either it is large enough already, or there was too little to go by.
        assert wait_probability(size, load * 0.999) <= MOST_WAITING or load / hold * SECONDS < 30
        return
    advice = _only(found)
    wanted = int(advice.apply.rpartition("=")[2])
    measured = float(advice.inputs["load_erlangs"])
    assert measured == pytest.approx(load)
    assert wait_probability(wanted, measured) <= MOST_WAITING
    assert wanted - 1 == size - 1 or wait_probability(wanted - 1, measured) > MOST_WAITING
    waits, seconds, used = advice.predicted
    assert (waits.before, waits.after) == (
        wait_probability(size, measured), wait_probability(wanted, measured),
    )  # fmt: skip
    # Before is what was measured, after is what the model says.
    assert seconds.before == pytest.approx(9.0 / round(load / hold * SECONDS), rel=0.01)
    assert seconds.after == pytest.approx(mean_wait(wanted, measured, hold))
    assert used.after == pytest.approx(load / wanted)
    assert (advice.monthly, advice.cost, advice.model) == (0.0, [], "Erlang C (M/M/c)")


@pytest.mark.parametrize(("rate", "seconds", "size"), [(500, 0.01, 12), (5000, 0.01, 68)])
def test_pools_of_known_size(rate: int, seconds: float, size: int) -> None:
    """By tables of Erlang C, for less than one request in a hundred that waits."""
    window = _pool_window(rate * seconds, seconds)
    found = _bottleneck("DATABASE_CONNECTION_POOL")
    advice = _only(advise_pool(_context("database", window), found))
    assert advice.apply == f"[storage]\npool_size = {size}\n"


def test_a_pool_that_postgres_has_no_room_for_is_refused() -> None:
    window = _pool_window(load=30, nodes=4.0)
    advice = _only(
        advise_pool(_context("database", window), _bottleneck("DATABASE_CONNECTION_POOL"))
    )
    assert advice.action == "KEEP_POOL_SIZE"
    assert "4 nodes with a pool of" in advice.description
    assert "PostgreSQL allows 97" in advice.description
    assert (advice.predicted, advice.apply) == ([], "")
    window = _pool_window(load=99, max_connections=10_000.0)
    advice = _only(
        advise_pool(_context("database", window), _bottleneck("DATABASE_CONNECTION_POOL"))
    )
    assert "more than storage.pool_size may be" in advice.description


def test_a_pool_is_not_sized_for_what_else_fills_it_or_for_too_little() -> None:
    pool = "DATABASE_CONNECTION_POOL"
    context = _context("database", _pool_window())
    assert list(advise_pool(context, _bottleneck(pool, cause="DATABASE_LOCK_WAITS"))) == []
    few = _context("database", _pool_window(load=0.4, hold=1.0, size=1))
    assert list(advise_pool(few, _bottleneck(pool))) == []
    assert list(advise_pool(_context("database", None), _bottleneck(pool))) == []


def test_a_statement_that_dominates_comes_first() -> None:
    rows = [
        {"id": 1, "text": "SELECT a", "calls": 600.0, "seconds": 60.0, "rows": 600.0},
        {"id": 2, "text": "SELECT b", "calls": 600.0, "seconds": 6.0, "rows": 600.0},
    ]
    window = _pool_window(statements=rows)
    found = list(advise_pool(_context("database", window), _bottleneck("DATABASE_CONNECTION_POOL")))
    assert [each.action for each in found] == ["SPEED_UP_STATEMENT", "RESIZE_POOL"]
    statement = found[0]
    assert statement.inputs["part_of_all_time"] == pytest.approx(60 / 66)
    assert "91%" in statement.description
    assert "SELECT a" in statement.description
    # 10 calls a second of 0.1 s keep one session busy; at 20 ms each it is a fifth of that.
    assert statement.predicted[0].before == pytest.approx(1.0)
    assert statement.predicted[0].after == pytest.approx(0.2)
    even = [row | {"seconds": 30.0} for row in rows]
    assert dominating(_pool_window(statements=even)) is None
    assert dominating(_pool_window()) is None


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("SELECT * FROM t WHERE player = $1 AND id = $2", ["player"]),
        ('SELECT * FROM t WHERE "player" IN ($1)', ["player"]),
        ("SELECT player FROM t ORDER BY points", []),
        ("SELECT * FROM t WHERE t.points > $1 AND player_id = $2", ["points"]),
        ("", []),
    ],
)
def test_columns_are_those_that_are_compared(text: str, columns: list[str]) -> None:
    table = {"columns": ["id", "player", "points"], "leading": ["id"]}
    assert columns_without_index(table, [text]) == columns


def test_an_index_is_proposed_only_where_a_column_is_known() -> None:
    table = {
        "table": "public.t", "plain": "t", "rows": 2e5, "scans": 6.0, "rows_each": 2e5,
        "columns": [], "statement": "", "found_each": None,
    }  # fmt: skip
    found = _bottleneck("DATABASE_MISSING_INDEX", 1.0, details={"tables": [table]})
    advice = _only(advise_index(_context("database", _pool_window()), found))
    assert (advice.apply, advice.predicted, advice.confidence) == ("", [], "low")
    assert "public.t" in advice.description


@pytest.mark.parametrize(
    ("replayed", "action", "words"),
    [
        (0.0, "RESUME_REPLAY", "stands still"),
        (600.0, "FASTER_REPLICA", "does not catch up"),
        (2400.0, "WAIT", "in 100 s"),
    ],
)
def test_a_replica_catches_up_or_does_not(replayed: float, action: str, words: str) -> None:
    def reading(part: float) -> Reading:
        row = {"name": "r", "state": "streaming", "lag": 9.0, "bytes": 2000.0}
        return Reading(
            at=part * SECONDS,
            totals={"wal_bytes": 1200.0 * part},
            rows={"replication": [row | {"replayed": replayed * part}]},
        )

    context = _context("database", Window(reading(0), reading(1)))
    advice = _only(advise_replica(context, _bottleneck("DATABASE_REPLICATION_LAG", 9.0)))
    assert advice.action == action
    assert words in advice.description
    assert bool(advice.predicted) == (action == "WAIT")


# The processor.


def _api_readings(*loads: tuple[float, float]) -> list[Reading]:
    """Make readings, a second apart, with so many requests a second and so many at once."""
    requests, seconds, readings = 0.0, 0.0, []
    for at, (rate, at_once) in enumerate([(0.0, 0.0), *loads]):
        requests, seconds = requests + rate, seconds + at_once
        counts = [round(requests)] + [0] * len(BUCKETS)
        readings.append(
            Reading(
                at=float(at),
                gauges={"cores": 2.0},
                totals={
                    "requests": requests, "errors": 0.0, "cpu_seconds": requests * 0.002,
                    "loop_seconds": requests * 0.001,
                },
                times={"requests": Buckets(BUCKETS, counts, seconds)},
            )
        )  # fmt: skip
    return readings


def _law(n: float) -> float:
    return 1000 * n / (1 + 0.1 * (n - 1) + 0.01 * n * (n - 1))


def test_the_scalability_law_is_fitted_when_there_are_levels_enough() -> None:
    readings = _api_readings(*[(_law(n), n) for n in (1, 2, 4, 8, 2, 1)])
    assert len(levels(readings)) == 4
    law = fitted(readings)
    assert law is not None
    assert law.contention == pytest.approx(0.1, abs=0.01)
    assert law.coherency == pytest.approx(0.01, abs=0.001)
    few = _api_readings(*[(_law(n), n) for n in (1, 2, 4, 1, 2)])
    assert fitted(few) is None
    # So few requests tell no level.
    idle = _api_readings(*[(_law(n) / 50, n) for n in (1, 2, 4, 8)])
    assert levels(idle) == []
    # Four levels that are hardly different are noise.
    near = _api_readings(*[(_law(n), n) for n in (4, 5, 6.5, 8.5)])
    assert fitted(near) is None


def _cpu(readings: list[Reading], **more: Any) -> Recommendation:
    window = Window(readings[0], readings[-1])
    context = _context("api", window, readings=readings, **more)
    return _only(advise_cpu(context, _bottleneck("API_CPU_UTILIZATION", 0.9)))


def test_nodes_are_added_until_the_processor_is_well() -> None:
    advice = _cpu(_api_readings((700.0, 1.5), (700.0, 1.5)), skus={"api": "ec2:c7g.large"})
    assert advice.model == "M/M/c, as the history has too few levels of load"
    assert advice.inputs["cpu_seconds_per_request"] == pytest.approx(0.002)
    used, waits = advice.predicted
    assert (used.before, used.after) == (0.9, 0.45)
    assert waits.before > waits.after >= 0
    (line,) = advice.cost
    assert line.sku == "ec2:c7g.large"
    assert advice.monthly == line.monthly == pytest.approx(730 * line.unit_price)
    assert line.date
    assert advice.apply == "replicas: 2"
    assert advice.confidence == "low"


def test_nodes_are_counted_by_the_database() -> None:
    readings = _api_readings((700.0, 1.5), (700.0, 1.5))
    windows = {"api": Window(readings[0], readings[-1]), "database": _gauges({"nodes": 4.0})}
    context = Context(
        figures=compute(windows), windows=windows, readings=readings, rules=BY_ID,
        catalogue=CATALOGUE,
    )  # fmt: skip
    advice = _only(advise_cpu(context, _bottleneck("API_CPU_UTILIZATION", 0.9)))
    # 4 x 0.9 / 0.7 is 5.1.
    assert advice.apply == "replicas: 6"
    assert advice.predicted[0].after == pytest.approx(0.6)


def test_with_levels_the_law_predicts_the_time_of_a_request() -> None:
    advice = _cpu(_api_readings(*[(_law(n), n) for n in (1, 2, 4, 8)]))
    assert advice.model == "USL"
    assert advice.inputs["contention"] == pytest.approx(0.1, abs=0.01)
    time = next(each for each in advice.predicted if each.figure == "mean time of a request")
    assert time.before > time.after > 0
    assert (advice.monthly, advice.confidence) == (None, "medium")


def test_a_price_is_known_only_of_what_is_named() -> None:
    context = _context("api", None, skus={"api": "ec2:c7g.xlage"})
    bill = price(context, "api", 1)
    assert (bill.monthly, bill.lines) == (None, [])
    assert "ec2:c7g.xlarge" in bill.caveats[0]
    assert price(context, "cache", 1).caveats == [
        "no SKU is named for cache, so its price is not known"
    ]


# Caches, and what runs out of room.


def test_a_cache_grows_along_its_curve() -> None:
    hits = _bottleneck("CACHE_HIT_RATE", 0.6)

    def curve(kind: str, sizes: Sequence[int]) -> list[float]:
        assert kind == "user_profile"
        return [max(0.05, 0.4 - (size - 20_000) / 200_000) for size in sizes]

    advice = _only(advise_cache(_context("cache", None, curve=curve), hits))
    (change,) = advice.predicted
    assert change.before == pytest.approx(0.6)
    assert change.after == pytest.approx(0.9)
    assert "80,000 profiles" in advice.description
    flat = _context("cache", None, curve=lambda _kind, sizes: [0.4] * len(sizes))
    assert list(advise_cache(flat, hits)) == []
    unknown = _context("cache", None, curve=lambda _kind, _sizes: [])
    assert list(advise_cache(unknown, hits)) == []
    assert list(advise_cache(_context("cache", None), hits)) == []


def test_redis_gets_room_for_what_it_evicts() -> None:
    gauges = {
        "redis_memory": 90e6, "redis_memory_limit": 100e6, "redis_data_memory": 80e6,
        "redis_keys": 80_000.0,
    }  # fmt: skip
    readings = [
        Reading(at=at, gauges=gauges, totals={"redis_evicted": at * 100}) for at in (0.0, SECONDS)
    ]
    context = _context(
        "cache", Window(readings[0], readings[1]), skus={"cache": "cache-redis:cache.r6g.large"}
    )
    advice = _only(advise_redis(context, _bottleneck("REDIS_EVICTIONS", 100.0)))
    # 100 keys of 1 kB a second that would stay for a minute, at 85 % of the new limit.
    needed = int(advice.apply.rpartition(" ")[2])
    assert needed == pytest.approx((90e6 + 100 * 60 * 1000) / 0.85, abs=1024**2)
    part, evicted = advice.predicted
    assert part.before == 0.9
    assert part.after <= 0.85
    assert (evicted.before, evicted.after) == (100, 0)
    assert advice.monthly == pytest.approx(advice.cost[0].monthly)


def test_limits_are_raised_until_they_are_well() -> None:
    window = _gauges({"files": 80.0, "files_limit": 100.0})
    advice = _only(advise_files(_context("host", window), _bottleneck("HOST_FILES", 0.8)))
    assert advice.apply == "LimitNOFILE=134"
    watchers = _gauges({"connections": 95.0, "connections_limit": 100.0})
    found = _bottleneck("WEBSOCKET_CONNECTIONS", 0.95)
    advice = _only(advise_watchers(_context("websocket", watchers), found))
    assert (advice.apply, advice.predicted[0].after) == ("replicas: 2", 0.475)


def test_the_same_thing_is_said_once() -> None:
    context = _context("database", _pool_window())
    pool, wait = "DATABASE_CONNECTION_POOL", "DATABASE_POOL_WAIT"
    both = [_bottleneck(pool), _bottleneck(wait, 0.5, cause=pool)]
    advice = _only(advise(context, both, {pool: advise_pool, wait: advise_pool}))
    assert advice.because == pool
    assert advise(context, [_bottleneck("HOST_MEMORY")], {}) == []
