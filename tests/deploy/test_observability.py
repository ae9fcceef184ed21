"""The files of deploy/observability: rules and their tests, dashboards, routing.

promtool and amtool judge them. Without those such tests are left out, but not in CI.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

import dashboards as made
import panels
from fix_promql import OBSERVED, RULES, dashboards, expressions, names_in, rules
from rankwire.api.app import counters, of_clients
from rankwire.ops.analyzer.rules import Objectives

_TESTS: Final = sorted(
    path for path in (OBSERVED / "tests").glob("*.yml") if path.name != "unknown.yml"
)
_DASHBOARDS: Final = dashboards()


def _tool(*command: str, inside: Path = OBSERVED) -> subprocess.CompletedProcess[str]:
    if shutil.which(command[0]) is None:
        if os.environ.get("CI"):
            pytest.fail(f"CI has no {command[0]}")
        pytest.skip(f"NOT TESTED, rules and alerts: no {command[0]} on this machine")
    return subprocess.run(command, cwd=inside, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_rules_are_well_formed(path: Path) -> None:
    done = _tool("promtool", "check", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", _TESTS, ids=lambda path: path.stem)
def test_alerts_fire_stay_quiet_and_clear(path: Path) -> None:
    done = _tool("promtool", "test", "rules", path.name, inside=path.parent)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_shown_to_fire_to_clear_and_to_stay_quiet() -> None:
    shown: dict[str, set[str]] = defaultdict(set)
    for path in _TESTS:
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            assert test["input_series"]
            for alert, fired in _outcomes(test).items():
                if fired == [False]:
                    shown[alert].add("quiet")
                if fired == [False, True, False]:
                    shown[alert] |= {"fires", "clears"}
    whole = {"quiet", "fires", "clears"}
    assert [name for rule in rules("alert") if shown[name := rule["alert"]] != whole] == []


def _outcomes(test: dict[str, Any]) -> dict[str, list[bool]]:
    """Tell for each alert whether it is there, in the order of time."""
    outcomes: dict[str, list[tuple[int, bool]]] = defaultdict(list)
    for look in test["alert_rule_test"]:
        minutes = int(look["eval_time"].removesuffix("m"))
        outcomes[look["alertname"]].append((minutes, bool(look["exp_alerts"])))
    return {name: [there for _, there in sorted(found)] for name, found in outcomes.items()}


def test_every_alert_says_how_bad_it_is_and_what_to_read() -> None:
    names = [rule["alert"] for rule in rules("alert")]
    assert len(names) == len(set(names))
    for rule in rules("alert"):
        assert rule["labels"]["severity"] in {"page", "ticket"}
        told = rule["annotations"]
        assert told["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert 0 < len(told["summary"]) <= 80
        assert told["description"].endswith(".")


def test_the_objective_is_that_of_the_analyzer() -> None:
    allowed = 1 - Objectives().availability
    for rule in rules("alert"):
        if rule["alert"].startswith("RankwireErrorBudget"):
            factors = re.findall(r"> ([0-9.]+) \* ([0-9.]+)", rule["expr"])
            assert len(factors) == 2
            assert [float(each) for _, each in factors] == [pytest.approx(allowed)] * 2


def test_answers_to_clients_are_those_that_the_analyzer_counts() -> None:
    requests = counters()
    kept = set(of_clients(requests))
    patterns = {
        found for each in expressions() for found in re.findall(r'operation!~"([^"]+)"', each.text)
    }
    assert len(patterns) == 1
    (pattern,) = patterns
    assert {name for name in requests if not re.fullmatch(pattern, name)} == kept


def test_every_expression_is_promql(tmp_path: Path) -> None:
    """Also those of dashboards, by way of a file of rules made of them."""
    file = tmp_path / "all.yml"
    found = [
        {"record": f"expression:number_{number}:all", "expr": each.text}
        for number, each in enumerate(expressions())
    ]
    text = yaml.safe_dump({"groups": [{"name": "all", "rules": found}]})
    file.write_text(text, encoding="utf-8")
    done = _tool("promtool", "check", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(found)} rules found" in done.stdout


def test_names_are_found_in_promql() -> None:
    named = names_in(
        'sum by (le, view) (rate(a_bucket{job="x{}", le!~"y z"}[5m])) / on (pod) b > 1e3 and c:d'
    )
    assert named.metrics == {"a_bucket", "b", "c:d"}
    assert named.labels == {"le", "view", "job", "pod"}


def test_dashboards_are_as_their_source_makes_them() -> None:
    written = {path.name for path in (OBSERVED / "dashboards").iterdir()}
    assert written == {f"{page.uid}.json" for page in made.PAGES}
    for page in made.PAGES:
        path = OBSERVED / "dashboards" / f"{page.uid}.json"
        assert path.read_text(encoding="utf-8") == panels.text_of(page), "run `make dashboards`"


@pytest.mark.parametrize("name", _DASHBOARDS)
def test_a_dashboard_is_well_formed(name: str) -> None:
    dashboard = _DASHBOARDS[name]
    assert dashboard["uid"] == name
    assert dashboard["schemaVersion"] >= 39
    shown = dashboard["panels"]
    assert len({panel["id"] for panel in shown}) == len(shown)
    titles = [panel["title"] for panel in shown]
    assert len(set(titles)) == len(titles)
    variables = {each["name"]: each for each in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    for panel in shown:
        if panel["type"] == "row":
            continue
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            used = set(re.findall(r"\$(\w+)", target["expr"]))
            assert used <= {*variables, "__rate_interval"}
            assert "$namespace" in target["expr"]


@pytest.mark.parametrize("name", _DASHBOARDS)
def test_panels_fill_the_grid_without_overlap(name: str) -> None:
    places = [panel["gridPos"] for panel in _DASHBOARDS[name]["panels"]]
    for place in places:
        assert 0 <= place["x"] < place["x"] + place["w"] <= panels.COLUMNS
        assert place["h"] > 0
    for one, other in itertools.combinations(places, 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y


def test_alertmanager_takes_the_example() -> None:
    config = "alertmanager/alertmanager.yml"
    done = _tool("amtool", "check-config", config)
    assert done.returncode == 0, done.stdout + done.stderr
    for severity, receiver in (("page", "pager"), ("ticket", "tickets")):
        labels = (f"severity={severity}", "alertname=RankwireDown")
        routed = _tool("amtool", "config", "routes", "test", f"--config.file={config}", *labels)
        assert routed.stdout.strip() == receiver


def test_what_silences_and_is_silenced_are_alerts() -> None:
    text = (OBSERVED / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8")
    names = {rule["alert"] for rule in rules("alert")}
    for inhibit in yaml.safe_load(text)["inhibit_rules"]:
        for matcher in (*inhibit["source_matchers"], *inhibit["target_matchers"]):
            found = re.fullmatch(r'alertname(=~|!=|=)"(.*)"', matcher)
            assert found is not None
            for pattern in _alternatives(found[2]):
                assert any(re.fullmatch(pattern, name) for name in names), pattern


def _alternatives(pattern: str) -> list[str]:
    """Take a pattern apart, so that each of its names is looked for."""
    if (inner := re.fullmatch(r"(\w+)\((.*)\)", pattern)) is not None:
        return [inner[1] + each for each in inner[2].split("|")]
    return pattern.split("|")
