"""What the optimizer says, and the bill that keeps its sums right.

Promises: an action is priced as the difference that it makes to a bill on which every resource
stands once, so nothing is saved twice, the actions add up to what the whole saves, and that is
never more than what is paid now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import fsum
from typing import Literal

import msgspec

from rankwire.ops.findings import CostLine, Recommendation


class Capacity(msgspec.Struct, frozen=True):
    """Something that is free for others. Negative: more is needed."""

    cores: float = 0.0
    memory_bytes: float = 0.0
    stored_bytes: float = 0.0

    def __add__(self, other: Capacity) -> Capacity:
        return Capacity(
            self.cores + other.cores,
            self.memory_bytes + other.memory_bytes,
            self.stored_bytes + other.stored_bytes,
        )


class Refusal(msgspec.Struct, frozen=True):
    """What was not judged, and why."""

    resource: str
    action: str
    reason: str


class Risk(msgspec.Struct, frozen=True):
    """What may go wrong with a recommendation."""

    recommendation: str
    """Its id."""
    kind: Literal["performance", "out_of_memory", "commitment", "retrieval"]
    part: float
    """From 0 to 1; `text` says of what."""
    text: str


class OptimizationReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is paid, what would be paid, and what to do for it."""

    at: float
    """The newest measurement that it is made from."""
    window_hours: int
    """From the first measurement to the last; a monthly cost is that of an average month of it."""
    current_costs: list[CostLine]
    optimized_costs: list[CostLine]
    current_monthly: float
    optimized_monthly: float
    savings: float
    """What the bill falls by each month; negative when safety costs more than is saved."""
    capacity_freed: Capacity
    """What is freed and saves money only when less is rented for it; not part of `savings`."""
    recommendations: list[Recommendation]
    """Those that save the most first."""
    risk_assessment: list[Risk]
    refused: list[Refusal]
    unpriced: list[str]
    """Resources whose price is not known; they are in no sum."""


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the bill and the recommendation for it, whose cost is filled in by the bill."""

    draft: Recommendation
    replaces: Sequence[str]
    """Items of the bill."""
    item: str = ""
    """What stands there instead."""
    lines: Sequence[CostLine] = ()
    risks: Sequence[Risk] = ()
    freed: Capacity = Capacity()


class Ledger:
    """What is paid each month, by item."""

    def __init__(self, items: Mapping[str, Sequence[CostLine]]) -> None:
        """Take the items with their lines."""
        self._items = {item: list(lines) for item, lines in items.items()}

    def __contains__(self, item: str) -> bool:
        return item in self._items

    @property
    def lines(self) -> list[CostLine]:
        """All lines, those of one price together."""
        return _together(line for lines in self._items.values() for line in lines)

    @property
    def monthly(self) -> float:
        """The sum."""
        return fsum(line.monthly for lines in self._items.values() for line in lines)

    def apply(self, action: Action) -> Recommendation:
        """Put an action's lines in place of the items it replaces, and say what that changes."""
        gone = [line for item in action.replaces for line in self._items.pop(item)]
        if action.lines:
            self._items[action.item] = list(action.lines)
        cost = [*map(_negative, _together(gone)), *_together(action.lines)]
        monthly = fsum(line.monthly for line in cost)
        return msgspec.structs.replace(action.draft, cost=cost, monthly=monthly)


def _together(lines: Iterable[CostLine]) -> list[CostLine]:
    """Add up the lines that have everything but the quantity in common."""
    found: dict[tuple[str, str, float, str], CostLine] = {}
    for line in lines:
        key = (line.sku, line.unit, line.unit_price, line.date)
        before = found.get(key)
        found[key] = msgspec.structs.replace(
            line,
            quantity=line.quantity + (before.quantity if before else 0),
            monthly=line.monthly + (before.monthly if before else 0),
        )
    return list(found.values())


def _negative(line: CostLine) -> CostLine:
    return msgspec.structs.replace(line, quantity=-line.quantity, monthly=-line.monthly)
