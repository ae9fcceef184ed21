"""Runs of the load generator for `compare.py`, and what is taken from their results.

Promises: a run in which anything was answered or delivered wrong has its errors told, and a figure
that the generator has no samples for is None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

import compare_lines
from compare_lines import Line, line


class Run(msgspec.Struct, frozen=True):
    """One run of `watch`; latencies are None where nothing came."""

    side: str
    what: str
    rate: int
    """What was asked for a second: games or changes."""
    sockets: int
    due: int
    """Requests that were due."""
    requests: int
    api_p50_ms: float | None
    api_p99_ms: float | None
    deliveries: int
    deliveries_per_second: float
    delivery_p50_ms: float | None
    delivery_p99_ms: float | None
    cpu_seconds: float
    cpu_share: float
    is_right: bool
    errors: dict[str, int]

    @property
    def cpu_us_per_request(self) -> float | None:
        """Processor time for each request."""
        return compare_lines.each(self.cpu_seconds, self.requests)

    @property
    def cpu_us_per_delivery(self) -> float | None:
        """Processor time for each delivery."""
        return compare_lines.each(self.cpu_seconds, self.deliveries)


class Figure(msgspec.Struct, frozen=True):
    """One figure of a run."""

    name: str
    of: Callable[[Run], float | None]
    less_is_better: bool = True


REQUESTS: Final = (
    Figure("CPU µs/request", lambda run: run.cpu_us_per_request),
    Figure("p50 ms of a request", lambda run: run.api_p50_ms),
    Figure("p99 ms of a request", lambda run: run.api_p99_ms),
)
DELIVERIES: Final = (
    Figure("CPU µs/delivery", lambda run: run.cpu_us_per_delivery),
    Figure("deliveries/s", lambda run: run.deliveries_per_second, less_is_better=False),
    Figure("p99 ms to a delivery", lambda run: run.delivery_p99_ms),
)


def lines(
    part: str, figures: Iterable[Figure], ours: Run, theirs: Run, under: str
) -> Iterator[Line]:
    """Put some figures of two runs beside each other; a run with errors has none."""
    for figure in figures:
        mine, other = (figure.of(run) if run.is_right else None for run in (ours, theirs))
        what = (part, f"{figure.name}, {under}")
        yield line(what, mine, theirs.side, other, less=figure.less_is_better)


def read(side: str, what: tuple[str, int], per_second: int, result: Any) -> Run:
    """Take what matters from a result of `watch` with one phase; `what` goes with its rate."""
    phase = result["phases"][0]
    api, delivery = phase["api"]["all"], phase["delivery"]["all"]
    seconds, share = phase["seconds"], phase["cpu"]["all"]
    return Run(
        *(side, *what, result["opening"]["asked"]),
        due=round(per_second * seconds),
        requests=api["count"],
        api_p50_ms=_some(api, "p50_ms"),
        api_p99_ms=_some(api, "p99_ms"),
        deliveries=phase["deliveries"],
        deliveries_per_second=phase["deliveries_per_second"],
        delivery_p50_ms=_some(delivery, "p50_ms"),
        delivery_p99_ms=_some(delivery, "p99_ms"),
        cpu_seconds=round(share * seconds, 4),
        cpu_share=round(share, 4),
        is_right=result["ok"],
        errors=result["errors"],
    )


def _some(latencies: Any, name: str) -> float | None:
    return latencies[name] if latencies["count"] else None


def bytes_per_connection(result: Any) -> float:
    """Return how much a result of `idle` says that each connection has added."""
    before = result["memory_before"]["anon_kb"]
    after = result["steps"][-1]["memory"]["anon_kb"]
    grown: float = (after - before) * 1024 / result["sockets"]
    return round(grown, 1)
