"""When the last watcher sees a change, and the machines that it takes for that."""

from __future__ import annotations

import random

import msgspec
import pytest

from fix_units import UNITS
from rankwire.ops.capacity import model, zones
from rankwire.ops.capacity.fleet import CapacityError, Choice, Sizing, TierPlan
from rankwire.ops.capacity.plan import CapacityPlanner
from rankwire.ops.capacity.scenario import Scenario, load_scenario
from rankwire.ops.prices import Catalogue

CATALOGUE = Catalogue.load()
LARGE = load_scenario("large")


def _wanting(ms: float | None, **fleet: float) -> Scenario:
    return msgspec.structs.replace(
        LARGE,
        demand=msgspec.structs.replace(LARGE.demand, delivery_ms=ms),
        fleet=msgspec.structs.replace(LARGE.fleet, **fleet),
    )


def _sized(scenario: Scenario) -> tuple[Sizing, TierPlan]:
    sizing = Sizing(scenario, UNITS, CATALOGUE, Choice())
    return sizing, sizing.plan()[1]


def test_a_pass_beside_other_work_takes_as_long_as_in_a_simulation() -> None:
    chance = random.Random(1)
    busy, job, other = 0.6, 0.05, 0.001
    times = []
    for _ in range(400):
        clock, left = 0.0, job
        arrival = chance.expovariate(busy / other)
        # Whatever else comes is done first; the job has what is left.
        while True:
            if clock + left <= arrival:
                times.append(clock + left)
                break
            left -= max(0.0, arrival - clock)
            clock = max(clock, arrival) + other
            arrival += chance.expovariate(busy / other)
    # 12 µs for each of so many watchers is the job; the first wait is that for the pass before.
    seen = model.last_seen_seconds(job / 12e-6, 1 - busy, UNITS, tick=0.1)
    assert seen / 2 == pytest.approx(sum(times) / len(times), rel=0.03)


def test_a_change_waits_for_the_slowest_of_three() -> None:
    by_tick = model.last_seen_seconds(1000, 1, UNITS, tick=0.1)
    assert by_tick == pytest.approx(0.1 + 0.012)
    by_pass = model.last_seen_seconds(100_000, 1, UNITS, tick=0.1)
    assert by_pass == pytest.approx(1.2 + 1.2)
    quick = msgspec.structs.replace(UNITS.file.units["cpu_delivery"], value=1.0)
    units = type(UNITS)(
        msgspec.structs.replace(UNITS.file, units={**UNITS.file.units, "cpu_delivery": quick})
    )
    by_budget = model.last_seen_seconds(100_000, 1, units, tick=0.1)
    assert by_budget == pytest.approx(100_000 / model.DELIVERIES_OF_THREAD + 0.1)


def test_both_bounds_are_kept_by_the_fewest_machines() -> None:
    sizing, live = _sized(LARGE)
    assert LARGE.demand.delivery_ms == 150
    assert live.seen_ms is not None
    assert live.seen_ms <= 150
    assert sizing.seen_ms(live.needed, live.usable_cores) <= 150
    assert sizing.seen_ms(live.needed - 1, live.usable_cores) > 150
    _, unhurried = _sized(_wanting(None))
    assert (unhurried.seen_ms or 0) > 150
    cores = [one.instances * one.usable_cores for one in (unhurried, live)]
    assert cores[0] < cores[1]


def test_a_shorter_tick_leaves_more_time_for_a_pass() -> None:
    _, slow = _sized(LARGE)
    _, quick = _sized(_wanting(150, tick_seconds=0.05))
    assert quick.instances * quick.usable_cores < slow.instances * slow.usable_cores
    assert (quick.seen_ms or 0) <= 150


def test_a_shorter_tick_has_more_looks_at_views() -> None:
    slow, quick = (
        Sizing(_wanting(150, tick_seconds=tick), UNITS, CATALOGUE, Choice()).cores("live", 20)
        for tick in (0.1, 0.02)
    )
    assert quick > slow


def test_what_no_fleet_can_do_is_said() -> None:
    with pytest.raises(CapacityError, match=r"within 100 ms while a view is sent every 100 ms"):
        _sized(_wanting(100))


def test_a_bound_that_is_not_wanted_is_told_without_one() -> None:
    plan = CapacityPlanner(CATALOGUE, UNITS).plan(_wanting(None))
    (claim,) = [one for one in plan.claims if "last watcher" in one.what]
    assert claim.wanted_ms is None
    assert claim.ms == plan.tiers[1].seen_ms


def test_few_large_nodes_are_taken_where_what_they_hear_costs_more_than_they_do() -> None:
    assert (
        zones.beside_machine(LARGE, UNITS, CATALOGUE) > CATALOGUE.line("ec2:c6g.medium", 1).monthly
    )
    _, live = _sized(LARGE)
    assert live.usable_cores > 1
    _, together = _sized(_wanting(150, zones=1))
    # In one zone nothing crosses, so only the disk is beside a machine.
    assert together.instances * together.usable_cores <= live.instances * live.usable_cores
    beside = zones.beside_machine(_wanting(150, zones=1), UNITS, CATALOGUE)
    assert beside == pytest.approx(CATALOGUE.line(zones.DISK, LARGE.fleet.volume_gb).monthly)


@pytest.mark.parametrize("other", ["ec2:c6g.medium", "ec2:c6g.large", "ec2:c7g.xlarge"])
def test_no_other_machines_are_cheaper_with_all_that_is_beside_them(other: str) -> None:
    rows = [
        row for row in CATALOGUE.table.rows if not row.sku.startswith("ec2:") or row.sku == other
    ]
    alone = Catalogue(msgspec.structs.replace(CATALOGUE.table, rows=rows))
    live = Sizing(LARGE, UNITS, alone, Choice()).plan()[1]
    assert live.sku == other
    assert _monthly(live) >= _monthly(_sized(LARGE)[1])


def _monthly(tier: TierPlan) -> float:
    beside = zones.beside_machine(LARGE, UNITS, CATALOGUE)
    return CATALOGUE.line(tier.sku, tier.instances).monthly + tier.instances * beside
