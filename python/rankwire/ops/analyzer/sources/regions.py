"""The source `regions`: the other regions, as this node knows of them.

Gauges: `lag`, `drift`, `lacking` (each of the region where it is largest, absent when none is
known), `down`, `refused` (numbers of regions), `primary_unknown`, `unresolved`. Total, on the node
that pulls: `pulled`. Rows `links`: `region`, `up`, `lag`, `drift`, `refused`, `lacking`; the
worst first.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rankwire.ops.analyzer.readings import Reading

if TYPE_CHECKING:
    from rankwire.ops.findings import Known
    from rankwire.ops.metric_regions import RegionView


class RegionsSource:
    """Reads what the region's parts have counted; asks no other region."""

    name = "regions"

    def __init__(self, view: RegionView) -> None:
        """Read of this view."""
        self._view = view

    async def read(self) -> Reading:
        """See `Source.read`."""
        figures = self._view.figures()
        links = self._view.regions.link_figures()
        rows = sorted((_row(region, link) for region, link in links.items()), key=_worst_first)
        leads = bool(figures.get("leads"))
        pulled = sum(link.get("pulled_batches_total") or 0.0 for link in links.values())
        return Reading(
            at=time.time(),
            # Another node pulls from now on, or this one: what was counted before tells nothing.
            life="leads" if leads else "",
            gauges=_gauges(figures, rows),
            totals={"pulled": pulled} if leads else {},
            rows={"links": rows},
        )

    async def close(self) -> None:
        """See `Source.close`: there is nothing to let go of."""


def _row(region: str, link: Mapping[str, Known]) -> dict[str, Any]:
    return {
        "region": region,
        "up": link.get("up"),
        "lag": link.get("lag_seconds"),
        "drift": link.get("drift_seconds"),
        "refused": link.get("clock_refused"),
        "lacking": link.get("lacking"),
    }


def _worst_first(row: Mapping[str, Any]) -> tuple[float, float, float, str]:
    return (row["up"] or 0.0, -(row["refused"] or 0.0), -(row["lag"] or 0.0), row["region"])


def _gauges(figures: Mapping[str, Known], rows: list[dict[str, Any]]) -> dict[str, float]:
    found, resolved = figures.get("verify_found"), figures.get("verify_resolved")
    known = figures.get("primary_known")
    gauges: dict[str, Known] = {
        "lag": _largest(row["lag"] for row in rows),
        "lacking": _largest(row["lacking"] for row in rows),
        "drift": _largest(None if row["drift"] is None else abs(row["drift"]) for row in rows),
        "down": _count(rows, "up", 0),
        "refused": _count(rows, "refused", 1),
        "primary_unknown": None if known is None else 1.0 - known,
        "unresolved": None if found is None or resolved is None else found - resolved,
    }
    return {name: value for name, value in gauges.items() if value is not None}


def _largest(values: Iterable[Known]) -> Known:
    return max((value for value in values if value is not None), default=None)


def _count(rows: list[dict[str, Any]], key: str, value: float) -> Known:
    """Count the regions of which this is so; None when it is known of none."""
    known = [row[key] for row in rows if row[key] is not None]
    return float(known.count(value)) if known else None
