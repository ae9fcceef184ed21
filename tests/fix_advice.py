"""What recommendations are computed from, made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rankwire.ops.analyzer.advice import Context
from rankwire.ops.analyzer.figures import compute
from rankwire.ops.analyzer.readings import Reading, Window
from rankwire.ops.analyzer.rule_table import RULES
from rankwire.ops.findings import Bottleneck, Recommendation
from rankwire.ops.prices import Catalogue

CATALOGUE = Catalogue.load()
BY_ID = {rule.id: rule for rule in RULES}
SECONDS = 60.0


def make_bottleneck(rule: str, value: float = 0.9, **changed: Any) -> Bottleneck:
    """Make what a rule of this id found."""
    values: dict[str, Any] = {"since": 0.0, "impact": "", "threshold": BY_ID[rule].bound}
    figure = BY_ID[rule].figure
    source = figure.partition(".")[0]
    return Bottleneck(
        type=rule, severity=BY_ID[rule].severity, source=source, figure=figure, value=value,
        **(values | changed),
    )  # fmt: skip


def make_context(
    source: str,
    window: Window | None,
    nodes: float = 0,
    more_windows: Mapping[str, Window | None] | None = None,
    **more: Any,
) -> Context:
    """Make what there is to compute from, with so many nodes if there is a PostgreSQL."""
    windows = {source: window, **(more_windows or {})}
    if nodes:
        windows["database"] = make_gauges({"nodes": nodes})
    values = {"figures": compute(windows), "readings": []} | more
    return Context(windows=windows, rules=BY_ID, catalogue=CATALOGUE, **values)


def make_gauges(gauges: dict[str, float]) -> Window:
    """Make a minute over which these did not change."""
    return Window(Reading(at=0.0, gauges=gauges), Reading(at=SECONDS, gauges=gauges))


def only(found: Any) -> Recommendation:
    """Take the one that there is."""
    (recommendation,) = found
    assert isinstance(recommendation, Recommendation)
    return recommendation
