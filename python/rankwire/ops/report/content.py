"""What both forms of a report say, before one of them draws it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from rankwire.ops.report import words

if TYPE_CHECKING:
    from rankwire.ops.findings import (
        Bottleneck,
        CostLine,
        Known,
        Prediction,
        Recommendation,
        Report,
        Severity,
        SourceStatus,
        Trigger,
    )
    from rankwire.ops.report.bundle import Bundle

MOST_ROWS: Final = 50
"""Most rows of a table; how many more there are is said."""

AT_BOUND: Final = 0.5
"""Health of what is just at the bound of its rule; below it the rule is true."""

MOST_ADVICE: Final = 20
"""Most recommendations that are shown."""

MOST_LINES: Final = 10
"""Most lines that belong to one row."""

SEVERITIES: Final[tuple[Severity, ...]] = ("LOW", "MEDIUM", "HIGH")


class Verdict(msgspec.Struct, frozen=True):
    """How the node is, in a word."""

    word: str
    kind: str
    """`good`, `low`, `medium`, `high` or `unknown`: what its colour is chosen by."""
    score: str
    cause: str


class Placed(msgspec.Struct, frozen=True):
    """A bottleneck, and how many causes it stands beneath."""

    depth: int
    bottleneck: Bottleneck


def verdict(report: Report) -> Verdict:
    """Tell how the node is: as bad as the worst bottleneck; unknown if its score is and none is."""
    health = report.overall
    cause = words.plain(health.cause)
    score = words.UNKNOWN if health.score is None else f"{health.score * 100:.0f} of 100"
    if report.bottlenecks:
        worst = max((one.severity for one in report.bottlenecks), key=SEVERITIES.index)
        word = {"LOW": "worth a look", "MEDIUM": "under strain", "HIGH": "in trouble"}[worst]
        return Verdict(word, worst.lower(), score, cause)
    if health.score is None:
        return Verdict("unknown", "unknown", score, cause)
    if health.score < AT_BOUND:
        return Verdict("beyond a bound, not for long", "low", score, cause)
    return Verdict("no bottleneck", "good", score, cause)


def source_words(status: SourceStatus) -> str:
    """Say in words whether a source was asked."""
    reason = words.plain(status.reason)
    said = {
        "ok": f"answered, {status.samples} readings",
        "absent": "this node has none",
        "unavailable": "could not be asked, so nothing is known of it",
    }[status.status]
    return f"{said}: {reason}" if reason else said


def placed(bottlenecks: Sequence[Bottleneck]) -> Iterator[Placed]:
    """Put each of the first bottlenecks once, beneath the one that explains it if that is there."""
    bottlenecks = bottlenecks[:MOST_ROWS]
    types = {one.type for one in bottlenecks}
    beneath: dict[str | None, list[Bottleneck]] = {}
    for one in bottlenecks:
        beneath.setdefault(one.cause, []).append(one)
    done: set[str] = set()

    def descend(one: Bottleneck, depth: int) -> Iterator[Placed]:
        if one.type in done:
            return
        done.add(one.type)
        yield Placed(depth, one)
        for other in beneath.get(one.type, ()):
            yield from descend(other, depth + 1)

    for one in bottlenecks:
        if one.cause not in types:
            yield from descend(one, 0)
    # Those that explain each other in a circle have no first one.
    for one in bottlenecks:
        yield from descend(one, 0)


def bottleneck_line(one: Bottleneck, bundle: Bundle) -> str:
    """Say what a rule saw: `pool utilization is 92 %, the bound is 80 %, for 4 min`."""
    unit = bundle.units.get(one.figure, "")
    value, bound = words.figure(one.value, unit), words.figure(one.threshold, unit)
    lasting = words.span(max(0.0, bundle.report.at - one.since))
    return f"{words.named(one.figure)} is {value}, the bound is {bound}, for {lasting}"


def details(one: Bottleneck) -> Iterator[tuple[str, str]]:
    """Give what a bottleneck is about, name by name; a list has a line for each of its rows."""
    lines = (
        (words.plain(name.replace("_", " ")), _value(value))
        for name, values in one.details.items()
        for value in (values if isinstance(values, list | tuple) else (values,))
    )
    return islice(lines, MOST_LINES)


def _value(value: object) -> str:
    """Write what may be nested: the numbers of a row before its texts, which may be long."""
    if value is None:
        return words.UNKNOWN
    if isinstance(value, bool | str):
        return words.plain(str(value))
    if isinstance(value, int | float):
        return words.figure(value, "")
    if isinstance(value, Mapping):
        cells = sorted(value.items(), key=lambda cell: isinstance(cell[1], str))
        shown = (f"{words.plain(str(name))} {_value(cell)}" for name, cell in cells[:MOST_LINES])
        return words.plain("; ".join(shown))
    return words.plain(msgspec.json.encode(value).decode())


def ordered(
    recommendations: Sequence[Recommendation], most: int = MOST_ADVICE
) -> list[Recommendation]:
    """Put the most pressing first, of equals the one that costs less, and leave out the last."""

    def key(one: Recommendation) -> tuple[int, float]:
        monthly = math.inf if one.monthly is None else one.monthly
        return -SEVERITIES.index(one.priority), monthly

    return sorted(recommendations, key=key)[:most]


def prediction_line(one: Prediction) -> str:
    """Say what a model predicts: `wait p99: 240 ms → 3 ms (2 ms to 5 ms)`."""
    before, after = words.figure(one.before, one.unit), words.figure(one.after, one.unit)
    line = f"{words.named(one.figure)}: {before} → {after}"
    if one.low is None and one.high is None:
        return line
    low, high = words.figure(one.low, one.unit), words.figure(one.high, one.unit)
    return f"{line} ({low} to {high})"


def cost_line(one: CostLine) -> str:
    """Say what a part costs, by which price of when."""
    each = f"${one.unit_price:,.10f}".rstrip("0").rstrip(".")
    source = f"{words.plain(one.source)}, {words.plain(one.date)}"
    return (
        f"{words.money(one.monthly)} a month: {words.number(one.quantity)} {words.plain(one.sku)}"
        f" at {each} for each {words.plain(one.unit)} ({source})"
    )


def total(one: Recommendation) -> str:
    """Say what a recommendation costs altogether."""
    if one.monthly is None:
        return "no price: something in it has none"
    if not one.cost and one.monthly == 0:
        return "costs nothing"
    if one.monthly < 0:
        return f"saves {words.money(-one.monthly)} a month"
    return f"costs {words.money(one.monthly)} a month"


def inputs(one: Recommendation) -> str:
    """Name everything that the model was given."""
    given = (f"{words.plain(name)} = {_value(value)}" for name, value in one.inputs.items())
    return words.plain("; ".join(given), words.BLOCK_CHARACTERS)


def trigger_cells(one: Trigger, units: Mapping[str, str]) -> tuple[str, ...]:
    """Give the cells of a trigger's row, as `TRIGGER_HEADS` names them."""
    unit = units.get(one.figure, "")
    left = words.UNKNOWN if one.days_left is None else f"{words.number(one.days_left)} d"
    return (
        words.plain(one.resource),
        f"{words.figure(one.now, unit)} of {words.figure(one.limit, unit)}",
        f"{words.figure(one.load_now, '')} → {words.figure(one.load_at_limit, '')}",
        words.plain(one.load),
        left,
        words.plain(one.note),
    )


TRIGGER_HEADS: Final = ("resource", "now", "load → at the limit", "counted in", "left", "note")


def limits(report: Report) -> Mapping[str, float]:
    """Give the limit of every figure that has one, as triggers and bottlenecks tell."""
    found = {one.figure: one.threshold for one in report.bottlenecks}
    return found | {one.figure: one.limit for one in report.triggers}


def more(count: int, most: int = MOST_ROWS) -> str:
    """Say how many rows were left out; empty when none was."""
    return f"{count - most:,} more are not shown" if count > most else ""


def window(bundle: Bundle) -> str:
    """Say what the report is about."""
    report = bundle.report
    return (
        f"{words.moment(report.at)}, over the last {words.span(report.window_seconds)};"
        f" Rankwire {words.plain(bundle.version)}"
    )


def utilization(now: Known, limit: float) -> Known:
    """Tell which part of its limit a figure has reached."""
    return None if now is None or limit <= 0 else now / limit
