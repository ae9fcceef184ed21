"""``rankwire ops cache``: what caching does on a running server, or would do, and why."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import click
import msgspec
from rich.table import Table
from rich.text import Text

from rankwire.cli._api import Api, LostError, ProblemError, UnreachableError
from rankwire.cli._options import examples, key, server_url
from rankwire.cli._output import Failure, console
from rankwire.ops.caching import CachingReport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rankwire.ops.caching.report import Curve, Freed, Pattern, Strategy
    from rankwire.ops.findings import Known

PATH: Final = "/v1/ops/caching"

_UNKNOWN: Final = "unknown"
# Points of a curve that are shown, at most.
_MOST_POINTS: Final = 12
# Boards that are named, at most.
_MOST_NAMES: Final = 3
_HOUR_SECONDS: Final = 3600.0


@click.command(
    "cache",
    short_help="Show what caching brings, and what it would.",
    epilog=examples(
        'rankwire ops cache --key "$(cat operator.key)"',
        "rankwire ops cache --server http://10.0.0.7:7700 --json",
    ),
)
@server_url
@key
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
def command(*, url: str, key: str | None, as_json: bool) -> None:
    """Show what a server reads most, which caches that is for, and what they are worth.

    Asks one node (a key needs the scope operator) and tells of that node. Whether caches are turned
    on is the setting ops.caching of the server. Time that is freed and money that is saved are two
    things: a bill falls only when a smaller server, or one less, carries what is left.
    """
    try:
        report = asyncio.run(_report(url, key))
    except (ProblemError, UnreachableError, LostError) as error:
        raise Failure(f"the server gives no report: {error}") from error
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
        return
    for table in _tables(report):
        console().print(table, soft_wrap=False)
    for line in _money(report):
        click.echo(line)


async def _report(url: str, key: str | None) -> CachingReport:
    async with Api(url, key=key) as api:
        return await api.ask(PATH, CachingReport)


def _tables(report: CachingReport) -> Iterator[Table]:
    yield _patterns(report.mode, report.patterns)
    yield _strategies(report.strategies)
    yield _freed(report.capacity_freed)
    for curve in report.curves:
        yield _curve(curve)


def _patterns(mode: str, patterns: list[Pattern]) -> Table:
    table = Table(title=f"What is read (ops.caching is {mode})", title_justify="left")
    for name in ("for", "figure", "now", "from", "boards"):
        table.add_column(name)
    for pattern in patterns:
        more = " …" if len(pattern.names) > _MOST_NAMES else ""
        boards = Text(", ".join(pattern.names[:_MOST_NAMES]) + more)
        now = _number(pattern.value, ",.0f")
        table.add_row(pattern.strategy, pattern.figure, now, f"{pattern.threshold:,.0f}", boards)
    return table


def _strategies(strategies: list[Strategy]) -> Table:
    table = Table(title="What is done", title_justify="left")
    for name in ("strategy", "state", "hits without", "predicted", "measured", "memory", "why"):
        table.add_column(name)
    for each in strategies:
        rates = (each.baseline_hit_rate, each.predicted_hit_rate, each.measured_hit_rate)
        shown = (_number(rate, ".1%") for rate in rates)
        memory = _number(each.memory_bytes and each.memory_bytes / 1e6, ",.1f", " MB")
        table.add_row(each.name, each.state.replace("_", " "), *shown, memory, Text(each.reason))
    return table


def _freed(freed: list[Freed]) -> Table:
    table = Table(title="Time that hits free", title_justify="left")
    for name in ("strategy", "of the", "hits a second", "each", "a month", "part"):
        table.add_column(name)
    for each in freed:
        hours = each.monthly_seconds and each.monthly_seconds / _HOUR_SECONDS
        table.add_row(
            each.strategy,
            each.resource,
            _number(each.hits_per_second, ",.1f"),
            _number(each.miss_seconds and each.miss_seconds * 1e3, ",.3f", " ms"),
            _number(hours, ",.2f", " h"),
            _number(each.part, ".1%"),
        )
    return table


def _curve(curve: Curve) -> Table:
    """Show a curve by some of its points, the knee and the largest always among them."""
    table = Table(title=f"Misses by size: {curve.kind}", title_justify="left")
    for name in ("entries", "memory", "misses", ""):
        table.add_column(name, justify="right")
    step = -(-len(curve.points) // _MOST_POINTS)
    for number, point in enumerate(reversed(curve.points)):
        is_knee = point.entries == curve.knee
        if is_knee or number % step == 0:
            memory = _number(point.bytes and point.bytes / 1e6, ",.1f", " MB")
            words = "knee" if is_knee else ""
            table.add_row(f"{point.entries:,}", memory, f"{point.miss_ratio:.1%}", words)
    return table


def _money(report: CachingReport) -> Iterator[str]:
    figures = {
        "current_database_cost": ("The database costs", report.current_database_cost),
        "optimized_database_cost": ("With caching", report.optimized_database_cost),
        "realizable_saving": ("Saved by that", report.realizable_saving),
        "added_cache_cost": ("The caches cost", report.added_cache_cost),
        "net_saving": ("Saved in all", report.net_saving),
    }
    for name, (words, amount) in figures.items():
        reason = report.reasons.get(name)
        shown = _UNKNOWN if amount is None else f"${amount:,.2f} a month"
        yield f"{words}: {shown}" + (f" ({reason})" if reason else "")
    for line in report.lines:
        yield f"  {line.sku}: ${line.unit_price} per {line.unit}, {line.source}, {line.date}"


def _number(value: Known, form: str, unit: str = "") -> str:
    return _UNKNOWN if value is None else f"{value:{form}}{unit}"
