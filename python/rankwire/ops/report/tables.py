"""Tables and lists of a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rankwire.ops.report.markup import Markup, tag


def table(heads: Iterable[str], rows: Iterable[Sequence[str]]) -> Markup:
    """Make a table that scrolls sideways by itself where it is too wide."""
    head = tag("tr", *(tag("th", text, scope="col") for text in heads))
    body = [tag("tr", *(tag("td", text) for text in row)) for row in rows]
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body)), class_="wide")


def listing(rows: Iterable[tuple[str, str]]) -> Markup:
    """Make a list of names with what each has."""
    return tag("dl", *(part for name, value in rows for part in _entry(name, value)))


def lines(texts: Iterable[str]) -> Markup:
    """Make a list of sentences."""
    return tag("ul", *(tag("li", text) for text in texts))


def _entry(name: str, value: str) -> tuple[Markup, Markup]:
    return tag("dt", name), tag("dd", value)
