"""What a fleet costs in a month, line by line, and how much egress a sum of money pays.

Promises: every line has its price from the table; a gigabyte is 1,000,000,000 bytes, as AWS counts
traffic. Load balancers are billed by the highest of their dimensions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf
from typing import Final, Literal

import msgspec

from rankwire.ops.capacity import model, zones
from rankwire.ops.capacity.fleet import Sizing, TierPlan
from rankwire.ops.capacity.scenario import Reference, Scenario, Stated
from rankwire.ops.capacity.units import Units
from rankwire.ops.findings import CostLine
from rankwire.ops.optimizer.reservations import RESERVED
from rankwire.ops.prices import HOURLY, Catalogue, Price, PriceError, total

EGRESS: Final = "egress:internet"

Balancer = Literal["alb", "nlb"]

_GB: Final = 1e9
_LEAST_STORAGE_GB: Final = 20.0
"""RDS has no smaller disk."""
_DAY: Final = 86_400


class Bytes(msgspec.Struct, frozen=True):
    """What leaves for players in a second."""

    live: float
    """Views over WebSocket, with TLS and TCP/IP."""
    answers: float
    """Answers over HTTP, and receipts over WebSocket."""


class CapacityUnits(msgspec.Struct, frozen=True):
    """What the load balancers are billed by."""

    quantity: float
    dimension: str
    """The one that is highest."""
    dimensions: dict[str, float]


class ReferencePlan(msgspec.Struct, frozen=True):
    """A bill without egress, and what a stated total leaves beside it."""

    name: str
    note: str
    lines: list[CostLine]
    monthly: float
    left: float
    """Of the stated total, for egress; negative when there is nothing."""
    bytes_per_connection: float
    """Average bytes a second of a connection that this pays."""
    with_egress: float
    """The bill with the egress of the plan."""


def outgoing(sizing: Sizing, units: Units) -> Bytes:
    """Tell what leaves for all players together."""
    seen = model.traffic(sizing.audience(1), units)
    receipts = sizing.load("live", 1).ws_submits * model.on_the_wire(units["bytes_receipt"])
    return Bytes(seen.wire_bytes, model.answer_bytes(sizing.load("api", 1), units) + receipts)


def gigabytes(bytes_per_second: float, hours: float) -> float:
    """Tell the gigabytes of a month."""
    return bytes_per_second * hours * 3600 / _GB


def capacity_units(
    price: Price, scenario: Scenario, sent: float, *, prefix: str = ""
) -> CapacityUnits:
    """Count the units of a load balancer; `prefix` chooses between kinds of listeners."""
    demand = scenario.demand
    has = {
        "active_connections": demand.connections,
        "new_connections_per_second": demand.connections * demand.reconnects_per_minute / 60,
        "gb_per_hour": sent * 3600 / _GB,
    }
    dimensions = {}
    for name, amount in has.items():
        of_unit = price.number(prefix + name) or price.number(name)
        if not of_unit:
            raise PriceError(f"{price.sku} does not say how much {name} a unit has")
        dimensions[name] = amount / of_unit
    highest = max(dimensions, key=lambda name: dimensions[name])
    return CapacityUnits(dimensions[highest], highest, dimensions)


class FleetBill:
    """Makes the lines of one scenario."""

    def __init__(self, scenario: Scenario, units: Units, catalogue: Catalogue) -> None:
        """Take what is asked and what there is."""
        self._scenario = scenario
        self._units = units
        self._catalogue = catalogue

    def lines(
        self,
        tiers: Sequence[TierPlan],
        sent: float,
        *,
        balancer: Balancer = "alb",
        passed_through: bool = False,
    ) -> list[CostLine]:
        """Make all lines; `sent` are the bytes a second that leave."""
        line = self._catalogue.line
        nodes = sum(tier.instances for tier in tiers if tier.tier in {"api", "live"})
        prefix = "tls_" if balancer == "nlb" and not passed_through else ""
        unit = self._catalogue.price(f"{balancer}:lcu")
        counted = capacity_units(unit, self._scenario, sent, prefix=prefix)
        return [
            *(line(tier.sku, tier.instances) for tier in tiers),
            line(zones.DISK, nodes * self._scenario.fleet.volume_gb),
            line("rds:gp3", 2 * self.storage_gb()),
            line(f"{balancer}:hour", 1),
            line(f"{balancer}:lcu", counted.quantity),
            line(zones.CROSS_ZONE, self._crossing_gb(nodes)),
            line(EGRESS, gigabytes(sent, self._catalogue.hours)),
        ]

    def storage_gb(self) -> float:
        """Tell the disk of one PostgreSQL: the checkpoint, and the journal of so many days."""
        demand, units = self._scenario.demand, self._units
        days = self._scenario.fleet.journal_days
        journal = demand.scores * demand.changing * units["database_bytes_score"] * days * _DAY
        checkpoint = demand.members * units["database_bytes_member"]
        return max(_LEAST_STORAGE_GB, (journal + checkpoint) / _GB)

    def _crossing_gb(self, nodes: int) -> float:
        return zones.billed_gb(self._scenario, self._units, self._catalogue.hours, nodes)


def reserved(
    lines: Iterable[CostLine],
    catalogue: Catalogue,
    skus: Collection[str],
    discounts: Mapping[str, float],
) -> list[CostLine]:
    """Take off what is paid less for a year without upfront payment.

    These SKUs have the table's reserved price, with its date. Other prices by the hour fall by the
    discount of their kind, if there is one; it is assumed, and the line says that as its source.
    Raises PriceError.
    """
    return [_reserved(line, catalogue.price(line.sku), skus, discounts) for line in lines]


def _reserved(
    line: CostLine, price: Price, skus: Collection[str], discounts: Mapping[str, float]
) -> CostLine:
    off = discounts.get(price.kind) if line.unit == HOURLY else None
    day = line.date
    if line.sku in skus:
        if (amount := price.number(RESERVED)) is None:
            raise PriceError(f"the price table has no reserved price of {line.sku}")
        source = f"{_reserved_source(price)}, reserved for a year"
        day = reserved_date(price)
    elif off is not None:
        amount = line.unit_price * (1 - off)
        source = f"assumed to be {off:.0%} less than {line.source}"
    else:
        return line
    monthly = line.quantity * amount
    return msgspec.structs.replace(
        line, unit_price=amount, monthly=monthly, source=source, date=day
    )


def reserved_date(price: Price) -> str:
    """Tell when the reserved price was read, which may be before the other."""
    return str(price.attributes.get("reserved_date", price.date))


def _reserved_source(price: Price) -> str:
    """Tell who said the reserved price, which an import of newer prices may have kept."""
    return str(price.attributes.get("reserved_source", price.source))


def bytes_paid(money: float, egress: Price) -> float:
    """Tell how many units of a price with tiers so much money pays; inf when the rest is free."""
    if not egress.tiers:
        return money / egress.amount if egress.amount else inf
    left, units = money, 0.0
    for tier in egress.tiers:
        width = inf if tier.width is None else tier.width
        if not tier.amount:
            units += width
        elif left <= width * tier.amount:
            return units + max(0.0, left) / tier.amount
        else:
            left -= width * tier.amount
            units += width
    return units


class Beside:
    """Puts bills beside a stated total."""

    def __init__(
        self, stated: Stated, scenario: Scenario, catalogue: Catalogue, egress: CostLine
    ) -> None:
        """Take what was stated, and the egress of the plan."""
        self._stated = stated
        self._connections = scenario.demand.connections
        self._catalogue = catalogue
        self._egress = egress

    def topology(self, reference: Reference) -> ReferencePlan:
        """Price a way to buy the stated topology."""
        lines = [self._catalogue.line(item.sku, item.quantity) for item in reference.items]
        lines = reserved(lines, self._catalogue, reference.reserved, reference.discounts)
        return self.lines(reference.name, _note(reference), lines)

    def lines(self, name: str, note: str, lines: list[CostLine]) -> ReferencePlan:
        """Say what lines without egress leave of the stated total."""
        monthly = total(lines)
        left = round(self._stated.monthly - monthly, 2)
        paid = bytes_paid(left, self._catalogue.price(EGRESS)) if left > 0 else 0.0
        each = paid * _GB / (self._catalogue.hours * 3600) / self._connections
        with_egress = total([*lines, self._egress])
        return ReferencePlan(name, note, lines, monthly, left, each, with_egress)


def _note(reference: Reference) -> str:
    """Say what was given with a topology and is in no price table."""
    if not reference.discounts:
        return reference.note
    given = ", ".join(f"{kind} {off:.0%}" for kind, off in sorted(reference.discounts.items()))
    return f"{reference.note} Discounts are assumed, as given: {given}.".lstrip()
