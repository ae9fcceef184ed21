"""Compares this region with all others, and makes the same what differs.

Promises: what is counted as different was proved to be so while writes went on, what is counted as
resolved was looked at again; memory and lists are bounded; one comparison runs at a time; writers
never wait for it longer than for reading some thousand members. It touches no storage: repairs are
writes like any other.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from rankwire.sync.regions import compare, settle
from rankwire.sync.regions.compare import Counted, Peer
from rankwire.sync.regions.compare_wire import (
    OUTLINE,
    REPAIR,
    STATES,
    OutlineRequest,
    RepairRequest,
    StatesRequest,
)
from rankwire.sync.regions.comparing import Comparing, Job
from rankwire.sync.regions.errors import TooManyError
from rankwire.sync.regions.local import Local
from rankwire.sync.regions.report import PeerReport, Progress, Report

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence


__all__ = ["AlreadyRunningError", "Job", "Local", "Verifier", "ensure_eventual_consistency"]

# So that regions that were started together do not compare together.
_JITTER: Final = 0.1
# Questions for states that are answered at a time, some of which wait: a region asks one at a time.
_MOST_WAITING: Final = 32

_log = structlog.get_logger(__name__)


class AlreadyRunningError(Exception):
    """A comparison is under way on this node."""


async def ensure_eventual_consistency(
    local: Local,
    peers: Mapping[str, Peer],
    job: Job,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Compare with all peers, one after the other, and repair if the job says so.

    A peer that fails is told of in its part of the report; the others are compared all the same.
    """
    began, at_ms = time.monotonic(), int(time.time() * 1000)
    counted = {name: Counted(peer) for name, peer in peers.items()}
    reports: list[PeerReport] = []
    for name in counted:
        progress = Progress(at_ms, name, len(reports), len(counted), 0, 0, 0)
        comparing = Comparing(local, counted, name, job, progress, on_progress)
        reports.append(await comparing.run())
    return Report.of(
        reports,
        region=job.region,
        at_ms=at_ms,
        seconds=round(time.monotonic() - began, 3),
        repair=job.repair,
        source=job.source,
    )


# For other regions.


def handlers(local: Local) -> dict[str, Callable[[bytes], Awaitable[bytes]]]:
    """Give what answers the comparisons and repairs of other regions, by the name of the question.

    They raise msgspec.MsgspecError for bodies that are none, TooManyError, StorageError and
    _core.RankwireError.
    """

    async def outline(body: bytes) -> bytes:
        request = msgspec.msgpack.decode(body, type=OutlineRequest)
        answer = await asyncio.to_thread(compare.answer_outline, local.engine, request)
        return msgspec.msgpack.encode(answer)

    waiting = 0

    async def states(body: bytes) -> bytes:
        nonlocal waiting
        request = msgspec.msgpack.decode(body, type=StatesRequest)
        if waiting >= _MOST_WAITING:
            raise TooManyError("too many comparisons wait for what members hold")
        waiting += 1
        try:
            return msgspec.msgpack.encode(await settle.answer_states(local, request))
        finally:
            waiting -= 1

    async def repair(body: bytes) -> bytes:
        request = msgspec.msgpack.decode(body, type=RepairRequest)
        return msgspec.msgpack.encode(await local.repair(request))

    return {OUTLINE: outline, STATES: states, REPAIR: repair}


class Verifier:
    """Compares now and then while this node leads, and whenever it is asked to."""

    def __init__(
        self,
        local: Local,
        region: str,
        peers: Callable[[], Mapping[str, Peer]],
        primary: Callable[[], str],
        verify_seconds: float,
        may_run: Callable[[], bool],
    ) -> None:
        """Prepare; `start` begins. With 0 `verify_seconds` it compares only when it is asked to."""
        self._local = local
        self._region = region
        self._peers = peers
        self._primary = primary
        self._seconds = verify_seconds
        self._may_run = may_run
        self._schedule: asyncio.Task[None] | None = None
        self._running: asyncio.Task[Report] | None = None
        self.progress: Progress | None = None
        """Of the comparison under way; None if there is none."""
        self.last: Report | None = None
        """The last one that ended."""
        self._whole: Report | None = None
        """The last one of all boards."""
        self._whole_at: float | None = None
        """When one of all boards came to its end with every other region, in Unix seconds."""

    def start(self) -> None:
        """Begin to compare now and then. On the event loop."""
        if self._seconds:
            self._schedule = asyncio.create_task(self._for_ever())

    async def stop(self) -> None:
        """End, also what is under way."""
        tasks = [task for task in (self._schedule, self._running) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def run(
        self,
        boards: Sequence[str] | None = None,
        *,
        repair: bool = False,
        source: str = "",
        needs_majority: bool = False,
    ) -> Report:
        """Compare these boards, or all, and repair them if asked to.

        With `needs_majority` sums are repaired only as most of all regions hold them. It goes on
        when the caller does not wait any more. Raises AlreadyRunningError, ValueError for a source
        that is no region, and _core.NotFoundError for a board that is not here.
        """
        if self._running is not None:
            raise AlreadyRunningError("regions are being compared already; see how far it is")
        peers = dict(self._peers())
        if source and source not in {self._region, *peers}:
            raise ValueError(f"there is no region named {source!r}")
        ids = None if boards is None else [self._local.engine.board_id(name) for name in boards]
        job = Job(self._region, self._primary(), ids, repair, source, needs_majority)
        self._running = asyncio.create_task(self._run(peers, job))
        self._running.add_done_callback(self._end)
        return await asyncio.shield(self._running)

    def figures(self) -> dict[str, float | None]:
        """Give the figures of the last comparison of all boards, for metrics; None before it.

        Only the node that leads has them: what others were once asked to find may be repaired long
        since.
        """
        last = self._whole
        if last is None or not self._may_run():
            names = ("at", "found", "resolved", "failed", "unsettled", "bytes")
            return {f"verify_{name}": None for name in names}
        return {
            "verify_at": self._whole_at,
            "verify_found": last.found,
            "verify_resolved": last.resolved,
            "verify_failed": last.failed,
            "verify_unsettled": last.unsettled,
            "verify_bytes": last.bytes_sent + last.bytes_received,
        }

    async def _run(self, peers: Mapping[str, Peer], job: Job) -> Report:
        self._note(Progress(int(time.time() * 1000), "", 0, len(peers), 0, 0, 0))
        report = await ensure_eventual_consistency(self._local, peers, job, self._note)
        self.last = report
        if job.boards is None:
            self._whole = report
            if report.is_whole:
                self._whole_at = report.at_ms / 1000 + report.seconds
        return report

    def _note(self, progress: Progress) -> None:
        self.progress = progress

    def _end(self, _: asyncio.Task[Report]) -> None:
        self._running = None
        self.progress = None

    async def _for_ever(self) -> None:
        while True:
            # Which region compares when is no secret, and need not be random for anybody.
            jitter = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
            await asyncio.sleep(self._seconds * jitter)
            if not self._may_run():
                continue
            try:
                # Nobody looks at what it is about to do.
                await self.run(repair=True, needs_majority=True)
            except AlreadyRunningError:
                continue
            except Exception:  # noqa: BLE001  # the next time it may work
                _log.exception("comparing regions failed")
