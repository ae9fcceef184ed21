"""What is said about autoscalers before they run, and which target of connections is derived."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from rankwire.autoscale.behavior import Behavior, Bounds, Rules
from rankwire.autoscale.behavior import Policy as Rate
from rankwire.autoscale.controller import Autoscaler, Metric
from rankwire.autoscale.lint import Facts, lint
from rankwire.autoscale.manifest import ManifestError, load_all
from rankwire.autoscale.target import Pod, TargetError, derive
from rankwire.cli import main
from rankwire.ops.capacity.units import Units

_MANIFESTS: Final = Path(__file__).parents[2] / "deploy" / "kubernetes"
_CONNECTIONS: Final = Metric("pods", "websocket_connections_per_pod", 1_000_000)
_RATES: Final = (Rate("Percent", 100, 15),)
_GIB: Final = 1024**3


def _autoscaler(
    *metrics: Metric, least: int = 3, most: int = 50, behavior: Behavior | None = None
) -> Autoscaler:
    return Autoscaler("hub", Bounds(least, most), metrics or (_CONNECTIONS,), behavior)


def _rules(autoscaler: Autoscaler, facts: Facts | None = None) -> list[tuple[str, str]]:
    return [(one.rule, one.severity) for one in lint(autoscaler, facts or Facts())]


@pytest.mark.parametrize(
    ("autoscaler", "facts", "expected"),
    [
        (_autoscaler(), Facts(), []),
        (_autoscaler(Metric("pods", "connections", 1)), Facts(), [("unknown-metric", "error")]),
        (_autoscaler(Metric("resource_value", "gpu", 1)), Facts(), []),
        (_autoscaler(Metric("external_average", "queue", 1)), Facts(), []),
        (_autoscaler(Metric("external_value", "score_updates_per_second", 1)), Facts(), []),
        (
            _autoscaler(Metric("external_value", "database_pool_utilization", 1), most=10),
            Facts(database_connections=150),
            [("no-total", "error"), ("pool-target", "warning")],
        ),
        (_autoscaler(Metric("pods", "cache_hit_rate", 800)), Facts(), [("hit-rate", "error")]),
        (
            _autoscaler(Metric("pods", "database_pool_utilization", 800)),
            Facts(),
            [("pool-unguarded", "error")],
        ),
        (
            _autoscaler(Metric("pods", "database_pool_utilization", 800), most=10),
            Facts(database_connections=150),
            [("pool-target", "warning")],
        ),
        (
            _autoscaler(Metric("pods", "database_pool_utilization", 800), most=10),
            Facts(database_connections=149),
            [("database-connections", "error")],
        ),
        (_autoscaler(most=10), Facts(pool_size=20, beside_pool=13, database_connections=330), []),
        (
            _autoscaler(most=10),
            Facts(pool_size=20, beside_pool=13, database_connections=329),
            [("database-connections", "error")],
        ),
        (_autoscaler(), Facts(derived=1000), []),
        (_autoscaler(), Facts(derived=999), [("target-too-high", "error")]),
        (_autoscaler(), Facts(connections=50_000), []),
        (_autoscaler(), Facts(connections=50_001), [("out-of-reach", "error")]),
        (_autoscaler(least=3, most=3), Facts(), [("no-room", "warning")]),
        (_autoscaler(least=1), Facts(), [("single-pod", "warning")]),
        (
            _autoscaler(Metric("resource_utilization", "memory", 80)),
            Facts(),
            [("memory", "warning")],
        ),
        (
            _autoscaler(behavior=Behavior(up=Rules(0, _RATES, "Disabled"))),
            Facts(),
            [("never-grows", "error")],
        ),
        (
            _autoscaler(behavior=Behavior(down=Rules(0, _RATES, "Disabled"))),
            Facts(),
            [("never-falls", "warning")],
        ),
        (_autoscaler(behavior=Behavior(down=Rules(60, _RATES))), Facts(), []),
        (_autoscaler(behavior=Behavior(down=Rules(59, _RATES))), Facts(), [("flaps", "warning")]),
        (
            _autoscaler(Metric("pods", "cache_hit_rate", 1), least=1),
            Facts(),
            [("hit-rate", "error"), ("single-pod", "warning")],
        ),
    ],
    ids=str,
)
def test_each_rule_says_what_it_is_for(
    autoscaler: Autoscaler, facts: Facts, expected: list[tuple[str, str]]
) -> None:
    assert _rules(autoscaler, facts) == expected


def test_what_is_to_be_done_is_said_in_numbers() -> None:
    facts = Facts(database_connections=400, connections=75_000)
    texts = [finding.text for finding in lint(_autoscaler(), facts)]
    assert any(
        "50 pods take 750 connections" in text and "maxReplicas to 26" in text for text in texts
    )
    assert any("raise maxReplicas to 75" in text for text in texts)


def test_the_shipped_autoscalers_have_no_errors() -> None:
    units = Units.load()
    for name in ("hpa-api.yaml", "hpa-hub.yaml"):
        for autoscaler in load_all(_MANIFESTS / name):
            derived = derive(Pod(2 * _GIB, 65_536), units).connections
            found = lint(autoscaler, Facts(derived=derived))
            assert [one.rule for one in found if one.severity == "error"] == []


def test_the_command_ends_with_1_for_errors_only(tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["ops", "hpa", "lint", *arguments])
        return result.exit_code, result.output

    hub, api = str(_MANIFESTS / "hpa-hub.yaml"), str(_MANIFESTS / "hpa-api.yaml")
    arguments = ("--manifest", hub, "--memory", "2Gi", "--connections", "750000")
    assert run(*arguments) == (0, "rankwire-hub: nothing is wrong.\n")
    code, out = run("--manifest", api)
    assert (code, "rankwire-api: warning (memory): " in out) == (0, True)
    code, out = run("--manifest", api, "--database-connections", "800", "--regions", "--json")
    assert code == 1
    # 50 times (8 + 13).
    assert "1,050" in json.loads(out)["rankwire-api"][0]["text"]
    code, out = run("--manifest", hub, "--memory", "64Mi")
    assert (code, "nobody fits: memory" in out) == (1, True)
    other = tmp_path / "other.yaml"
    other.write_text("kind: Deployment\n")
    assert run("--manifest", str(other))[0] == 1


# The target.


def test_the_target_is_a_share_of_the_least_that_fits() -> None:
    units = Units.load()
    assert derive(Pod(2 * _GIB, 65_536), units).connections == int(0.7 * 64_536)
    small = derive(Pod(0.5 * _GIB, 1_000_000), units)
    each = units["memory_connection"] + units["memory_connection_kernel"]
    fits = (0.4 * _GIB - units["memory_process"]) / each
    assert (small.bound_by, small.connections) == ("memory", int(0.7 * fits))
    boards = derive(Pod(0.5 * _GIB, 1_000_000, members=1_000_000), units)
    lost = 1_000_000 * units["memory_member"] / each
    assert boards.limits["memory"] == pytest.approx(fits - lost)
    busy = derive(Pod(2 * _GIB, 65_536, cores=0.5, deliveries=10), units)
    each = units["cpu_evaluation"] + units["cpu_delivery"]
    served = 5e5 / (units["cpu_idle_connection"] + 10 * each)
    assert busy.bound_by == "processors"
    assert busy.limits["processors"] == pytest.approx(served)
    looking = derive(Pod(2 * _GIB, 65_536, cores=0.5, deliveries=1, evaluations=20), units)
    each = 20 * units["cpu_evaluation"] + units["cpu_delivery"]
    assert looking.limits["processors"] == pytest.approx(
        5e5 / (units["cpu_idle_connection"] + each)
    )
    set_to = derive(Pod(2 * _GIB, 65_536, max_connections=19_000), units)
    assert (set_to.bound_by, set_to.connections) == ("settings", 13_300)
    with pytest.raises(TargetError, match="memory allow 0"):
        derive(Pod(64 * 1024**2, 65_536), units)


@given(st.integers(200 * 1024**2, 64 * _GIB), st.integers(2000, 10**6), st.integers(0, 10**6))
def test_more_of_anything_never_lowers_the_target(memory: int, files: int, more: int) -> None:
    units = Units.load()
    least = derive(Pod(memory, files), units).connections
    assert derive(Pod(memory + more, files), units).connections >= least
    assert derive(Pod(memory, files + more), units).connections >= least


def test_the_command_shows_where_the_target_is_from() -> None:
    run = CliRunner().invoke(main, ["ops", "hpa", "target", "--memory", "2Gi"])
    assert run.exit_code == 0
    assert run.output.startswith("averageValue: 45175\n")
    assert "files: 64,536 connections fit, which decides" in run.output
    assert "the kernel's memory for it" in run.output
    run = CliRunner().invoke(main, ["ops", "hpa", "target", "--memory", "2Gi", "--json"])
    assert json.loads(run.output)["bound_by"] == "files"
    few = ("--max-connections", "19000", "--cores", "1", "--deliveries", "1", "--evaluations", "2")
    run = CliRunner().invoke(main, ["ops", "hpa", "target", "--memory", "2Gi", *few])
    assert run.output.startswith("averageValue: 13300\n")
    assert "a look whether a view has changed" in run.output


# Manifests.

_GOOD: Final = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: a}
spec:
  scaleTargetRef: {kind: Deployment, name: a}
  maxReplicas: 5
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "is no YAML"),
        ("kind: Deployment", "has no HorizontalPodAutoscaler"),
        ("kind: List\nitems: 5", "has no HorizontalPodAutoscaler"),
        (_GOOD.replace("autoscaling/v2", "autoscaling/v1"), "has to be of autoscaling/v2"),
        (_GOOD.replace("maxReplicas", "maxReplica"), "maxReplica"),
        (_GOOD + "  minReplicas: 6\n", "maxReplicas is below minReplicas"),
        (_GOOD + "  minReplicas: 0\n", "minReplicas"),
        (
            _GOOD + "  metrics: [{type: Pods, pods: {metric: {name: x}, target: "
            "{type: AverageValue, averageValue: ten}}}]\n",
            "spec.metrics",
        ),
        (
            _GOOD + "  metrics: [{type: Pods, resource: {name: cpu, target: "
            "{type: Utilization, averageUtilization: 70}}}]\n",
            "of type Pods, it has to describe just that",
        ),
        (
            _GOOD
            + "  behavior: {scaleUp: {policies: [{type: Pods, value: 1, periodSeconds: 0}]}}\n",
            "periodSeconds",
        ),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "hpa.yaml"
    file.write_text(text)
    with pytest.raises(ManifestError, match=words):
        load_all(file)


def test_what_a_manifest_leaves_out_is_as_the_api_server_writes_it(tmp_path: Path) -> None:
    file = tmp_path / "hpa.yaml"
    file.write_text(_GOOD + "  behavior: {scaleDown: {stabilizationWindowSeconds: 30}}\n")
    (autoscaler,) = load_all(file)
    assert autoscaler.bounds == Bounds(1, 5)
    assert autoscaler.metrics == (Metric("resource_utilization", "cpu", 80),)
    rules = autoscaler.behavior
    assert rules is not None
    assert rules.up == Rules(0, (Rate("Pods", 4, 15), Rate("Percent", 100, 15)))
    assert rules.down == Rules(30, (Rate("Percent", 100, 15),))


def test_what_is_null_counts_as_left_out(tmp_path: Path) -> None:
    file = tmp_path / "hpa.yaml"
    nulls = "behavior: {scaleUp: null, scaleDown: {selectPolicy: null, policies: null}}"
    file.write_text(_GOOD + f"  minReplicas: null\n  metrics: null\n  {nulls}\n")
    (autoscaler,) = load_all(file)
    assert autoscaler.bounds == Bounds(1, 5)
    assert autoscaler.metrics == (Metric("resource_utilization", "cpu", 80),)
    assert autoscaler.behavior == Behavior()


def test_a_tolerance_of_nothing_is_one(tmp_path: Path) -> None:
    file = tmp_path / "hpa.yaml"
    file.write_text(
        _GOOD + '  behavior: {scaleUp: {tolerance: "0"}, scaleDown: {tolerance: 50m}}\n'
    )
    (autoscaler,) = load_all(file)
    assert (autoscaler.tolerances.up, autoscaler.tolerances.down) == (0, 0.05)
    file.write_text(_GOOD + '  behavior: {scaleUp: {tolerance: "-1n"}}\n')
    with pytest.raises(ManifestError, match=r"scaleUp\.tolerance has to be 0 or more"):
        load_all(file)
