"""The parts of a page on caching and on machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rankwire.ops.report import content, money, plots, words
from rankwire.ops.report.advice import article
from rankwire.ops.report.markup import Markup, tag
from rankwire.ops.report.tables import lines, listing, table

if TYPE_CHECKING:
    from rankwire.ops.caching.report import CachingReport, Curve
    from rankwire.ops.findings import CostLine


def caching(found: Mapping[str, Any]) -> Iterator[Markup]:
    """Show strategies, curves and costs."""
    report = money.read_caching(found)
    if report is None:
        yield tag("p", money.FOREIGN)
        return
    yield tag("p", f"ops.caching is {report.mode}.")
    yield lines(map(money.pattern_line, report.patterns[: content.MOST_ROWS]))
    yield table(
        money.STRATEGY_HEADS, map(money.strategy_cells, report.strategies[: content.MOST_ROWS])
    )
    curves = [_curve(one, report) for one in report.curves[: plots.MOST_ROWS]]
    yield tag("div", *curves, *_database_bars(report), class_="grid")
    yield listing(money.caching_costs(report))
    if report.capacity_freed:
        yield tag("p", "Room for more load, which is no money:", class_="soft")
        yield lines(map(money.freed_line, report.capacity_freed[: content.MOST_ROWS]))
    yield from _prices(report.lines)


def _curve(one: Curve, report: CachingReport) -> Markup:
    """Draw misses by size, with the size that its strategy has or would have."""
    kind = one.kind.replace("_", " ")
    points = [(float(point.entries), point.miss_ratio) for point in one.points]
    chosen = money.chosen(one, report)
    plot = plots.curve(points, chosen, f"Misses of a cache by its size, {kind}")
    caption = f", {kind}: part of the questions, by entries"
    return tag("figure", tag("figcaption", tag("strong", "Misses by size"), caption), plot)


def _database_bars(report: CachingReport) -> Iterator[Markup]:
    now, then = report.current_database_cost, report.optimized_database_cost
    if now is None or then is None:
        return
    rows = [_bar("database now", now, "series"), _bar("database then", then, "then")]
    if report.added_cache_cost is not None:
        rows.append(_bar("memory added", report.added_cache_cost, "then"))
    yield _bars("Cost a month", rows)


def machines(found: Mapping[str, Any]) -> Iterator[Markup]:
    """Show what machines cost, what they would cost, and what to do for it."""
    report = money.read_optimization(found)
    if report is None:
        yield tag("p", money.FOREIGN)
        return
    yield tag("p", money.bill_line(report))
    if report.current_costs:
        now = _bar("now", report.current_monthly, "series")
        then = _bar("if all of this is done", report.optimized_monthly, "then")
        yield _bars("Cost a month", [now, then])
    yield from map(article, content.ordered(report.recommendations))
    left = content.more(len(report.recommendations), content.MOST_ADVICE)
    if left or not report.recommendations:
        yield tag("p", left or money.NOTHING)
    yield lines(money.machine_notes(report))
    yield from _prices(report.current_costs)


def _bar(label: str, dollars: float, kind: str) -> plots.Bar:
    return plots.Bar(label, dollars, words.money(dollars), kind)


def _bars(title: str, rows: list[plots.Bar]) -> Markup:
    return tag("figure", tag("figcaption", tag("strong", title)), plots.bars(rows, title))


def _prices(found: list[CostLine]) -> Iterator[Markup]:
    if found:
        yield tag("p", "Prices behind it:", class_="soft")
        yield lines(map(content.cost_line, found[: content.MOST_ROWS]))
