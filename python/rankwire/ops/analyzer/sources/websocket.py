"""The source `websocket`: the hub, with its hub processes.

Gauges: `connections`, `connections_limit`, `blocked`, `subscriptions`, `views`. Totals: `accepted`,
`refused`, `publications`, `deliveries`, `conflated`, `bytes`, `commands`, `errors`.
"""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING, Final, cast

from rankwire.ops.analyzer.readings import AbsentError, Reading

if TYPE_CHECKING:
    from rankwire import _core

_GAUGES: Final = ("connections", "blocked", "subscriptions", "views")
# Key of the hub's figures, by our name.
_TOTALS: Final = {
    "accepted": "connections_total",
    "refused": "refused_total",
    "publications": "publications_total",
    "deliveries": "deliveries_total",
    "conflated": "conflated_total",
    "bytes": "bytes_sent_total",
    "commands": "commands_total",
}


class WebsocketSource:
    """Reads the hub's own counters, all of one moment."""

    name = "websocket"

    def __init__(self, hub: _core.Hub | None, most_connections: int) -> None:
        """Read this hub; a node with role `api` has none."""
        self._hub = hub
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        unlimited = files == resource.RLIM_INFINITY
        self._limit = most_connections if unlimited else min(most_connections, files)

    async def read(self) -> Reading:
        """See `Source.read`."""
        if self._hub is None:
            raise AbsentError("this node serves no live connections")
        stats: dict[str, object] = {**self._hub.stats()}
        errors = cast("dict[int, int]", stats["errors_total"])
        gauges = {name: float(str(stats[name])) for name in _GAUGES}
        totals = {ours: float(str(stats[theirs])) for ours, theirs in _TOTALS.items()}
        totals["errors"] = float(sum(errors.values()))
        gauges["connections_limit"] = float(self._limit)
        return Reading(at=time.time(), gauges=gauges, totals=totals)

    async def close(self) -> None:
        """See `Source.close`: there is nothing to let go of."""
