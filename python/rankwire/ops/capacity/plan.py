"""The planner: a demand, measured units and dated prices in; machines and a bill out.

Promises: the same input gives the same plan; more demand never costs less. Every claim about time
says whether a model or a measurement makes it, and a measurement is only one with its date.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from rankwire.ops.capacity import availability, bill
from rankwire.ops.capacity.availability import Availability
from rankwire.ops.capacity.bill import Bytes, CapacityUnits, FleetBill, ReferencePlan
from rankwire.ops.capacity.fleet import Choice, Sizing, TierPlan
from rankwire.ops.capacity.measured import LoadTest
from rankwire.ops.capacity.scenario import Demand, Fleet, Scenario, Stated
from rankwire.ops.capacity.units import Units
from rankwire.ops.findings import CostLine
from rankwire.ops.optimizer.reservations import RESERVED
from rankwire.ops.prices import Architecture, Catalogue, oldest, total

EGRESS_STEPS: Final = (20, 50, 100, 200, 1000)
"""Bytes a second of a connection, for the sensitivity."""

OURS: Final = "this plan"
"""Name of the planned fleet among the ways to buy the stated topology."""

SHORT_JOURNAL_DAYS: Final = 7
SLOW_TICK_SECONDS: Final = 5
QUICK_TICK_SECONDS: Final = 0.05


class Claim(msgspec.Struct, frozen=True):
    """A statement about time, and who makes it."""

    what: str
    label: str
    """`model` or `measured`."""
    ms: float
    wanted_ms: float | None
    """None where the scenario wants nothing of it."""
    basis: str


class Row(msgspec.Struct, frozen=True):
    """The bill with one thing changed."""

    name: str
    monthly: float
    difference: float
    note: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a scenario needs and costs."""

    scenario: str
    region: str
    arch: Architecture
    demand: Demand
    fleet: Fleet
    tiers: list[TierPlan]
    lines: list[CostLine]
    monthly: float
    egress: float
    """Dollars of these for what leaves."""
    sent: Bytes
    bytes_per_connection: float
    """All that leaves, by connections: for comparison with what a stated total pays."""
    balancer: CapacityUnits
    claims: list[Claim]
    unmeasured: str
    """What no load test has shown; empty when one carried the whole demand."""
    availability: Availability | None
    stated: Stated | None
    references: list[ReferencePlan]
    sensitivity: list[Row]
    prices_oldest: str
    """Date of the oldest price in the bill."""
    units_oldest: str
    """Date of the oldest measurement that was used."""
    caveats: list[str]


class _Rows:
    """Makes rows beside a bill."""

    def __init__(self, base: float) -> None:
        self._base = base

    def __call__(self, name: str, changed: list[CostLine], note: str = "") -> Row:
        monthly = total(changed)
        return Row(name, monthly, round(monthly - self._base, 2), note)


class CapacityPlanner:
    """Plans scenarios with one price table and one set of units."""

    def __init__(
        self,
        catalogue: Catalogue,
        units: Units,
        tests: Mapping[str, Sequence[LoadTest]] | None = None,
    ) -> None:
        """Take what things cost, and the load tests by the names of scenarios."""
        self._catalogue = catalogue
        self._units = units
        self._tests = tests or {}

    def plan(self, scenario: Scenario, arch: Architecture = "arm64") -> Plan:
        """Plan a scenario. Raises CapacityError, PriceError."""
        sizing, tiers, sent, lines = self._priced(scenario, Choice(arch))
        demand = scenario.demand
        leaving = sent.live + sent.answers
        unit = self._catalogue.price("alb:lcu")
        claims, unmeasured = self._claims(scenario, tiers)
        stated = scenario.stated
        egress = next(line for line in lines if line.sku == bill.EGRESS)
        return Plan(
            scenario=scenario.name,
            region=self._catalogue.region,
            arch=arch,
            demand=demand,
            fleet=scenario.fleet,
            tiers=tiers,
            lines=lines,
            monthly=total(lines),
            egress=total([egress]),
            sent=sent,
            bytes_per_connection=leaving / demand.connections,
            balancer=bill.capacity_units(unit, scenario, leaving),
            claims=claims,
            unmeasured=unmeasured,
            availability=_availability(scenario, tiers, self._catalogue.hours),
            stated=stated,
            references=self._beside(scenario, lines),
            sensitivity=list(self._sensitivity(scenario, arch, sizing, tiers, lines)),
            prices_oldest=oldest(lines).isoformat(),
            units_oldest=min(unit.date for unit in self._units.file.units.values()),
            caveats=self._caveats(scenario, lines),
        )

    def _priced(
        self, scenario: Scenario, choice: Choice
    ) -> tuple[Sizing, list[TierPlan], Bytes, list[CostLine]]:
        sizing = Sizing(scenario, self._units, self._catalogue, choice)
        tiers = sizing.plan()
        sent = bill.outgoing(sizing, self._units)
        lines = FleetBill(scenario, self._units, self._catalogue).lines(
            tiers, sent.live + sent.answers
        )
        return sizing, tiers, sent, lines

    def _beside(self, scenario: Scenario, lines: list[CostLine]) -> list[ReferencePlan]:
        """Put the plan and the ways to buy the stated topology beside each other."""
        if scenario.stated is None:
            return []
        egress = next(line for line in lines if line.sku == bill.EGRESS)
        beside = bill.Beside(scenario.stated, scenario, self._catalogue, egress)
        ours = beside.lines(OURS, "", [line for line in lines if line is not egress])
        return [ours, *map(beside.topology, scenario.references)]

    # Time.

    def _claims(self, scenario: Scenario, tiers: list[TierPlan]) -> tuple[list[Claim], str]:
        slowest = max(tiers, key=lambda tier: tier.response_ms or 0)
        claims = [
            Claim(
                "99 % of the requests are answered, after a loss",
                "model",
                slowest.response_ms or 0,
                scenario.demand.response_ms,
                f"M/M/c at the {slowest.tier} tier with two commits; without networks",
            ),
            _seen(scenario, tiers),
        ]
        tests = self._tests.get(scenario.name, ())
        for test in tests:
            claims += _measured(scenario, test)
        if any(test.carries(scenario.demand) for test in tests):
            return claims, ""
        if tests:
            return claims, "the whole demand; each load test above says which part of it it was"
        return claims, "there is no load test of the whole scenario with a date"

    # What if.

    def _sensitivity(
        self,
        scenario: Scenario,
        arch: Architecture,
        sizing: Sizing,
        tiers: list[TierPlan],
        lines: list[CostLine],
    ) -> Iterator[Row]:
        row = _Rows(total(lines))
        other: Architecture = "x86_64" if arch == "arm64" else "arm64"
        yield row(f"{other} machines", self._priced(scenario, Choice(other))[3])
        yield self._reserved(tiers, lines, row)
        valkey = Choice(arch, "cache-valkey")
        yield row("Valkey instead of Redis", self._priced(scenario, valkey)[3])
        yield row(
            f"journal of {SHORT_JOURNAL_DAYS} days",
            self._changed(scenario, arch, fleet={"journal_days": SHORT_JOURNAL_DAYS}),
            "an archive of what is older is not in here",
        )
        yield row(
            f"own standings every {SLOW_TICK_SECONDS} seconds at most",
            self._changed(scenario, arch, fleet={"personal_tick_seconds": SLOW_TICK_SECONDS}),
        )
        yield row(
            f"shared views every {QUICK_TICK_SECONDS * 1000:g} ms at most",
            self._changed(scenario, arch, fleet={"tick_seconds": QUICK_TICK_SECONDS}),
            "`live.tick_ms`",
        )
        share = self._units["change_share"]
        yield row(
            f"{share:.0%} of the updates change a board",
            self._changed(scenario, arch, demand={"changing": share}),
            "as in the game that the units are of, which everybody has played before",
        )
        reads = self._changed(scenario, arch, demand={"reads_per_update": 0})
        yield row("without reads over HTTP", reads)
        yield from self._without_sizing(scenario, sizing, tiers, row)

    def _without_sizing(
        self, scenario: Scenario, sizing: Sizing, tiers: list[TierPlan], row: _Rows
    ) -> Iterator[Row]:
        """Change what no machine depends on: the load balancer, and what leaves."""
        made = FleetBill(scenario, self._units, self._catalogue)
        sent = bill.outgoing(sizing, self._units)
        leaving = sent.live + sent.answers
        yield row("NLB that ends TLS", made.lines(tiers, leaving, balancer="nlb"))
        yield row(
            "NLB that passes TCP through",
            made.lines(tiers, leaving, balancer="nlb", passed_through=True),
            "TLS has to end behind it, whose processor time is not in here",
        )
        for each in EGRESS_STEPS:
            yield row(
                f"egress of {each} B/s a connection",
                made.lines(tiers, each * scenario.demand.connections),
            )

    def _changed(
        self,
        scenario: Scenario,
        arch: Architecture,
        *,
        demand: Mapping[str, float] | None = None,
        fleet: Mapping[str, float] | None = None,
    ) -> list[CostLine]:
        """Price the scenario with some of it changed."""
        other = msgspec.structs.replace(
            scenario,
            demand=msgspec.structs.replace(scenario.demand, **(demand or {})),
            fleet=msgspec.structs.replace(scenario.fleet, **(fleet or {})),
        )
        return self._priced(other, Choice(arch))[3]

    def _reserved(self, tiers: list[TierPlan], lines: list[CostLine], row: _Rows) -> Row:
        """Price a year's reservation of what the table has a reserved price of."""
        prices = {tier.sku: self._catalogue.price(tier.sku) for tier in tiers}
        known = [sku for sku, price in prices.items() if price.number(RESERVED) is not None]
        left = [sku for sku in prices if sku not in known]
        dated = (f"{sku} of {bill.reserved_date(prices[sku])}" for sku in known)
        note = f"by the price table: {', '.join(dated) or 'none'}"
        if left:
            note += f"; it has no reserved price of {', '.join(left)}, which stay as they are"
        changed = bill.reserved(lines, self._catalogue, known, {})
        return row("reserved for a year", changed, note)

    def _caveats(self, scenario: Scenario, lines: list[CostLine]) -> list[str]:
        day, speed = oldest(lines), scenario.fleet.core_speed
        machine = next(iter(self._units.file.units.values())).machine
        caveats = [
            f"The oldest price in the bill is of {day}.",
            f"Units are of {machine}; a planned core is taken as {speed:g} times as fast.",
            "Machines fail independently in the arithmetic of availability.",
        ]
        if self._units.file.noisy:
            caveats.append("The units were measured while other programs used the machine.")
        return caveats


def _seen(scenario: Scenario, tiers: list[TierPlan]) -> Claim:
    """Tell when the last watcher of the top of all sees a change."""
    live = next(tier for tier in tiers if tier.tier == "live")
    return Claim(
        "the last watcher of the top of all sees a change, after a loss",
        "model",
        live.seen_ms or 0,
        scenario.demand.delivery_ms,
        "the pass before or a tick, then a pass over all its watchers beside all else that a core "
        "does; without networks",
    )


def _measured(scenario: Scenario, test: LoadTest) -> Iterator[Claim]:
    """Tell what a load test has shown, and of what."""
    demand, basis = scenario.demand, basis_of(scenario.demand, test)
    requests = "99 % of the requests are answered"
    yield Claim(requests, "measured", test.api_p99_ms, demand.response_ms, basis)
    if test.delivery_p99_ms is not None:
        deliveries = "99 % of the messages about what many watch arrive"
        yield Claim(deliveries, "measured", test.delivery_p99_ms, demand.delivery_ms, basis)


def basis_of(demand: Demand, test: LoadTest) -> str:
    """Say which load test it was, and how much of the demand it carried."""
    said = f"load test of {test.date} on {test.machine}, clients included ({test.source})"
    if test.carries(demand):
        said += ", the whole demand"
    else:
        said += (
            f", a part: {test.connections:,.0f} of {demand.connections:,.0f} connections, "
            f"{test.updates_per_minute:,.0f} of {demand.updates_per_minute:,.0f} updates a minute, "
            f"{test.reads_per_update:g} of {demand.reads_per_update:g} reads for each"
        )
        if test.batch > 1:
            said += f", {test.batch} scores a request"
    return said + ("; other programs used the machine" if test.noisy else "")


def _availability(scenario: Scenario, tiers: list[TierPlan], hours: float) -> Availability | None:
    """Chain the tiers; without Redis nodes go on through PostgreSQL, so it is not in the chain."""
    sla = scenario.sla
    if not {"balancer", "machine", "database"} <= sla.keys():
        return None
    parts = [
        availability.part("balancer", sla["balancer"].availability, 1, 1, sla["balancer"].source)
    ]
    for tier in tiers:
        if tier.tier in {"api", "live"}:
            each = sla["machine"]
            one = availability.part(
                tier.tier, each.availability, tier.instances, tier.needed, each.source
            )
            parts.append(one)
    both = sla["database"]
    parts.append(availability.part("database", both.availability, 1, 1, both.source))
    return availability.serial(parts, hours)
