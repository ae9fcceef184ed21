"""Sends rows to a running server and accounts for every one of them.

Promises: rows start in file order, each on the first free connection. Every row ends as exactly one
of accepted, refused, unreadable, skipped by a condition, or of unknown outcome because no answer
came however often it was sent. No row counts twice. Memory does not grow with the number of rows.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from typing import TYPE_CHECKING

import msgspec

from rankwire.cli._api import LostError, ProblemError, UnreachableError
from rankwire.cli._latency import Latencies, LatencySummary
from rankwire.cli._rows import BadRow, InputError, Submit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rankwire.cli._api import Api
    from rankwire.cli._rows import Row

SHOWN_TROUBLES = 10
"""Rows that are reported one by one; the rest are counted."""

CATCH_UP_SECONDS = 0.05
"""The rows of so much time may be late and still be sent."""

SKIPS_PER_BREATH = 1000
"""Skipped rows in a row after which the answers under way get their turn."""


class Plan(msgspec.Struct, frozen=True):
    """How to send the rows."""

    board: str
    connections: int = 16
    rate: float | None = None
    """Most rows a second; None is as fast as the server answers."""
    batch: int | None = None
    """Rows a call; None sends single submits."""
    limit: int | None = None
    """Most rows to send."""


class Report(msgspec.Struct, frozen=True):
    """What became of the rows, and how quickly."""

    board: str
    accepted: int
    refused: int
    unreadable: int
    skipped: int
    unknown: int
    seconds: float
    rows_per_second: float
    requests: int
    retries: int
    latency_ms: LatencySummary | None
    stopped: str | None = None
    """Why the replay ended before its input, if it did."""

    @property
    def succeeded(self) -> bool:
        """Whether every row that was not skipped is on the board."""
        return not (self.refused or self.unreadable or self.unknown or self.stopped)

    def text(self) -> str:
        """Return the report for people."""
        parts = [
            f"{self.accepted:,} rows in {self.seconds:.1f} s: {self.rows_per_second:,.0f} rows/s",
            f"latency in ms of {self.requests:,} requests: {self.latency_ms or 'none answered'}",
        ]
        for count, words in (
            (self.skipped, "rows left out by a condition"),
            (self.refused, "rows not accepted by the server"),
            (self.unreadable, "rows unreadable"),
            (self.unknown, "rows of unknown outcome: on the board or not"),
            (self.retries, "retries because the server was busy or away"),
        ):
            if count:
                parts.append(f"{count:,} {words}")
        if self.stopped:
            parts.append(f"stopped early: {self.stopped}")
        return "\n".join(parts)


class Pacer:
    """Spreads rows evenly in time. Late rows catch up, but only a moment's worth of them."""

    def __init__(self, rate: float | None) -> None:
        """Let ``rate`` rows a second pass, or all without one."""
        self._seconds_per_row = 1 / rate if rate else 0.0
        self._next = 0.0

    async def wait(self, rows: int) -> None:
        """Wait until these rows may start."""
        if not self._seconds_per_row:
            return
        now = time.monotonic()
        # Timers wake a little late; without catching up, the rate would stay below its limit.
        start = max(now - CATCH_UP_SECONDS, self._next) if self._next else now
        self._next = start + rows * self._seconds_per_row
        await asyncio.sleep(start - now)


class Replay:
    """One run over the rows; :meth:`report` may be called at any time."""

    def __init__(
        self, api: Api, rows: Iterable[Row], plan: Plan, on_trouble: Callable[[str], None]
    ) -> None:
        """Prepare a run; ``on_trouble`` receives a sentence for each row that failed."""
        self._api = api
        self._rows: Iterator[Row] = iter(rows)
        self._plan = plan
        self._on_trouble = on_trouble
        self._pacer = Pacer(plan.rate)
        self._latencies = Latencies()
        # Names the calls of this run: what is sent again counts once.
        self._run = secrets.token_hex(8)
        self._calls = 0
        self._taken = 0
        self._started = self._ended = time.monotonic()
        self._stopped: str | None = None
        self.accepted = self.refused = self.unreadable = self.skipped = self.unknown = 0

    async def run(self) -> None:
        """Send every row; return when the last one is answered."""
        self._started = time.monotonic()
        workers = [asyncio.create_task(self._work()) for _ in range(self._plan.connections)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            self._ended = time.monotonic()

    def stop(self, reason: str) -> None:
        """Start no more rows; those under way still get their answers."""
        self._stopped = self._stopped or reason

    def report(self) -> Report:
        """Return the figures so far."""
        seconds = self._ended - self._started
        return Report(
            board=self._plan.board,
            accepted=self.accepted,
            refused=self.refused,
            unreadable=self.unreadable,
            skipped=self.skipped,
            unknown=self.unknown,
            seconds=round(seconds, 3),
            rows_per_second=round(self.accepted / seconds, 1) if seconds else 0.0,
            requests=self._latencies.count,
            retries=self._api.retries,
            latency_ms=self._latencies.summary(),
            stopped=self._stopped,
        )

    async def _work(self) -> None:
        while rows := await self._take(self._plan.batch or 1):
            await self._pacer.wait(len(rows))
            await self._send(rows)

    async def _take(self, count: int) -> list[Submit]:
        taken: list[Submit] = []
        while len(taken) < count and not self._stopped and self._taken != self._plan.limit:
            row = self._next()
            if row is None:
                break
            if isinstance(row, Submit):
                taken.append(row)
                self._taken += 1
            elif isinstance(row, BadRow):
                self.unreadable += 1
                self._on_trouble(f"line {row.line}: not sent: {row.reason}")
            else:
                self.skipped += 1
                if self.skipped % SKIPS_PER_BREATH == 0:
                    await asyncio.sleep(0)
        return taken

    def _next(self) -> Row | None:
        try:
            return next(self._rows, None)
        except InputError as error:
            # What was read before is fine; the requests under way still get their answers.
            self.stop(str(error))
            return None

    async def _send(self, rows: list[Submit]) -> None:
        started = time.monotonic()
        self._calls += 1
        key = f"{self._run}-{self._calls}"
        try:
            if self._plan.batch is None:
                await self._api.submit(self._plan.board, rows[0], key)
            else:
                await self._api.submit_batch(self._plan.board, rows, key)
        except ProblemError as problem:
            self.refused += len(rows)
            self._on_trouble(f"{_lines(rows)}: refused: {problem}{_culprit(rows, problem)}")
        except UnreachableError as error:
            self.refused += len(rows)
            self.stop(str(error))
            self._on_trouble(f"{_lines(rows)}: not sent: {error}")
            return
        except LostError as error:
            self.unknown += len(rows)
            self.stop(str(error))
            self._on_trouble(f"{_lines(rows)}: outcome unknown: {error}")
            return
        except asyncio.CancelledError:
            self.unknown += len(rows)
            raise
        else:
            self.accepted += len(rows)
        self._latencies.add(time.monotonic() - started)


class Troubles:
    """Prints the first sentences and counts the rest."""

    def __init__(self, show: Callable[[str], None]) -> None:
        """Print with ``show``."""
        self._show = show
        self._count = 0

    def __call__(self, sentence: str) -> None:
        """Take one sentence."""
        self._count += 1
        if self._count <= SHOWN_TROUBLES:
            self._show(sentence)

    def close(self) -> None:
        """Say how many were not shown."""
        if self._count > SHOWN_TROUBLES:
            self._show(f"and {self._count - SHOWN_TROUBLES:,} more")


def _lines(rows: list[Submit]) -> str:
    first, last = rows[0].line, rows[-1].line
    return f"line {first}" if first == last else f"lines {first} to {last}"


def _culprit(rows: list[Submit], problem: ProblemError) -> str:
    """Name the line of a batch that the server points at: its field is ``[3].member``."""
    place = re.match(r"\[(\d+)\]", problem.field or "")
    if not place or int(place[1]) >= len(rows):
        return ""
    return f" (line {rows[int(place[1])].line}; the whole batch was left out)"
