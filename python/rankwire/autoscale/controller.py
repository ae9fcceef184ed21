"""The HPA controller's arithmetic: from the metrics of pods to a number of replicas.

Promises what the controller of Kubernetes 1.37 decides for the same pods, values and times:
integers of thousandths, binary fractions for ratios, pods without a value counted against the
change, the largest of several metrics, no fall while a metric is missing. `Controller.sync` is one
turn of its loop. Pure: asks no API, reads no clock, starts nothing.

Not here: scaling to and from zero, and counts beyond 32 bits.
Source of the rules: Kubernetes, `pkg/controller/podautoscaler/replica_calculator.go`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from rankwire.autoscale.behavior import Behavior, Bounds, History, Outcome, follow

SYNC_SECONDS: Final = 15
"""Between two turns of the controller, by default."""
TOLERANCE: Final = 0.1
"""A ratio that is no further from one changes nothing, by default."""
INITIALIZATION_SECONDS: Final = 300
READINESS_DELAY_SECONDS: Final = 30
"""How long after its start a pod's use of processors may be that of starting, by default."""

Kind = Literal[
    "pods",
    "resource_value",
    "resource_utilization",
    "object_value",
    "object_average",
    "external_value",
    "external_average",
]
Phase = Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]


class Metric(msgspec.Struct, frozen=True):
    """One entry of `spec.metrics`."""

    kind: Kind
    name: str
    """Of the metric; of the resource where it is one."""
    target: int
    """Thousandths; whole percent for `resource_utilization`."""

    @property
    def is_cpu(self) -> bool:
        """Whether values from the time of starting are not believed."""
        return self.kind.startswith("resource") and self.name == "cpu"


class Value(msgspec.Struct, frozen=True):
    """What was measured of one pod."""

    milli: int
    at: float = 0.0
    window: float = 60.0
    """Seconds over which it was measured, up to `at`. Both matter for `cpu` only."""


class Pod(msgspec.Struct, frozen=True):
    """What the controller knows of a pod."""

    name: str
    phase: Phase = "Running"
    deleting: bool = False
    ready: bool | None = True
    """Condition Ready; None when there is none."""
    started: float | None = 0.0
    changed: float = 0.0
    """When the condition last changed."""
    requests: Mapping[str, int] = {}
    """Thousandths of each resource."""


class Tolerances(msgspec.Struct, frozen=True):
    """How far a ratio may be from one, upwards and downwards."""

    up: float = TOLERANCE
    down: float = TOLERANCE

    def allow(self, ratio: float) -> bool:
        """Tell whether a ratio changes nothing."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


class Autoscaler(msgspec.Struct, frozen=True):
    """A HorizontalPodAutoscaler, as far as it decides."""

    name: str
    bounds: Bounds
    metrics: tuple[Metric, ...]
    behavior: Behavior | None = None
    tolerances: Tolerances = Tolerances()


class Clock(msgspec.Struct, frozen=True):
    """The time, and how long a start is thought to take."""

    now: float
    initialization: float = INITIALIZATION_SECONDS
    readiness_delay: float = READINESS_DELAY_SECONDS


class MetricError(Exception):
    """A metric says nothing that replicas could be counted from; the text says why."""


class Proposal(msgspec.Struct, frozen=True):
    """What one metric wants."""

    metric: str
    replicas: int | None
    """None when it says nothing."""
    usage: int | None = None
    """Thousandths of a pod or in all, or percent, as the target is given."""
    error: str = ""


Reading = Mapping[str, Value] | int | MetricError
"""Values by pod, a total in thousandths, or why there is neither."""


class Decision(msgspec.Struct, frozen=True):
    """One turn of the loop."""

    replicas: int
    """How many there are to be."""
    proposals: tuple[Proposal, ...] = ()
    outcome: Outcome | None = None
    """None when no metric was followed: outside the bounds, or not to be known."""
    reason: str = ""


class Controller:
    """The loop of one HorizontalPodAutoscaler; whoever owns it sets the replicas."""

    def __init__(self, autoscaler: Autoscaler) -> None:
        """Begin without a past."""
        self.autoscaler = autoscaler
        self.history = History()

    def sync(
        self, clock: Clock, current: int, pods: Sequence[Pod], readings: Sequence[Reading]
    ) -> Decision:
        """Decide, with one reading for each metric; the decision counts as carried out."""
        decision = self._decide(clock, current, pods, readings)
        if decision.replicas != current:
            behavior = self.autoscaler.behavior
            self.history.changed(clock.now, current, decision.replicas, behavior)
        return decision

    def _decide(
        self, clock: Clock, current: int, pods: Sequence[Pod], readings: Sequence[Reading]
    ) -> Decision:
        bounds = self.autoscaler.bounds
        self.history.begin(clock.now, current)
        if current == 0:
            return Decision(0, reason="scaling is off while there are no replicas")
        if current > bounds.most:
            return Decision(bounds.most, reason="above maxReplicas")
        if current < bounds.least:
            return Decision(bounds.least, reason="below minReplicas")
        proposals = tuple(
            self._propose(metric, clock, current, pods, reading)
            for metric, reading in zip(self.autoscaler.metrics, readings, strict=True)
        )
        wanted = combine(current, [proposal.replicas for proposal in proposals])
        if wanted is None:
            return Decision(current, proposals, reason=_complaint(proposals))
        outcome = follow(
            self.history, clock.now, (current, wanted), bounds, self.autoscaler.behavior
        )
        return Decision(outcome.replicas, proposals, outcome, _reason(proposals, outcome, current))

    def _propose(
        self, metric: Metric, clock: Clock, current: int, pods: Sequence[Pod], reading: Reading
    ) -> Proposal:
        try:
            replicas, usage = propose(
                metric, current, (pods, reading), self.autoscaler.tolerances, clock
            )
        except MetricError as error:
            return Proposal(metric.name, None, error=str(error))
        return Proposal(metric.name, replicas, usage)


def combine(current: int, proposals: Sequence[int | None]) -> int | None:
    """Take the largest proposal; None if there is none, or if one is missing and it would fall."""
    known = [count for count in proposals if count is not None]
    largest = max(known, default=None)
    if largest is not None and len(known) < len(proposals) and largest < current:
        return None
    return largest


def propose(
    metric: Metric,
    current: int,
    seen: tuple[Sequence[Pod], Reading],
    tolerances: Tolerances,
    clock: Clock,
) -> tuple[int, int]:
    """Say how many replicas one metric wants, and what it is now. Raises MetricError."""
    pods, reading = seen
    if isinstance(reading, MetricError):
        raise reading
    if isinstance(reading, int):
        return _of_total(metric, current, (pods, reading), tolerances)
    return _of_pods(metric, current, (pods, reading), tolerances, clock)


def _of_total(
    metric: Metric, current: int, seen: tuple[Sequence[Pod], int], tolerances: Tolerances
) -> tuple[int, int]:
    pods, total = seen
    if metric.kind in {"object_average", "external_average"}:
        ratio = total / (float(metric.target) * float(current))
        wanted = current if tolerances.allow(ratio) else math.ceil(total / metric.target)
        return wanted, math.ceil(total / current)
    if metric.kind not in {"object_value", "external_value"}:
        raise MetricError(f"the metric {metric.name} needs a value for each pod")
    ratio = total / metric.target
    if tolerances.allow(ratio):
        return current, total
    if not pods:
        raise MetricError("there are no pods")
    ready = sum(pod.phase == "Running" and pod.ready is True for pod in pods)
    return math.ceil(ratio * ready), total


class _Groups(msgspec.Struct, frozen=True):
    counted: dict[str, int]
    """Values of the pods that are believed."""
    unready: list[str]
    missing: list[str]


def _of_pods(
    metric: Metric,
    current: int,
    seen: tuple[Sequence[Pod], Mapping[str, Value]],
    tolerances: Tolerances,
    clock: Clock,
) -> tuple[int, int]:
    pods, values = seen
    if not pods:
        raise MetricError("there are no pods")
    groups = _group(metric, pods, values, clock)
    if not groups.counted:
        raise MetricError(f"no pod that counts has a value of {metric.name}")
    requests = _requests(metric, pods)
    ratio, usage = _ratio(metric, groups.counted, requests)
    unready_matter = bool(groups.unready) and ratio > 1.0
    if not unready_matter and not groups.missing:
        if tolerances.allow(ratio):
            return current, usage
        return math.ceil(ratio * len(groups.counted)), usage
    assumed = dict(groups.counted)
    if ratio != 1.0:
        assumed |= {name: _assumed(metric, ratio, requests.get(name, 0)) for name in groups.missing}
    if unready_matter:
        assumed |= dict.fromkeys(groups.unready, 0)
    again, _ = _ratio(metric, assumed, requests)
    turned = (ratio < 1.0 < again) or (again < 1.0 < ratio)
    if tolerances.allow(again) or turned:
        return current, usage
    wanted = math.ceil(again * len(assumed))
    if (again < 1.0 and wanted > current) or (again > 1.0 and wanted < current):
        return current, usage
    return wanted, usage


def _group(
    metric: Metric, pods: Sequence[Pod], values: Mapping[str, Value], clock: Clock
) -> _Groups:
    counted: dict[str, int] = {}
    unready, missing = [], []
    for pod in pods:
        if pod.deleting or pod.phase == "Failed":
            continue
        value = values.get(pod.name)
        if pod.phase == "Pending":
            unready.append(pod.name)
        elif value is None:
            missing.append(pod.name)
        elif metric.is_cpu and _is_starting(pod, value, clock):
            unready.append(pod.name)
        else:
            counted[pod.name] = value.milli
    return _Groups(counted, unready, missing)


def _is_starting(pod: Pod, value: Value, clock: Clock) -> bool:
    """Tell whether what a pod uses may still be the work of its start."""
    if pod.ready is None or pod.started is None:
        return True
    if pod.started + clock.initialization > clock.now:
        return not pod.ready or value.at < pod.changed + value.window
    return not pod.ready and pod.started + clock.readiness_delay > pod.changed


def _requests(metric: Metric, pods: Sequence[Pod]) -> dict[str, int]:
    if metric.kind != "resource_utilization":
        return {}
    for pod in pods:
        if metric.name not in pod.requests:
            raise MetricError(f"the pod {pod.name} has no request for {metric.name}")
    return {pod.name: pod.requests[metric.name] for pod in pods}


def _assumed(metric: Metric, ratio: float, request: int) -> int:
    """Say what a pod without a value is taken to use: what speaks against the change."""
    if ratio > 1.0:
        return 0
    if metric.kind == "resource_utilization":
        return _quotient(request * max(100, metric.target), 100)
    return metric.target


def _ratio(
    metric: Metric, values: Mapping[str, int], requests: Mapping[str, int]
) -> tuple[float, int]:
    total = sum(values.values())
    if metric.kind != "resource_utilization":
        usage = _quotient(total, len(values))
        return usage / metric.target, usage
    requested = sum(requests[name] for name in values)
    if requested == 0:
        raise MetricError(f"the pods request nothing of {metric.name}")
    percent = _quotient(total * 100, requested)
    return percent / metric.target, percent


def _quotient(total: int, count: int) -> int:
    """Divide as the reference does: towards zero."""
    quotient = abs(total) // abs(count)
    return quotient if (total < 0) == (count < 0) else -quotient


def _complaint(proposals: Sequence[Proposal]) -> str:
    first = next(proposal for proposal in proposals if proposal.replicas is None)
    if all(proposal.replicas is None for proposal in proposals):
        return f"no metric is known: {first.error}"
    return f"no fall while a metric is unknown: {first.error}"


def _reason(proposals: Sequence[Proposal], outcome: Outcome, current: int) -> str:
    if outcome.replicas > current >= outcome.wanted:
        return "more was wanted of late"
    if outcome.replicas > current:
        largest = next(p for p in proposals if p.replicas == outcome.wanted)
        return f"{largest.metric} above its target"
    return "all metrics below their targets" if outcome.replicas < current else ""
