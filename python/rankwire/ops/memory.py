"""How much memory there is for the server and what lives with it, as the kernel tells.

The limit is the smallest of those of the process's control group, of the groups around it and of
the machine. What is used belongs to the same: to the control group if that is what sets the limit.
Pages of files that the kernel would drop first count as free, as they do for the kubelet. Reads a
few files below /proc and /sys, which takes a fraction of a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from rankwire.ops.findings import Known

CGROUPS: Final = Path("/sys/fs/cgroup")
PROC: Final = Path("/proc")


class Memory(msgspec.Struct, frozen=True):
    """In bytes."""

    limit: int
    used: int
    by: Literal["cgroup", "machine"]
    """What sets the limit."""


class _Group(msgspec.Struct, frozen=True):
    """How one version of control groups names its files."""

    mount: str
    limit: str
    used: str
    idle_files: str


_VERSIONS: Final = {
    "": _Group("", "memory.max", "memory.current", "inactive_file"),
    "memory": _Group(
        "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
    ),
}
"""By the list of controllers that /proc/self/cgroup has: none for version 2."""


def read_memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> Memory | None:
    """Read the limit and what is used; None where the kernel does not tell."""
    return min(_all(proc, cgroups), key=lambda memory: memory.limit, default=None)


def free_bytes(proc: Path = PROC, cgroups: Path = CGROUPS) -> Known:
    """Tell what is left of the limit that leaves the least; None where the kernel does not tell."""
    left = (memory.limit - memory.used for memory in _all(proc, cgroups))
    return max(0, found) if (found := min(left, default=None)) is not None else None


def group(proc: Path = PROC, cgroups: Path = CGROUPS) -> Path | None:
    """Find the process's control group of version 2; None where that is not used."""
    with suppress(OSError):
        for line in (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines():
            # Version 2 has one line, without a number and without controllers.
            if line.startswith("0::"):
                return cgroups / line.removeprefix("0::").lstrip("/")
    return None


def figure(file: Path, name: str) -> Known:
    """Read a figure from a file with a name and a number in each line; None if it has none."""
    with suppress(OSError, ValueError, KeyError):
        return float(_figures(file.read_text(encoding="ascii"))[name])
    return None


def _all(proc: Path, cgroups: Path) -> list[Memory]:
    """Read all limits that there are; empty where the kernel does not tell."""
    try:
        return [_machine(proc / "meminfo"), *_groups(proc / "self" / "cgroup", cgroups)]
    except (OSError, ValueError, KeyError):
        return []


def _machine(meminfo: Path) -> Memory:
    figures = _figures(meminfo.read_text(encoding="ascii").replace(":", ""))
    total, available = figures["MemTotal"] * 1024, figures["MemAvailable"] * 1024
    return Memory(total, total - available, "machine")


def _groups(memberships: Path, cgroups: Path) -> Iterator[Memory]:
    """Find the process's groups that have a limit; a container may see only its own, as root."""
    for line in memberships.read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if (names := _VERSIONS.get(controllers)) is None:
            continue
        root = cgroups / names.mount
        here = root / path.lstrip("/")
        for group in (here, *here.parents):
            with suppress(OSError, ValueError, KeyError):
                yield _group(group, names)
            if group == root:
                break


def _group(directory: Path, names: _Group) -> Memory:
    """Read one group; ValueError also where it has no limit, which reads `max`."""
    limit = int((directory / names.limit).read_text(encoding="ascii"))
    used = int((directory / names.used).read_text(encoding="ascii"))
    idle = _figures((directory / "memory.stat").read_text(encoding="ascii"))[names.idle_files]
    return Memory(limit, max(0, used - idle), "cgroup")


def _figures(text: str) -> dict[str, int]:
    rows = (line.split() for line in text.splitlines())
    return {row[0]: int(row[1]) for row in rows if row}
