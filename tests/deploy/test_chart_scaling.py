"""What nodes are scaled by: the hub's target follows from measurements, and queries are queries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from fix_helm import ROOT, Object, named, of_kind, rendered
from rankwire.autoscale.target import SPARE_FILES, Pod, derive
from rankwire.ops.capacity.units import Units

_ADAPTER: Final = ROOT / "deploy" / "helm" / "prometheus-adapter.values.yaml"
_GAUGES: Final = {
    "websocket_connections_per_pod": "sum",
    "score_updates_per_second": "sum",
    "database_pool_utilization": "max",
    "cache_hit_rate": "min",
}
"""What nodes export, and what several series of a pod make together."""
_GIB: Final = 1024**3


def _hub(objects: list[Object]) -> tuple[Object, Object]:
    """Give the hub's autoscaler and its container."""
    deployment = named(objects, "Deployment", "rankwire-hub")
    scaler = named(objects, "HorizontalPodAutoscaler", "rankwire-hub")
    return scaler["spec"], deployment["spec"]["template"]["spec"]["containers"][0]


def test_the_target_of_a_hub_follows_from_its_memory_and_files() -> None:
    scaler, container = _hub(rendered({}))
    memory = float(container["resources"]["limits"]["memory"].removesuffix("Gi")) * _GIB
    variables = {one["name"]: one.get("value") for one in container["env"]}
    files = int(variables["RANKWIRE_LIVE_MAX_CONNECTIONS"]) + SPARE_FILES
    (metric,) = scaler["metrics"]
    assert metric["pods"]["metric"]["name"] == "websocket_connections_per_pod"
    target = int(metric["pods"]["target"]["averageValue"])
    assert target == derive(Pod(memory, files), Units.load()).connections
    assert files == 65_536


def test_hubs_can_take_three_quarters_of_a_million_watchers() -> None:
    scaler, _ = _hub(rendered({}))
    target = int(scaler["metrics"][0]["pods"]["target"]["averageValue"])
    assert scaler["maxReplicas"] * target >= 750_000


def _triggers(objects: list[Object], name: str) -> list[Object]:
    found: list[Object] = named(objects, "ScaledObject", name)["spec"]["triggers"]
    return found


def test_keda_asks_for_the_same_as_the_autoscalers() -> None:
    values = {"hub": {"autoscaling": {"scoreUpdates": 9000}}}
    scalers = of_kind(rendered(values), "HorizontalPodAutoscaler")
    objects = rendered(values | {"metricsSource": "keda"})
    assert not of_kind(objects, "HorizontalPodAutoscaler")
    for scaler in scalers:
        name = scaler["metadata"]["name"]
        spec = named(objects, "ScaledObject", name)["spec"]
        assert spec["minReplicaCount"] == scaler["spec"]["minReplicas"]
        assert spec["maxReplicaCount"] == scaler["spec"]["maxReplicas"]
        config = spec["advanced"]["horizontalPodAutoscalerConfig"]
        assert config == {"name": name, "behavior": scaler["spec"]["behavior"]}
        wanted = {_of_metric(metric) for metric in scaler["spec"]["metrics"]}
        assert {_of_trigger(trigger) for trigger in spec["triggers"]} == wanted


def _of_metric(metric: Object) -> tuple[str, str]:
    if metric["type"] == "Resource":
        return metric["resource"]["name"], str(metric["resource"]["target"]["averageUtilization"])
    return metric["pods"]["metric"]["name"], metric["pods"]["target"]["averageValue"]


def _of_trigger(trigger: Object) -> tuple[str, str]:
    if trigger["type"] in ("cpu", "memory"):
        return trigger["type"], trigger["metadata"]["value"]
    # The sum over pods: KEDA's autoscaler divides it by their number.
    found = re.match(r"sum\(last_over_time\((\w+)\{", trigger["metadata"]["query"])
    assert found
    assert trigger["metricType"] == "AverageValue"
    return found.group(1), trigger["metadata"]["threshold"]


def test_keda_takes_no_answer_for_an_error_and_then_keeps_what_there_is() -> None:
    objects = rendered({"metricsSource": "keda"})
    for name in ("rankwire-api", "rankwire-hub"):
        asked = [one for one in _triggers(objects, name) if one["type"] == "prometheus"]
        assert asked
        assert {one["metadata"]["ignoreNullValues"] for one in asked} == {"false"}
        fallback = named(objects, "ScaledObject", name)["spec"]["fallback"]
        assert fallback["behavior"] == "currentReplicasIfHigher"


def _adapter_rules() -> list[Object]:
    values = yaml.safe_load(_ADAPTER.read_text(encoding="utf-8"))
    assert values["rules"]["default"] is False
    rules: list[Object] = values["rules"]["custom"]
    return rules


def _adapter_queries() -> dict[str, str]:
    """Fill the adapter's templates in, as it does for the pods of a Deployment."""
    queries = {}
    for rule in _adapter_rules():
        assert rule.keys() == {"seriesQuery", "resources", "metricsQuery"}
        named_pods = {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}
        assert rule["resources"] == {"overrides": named_pods}
        assert 'namespace!="",pod!=""' in rule["seriesQuery"]
        for metric in _GAUGES:
            if metric in rule["seriesQuery"]:
                filled = rule["metricsQuery"].replace("<<.Series>>", metric)
                filled = filled.replace("<<.LabelMatchers>>", 'namespace="game",pod=~"a|b"')
                queries[metric] = filled.replace("<<.GroupBy>>", "pod")
    return queries


def test_the_adapter_gives_what_the_metrics_server_gives() -> None:
    queries = _adapter_queries()
    assert {name: query.partition("(")[0] for name, query in queries.items()} == _GAUGES
    assert all("<<" not in query for query in queries.values())


def _expressions() -> list[str]:
    values: dict[str, Any] = {"metricsSource": "keda", "hub": {"autoscaling": {"scoreUpdates": 9}}}
    objects = rendered(values) + rendered(values | {"tiers": "single"})
    keda = [
        trigger["metadata"]["query"]
        for found in of_kind(objects, "ScaledObject")
        for trigger in found["spec"]["triggers"]
        if trigger["type"] == "prometheus"
    ]
    return [*keda, *_adapter_queries().values()]


def _promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    promtool = shutil.which("promtool")
    if promtool is None:
        reason = "promtool is not there: queries are NOT tested"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)


def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": expression}
        for number, expression in enumerate(_expressions())
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = _promtool("check", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_keda_looks_at_the_pods_of_one_deployment_of_one_namespace() -> None:
    for name in ("api", "hub"):
        for trigger in _triggers(rendered({"metricsSource": "keda"}), f"rankwire-{name}"):
            if trigger["type"] == "prometheus":
                query = trigger["metadata"]["query"]
                (pattern,) = set(re.findall('{namespace="game",pod=~"([^"]+)"}', query))
                assert query.count("{namespace=") == 2
                assert re.fullmatch(pattern, f"rankwire-{name}-7c9f4d5b8-x2k4q")
                # Of a release whose name goes on where this one's ends.
                assert not re.fullmatch(pattern, f"rankwire-{name}-hub-7c9f4d5b8-x2k4q")


def test_keda_counts_pods_that_are_there_and_cannot_be_scraped(tmp_path: Path) -> None:
    objects = rendered({"metricsSource": "keda"})
    (trigger,) = _triggers(objects, "rankwire-hub")
    query = trigger["metadata"]["query"]
    pods = {
        name: f'{{namespace="game",pod="rankwire-hub-7c9f4d5b8-{name * 5}"}}' for name in "abcd"
    }
    figure = "websocket_connections_per_pod"
    series = {
        f"{figure}{pods['a']}": "45000x200",
        f"up{pods['a']}": "1x200",
        # Lives, but cannot be scraped.
        f"{figure}{pods['b']}": "45000x10 stale _x200",
        f"up{pods['b']}": "1x10 0x200",
        # Is gone.
        f"{figure}{pods['c']}": "45000x10 stale _x200",
        f"up{pods['c']}": "1x10 stale _x200",
        # Is coming.
        f"up{pods['d']}": "_x10 0x200",
    }
    totals = {"5m": 135_000, "20m": 90_000, "90m": 45_000}
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": text} for name, text in series.items()],
        "promql_expr_test": [
            {"expr": query, "eval_time": time, "exp_samples": [{"labels": "{}", "value": total}]}
            for time, total in totals.items()
        ],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [test]}))
    done = _promtool("test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
