"""What the chart gives Prometheus and Grafana is what lies in deploy/observability."""

from __future__ import annotations

import json
from typing import Final

import pytest
import yaml

from fix_helm import ROOT, SWITCHES, Object, named, of_kind, rendered

_PLACE: Final = ROOT / "deploy" / "observability"


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    """Render the chart with all that is for monitoring."""
    return rendered(SWITCHES["monitoring"]["on"])


def test_rules_are_those_of_the_files(objects: list[Object]) -> None:
    files = {
        f"rankwire-{path.stem}": yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in (_PLACE / "rules").glob("*.yml")
    }
    assert files
    found = {one["metadata"]["name"]: one for one in of_kind(objects, "PrometheusRule")}
    assert {name: one["spec"] for name, one in found.items()} == files
    assert all(one["metadata"]["labels"]["release"] == "prometheus" for one in found.values())


def test_dashboards_are_those_of_the_files_and_fit_into_a_config_map(objects: list[Object]) -> None:
    files = {path.name: path for path in (_PLACE / "dashboards").glob("*.json")}
    assert files
    found = {
        name: text
        for one in of_kind(objects, "ConfigMap")
        if one["metadata"]["labels"].get("grafana_dashboard") == "1"
        for name, text in one["data"].items()
    }
    assert found.keys() == files.keys()
    for name, text in found.items():
        assert json.loads(text) == json.loads(files[name].read_text(encoding="utf-8"))
        assert len(text) < 1_000_000


def test_prometheus_finds_all_nodes_and_calls_them_rankwire(objects: list[Object]) -> None:
    spec = named(objects, "ServiceMonitor", "rankwire")["spec"]
    wanted = spec["selector"]["matchLabels"].items()
    (service,) = [
        one for one in of_kind(objects, "Service") if wanted <= one["metadata"]["labels"].items()
    ]
    assert service["metadata"]["name"] == "rankwire-nodes"
    # The value of that label becomes the label job, which rules look for.
    assert service["metadata"]["labels"][spec["jobLabel"]] == "rankwire"
    (endpoint,) = spec["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["path"] == "/metrics"
    assert endpoint["authorization"]["credentials"]["name"] == "rankwire-operator"
    # One that does not answer is a figure, too.
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["clusterIP"] == "None"
