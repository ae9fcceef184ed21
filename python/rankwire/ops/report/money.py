"""What reports say of caching and of machines: read from JSON that another version may have made.

A part that cannot be read is said to be of another version; nothing in it is guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from rankwire.ops.caching.report import CachingReport, Curve, Freed, Strategy
from rankwire.ops.optimizer.savings import OptimizationReport, Refusal, Risk
from rankwire.ops.report import words

FOREIGN: Final = "The server told this in a form that this version cannot read; --json has it all."

_Kind = TypeVar("_Kind", bound=msgspec.Struct)

STATES: Final = {"off": "off", "on": "on", "rolled_back": "taken back"}

STRATEGY_HEADS: Final = ("strategy", "state", "predicted", "measured", "without", "memory", "why")


def read_caching(found: Mapping[str, Any]) -> CachingReport | None:
    """Read the part on caching; None if it is of another version."""
    return _read(found, CachingReport)


def read_optimization(found: Mapping[str, Any]) -> OptimizationReport | None:
    """Read the part on machines; None if it is of another version."""
    return _read(found, OptimizationReport)


def _read(found: Mapping[str, Any], kind: type[_Kind]) -> _Kind | None:
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError:
        return None


def strategy_cells(one: Strategy) -> tuple[str, ...]:
    """Give the cells of a strategy's row, as `STRATEGY_HEADS` names them."""
    return (
        words.plain(one.name.replace("_", " ").lower()),
        STATES[one.state],
        words.figure(one.predicted_hit_rate, "ratio"),
        words.figure(one.measured_hit_rate, "ratio"),
        words.figure(one.baseline_hit_rate, "ratio"),
        words.figure(one.memory_bytes, "B"),
        words.plain(one.reason),
    )


def caching_costs(report: CachingReport) -> Iterator[tuple[str, str]]:
    """Give each cost with its value, and why it is not known if it is not."""
    rows = {
        "current_database_cost": "database now, a month",
        "optimized_database_cost": "database then, a month",
        "added_cache_cost": "memory for caches, a month",
        "realizable_saving": "saved of the database's price, a month",
        "net_saving": "net saving, a month",
    }
    for name, label in rows.items():
        value = getattr(report, name)
        shown = words.UNKNOWN if value is None else words.money(value)
        reason = report.reasons.get(name, "")
        yield label, f"{shown}: {words.plain(reason)}" if reason else shown


def freed_line(one: Freed) -> str:
    """Say what hits save: room for more load, which is no money."""
    rate, each = words.figure(one.hits_per_second, "1/s"), words.figure(one.miss_seconds, "s")
    line = f"{words.plain(one.strategy.replace('_', ' ').lower())}: {rate} answered, {each} each"
    if one.part is not None:
        line += f", {words.ratio(one.part)} of the time of the {one.resource}"
    return line


def chosen(curve: Curve, report: CachingReport) -> float | None:
    """Tell the size that the curve's strategy has or would have; else that of the knee."""
    name = {"page": "PRECOMPUTED_LEADERBOARDS", "user_profile": "USER_PROFILE_CACHE"}[curve.kind]
    sizes = [one.entries for one in report.strategies if one.name == name]
    return next((float(size) for size in [*sizes, curve.knee] if size is not None), None)


def risk_line(one: Risk) -> str:
    """Say what may go wrong with what."""
    kind = one.kind.replace("_", " ")
    return f"Risk of {words.plain(one.recommendation)}, {kind}: {words.plain(one.text)}"


def refusal_line(one: Refusal) -> str:
    """Say what was not judged, and why."""
    return (
        f"Not judged: {words.plain(one.resource)}, {words.plain(one.action)}:"
        f" {words.plain(one.reason)}"
    )
