"""The part of a caching report that is in dollars, and the reasons where there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from rankwire.ops.caching.economy import HOUR_SECONDS, database_cost, loads_with, loads_without
from rankwire.ops.findings import CostLine, Known
from rankwire.ops.prices import PriceError

if TYPE_CHECKING:
    from rankwire.ops.caching.load import KnownLoad
    from rankwire.ops.prices import Catalogue

_NO_SERVER: Final = "profiles are in SQLite, in this process: no database server is paid for"
_NO_SKU: Final = "ops.database_sku is empty, so what the database costs is not known"
_BOUND: Final = (
    "only an upper bound of the freed time is known: how long the database works for a read is "
    "measured by pg_stat_statements, which is not there or has not seen one yet"
)
_ALL: Final = ("current_database_cost", "optimized_database_cost", "realizable_saving")


class Money(msgspec.Struct, frozen=True):
    """Dollars a month, as in `CachingReport`."""

    current: Known
    optimized: Known
    realizable: Known
    lines: list[CostLine]
    reasons: dict[str, str]
    """Why a figure is what it is, or None, by its name in `CachingReport`."""


class Saved(msgspec.Struct, frozen=True):
    """The database's time that hits save."""

    per_second: Known
    """Seconds of its work each second."""
    is_on: bool
    """Whether they do so already; otherwise they would."""
    is_bound: bool
    """Whether it is only an upper bound, of which no money can be promised."""


def money(
    catalogue: Catalogue,
    sku: str,
    load: KnownLoad | None,
    saved: Saved,
    least_seconds: float,
) -> Money:
    """Price the database with and without caching; `load` is None where there is no server."""
    if load is None or not sku:
        return _nothing(_NO_SERVER if load is None else _NO_SKU)
    try:
        now = catalogue.line(sku, load.servers)
    except PriceError as error:
        return _nothing(f"ops.database_sku: {error}")
    loads, freed, is_on = load.most, saved.per_second, saved.is_on
    is_short = load.seen_seconds < least_seconds
    if loads is None or freed is None or saved.is_bound or is_short:
        return _only(now, _why_not(load, saved, least_seconds))
    found = database_cost(
        catalogue,
        sku,
        loads_without(loads, freed, is_on=is_on),
        loads_with(loads, freed, is_on=is_on),
    )
    reasons = dict.fromkeys(("optimized_database_cost", "realizable_saving"), found.reason)
    return Money(found.current, found.optimized, found.realizable, found.lines, reasons)


def _nothing(why: str) -> Money:
    return Money(None, None, None, [], dict.fromkeys(_ALL, why))


def _only(now: CostLine, why: str) -> Money:
    return Money(now.monthly, None, None, [now], dict.fromkeys(_ALL[1:], why))


def _why_not(load: KnownLoad, saved: Saved, least_seconds: float) -> str:
    if load.most is None:
        return "how busy the database is could not be measured yet"
    if saved.per_second is None:
        return "how much of the database's time hits save is not known yet"
    if saved.is_bound:
        return _BOUND
    seen, least = load.seen_seconds / HOUR_SECONDS, least_seconds / HOUR_SECONDS
    return f"the load was measured for {seen:,.1f} hours only; its peak shows in {least:,.0f}"
