"""What PromQL names: metrics and labels, and all expressions that deploy/ holds.

No parser of PromQL, which Prometheus itself is in the tests: texts are taken out, then what stands
in braces and lists of labels; words that are left and are neither functions nor operators are
metrics.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

DEPLOY: Final = Path(__file__).parents[1] / "deploy"
OBSERVED: Final = DEPLOY / "observability"
RULES: Final = sorted((OBSERVED / "rules").glob("*.yml"))
_WORDS: Final = {"and", "or", "unless", "by", "without", "on", "ignoring", "bool", "offset"}
_VARIABLES: Final = {"$namespace": ".*", "$instance": ".*", "$__rate_interval": "1m"}


class Named(NamedTuple):
    """What an expression names."""

    metrics: set[str]
    labels: set[str]


class Expression(NamedTuple):
    """PromQL and where it stands."""

    where: str
    text: str


def names_in(text: str) -> Named:
    """Find the metrics and the labels that an expression names."""
    bare = re.sub(r'"[^"]*"', '""', text)
    labels: set[str] = set()

    def matchers(found: re.Match[str]) -> str:
        labels.update(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", found[1]))
        return " "

    def grouping(found: re.Match[str]) -> str:
        labels.update(re.findall(r"\w+", found[1]))
        return " "

    bare = re.sub(r"\{([^}]*)\}", matchers, bare)
    bare = re.sub(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", grouping, bare)
    bare = re.sub(r"\[[^\]]*\]", " ", bare)
    found = re.findall(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?![\w:])(?!\s*\()", bare)
    return Named({word for word in found if word.lower() not in _WORDS}, labels)


def filled(text: str, variables: list[dict[str, Any]], interval: str = "1m") -> str:
    """Put values in place of a dashboard's variables."""
    for name, value in (_VARIABLES | {"$__rate_interval": interval}).items():
        text = text.replace(name, value)
    for each in variables:
        if each["type"] == "textbox":
            text = text.replace(f"${each['name']}", each["query"])
    return text


def dashboards() -> dict[str, dict[str, Any]]:
    """Read all dashboards, by the name of the file."""
    paths = sorted((OBSERVED / "dashboards").glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def rules(kind: str) -> list[dict[str, Any]]:
    """Read all rules of a kind: `alert` or `record`."""
    return [
        rule
        for path in RULES
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
        if kind in rule
    ]


def expressions() -> Iterator[Expression]:
    """Give every expression of rules, dashboards and autoscalers below deploy/."""
    for kind in ("alert", "record"):
        for rule in rules(kind):
            yield Expression(rule[kind], rule["expr"])
    for name, dashboard in dashboards().items():
        variables = dashboard["templating"]["list"]
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                yield Expression(f"{name}: {panel['title']}", filled(target["expr"], variables))
        for annotation in dashboard["annotations"]["list"]:
            yield Expression(f"{name}: annotations", annotation["expr"])


def autoscaler_metrics() -> Iterator[Expression]:
    """Give every name of ours in what is made for KEDA and for prometheus-adapter."""
    ours = r"\b(?:rankwire|websocket|score_updates|database_pool|cache_hit)_\w+\b"
    for path in sorted(DEPLOY.rglob("*")):
        if path.is_file() and re.search("keda|prometheus-adapter", path.name):
            for name in re.findall(ours, path.read_text(encoding="utf-8")):
                yield Expression(str(path.relative_to(DEPLOY)), name)
