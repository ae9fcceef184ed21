"""Clients and an observer of several regions, beside the `Load` whose writers stay in theirs.

`Reader` is a session that goes from region to region and must never see a value go back; `Lags`
writes down what regions say of their links.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import aiohttp

from cluster_books import Books, draw
from fix_regions import SESSION, Regions
from fix_server import Server

# Boards on which values only grow in the load.
_GROWING: Final = ("sum", "best")
_READERS: Final = 3
_WRITES: Final = 0.1
_PAUSE_SECONDS: Final = 0.02
_LOOK_SECONDS: Final = 0.5
_CLIENT_SECONDS: Final = 5.0
_LOST: Final = (aiohttp.ClientError, ConnectionError, asyncio.TimeoutError)
_MILLIS: Final = 1000

Place = tuple[str, str]
"""A board and a member of it."""


class Reader:
    """A session: reads, and now and then writes, each time at any node of any region."""

    def __init__(
        self, number: int, servers: Sequence[Server], books: Books, http: aiohttp.ClientSession
    ) -> None:
        self._own = f"session-{number}"
        self._servers = servers
        self._books = books
        self._http = http
        self._chance = random.Random(self._own)
        self._token = "new"
        self._seen: dict[Place, int] = {}
        self.reads = 0
        self.writes = 0
        self.refused = 0
        """Answers that the node has not come as far as the session."""

    async def run(self) -> None:
        """Go on until it is cancelled."""
        while True:
            do = self._write if self._chance.random() < _WRITES else self._read
            with suppress(*_LOST):
                await do(self._chance.choice(self._servers))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _read(self, server: Server) -> None:
        board = self._chance.choice(_GROWING)
        known = [*self._books.members[board], self._own]
        place = (board, self._chance.choice(known))
        before, token = self._seen.get(place, 0), self._token
        answer = await self._ask(server, "GET", f"{board}/members/{place[1]}")
        if answer is None:
            return
        found = answer.get("score", 0)
        self.reads += 1
        assert found >= before, f"{place} went from {before} to {found} in {token} at {server.url}"
        self._seen[place] = found

    async def _write(self, server: Server) -> None:
        score = draw(self._chance)
        book = self._books.of("best", self._own)
        book.begin(score)
        body = {"member": self._own, "score": score}
        answer = await self._ask(server, "POST", "best/scores", body)
        if answer is None or "score" not in answer:
            return
        book.acknowledge(score)
        self.writes += 1
        place = ("best", self._own)
        assert answer["score"] >= max(score, self._seen.get(place, 0))
        self._seen[place] = answer["score"]

    async def _ask(
        self, server: Server, method: str, path: str, body: object = None
    ) -> dict[str, Any] | None:
        """Ask within the session; None if it was refused. What is not there gives no score."""
        address, headers = f"{server.url}/v1/boards/{path}", {SESSION: self._token}
        async with self._http.request(method, address, json=body, headers=headers) as answer:
            content = await answer.json(content_type=None)
        if answer.status == 503:
            self.refused += content["type"].endswith(":not-there-yet")
            return None
        assert answer.status in {200, 404}, (answer.status, content)
        # What is refused says nothing new.
        self._token = answer.headers.get(SESSION, self._token)
        return dict(content)


class Lags:
    """The largest lag that any region reported of a link, and how often one was looked at."""

    def __init__(self, regions: Regions, http: aiohttp.ClientSession) -> None:
        self._regions = regions
        self._http = http
        self.worst_ms = 0.0
        self.looks = 0

    async def run(self) -> None:
        """Look at all regions until it is cancelled."""
        while True:
            for region in self._regions:
                with suppress(*_LOST):
                    async with self._http.get(f"{region.server.url}/v1/regions") as answer:
                        if answer.status == 200:
                            self._note(await answer.json())
            await asyncio.sleep(_LOOK_SECONDS)

    def _note(self, status: dict[str, Any]) -> None:
        for link in status["links"]:
            if link["lag_ms"] is not None:
                self.looks += 1
                self.worst_ms = max(self.worst_ms, link["lag_ms"])


class Watch:
    """Everything that watches regions under load."""

    def __init__(self, readers: list[Reader], lags: Lags) -> None:
        self.readers = readers
        self.lags = lags

    @property
    def reads(self) -> int:
        """Reads in all sessions."""
        return sum(reader.reads for reader in self.readers)

    @property
    def refused(self) -> int:
        """Reads that came before what their session has seen."""
        return sum(reader.refused for reader in self.readers)


@asynccontextmanager
async def watching(regions: Regions, books: Books) -> AsyncIterator[Watch]:
    """Watch regions until the end of the block."""
    timeout = aiohttp.ClientTimeout(total=_CLIENT_SECONDS)
    servers = [node.server for node in regions.nodes]
    async with (
        aiohttp.ClientSession(timeout=timeout) as http,
        asyncio.TaskGroup() as group,
    ):
        readers = [Reader(number, servers, books, http) for number in range(_READERS)]
        lags = Lags(regions, http)
        tasks = [group.create_task(reader.run()) for reader in readers]
        tasks.append(group.create_task(lags.run()))
        yield Watch(readers, lags)
        for task in tasks:
            task.cancel()
