"""What the memory of the caches costs, by what this node has left."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rankwire.ops.findings import Known


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
