"""What pods should ask for, and that only whole nodes save money."""

from __future__ import annotations

import itertools
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fix_usage import GB, catalogue_of, machine, steady, usage_of
from rankwire.ops.optimizer.machine_sizing import Machine, machine_of
from rankwire.ops.optimizer.pod_sizing import PodRequests, asked, pool_item, shrink_pool, size_pod
from rankwire.ops.optimizer.savings import Action, Refusal
from rankwire.ops.optimizer.usage import Place, Usage

MB = 1024.0**2
NODES = catalogue_of(machine("ec2:n.xlarge", 0.1, 4, 8))
SKU = "ec2:n.xlarge"


def _asks(cores: float, memory: float) -> Place:
    return Place(instance=SKU, requested_cores=cores, requested_memory_bytes=memory)


def _node() -> Machine:
    found = machine_of(NODES.price(SKU))
    assert found is not None
    return found


def _wanted(usage: Usage) -> PodRequests:
    found = size_pod(usage)
    assert isinstance(found, Action)
    return asked(found)


def test_processors_by_their_95th_percentile_and_memory_by_its_peak() -> None:
    # One hour in 25 needs 3 cores: below 5 %, so one core within a bucket is enough.
    use = [(3.0 if n % 25 == 0 else 1.0, (900 if n % 30 == 0 else 500) * MB) for n in range(400)]
    cores, memory = _wanted(usage_of("a", use, _asks(2.0, 4 * GB)))
    assert cores is not None
    assert 1.0 <= cores <= 1.051
    assert memory == ceil(900 * 1.15) * MB


def test_floors() -> None:
    assert _wanted(steady("a", 0.001, 1 * MB, _asks(1.0, 1 * GB))) == (0.01, ceil(1e8 / MB) * MB)


def test_memory_that_killed_it_gets_a_quarter_more() -> None:
    usage = steady("a", 1.0, 1000 * MB, _asks(1.0, 1 * GB))
    usage.hours[3].ooms = 2
    assert _wanted(usage).memory == 1250 * MB


def test_memory_older_than_eight_days_does_not_count() -> None:
    usage = usage_of("a", [(1.0, 4000 * MB)] * 24 + [(1.0, 1000 * MB)] * 24 * 9, _asks(1.0, 4 * GB))
    assert _wanted(usage).memory == 1150 * MB


def test_small_changes_are_not_worth_a_restart() -> None:
    usage = steady("a", 1.0, 1000 * MB, _asks(1.08, 1200 * MB))
    assert size_pod(usage) is None
    usage.hours[-1].periods, usage.hours[-1].throttled = 1000, 250
    assert size_pod(usage) is None
    usage.hours[-1].throttled = 251
    assert isinstance(size_pod(usage), Action)


def test_what_an_autoscaler_drives_is_left_as_it_is() -> None:
    place = Place(requested_cores=4.0, requested_memory_bytes=4 * GB, autoscaled=["cpu"])
    assert _wanted(steady("a", 1.0, 1000 * MB, place)) == (4.0, 1150 * MB)
    both = Place(requested_cores=4.0, autoscaled=["cpu", "memory"])
    assert isinstance(size_pod(steady("a", 1.0, 1000 * MB, both)), Refusal)


def test_thin_histories_are_refused() -> None:
    found = size_pod(steady("a", 1.0, 1000 * MB, _asks(4.0, 4 * GB), hours=50))
    assert isinstance(found, Refusal)
    assert "50 measurements over 49.0 hours are too few" in found.reason


def test_the_patch_can_be_applied() -> None:
    found = size_pod(steady("api", 0.25, 1000 * MB, _asks(1.0, 4 * GB)))
    assert isinstance(found, Action)
    assert found.draft.apply == PATCH
    assert found.freed.cores == pytest.approx(1.0 - 0.257, abs=0.01)
    assert found.freed.memory_bytes == 4 * GB - 1150 * MB


PATCH = """# kubectl patch deployment api --patch-file THIS_FILE
spec:
  template:
    spec:
      containers:
        - name: "api"
          resources:
            requests:
              cpu: 251m
              memory: 1150Mi
            limits:
              cpu: null
              memory: 1150Mi
"""


def test_replaying_tells_how_often_memory_would_have_been_too_little() -> None:
    use = [(1.0, (4000 if n < 24 else 1000) * MB) for n in range(24 * 10)]
    found = size_pod(usage_of("a", use, _asks(4.0, 8 * GB)))
    assert isinstance(found, Action)
    risks = {risk.kind: risk.part for risk in found.risks}
    assert risks == {"performance": 0.0, "out_of_memory": pytest.approx(0.1)}


def test_pods_alone_save_nothing_and_an_empty_node_does() -> None:
    pods = [PodRequests(1.0, 1 * GB)] * 6  # three fit on the 3.2 cores that may be used
    found = shrink_pool(_node(), 3, pods, NODES)
    assert isinstance(found, Action)
    assert found.replaces == [pool_item(SKU)]
    assert found.lines[0].quantity == 2 * 730
    assert shrink_pool(_node(), 2, pods, NODES) is None
    assert shrink_pool(_node(), 1, pods, NODES) is None


def test_what_is_not_known_of_a_pool_is_refused() -> None:
    for pods, word in [
        ([PodRequests(1.0, 1 * GB), PodRequests(None, 1 * GB)], "1 of its pods"),
        ([PodRequests(3.5, 1 * GB)], "larger than 80%"),
    ]:
        found = shrink_pool(_node(), 5, pods, NODES)
        assert isinstance(found, Refusal)
        assert word in found.reason


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 32), st.integers(1, 64)), min_size=1, max_size=5))
def test_packing_fits_and_is_near_the_best_one(sizes: list[tuple[int, int]]) -> None:
    """Against every way to put the pods onto nodes: tenths of cores and of GB."""
    pods = [PodRequests(cores / 10, memory / 10 * GB) for cores, memory in sizes]
    found = shrink_pool(_node(), 99, pods, NODES)
    assert isinstance(found, Action)
    nodes = round(found.lines[0].quantity / 730)
    best = min(
        len(set(places))
        for places in itertools.product(range(len(sizes)), repeat=len(sizes))
        if _holds(sizes, places)
    )
    assert best <= nodes <= best + 1


def _holds(sizes: list[tuple[int, int]], places: tuple[int, ...]) -> bool:
    for node in set(places):
        inside = [size for size, place in zip(sizes, places, strict=True) if place == node]
        if sum(cores for cores, _ in inside) > 32 or sum(memory for _, memory in inside) > 64:
            return False
    return True
