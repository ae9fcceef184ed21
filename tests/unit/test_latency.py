"""The latency summary: never too low, at most 1 % too high, exact at the maximum."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankwire.cli._latency import Latencies, LatencySummary

SECONDS = st.lists(st.floats(min_value=1e-6, max_value=100), min_size=1, max_size=200)


def filled(samples: list[float]) -> Latencies:
    latencies = Latencies()
    for sample in samples:
        latencies.add(sample)
    return latencies


@given(SECONDS, st.sampled_from([1, 50, 95, 99, 100]))
def test_percentiles_are_within_one_percent(samples: list[float], percent: int) -> None:
    exact = sorted(samples)[math.ceil(len(samples) * percent / 100) - 1]
    found = filled(samples).percentile(percent)
    assert exact * (1 - 1e-9) <= found <= exact * 1.0101


def test_the_summary_is_in_milliseconds() -> None:
    summary = filled([i / 1000 for i in range(1, 101)]).summary()
    assert summary is not None
    assert summary.max == 100.0
    assert summary.p50 == pytest.approx(50, rel=0.01)
    assert summary.p95 == pytest.approx(95, rel=0.01)
    assert summary.p99 == pytest.approx(99, rel=0.01)


def test_one_sample_is_every_percentile() -> None:
    assert filled([0.25]).summary() == LatencySummary(p50=250.0, p95=250.0, p99=250.0, max=250.0)


def test_zero_and_tiny_samples_count() -> None:
    assert filled([0.0, 0.0]).percentile(50) == 0.0
    assert filled([0.0, 1e-9, 0.5]).percentile(100) == 0.5


def test_without_samples_there_is_no_summary() -> None:
    assert Latencies().summary() is None
