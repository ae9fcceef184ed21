"""What a node says of the machine that it runs on itself.

Promises: only a whole machine with a price is judged. What a control group uses tells nothing of
the rest of the machine, on which others may live; and without a SKU nothing says what is paid.
Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rankwire.ops.optimizer.resources import ResourceOptimizer, UsageReport

if TYPE_CHECKING:
    from rankwire.ops.optimizer.savings import OptimizationReport
    from rankwire.ops.optimizer.usage import Usage
    from rankwire.ops.prices import Catalogue


def own_optimization(usage: Usage, catalogue: Catalogue) -> OptimizationReport | None:
    """Judge what a node measured of itself; None where there is no machine of its own to judge."""
    if usage.measured != "machine" or not usage.place.instance:
        return None
    return ResourceOptimizer(catalogue).optimize(UsageReport(workloads={usage.name: usage}))
