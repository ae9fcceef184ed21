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
    from rankwire.ops.findings import Recommendation
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
    head = Text(overflow="fold")
    head.append(f"{one.priority} ", _STYLES[one.priority.lower()])
    head.append(f"{words.plain(one.action)} {words.plain(one.resource)}", "bold")
    head.append(f", {content.total(one)}, confidence {one.confidence}")
    lines = [_text(words.plain(one.description))]
    if one.because:
        lines.append(_text(f"for {words.plain(one.because)}", "dim"))
    lines += [_text(content.prediction_line(each)) for each in one.predicted[: content.MOST_LINES]]
    lines += [_text(content.cost_line(each)) for each in one.cost[: content.MOST_LINES]]
    lines += [_text(f"but: {words.plain(each)}") for each in one.caveats[: content.MOST_LINES]]
    lines.append(_text(f"model: {words.plain(one.model)}; {content.inputs(one)}", "dim"))
    lines.append(_text(f"verify: {words.plain(one.verify)}"))
    if one.apply:
        lines.append(_text("apply:"))
        lines.append(_text(words.block(one.apply), "cyan"))
    return Group(head, Padding(Group(*lines), (0, 0, 0, 2)))


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


def _caching(bundle: Bundle) -> Iterator[RenderableType]:
    if bundle.caching is None:
        return
    report = money.read_caching(bundle.caching)
    if report is None:
        yield _text(money.FOREIGN)
        return
    yield _text(f"ops.caching is {report.mode}.")
    if report.strategies:
        yield _table(money.STRATEGY_HEADS, map(money.strategy_cells, report.strategies))
    for freed in report.capacity_freed:
        yield _text(f"room: {money.freed_line(freed)}")
    yield _table(("money", ""), money.caching_costs(report))


def _machines(bundle: Bundle) -> Iterator[RenderableType]:
    if bundle.optimization is None:
        return
    report = money.read_optimization(bundle.optimization)
    if report is None:
        yield _text(money.FOREIGN)
        return
    now, then = words.money(report.current_monthly), words.money(report.optimized_monthly)
    yield _text(f"{now} a month now, {then} if all of this is done.")
    for one in content.ordered(report.recommendations):
        yield _recommendation(one)
    for risk in report.risk_assessment[: content.MOST_ROWS]:
        yield _text(money.risk_line(risk))
    for refusal in report.refused[: content.MOST_ROWS]:
        yield _text(money.refusal_line(refusal), "dim")
