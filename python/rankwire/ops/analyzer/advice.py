"""Recommendations: what to do about a bottleneck, computed from what was measured.

Every one names its model and all that the model was given, so that it can be checked by hand. What
is measured stands for "before", what the model says for "after"; where an input is not known there
is no recommendation. Costs come from the price table, and only for what the operator has named:
without a name `monthly` is None and a caveat says so. What changes no bill costs 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from rankwire.ops.analyzer.readings import Reading, Window
from rankwire.ops.findings import (
    Bottleneck,
    Confidence,
    CostLine,
    Known,
    Prediction,
    Recommendation,
)
from rankwire.ops.prices import Catalogue, PriceError

if TYPE_CHECKING:
    from rankwire.ops.analyzer.rules import Rule


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What recommendations are computed from."""

    figures: Mapping[str, Known]
    windows: Mapping[str, Window | None]
    readings: Sequence[Reading]
    """All that is kept of the source `api`, oldest first."""
    rules: Mapping[str, Rule]
    catalogue: Catalogue
    skus: Mapping[str, str] = {}
    """What the operator pays for: `api` and `cache`, by SKU of the price table."""

    def gauge(self, source: str, name: str) -> Known:
        """Tell a gauge at the end of the source's window."""
        window = self.windows.get(source)
        return None if window is None else window.gauge(name)

    @property
    def nodes(self) -> int | None:
        """How many nodes work on this database, of any role; None where that is not known.

        With SQLite it never is: no second node could work on it.
        """
        found = self.gauge("database", "nodes")
        return None if found is None else max(1, round(found))


class Adviser(Protocol):
    """Computes what to do about one bottleneck."""

    def __call__(self, context: Context, bottleneck: Bottleneck) -> Iterable[Recommendation]:
        """Give recommendations, the best first; none where nothing can be computed."""
        ...


class Bill(msgspec.Struct, frozen=True):
    """What a change costs each month."""

    lines: list[CostLine]
    monthly: Known
    caveats: list[str]


FREE: Final = Bill([], 0.0, [])
"""Of what changes no bill."""


def price(context: Context, what: str, quantity: float) -> Bill:
    """Price so many more pieces of what the operator pays for."""
    if (sku := context.skus.get(what)) is None:
        return Bill([], None, [f"no SKU is named for {what}, so its price is not known"])
    try:
        line = context.catalogue.line(sku, quantity)
    except PriceError as error:
        return Bill([], None, [str(error)])
    return Bill([line], line.monthly, [])


def recommend(  # noqa: PLR0913  # each is a part of what is said
    bottleneck: Bottleneck,
    action: str,
    description: str,
    *,
    resource: str,
    model: str,
    inputs: Mapping[str, float | str],
    predicted: Iterable[Prediction],
    verify: str,
    confidence: Confidence,
    bill: Bill = FREE,
    apply: str = "",
    caveats: Iterable[str] = (),
) -> Recommendation:
    """Put a recommendation together; its id names the bottleneck, the action and the resource."""
    return Recommendation(
        id=f"{bottleneck.type}:{action}:{resource}",
        priority=bottleneck.severity,
        action=action,
        resource=resource,
        description=description,
        because=bottleneck.type,
        inputs=inputs,
        model=model,
        predicted=list(predicted),
        cost=bill.lines,
        monthly=bill.monthly,
        confidence=confidence,
        caveats=[*caveats, *bill.caveats],
        verify=verify,
        apply=apply,
    )


def advise(
    context: Context, bottlenecks: Iterable[Bottleneck], advisers: Mapping[str, Adviser]
) -> list[Recommendation]:
    """Say what to do about each bottleneck, in their order; the same thing is said once."""
    found: dict[str, Recommendation] = {}
    for bottleneck in bottlenecks:
        if (adviser := advisers.get(bottleneck.type)) is not None:
            for each in adviser(context, bottleneck):
                found.setdefault(f"{each.action}:{each.resource}", each)
    return list(found.values())
