"""SIGTERM under many live connections and submits: all are told to come back, nothing is lost."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from typing import Final

import aiohttp
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from fix_sdk import Sdk, python_sdk
from fix_server import NewServer, Server, closed, until

_WATCHERS: Final = 260
_LIVE_SUBMITTERS: Final = 40
_HTTP_SUBMITTERS: Final = 10
_TOP: Final = "board:a:top:10"
_SHUTDOWN: Final = 3001


async def test_all_are_told_to_come_back_and_no_submit_is_lost(new_server: NewServer) -> None:
    server = await asyncio.to_thread(new_server().start)
    server.create("a", policy="sum")
    live = [_LiveSubmitter(server, f"m{number}") for number in range(_LIVE_SUBMITTERS)]
    http = [_HttpSubmitter(server, f"h{number}") for number in range(_HTTP_SUBMITTERS)]
    submitters: list[_Submitter] = [*live, *http]
    async with _watchers(server) as watchers:
        async with asyncio.TaskGroup() as group:
            for submitter in submitters:
                group.create_task(submitter.run())
            await asyncio.to_thread(
                until, lambda: all(one.acknowledged > 2 for one in submitters), "submits"
            )
            assert await asyncio.to_thread(server.terminate) == 0
        assert "Traceback" not in server.log
        assert [one.close_code for one in live] == [_SHUTDOWN] * len(live)
        for watcher in watchers:
            assert (await watcher.heard("connecting", times=2))["code"] == _SHUTDOWN

        await asyncio.to_thread(server.restart, same_ports=True)
        scores = server.scores("a")
        assert scores.keys() == {one.member for one in submitters}
        for one in submitters:
            assert scores[one.member] - one.acknowledged in range(one.unanswered + 1), one.member
        rows = [{"member": member, "score": score} for _, member, score in server.entries("a")]
        for watcher in watchers:
            await watcher.heard("subscribed", _TOP, times=2)
            await watcher.state(_TOP, lambda state: state["entries"] == rows[:10])


@asynccontextmanager
async def _watchers(server: Server) -> AsyncIterator[list[Sdk]]:
    """Connect clients in both encodings that watch the board."""
    others = asyncio.all_tasks()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(closed, others)
        clients = [
            await stack.enter_async_context(
                python_sdk(server.live_url, protobuf=number % 2 == 1, longest_delay=1)
            )
            for number in range(_WATCHERS)
        ]
        await asyncio.gather(*(_watch(client) for client in clients))
        yield clients


async def _watch(client: Sdk) -> None:
    await client.connect()
    await client.heard("connected")
    await client.subscribe(_TOP)
    await client.state(_TOP, lambda _: True)


class _Submitter(ABC):
    """Submits 1 for a member of its own, again and again, until the server is gone."""

    def __init__(self, server: Server, member: str) -> None:
        self.member = member
        self.acknowledged = 0
        self.unanswered = 0
        self._server = server

    @abstractmethod
    async def run(self) -> None:
        """Submit until the server is gone."""


class _LiveSubmitter(_Submitter):
    """Over WebSocket, without an SDK: those do not always tell why a connection ended."""

    close_code: int | None = None

    async def run(self) -> None:
        data = {"board": "a", "member": self.member, "score": 1}
        command = json.dumps({"id": 2, "rpc": {"method": "submit", "data": data}})
        async with connect(self._server.live_url, proxy=None) as socket:
            await socket.send('{"id":1,"connect":{}}')
            assert "connect" in json.loads(await socket.recv())
            try:
                while True:
                    await socket.send(command)
                    self.unanswered = 1
                    while (answer := json.loads(await socket.recv())) == {}:
                        await socket.send("{}")  # a ping
                    self.unanswered = 0
                    # Served as ever until its own turn to go comes.
                    assert "rpc" in answer, answer
                    self.acknowledged += 1
            except ConnectionClosed as end:
                self.close_code = end.rcvd.code if end.rcvd else None


class _HttpSubmitter(_Submitter):
    """Over HTTP."""

    async def run(self) -> None:
        body = {"member": self.member, "score": 1}
        async with aiohttp.ClientSession(self._server.url) as session:
            while True:
                try:
                    async with session.post("/v1/boards/a/scores", json=body) as answer:
                        assert answer.status in {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE}
                        self.acknowledged += answer.status == HTTPStatus.OK
                except aiohttp.ClientConnectorError:
                    return
                except aiohttp.ClientError:
                    self.unanswered = 1
                    return
