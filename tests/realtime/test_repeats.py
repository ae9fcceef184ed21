"""Writes that are sent again to a real server, over HTTP and WebSocket: each counts once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, NamedTuple

import aiohttp
import pytest

from fix_postgres import Database
from fix_redis import RedisServer
from fix_sdk import RefusedError, Sdk, guard, python_sdk
from fix_server import NewServer, Server, until

pytestmark = pytest.mark.usefixtures("no_tasks_left")

SCORES: Final = "/v1/boards/sum/scores"
ONE: Final = {"member": "ada", "score": 5}
REPLAYED: Final = "idempotency-replayed"


class Answer(NamedTuple):
    """What a request got."""

    status: int
    is_repeat: bool
    content: Any


class Doors:
    """One caller at both doors of a server."""

    def __init__(self, server: Server, http: aiohttp.ClientSession, live: Sdk) -> None:
        self._server = server
        self._http = http
        self._live = live

    async def http(self, method: str, path: str, body: object, key: str) -> Answer:
        headers = {"idempotency-key": key}
        async with self._http.request(
            method, self._server.url + path, json=body, headers=headers
        ) as answer:
            content = await answer.json() if answer.status != 204 else None
            return Answer(answer.status, REPLAYED in answer.headers, content)

    async def live(self, body: dict[str, object], key: str) -> Any:
        return await self._live.rpc("submit", {"board": "sum", "id": key, **body})


@asynccontextmanager
async def _doors(server: Server, credential: str = "") -> AsyncIterator[Doors]:
    headers = {"authorization": f"Bearer {credential}"} if credential else {}
    async with AsyncExitStack() as stack:
        # As many connections as there are requests.
        connector = aiohttp.TCPConnector(limit=0)
        session = aiohttp.ClientSession(headers=headers, connector=connector)
        http = await stack.enter_async_context(session)
        live = await stack.enter_async_context(python_sdk(server.live_url, protobuf=False))
        await live.connect(token=credential)
        await live.heard("connected")
        yield Doors(server, http, live)


async def _share(doors: Doors, member: str) -> None:
    """Check that what one door has taken the other one knows; ends with the score 10."""
    body: dict[str, object] = {"member": member, "score": 5}
    first = await doors.http("POST", SCORES, body, "a")
    assert (first.status, first.is_repeat, first.content["score"]) == (200, False, 5)
    assert await doors.live(body, "a") == first.content
    receipt = await doors.live(body, "b")
    assert receipt["score"] == 10
    assert await doors.http("POST", SCORES, body, "b") == Answer(200, True, receipt)
    assert await doors.live(body, "b") == receipt
    for key in ("a", "b"):
        with pytest.raises(RefusedError) as refused:
            await doors.live({**body, "score": 6}, key)
        assert refused.value.code == 422
        other = await doors.http("POST", SCORES, {**body, "score": 6}, key)
        assert (other.status, other.content["type"]) == (422, "urn:rankwire:problem:key-reused")


@pytest.mark.parametrize("processes", ["0", "2"])
async def test_both_doors_share_what_a_caller_did(new_server: NewServer, processes: str) -> None:
    """With hub processes the calls go through a trunk, which is nobody's."""
    guarded = guard(new_server("--live-processes", processes))
    server = guarded.server.start()
    assert server.call("PUT", "/v1/boards/sum", {"policy": "sum", "player_submits": True})
    # One is called like the key.
    assert server.credential is not None
    members = ["ada", server.credential.split("_")[1]]
    for member in members:
        async with _doors(server, guarded.signer.token(member)) as doors:
            await _share(doors, member)
    async with _doors(server, server.credential) as doors:
        await _share(doors, "bob")
    assert server.scores("sum") == dict.fromkeys([*members, "bob"], 10)


async def test_everybody_shares_where_everybody_may(server: Server) -> None:
    server.create("sum", policy="sum")
    async with _doors(server) as doors:
        await _share(doors, "ada")
    assert server.scores("sum") == {"ada": 10}


async def test_many_at_once_count_once(server: Server) -> None:
    server.create("sum", policy="sum")
    async with _doors(server) as one, _doors(server) as other:
        for round_ in range(1, 6):
            key = f"round {round_}"
            tasks = [asyncio.create_task(one.http("POST", SCORES, ONE, key)) for _ in range(20)]
            calls = [asyncio.create_task(other.live({**ONE}, key)) for _ in range(20)]
            answers = await asyncio.gather(*tasks)
            receipts = [answer.content for answer in answers] + await asyncio.gather(*calls)
            assert all(receipt == receipts[0] for receipt in receipts)
            assert receipts[0]["score"] == 5 * round_
            assert {answer.status for answer in answers} == {200}
            assert sum(not answer.is_repeat for answer in answers) <= 1
    assert server.scores("sum") == {"ada": 25}


async def test_answers_outlive_a_crash(server: Server) -> None:
    server.create("gone")
    asked: list[tuple[str, str, object]] = [
        ("PUT", "/v1/boards/sum", {"policy": "sum"}),
        ("POST", SCORES, ONE),
        ("POST", f"{SCORES}:batch", [ONE, {"member": "bob", "score": 1}]),
        ("DELETE", "/v1/boards/sum/members/bob", None),
        ("DELETE", "/v1/boards/gone", None),
    ]
    first = []
    async with _doors(server) as doors:
        for number, (method, path, body) in enumerate(asked):
            first.append(await doors.http(method, path, body, f"key {number}"))
        receipt = await doors.live({**ONE}, "live")
    assert [answer.status for answer in first] == [201, 200, 200, 204, 204]
    assert not any(answer.is_repeat for answer in first)
    for _ in range(2):
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.restart)
        async with _doors(server) as doors:
            for number, (method, path, body) in enumerate(asked):
                again = await doors.http(method, path, body, f"key {number}")
                assert again == first[number]._replace(is_repeat=True)
            assert await doors.live({**ONE}, "live") == receipt
            assert await doors.live({**ONE}, "key 1") == first[1].content
        assert server.entries("sum") == [(1, "ada", 15)]
        assert server.get("/v1/boards/gone").status == 404


async def test_nodes_share_what_a_caller_did(
    new_server: NewServer, postgres: Database, redis_server: RedisServer
) -> None:
    """A client that gets no answer from one node may ask the other."""
    flags = ("--storage-url", postgres.url, "--redis-url", redis_server.url)
    one, other = (new_server(*flags).start() for _ in range(2))
    one.create("sum", policy="sum")
    until(lambda: other.get("/v1/boards/sum").status == 200, "the board on the other node")
    async with _doors(one) as here, _doors(other) as there:
        first = await here.http("POST", SCORES, ONE, "a")
        assert await there.http("POST", SCORES, ONE, "a") == first._replace(is_repeat=True)
        assert await there.live({**ONE}, "a") == first.content
        refused = await there.http("POST", SCORES, {**ONE, "score": 6}, "a")
        assert refused.content["type"] == "urn:rankwire:problem:key-reused"
        # At the same time, before one can know of the other's.
        for key in ("b", "c", "d"):
            asked = [doors.http("POST", SCORES, ONE, key) for doors in (here, there) * 5]
            answers = await asyncio.gather(*asked)
            assert len({str(answer.content) for answer in answers}) == 1
            assert sum(not answer.is_repeat for answer in answers) == 1
        # The other node may not know yet that the member is there.
        gone = await here.http("DELETE", "/v1/boards/sum/members/ada", None, "e")
        again = await there.http("DELETE", "/v1/boards/sum/members/ada", None, "e")
        assert (gone.status, again) == (204, gone._replace(is_repeat=True))
    for server in (one, other):
        until(lambda server=server: server.entries("sum") == [], "the removal")  # type: ignore[misc]
