"""Reservations against a search of all numbers."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_usage import GB, START, catalogue_of, machine
from rankwire.ops.optimizer.reservations import Terms, reserve, units_to_reserve
from rankwire.ops.optimizer.savings import Action, Refusal
from rankwire.ops.optimizer.usage import Place, Sample, Usage

FIRST = int(START // 3600)
TABLE = catalogue_of(
    machine(
        "cache-redis:r6g.large",
        0.206,
        2,
        13,
        reserved_1y_no_upfront=0.141,
        reserved_date="2022-02-13",
        reserved_confidence="low",
    ),
    machine("ec2:plain.large", 0.1, 2, 4),
)
CENTS = st.integers(1, 500).map(lambda cents: cents / 1000)


def _cost(running: list[int], units: int, reserved: float, on_demand: float) -> Fraction:
    """Walk through the hours, without rounding."""
    total = Fraction(0)
    for count in running:
        total += units * Fraction(str(reserved))
        total += max(0, count - units) * Fraction(str(on_demand))
    return total


@given(st.lists(st.integers(0, 6), max_size=40), CENTS, CENTS)
def test_the_number_is_the_one_that_costs_least(
    running: list[int], reserved: float, on_demand: float
) -> None:
    costs = [
        _cost(running, units, reserved, on_demand) for units in range(max(running, default=0) + 1)
    ]
    # Where several cost the same, the most are reserved.
    best = max(units for units, cost in enumerate(costs) if cost == min(costs))
    assert units_to_reserve(running, Terms(reserved, on_demand)) == best * bool(running)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), CENTS, CENTS, st.integers(0, 8))
def test_the_cost_is_that_of_a_walk_through_the_hours(
    running: list[int], reserved: float, on_demand: float, units: int
) -> None:
    found = Terms(reserved, on_demand).cost(running, units)
    assert found == pytest.approx(float(_cost(running, units, reserved, on_demand)))


def test_the_break_even_is_a_part_of_the_hours() -> None:
    terms = Terms(0.141, 0.206)
    assert terms.break_even == pytest.approx(0.684, abs=1e-3)
    assert units_to_reserve([1] * 68 + [0] * 32, terms) == 0
    assert units_to_reserve([1] * 69 + [0] * 31, terms) == 1
    # Exactly at it: no difference, so reserved.
    assert units_to_reserve([3] * 141 + [2] * 65, terms) == 3


def _machines(hours: list[range], sku: str = "cache-redis:r6g.large") -> list[Usage]:
    made = []
    for number, each in enumerate(hours):
        usage = Usage(f"m{number}", place=Place(instance=sku))
        for hour in each:
            usage.sample(Sample(at=START + hour * 3600, cores=0.5, memory_bytes=4 * GB))
        made.append(usage)
    return made


def test_what_always_runs_is_reserved_and_priced() -> None:
    window = range(FIRST, FIRST + 200)
    found = reserve(_machines([range(200), range(200), range(170), range(100)]), window, TABLE)
    assert isinstance(found, Action)
    # The one that ran for half of the time is not stable; the third ran for 85 %.
    assert sorted(found.replaces) == ["machine:m0", "machine:m1", "machine:m2"]
    reserved, *more = found.lines
    assert reserved.quantity == 3 * 730
    assert reserved.unit_price == 0.141
    assert reserved.date == "2022-02-13"
    assert not more
    assert found.draft.confidence == "low"
    assert "--cache-node-count 3" in found.draft.apply


def test_what_falls_idle_with_less_load_is_told() -> None:
    window = range(FIRST, FIRST + 200)
    found = reserve(_machines([range(200)] * 5), window, TABLE)
    assert isinstance(found, Action)
    (risk,) = found.risks
    # Four of five run then: 5 x 0.141 against 4 x 0.206.
    assert risk.part == pytest.approx(0.2)
    assert f"saves ${(4 * 0.206 - 5 * 0.141) * 730:,.2f} a month" in risk.text


def test_refusals() -> None:
    week = range(FIRST, FIRST + 200)
    day = range(FIRST, FIRST + 24)
    for found, word in [
        (reserve(_machines([range(200)], "ec2:plain.large"), week, TABLE), "has no reserved_1y"),
        (reserve(_machines([range(24)]), day, TABLE), "a window of 24 hours"),
    ]:
        assert isinstance(found, Refusal)
        assert word in found.reason
    assert reserve(_machines([range(100)]), week, TABLE) is None
