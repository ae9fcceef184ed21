"""How many machines of a kind to reserve for a year.

Promises: of machines that are rented by the hour so many are reserved as make the recorded window
cheapest, which a search of all numbers would find too: the n-th is reserved if and only if at least
n ran in so large a part of the hours as the reserved price is of the other. Only machines that ran
for more than `STABLE` of the window are counted, so what the others would gain by a reservation is
not. A reserved price that the table does not have is a refusal.

Sources: AWS Cost Explorer, which looks at 7, 30 or 60 days of use on demand for its
recommendations; the rest is arithmetic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from typing import Final, NamedTuple, cast, get_args

from rankwire.ops.findings import Confidence, CostLine, Prediction, Recommendation
from rankwire.ops.optimizer.machine_sizing import machine_item
from rankwire.ops.optimizer.savings import Action, Refusal, Risk
from rankwire.ops.optimizer.usage import Usage
from rankwire.ops.prices import Catalogue, Price

STABLE: Final = 0.8
FEWEST_DAYS: Final = 7
FALL: Final = 0.2
"""How much less load the risk is told for."""
RESERVED: Final = "reserved_1y_no_upfront"


class Terms(NamedTuple):
    """What an hour costs, reserved or as it is used."""

    reserved: float
    on_demand: float

    @property
    def break_even(self) -> float:
        """The part of the hours from which on reserving is cheaper."""
        return self.reserved / self.on_demand

    def cost(self, running: Sequence[int], reserved: int) -> float:
        """Tell what hours with so many machines cost when so many are reserved."""
        more = sum(max(0, count - reserved) for count in running)
        return len(running) * reserved * self.reserved + more * self.on_demand


def units_to_reserve(running: Sequence[int], terms: Terms) -> int:
    """Count the machines to reserve, from how many ran in each hour.

    A machine for which it makes no difference is reserved. Exact: the prices count as the decimal
    numbers that they are written as.
    """
    share = Fraction(str(terms.reserved)) / Fraction(str(terms.on_demand))
    hours = Counter(running)
    used, units = len(running), 0
    while used - hours[units] >= max(Fraction(1), share * len(running)):
        used -= hours[units]
        units += 1
    return units


def reserve(
    machines: Sequence[Usage], window: range, catalogue: Catalogue
) -> Action | Refusal | None:
    """Find what to reserve of machines of one kind, which keep their size.

    `window` has the hours since 1970 that the bill is about. None when nothing is worth it.
    """
    sku = machines[0].place.instance
    stable = [usage for usage in machines if len(usage.paid(window)) > STABLE * len(window)]
    if not stable:
        return None
    if len(window) < FEWEST_DAYS * 24:
        reason = f"a window of {len(window)} hours says nothing about a year: {FEWEST_DAYS} days do"
        return Refusal(sku, "RESERVE", reason)
    price = catalogue.price(sku)
    hourly = price.number(RESERVED)
    if hourly is None or not price.amount:
        return Refusal(sku, "RESERVE", f"the price table has no {RESERVED} of {sku}")
    terms = Terms(hourly, price.amount)
    running = _running(stable, window)
    units = units_to_reserve(running, terms)
    if terms.cost(running, units) >= terms.cost(running, 0):
        return None
    return _action(stable, _Choice(price, terms, running, units), catalogue)


def _running(machines: Sequence[Usage], window: range) -> list[int]:
    """Count the machines that ran in each hour."""
    found = Counter(hour for usage in machines for hour in usage.paid(window))
    return [found[hour] for hour in window]


class _Choice(NamedTuple):
    price: Price
    terms: Terms
    running: Sequence[int]
    units: int


def _action(stable: Sequence[Usage], choice: _Choice, catalogue: Catalogue) -> Action:
    price, terms, running, units = choice
    name = f"reserve:{price.sku}"
    lines = [_reserved_line(price, terms, units * catalogue.hours)]
    more = sum(max(0, count - units) for count in running) / len(running)
    if more:
        lines.append(catalogue.line(price.sku, more))
    return Action(
        draft=_draft(name, len(stable), choice),
        replaces=[machine_item(usage) for usage in stable],
        item=name,
        lines=lines,
        risks=[_risk(name, choice, catalogue.hours)],
    )


def _draft(name: str, machines: int, choice: _Choice) -> Recommendation:
    price, terms, running, units = choice
    return Recommendation(
        id=name,
        priority="MEDIUM",
        action="RESERVE",
        resource=price.sku,
        description=f"Reserve {units} of {price.sku} for a year, without paying ahead.",
        because="",
        inputs={
            "machines": machines,
            "window_hours": len(running),
            "reserved_hourly": terms.reserved,
            "on_demand_hourly": terms.on_demand,
            "break_even": terms.break_even,
            "price_date": _date(price),
        },
        model="reservation break-even",
        predicted=[Prediction("reserved_hours_unused", "ratio", 0.0, _idle(running, units))],
        cost=[],
        monthly=None,
        confidence=_confidence(price),
        caveats=[
            "A reservation is paid for a year, used or not.",
            "Sizes of one family may share reservations; that gain is not counted.",
        ],
        verify="count(up) by (job)",
        apply=_command(price.sku, units),
    )


def _idle(running: Sequence[int], units: int) -> float:
    """Tell which part of the reserved hours nothing runs in."""
    return 1 - sum(min(count, units) for count in running) / (units * len(running))


def _risk(name: str, choice: _Choice, hours: float) -> Risk:
    """Tell what the reservation is worth when there is less to do."""
    terms, units = choice.terms, choice.units
    fallen = [ceil(count * (1 - FALL)) for count in choice.running]
    saved = (terms.cost(fallen, 0) - terms.cost(fallen, units)) / len(fallen) * hours
    word = "saves" if saved >= 0 else "loses"
    text = (
        f"of the reserved hours would be unused if the load fell by {FALL:.0%}; "
        f"the reservation then {word} ${abs(saved):,.2f} a month"
    )
    return Risk(name, "commitment", _idle(fallen, units), text)


def _reserved_line(price: Price, terms: Terms, hours: float) -> CostLine:
    return CostLine(
        sku=f"{price.sku} ({RESERVED})",
        quantity=hours,
        unit=price.unit,
        unit_price=terms.reserved,
        monthly=hours * terms.reserved,
        source=str(price.attributes.get("reserved_source", price.source)),
        date=_date(price),
    )


def _date(price: Price) -> str:
    """Tell when the reserved price was read, which may be before the other."""
    return str(price.attributes.get("reserved_date", price.date))


def _confidence(price: Price) -> Confidence:
    said = price.attributes.get("reserved_confidence", price.confidence)
    return cast("Confidence", said) if said in get_args(Confidence) else "low"


def _command(sku: str, units: int) -> str:
    """Write how to look the offer up, whose id the purchase needs."""
    kind, _, size = sku.partition(":")
    year = "--duration 31536000 --offering-type 'No Upfront'"
    commands = {
        "ec2": "aws ec2 describe-reserved-instances-offerings "
        f"--instance-type {size} --product-description Linux/UNIX --offering-class standard "
        "--min-duration 31536000 --max-duration 31536000 --offering-type 'No Upfront'\n"
        f"aws ec2 purchase-reserved-instances-offering --instance-count {units} "
        '--reserved-instances-offering-id "$OFFERING"\n',
        "rds-pg": "aws rds describe-reserved-db-instances-offerings "
        f"--db-instance-class {size} --product-description postgresql {year}\n"
        f"aws rds purchase-reserved-db-instances-offering --db-instance-count {units} "
        '--reserved-db-instances-offering-id "$OFFERING"\n',
        "cache-redis": "aws elasticache describe-reserved-cache-nodes-offerings "
        f"--cache-node-type {size} --product-description redis {year}\n"
        f"aws elasticache purchase-reserved-cache-nodes-offering --cache-node-count {units} "
        '--reserved-cache-nodes-offering-id "$OFFERING"\n',
    }
    return commands.get(kind, "")
