"""A recommendation as a part of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rankwire.ops.report import content, words
from rankwire.ops.report.markup import Markup, tag
from rankwire.ops.report.tables import lines, listing

if TYPE_CHECKING:
    from rankwire.ops.findings import Recommendation


def article(one: Recommendation) -> Markup:
    """Make all of it: what it brings, what it costs, how to check, what to apply."""
    badge = tag("span", one.priority, class_=f"badge {one.priority.lower()}")
    rows: list[tuple[str, str]] = []
    if one.because:
        rows.append(("for", words.plain(one.because)))
    if one.predicted:
        rows.append(
            ("predicted", lines(map(content.prediction_line, one.predicted[: content.MOST_LINES])))
        )
    rows.append(("cost", content.total(one)))
    if one.cost:
        rows.append(("prices", lines(map(content.cost_line, one.cost[: content.MOST_LINES]))))
    if one.caveats:
        rows.append(("but", lines(map(words.plain, one.caveats[: content.MOST_LINES]))))
    rows += [
        ("confidence", one.confidence),
        ("model", f"{words.plain(one.model)}: {content.inputs(one)}"),
        ("verify", tag("code", words.plain(one.verify, words.BLOCK_CHARACTERS))),
    ]
    if one.apply:
        rows.append(("apply", tag("pre", words.block(one.apply))))
    return tag(
        "article",
        tag("h3", badge, f" {words.plain(one.action)} {words.plain(one.resource)}"),
        tag("p", words.plain(one.description)),
        listing(rows),
    )
