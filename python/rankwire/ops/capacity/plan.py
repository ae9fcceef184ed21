"""The planner: a demand, measured units and dated prices in; machines and a bill out.

Promises: the same input gives the same plan; more demand never costs less. Every claim about time
says whether a model or a measurement makes it, and a measurement is only one with its date.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from rankwire.ops.capacity import availability, bill, model
from rankwire.ops.capacity.availability import Availability
from rankwire.ops.capacity.bill import Bytes, CapacityUnits, FleetBill, ReferencePlan
from rankwire.ops.capacity.fleet import Choice, Sizing, TierPlan
from rankwire.ops.capacity.scenario import Demand, Fleet, Scenario, Stated
from rankwire.ops.capacity.units import Units
from rankwire.ops.findings import CostLine
from rankwire.ops.optimizer.reservations import RESERVED
from rankwire.ops.prices import Architecture, Catalogue, oldest, total

MEASURED: Final = Path(__file__).parent.parent / "data" / "measured"
"""Results of load tests of whole scenarios, as `NAME.json`; those that were made are there."""

EGRESS_STEPS: Final = (20, 50, 100, 200, 1000)
"""Bytes a second of a connection, for the sensitivity."""

OURS: Final = "this plan"
"""Name of the planned fleet among the ways to buy the stated topology."""

SHORT_JOURNAL_DAYS: Final = 7
SLOW_TICK_SECONDS: Final = 5


class Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a load test of the whole scenario has shown."""

    date: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    machine: str
    target: str
    p99_ms: Annotated[float, Meta(ge=0)]
    note: str = ""


class Claim(msgspec.Struct, frozen=True):
    """A statement about time, and who makes it."""

    what: str
    label: str
    """`model` or `measured`."""
    ms: float
    wanted_ms: float
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
    """Why there is no measured claim; empty when there is one."""
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

    def __init__(self, catalogue: Catalogue, units: Units, measured: Path = MEASURED) -> None:
        """Take what things cost."""
        self._catalogue = catalogue
        self._units = units
        self._measured = measured

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
        wanted = scenario.demand.response_ms
        slowest = max(tiers, key=lambda tier: tier.response_ms or 0)
        claims = [
            Claim(
                "99 % of the requests are answered, after a loss",
                "model",
                slowest.response_ms or 0,
                wanted,
                f"M/M/c at the {slowest.tier} tier with two commits; without networks",
            ),
            self._seen(scenario, tiers),
        ]
        try:
            found = self._read_measured(scenario.name)
        except FileNotFoundError:
            return claims, "there is no load test of the whole scenario with a date"
        except (OSError, msgspec.DecodeError) as error:
            return claims, f"the load test of the scenario cannot be read: {error}"
        basis = f"{found.target} on {found.date}, {found.machine}. {found.note}".strip()
        measured = Claim(
            "99 % of the requests are answered", "measured", found.p99_ms, wanted, basis
        )
        return [*claims, measured], ""

    def _seen(self, scenario: Scenario, tiers: list[TierPlan]) -> Claim:
        """Tell when the last watcher of the top of all sees a change."""
        live = next(tier for tier in tiers if tier.tier == "live")
        watchers = live.connections * scenario.demand.views.top
        spread = watchers * self._units.seconds("cpu_delivery") / live.usable_cores
        return Claim(
            "the last watcher of the top of all sees a change, after a loss",
            "model",
            (model.SHARED_TICK + spread / scenario.fleet.core_speed) * 1000,
            scenario.demand.response_ms,
            "a tick and one pass over all its watchers; without networks",
        )

    def _read_measured(self, name: str) -> Measured:
        content = (self._measured / f"{Path(name).name}.json").read_bytes()
        return msgspec.json.decode(content, type=Measured)

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
