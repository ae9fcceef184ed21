"""SIGTERM: what was accepted is answered, what was answered is kept, and the end is clean."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from http import HTTPStatus

import pytest
from centrifuge import (  # type: ignore[import-untyped]
    Client,
    ClientEventHandler,
    ConnectingContext,
)

from fix_engine import journal_tail
from fix_server import NewServer, Server, closed, until

_SECONDS = 30.0


class _Connection:
    """A keep-alive connection that knows exactly when a request has left."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def opened(cls, server: Server) -> AsyncIterator[_Connection]:
        """Connect, and close in the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", server.http_port)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def send(self, member: str) -> None:
        """Hand a submit to the kernel."""
        body = json.dumps({"member": member, "score": 1}).encode()
        self._writer.write(
            b"POST /v1/boards/a/scores HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
        assert not self._writer.transport.get_write_buffer_size()

    async def answer(self) -> HTTPStatus | None:
        """Read the answer to the end and give its status; None if the connection ended instead."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            lines = head.decode().lower().split("\r\n")
            (length,) = (line for line in lines if line.startswith("content-length: "))
            await self._reader.readexactly(int(length.partition(": ")[2]))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return HTTPStatus(int(lines[0].split()[1]))


async def _wait(condition: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(until, condition, what)


def _waiting(server: Server) -> int:
    return int(server.metric("rankwire_pending_writes"))


async def _look(figure: Callable[[], int], expected: int) -> int:
    """Give a figure some time to become what is expected, and take it as it is then."""
    found = figure()
    for _ in range(25):
        if found >= expected:
            break
        await asyncio.sleep(0.01)
        found = await asyncio.to_thread(figure)
    return found


async def _end(server: Server) -> int:
    return await asyncio.to_thread(server.wait)


def _terminate(server: Server) -> None:
    os.kill(server.pid, signal.SIGTERM)


def _assert_clean_end(server: Server) -> None:
    assert "Traceback" not in server.log
    assert journal_tail(server.directory) == 0, "the last checkpoint has everything"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_at_once(server: Server, number: signal.Signals) -> None:
    server.create("a")
    server.submit("a", "ann", 1)
    os.kill(server.pid, number)
    assert server.wait(10) == 0
    _assert_clean_end(server)
    assert server.restart().scores("a") == {"ann": 1}


@pytest.mark.parametrize("seed", range(5))
async def test_under_load(server: Server, seed: int) -> None:
    """Every request that is on its way when the signal comes gets an answer."""
    chance = random.Random(seed)
    server.create("a", policy="sum")
    acknowledged: dict[str, int] = {}
    unanswered: dict[str, int] = {}
    asked: list[HTTPStatus | None] = []
    ended = False

    async def client(member: str) -> None:
        async with _Connection.opened(server) as connection:
            while True:
                connection.send(member)
                before = not ended
                status = await connection.answer()
                if before:
                    asked.append(status)
                if status is HTTPStatus.OK:
                    acknowledged[member] = acknowledged.get(member, 0) + 1
                elif status is None:
                    unanswered[member] = 1
                    return
                else:
                    assert status is HTTPStatus.SERVICE_UNAVAILABLE

    async with asyncio.timeout(_SECONDS), asyncio.TaskGroup() as group:
        for number in range(16):
            group.create_task(client(f"m{number}"))
        await _wait(lambda: len(acknowledged) == 16, "load")
        await asyncio.sleep(chance.uniform(0, 0.1))
        _terminate(server)
        ended = True
    assert await _end(server) == 0
    _assert_clean_end(server)
    assert len(asked) > 16
    assert None not in asked, "sent before the signal and not answered"
    scores = await asyncio.to_thread(lambda: server.restart().scores("a"))
    for member, score in scores.items():
        assert score - acknowledged[member] in range(unanswered[member] + 1)
    assert scores.keys() == acknowledged.keys()


@pytest.mark.parametrize("mended", [True, False])
async def test_accepted_writes_wait_for_the_storage_and_are_answered(
    new_server: NewServer, mended: bool
) -> None:
    """The storage does not answer while the server is told to stop, for longer than its grace."""
    server = new_server("--storage-busy-seconds", "30" if mended else "6").start()
    server.create("a", policy="sum")
    members = [f"m{number}" for number in range(8)]
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(_Connection.opened(server)) for _ in members]
        other = stack.enter_context(closing(sqlite3.connect(server.directory / "journal.sqlite")))
        other.execute("BEGIN IMMEDIATE")
        waiting = 0
        for connection, member in zip(connections, members, strict=True):
            connection.send(member)
            waiting = await _look(lambda: _waiting(server), waiting + 1)
        # What waits does so behind the batch that waits for the lock, and which has the others.
        assert waiting > 0
        _terminate(server)
        await _wait(lambda: "stopping" in server.log, "the beginning of the end")
        if mended:
            other.rollback()
        async with asyncio.timeout(_SECONDS):
            answers = [await connection.answer() for connection in connections]
        assert await _end(server) == 0
    assert set(answers) == {HTTPStatus.OK if mended else HTTPStatus.SERVICE_UNAVAILABLE}
    _assert_clean_end(server)
    scores = await asyncio.to_thread(lambda: server.restart().scores("a"))
    assert scores == (dict.fromkeys(members, 1) if mended else {})


async def test_watchers_are_told(server: Server) -> None:
    codes: list[int] = []

    class Events(ClientEventHandler):  # type: ignore[misc]
        async def on_connecting(self, ctx: ConnectingContext) -> None:
            codes.append(ctx.code)

    others = asyncio.all_tasks()
    clients = [Client(server.live_url, events=Events(), proxy=None) for _ in range(3)]
    for client in clients:
        await client.connect()
        await client.ready(_SECONDS)
    codes.clear()
    assert await asyncio.to_thread(server.terminate) == 0
    await _wait(lambda: len(codes) == 3, "three watchers who know")
    for client in clients:
        await client.disconnect()
    await closed(others)
    assert codes == [3001] * 3
