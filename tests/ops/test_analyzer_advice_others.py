"""Recommendations for the processor, Redis, watchers and files, and what they cost."""

from __future__ import annotations

from typing import Any

import pytest

from fix_advice import SECONDS, make_bottleneck, make_context, make_gauges, only
from rankwire.ops.analyzer.advice import price
from rankwire.ops.analyzer.advice_others import (
    advise_cpu,
    advise_files,
    advise_redis,
    advise_watchers,
    fitted,
    levels,
)
from rankwire.ops.analyzer.readings import Buckets, Reading, Window
from rankwire.ops.findings import Recommendation
from rankwire.ops.models.queueing import wait_quantile
from rankwire.times import BUCKETS

# The processor.


def _api_readings(*loads: tuple[float, float], cores: float = 2.0) -> list[Reading]:
    """Make readings, a second apart, with so many requests a second and so many at once."""
    requests, seconds, readings = 0.0, 0.0, []
    for at, (rate, at_once) in enumerate([(0.0, 0.0), *loads]):
        requests, seconds = requests + rate, seconds + at_once
        counts = [round(requests)] + [0] * len(BUCKETS)
        readings.append(
            Reading(
                at=float(at),
                gauges={"cores": cores},
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
    context = make_context("api", window, nodes=1, readings=readings, **more)
    return only(advise_cpu(context, make_bottleneck("API_CPU_UTILIZATION", 0.9)))


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


def test_the_fuller_one_of_cores_and_event_loop_is_waited_for() -> None:
    advice = _cpu(_api_readings((900.0, 1.5), (900.0, 1.5), cores=8.0))
    _, waits = advice.predicted
    assert waits.figure == "95th percentile of the wait for the event loop"
    # One server, and a thousandth of a second of it for each.
    assert waits.before == pytest.approx(wait_quantile(1, 0.9, 0.001, 0.95))
    assert waits.after == pytest.approx(wait_quantile(1, 0.45, 0.001, 0.95))
    assert waits.before > waits.after
    advice = _cpu(_api_readings((900.0, 1.5), (900.0, 1.5), cores=2.0))
    assert advice.predicted[1].figure == "95th percentile of the wait for a core"


def test_nodes_that_cannot_be_more_than_one_are_not_added() -> None:
    """SQLite is of one node, and says nothing of others."""
    readings = _api_readings((700.0, 1.5), (700.0, 1.5))
    context = make_context("api", Window(readings[0], readings[-1]), readings=readings)
    assert list(advise_cpu(context, make_bottleneck("API_CPU_UTILIZATION", 0.9))) == []
    watchers = make_gauges({"connections": 95.0, "connections_limit": 100.0})
    found = make_bottleneck("WEBSOCKET_CONNECTIONS", 0.95)
    assert list(advise_watchers(make_context("websocket", watchers), found)) == []


def test_nodes_are_counted_by_the_database() -> None:
    readings = _api_readings((700.0, 1.5), (700.0, 1.5))
    context = make_context("api", Window(readings[0], readings[-1]), nodes=4, readings=readings)
    advice = only(advise_cpu(context, make_bottleneck("API_CPU_UTILIZATION", 0.9)))
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
    context = make_context("api", None, skus={"api": "ec2:c7g.xlage"})
    bill = price(context, "api", 1)
    assert (bill.monthly, bill.lines) == (None, [])
    assert "ec2:c7g.xlarge" in bill.caveats[0]
    assert price(context, "cache", 1).caveats == [
        "no SKU is named for cache, so its price is not known"
    ]


# Caches, and what runs out of room.


def test_redis_gets_room_for_what_it_evicts() -> None:
    gauges = {
        "redis_memory": 90e6, "redis_memory_limit": 100e6, "redis_data_memory": 80e6,
        "redis_keys": 80_000.0,
    }  # fmt: skip
    readings = [
        Reading(at=at, gauges=gauges, totals={"redis_evicted": at * 100}) for at in (0.0, SECONDS)
    ]
    context = make_context(
        "cache", Window(readings[0], readings[1]), skus={"cache": "cache-redis:cache.r6g.large"}
    )
    advice = only(advise_redis(context, make_bottleneck("REDIS_EVICTIONS", 100.0)))
    # 100 keys of 1 kB a second that would stay for a minute, at 85 % of the new limit.
    needed = int(advice.apply.rpartition(" ")[2])
    assert needed == pytest.approx((90e6 + 100 * 60 * 1000) / 0.85, abs=1024**2)
    part, evicted = advice.predicted
    assert part.before == 0.9
    assert part.after <= 0.85
    assert (evicted.before, evicted.after) == (100, 0)
    assert advice.monthly == pytest.approx(advice.cost[0].monthly)
    # So few keys leave that what there is would be enough: more memory is not what is missing.
    few = [
        Reading(at=at, gauges=gauges | {"redis_memory": 70e6}, totals={"redis_evicted": at})
        for at in (0.0, SECONDS)
    ]
    context = make_context("cache", Window(few[0], few[1]))
    assert list(advise_redis(context, make_bottleneck("REDIS_EVICTIONS", 1.0))) == []


def test_limits_are_raised_until_they_are_well() -> None:
    window = make_gauges({"files": 80.0, "files_limit": 100.0})
    advice = only(advise_files(make_context("host", window), make_bottleneck("HOST_FILES", 0.8)))
    assert advice.apply == "LimitNOFILE=134"
    watchers = make_gauges({"connections": 95.0, "connections_limit": 100.0})
    found = make_bottleneck("WEBSOCKET_CONNECTIONS", 0.95)
    advice = only(advise_watchers(make_context("websocket", watchers, nodes=1), found))
    assert (advice.apply, advice.predicted[0].after) == ("replicas: 2", 0.475)
