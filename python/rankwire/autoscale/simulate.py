"""An autoscaler on a trace of load, turn by turn, as the controller of Kubernetes would go.

Promises: the decisions are those of `controller`, which is what the real one is compared with; the
rest is a model, and says so: pods take `start_seconds` until they are ready, the load is shared
evenly by those that are ready, and metrics are as fresh as the turn. Time is simulated: nothing
waits, nothing is started. Pure.

Even sharing is what averages are made of, so replicas do not depend on it. A single pod may have
more: connections stay where they are until `live.connection_seconds` moves them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from rankwire.autoscale.controller import (
    SYNC_SECONDS,
    Autoscaler,
    Clock,
    Controller,
    Decision,
    Metric,
    Pod,
    Reading,
    Value,
)
from rankwire.autoscale.trace import Trace

MOST_TURNS: Final = 1_000_000
_HOUR: Final = 3600.0


class SimulateError(Exception):
    """A simulation cannot be run; the text says why."""


class Model(msgspec.Struct, frozen=True):
    """How pods behave."""

    start_seconds: float = 30.0
    """From the decision until a pod is ready."""
    requests: Mapping[str, int] = {}
    """Of each pod, in thousandths, by resource."""
    sync_seconds: float = SYNC_SECONDS
    first: int | None = None
    """Replicas at the beginning; None for `minReplicas`."""


class Change(msgspec.Struct, frozen=True):
    """A change of the number of replicas."""

    seconds: float
    before: int
    after: int
    reason: str
    limit: str
    """What kept it from going further: `stabilisation`, `rate`, `minReplicas`, `maxReplicas`, or
    nothing."""


class Strain(msgspec.Struct, frozen=True):
    """How one metric was carried."""

    metric: str
    seconds_over: float
    """Time for which an average pod had more than the target allows with its tolerance."""
    longest_over: float
    """The longest of these times at a stretch: the time to capacity."""
    worst: float
    """Most that an average pod had, as a multiple of the target."""


class Simulation(msgspec.Struct, frozen=True):
    """What an autoscaler did."""

    autoscaler: str
    seconds: float
    start: int
    changes: list[Change]
    strains: list[Strain]
    left_out: list[str]
    """Metrics of the autoscaler that the trace says nothing about."""
    most: int
    last: int
    replica_hours: float


def simulate(autoscaler: Autoscaler, trace: Trace, model: Model) -> Simulation:
    """Run an autoscaler through a trace. Raises SimulateError."""
    known = tuple(metric for metric in autoscaler.metrics if metric.name in trace.loads)
    left_out = [metric.name for metric in autoscaler.metrics if metric not in known]
    if not known:
        names = ", ".join(metric.name for metric in autoscaler.metrics)
        raise SimulateError(f"the trace has no column for any of its metrics: {names}")
    for metric in known:
        if metric.kind == "resource_utilization" and not model.requests.get(metric.name):
            raise SimulateError(f"{metric.name} is a share of what pods request: say how much")
    if (trace.end - trace.times[0]) / model.sync_seconds > MOST_TURNS:
        raise SimulateError(f"that takes more than {MOST_TURNS:,} turns")
    run = _Run(msgspec.structs.replace(autoscaler, metrics=known), model, trace.times[0])
    now = trace.times[0]
    while now <= trace.end:
        # The last turn lasts only as long as the trace still does.
        run.turn(now, trace.at(now), min(model.sync_seconds, trace.end - now))
        now += model.sync_seconds
    return run.result(left_out, trace.end - trace.times[0])


class _Run:
    """The state between turns."""

    def __init__(self, autoscaler: Autoscaler, model: Model, begin: float) -> None:
        self._autoscaler = autoscaler
        self._model = model
        self._controller = Controller(autoscaler)
        self._begin = begin
        self._start = model.first or autoscaler.bounds.least
        # When each pod is ready; those of the beginning have been for long.
        self._ready_at = [begin - _HOUR] * self._start
        self._changes: list[Change] = []
        self._strains = {metric.name: _Strain(metric) for metric in autoscaler.metrics}
        self._replica_seconds = 0.0
        self._most = self._start

    def turn(self, now: float, loads: Mapping[str, int], seconds: float) -> None:
        ready = sum(at <= now for at in self._ready_at)
        shares = {metric: load // max(1, ready) for metric, load in loads.items()}
        pods = [self._pod(number, at, now) for number, at in enumerate(self._ready_at)]
        metrics = self._autoscaler.metrics
        readings = [_reading(metric, pods, shares[metric.name], loads, now) for metric in metrics]
        for metric in metrics:
            request = self._model.requests.get(metric.name, 0)
            strain = self._strains[metric.name]
            allowed = 1 + self._autoscaler.tolerances.up
            strain.note(_share(metric, shares, loads, len(pods), request), allowed, seconds)
        self._replica_seconds += len(pods) * seconds
        decision = self._controller.sync(Clock(now), len(pods), pods, readings)
        self._apply(now, decision)

    def result(self, left_out: list[str], seconds: float) -> Simulation:
        return Simulation(
            self._autoscaler.name,
            seconds,
            self._start,
            self._changes,
            [strain.result() for strain in self._strains.values()],
            left_out,
            self._most,
            len(self._ready_at),
            self._replica_seconds / _HOUR,
        )

    def _pod(self, number: int, ready_at: float, now: float) -> Pod:
        is_ready = ready_at <= now
        return Pod(
            f"pod-{number}",
            "Running" if is_ready else "Pending",
            ready=is_ready,
            started=ready_at - self._model.start_seconds,
            changed=ready_at,
            requests=self._model.requests,
        )

    def _apply(self, now: float, decision: Decision) -> None:
        before, after = len(self._ready_at), decision.replicas
        if after == before:
            return
        limit = decision.outcome.limit if decision.outcome else ""
        reason = decision.reason
        self._changes.append(Change(now - self._begin, before, after, reason, limit))
        if after > before:
            self._ready_at += [now + self._model.start_seconds] * (after - before)
        else:
            # Kubernetes takes away pods that are not ready first, then the youngest.
            self._ready_at = sorted(self._ready_at)[:after]
        self._most = max(self._most, after)


class _Strain:
    """Sums up how one metric is carried."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._over = self._stretch = self._longest = self._worst = 0.0

    def note(self, ratio: float, allowed: float, seconds: float) -> None:
        self._worst = max(self._worst, ratio)
        self._stretch = self._stretch + seconds if ratio > allowed else 0.0
        self._over += seconds if ratio > allowed else 0.0
        self._longest = max(self._longest, self._stretch)

    def result(self) -> Strain:
        return Strain(self._metric.name, self._over, self._longest, self._worst)


def _reading(
    metric: Metric, pods: Sequence[Pod], share: int, loads: Mapping[str, int], now: float
) -> Reading:
    if metric.kind.startswith(("object", "external")):
        return loads[metric.name]
    return {pod.name: Value(share, now) for pod in pods if pod.phase == "Running"}


def _share(
    metric: Metric, shares: Mapping[str, int], loads: Mapping[str, int], pods: int, request: int
) -> float:
    """Say what an average pod has, as a multiple of the target."""
    if metric.kind == "resource_utilization":
        return 100 * shares[metric.name] / request / metric.target
    if metric.kind in {"object_average", "external_average"}:
        return loads[metric.name] / pods / metric.target
    if metric.kind in {"object_value", "external_value"}:
        return loads[metric.name] / metric.target
    return shares[metric.name] / metric.target
