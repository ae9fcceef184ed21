"""The source `websocket`: the hub, with its hub processes.

Gauges: `connections`, `connections_limit`, `blocked`. Totals: `refused`, `deliveries`, `conflated`,
`bytes`, `errors`. Times: `fanout`, until a new state of a view had reached all who watch it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, cast

from rankwire.ops.analyzer.readings import AbsentError, Buckets, Reading
from rankwire.times import BUCKETS

if TYPE_CHECKING:
    from rankwire import _core

_GAUGES: Final = ("connections", "blocked")
# Key of the hub's figures, by our name.
_TOTALS: Final = {
    "refused": "refused_total",
    "deliveries": "deliveries_total",
    "conflated": "conflated_total",
    "bytes": "bytes_sent_total",
}


class WebsocketSource:
    """Reads the hub's own counters, all of one moment."""

    name = "websocket"

    def __init__(self, hub: _core.Hub | None, most_connections: int) -> None:
        """Read this hub, which takes so many connections; a node with role `api` has none."""
        self._hub = hub
        self._limit = most_connections

    async def read(self) -> Reading:
        """See `Source.read`."""
        if self._hub is None:
            raise AbsentError("this node serves no live connections")
        found = self._hub.stats()
        stats: dict[str, object] = {**found}
        errors = cast("dict[int, int]", stats["errors_total"])
        gauges = {name: float(str(stats[name])) for name in _GAUGES}
        totals = {ours: float(str(stats[theirs])) for ours, theirs in _TOTALS.items()}
        totals["errors"] = float(sum(errors.values()))
        gauges["connections_limit"] = float(self._limit)
        times = {"fanout": _fanout(found["by_view"].values())}
        return Reading(at=time.time(), gauges=gauges, totals=totals, times=times)

    async def close(self) -> None:
        """See `Source.close`: there is nothing to let go of."""


def _fanout(views: Iterable[_core.ViewStats]) -> Buckets:
    """Add up the kinds of views, whose histograms have the same bounds."""
    kinds = list(views)
    counts = zip(*(kind["fanout"].values() for kind in kinds), strict=True)
    seconds = sum(kind["fanout_seconds"] for kind in kinds)
    return Buckets(BUCKETS, tuple(map(sum, counts)), seconds)
