"""The laws behind the capacity planner, and the arithmetic of availability."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_units import UNITS
from rankwire.ops.capacity import availability, model
from rankwire.ops.capacity.model import Audience, Load, gathered, taken_up

# The laws.


@pytest.mark.parametrize(("rate", "seconds"), [(10, 0.01), (200, 0.005), (5000, 0.002)])
def test_commits_gather_as_in_a_simulation(rate: float, seconds: float) -> None:
    chance = random.Random(1)
    arrivals = itertools.accumulate(chance.expovariate(rate) for _ in range(100_000))
    commits, free_at, last = 0, 0.0, 0.0
    for last in arrivals:
        # Whoever comes while a commit is under way is in the next one, which begins at its end.
        if last >= free_at:
            commits, free_at = commits + 1, last + seconds
        elif last >= free_at - seconds and (begins := free_at) > last:
            commits, free_at = commits + 1, begins + seconds
    assert commits / last == pytest.approx(gathered(rate, seconds), rel=0.02)


@given(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(1e-5, 0.1))
def test_more_arrivals_never_make_fewer_commits(rate: float, more: float, seconds: float) -> None:
    few, many = gathered(rate, seconds), gathered(rate + more, seconds)
    assert 0 <= few <= many * (1 + 1e-12)
    assert many <= min(rate + more, 1 / seconds) * (1 + 1e-9)


@pytest.mark.parametrize("changing", [0.0, 0.12, 1.0])
def test_only_what_changes_something_is_committed(changing: float) -> None:
    goes, commits = taken_up(Load(ws_submits=500, changing=changing), 0.0016, 0.004)
    if changing == 0:
        assert (goes, commits) == (gathered(500, 0.0016), 0)
    elif changing == 1:
        assert goes == commits == gathered(500, 0.0056)
    else:
        assert commits == pytest.approx(goes * (1 - 0.88 ** (500 / goes)), rel=0.01)
        assert gathered(500, 0.0056) < goes < gathered(500, 0.0016)


def test_a_rarely_changing_view_costs_its_pings() -> None:
    silent = Audience(watchers=1000, top=1, cohort=0, standing=0, cohorts=1, users=10, updates=0)
    seen = model.traffic(silent, UNITS)
    assert seen.deliveries == 0
    assert seen.wire_bytes == 1000 * 0.04 * (4 + model.TCP_BYTES + model.TLS_BYTES)


def test_a_large_answer_needs_several_segments() -> None:
    assert model.on_the_wire(100) == 100 + 52 + 22
    assert model.on_the_wire(3000) == 3000 + 3 * 52 + 22


def test_cores_add_up() -> None:
    load = Load(top_reads=1000, deliveries=2000, connections=10_000, batched_scores=100)
    wakes = gathered(1000, 0.0016) * 130e-6
    expected = 0.003 + wakes + 1000 * 18e-6 + 2000 * 12e-6 + 10_000 * 0.6e-6 + 100 * 2.5e-6
    assert model.cores(load, UNITS) == pytest.approx(expected)
    applied = model.cores(Load(applied=10_000), UNITS) - model.cores(Load(), UNITS)
    assert applied == pytest.approx(10_000 * 0.6e-6)


@pytest.mark.parametrize(("over_http", "seal"), [(0.0, 30), (1.0, 77), (0.5, 107)])
def test_both_doors_have_their_share_of_a_commit(over_http: float, seal: float) -> None:
    load = Load(http_submits=20_000 * over_http, ws_submits=20_000 * (1 - over_http))
    each = over_http * 10 + (1 - over_http) * 9
    commits = gathered(20_000, 0.0026)
    # So many are in each commit that those of both doors are.
    expected = 0.003 + (20_000 * each + commits * (53 + seal)) * 1e-6
    assert model.cores(load, UNITS) == pytest.approx(expected)


# Availability.


@pytest.mark.parametrize(("instances", "needed"), [(1, 1), (3, 2), (5, 3), (4, 4), (4, 1)])
def test_parallel_parts_are_counted_as_one_by_one(instances: int, needed: int) -> None:
    each = 0.9
    expected = sum(
        math.prod(each if up else 1 - each for up in states)
        for states in itertools.product((True, False), repeat=instances)
        if sum(states) >= needed
    )
    assert availability.parallel(each, instances, needed) == pytest.approx(expected)


def test_serial_parts_are_all_needed() -> None:
    parts = [availability.part(name, 0.99, 1, 1, "SLA") for name in ("a", "b")]
    chain = availability.serial(parts, 720)
    assert chain.availability == pytest.approx(0.9801)
    assert chain.minutes_down == pytest.approx(0.0199 * 720 * 60)
