"""The fitted scalability law against planted parameters and SciPy's bounded least squares."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares  # type: ignore[import-untyped]

from rankwire.ops.models.scalability import FEWEST_LEVELS, Fit, Level, fit

RATES = st.floats(0.01, 1e6)
CONTENTIONS = st.one_of(st.just(0.0), st.floats(1e-4, 0.9))
COHERENCIES = st.one_of(st.just(0.0), st.floats(1e-6, 0.1))
LEVELS = st.lists(st.integers(1, 200), min_size=FEWEST_LEVELS, max_size=12, unique=True)


def _law(rate: float, contention: float, coherency: float) -> Fit:
    return Fit(rate, contention, coherency, 0.0, 0)


def _levels(law: Fit, numbers: Sequence[float]) -> list[Level]:
    return [Level(n, law.throughput(n)) for n in numbers]


@given(RATES, CONTENTIONS, COHERENCIES, LEVELS)
def test_planted_parameters_come_back_without_noise(
    rate: float, contention: float, coherency: float, numbers: list[int]
) -> None:
    law = _law(rate, contention, coherency)
    found = fit(_levels(law, numbers))
    for n in (*numbers, 1, 64):
        assert found.throughput(n) == pytest.approx(law.throughput(n), rel=1e-5)
    assert found.error < 1e-7
    assert found.levels == len(numbers)


def test_planted_parameters_come_back_to_nine_digits() -> None:
    found = fit(_levels(_law(1000.0, 0.05, 0.001), [1, 2, 4, 8, 16, 32]))
    assert found.rate == pytest.approx(1000.0, rel=1e-9)
    assert found.contention == pytest.approx(0.05, rel=1e-9)
    assert found.coherency == pytest.approx(0.001, rel=1e-9)


@pytest.mark.parametrize(
    "planted", [(1000.0, 0.05, 0.001), (50.0, 0.2, 0.0), (7.0, 0.0, 0.01), (300.0, 0.02, 0.0002)]
)
def test_five_percent_of_noise_moves_predictions_by_less(
    planted: tuple[float, float, float],
) -> None:
    law, numbers = _law(*planted), [1, 2, 3, 4, 6, 8, 12, 16, 24, 32] * 3
    for seed in range(20):
        random = np.random.default_rng(seed)
        noisy = [Level(n, x * random.normal(1, 0.05)) for n, x in _levels(law, numbers)]
        found = fit(noisy)
        assert found.rate == pytest.approx(law.rate, rel=0.15)
        assert found.contention == pytest.approx(law.contention, abs=0.08)
        assert found.coherency == pytest.approx(law.coherency, abs=0.004)
        for n in numbers:
            assert found.throughput(n) == pytest.approx(law.throughput(n), rel=0.10)


@settings(max_examples=60)
@given(
    RATES,
    CONTENTIONS,
    COHERENCIES,
    st.lists(st.integers(2, 60), min_size=4, max_size=10, unique=True),
    st.integers(0, 10_000),
)
def test_no_other_fit_within_the_bounds_is_better(
    rate: float, contention: float, coherency: float, numbers: list[int], seed: int
) -> None:
    law = _law(rate, contention, coherency)
    random = np.random.default_rng(seed)
    levels = [Level(n, x * random.uniform(0.7, 1.3)) for n, x in _levels(law, [1, *numbers])]
    found = fit(levels)
    n = np.array([level.n for level in levels], dtype=float)
    x = np.array([level.throughput for level in levels])
    scale = x.max()

    def missing(tried: np.ndarray) -> np.ndarray:
        below = tried[0] + tried[1] * (n - 1) + tried[2] * n * (n - 1)
        return np.asarray(x / scale - n / below)

    ours = np.sum(np.square(x - [found.throughput(each) for each in n])) / scale**2
    start = np.array([scale / found.rate, scale * found.contention / found.rate, 1e-3])
    theirs = least_squares(missing, np.maximum(start, 1e-9), bounds=([1e-12, 0, 0], np.inf))
    assert ours <= 2 * theirs.cost * (1 + 1e-4) + 1e-12


@given(RATES, CONTENTIONS, COHERENCIES)
def test_the_peak_is_where_more_workers_no_longer_help(
    rate: float, contention: float, coherency: float
) -> None:
    law = _law(rate, contention, coherency)
    if law.peak == inf:
        assert coherency == 0
        assert law.throughput(2e6) >= law.throughput(1e6)
    else:
        best = law.throughput(law.peak)
        assert best >= law.throughput(law.peak * 1.01)
        assert law.peak == 1 or best >= law.throughput(max(1, law.peak * 0.99))


@given(RATES, CONTENTIONS, COHERENCIES, st.floats(0.01, 50))
def test_the_workers_needed_give_the_throughput_or_nothing_does(
    rate: float, contention: float, coherency: float, times: float
) -> None:
    law = _law(rate, contention, coherency)
    wanted = rate * times
    needed = law.needed(wanted)
    if needed is None:
        most = law.throughput(law.peak if law.peak < inf else 1e9)
        assert most <= wanted * (1 + 1e-6)
    elif needed == 1:
        assert law.throughput(1) >= wanted * (1 - 1e-9)
    else:
        assert needed <= law.peak * (1 + 1e-6)
        assert law.throughput(needed) == pytest.approx(wanted, rel=1e-6)


def test_what_only_ever_gets_slower_needs_one() -> None:
    law = _law(100.0, 1.2, 0.1)
    assert law.peak == 1
    assert law.needed(90.0) == 1
    assert law.needed(101.0) is None


@pytest.mark.parametrize(
    "levels",
    [
        [],
        [Level(1, 1.0), Level(2, 2.0), Level(3, 3.0)],
        [Level(1, 1.0), Level(2, 2.0), Level(3, 3.0), Level(3, 3.1)],
        [Level(1, 1.0), Level(2, 2.0), Level(3, 3.0), Level(4, 0.0)],
        [Level(1, 1.0), Level(2, 2.0), Level(3, 3.0), Level(0, 1.0)],
        [Level(1, 1.0), Level(2, 2.0), Level(3, 3.0), Level(4, inf)],
    ],
)
def test_what_cannot_be_fitted_is_refused(levels: list[Level]) -> None:
    with pytest.raises(ValueError, match=r"different levels|not above 0"):
        fit(levels)
