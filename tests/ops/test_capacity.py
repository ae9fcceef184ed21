"""The capacity planner: its machines and its bill, and the topologies that were stated."""

from __future__ import annotations

import itertools
import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fix_units import UNITS
from rankwire.ops.capacity import bill, model, zones
from rankwire.ops.capacity.bill import FleetBill
from rankwire.ops.capacity.fleet import (
    CapacityError,
    Choice,
    Sizing,
    TierPlan,
    fewest,
    lost,
    with_losses,
)
from rankwire.ops.capacity.plan import CapacityPlanner
from rankwire.ops.capacity.scenario import (
    Demand,
    Fleet,
    Scenario,
    load_scenario,
)
from rankwire.ops.prices import Catalogue, PriceError, total

CATALOGUE = Catalogue.load()
MEDIUM, LARGE = load_scenario("medium"), load_scenario("large")


def _priced(scenario: Scenario, arch: str = "arm64") -> tuple[list[TierPlan], float]:
    sizing = Sizing(scenario, UNITS, CATALOGUE, Choice("x86_64" if arch == "x86_64" else "arm64"))
    tiers = sizing.plan()
    sent = bill.outgoing(sizing, UNITS)
    return tiers, total(
        FleetBill(scenario, UNITS, CATALOGUE).lines(tiers, sent.live + sent.answers)
    )


# The stated topologies.


@pytest.mark.parametrize(
    ("scenario", "name", "monthly", "each"),
    [
        ("medium", "burstable minimum", 1082.63, 99),
        ("medium", "Graviton", 1679.34, 64),
        ("medium", "x86, EKS, NAT", 2093.19, 40),
        ("large", "Graviton", 12_287.63, 39),
        ("large", "Graviton, 32 GB of Redis that can be used", 14_810.51, 21),
        ("large", "x86, EKS, NAT", 14_752.27, 22),
        ("large", "Graviton, EKS, reserved for a year", 8830.03, 64),
    ],
)
def test_stated_topologies_cost_so_much_and_leave_so_many_bytes(
    scenario: str, name: str, monthly: float, each: int
) -> None:
    plan = CapacityPlanner(CATALOGUE, UNITS).plan(load_scenario(scenario))
    found = next(one for one in plan.references if one.name == name)
    assert found.monthly == monthly
    assert plan.stated is not None
    assert found.left == round(plan.stated.monthly - monthly, 2)
    assert int(found.bytes_per_connection) == each
    assert found.with_egress == pytest.approx(monthly + plan.egress, abs=0.011)


@pytest.mark.parametrize(
    ("connections", "each", "monthly"),
    [
        (75_000, 20, 345.78),
        (75_000, 50, 877.95),
        (75_000, 100, 1718.05),
        (75_000, 200, 3393.40),
        (75_000, 1000, 13_741.20),
        (750_000, 50, 7710.70),
        (750_000, 1000, 102_436.20),
    ],
)
def test_egress_of_so_many_connections(connections: int, each: int, monthly: float) -> None:
    quantity = bill.gigabytes(connections * each, CATALOGUE.hours)
    assert total([CATALOGUE.line(bill.EGRESS, quantity)]) == monthly


def test_the_plan_stands_beside_them() -> None:
    plan = CapacityPlanner(CATALOGUE, UNITS).plan(MEDIUM)
    ours = plan.references[0]
    assert ours.name == "this plan"
    assert ours.with_egress == plan.monthly
    assert ours.monthly == pytest.approx(plan.monthly - plan.egress, abs=0.011)


@given(st.floats(0, 200_000))
def test_what_money_pays_is_what_costs_it(money: float) -> None:
    egress = CATALOGUE.price(bill.EGRESS)
    assert math.isclose(egress.cost(bill.bytes_paid(money, egress)), money, abs_tol=1e-6)


def test_a_topology_that_costs_more_than_stated_leaves_nothing() -> None:
    assert MEDIUM.stated is not None
    poor = msgspec.structs.replace(MEDIUM.stated, monthly=1000.0)
    egress = CATALOGUE.line(bill.EGRESS, 0)
    found = bill.Beside(poor, MEDIUM, CATALOGUE, egress).topology(MEDIUM.references[1])
    assert found.left == -679.34
    assert found.bytes_per_connection == 0


# The machines.


def test_losses_are_survived() -> None:
    for needed, of_zones, spare in itertools.product(range(1, 40), range(1, 5), range(3)):
        fleet = Fleet(zones=of_zones, spare=spare)
        instances = with_losses(needed, fleet)
        assert instances - lost(instances, fleet) >= needed
        fewer = instances - 1
        assert fewer < needed or fewer - lost(fewer, fleet) < needed
        if of_zones > 1:
            assert instances - math.ceil(instances / of_zones) >= needed


def test_the_fewest_are_found() -> None:
    for least in (1, 2, 7, 1024):
        assert fewest(least.__le__) == least
    assert fewest(lambda _count: False) is None


@pytest.mark.parametrize("scenario", [MEDIUM, LARGE])
def test_after_a_loss_no_machine_is_used_more_than_allowed(scenario: Scenario) -> None:
    tiers, _ = _priced(scenario)
    fleet = scenario.fleet
    assert [tier.tier for tier in tiers] == ["api", "live", "database", "cache"]
    for tier in tiers:
        price = CATALOGUE.price(tier.sku)
        if tier.tier == "cache":
            assert (tier.cores, tier.utilisation, tier.utilisation_after_loss) == (None,) * 3
        else:
            assert tier.utilisation is not None
            assert tier.utilisation_after_loss is not None
            assert tier.utilisation <= tier.utilisation_after_loss <= fleet.utilisation
        assert tier.memory_gb <= fleet.memory * (price.number("memory_gb") or 0)
        assert tier.connections <= fleet.open_files - 1000
        assert (tier.response_ms or 0) <= scenario.demand.response_ms
    live = tiers[1]
    assert live.connections == scenario.demand.connections / (
        live.instances - lost(live.instances, fleet)
    )


def test_the_cheapest_machines_are_taken() -> None:
    tiers, _ = _priced(MEDIUM)
    assert [tier.sku for tier in tiers] == [
        "ec2:c6g.medium",
        "ec2:c6g.medium",
        "rds-pg:db.r6g.large",
        "cache-redis:cache.m6g.large",
    ]


def test_fewer_open_files_need_more_machines() -> None:
    unhurried = msgspec.structs.replace(MEDIUM.demand, delivery_ms=None)
    medium = msgspec.structs.replace(MEDIUM, demand=unhurried)
    few = msgspec.structs.replace(medium, fleet=Fleet(open_files=6000))
    assert _priced(medium)[0][1].needed == 2
    assert _priced(few)[0][1].needed == 15


def test_slower_cores_need_more_of_them() -> None:
    slow = msgspec.structs.replace(LARGE, fleet=Fleet(core_speed=0.5, open_files=131_072))
    fast, slowed = _priced(LARGE)[0], _priced(slow)[0]
    assert slowed[0].instances > fast[0].instances
    assert (slowed[2].cores or 0) > (fast[2].cores or 0) > 0


def test_what_no_machine_carries_is_said() -> None:
    endless = msgspec.structs.replace(
        MEDIUM, demand=Demand(users=1e9, updates_per_minute=1e8, connections=1e6, response_ms=100)
    )
    with pytest.raises(CapacityError, match="carries the api tier"):
        _priced(endless)
    hasty = msgspec.structs.replace(
        MEDIUM, demand=msgspec.structs.replace(MEDIUM.demand, response_ms=0.001)
    )
    with pytest.raises(CapacityError, match="machine in the price table"):
        _priced(hasty)


_SIZES = st.fixed_dictionaries(
    {
        "users": st.floats(1000, 2e6),
        "updates_per_minute": st.floats(60, 1e6),
        "connections": st.floats(10, 1e6),
        "reads_per_update": st.floats(0, 20),
    }
)
# More users alone are more cohorts, in each of which less happens.
_MORE = (
    ("updates_per_minute",),
    ("connections",),
    ("reads_per_update",),
    ("users", "updates_per_minute", "connections"),
)


@settings(max_examples=25, deadline=None)
@given(_SIZES, st.sampled_from(_MORE), st.floats(1, 4), st.sampled_from((None, 150, 300)))
def test_more_demand_never_costs_less_or_needs_fewer(
    sizes: dict[str, float], names: tuple[str, ...], factor: float, delivery_ms: float | None
) -> None:
    def priced(changed: dict[str, float]) -> tuple[list[TierPlan], float]:
        demand = msgspec.structs.replace(
            MEDIUM.demand, **changed, response_ms=500, delivery_ms=delivery_ms
        )
        return _priced(Scenario(name="x", demand=demand, fleet=Fleet(open_files=1_000_000)))

    larger = sizes | {name: sizes[name] * factor for name in names}
    try:
        many, dear = priced(larger)
    except CapacityError:
        return
    few, cheap = priced(sizes)
    assert cheap <= dear
    for before, after in zip(few, many, strict=True):
        if before.sku == after.sku:
            assert before.needed <= after.needed
            assert before.instances <= after.instances


# The bill.


def test_the_balancer_is_billed_by_its_highest_dimension() -> None:
    alb, nlb = CATALOGUE.price("alb:lcu"), CATALOGUE.price("nlb:lcu")
    by_connections = bill.capacity_units(alb, MEDIUM, 1000)
    assert (by_connections.dimension, by_connections.quantity) == ("active_connections", 25)
    by_bytes = bill.capacity_units(alb, MEDIUM, 100e6 / 3.6)
    assert by_bytes.dimension == "gb_per_hour"
    assert by_bytes.quantity == pytest.approx(100)
    assert bill.capacity_units(nlb, MEDIUM, 1000, prefix="tls_").quantity == 25
    assert bill.capacity_units(nlb, MEDIUM, 1000).quantity == pytest.approx(0.75)


def test_the_bill_has_every_kind_of_cost() -> None:
    plan = CapacityPlanner(CATALOGUE, UNITS).plan(MEDIUM)
    skus = {line.sku for line in plan.lines}
    assert {"rds:gp3", "ebs:gp3", "alb:hour", "alb:lcu", bill.EGRESS, zones.CROSS_ZONE} <= skus
    assert plan.monthly == total(plan.lines)
    egress = next(line for line in plan.lines if line.sku == bill.EGRESS)
    receipts = MEDIUM.demand.scores * model.on_the_wire(274)
    reads = 10 * MEDIUM.demand.updates * sum(map(model.on_the_wire, (739, 220, 730))) / 3
    assert plan.sent.answers == pytest.approx(receipts + reads)
    leaving = plan.sent.live + plan.sent.answers
    assert egress.quantity == bill.gigabytes(leaving, 730) > 0
    assert plan.bytes_per_connection == leaving / 75_000
    assert all(line.source and line.date for line in plan.lines)
    assert plan.prices_oldest == min(line.date for line in plan.lines)
    journal = MEDIUM.demand.scores * 76 * 90 * 86_400 / 1e9
    stored = next(line for line in plan.lines if line.sku == "rds:gp3")
    assert stored.quantity == pytest.approx(2 * (journal + 200_000 * 150 / 1e9))


def test_one_thing_is_changed_at_a_time() -> None:
    plan = CapacityPlanner(CATALOGUE, UNITS).plan(MEDIUM)
    rows = {row.name: row for row in plan.sensitivity}
    for row in rows.values():
        assert row.difference == pytest.approx(row.monthly - plan.monthly, abs=0.011)
    cache = next(line for line in plan.lines if line.sku.startswith("cache-redis"))
    assert rows["Valkey instead of Redis"].difference == pytest.approx(
        -0.2 * cache.monthly, abs=0.011
    )
    steps = [row.monthly for name, row in rows.items() if name.startswith("egress of")]
    assert len(steps) == 5
    assert steps == sorted(steps)
    assert rows["own standings every 5 seconds at most"].difference < 0


def test_only_what_has_a_reserved_price_is_reserved() -> None:
    plan = CapacityPlanner(CATALOGUE, UNITS).plan(MEDIUM)
    (row,) = [row for row in plan.sensitivity if row.name == "reserved for a year"]
    # Two nodes of Redis; the table has no such price of the others.
    assert row.difference == pytest.approx(2 * 730 * (0.102 - 0.149), abs=0.011)
    assert row.note == (
        "by the price table: cache-redis:cache.m6g.large of 2022-02-13; it has no reserved price "
        "of ec2:c6g.medium, rds-pg:db.r6g.large, which stay as they are"
    )


def test_an_assumed_price_does_not_pass_for_one_of_the_table() -> None:
    skus = ("ec2:c7g.large", "cache-redis:cache.r6g.xlarge", "alb:hour", "ebs:gp3")
    lines = [CATALOGUE.line(sku, 1) for sku in skus]
    machine, cache, *rest = bill.reserved(lines, CATALOGUE, skus[1:2], {"ec2": 0.34})
    assert machine.source == f"assumed to be 34% less than {lines[0].source}"
    assert machine.monthly == pytest.approx(0.66 * lines[0].monthly)
    assert cache.source == f"{lines[1].source}, reserved for a year"
    assert (cache.unit_price, cache.date[:4]) == (0.281, "2022")
    assert rest == lines[2:]
    with pytest.raises(PriceError, match=r"no reserved price of ec2:c7g\.large"):
        bill.reserved(lines, CATALOGUE, skus, {})


def test_a_reserved_price_that_an_import_kept_has_its_own_source() -> None:
    sku = "cache-redis:cache.r6g.xlarge"
    (row,) = [row for row in CATALOGUE.table.rows if row.sku == sku]
    row = msgspec.structs.replace(row, attributes=row.attributes | {"reserved_source": "a list"})
    kept = Catalogue(msgspec.structs.replace(CATALOGUE.table, rows=[row]))
    (line,) = bill.reserved([kept.line(sku, 1)], kept, [sku], {})
    assert line.source == "a list, reserved for a year"


def test_given_discounts_are_said_to_be_assumed() -> None:
    plan = CapacityPlanner(CATALOGUE, UNITS).plan(LARGE)
    (note,) = [one.note for one in plan.references if "reserved" in one.name]
    assert "Discounts are assumed, as given: ec2 34%, rds-pg 33%." in note


def test_plans_are_the_same_each_time() -> None:
    planner = CapacityPlanner(CATALOGUE, UNITS)
    one, two = (msgspec.json.encode(planner.plan(LARGE)) for _ in range(2))
    assert one == two
