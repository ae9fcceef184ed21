"""What the analyzer says of hours and weeks: triggers, and the budget of errors."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankwire.ops.analyzer.budget import FAST, SLOW, Budget
from rankwire.ops.analyzer.rule_table import RULES
from rankwire.ops.analyzer.triggers import (
    DAYS,
    LEAST_HOURS,
    Hourly,
    days_left,
    make_triggers,
    trend_of,
)
from rankwire.ops.models.trend import theil_sen

HOUR = 3600.0


# Triggers.


def test_the_load_at_the_limit_follows_from_utilisation() -> None:
    figures = {"api.cpu_utilization": 0.2, "api.requests_per_second": 100.0}
    (trigger,) = make_triggers(RULES, figures, Hourly([]))
    assert (trigger.resource, trigger.limit) == ("API processor", 0.8)
    assert trigger.load_at_limit == pytest.approx(400)
    assert (trigger.days_left, trigger.note) == (
        None,
        "insufficient history: less than 7 days since the start",
    )


def test_days_are_told_only_with_a_week_of_growth() -> None:
    growing = [(hour * HOUR, 0.1 + 0.01 * hour / 24) for hour in range(24 * DAYS + 1)]
    days, note = days_left(trend_of(growing), growing[-1][1], 0.8)
    assert days == pytest.approx((0.8 - 0.17) / 0.01)
    assert "19 times in 20" in note
    assert trend_of(growing[:-1]) is None
    assert days_left(None, 0.17, 0.8)[0] is None
    # Two hours a week apart, or one too few of them, are no week.
    assert trend_of([growing[0], growing[-1]]) is None
    few = [growing[0], *growing[-LEAST_HOURS + 1 :]]
    assert trend_of(few) is None
    assert trend_of([growing[0], *growing[-LEAST_HOURS:]]) is not None
    flat = [(hour * HOUR, 0.1 + 0.01 * (hour % 2)) for hour in range(24 * DAYS + 1)]
    assert days_left(trend_of(flat), 0.1, 0.8) == (None, "no growth that stands out from the noise")
    # It grows, but so little that the noise may well be all of it.
    noise = Random(1)
    noisy = [(at, 0.5 + noise.gauss(0, 0.1) + 1e-5 * hour) for hour, (at, _) in enumerate(flat)]
    assert theil_sen(noisy).slope > 0
    assert days_left(trend_of(noisy), 0.5, 0.8)[0] is None
    assert days_left(trend_of(growing), 0.9, 0.8) == (0.0, "the limit is reached")


def test_hourly_means_are_means() -> None:
    hourly = Hourly(["a"])
    hourly.add({"a": 5.0}, 0.0)
    for at, value in ((HOUR, 1.0), (HOUR + 1, 2.0), (HOUR + 2, None), (2 * HOUR, 9.0)):
        hourly.add({"a": value, "b": 1.0}, at)
    assert hourly.points("a") == [(0.0, 5.0), (HOUR, 1.5), (2 * HOUR, 9.0)]
    assert hourly.points("b") == []
    assert hourly.trend("b") is None


def test_a_trend_is_computed_once_an_hour() -> None:
    hourly = Hourly(["a"])
    for hour in range(24 * DAYS + 1):
        hourly.add({"a": hour / 24}, hour * HOUR)
    trend = hourly.trend("a")
    assert trend is not None
    assert trend.slope == pytest.approx(1)
    hourly.add({"a": 99.0}, 24 * DAYS * HOUR + 60)
    assert hourly.trend("a") is trend
    hourly.add({"a": 99.0}, (24 * DAYS + 1) * HOUR)
    assert hourly.trend("a") is not trend


# The budget of errors.


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), min_size=2, max_size=400))
def test_the_burn_is_that_of_both_windows(steps: list[tuple[int, int]]) -> None:
    budget, totals = Budget(0.999), [(0.0, 0.0, 0.0)]
    budget.add(*totals[0])
    for requests, errors in steps:
        at, before, bad = totals[-1]
        totals.append((at + 30.0, before + requests, bad + min(requests, errors)))
        budget.add(*totals[-1])

    def part(seconds: float, least: float) -> float | None:
        last = totals[-1]
        first = next((t for t in reversed(totals) if t[0] <= last[0] - seconds), totals[0])
        if last[0] - first[0] < least or last[1] == first[1]:
            return None
        return (last[2] - first[2]) / (last[1] - first[1])

    for windows in (FAST, SLOW):
        parts = [part(seconds, windows[1]) for seconds in windows]
        known = [each for each in parts if each is not None]
        expected = min(known) / 0.001 if len(known) == 2 else None
        assert budget.burn(windows) == pytest.approx(expected)


def test_the_budget_begins_anew_when_the_clock_is_set_back() -> None:
    budget = Budget(0.999)
    for minute in range(61):
        budget.add(10_000 + minute * 60.0, minute * 100.0, minute * 1.0)
    assert budget.burn(FAST) == pytest.approx(10)
    for minute in range(61):
        budget.add(minute * 60.0, 6100 + minute * 100.0, 61.0)
        assert budget.burn(FAST) in {None, 0.0}
    assert budget.burn(FAST) == 0


def test_the_budget_is_bounded() -> None:
    budget = Budget(0.999)
    for second in range(0, 40_000, 5):
        budget.add(float(second), second * 10.0, second * 0.2)
    assert budget.burn(SLOW) == pytest.approx(20)
    assert len(budget._kept) <= 721  # noqa: SLF001
