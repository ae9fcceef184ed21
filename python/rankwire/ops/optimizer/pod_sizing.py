"""What pods should ask Kubernetes for, and how many nodes they then need.

Promises: processors are asked for by their 95th percentile and never limited, memory by its peak of
eight days with head-room, both with floors; what an autoscaler drives and what has a thin history
is left alone, with the reason. Smaller requests free capacity and save nothing by themselves: money
is only counted for whole nodes that the requests of all pods, packed again, leave over.

Sources: krr for the percentile, the peak + 15 %, + 25 % after a kill for memory, no limit of
processors and the floors; Kubernetes' Vertical Pod Autoscaler for the eight days and for changes
below 10 % that are not worth a restart; the mixin of Kubernetes' alerts for 25 % of throttling;
AWS Compute Optimizer for the fifth of a node that stays free, which also covers what Kubernetes
itself needs there; D. S. Johnson, "Near-optimal bin packing algorithms" (1973), for first-fit
decreasing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from json import dumps
from math import ceil
from shlex import quote
from typing import Final, NamedTuple

from rankwire.ops.findings import Prediction, Recommendation
from rankwire.ops.optimizer.evidence import OOM_FACTOR, confidence, history_inputs, refuse_thin
from rankwire.ops.optimizer.machine_sizing import CPU_HEADROOM, Machine
from rankwire.ops.optimizer.savings import Action, Capacity, Refusal, Risk
from rankwire.ops.optimizer.usage import Usage
from rankwire.ops.prices import Catalogue

LEAST_MEMORY: Final = 100e6
MEMORY_FACTOR: Final = 1.15
LEAST_CHANGE: Final = 0.1
MOST_THROTTLED: Final = 0.25
PEAK_DAYS: Final = 8

_MB: Final = 1024**2
_NAMED: Final = "The patch takes the Deployment and its container to be named like the workload."


class PodRequests(NamedTuple):
    """What a pod asks for; None where it is left as it is and not known."""

    cores: float | None
    memory: float | None
    """In bytes."""


def size_pod(usage: Usage) -> Action | Refusal | None:
    """Find what a pod should ask for; None when that is about what it asks for already."""
    refused = refuse_thin(usage, "RIGHT_SIZE_POD")
    if refused is not None:
        return refused
    if len(set(usage.place.autoscaled)) > 1:
        return Refusal(usage.name, "RIGHT_SIZE_POD", "an autoscaler already drives it")
    now = requests(usage)
    wanted = _wanted(usage, now)
    is_throttled = (usage.throttled or 0) > MOST_THROTTLED
    if not (is_throttled or _differ(now.cores, wanted.cores) or _differ(now.memory, wanted.memory)):
        return None
    return _change(usage, now, wanted)


def requests(usage: Usage) -> PodRequests:
    """Tell what it asks for now."""
    return PodRequests(usage.place.requested_cores, usage.place.requested_memory_bytes)


def asked(action: Action) -> PodRequests:
    """Tell what an action of `size_pod` would have it ask for."""
    inputs = action.draft.inputs
    cores, memory = inputs["wanted_cores"], inputs["wanted_memory_bytes"]
    return PodRequests(
        cores if isinstance(cores, float) else None, memory if isinstance(memory, float) else None
    )


def _wanted(usage: Usage, now: PodRequests) -> PodRequests:
    """Round up to a thousandth of a core and a MB, as Kubernetes writes them."""
    cores, memory = now
    if "cpu" not in usage.place.autoscaled:
        # Not below krr's floor of a hundredth, where the histogram's first bucket ends.
        cores = ceil(usage.cores.quantile(0.95) * 1000 - 1e-9) / 1000
    if "memory" not in usage.place.autoscaled:
        factor = OOM_FACTOR if usage.ooms else MEMORY_FACTOR
        peak = max(LEAST_MEMORY, usage.memory_peak(PEAK_DAYS) * factor)
        memory = float(ceil(peak / _MB) * _MB)
    return PodRequests(cores, memory)


def _differ(now: float | None, wanted: float | None) -> bool:
    if wanted is None:
        return False
    return now is None or abs(wanted - now) > LEAST_CHANGE * now


def _change(usage: Usage, now: PodRequests, wanted: PodRequests) -> Action:
    name = f"requests:{usage.name}"
    is_more = (wanted.cores or 0) > (now.cores or 0) or (wanted.memory or 0) > (now.memory or 0)
    draft = Recommendation(
        id=name,
        priority="MEDIUM" if is_more and now.cores is not None else "LOW",
        action="RIGHT_SIZE_POD",
        resource=usage.name,
        description=_describe(usage.name, wanted),
        because="",
        inputs={
            **history_inputs(usage),
            "cores_p95": usage.cores.quantile(0.95),
            "memory_peak_bytes": usage.memory_peak(PEAK_DAYS),
            "memory_daily_peaks_p90_bytes": usage.memory_peaks().quantile(0.9),
            "wanted_cores": "unchanged" if wanted.cores is None else wanted.cores,
            "wanted_memory_bytes": "unchanged" if wanted.memory is None else wanted.memory,
        },
        model="pod right-sizing",
        predicted=[
            *_predict("requested_cores", "cores", now.cores, wanted.cores),
            *_predict("requested_memory", "bytes", now.memory, wanted.memory),
        ],
        cost=[],
        monthly=None,
        confidence=confidence(usage),
        caveats=[
            "Saves nothing by itself: only a node that is no longer rented does.",
            *([] if usage.measured else [_NAMED]),
        ],
        verify="sum by (container) (kube_pod_container_resource_requests)",
        apply="" if usage.measured else _patch(usage.name, wanted),
    )
    return Action(
        draft=draft, replaces=(), risks=_risks(usage, name, wanted), freed=_freed(now, wanted)
    )


def _describe(name: str, wanted: PodRequests) -> str:
    parts = []
    if wanted.cores is not None:
        parts.append(f"{wanted.cores:g} cores")
    if wanted.memory is not None:
        parts.append(f"{wanted.memory / _MB:.0f} MiB")
    return f"Let {name} ask for {' and '.join(parts)}, without a limit of processors."


def _predict(figure: str, unit: str, now: float | None, wanted: float | None) -> list[Prediction]:
    return [] if now is None or wanted is None else [Prediction(figure, unit, now, wanted)]


def _freed(now: PodRequests, wanted: PodRequests) -> Capacity:
    """Count only what is known to be asked for now."""
    cores = 0.0 if now.cores is None or wanted.cores is None else now.cores - wanted.cores
    memory = 0.0 if now.memory is None or wanted.memory is None else now.memory - wanted.memory
    return Capacity(cores=cores, memory_bytes=memory)


def _risks(usage: Usage, name: str, wanted: PodRequests) -> list[Risk]:
    risks = []
    if wanted.cores is not None:
        replayed = usage.over(wanted.cores, 0).moments
        text = "of the recorded hours had a moment that used more processors than it would ask for"
        risks.append(Risk(name, "performance", replayed, text))
    if wanted.memory is not None:
        replayed = usage.over(0, wanted.memory).memory
        text = "of the recorded hours had a moment with more memory than it would be limited to"
        risks.append(Risk(name, "out_of_memory", replayed, text))
    return risks


def _patch(name: str, wanted: PodRequests) -> str:
    """Write a strategic merge patch of a Deployment."""
    ask, limit = [], ["              cpu: null\n"]
    if wanted.cores is not None:
        ask.append(f"              cpu: {wanted.cores * 1000:.0f}m\n")
    if wanted.memory is not None:
        ask.append(f"              memory: {wanted.memory / _MB:.0f}Mi\n")
        limit.append(f"              memory: {wanted.memory / _MB:.0f}Mi\n")
    return (
        f"# kubectl patch deployment {quote(name)} --patch-file THIS_FILE\n"
        "spec:\n"
        "  template:\n"
        "    spec:\n"
        "      containers:\n"
        f"        - name: {dumps(name)}\n"
        "          resources:\n"
        "            requests:\n" + "".join(ask) + "            limits:\n" + "".join(limit)
    )


def pool_item(sku: str) -> str:
    """Name the item of the bill for the nodes of one kind."""
    return f"nodes:{sku}"


def shrink_pool(
    node: Machine, nodes: int, pods: Sequence[PodRequests], catalogue: Catalogue
) -> Action | Refusal | None:
    """Find how many nodes of one kind the pods leave over; None when it is none."""
    sku = node.price.sku
    known = [pod for pod in pods if pod.cores is not None and pod.memory is not None]
    if len(known) < len(pods):
        reason = f"{len(pods) - len(known)} of its pods do not tell what they ask for"
        return Refusal(pool_item(sku), "REMOVE_NODES", reason)
    full = 1 - CPU_HEADROOM
    needed = _pack(
        ((pod.cores or 0) / (node.vcpu * full), (pod.memory or 0) / (node.memory * full))
        for pod in known
    )
    if needed is None:
        reason = f"one of its pods is larger than {full:.0%} of a node"
        return Refusal(pool_item(sku), "REMOVE_NODES", reason)
    left = max(1, needed)
    if left >= nodes:
        return None
    item = pool_item(sku)
    return Action(
        draft=_removal(sku, len(pods), nodes, left),
        replaces=[item],
        item=item,
        lines=[catalogue.line(sku, left)],
    )


def _removal(sku: str, pods: int, nodes: int, left: int) -> Recommendation:
    return Recommendation(
        id=f"remove-nodes:{sku}",
        priority="MEDIUM",
        action="REMOVE_NODES",
        resource=pool_item(sku),
        description=f"Rent {left} instead of {nodes} nodes of {sku} when the requests are changed.",
        because="",
        inputs={"pods": pods, "nodes": nodes, "full": 1 - CPU_HEADROOM},
        model="first-fit decreasing",
        predicted=[Prediction("nodes", "nodes", nodes, left)],
        cost=[],
        monthly=None,
        confidence="medium",
        caveats=[
            "Affinities, volumes, other pods and nodes kept for a failure are not known here.",
            "Only after the recommended requests are in force.",
        ],
        verify="count(kube_node_info)",
        apply=f"# desired size of the group of nodes\ndesired_size = {left}\n",
    )


def _pack(pods: Iterable[tuple[float, float]]) -> int | None:
    """Count the nodes for pods given as parts of one; None if a pod is larger than a node."""
    free: list[tuple[float, float]] = []
    for cores, memory in sorted(pods, key=max, reverse=True):
        if max(cores, memory) > 1:
            return None
        for number, (free_cores, free_memory) in enumerate(free):
            if cores <= free_cores and memory <= free_memory:
                free[number] = (free_cores - cores, free_memory - memory)
                break
        else:
            free.append((1 - cores, 1 - memory))
    return len(free)
