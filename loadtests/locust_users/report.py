"""The result of a run: as JSON, and as the exit code.

Promises: a run without a single request is no success, and a run whose users were not all there
says so. Percentiles are over the whole run, of times in whole milliseconds. They are those of a
closed loop: a user sends its next request only after the answer to the one before, so a server that
stops for a while is asked less meanwhile. The generator in Rust has an open loop.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

from locust_users.options import Options
from locust_users.plan import Kind

if TYPE_CHECKING:
    from locust.stats import RequestStats, StatsEntry

_PERSONAL_TICK_MS: Final = 1000.0
_BUSY: Final = 0.8
"""From this share of a core on, Locust itself may be what is slow."""


class Row(msgspec.Struct, frozen=True):
    """Requests of a name."""

    type: str
    name: str
    count: int
    failures: int
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


class Failure(msgspec.Struct, frozen=True):
    """Failures that look the same."""

    type: str
    name: str
    error: str
    count: int


class Result(msgspec.Struct, frozen=True):
    """All of it; `problems` are why the run was no success."""

    ok: bool
    problems: list[str]
    warnings: list[str]
    scenario: str
    factor: float
    seconds: float
    kinds: dict[str, Kind]
    most_users: int
    """Users that there were at once."""
    requests_per_second: float
    """Of HTTP."""
    generator_share: float | None
    """Processor time of Locust in cores; None where other processes were the users."""
    requests: list[Row]
    failures: list[Failure]


def whole(response_time: float) -> int:
    """Round a time for Locust, whose own way is to tens from 100 ms on: 204 would pass for 200."""
    return round(response_time)


class Report:
    """Made when a run starts, to know what it took."""

    def __init__(self, options: Options, *, alone: bool) -> None:
        """Begin; `alone` says that the users are in this process."""
        self.options = options
        self._cpu = time.process_time() if alone else None
        self._began = time.perf_counter()
        self.most_users = 0

    def note_users(self, user_count: int) -> None:
        """Note how many users there are, whenever all who should come have come."""
        self.most_users = max(self.most_users, user_count)

    def result(self, stats: RequestStats, exceptions: list[str]) -> Result:
        """Say what came of it; exceptions are faults of users, and of this program."""
        options, seconds = self.options, time.perf_counter() - self._began
        entries = sorted(stats.entries.values(), key=lambda entry: (entry.method, entry.name))
        rows = [_row(entry) for entry in entries]
        problems = problems_of(rows, options.p99_ms)
        problems += [f"a user raised: {message}" for message in exceptions]
        if self.most_users < options.plan.users:
            problems.append(f"{self.most_users} of {options.plan.users} users came")
        share = None if self._cpu is None else (time.process_time() - self._cpu) / seconds
        asked = sum(row.count for row in rows if row.type != "WS")
        return Result(
            ok=not problems,
            problems=problems,
            warnings=_warnings(share),
            scenario=options.scenario,
            factor=options.factor,
            seconds=round(seconds, 2),
            kinds=options.plan.kinds,
            most_users=self.most_users,
            requests_per_second=round(asked / seconds, 1),
            generator_share=None if share is None else round(share, 3),
            requests=rows,
            failures=[
                Failure(error.method, error.name, str(error.error)[:300], error.occurrences)
                for error in stats.errors.values()
            ],
        )


def problems_of(rows: list[Row], p99_ms: float) -> list[str]:
    """Say what must not be: no requests, failures, and a p99 over the bound.

    A view of one member ticks once a second by default, so that much is added to its bound.
    """
    problems = [] if any(row.count for row in rows) else ["there were no requests"]
    for row in rows:
        bound = p99_ms + (_PERSONAL_TICK_MS if row.name == "delivery standing" else 0.0)
        if row.failures:
            problems.append(f"{row.type} {row.name}: {row.failures} of {row.count} failed")
        if row.p99_ms > bound:
            problems.append(f"{row.type} {row.name}: p99 {row.p99_ms:g} ms, allowed {bound:g} ms")
    return problems


def _warnings(share: float | None) -> list[str]:
    if share is None or share <= _BUSY:
        return []
    return [f"Locust took {share:.0%} of a core and may be what was slow"]


def _row(entry: StatsEntry) -> Row:
    half, most, nearly_all = (entry.get_response_time_percentile(p) for p in (0.5, 0.95, 0.99))
    return Row(
        type=entry.method,
        name=entry.name,
        count=entry.num_requests,
        failures=entry.num_failures,
        per_second=round(entry.total_rps, 2),
        p50_ms=half,
        p95_ms=most,
        p99_ms=nearly_all,
        max_ms=round(entry.max_response_time, 1),
    )
