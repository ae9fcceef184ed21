"""Hears from other regions which batches they durably have.

Each peer is asked one question at a time: of each origin for the smallest number that anybody waits
for. It answers when it has one of them, and serves everybody up to the numbers that it gives. So
the number of questions does not grow with the number of writes, and what a peer lacks for long
holds up nobody who waits for something else. Nothing is asked while nobody waits.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from rankwire.sync.regions.errors import PeerError
from rankwire.sync.regions.wire import MOST_WAIT_MS, AwaitAnswer, AwaitRequest, decode, encode

if TYPE_CHECKING:
    from rankwire.sync.regions.peers import Peer

_REQUEST_SECONDS: Final = 5.0
_SHORTEST_SECONDS: Final = 0.05
_LONGEST_SECONDS: Final = 1.0

_log = structlog.get_logger(__name__)


class Waiter:
    """Somebody who waits for a batch to be in one region."""

    def __init__(self, origin: int, number: int) -> None:
        self.origin = origin
        self.number = number
        self.done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        """The moment, by `time.monotonic`, at which it was known."""


class Acks:
    """What one peer is asked. `run` is a task."""

    def __init__(self, peer: Peer) -> None:
        """Ask this peer."""
        self.peer = peer
        self._waiters: list[Waiter] = []
        self._is_wanted = asyncio.Event()
        self.trouble: str | None = None
        """Why it could not be asked last time."""
        self.asked = 0

    @property
    def waiting(self) -> int:
        """How many batches are waited for."""
        return len(self._waiters)

    def add(self, origin: int, number: int) -> Waiter:
        """Begin to wait. Whoever does has to call `leave` in the end."""
        waiter = Waiter(origin, number)
        if number <= 0:
            waiter.done.set_result(monotonic())
            return waiter
        self._waiters.append(waiter)
        self._is_wanted.set()
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Wait no longer."""
        waiter.done.cancel()
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    async def run(self) -> None:
        """Ask whenever somebody waits, until cancelled."""
        pause = _SHORTEST_SECONDS
        while True:
            await self._is_wanted.wait()
            try:
                await self._ask()
            except PeerError as error:
                self.trouble = str(error)
            except Exception as error:  # noqa: BLE001  # whatever it is, others still wait
                self.trouble = f"asking failed: {error!r}"
                _log.warning("cannot ask", region=self.peer.name, exc_info=True)
            else:
                self.trouble, pause = None, _SHORTEST_SECONDS
                continue
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            pause = min(2 * pause, _LONGEST_SECONDS)

    async def _ask(self) -> None:
        if not self._waiters:
            self._is_wanted.clear()
            return
        # Of each origin the smallest number, so that whoever waits for less hears of it first.
        wanted: dict[int, int] = {}
        for waiter in self._waiters:
            least = wanted.get(waiter.origin, waiter.number)
            wanted[waiter.origin] = min(least, waiter.number)
        self.asked += 1
        name = self.peer.name
        content = await self.peer.post(
            "await", encode(AwaitRequest(wanted, MOST_WAIT_MS)), _REQUEST_SECONDS
        )
        try:
            answer = decode(content, AwaitAnswer)
        except ValueError as error:
            raise PeerError(f"region {name} sent what is no answer: {error}") from None
        if answer.region != name:
            raise PeerError(f"the address of region {name} leads to region {answer.region!r}")
        self._acknowledge(answer.vector)

    def _acknowledge(self, vector: Mapping[int, int]) -> None:
        now = monotonic()
        rest = []
        for waiter in self._waiters:
            if waiter.number > vector.get(waiter.origin, 0):
                rest.append(waiter)
            elif not waiter.done.done():
                waiter.done.set_result(now)
        self._waiters = rest
