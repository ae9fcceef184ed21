"""Replicas as the real autoscaling controller's code counts them (golden/replicas.json).

How the cases were made: tests/kubernetes/oracle/replicas.sh. `REPLICA_CASES` names another file of
such cases, for a run over many more.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

import pytest

from rankwire.autoscale.behavior import (
    DEFAULT_DOWN,
    DEFAULT_UP,
    Behavior,
    Bounds,
    History,
    Policy,
    Rules,
    follow,
)
from rankwire.autoscale.controller import (
    Autoscaler,
    Clock,
    Controller,
    Metric,
    MetricError,
    Pod,
    Reading,
    Tolerances,
    Value,
    combine,
    propose,
)

_FILE: Final = Path(__file__).parent / "golden" / "replicas.json"
_CASES: Final = json.loads(Path(os.environ.get("REPLICA_CASES", _FILE)).read_text())
_NOW: Final = 100_000.0
_SYNC_SECONDS: Final = 15.0
Case = dict[str, Any]


def _rules(given: Case | None, default: Rules) -> Rules:
    if given is None:
        return default
    policies = tuple(Policy(kind, value, period) for kind, value, period in given["policies"])
    return Rules(given.get("window", default.window), policies, given["select"])


def _pod(index: int, given: Case, resource: str) -> tuple[Pod, Value | None]:
    name = f"hub-{index}"
    started = given.get("started", 600)
    pod = Pod(
        name,
        given.get("phase", "Running"),
        given.get("deleting", False),
        given.get("ready", True),
        None if started is None else _NOW - started,
        _NOW - given.get("changed", 500),
        {resource: given.get("request", 1000)},
    )
    if "value" not in given:
        return pod, None
    at = _NOW - given.get("sampled", 10)
    return pod, Value(given["value"], at, given.get("window", 30))


def _propose(case: Case) -> tuple[int, int] | None:
    resource = case.get("resource", "")
    pairs = [_pod(index, pod, resource) for index, pod in enumerate(case["pods"])]
    pods = [pod for pod, _ in pairs]
    reading: Reading
    if case["kind"].startswith(("object", "external")):
        reading = case.get("total", MetricError("no metric"))
    else:
        values = {pod.name: value for pod, value in pairs if value is not None}
        reading = values or MetricError("no metric")
    metric = Metric(case["kind"], resource or "metric", case["target"])
    tolerances = Tolerances(case["up"], case["down"])
    try:
        return propose(metric, case["current"], (pods, reading), tolerances, Clock(_NOW))
    except MetricError:
        return None


@pytest.mark.parametrize("kind", sorted({case["kind"] for case in _CASES["metrics"]}))
def test_one_metric_wants_what_the_real_calculator_wants(kind: str) -> None:
    for case in (case for case in _CASES["metrics"] if case["kind"] == kind):
        expected = None if case["replicas"] is None else (case["replicas"], case["usage"])
        assert _propose(case) == expected, case


def test_several_metrics_combine_as_in_the_real_controller() -> None:
    for case in _CASES["combined"]:
        assert combine(case["current"], case["proposals"]) == case["replicas"], case


def test_windows_and_rates_hold_back_as_in_the_real_controller() -> None:
    for case in _CASES["normalized"]:
        history = History()
        history.wishes = [(_NOW - age, count) for age, count in case["recommendations"]]
        history.ups = [(_NOW - age, change) for age, change in case["ups"]]
        history.downs = [(_NOW - age, change) for age, change in case["downs"]]
        behavior = Behavior(_rules(case["up"], DEFAULT_UP), _rules(case["down"], DEFAULT_DOWN))
        counts, bounds = (case["current"], case["desired"]), Bounds(case["min"], case["max"])
        outcome = follow(history, _NOW, counts, bounds, behavior)
        expected = (case["stabilized"], case["replicas"])
        assert (outcome.stabilized, outcome.replicas) == expected, case


@pytest.mark.parametrize("index", range(len(_CASES["traces"])))
def test_a_long_trace_goes_as_through_the_real_controller(index: int) -> None:
    case = _CASES["traces"][index]
    behavior = None
    if "up" in case or "down" in case:
        up, down = _rules(case.get("up"), DEFAULT_UP), _rules(case.get("down"), DEFAULT_DOWN)
        behavior = Behavior(up, down)
    controller = Controller(
        Autoscaler(
            "hub",
            Bounds(case["min"], case["max"]),
            (Metric("pods", "websocket_connections_per_pod", case["target"]),),
            behavior,
            Tolerances(case["tolerance_up"], case["tolerance_down"]),
        )
    )
    replicas, gone = case["start"], []
    for turn, load in enumerate(case["loads"]):
        pods = [Pod(f"hub-{number}") for number in range(replicas)]
        values = {pod.name: Value(load // replicas) for pod in pods}
        clock = Clock(_NOW + turn * _SYNC_SECONDS)
        replicas = controller.sync(clock, replicas, pods, [values]).replicas
        gone.append(replicas)
    assert gone == case["replicas"]
