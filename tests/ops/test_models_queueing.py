"""Erlang C against its definition, closed forms, SciPy and a simulation of the queue."""

from __future__ import annotations

from fractions import Fraction
from math import factorial, inf, isclose
from typing import Any

import ciw  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]

from rankwire.ops.models.queueing import (
    MOST_SERVERS,
    mean_wait,
    servers_needed,
    wait_probability,
    wait_quantile,
)

RUNS = 10


def _defined(servers: int, load: Fraction) -> float:
    """Erlang C as Erlang wrote it, without rounding."""
    last = load**servers / factorial(servers) * servers / (servers - load)
    others = sum((load**k / factorial(k) for k in range(servers)), Fraction(0))
    return float(last / (others + last))


@given(st.integers(1, 60), st.fractions(0, Fraction(999, 1000), max_denominator=1000))
def test_the_probability_is_that_of_the_definition(servers: int, utilization: Fraction) -> None:
    load = servers * utilization
    found = wait_probability(servers, float(load))
    assert isclose(found, _defined(servers, load), rel_tol=1e-9, abs_tol=1e-300)


@pytest.mark.parametrize(("servers", "load"), [(1_000, 950), (10_100, 10_000), (100_500, 100_000)])
def test_the_probability_stays_exact_for_large_loads(servers: int, load: float) -> None:
    blocked = stats.poisson.pmf(servers, load) / stats.poisson.cdf(servers, load)
    wanted = servers * blocked / (servers - load * (1 - blocked))
    assert wait_probability(servers, load) == pytest.approx(wanted, rel=1e-6)


def test_textbook_values() -> None:
    # One server: everybody who finds it busy waits. Two: 2 rho^2 / (1 + rho).
    assert wait_probability(1, 0.7) == pytest.approx(0.7)
    assert mean_wait(1, 0.5, 2.0) == pytest.approx(2.0)
    assert wait_probability(2, 1.6) == pytest.approx(2 * 0.64 / 1.8)
    assert wait_probability(10, 8.0) == pytest.approx(0.4092, abs=1e-4)
    # 500 and 5000 transactions a second of 10 ms each, at most one in a hundred waits.
    assert servers_needed(500 * 0.010) == 12
    assert servers_needed(5000 * 0.010) == 68


@pytest.mark.parametrize("servers", [1, 4])
@pytest.mark.parametrize(
    ("utilization", "customers"), [(0.3, 800), (0.6, 1000), (0.8, 2000), (0.95, 4000)]
)
def test_a_simulated_queue_waits_as_predicted(
    servers: int, utilization: float, customers: int
) -> None:
    load = utilization * servers
    runs = np.array([_simulate(servers, load, seed, customers) for seed in range(RUNS)])
    bound = wait_quantile(servers, load, 1.0, 0.9)
    means = np.array([[np.mean(w > 1e-9), np.mean(w), np.mean(w <= bound + 1e-9)] for w in runs])
    # 99 % of such intervals hold the true value; the seeds are fixed, so these do or do not.
    reach = stats.t.ppf(0.995, RUNS - 1) * means.std(axis=0, ddof=1) / np.sqrt(RUNS)
    within = max(0.9, 1 - wait_probability(servers, load))
    wanted = [wait_probability(servers, load), mean_wait(servers, load, 1.0), within]
    assert (np.abs(means.mean(axis=0) - wanted) <= reach).all()


def _simulate(servers: int, load: float, seed: int, customers: int) -> Any:
    """Give the waits of so many customers, after a quarter of them to get going."""
    ciw.seed(seed)
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(load)],
        service_distributions=[ciw.dists.Exponential(1.0)],
        number_of_servers=[servers],
    )
    simulation = ciw.Simulation(network)
    first = customers // 4
    simulation.simulate_until_max_customers(first + customers, method="Arrive")
    waits = {each.id_number: each.waiting_time for each in simulation.get_all_records()}
    # Whoever arrived is counted once he was served; the few still inside are the same in each run.
    seen = [waits[number] for number in sorted(waits) if number > first]
    return np.array(seen[: customers - 200])


@given(st.integers(1, 200), st.floats(0, 0.999), st.floats(0, 0.9999), st.floats(0.001, 10))
def test_the_quantile_is_where_the_distribution_reaches_the_part(
    servers: int, utilization: float, part: float, seconds: float
) -> None:
    load = utilization * servers
    wait = wait_quantile(servers, load, seconds, part)
    waits = wait_probability(servers, load)
    later = waits * np.exp(-(servers - load) * wait / seconds)
    assert later <= (1 - part) * (1 + 1e-9)
    if wait > 0:
        assert later == pytest.approx(1 - part, rel=1e-6)


@given(st.floats(0, 500), st.floats(0.0001, 1))
def test_the_servers_are_enough_and_not_one_too_many(load: float, most: float) -> None:
    servers = servers_needed(load, most)
    assert wait_probability(servers, load) <= most
    if servers > 1 and servers - 1 > load:
        assert wait_probability(servers - 1, load) > most


def test_too_much_load_waits_for_ever() -> None:
    assert wait_probability(3, 3.0) == 1.0
    assert mean_wait(3, 3.5, 0.1) == inf
    assert wait_quantile(3, 3.0, 0.1, 0.5) == inf
    assert wait_probability(3, 0.0) == 0.0
    # Even where all may wait, they must not wait for ever.
    assert servers_needed(3.0, 1.0) == 4


@pytest.mark.parametrize(
    ("servers", "load"), [(0, 1.0), (MOST_SERVERS + 1, 1.0), (1, -0.1), (1, float("nan")), (1, inf)]
)
def test_what_is_no_queue_is_refused(servers: int, load: float) -> None:
    with pytest.raises(ValueError, match=r"servers are not|a load of"):
        wait_probability(servers, load)


def test_impossible_wishes_are_refused() -> None:
    with pytest.raises(ValueError, match="no number of servers"):
        servers_needed(1.0, 0.0)
    with pytest.raises(ValueError, match="needs more than"):
        servers_needed(MOST_SERVERS)
    with pytest.raises(ValueError, match="not a part"):
        wait_quantile(1, 0.5, 1.0, 1.0)
