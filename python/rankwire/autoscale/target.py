"""How many connections a hub is to have before there are more hubs, from what was measured.

Promises: the target is a share of the least of what its limits allow, each computed from a limit
of the pod and a measured unit; nothing is a constant but the shares, which say what they are. Pure.

Why a share: an autoscaler reacts when its target is passed, and a pod needs time to come. What is
left above the target carries those who connect meanwhile, and of four pods the connections of one
that ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from rankwire.ops.capacity.units import Units

SHARE: Final = 0.7
"""How much of what fits is the target."""
MEMORY_SHARE: Final = 0.8
"""How much of a pod's memory is planned with; what reconnects all at once needs the rest."""
SPARE_FILES: Final = 1000
"""Files that a server keeps for anything but watchers; as `rankwire.live` does."""

_MICROSECONDS: Final = 1e6


class TargetError(Exception):
    """No target can be derived; the text says why."""


class Pod(msgspec.Struct, frozen=True):
    """What one hub may use."""

    memory: float
    """Bytes."""
    files: int
    """Limit of open files."""
    cores: float | None = None
    """Processors; None leaves them out."""
    deliveries: float = 0.0
    """Messages to a connection in a second, for the processors."""
    members: int = 0
    """Members of all boards, which every node holds."""
    evaluations: float = 0.0
    """Looks for a connection in a second whether its view has changed; one before each message."""
    max_connections: int | None = None
    """What it is set to take, all its processes together; None for whatever the files allow."""


class Target(msgspec.Struct, frozen=True):
    """A target with how it came about."""

    connections: int
    """`averageValue` for `websocket_connections_per_pod`."""
    bound_by: str
    """The limit that decides: `memory`, `files`, `processors` or `settings`."""
    limits: Mapping[str, float]
    """Connections that fit, by limit."""
    units: tuple[str, ...]
    """Names of the measured units that were used."""


def derive(pod: Pod, units: Units) -> Target:
    """Derive the target of a hub. Raises TargetError when not even one connection fits."""
    limits = {
        "memory": _by_memory(pod, units),
        "files": float(pod.files - SPARE_FILES),
    }
    used = [
        "memory_process",
        "memory_member",
        "memory_connection",
        "memory_connection_kernel",
    ]
    if pod.cores is not None:
        limits["processors"] = _by_processors(pod, pod.cores, units)
        used += ["cpu_idle_connection", "cpu_evaluation", "cpu_delivery"]
    if pod.max_connections is not None:
        limits["settings"] = float(pod.max_connections)
    bound_by = min(limits, key=limits.__getitem__)
    connections = int(SHARE * limits[bound_by])
    if connections < 1:
        raise TargetError(f"nobody fits: {bound_by} allow {max(0, int(limits[bound_by]))}")
    return Target(connections, bound_by, limits, tuple(used))


def _by_memory(pod: Pod, units: Units) -> float:
    # The kernel's memory of sockets counts for the pod as well.
    each = units["memory_connection"] + units["memory_connection_kernel"]
    boards = pod.members * units["memory_member"]
    return (pod.memory * MEMORY_SHARE - units["memory_process"] - boards) / each


def _by_processors(pod: Pod, cores: float, units: Units) -> float:
    each = (
        units["cpu_idle_connection"]
        + max(pod.evaluations, pod.deliveries) * units["cpu_evaluation"]
        + pod.deliveries * units["cpu_delivery"]
    )
    return cores * _MICROSECONDS / each
