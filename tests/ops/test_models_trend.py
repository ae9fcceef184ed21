"""Theil-Sen against SciPy's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import theilslopes  # type: ignore[import-untyped]

from rankwire.ops.models.trend import MOST_POINTS, theil_sen

POINTS = st.lists(
    st.tuples(st.integers(0, 40).map(float), st.integers(-20, 20).map(float)),
    min_size=3,
    max_size=40,
)


@settings(max_examples=200)
@given(POINTS)
def test_slope_and_interval_are_scipys(points: list[tuple[float, float]]) -> None:
    assume(len({x for x, _ in points}) > 1)
    assume(_ties(x for x, _ in points) + _ties(y for _, y in points) < _ties([0] * len(points)))
    found = theil_sen(points)
    wanted = theilslopes([y for _, y in points], [x for x, _ in points], 0.95)
    assert found.slope == pytest.approx(wanted.slope)
    assert found.low == pytest.approx(wanted.low_slope)
    assert found.high == pytest.approx(wanted.high_slope)


def _ties(values: Iterable[float]) -> int:
    """Weigh them as Sen does; as much as all values being the same leaves no interval."""
    counts = Counter(values).values()
    return sum(count * (count - 1) * (2 * count + 5) for count in counts)


def test_wild_points_do_not_move_it() -> None:
    points = [(float(day), 3.0 * day + 10) for day in range(50)]
    points[::5] = [(x, 10_000.0) for x, _ in points[::5]]
    found = theil_sen(points)
    assert found.slope == pytest.approx(3.0)
    assert found.low <= 3.0 <= found.high


def test_the_interval_holds_the_planted_slope_as_often_as_it_says() -> None:
    random = np.random.default_rng(7)
    held = 0
    for _ in range(200):
        noise = random.normal(0, 5, 25)
        found = theil_sen([(float(x), 2.0 * x + noise[x]) for x in range(25)])
        held += found.low <= 2.0 <= found.high
    assert 180 <= held <= 200


def test_of_many_points_some_are_taken_from_the_first_to_the_last() -> None:
    many = [(float(x), float(x)) for x in range(10 * MOST_POINTS)]
    assert theil_sen(many).slope == 1.0
    bent = [(x, 2 * x if x > 5 * MOST_POINTS else x) for x, _ in many]
    assert theil_sen(bent) == theil_sen(bent)
    assert 1.0 < theil_sen(bent).slope < 4.0


@pytest.mark.parametrize("points", [[], [(1.0, 2.0)], [(1.0, 2.0), (1.0, 3.0)]])
def test_one_moment_has_no_trend(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="two moments"):
        theil_sen(points)
