"""Plots as SVG inside a page, which gives them their colours and letters.

All are 360 units wide and grow with their place. A plot never draws what is not known: a line has a
gap there. Each has a title and a description for those who do not see it. What is drawn is bounded
by what it is given; bars and lanes beyond `MOST_ROWS` are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Final

import msgspec

from rankwire.ops.findings import Known
from rankwire.ops.report import words
from rankwire.ops.report.axes import (
    Scale,
    clock,
    clock_ticks,
    nice_top,
    power_ticks,
    ticks,
)
from rankwire.ops.report.bundle import MOST_POINTS, Episode
from rankwire.ops.report.markup import Markup, join, tag

MOST_ROWS: Final = 24

_WIDTH: Final = 360.0
_HEIGHT: Final = 160.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 12.0, 14.0, 24.0
_ROW: Final = 38.0
_LANE: Final = 34.0
# A line breaks where two values are further apart than so many usual distances.
_GAP_DISTANCES: Final = 3.0
_WIDE_RATIO: Final = 50.0

Points = Sequence[tuple[float, Known]]


class Bar(msgspec.Struct, frozen=True):
    """One bar."""

    label: str
    value: Known
    text: str
    """What stands beside it."""
    kind: str = "series"
    """Class of its colour."""


class _Frame(msgspec.Struct, frozen=True):
    """Where both axes of a plot lie."""

    x: Scale
    y: Scale


def history(points: Points, unit: str, title: str, limit: Known = None) -> Markup:
    """Draw how a figure went, with its limit; nothing where it is not known."""
    points = points[-MOST_POINTS:]
    values = [value for _, value in points if value is not None]
    if not values:
        return _sheet(_HEIGHT, title, "never known", _note("not known in this time"))
    # A limit far above all values would press them onto the axis: it is described and not drawn.
    shown = limit if limit is not None and limit <= 10 * max(values) else None
    top = 1.0 if unit == "ratio" and max(values) <= 1 else nice_top(max([*values, shown or 0]))
    low, high = points[0][0], max(points[-1][0], points[0][0] + 1)
    frame = _Frame(Scale(low, high, _LEFT, _WIDTH - _RIGHT), Scale(0, top, _HEIGHT - _BOTTOM, _TOP))
    last = points[-1][1]
    told = (
        f"now {words.figure(last, unit)}, from {words.figure(min(values), unit)}"
        f" to {words.figure(max(values), unit)}"
    )
    if limit is not None:
        told += f", bound {words.figure(limit, unit)}"
    marks = clock_ticks(low, high)
    return _sheet(
        _HEIGHT,
        title,
        told,
        _levels(frame, unit),
        *(_mark(frame.x(at), clock(at, marks)) for at in marks),
        *_stretches(points, frame),
        _limit(frame, shown, unit),
    )


def curve(points: Sequence[tuple[float, float]], chosen: Known, title: str) -> Markup:
    """Draw a ratio by size, and mark the size that was chosen.

    Sizes that differ by more than fifty times have an axis by powers.
    """
    points = sorted(points)[:MOST_POINTS]
    if not points:
        return _sheet(_HEIGHT, title, "never known", _note("not known yet"))
    low, high = points[0][0], points[-1][0]
    wide = low > 0 and high / low > _WIDE_RATIO
    frame = _Frame(
        Scale(low, high, _LEFT, _WIDTH - _RIGHT, wide), Scale(0, 1, _HEIGHT - _BOTTOM, _TOP)
    )
    marks = power_ticks(low, high) if wide else ticks(low, high)
    told = f"{words.ratio(points[0][1])} at {words.number(low)}"
    told += f", {words.ratio(points[-1][1])} at {words.number(high)}"
    return _sheet(
        _HEIGHT,
        title,
        told,
        _levels(frame, "ratio"),
        *(_mark(frame.x(mark), words.number(mark)) for mark in marks),
        _line([(frame.x(x), frame.y(y)) for x, y in points]),
        _chosen(frame, points, chosen),
    )


def bars(rows: Sequence[Bar], title: str, mark: Known = None) -> Markup:
    """Draw bars on one scale from zero; with `mark` a line across each of them."""
    rows = rows[:MOST_ROWS]
    known = [row.value for row in rows if row.value is not None]
    scale = Scale(0, max([*known, mark or 0, 1e-9]), 0, _WIDTH)
    drawn = []
    for number, row in enumerate(rows):
        y = number * _ROW
        drawn.append(_bar(row, y, scale))
        if mark is not None:
            x = scale(mark)
            drawn.append(tag("line", class_="mark", x1=x, x2=x, y1=y + 15, y2=y + 33))
    told = "; ".join(f"{words.plain(row.label)}: {words.plain(row.text)}" for row in rows)
    return _sheet(_ROW * len(rows), title, told, *drawn)


def timeline(episodes: Sequence[Episode], start: float, end: float, title: str) -> Markup:
    """Draw when which rule was true, one lane a rule, the newest first."""
    lanes: dict[str, list[Episode]] = {}
    for episode in sorted(episodes, key=lambda episode: episode.since, reverse=True):
        lanes.setdefault(episode.type, []).append(episode)
    shown = list(lanes.items())[:MOST_ROWS]
    bottom = _LANE * len(shown)
    x = Scale(start, max(end, start + 1), 1, _WIDTH - 1)
    marks = clock_ticks(x.low, x.high)
    drawn = [
        join(_lane(name, members, number * _LANE, x))
        for number, (name, members) in enumerate(shown)
    ]
    axis = [_mark(x(at), clock(at, marks), bottom + 14, bottom) for at in marks]
    told = "; ".join(f"{words.plain(name)}, {len(members)} times" for name, members in shown)
    return _sheet(bottom + 20, title, told, *axis, *drawn)


# Parts of plots.


def _sheet(height: float, title: str, told: str, *drawn: Markup) -> Markup:
    return tag(
        "svg",
        tag("title", words.plain(title)),
        tag("desc", words.plain(told)),
        *drawn,
        viewBox=f"0 0 {_WIDTH:.0f} {height:.0f}",
        role="img",
    )


def _note(text: str) -> Markup:
    where = {"x": _WIDTH / 2, "y": _HEIGHT / 2}
    return tag("text", text, class_="note", text_anchor="middle", **where)


def _levels(frame: _Frame, unit: str) -> Markup:
    """Draw lines across for the marks of the upright axis, which begins at zero."""
    drawn = []
    for mark in ticks(frame.y.low, frame.y.high):
        y = frame.y(mark)
        label = words.mark(mark, unit)
        drawn.append(tag("line", class_="grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y))
        drawn.append(tag("text", label, x=_LEFT - 6, y=y + 4, text_anchor="end"))
    return join(drawn)


def _mark(x: float, label: str, y: float = _HEIGHT - 6, foot: float = _HEIGHT - _BOTTOM) -> Markup:
    """Draw a mark of the lower axis. Words at an end stay inside the sheet."""
    anchor = "start" if x < _LEFT / 2 else "end" if x > _WIDTH - 2 * _RIGHT else "middle"
    return join(
        (
            tag("line", class_="grid", x1=x, x2=x, y1=foot, y2=foot + 4),
            tag("text", label, x=x, y=y, text_anchor=anchor),
        )
    )


def _stretches(points: Points, frame: _Frame) -> Iterator[Markup]:
    """Draw a line for each stretch of known values that lie close together."""
    distances = [after[0] - before[0] for before, after in pairwise(points)]
    most = _GAP_DISTANCES * median(distances) if distances else 0.0
    stretch: list[tuple[float, float]] = []
    previous = points[0][0]
    for at, value in points:
        if stretch and (value is None or at - previous > most):
            yield _line(stretch)
            stretch = []
        if value is not None:
            stretch.append((frame.x(at), frame.y(value)))
        previous = at
    if stretch:
        yield _line(stretch)


def _line(places: Sequence[tuple[float, float]]) -> Markup:
    """Draw a line; a place that stands alone is a dot."""
    if len(places) == 1:
        return _dot(*places[0])
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return tag("polyline", class_="line", points=joined)


def _dot(x: float, y: float) -> Markup:
    return tag("circle", class_="dot", cx=x, cy=y, r=3.5)


def _limit(frame: _Frame, limit: Known, unit: str) -> Markup:
    if limit is None or limit > frame.y.high:
        return Markup()
    y = frame.y(limit)
    # Beneath the line where there is no room above it.
    text_y = y - 4 if y - 4 > _TOP else y + 12
    label = f"bound {words.figure(limit, unit)}"
    return join(
        (
            tag("line", class_="limit", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y),
            tag("text", label, class_="limit", x=_LEFT + 4, y=text_y),
        )
    )


def _chosen(frame: _Frame, points: Sequence[tuple[float, float]], chosen: Known) -> Markup:
    """Mark a size on the curve, at the height of the point nearest to it."""
    if chosen is None or not frame.x.low <= chosen <= frame.x.high:
        return Markup()
    ratio = min(points, key=lambda point: abs(point[0] - chosen))[1]
    x, y = frame.x(chosen), frame.y(ratio)
    anchor = "end" if x > _WIDTH / 2 else "start"
    label = f"chosen: {words.number(chosen)}, {words.ratio(ratio)}"
    return join(
        (
            tag("line", class_="limit", x1=x, x2=x, y1=_TOP, y2=_HEIGHT - _BOTTOM),
            _dot(x, y),
            tag(
                "text",
                label,
                class_="limit",
                x=x + (6 if anchor == "start" else -6),
                y=_TOP + 10,
                text_anchor=anchor,
            ),
        )
    )


def _bar(row: Bar, y: float, scale: Scale) -> Markup:
    label = tag("text", words.plain(row.label, 34), class_="label", x=0.0, y=y + 12)
    text = tag("text", words.plain(row.text, 40), x=_WIDTH, y=y + 12, text_anchor="end")
    shape = {"x": 0.0, "y": y + 18, "height": 12.0, "rx": 2.0}
    track = tag("rect", class_="track", width=_WIDTH, **shape)
    if row.value is None:
        return join((label, text, track))
    # A bar of something is seen, however little it is.
    width = max(scale(row.value), 1.0 if row.value > 0 else 0.0)
    return join((label, text, track, tag("rect", class_=row.kind, width=width, **shape)))


def _lane(name: str, members: Sequence[Episode], y: float, x: Scale) -> Iterator[Markup]:
    yield tag("text", words.plain(name, 44), class_="label", x=0.0, y=y + 12)
    yield tag("rect", class_="track", x=0.0, y=y + 17, width=_WIDTH, height=10.0)
    for episode in members:
        begin, end = x(episode.since), x(x.high if episode.until is None else episode.until)
        length = (x.high if episode.until is None else episode.until) - episode.since
        lasting = ", still so" if episode.until is None else ""
        yield tag(
            "rect",
            tag("title", f"{episode.severity}: {words.span(length)}{lasting}"),
            class_=episode.severity.lower(),
            x=begin,
            y=y + 17,
            width=max(end - begin, 2.0),
            height=10.0,
        )
