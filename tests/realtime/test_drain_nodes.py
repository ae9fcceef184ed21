"""SIGTERM for one of two nodes behind a balancer, under 2,000 live sockets and running submits.

All watchers are told to come back and do, to the other node. No submit that was acknowledged is
lost and none counts twice, though each is sent again until it is acknowledged. And as the node
leaves first, nobody who submits over HTTP notices anything.

`make verify-drain` runs the long form, in which the node's time to leave passes by itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from fix_balancer import Balancer, balancing
from fix_crowd import Watcher
from fix_postgres import Database
from fix_redis import RedisServer
from fix_server import PATIENCE_SECONDS, NewServer, Server

_LIVE_SUBMITTERS: Final = 20
_HTTP_SUBMITTERS: Final = 10
_CHANNEL: Final = "board:a:top:10"
_SHUTDOWN: Final = 3001
# What each client needs of this process: its own end, and both ends of the balancer.
_FILES_EACH: Final = 3
_SPARE_FILES: Final = 1000
# Connections that are opened at once.
_AT_ONCE: Final = 200


class Form(NamedTuple):
    """How large and how long."""

    watchers: int
    leave_seconds: int
    drain_seconds: int
    is_told_twice: bool
    """Whether the node is told again, as soon as nobody sends it anything any more."""


_SHORT: Final = Form(2000, 40, 3, is_told_twice=True)
_LONG: Final = Form(6000, 15, 10, is_told_twice=False)


@pytest.fixture
def form() -> Form:
    """Choose the form, and see that this process may have the files for it."""
    form = _LONG if os.environ.get("VERIFY_DRAIN") else _SHORT
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = form.watchers * _FILES_EACH + _SPARE_FILES
    if needed > most:
        pytest.skip(f"{needed} open files are not allowed here: drains are NOT tested")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), most))
    return form


@pytest.mark.timeout(180)
async def test_all_go_to_the_other_node_and_no_submit_is_lost_or_doubled(
    form: Form, new_server: NewServer, postgres: Database, redis_server: RedisServer
) -> None:
    old, new = [
        await asyncio.to_thread(
            new_server(
                *("--storage-url", postgres.url, "--redis-url", redis_server.url),
                *("--node-leave-seconds", str(form.leave_seconds)),
                *("--live-drain-seconds", str(form.drain_seconds)),
                *("--live-tick-ms", "500"),
            ).start
        )
        for _ in range(2)
    ]
    old.create("a", policy="sum")
    async with balancing() as balancer, _watching(balancer, old, form.watchers) as watchers:
        submitters = _submitters(balancer)
        async with asyncio.TaskGroup() as group:
            for submitter in submitters:
                group.create_task(submitter.run())
            await _until(lambda: all(one.acknowledged for one in submitters), "submits")
            balancer.add(new)
            began, ended = await _stop(old, balancer, form)
            await _until(lambda: all(one.has_state for one in watchers), "watchers that are back")
            _go_on(submitters)
            await _until(lambda: all(one.is_done for one in submitters), "more submits")
        _check(watchers, submitters)
        scores = await asyncio.to_thread(new.scores, "a")
        assert scores == {one.member: one.acknowledged for one in submitters}
        rows = [(member, score) for _, member, score in new.entries("a")][:10]
        await _until(lambda: all(one.entries == rows for one in watchers), "the last state")
        _report(watchers, submitters, balancer.out_at[old] - began, began, ended)
    assert "Traceback" not in old.log + new.log


@asynccontextmanager
async def _watching(
    balancer: Balancer, node: Server, count: int
) -> AsyncIterator[Sequence[Watcher]]:
    """Have so many clients watch the board, all of them at one node."""
    balancer.add(node)
    port = balancer.live_port
    watchers = [Watcher(port, _CHANNEL, protobuf=number % 2 == 1) for number in range(count)]
    for start in range(0, count, _AT_ONCE):
        some = watchers[start : start + _AT_ONCE]
        await asyncio.gather(*(one.connect() for one in some))
        await _until(lambda some=some: all(one.has_state for one in some), "a first state")  # type: ignore[misc]
    yield watchers
    for one in watchers:
        one.leave()
    await _until(lambda: not any(balancer.carried.values()), "the end of all connections")


async def _stop(node: Server, balancer: Balancer, form: Form) -> tuple[float, float]:
    """Stop a node; gives when it was told to and when it had ended."""
    began = time.monotonic()
    os.kill(node.pid, signal.SIGTERM)
    await _until(lambda: node in balancer.out_at, "a node that gets nothing new")
    if form.is_told_twice:
        await _until(lambda: not balancer.carried[node, "http"], "an end of its requests")
        os.kill(node.pid, signal.SIGTERM)
    seconds = form.leave_seconds + form.drain_seconds + PATIENCE_SECONDS
    assert await asyncio.to_thread(node.wait, seconds) == 0
    return began, time.monotonic()


def _check(watchers: Sequence[Watcher], submitters: Sequence[_Submitter]) -> None:
    """Everybody was told once, and by nobody but the node that ended."""
    assert [[end.code for end in one.told] for one in watchers] == [[_SHUTDOWN]] * len(watchers)
    assert sum(one.lost for one in watchers) == 0
    live = [one for one in submitters if isinstance(one, _LiveSubmitter)]
    # One that was told to come back before the balancer knew was told again by the same node.
    assert all(set(one.told) <= {_SHUTDOWN} for one in live)
    assert sum(one.failures for one in submitters if isinstance(one, _HttpSubmitter)) == 0


def _report(
    watchers: Sequence[Watcher],
    submitters: Sequence[_Submitter],
    out: float,
    began: float,
    ended: float,
) -> None:
    told = sorted(one.told[0].at - began for one in watchers)
    gaps = sorted(one.shown_at[1] - one.told[0].at for one in watchers)
    print(  # noqa: T201  # the figures of this run
        f"{len(watchers)} watchers: out of the balancer after {out:.2f} s, told from {told[0]:.2f}"
        f" to {told[-1]:.2f} s, node ended after {ended - began:.2f} s; from being told to the"
        f" next state {gaps[len(gaps) // 2]:.2f} s at the median and {gaps[-1]:.2f} s at most;"
        f" {sum(one.acknowledged for one in submitters)} submits,"
        f" {sum(one.failures for one in submitters)} sent again"
    )


class _Submitter(ABC):
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


class _LiveSubmitter(_Submitter):
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


class _HttpSubmitter(_Submitter):
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


def _submitters(balancer: Balancer) -> list[_Submitter]:
    return [
        *(_LiveSubmitter(balancer, f"m{number}") for number in range(_LIVE_SUBMITTERS)),
        *(_HttpSubmitter(balancer, f"h{number}") for number in range(_HTTP_SUBMITTERS)),
    ]


def _go_on(submitters: Sequence[_Submitter]) -> None:
    for submitter in submitters:
        submitter.end_after(3)


async def _until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that is to happen on its own."""
    try:
        async with asyncio.timeout(2 * PATIENCE_SECONDS):
            while not condition():  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"waited in vain for: {what}")
