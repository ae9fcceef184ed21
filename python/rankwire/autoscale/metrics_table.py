"""The metrics that are served, and what several figures of one become.

Pure data; touches nothing. Every metric is one that a Rankwire node exports, see docs/http.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from rankwire.autoscale.quantity import Quantity
from rankwire.ops.recent import WINDOW_SECONDS


class Metric(msgspec.Struct, frozen=True):
    """A metric, and the rule for several series of one pod, or several pods of a namespace."""

    name: str
    rule: Literal["sum", "max", "min"]
    """Counts and rates add up; of parts, the worst speaks for all."""
    window: int | None = None
    """Seconds that a figure is about; None for what is so at one moment."""

    @property
    def adds_up(self) -> bool:
        """Whether a total of it has a meaning."""
        return self.rule == "sum"

    def combine(self, values: Sequence[Quantity]) -> Quantity:
        """Make one figure of at least one, exactly."""
        numbers = [value.nano for value in values]
        if self.rule == "sum":
            return Quantity(sum(numbers))
        return Quantity(max(numbers) if self.rule == "max" else min(numbers))


_METRICS: Final = (
    Metric("websocket_connections_per_pod", "sum"),
    Metric("score_updates_per_second", "sum", int(WINDOW_SECONDS)),
    Metric("database_pool_utilization", "max"),
    Metric("cache_hit_rate", "min", int(WINDOW_SECONDS)),
)

METRICS: Final[Mapping[str, Metric]] = {metric.name: metric for metric in _METRICS}
"""By name."""
