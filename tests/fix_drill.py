"""Clients of a service that has a name: writers over HTTP and watchers with a Centrifuge SDK.

They do what good clients do: when a connection ends they resolve the name again and connect to
whatever it says then. A writer notes what was acknowledged, by whom and when; nothing else may be
held against a region that was lost. Needs `fix_dns.answering`, and the fixture `no_tasks_left`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import Any, Final, NamedTuple

import aiohttp

from fix_sdk import Sdk, python_sdk
from fix_server import PATIENCE_SECONDS

BOARD: Final = "drill"
CHANNEL: Final = f"board:{BOARD}:top:10"
LEVELS: Final = ("quorum", "local")
"""What writers ask for, in turns."""
_PAUSE_SECONDS: Final = 0.05
_REQUEST_SECONDS: Final = 3.0
_LEVEL_MS: Final = 2000


class Ack(NamedTuple):
    """A submit that was answered with success, at the level that it asked for."""

    at: float
    writer: int
    member: str
    level: str
    region: str
    """Which committed it."""


class Writers:
    """Some clients, each of which submits scores, each for a new member, up to 20 a second."""

    def __init__(self, url: str, count: int) -> None:
        self._url = f"{url}/v1/boards/{BOARD}/scores"
        self._count = count
        self.acks: list[Ack] = []
        self.refusals: Counter[str] = Counter()
        """Why submits were not acknowledged, and how often."""
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._under_way = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write until the end of the block."""
        tasks = [asyncio.create_task(self._write(number)) for number in range(self._count)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Let nothing be written, and nothing be under way, until the end of the block."""
        self._may_write.clear()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self._under_way:  # noqa: ASYNC110  # a count, not an event
                await asyncio.sleep(_PAUSE_SECONDS)
        yield
        self._may_write.set()

    async def until_all_acknowledged(self, since: float, regions: Sequence[str]) -> list[float]:
        """Wait until each writer had a submit committed in one of these regions after a moment.

        Gives how long after that each of them had, in seconds, the quickest first.
        """
        async with asyncio.timeout(PATIENCE_SECONDS * 2):
            while True:
                first: dict[int, float] = {}
                for ack in self.acks:
                    if ack.at > since and ack.region in regions:
                        first.setdefault(ack.writer, ack.at - since)
                if len(first) == self._count:
                    return sorted(first.values())
                await asyncio.sleep(_PAUSE_SECONDS)

    def members(self, region: str, *levels: str) -> set[str]:
        """Whose scores a region, or any if that is empty, has acknowledged at these levels."""
        return {
            ack.member for ack in self.acks if ack.level in levels and region in {"", ack.region}
        }

    async def _write(self, number: int) -> None:
        level = LEVELS[number % len(LEVELS)]
        place = {"level": level, "timeout_ms": str(_LEVEL_MS)}
        # Every connection is to where the name leads now.
        connector = aiohttp.TCPConnector(use_dns_cache=False)
        limits = aiohttp.ClientTimeout(total=_REQUEST_SECONDS, sock_connect=1)
        async with aiohttp.ClientSession(connector=connector, timeout=limits) as http:
            for score in range(1, sys.maxsize):
                body = {"member": f"w{number}-{score}", "score": score}
                await self._may_write.wait()
                self._under_way += 1
                try:
                    await self._submit(http, number, level, place, body)
                finally:
                    self._under_way -= 1
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _submit(
        self,
        http: aiohttp.ClientSession,
        number: int,
        level: str,
        place: Mapping[str, str],
        body: Mapping[str, Any],
    ) -> None:
        try:
            async with http.post(self._url, params=place, json=body) as answer:
                content = json.loads(await answer.read())
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self.refusals[type(error).__name__] += 1
            return
        if answer.status != 200:
            self.refusals[f"{answer.status} {content.get('title', 'level not reached')}"] += 1
            return
        region = str(content["sync"]["primary"]["region"])
        self.acks.append(Ack(monotonic(), number, str(body["member"]), level, region))


class Watchers:
    """Some clients that watch the top of the board."""

    def __init__(self, clients: Sequence[Sdk]) -> None:
        self._clients = clients

    def times_subscribed(self) -> list[int]:
        """How often each has subscribed so far."""
        return [len(client.all("subscribed", CHANNEL)) for client in self._clients]

    async def until_subscribed(self, since: float, before: Sequence[int]) -> list[float]:
        """Wait until each has subscribed more often than before.

        Gives how long that was after a moment, in seconds, the quickest first.
        """

        async def wait(client: Sdk, times: int) -> float:
            await client.heard("subscribed", CHANNEL, times + 1)
            return monotonic() - since

        waits = [wait(*each) for each in zip(self._clients, before, strict=True)]
        return sorted(await asyncio.gather(*waits))

    async def until_news(self) -> None:
        """Wait until each has been shown something new."""

        async def wait(client: Sdk) -> None:
            await client.heard("publication", CHANNEL, len(client.all("publication", CHANNEL)) + 1)

        await asyncio.gather(*(wait(client) for client in self._clients))


@asynccontextmanager
async def watching(url: str, count: int) -> AsyncIterator[Watchers]:
    """Run so many watchers until the end of the block."""
    async with AsyncExitStack() as clients:
        made = [
            await clients.enter_async_context(python_sdk(url, protobuf=number % 2 == 1))
            for number in range(count)
        ]
        for client in made:
            await client.connect()
            await client.subscribe(CHANNEL)
        watchers = Watchers(made)
        await watchers.until_subscribed(0.0, [0] * count)
        yield watchers
