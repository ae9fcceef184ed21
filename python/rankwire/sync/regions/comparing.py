"""The comparison with one other region: what differs, its repair, and what is told of it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from rankwire import _core
from rankwire.storage import StorageError
from rankwire.sync.regions import compare, settle
from rankwire.sync.regions.compare import Counted, Found
from rankwire.sync.regions.errors import PeerError
from rankwire.sync.regions.repairing import Board, Plan, carry_out, truth
from rankwire.sync.regions.report import (
    MOST_BOARDS,
    MOST_SAMPLES,
    BoardReport,
    Held,
    PeerReport,
    Progress,
    Sample,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rankwire.sync.regions.compare_wire import State
    from rankwire.sync.regions.local import Local
    from rankwire.sync.regions.settle import Settled

_RESOLVED: Final = "resolved"

_log = structlog.get_logger(__name__)


class Job(msgspec.Struct, frozen=True):
    """What to compare, and what to do about what differs."""

    region: str
    """This one."""
    primary: str
    """The region whose sums count where there is no majority; empty if none is known."""
    boards: Sequence[int] | None = None
    """Ids; all if None."""
    repair: bool = False
    source: str = ""
    """The region whose sums count in any case; empty for none."""
    needs_majority: bool = False
    """Whether sums are left alone unless most of all regions hold the same."""


class Comparing:
    """The comparison with one of some peers."""

    def __init__(
        self,
        local: Local,
        peers: Mapping[str, Counted],
        name: str,
        job: Job,
        progress: Progress,
        on_progress: Callable[[Progress], None],
    ) -> None:
        """Prepare; the other peers are asked only which of two sums is the true one."""
        self._local = local
        self._peers = peers
        self._name = name
        self._peer = peers[name]
        self._job = job
        self._progress = progress
        self._on_progress = on_progress
        self._boards: list[BoardReport] = []
        self._counts = {"found": 0, "resolved": 0, "failed": 0, "unsettled": 0}
        self._compared = Found({}, [], [], 0, 0, is_stopped=False)

    async def run(self) -> PeerReport:
        """Compare, and repair if the job says so. A peer that fails is told of in the report."""
        began = time.monotonic()
        before = (self._peer.rounds, self._peer.bytes_sent, self._peer.bytes_received)
        trouble = None
        self._tell()
        try:
            await self._run()
        except (PeerError, StorageError, msgspec.MsgspecError) as error:
            trouble = str(error)
        except _core.RankwireError as error:
            trouble = error.args[0]
        if trouble is not None:
            _log.warning("cannot compare with a region", peer=self._name, reason=trouble)
        compared = self._compared
        return PeerReport(
            self._name,
            trouble,
            compared.is_stopped,
            compared.board_count,
            compared.member_count,
            **self._counts,
            rounds=self._peer.rounds - before[0],
            bytes_sent=self._peer.bytes_sent - before[1],
            bytes_received=self._peer.bytes_received - before[2],
            seconds=round(time.monotonic() - began, 3),
            boards=self._boards,
        )

    async def _run(self) -> None:
        step = lambda boards: self._tell(boards_compared=boards)  # noqa: E731  # a line
        found = await compare.find(self._local.engine, self._peer, self._job.boards, step)
        self._compared = found
        self._tell(
            boards_compared=found.board_count,
            candidates=sum(len(members) for members in found.members.values()),
        )
        for board in (*found.only_here, *found.only_there):
            settled = await settle.settle(self._local, self._peer, board, [])
            self._add(self._report(board, settled, {}))
        for board, members in found.members.items():
            settled = await settle.settle(self._local, self._peer, board, members)
            outcomes = dict.fromkeys(settled.differing, "found")
            if self._job.repair and settled.differing:
                outcomes = await self._repair(board, settled)
            self._add(self._report(board, settled, outcomes))

    def _tell(self, **changes: int) -> None:
        self._progress = msgspec.structs.replace(self._progress, **changes)
        self._on_progress(self._progress)

    # Repairs.

    async def _repair(self, board: int, settled: Settled) -> dict[str, str]:
        """Repair what differs, look again, and tell for each member what became of it."""
        members, name = list(settled.differing), settled.name or ""
        sure = await settle.settle(self._local, self._peer, board, members, is_thorough=True)
        plan, outcomes = await self._plan(board, name, sure)
        reasons = await carry_out(plan, Board(board, name), self._local, self._peers)
        tried = [member for member in members if member not in outcomes]
        again = await settle.settle(self._local, self._peer, board, tried)
        left = {*again.differing, *again.unsettled}
        for member in tried:
            if member not in left:
                outcomes[member] = _RESOLVED
            elif member in sure.same:
                outcomes[member] = self._why_no_difference()
            else:
                outcomes[member] = "; ".join(reasons.values()) or "the member changed meanwhile"
        # Of the other regions nobody looks again.
        for region in reasons.keys() - {self._job.region, self._name}:
            outcomes |= {item.member: reasons[region] for item in plan.items[region]}
        return outcomes

    async def _plan(self, board: int, name: str, sure: Settled) -> tuple[Plan, dict[str, str]]:
        """Say what is to be written, and of which members nothing, for what reason."""
        plan, outcomes = Plan(), {}
        if sure.differing and _policy(self._local.engine, name) == "sum":
            for member, states in (await self._states(board, sure.differing)).items():
                true = self._truth(states)
                if true is None:
                    outcomes[member] = self._why_no_truth(states)
                else:
                    plan.set(member, states, true)
        else:
            for member, (here, there) in sure.differing.items():
                plan.merge(member, {self._job.region: here, self._name: there})
        return plan, outcomes

    async def _states(
        self, board: int, differing: Mapping[str, tuple[State, State]]
    ) -> dict[str, dict[str, State]]:
        """Give what each region holds of these members, as far as that is proved.

        One that merely seems to hold the same as this region may lack the write that this one lost.
        """
        own, members = self._job.region, list(differing)
        states = {
            member: {own: here, self._name: there} for member, (here, there) in differing.items()
        }
        for name, peer in self._peers.items():
            if name == self._name:
                continue
            try:
                found = await settle.settle(self._local, peer, board, members, is_thorough=True)
            except (PeerError, msgspec.MsgspecError):
                continue
            pairs = found.differing | {member: (same, same) for member, same in found.same.items()}
            for member, (ours, theirs) in pairs.items():
                # Else it is proved for another moment.
                if ours == differing[member][0]:
                    states[member][name] = theirs
        return states

    def _truth(self, states: Mapping[str, State]) -> State | None:
        job = self._job
        return truth(
            states,
            regions=len(self._peers) + 1,
            source=job.source,
            primary=job.primary,
            needs_majority=job.needs_majority,
        )

    def _why_no_truth(self, states: Mapping[str, State]) -> str:
        job = self._job
        if job.source:
            return f"region {job.source}, whose sums are to count, was not reached"
        if unheard := sorted({job.region, *self._peers} - states.keys()):
            names = ", ".join(unheard)
            return f"it is not certain what {names} holds: repair again later, or name a source"
        if job.needs_majority:
            return "most regions do not hold the same: have it repaired, or name a source"
        return "there is no majority, and no primary that was reached: name a source"

    def _why_no_difference(self) -> str:
        return (
            f"the databases of {self._job.region} and {self._name} hold the same, but nodes that "
            "were asked do not: start the nodes of both again, one after the other"
        )

    # What is told.

    def _report(self, board: int, settled: Settled, outcomes: Mapping[str, str]) -> BoardReport:
        resolved = sum(outcome == _RESOLVED for outcome in outcomes.values())
        failed = len(outcomes) - resolved if self._job.repair else 0
        missing_in = {None: None, "here": self._job.region, "there": self._name}[settled.lacks]
        samples = [
            Sample(
                member,
                _held(self._local.engine, board, here),
                _held(self._local.engine, board, there),
                outcomes.get(member, "found"),
            )
            for member, (here, there) in list(settled.differing.items())[:MOST_SAMPLES]
        ]
        return BoardReport(
            settled.name or "",
            board,
            len(settled.differing) + (missing_in is not None),
            resolved,
            # No record brings a board back: an operator has to see to it.
            failed + (missing_in is not None and self._job.repair),
            max(len(settled.unsettled), settled.is_unsettled),
            missing_in,
            samples,
        )

    def _add(self, report: BoardReport) -> None:
        for name in self._counts:
            self._counts[name] += getattr(report, name)
        self._tell(found=self._counts["found"])
        if (report.found or report.unsettled) and len(self._boards) < MOST_BOARDS:
            self._boards.append(report)
        if report.found:
            _log.warning(
                "a board differs between regions",
                board=report.board,
                peer=self._name,
                missing_in=report.missing_in,
                found=report.found,
                resolved=report.resolved,
                failed=report.failed,
            )


def _policy(engine: _core.Engine, board: str) -> str:
    policy: str = json.loads(engine.describe(board))["policy"]
    return policy


def _held(engine: _core.Engine, board: int, state: State) -> Held:
    if state.code is None:
        return Held(None, None, state.generation)
    shown = _core.shown(engine, board, state.code, state.stamp)
    score, at_ms = (None, None) if shown is None else shown
    return Held(score, at_ms, state.generation)
