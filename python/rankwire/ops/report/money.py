"""What reports say of caching and of machines: read from JSON that another version may have made.

A part that cannot be read is said to be of another version; nothing in it is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from rankwire.ops.caching.report import CachingReport, Curve, Freed, Pattern, Strategy
from rankwire.ops.optimizer.savings import OptimizationReport, Refusal, Risk
from rankwire.ops.report import content, words

FOREIGN: Final = "The server told this in a form that this version cannot read; --json has it all."

NOTHING: Final = "Nothing to change."

_Kind = TypeVar("_Kind", bound=msgspec.Struct)

# Boards that are named behind a pattern.
_MOST_NAMES: Final = 3

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


def _strategy(name: str) -> str:
    return words.plain(name.replace("_", " ").lower())


def pattern_line(one: Pattern) -> str:
    """Say what of the traffic a strategy is for, with its bound and the boards read most."""
    line = f"{_strategy(one.strategy)}: {words.plain(one.figure)}: {words.figure(one.value, '')}"
    line += f", the bound is {words.number(one.threshold)}"
    if one.names:
        line += f"; {words.plain(', '.join(one.names[:_MOST_NAMES]))}"
    if len(one.names) > _MOST_NAMES:
        line += f" and {len(one.names) - _MOST_NAMES:,} more"
    return line


def curve_line(one: Curve, report: CachingReport) -> str:
    """Say what caches of three sizes miss: the least, that of the strategy, the most."""
    kind = one.kind.replace("_", " ")
    if not one.points:
        return f"misses by size, {kind}: {words.UNKNOWN}"
    told = [one.points[0], one.points[-1]]
    if (wanted := chosen(one, report)) is not None:
        told.insert(1, min(one.points, key=lambda point: abs(point.entries - wanted)))
    sizes = (
        f"{words.ratio(point.miss_ratio)} with {point.entries:,} entries"
        f" ({words.figure(point.bytes, 'B')})"
        for point in told
    )
    return f"misses by size, {kind}: {', '.join(sizes)}"


def strategy_cells(one: Strategy) -> tuple[str, ...]:
    """Give the cells of a strategy's row, as `STRATEGY_HEADS` names them."""
    return (
        _strategy(one.name),
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
    most = "at most " if one.is_bound else ""
    line = f"{_strategy(one.strategy)}: {rate} answered, {most}{each} each"
    line += f", {most}{words.figure(one.monthly_seconds, 's')} a month"
    if one.part is not None:
        line += f", {most}{words.ratio(one.part)} of the time of the {one.resource}"
    return line


def chosen(curve: Curve, report: CachingReport) -> float | None:
    """Tell the size that the curve's strategy has or would have; else that of the knee."""
    name = {"page": "PRECOMPUTED_LEADERBOARDS", "user_profile": "USER_PROFILE_CACHE"}[curve.kind]
    sizes = [one.entries for one in report.strategies if one.name == name]
    return next((float(size) for size in [*sizes, curve.knee] if size is not None), None)


def bill_line(report: OptimizationReport) -> str:
    """Say what the machines cost; what has no price is no zero, so then there is no sum."""
    history = f"from {report.window_hours:,} hours of history"
    if not report.current_costs:
        return f"What it costs is {words.UNKNOWN}: nothing of it has a price; {history}."
    now, then = words.money(report.current_monthly), words.money(report.optimized_monthly)
    saved = words.money(report.savings)
    return f"{now} a month now, {then} if all of this is done: saves {saved}, {history}."


def machine_notes(report: OptimizationReport) -> Iterator[str]:
    """Say what goes with the bill: risks, what was not judged, what is in no sum, old prices."""
    freed = report.capacity_freed
    if freed.cores or freed.memory_bytes or freed.stored_bytes:
        yield (
            f"Frees besides, without saving by itself: {words.number(freed.cores)} cores,"
            f" {words.size(freed.memory_bytes)} of memory, {words.size(freed.stored_bytes)} stored."
        )
    yield from _first(map(risk_line, report.risk_assessment))
    yield from _first(map(refusal_line, report.refused))
    yield from _first(f"No price, so in no sum: {words.plain(one)}" for one in report.unpriced)
    if report.current_costs:
        # As text: it may be another version's, and days of ISO 8601 are in order as they are.
        day = min(line.date for line in (*report.current_costs, *report.optimized_costs))
        yield f"The oldest price in this is of {words.plain(day)}."


def _first(lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    yield from found[: content.MOST_ROWS]
    if left := content.more(len(found)):
        yield left


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
