"""Whether traffic should go to this node and its region, for DNS and global load balancers.

Answered from what is known already: nothing is asked of a database, of Redis or of another region,
and of the disk only whether `regions.health_file` is there, and its first line. `fail` means that
the node should get no traffic: it cannot commit or follow, it is about to end, or an operator
has taken it or its region out. What other regions lack, or this one of them, is a `warn`: it
serves, and is better than nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from msgspec import UNSET

from rankwire import _core
from rankwire.api.answers import Answer, start
from rankwire.model_regions import REASON_CHARACTERS, HealthCheck, NodeHealth

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rankwire.api.parts import Parts

HEALTH_JSON: Final = "application/health+json"
STORAGE_CHECK: Final = "storage:commits"

_Word = Literal["pass", "warn", "fail"]
_WORST: Final[tuple[_Word, ...]] = ("fail", "warn", "pass")
_HEADERS: Final = (
    (b"content-type", HEALTH_JSON.encode()),
    (b"cache-control", b"no-store"),
)


class Doctor:
    """Says how one node is."""

    def __init__(self, parts: Parts) -> None:
        """Look at these parts."""
        chosen = parts.region_settings
        self._parts = parts
        self._service_id = chosen.name
        self._out_file = Path(chosen.health_file) if chosen.health_file else None

    def health(self) -> Answer:
        """Tell what is known: 200 unless the node should get no traffic."""
        checks: dict[str, list[HealthCheck]] = {
            STORAGE_CHECK: [_check("datastore", self._parts.writer.trouble, "fail")],
            "follower:level": [self._follower()],
            "operator:out": [_check("system", self._out(), "fail")],
            "node:leaving": [_check("system", self._parts.departure.reason, "fail")],
            **self._regions(),
        }
        found = {check.status for group in checks.values() for check in group}
        worst = next(word for word in _WORST if word in found)
        body = msgspec.json.encode(NodeHealth(worst, _core.__version__, self._service_id, checks))
        return start(503 if worst == "fail" else 200, *_HEADERS), body

    def _follower(self) -> HealthCheck:
        """Look at the other nodes of the region, and at what is done beside the boards."""
        region = self._parts.region
        if region is not None and region.trouble is not None:
            return _check("component", region.trouble, "fail")
        return _check("component", "; ".join(self._parts.degraded_here) or None, "warn")

    def _out(self) -> str | None:
        if self._out_file is not None and (written := _written(self._out_file)) is not None:
            return written or "regions.health_file is there"
        regions = self._parts.regions
        if regions is not None and regions.out_reason is not None:
            return f"the region is taken out: {regions.out_reason}"
        return None

    def _regions(self) -> Mapping[str, list[HealthCheck]]:
        regions = self._parts.regions
        if regions is None:
            return {}
        links = regions.link_figures()
        reasons = "; ".join(regions.degraded) or None
        return {
            "regions:links": [_check("component", reasons, "warn")],
            "regions:lag": list(_measured(links, "lag_seconds")),
            "regions:drift": list(_measured(links, "drift_seconds")),
        }


def _written(file: Path) -> str | None:
    """Read the first line of a file; None if there is no file."""
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            return lines.readline(REASON_CHARACTERS).strip()
    except FileNotFoundError:
        return None
    except OSError:
        return ""


def _check(
    kind: Literal["datastore", "component", "system"], trouble: str | None, otherwise: _Word
) -> HealthCheck:
    """Pass without trouble."""
    return HealthCheck("pass", kind) if trouble is None else HealthCheck(otherwise, kind, trouble)


def _measured(
    links: Mapping[str, Mapping[str, float | None]], figure: str
) -> Iterator[HealthCheck]:
    """Show a figure of each link. What follows from it stands with the links."""
    for peer, figures in sorted(links.items()):
        value = figures[figure]
        status: _Word = "warn" if value is None else "pass"
        yield HealthCheck(status, "component", UNSET, value, "s", peer)
