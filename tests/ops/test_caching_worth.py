"""What hits of caches are worth: time that is freed, and money that is saved in steps."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rankwire.ops.caching.economy import database_cost, freed, loads_with, loads_without, part_of
from rankwire.ops.caching.load import KnownLoad
from rankwire.ops.caching.money import Saved, money
from rankwire.ops.caching.report import Strategy
from rankwire.ops.prices import Catalogue


def _strategy(measured: float | None, predicted: float | None, baseline: float | None) -> Strategy:
    return Strategy(
        name="USER_PROFILE_CACHE",
        state="off",
        reason="",
        since=0.0,
        predicted_hit_rate=predicted,
        measured_hit_rate=measured,
        baseline_hit_rate=baseline,
        entries=1,
        seconds=1.0,
        memory_bytes=1.0,
    )


@pytest.mark.parametrize(
    ("measured", "predicted", "baseline", "hits"),
    [(0.7, 0.9, 0.2, 50.0), (None, 0.9, 0.4, 50.0), (None, 0.1, 0.4, 0.0)],
)
def test_freed_time_is_hits_times_the_cost_of_a_miss(
    measured: float | None, predicted: float, baseline: float, hits: float
) -> None:
    found = freed(_strategy(measured, predicted, baseline), "database", 100.0, (3.0, 1_000), 730.0)
    assert found.hits_per_second == pytest.approx(hits)
    assert found.miss_seconds == 0.003
    assert found.monthly_seconds == pytest.approx(hits * 0.003 * 730 * 3600)


@pytest.mark.parametrize(
    ("strategy", "per_second", "cost"),
    [
        (_strategy(None, None, 0.2), 100.0, (3.0, 1_000)),
        (_strategy(0.8, None, None), 100.0, (3.0, 1_000)),
        (_strategy(0.8, None, 0.2), None, (3.0, 1_000)),
        (_strategy(0.8, None, 0.2), 100.0, (0.0, 0)),
    ],
)
def test_what_is_not_known_frees_an_unknown_amount(
    strategy: Strategy, per_second: float | None, cost: tuple[float, int]
) -> None:
    assert freed(strategy, "database", per_second, cost, 730.0).monthly_seconds is None


def test_a_part_of_nothing_is_unknown() -> None:
    assert part_of(1.0, 4.0) == 0.25
    assert part_of(5.0, 4.0) == 1.0
    assert part_of(1.0, 0.0) is None
    assert part_of(None, 4.0) is None


SKU = "rds-pg:db.m6g.xlarge"
SMALLER = "rds-pg:db.r6g.large"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.load()


def test_money_is_saved_in_steps(catalogue: Catalogue) -> None:
    """Four processors of which 3.2 may be used, and the next size has two, so 1.6."""
    step = catalogue.line(SKU, 1).monthly - catalogue.line(SMALLER, 1).monthly
    assert step > 0
    found = [
        database_cost(catalogue, SKU, [3.0], [3.0 - freed]).realizable for freed in (0.5, 1.3, 1.5)
    ]
    assert found == [0.0, 0.0, pytest.approx(step)]


def test_what_a_smaller_server_saves_anyway_is_not_caching(catalogue: Catalogue) -> None:
    found = database_cost(catalogue, SKU, [1.0], [0.1])
    assert (found.realizable, found.optimized) == (0.0, found.current)


def test_a_replica_less_is_a_step_too(catalogue: Catalogue) -> None:
    """Together they need more than two processors before, and less afterwards."""
    found = database_cost(catalogue, SMALLER, [0.8, 1.2], [0.8, 0.5])
    # One with four would do before.
    step = catalogue.line(SKU, 1).monthly - catalogue.line(SMALLER, 1).monthly
    assert found.realizable == pytest.approx(step)
    assert found.lines[0].quantity == 2 * found.lines[1].quantity
    assert "none to take over" in found.reason


def test_a_load_that_nothing_carries_is_not_priced(catalogue: Catalogue) -> None:
    found = database_cost(catalogue, SKU, [500.0], [400.0])
    assert found.current == pytest.approx(catalogue.line(SKU, 1).monthly)
    assert (found.optimized, found.realizable) == (None, None)


@given(
    st.lists(st.floats(0, 12), min_size=1, max_size=2),
    st.floats(0, 12),
    st.booleans(),
)
def test_savings_are_never_negative_nor_more_than_the_price(
    loads: list[float], hits: float, is_on: bool
) -> None:
    without, left = (f(loads, hits, is_on=is_on) for f in (loads_without, loads_with))
    assert sum(left) <= sum(without) + 1e-9
    found = database_cost(Catalogue.load(), SKU, without, left)
    assume(found.realizable is not None)
    assert found.realizable is not None
    assert found.current is not None
    assert 0.0 <= found.realizable < found.current
    assert found.optimized == pytest.approx(found.current - found.realizable)


@pytest.mark.parametrize(
    ("sku", "load", "per_second", "why"),
    [
        ("", KnownLoad([1.0], 1.0, 1e6, 1, 0.001), 0.1, "ops.database_sku is empty"),
        (SKU, None, 0.1, "SQLite"),
        (
            "rds-pg:db.m6g.xlarg",
            KnownLoad([1.0], 1.0, 1e6, 1, 0.001),
            0.1,
            "ops.database_sku: the price",
        ),
        (SKU, KnownLoad(None, None, 0.0, 1, 0.001), 0.1, "could not be measured"),
        (SKU, KnownLoad([1.0], 1.0, 1e6, 1, 0.001), None, "hits save is not known"),
        (
            SKU,
            KnownLoad([1.0], 1.0, 7_200.0, 1, 0.001),
            0.1,
            "2.0 hours only; its peak shows in 24",
        ),
    ],
)
def test_what_is_not_known_costs_an_unknown_amount_and_says_why(
    catalogue: Catalogue, sku: str, load: KnownLoad | None, per_second: float | None, why: str
) -> None:
    found = money(catalogue, sku, load, Saved(per_second, is_on=False, is_bound=False), 86_400.0)
    assert found.realizable is None
    assert why in found.reasons["realizable_saving"]


def test_no_money_is_promised_of_an_upper_bound(catalogue: Catalogue) -> None:
    """Of 3 processors 1.5 are freed at most: a step if that was all work, and perhaps none."""
    load = KnownLoad([3.0], 3.0, 86_400.0, 1, None)
    found = money(catalogue, SKU, load, Saved(1.5, is_on=False, is_bound=True), 86_400.0)
    assert found.current == catalogue.line(SKU, 1).monthly
    assert (found.optimized, found.realizable) == (None, None)
    assert "only an upper bound of the freed time" in found.reasons["realizable_saving"]
    exact = money(catalogue, SKU, load, Saved(1.5, is_on=False, is_bound=False), 86_400.0)
    assert exact.realizable
