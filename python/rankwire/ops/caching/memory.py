"""How much memory this node has left, and so what the memory of the caches costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rankwire.ops.findings import Known

_MEMINFO: Final = Path("/proc/meminfo")
_CGROUP: Final = Path("/sys/fs/cgroup")


def free_bytes(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> Known:
    """Tell what the machine has available, or the container's limit leaves, whichever is less.

    None where Linux does not tell.
    """
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        rows = dict(line.split(":", 1) for line in lines)
        available = float(rows["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    try:
        limit = float((cgroup / "memory.max").read_text(encoding="ascii"))
        used = float((cgroup / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no container, or "max": it has no limit
        return available
    return min(available, max(0.0, limit - used))


def added_cost(needed: float, free: Known) -> tuple[Known, str]:
    """Tell what so many bytes more cost each month, and why.

    Memory of the node that nobody uses costs nothing more; what a larger node costs is not known,
    as no setting names the node's price.
    """
    if free is None:
        return None, "how much memory this node has free cannot be read"
    size = f"{needed / 1e6:,.1f} MB"
    if needed <= free:
        return 0.0, f"the node has the {size} free, and pays for them already"
    return None, f"the node has not the {size} free, and what a larger one costs is not known"
