"""How a region becomes the primary, coordinated by one of its own nodes.

What is newer is decided by the pair of an epoch and its primary, so two regions that take the same
number at the same time do not both win (as ballots in Lamport's "The Part-Time Parliament"). A
region that has promised takes no older primary any more, so what an old primary may still do ends
with its lease, and any two majorities share a region. The order: ask everybody; promise;
let leases of whoever did not promise run out; have all that anybody had; open.
A failover that fails leaves the promises as they are: it has to be tried again, here or elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from rankwire.sync.regions.errors import FailoverError, PeerError
from rankwire.sync.regions.levels import quorum
from rankwire.sync.regions.state import LEASE_MARGIN_SECONDS
from rankwire.sync.regions.status import FailoverReport, Step
from rankwire.sync.regions.wire import PromiseAnswer, PromiseRequest, decode, encode

if TYPE_CHECKING:
    from rankwire.sync.regions.here import Here
    from rankwire.sync.regions.peers import Peer

_PROMISE_SECONDS: Final = 5.0
# For the rest when most have answered.
_REST_SECONDS: Final = 1.0
# For a region that is asked to take over itself, all of it.
_TAKE_SECONDS: Final = 120.0
_CATCH_UP_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.1
_LEASE_STARTS_SECONDS: Final = 10.0

_Ask = Callable[[int, Collection[str]], Awaitable[list[PromiseAnswer]]]
"""Asks regions to promise an epoch."""

_log = structlog.get_logger(__name__)


class Failover:
    """A node's part in changes of the primary."""

    def __init__(
        self, here: Here, peers: Mapping[str, Peer], find_faults: Callable[[str], str | None]
    ) -> None:
        """Coordinate for this region. `find_faults` tells why a region is not fit to take over."""
        self._here = here
        self._settings = here.settings
        self._journal = here.journal
        self._threads = here.threads
        self._urgent = here.urgent
        self._state = here.state
        self._peers = peers
        self._find_faults = find_faults
        self._under_way = asyncio.Lock()

    async def promise(self, body: bytes) -> bytes:
        """Answer a `PromiseRequest`. Raises ValueError, StorageError."""
        request = decode(body, PromiseRequest)
        if request.take:
            return encode(await self._take_over())
        promised = False
        problem = self._state.doubt(request.epoch, request.primary)
        names = self._settings.all_names
        if not problem and request.names and request.names != names:
            # What is a majority there may be none here.
            problem = f"its regions are {', '.join(request.names)}, and here {', '.join(names)}"
        if request.epoch and not problem:
            promised = await self._promise_here(request.epoch, request.primary)
        return encode(await self._answer(promised, problem or ""))

    async def run(self, *, force: bool) -> FailoverReport:
        """Make this region the primary. Raises FailoverError, StorageError."""
        if self._under_way.locked():
            raise FailoverError("a failover is under way on this node already")
        async with self._under_way:
            return await _Attempt(self._here, self._ask, force=force).run()

    async def fail_back(self) -> FailoverReport:
        """Make the region of the settings the primary again. Raises FailoverError, StorageError."""
        target, name = self._settings.chosen_primary, self._settings.name
        row = await self._state.refresh()
        if row.primary == target and row.is_open:
            raise FailoverError(f"region {target} is the primary already")
        if target == name:
            # Nothing is lost if the others are reached; those that are not are named.
            if row.primary in self._peers and (fault := self._find_faults(row.primary)):
                raise FailoverError(f"the primary is not handed over: {fault}")
            return await self.run(force=False)
        if fault := self._find_faults(target):
            raise FailoverError(f"the primary is not handed over: {fault}")
        began = monotonic()
        answer = await self._ask_to_take(target)
        await self._state.refresh()
        step = Step(f"region {target} took over", (monotonic() - began) * 1000)
        return FailoverReport(target, row.primary, answer.epoch, [step], 0)

    async def _promise_here(self, epoch: int, primary: str) -> bool:
        promised = await self._urgent.run(self._journal.promise, epoch, primary)
        await self._state.refresh()
        return promised

    async def _answer(self, promised: bool, problem: str = "") -> PromiseAnswer:
        row = await self._state.refresh()
        # After the promise: nothing of an older epoch is committed here from then on.
        vector = await self._threads.run(self._journal.vector)
        return PromiseAnswer(row.region, row.epoch, row.primary, vector, promised, problem)

    async def _take_over(self) -> PromiseAnswer:
        try:
            await self.run(force=False)
        except FailoverError as error:
            return await self._answer(False, str(error))
        return await self._answer(True)

    async def _ask_to_take(self, target: str) -> PromiseAnswer:
        body = encode(PromiseRequest(0, target, take=True))
        try:
            content = await self._peers[target].post("promise", body, _TAKE_SECONDS)
            answer = decode(content, PromiseAnswer)
        except (PeerError, ValueError) as error:
            raise FailoverError(f"region {target} did not take over: {error}") from error
        if not answer.promised:
            raise FailoverError(f"region {target} did not take over: {answer.problem}")
        return answer

    async def _ask(self, epoch: int, names: Collection[str]) -> list[PromiseAnswer]:
        """Ask other regions to promise, or with 0 only how they are; give the answers.

        When most have answered, the rest has little time left: a region that is silent must not
        hold up a failover.
        """
        settings = self._settings
        body = encode(PromiseRequest(epoch, settings.name, names=settings.all_names))
        peers = [peer for name, peer in self._peers.items() if name in names]
        asking = {asyncio.create_task(self._ask_one(peer, body)) for peer in peers}
        answers: list[PromiseAnswer] = []
        seconds: float | None = None
        while asking:
            done, asking = await asyncio.wait(
                asking, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            answers += [answer for task in done if (answer := task.result()) is not None]
            if not done:
                break
            counted = [answer for answer in answers if answer.promised or not epoch]
            if len(counted) + 1 >= quorum(len(self._peers) + 1):
                seconds = _REST_SECONDS
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        return answers

    async def _ask_one(self, peer: Peer, body: bytes) -> PromiseAnswer | None:
        try:
            content = await peer.post("promise", body, _PROMISE_SECONDS)
            answer = await asyncio.to_thread(decode, content, PromiseAnswer)
        except (PeerError, ValueError) as error:
            _log.warning("no promise", region=peer.name, reason=str(error))
            return None
        problem = self._state.doubt(answer.epoch, answer.primary) or answer.problem
        if problem or answer.region != peer.name:
            reason = problem or f"region {answer.region} answered"
            _log.warning("no promise", region=peer.name, reason=reason)
            return None
        return answer


class _Attempt:
    """One failover to this region."""

    def __init__(self, here: Here, ask: _Ask, *, force: bool) -> None:
        self._name = here.settings.name
        self._lease_seconds = here.settings.lease_seconds
        self._journal = here.journal
        self._threads = here.threads
        self._urgent = here.urgent
        self._state = here.state
        self._peers = here.peers
        self._regions = len(here.peers) + 1
        self._ask = ask
        self._force = force
        self._began = monotonic()
        self._steps: list[Step] = []

    async def run(self) -> FailoverReport:
        row = await self._state.refresh()
        if self._state.is_primary:
            raise FailoverError(f"region {self._name} is the primary already")
        answers = await self._ask(0, self._peers)
        known = [row.ballot, *((each.epoch, each.primary) for each in answers)]
        newest, before = max(known)
        self._note(f"{len(answers) + 1} of {self._regions} regions answer")
        self._need_majority(len(answers) + 1, "answer")
        epoch = newest + 1
        if not await self._urgent.run(self._journal.promise, epoch, self._name):
            raise FailoverError("another failover is under way: this region has promised elsewhere")
        # Who is silent would only cost time.
        there = [answer.region for answer in answers]
        promises = [each for each in await self._ask(epoch, there) if each.promised]
        count = len(promises) + 1
        self._note(f"{count} of {self._regions} regions promise epoch {epoch}")
        self._need_majority(count, "promise")
        if count != self._regions:
            # Whoever did not promise may be a primary, also one that nobody here remembers.
            await asyncio.sleep(self._lease_seconds + LEASE_MARGIN_SECONDS)
            self._note("every lease that there may have been is over")
        lost = await self._catch_up(union([answer.vector for answer in promises]))
        await self._open(epoch, has_majority=count >= quorum(self._regions))
        _log.warning("this region is primary", epoch=epoch, before=before, forced=self._force)
        return FailoverReport(self._name, before, epoch, self._steps, lost)

    def _need_majority(self, count: int, what: str) -> None:
        needed = quorum(self._regions)
        if count < needed and not self._force:
            raise FailoverError(
                f"{count} of {self._regions} regions {what}, and {needed} are needed; use force "
                "only if the old primary is known to be stopped"
            )

    async def _catch_up(self, wanted: Mapping[int, int]) -> int:
        """Wait until the journal has all that others had. Gives how many batches it lacks."""
        deadline = monotonic() + _CATCH_UP_SECONDS
        while lacking := lack(await self._threads.run(self._journal.vector), wanted):
            if monotonic() >= deadline:
                if self._force:
                    break
                raise FailoverError(
                    f"this region still lacks {lacking} batches that others have; it has promised, "
                    "so try again here"
                )
            await asyncio.sleep(_LOOK_SECONDS)
        self._note("all that others have is here" if not lacking else f"{lacking} batches lack")
        return lacking

    async def _open(self, epoch: int, *, has_majority: bool) -> None:
        if not await self._urgent.run(self._journal.open_primary, epoch):
            raise FailoverError("another region has become primary meanwhile")
        if not has_majority:
            # By force: there is no majority to hold a lease with.
            await self._urgent.run(self._journal.extend_lease, epoch, None)
        deadline = monotonic() + _LEASE_STARTS_SECONDS
        await self._state.refresh()
        while not self._state.is_primary and monotonic() < deadline:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._state.refresh()
        if not self._state.is_primary:
            raise FailoverError(
                f"this region is open in epoch {epoch} but has no lease yet: most regions have to "
                "answer its leader first"
            )
        self._note("this region takes writes")

    def _note(self, what: str) -> None:
        self._steps.append(Step(what, (monotonic() - self._began) * 1000))


def union(vectors: Sequence[Mapping[int, int]]) -> dict[int, int]:
    """Give the largest number of each origin."""
    found: dict[int, int] = {}
    for vector in vectors:
        for origin, number in vector.items():
            found[origin] = max(number, found.get(origin, 0))
    return found


def lack(has: Mapping[int, int], wanted: Mapping[int, int]) -> int:
    """Count the batches that are wanted and not there."""
    return sum(max(number - has.get(origin, 0), 0) for origin, number in wanted.items())
