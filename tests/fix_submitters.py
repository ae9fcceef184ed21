"""Clients behind a balancer that submit again and again, and keep books of it.

Each adds 1 to the score of a member of its own on the board `a`, under a name that stays the same
until it is acknowledged: at the end, the score is what was acknowledged, or something was lost or
counted twice.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from fix_balancer import Balancer
from fix_server import PATIENCE_SECONDS


class Submitter(ABC):
    """Adds 1 to the score of a member of its own, and does each until that is acknowledged."""

    def __init__(self, balancer: Balancer, member: str) -> None:
        self.member = member
        self.acknowledged = 0
        self.failures = 0
        """Attempts that had to be made again."""
        self._balancer = balancer
        self._last: int | None = None

    async def run(self) -> None:
        """Submit until told to make the last one."""
        while not self.is_done:
            name = str(uuid.uuid4())
            while not await self.submit(name):
                self.failures += 1
                await asyncio.sleep(0.01)
            self.acknowledged += 1
            # So many that they are always under way, and leave the machine to the watchers.
            await asyncio.sleep(0.05)
        await self.close()

    def end_after(self, more: int) -> None:
        """Make so many more."""
        self._last = self.acknowledged + more

    @property
    def is_done(self) -> bool:
        return self._last is not None and self.acknowledged >= self._last

    @abstractmethod
    async def submit(self, name: str) -> bool:
        """Submit one, and tell whether it was acknowledged; the name is the same if it was not."""

    @abstractmethod
    async def close(self) -> None: ...


class LiveSubmitter(Submitter):
    """Over WebSocket."""

    def __init__(self, balancer: Balancer, member: str) -> None:
        super().__init__(balancer, member)
        self.told: list[int] = []
        self._socket: ClientConnection | None = None

    async def submit(self, name: str) -> bool:
        data = {"board": "a", "member": self.member, "score": 1, "id": name}
        try:
            if self._socket is None:
                url = f"ws://127.0.0.1:{self._balancer.live_port}/connection/websocket"
                self._socket = await connect(url, proxy=None)
                answer = await self._ask({"id": 1, "connect": {}})
                assert "connect" in answer
            answer = await self._ask({"id": 2, "rpc": {"method": "submit", "data": data}})
        except ConnectionClosed as end:
            self.told += [end.rcvd.code] if end.rcvd else [0]
            self._socket = None
            return False
        # Served as ever until its own turn to go comes.
        assert "rpc" in answer, answer
        return True

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()

    async def _ask(self, command: Any) -> Any:
        assert self._socket is not None
        await self._socket.send(json.dumps(command))
        while (answer := json.loads(await self._socket.recv())) == {}:
            await self._socket.send("{}")
        return answer


class HttpSubmitter(Submitter):
    """Over HTTP, on one connection as long as that is there."""

    def __init__(self, balancer: Balancer, member: str) -> None:
        super().__init__(balancer, member)
        self._session = aiohttp.ClientSession(f"http://127.0.0.1:{balancer.http_port}")

    async def submit(self, name: str) -> bool:
        body = {"member": self.member, "score": 1}
        headers = {"idempotency-key": name}
        with suppress(aiohttp.ClientError):
            async with self._session.post(
                "/v1/boards/a/scores", json=body, headers=headers
            ) as answer:
                return answer.status == HTTPStatus.OK
        return False

    async def close(self) -> None:
        await self._session.close()


def submitters_of(balancer: Balancer, *, live: int, http: int) -> list[Submitter]:
    """Make so many of both kinds."""
    return [
        *(LiveSubmitter(balancer, f"m{number}") for number in range(live)),
        *(HttpSubmitter(balancer, f"h{number}") for number in range(http)),
    ]


async def end_all(submitters: Sequence[Submitter]) -> None:
    """Have each make some more, which all have to come through."""
    for submitter in submitters:
        submitter.end_after(3)
    await eventually(lambda: all(one.is_done for one in submitters), "more submits")


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that is to happen on its own."""
    try:
        async with asyncio.timeout(2 * PATIENCE_SECONDS):
            while not condition():  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"waited in vain for: {what}")
