"""A report as one HTML file that needs nothing else: no script, no other file, no network.

Whatever comes from outside is escaped by `markup`, and the page forbids itself to load anything, so
a browser would not even if it were told to. Lists end after `content.MOST_ROWS` rows, texts and
plots are bounded as well: the file has about 200 kilobytes with a full history, and `MOST_BYTES` at
most whatever it is made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from rankwire.ops.report import content, plots, words
from rankwire.ops.report.advice import article
from rankwire.ops.report.bundle import MOST_EPISODES, Episode
from rankwire.ops.report.costs import caching, machines
from rankwire.ops.report.markup import Markup, join, tag
from rankwire.ops.report.tables import listing, table

if TYPE_CHECKING:
    from rankwire.ops.report.bundle import Bundle

_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
# What a timeline shows where no history says how far back it may go.
_HOUR: Final = 3600.0

MOST_BYTES: Final = 10_000_000
"""Size of a file that is made of nothing but the longest texts, all to be escaped."""


def render(bundle: Bundle) -> str:
    """Make the file."""
    title = f"{words.plain(bundle.node)} on {words.moment(bundle.at)}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Markup(files(__package__).joinpath("page.css").read_text("utf-8"))),
    )
    body = tag("body", tag("main", *_sections(bundle)))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _sections(bundle: Bundle) -> Iterator[Markup]:
    yield _head(bundle)
    yield section("Sources", _sources(bundle))
    yield section("Bottlenecks", *_bottlenecks(bundle))
    yield section("Recommendations", *_recommendations(bundle))
    if bundle.report.triggers:
        yield section("How much more it carries", *_triggers(bundle))
    if bundle.history:
        yield section("History, in UTC", _history(bundle))
    if bundle.caching is not None:
        yield section("Caching", *caching(bundle.caching))
    if bundle.optimization is not None:
        yield section("Machines", *machines(bundle.optimization))
    yield _figures(bundle)


def section(title: str, *parts: str) -> Markup:
    """Make a section with a heading."""
    return tag("section", tag("h2", title), *parts)


def _head(bundle: Bundle) -> Markup:
    found = content.verdict(bundle.report)
    line = (
        tag("span", found.word, class_=f"badge {found.kind}"),
        tag("strong", f"health {found.score}"),
    )
    return tag(
        "header",
        tag("h1", words.plain(bundle.node)),
        tag("p", content.window(bundle), class_="soft"),
        tag("div", *line, class_="verdict"),
        tag("p", found.cause),
    )


def _sources(bundle: Bundle) -> Markup:
    report = bundle.report
    panels = []
    for name, status in list(report.sources.items())[: content.MOST_ROWS]:
        kind = {"ok": "good", "absent": "low", "unavailable": "unknown"}[status.status]
        health = report.health.get(name)
        parts = [
            tag("h3", words.plain(name), " ", tag("span", status.status, class_=f"badge {kind}")),
            tag("p", content.source_words(status)),
        ]
        if health is not None and health.score is not None:
            told = f"Health {health.score * 100:.0f} of 100: {words.plain(health.cause)}"
            parts.append(tag("p", told, class_="soft"))
        panels.append(tag("div", *parts, class_="panel"))
    return tag("div", *panels, class_="grid")


def _bottlenecks(bundle: Bundle) -> Iterator[Markup]:
    found = bundle.report.bottlenecks
    if found:
        yield _tree(list(content.placed(found)), bundle)
        if left := content.more(len(found)):
            yield tag("p", left, class_="soft")
    else:
        yield tag("p", "None: no rule has been true for long enough.")
    lasting = [Episode(one.type, one.severity, one.since) for one in found]
    if episodes := (bundle.episodes or lasting)[-MOST_EPISODES:]:
        at = bundle.report.at
        starts = [points[0][0] for points in bundle.history.values() if points]
        start = min(starts, default=at - _HOUR)
        plot = plots.timeline(episodes, start, at, "When which rule was true")
        yield tag("figure", tag("figcaption", tag("strong", "When which rule was true")), plot)


def _tree(found: Sequence[content.Placed], bundle: Bundle) -> Markup:
    """Make nested lists of places that are in the order of a walk through the tree."""
    items = []
    index = 0
    while index < len(found):
        depth = found[index].depth
        end = index + 1
        while end < len(found) and found[end].depth > depth:
            end += 1
        beneath = found[index + 1 : end]
        items.append(_bottleneck(found[index], beneath, bundle))
        index = end
    return tag("ul", *items, class_="plain")


def _bottleneck(place: content.Placed, beneath: Sequence[content.Placed], bundle: Bundle) -> Markup:
    one = place.bottleneck
    badge = tag("span", one.severity, class_=f"badge {one.severity.lower()}")
    parts = [
        tag("h3", badge, " ", words.plain(one.type)),
        tag("p", f"{content.bottleneck_line(one, bundle)}."),
        tag("p", words.plain(one.impact), class_="soft"),
    ]
    if one.details:
        parts.append(listing((name, tag("code", value)) for name, value in content.details(one)))
    if beneath:
        parts += [tag("p", "Because of it:", class_="soft"), _tree(beneath, bundle)]
    return tag("li", *parts, class_="" if place.depth else "panel")


def _recommendations(bundle: Bundle) -> Iterator[Markup]:
    found = bundle.report.recommendations
    if not found:
        yield tag("p", "None.")
    yield from map(article, content.ordered(found))
    if left := content.more(len(found), content.MOST_ADVICE):
        yield tag("p", left, class_="soft")


def _triggers(bundle: Bundle) -> Iterator[Markup]:
    found = bundle.report.triggers[: content.MOST_ROWS]
    bars = []
    for one in found:
        part = content.utilization(one.now, one.limit)
        text = words.UNKNOWN if part is None else f"{words.ratio(part)} of its limit"
        bars.append(plots.Bar(one.resource, part, text))
    caption = tag("figcaption", tag("strong", "Use against limits"), ", the upright line")
    yield tag("figure", caption, plots.bars(bars, "Use against limits", 1.0))
    rows = (content.trigger_cells(one, bundle.units) for one in found)
    yield table(content.TRIGGER_HEADS, rows)


def _history(bundle: Bundle) -> Markup:
    bounds = content.limits(bundle.report)
    drawn = []
    for name, points in list(bundle.history.items())[: plots.MOST_ROWS]:
        if not points:
            continue
        unit = bundle.units.get(name, "")
        now = words.figure(points[-1][1], unit)
        caption = tag("figcaption", tag("strong", words.plain(name)), f", now {now}")
        plot = plots.history(points, unit, name, bounds.get(name))
        drawn.append(tag("figure", caption, plot))
    return tag("div", *drawn, class_="grid")


def _figures(bundle: Bundle) -> Markup:
    """List all figures; a browser shows them when asked."""
    figures = list(bundle.report.figures.items())[: 4 * content.MOST_ROWS]
    rows: Iterable[tuple[str, str]] = (
        (words.plain(name), words.figure(value, bundle.units.get(name, "")))
        for name, value in figures
    )
    return tag("details", tag("summary", "All figures"), join((table(("figure", "value"), rows),)))
