"""A node that was told to stop: it serves on for a while and says that it will not for long."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from typing import Any, Final

import pytest
from aiohttp import ClientSession, WSMsgType
from starlette.types import Message, Receive, Scope, Send

from fix_server import PATIENCE_SECONDS, NewServer, Server, until
from rankwire.api.door import Door
from rankwire.departure import Departure

# Longer than any of these tests takes.
_LONG: Final = ("--node-leave-seconds", "120", "--live-drain-seconds", "0")
_WHY: Final = "leaving: the node was told to stop"


def _tell(server: Server, number: signal.Signals = signal.SIGTERM) -> None:
    os.kill(server.pid, number)


def _leave(server: Server) -> None:
    """Tell it to stop, and wait until it says so."""
    _tell(server)
    until(lambda: server.get("/readyz").status == 503, "a node that is not ready")


def test_it_serves_on_and_says_that_it_is_not_ready(new_server: NewServer) -> None:
    server = new_server(*_LONG).start()
    server.create("a")
    assert server.get("/health").json()["checks"]["node:leaving"][0]["status"] == "pass"
    _leave(server)
    reply = server.get("/readyz")
    assert (reply.headers["content-type"], reply.json()["detail"]) == (
        "application/problem+json",
        _WHY,
    )
    reply = server.get("/health")
    assert (reply.status, reply.json()["status"]) == (503, "fail")
    assert reply.json()["checks"]["node:leaving"][0]["output"] == _WHY
    assert server.get("/readyz?for=reads").json()["detail"] == _WHY
    # What restarts a process that hangs is not to do so now.
    assert server.get("/healthz").status == 200
    assert server.submit("a", "ann", 1).status == 200
    assert server.scores("a") == {"ann": 1}
    assert server.running


async def test_it_takes_watchers_until_it_is_told_again(new_server: NewServer) -> None:
    server = await asyncio.to_thread(new_server(*_LONG).start)
    server.create("a")
    await asyncio.to_thread(_leave, server)
    async with ClientSession() as session, session.ws_connect(server.live_url) as live:
        await live.send_str(
            '{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"board:a:top:1"}}'
        )
        assert "connect" in json.loads((await live.receive_str()).partition("\n")[0])
        server.submit("a", "ann", 7)
        while '"score":7' not in await live.receive_str():
            pass
        _tell(server, signal.SIGINT)
        while (message := await live.receive(PATIENCE_SECONDS)).type is WSMsgType.TEXT:
            pass
        assert message.data == 3001
    assert await asyncio.to_thread(server.wait) == 0
    events = [word for word in ("leaving", "stopping", "stopped") if word in server.log]
    assert events == ["leaving", "stopping", "stopped"]
    assert await asyncio.to_thread(lambda: server.start().scores("a")) == {"ann": 7}


def test_it_ends_by_itself_when_its_time_is_over(new_server: NewServer) -> None:
    server = new_server("--node-leave-seconds", "1", "--live-drain-seconds", "0").start()
    began = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - began >= 1
    assert "leaving" in server.log


def test_without_a_time_it_does_not_leave(new_server: NewServer) -> None:
    server = new_server("--live-drain-seconds", "0").start()
    assert server.terminate() == 0
    assert "leaving" not in server.log
    assert "stopped" in server.log


async def test_a_failure_ends_it_at_once() -> None:
    """A node that breaks down is not kept for the rest of its time, nor one that was broken."""
    for is_early in (True, False):
        departure, failure = Departure(120), asyncio.Event()
        waiting = asyncio.create_task(departure.wait(failure))
        if is_early:
            failure.set()
        departure.ask()
        await asyncio.sleep(0.01)
        failure.set()
        await asyncio.wait_for(waiting, PATIENCE_SECONDS)
        assert (departure.share == 0) == is_early


def test_clients_are_let_go_of_their_connections(new_server: NewServer) -> None:
    """Whoever goes on with one connection is told to end it before the node does."""
    server = new_server("--node-leave-seconds", "60", "--live-drain-seconds", "0").start()
    place = (server.host, server.http_port)
    with socket.create_connection(place, timeout=PATIENCE_SECONDS) as connection:

        def ask() -> bytes:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b'{"status":"ok"}'):
                answer += connection.recv(4096)
            return answer

        for _ in range(20):
            assert b"connection: close" not in ask().lower()
        _tell(server)
        until(lambda: b"connection: close" in ask().lower(), "an answer that is the last")
        # The server does not only say so.
        assert connection.recv(4096) == b""
    assert server.running
    assert server.terminate() == 0


@pytest.mark.parametrize("share", [0.25, 1.0])
async def test_more_and_more_answers_end_their_connections(
    monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    ended = 0

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        nonlocal ended
        headers: Any = message.get("headers", ())
        ended += (b"connection", b"close") in headers

    departure = Departure(120)
    door = Door(departure=departure)
    door.open(app)
    await door({"type": "http"}, receive, send)
    assert ended == 0
    monkeypatch.setattr(Departure, "share", share)
    for _ in range(1000):
        await door({"type": "http"}, receive, send)
    # Six standard deviations of what chance does.
    assert abs(ended - 1000 * share) <= 6 * (1000 * share * (1 - share)) ** 0.5
