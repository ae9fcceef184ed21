"""Dashboards for Grafana from rows of panels: what one says is Python, where it stands is computed.

Promises: the same input gives the same bytes; ids are unique; panels fill a grid of 24 columns and
never overlap; every query is narrowed by the variables `namespace` and `instance`, which also match
where there is no such label. Knows nothing of what is worth showing: that is in the pages.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal

import msgspec

COLUMNS: Final = 24
OF: Final = 'job="rankwire", namespace=~"$namespace", instance=~"$instance"'
"""The matchers of every query."""

# Of Grafana 10 and 11; a newer Grafana takes an older schema and brings it up to date.
_SCHEMA: Final = 39
_HEIGHT: Final = {"timeseries": 8, "stat": 4}
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

Unit = Literal[
    "short",
    "none",
    "percentunit",
    "s",
    "bytes",
    "Bps",
    "ops",
    "reqps",
    "currencyUSD",
    "bool_on_off",
]


class Query(msgspec.Struct, frozen=True):
    """PromQL, and what its series are called."""

    expr: str
    legend: str = "{{instance}}"


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """A plot of series over time, or the newest value as a number."""

    title: str
    says: str
    """What it means, for who points at it."""
    unit: Unit
    queries: tuple[Query, ...]
    kind: Literal["timeseries", "stat"] = "timeseries"
    width: int = 8
    bound: float | None = None
    """Where the alert's threshold is, drawn as a line; the same unit."""
    empty: str = ""
    """Why there may be nothing to see; empty where there always is something."""


class Row(msgspec.Struct, frozen=True):
    """A heading and the panels below it."""

    title: str
    panels: tuple[Panel, ...]


class Variable(msgspec.Struct, frozen=True):
    """A number that who looks at the dashboard may change."""

    name: str
    label: str
    default: str
    says: str


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One dashboard."""

    uid: str
    title: str
    says: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()


def rate(name: str, by: str = "", more: str = "") -> str:
    """Write the rate of a counter, summed up by these labels, or over everything."""
    inner = f"rate({name}{{{OF}{', ' if more else ''}{more}}}[$__rate_interval])"
    return f"sum by ({by}) ({inner})" if by else f"sum({inner})"


def quantile(part: float, name: str, by: str = "", more: str = "") -> str:
    """Write a quantile of a histogram, by these labels."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({part}, {rate(name + '_bucket', labels, more)})"


def gauge(name: str, more: str = "") -> str:
    """Write a gauge of the chosen nodes."""
    return f"{name}{{{OF}{', ' if more else ''}{more}}}"


def text_of(page: Page) -> str:
    """Write a dashboard down as Grafana reads it."""
    return json.dumps(_dashboard(page), indent=1, ensure_ascii=False) + "\n"


def _dashboard(page: Page) -> dict[str, Any]:
    return {
        "uid": page.uid,
        "title": page.title,
        "description": page.says,
        "tags": ["rankwire"],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "",
        "links": [_others()],
        "annotations": {"list": [_alerts()]},
        "templating": {"list": [*_common_variables(), *map(_variable, page.variables)]},
        "panels": _placed(page.rows),
    }


def _others() -> dict[str, Any]:
    return {
        "type": "dashboards",
        "title": "Rankwire",
        "tags": ["rankwire"],
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
    }


def _alerts() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertname=~"Rankwire.*", alertstate="firing"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{instance}}",
    }


def _common_variables() -> list[dict[str, Any]]:
    source = {"name": "datasource", "label": "Data source", "type": "datasource"}
    names = (
        ("namespace", "Namespace", 'label_values(rankwire_build_info{job="rankwire"}, namespace)'),
        (
            "instance",
            "Node",
            'label_values(rankwire_build_info{job="rankwire", namespace=~"$namespace"}, instance)',
        ),
    )
    return [source | {"query": "prometheus"}, *(_chosen(*row) for row in names)]


def _chosen(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        # Also matches series that have no such label.
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _variable(variable: Variable) -> dict[str, Any]:
    return {
        "name": variable.name,
        "label": variable.label,
        "description": variable.says,
        "type": "textbox",
        "query": variable.default,
        "current": {"text": variable.default, "value": variable.default},
    }


def _placed(rows: tuple[Row, ...]) -> list[dict[str, Any]]:
    """Give every panel an id and a place: from left to right, then down."""
    placed: list[dict[str, Any]] = []
    top = 0
    for row in rows:
        placed.append(_heading(row.title, len(placed) + 1, top))
        top += 1
        left = height = 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, height = top + height, 0, 0
            place = {"x": left, "y": top, "w": panel.width, "h": _HEIGHT[panel.kind]}
            placed.append(_panel(panel, len(placed) + 1, place))
            left, height = left + panel.width, max(height, place["h"])
        top += height
    return placed


def _heading(title: str, number: int, top: int) -> dict[str, Any]:
    place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
    return {
        "id": number,
        "type": "row",
        "title": title,
        "collapsed": False,
        "gridPos": place,
        "panels": [],
    }


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": f"{panel.says} {panel.empty}".strip(),
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": _looks(panel), "overrides": []},
        "options": _options(panel.kind),
        "targets": [_target(query, n) for n, query in enumerate(panel.queries)],
    }


def _looks(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.bound is not None:
        steps.append({"color": "red", "value": panel.bound})
    looks: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if panel.kind == "stat":
        return looks | {"noValue": "unknown"}
    mode = "off" if panel.bound is None else "line"
    return looks | {
        "custom": {
            "drawStyle": "line",
            "fillOpacity": 10,
            "showPoints": "never",
            # What is not known is a gap.
            "spanNulls": False,
            "thresholdsStyle": {"mode": mode},
        }
    }


def _options(kind: str) -> dict[str, Any]:
    if kind == "stat":
        return {
            "colorMode": "value",
            "graphMode": "area",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _target(query: Query, number: int) -> dict[str, Any]:
    return {
        "refId": chr(ord("A") + number),
        "datasource": _SOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend,
        "range": True,
    }
