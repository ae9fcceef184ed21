"""A report as a page for the terminal.

Every text from outside is printed as plain text, see `words`: nothing of it is markup or steers the
terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from rankwire.ops.report import content, money, words

if TYPE_CHECKING:
    from rankwire.ops.caching.report import CachingReport
    from rankwire.ops.findings import CostLine, Recommendation
    from rankwire.ops.optimizer.savings import OptimizationReport
    from rankwire.ops.report.bundle import Bundle, Points

_STYLES: Final = {
    "good": "green",
    "low": "cyan",
    "medium": "yellow",
    "high": "bold red",
    "unknown": "magenta",
}
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_GAP: Final = "·"
_SPARKS: Final = 24
_INDENT: Final = 4


def render(bundle: Bundle) -> RenderableType:
    """Make the page."""
    parts = (
        _head(bundle),
        *_section("Sources", _sources(bundle)),
        *_section("Bottlenecks", *_bottlenecks(bundle)),
        *_section("Recommendations", *_recommendations(bundle)),
        *_section("How much more it carries", *_triggers(bundle)),
        *_section("History", *_history(bundle)),
        *_section("Caching", *_caching(bundle)),
        *_section("Machines", *_machines(bundle)),
    )
    return Group(*parts)


def _head(bundle: Bundle) -> RenderableType:
    found = content.verdict(bundle.report)
    line = Text()
    line.append(f"{words.plain(bundle.node)}: ", "bold")
    line.append(found.word, _STYLES[found.kind])
    line.append(f", health {found.score}")
    return Group(line, _text(found.cause), _text(content.window(bundle), "dim"))


def _section(title: str, *parts: RenderableType) -> Iterator[RenderableType]:
    if parts:
        yield Text()
        yield Rule(Text(title, style="bold"), align="left", style="dim")
        yield from parts


def _text(text: str, style: str = "") -> Text:
    return Text(text, style=style, overflow="fold")


def _table(heads: Iterable[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    table = Table(*heads, box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*(_text(cell) if isinstance(cell, str) else cell for cell in row))
    return table


def _sources(bundle: Bundle) -> Table:
    report = bundle.report
    rows = []
    for name, status in list(report.sources.items())[: content.MOST_ROWS]:
        health = report.health.get(name)
        known = health is not None and health.score is not None
        score = f"{health.score * 100:.0f}" if known and health and health.score is not None else ""
        style = "magenta" if status.status == "unavailable" else ""
        told = _text(content.source_words(status), style)
        rows.append((words.plain(name), score or "-", told))
    return _table(("source", "health", "asked"), rows)


def _bottlenecks(bundle: Bundle) -> Iterator[RenderableType]:
    found = bundle.report.bottlenecks
    if not found:
        yield _text("None: no rule has been true for long enough.")
    for one in list(content.placed(found)):
        yield Padding(_bottleneck(one, bundle), (0, 0, 0, one.depth * _INDENT))
    if left := content.more(len(found)):
        yield _text(left)


def _bottleneck(place: content.Placed, bundle: Bundle) -> RenderableType:
    one = place.bottleneck
    head = Text(overflow="fold")
    if place.depth:
        head.append("└ because of it: ", "dim")
    head.append(f"{one.severity} ", _STYLES[one.severity.lower()])
    head.append(words.plain(one.type), "bold")
    lines: list[RenderableType] = [
        _text(f"{content.bottleneck_line(one, bundle)}."),
        _text(words.plain(one.impact)),
        *(_text(f"{name}: {value}", "dim") for name, value in content.details(one)),
    ]
    return Group(head, Padding(Group(*lines), (0, 0, 0, 2)))


def _recommendations(bundle: Bundle) -> Iterator[RenderableType]:
    found = bundle.report.recommendations
    if not found:
        yield _text("None.")
    for one in content.ordered(found):
        yield _recommendation(one)
    if left := content.more(len(found), content.MOST_ADVICE):
        yield _text(left)


def _recommendation(one: Recommendation) -> RenderableType:
    lines: list[RenderableType] = []
    if one.because:
        lines.append(_text(f"for {words.plain(one.because)}", "dim"))
    lines += [_text(content.prediction_line(each)) for each in one.predicted[: content.MOST_LINES]]
    lines += [_text(content.cost_line(each)) for each in one.cost[: content.MOST_LINES]]
    lines += [_text(f"but: {words.plain(each)}") for each in one.caveats[: content.MOST_LINES]]
    lines.append(_text(f"model: {words.plain(one.model)}; {content.inputs(one)}", "dim"))
    lines.append(_text(f"verify: {words.plain(one.verify)}"))
    if not one.apply:
        return Group(_headline(one), Padding(Group(*lines), (0, 0, 0, 2)))
    lines.append(_text("apply:"))
    # Not wrapped and not moved: it is there to be copied.
    apply = Text(words.block(one.apply), style="cyan", no_wrap=True, overflow="ignore")
    return Group(_headline(one), Padding(Group(*lines), (0, 0, 0, 2)), apply)


def _headline(one: Recommendation) -> RenderableType:
    """Say what to do in two lines."""
    head = Text(overflow="fold")
    head.append(f"{one.priority} ", _STYLES[one.priority.lower()])
    head.append(f"{words.plain(one.action)} {words.plain(one.resource)}", "bold")
    head.append(f", {content.total(one)}, confidence {one.confidence}")
    return Group(head, Padding(_text(words.plain(one.description)), (0, 0, 0, 2)))


def _triggers(bundle: Bundle) -> Iterator[RenderableType]:
    found = bundle.report.triggers
    if found:
        rows = (content.trigger_cells(one, bundle.units) for one in found[: content.MOST_ROWS])
        yield _table(content.TRIGGER_HEADS, rows)


def _history(bundle: Bundle) -> Iterator[RenderableType]:
    rows: list[tuple[str | Text, ...]] = []
    for name, points in list(bundle.history.items())[: content.MOST_ROWS]:
        unit = bundle.units.get(name, "")
        known = [value for _, value in points if value is not None]
        low = words.figure(min(known, default=None), unit)
        high = words.figure(max(known, default=None), unit)
        last = words.figure(points[-1][1], unit) if points else words.UNKNOWN
        drawn = Text(sparks(points), no_wrap=True)
        rows.append((words.plain(name), drawn, low, high, last))
    if rows:
        table = _table(("figure", "", "least", "most", "now"), rows)
        table.columns[1].min_width = _SPARKS
        yield table


def sparks(points: Points) -> str:
    """Draw values as blocks from zero to the largest, the largest of each stretch.

    A stretch of which nothing is known is a dot.
    """
    count = min(_SPARKS, len(points))
    top = max((value for _, value in points if value is not None), default=0.0)
    drawn = ""
    for number in range(count):
        stretch = points[number * len(points) // count : (number + 1) * len(points) // count]
        values = [value for _, value in stretch if value is not None]
        if values:
            height = max(values) / top if top > 0 else 0.0
            drawn += _BLOCKS[max(0, min(len(_BLOCKS) - 1, int(height * len(_BLOCKS))))]
        else:
            drawn += _GAP
    return drawn


def _caching(bundle: Bundle) -> Iterable[RenderableType]:
    if bundle.caching is None:
        return ()
    report = money.read_caching(bundle.caching)
    return (_text(money.FOREIGN),) if report is None else caching(report)


def caching(report: CachingReport) -> Iterator[RenderableType]:
    """Show what is read, what caching does about it, and what that is worth."""
    yield _text(f"ops.caching is {report.mode}.")
    yield from map(_text, map(money.pattern_line, report.patterns[: content.MOST_ROWS]))
    if report.strategies:
        rows = map(money.strategy_cells, report.strategies[: content.MOST_ROWS])
        yield _table(money.STRATEGY_HEADS, rows)
    for freed in report.capacity_freed[: content.MOST_ROWS]:
        yield _text(f"room: {money.freed_line(freed)}")
    for curve in report.curves[: content.MOST_ROWS]:
        yield _text(money.curve_line(curve, report))
    yield _table(("money", ""), money.caching_costs(report))
    yield from _prices(report.lines)


def _machines(bundle: Bundle) -> Iterable[RenderableType]:
    if bundle.optimization is None:
        return ()
    report = money.read_optimization(bundle.optimization)
    return (_text(money.FOREIGN),) if report is None else machines(report)


def machines(
    report: OptimizationReport, *, full: bool = True, most: int = content.MOST_ADVICE
) -> Iterator[RenderableType]:
    """Show what machines cost and what to do for it; all of that only if `full`."""
    yield _text(money.bill_line(report))
    show = _recommendation if full else _headline
    yield from map(show, content.ordered(report.recommendations, most))
    left = content.more(len(report.recommendations), most)
    if left or not report.recommendations:
        yield _text(left or money.NOTHING)
    yield from (_text(line, "dim") for line in money.machine_notes(report))
    if full:
        yield from _prices(report.current_costs)


def _prices(lines: Sequence[CostLine]) -> Iterator[RenderableType]:
    for line in lines[: content.MOST_ROWS]:
        yield _text(f"price: {content.cost_line(line)}", "dim")
