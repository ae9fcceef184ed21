"""The forgetting histogram against weighted quantiles of the very values."""

from __future__ import annotations

from math import inf, nextafter

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankwire.ops.models.histogram import DecayingHistogram

HALF_LIFE = 86_400.0
VALUES = st.lists(
    st.tuples(st.floats(0.01, 1000), st.floats(0, 60 * HALF_LIFE)), min_size=1, max_size=80
)
PARTS = st.sampled_from([0.01, 0.5, 0.9, 0.95, 0.995, 1.0])


def _filled(values: list[tuple[float, float]]) -> DecayingHistogram:
    made = DecayingHistogram(0.01, 1000.0)
    for value, at in values:
        made.add(value, at)
    return made


def _weighted(values: list[tuple[float, float]], part: float) -> tuple[float, float]:
    """Give the smallest value with that much weight at or below it, for a bit less and a bit more.

    The histogram adds in another order, so a sum may fall on either side of a part.
    """
    ordered = np.array(sorted(values))
    weights = np.exp2((ordered[:, 1] - ordered[:, 1].max()) / HALF_LIFE)
    reached = np.cumsum(weights) / weights.sum()
    found = [
        ordered[min(int(np.searchsorted(reached, wanted)), len(ordered) - 1)][0]
        for wanted in (part - 1e-9, part + 1e-9)
    ]
    return float(found[0]), float(found[1])


@given(VALUES, PARTS)
def test_a_quantile_is_at_most_one_bucket_above_the_exact_one(
    values: list[tuple[float, float]], part: float
) -> None:
    low, high = _weighted(values, part)
    found = _filled(values).quantile(part)
    assert low * (1 - 1e-12) <= found <= max(high * 1.05, 0.01) * (1 + 1e-12)


@given(VALUES, PARTS)
def test_it_comes_back_from_json_as_it_was(values: list[tuple[float, float]], part: float) -> None:
    made = _filled(values)
    read = msgspec.json.decode(msgspec.json.encode(made), type=DecayingHistogram)
    assert read == made
    assert read.quantile(part) == made.quantile(part)


@pytest.mark.parametrize("number", range(236))
def test_a_value_at_a_bound_is_in_the_bucket_below_it(number: int) -> None:
    bound = 0.01 * 1.05**number
    for value in (bound, nextafter(bound, inf), nextafter(bound, 0)):
        made = DecayingHistogram(0.01, 1000.0)
        made.add(value, 0.0)
        assert value <= made.quantile(0.5) <= max(value, 0.01) * 1.05 * (1 + 1e-12)
        assert value > bound or made.quantile(0.5) <= bound * (1 + 1e-12)


def test_half_of_what_a_day_ago_was_counts() -> None:
    made = DecayingHistogram(0.01, 1000.0)
    made.add(100.0, 0.0, weight=2.0)
    made.add(1.0, HALF_LIFE, weight=1.5)
    # 1.5 of 2.5 lie at 1.
    assert made.quantile(0.59) < 1.05
    assert made.quantile(0.61) >= 100


def test_years_between_two_values_are_no_trouble() -> None:
    made = DecayingHistogram(0.01, 1000.0)
    made.add(5.0, 0.0)
    made.add(7.0, 1.8e9)
    made.add(9.0, 0.0)
    assert 7 <= made.quantile(1.0) <= 7 * 1.05


def test_the_size_does_not_grow() -> None:
    made = DecayingHistogram(1e7, 1e12)
    for number in range(2000):
        made.add(number * 1e9, number * 600.0)
    assert len(made.weights) == 237
    assert made.quantile(1.0) == 1e12


@pytest.mark.parametrize(("value", "weight"), [(-1.0, 1.0), (float("nan"), 1.0), (1.0, -1.0)])
def test_what_is_no_measurement_is_refused(value: float, weight: float) -> None:
    with pytest.raises(ValueError, match="cannot be counted"):
        DecayingHistogram(0.01, 1000.0).add(value, 0.0, weight)


def test_what_is_no_histogram_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        DecayingHistogram(0.01, 1000.0).quantile(0.5)
    for first, most in [(0.0, 1.0), (2.0, 1.0)]:
        with pytest.raises(ValueError, match="a histogram needs"):
            DecayingHistogram(first, most)
    with pytest.raises(ValueError, match="too large"):
        DecayingHistogram(1e-12, 1e12, ratio=1.0001)
    with pytest.raises(msgspec.ValidationError, match="not those of"):
        msgspec.json.decode(b'{"first":1,"most":2,"weights":[1]}', type=DecayingHistogram)
