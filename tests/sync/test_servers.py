"""Whole servers of one cluster: what each role serves, and what they tell each other."""

from __future__ import annotations

import json
from typing import Final

import aiohttp

from fix_postgres import Database, NewPostgres
from fix_redis import RedisServer
from fix_server import NewServer, Server, until

_PROFILE: Final = "/v1/profiles/ada"


def _profile(server: Server) -> str | None:
    reply = server.get(_PROFILE)
    return str(reply.json()["name"]) if reply.status == 200 else None


async def _submit(server: Server, board: str, member: str, score: int) -> dict[str, object]:
    data = {"board": board, "member": member, "score": score}
    async with aiohttp.ClientSession() as http, http.ws_connect(server.live_url) as live:
        await live.send_str('{"id":1,"connect":{}}')
        await live.receive_str()
        await live.send_json({"id": 2, "rpc": {"method": "submit", "data": data}})
        reply: dict[str, object] = json.loads(await live.receive_str())
        return reply


async def test_each_role_serves_its_part(
    postgres: Database, redis_server: RedisServer, new_server: NewServer
) -> None:
    flags = ("--storage-url", postgres.url, "--redis-url", redis_server.url, "--role")
    api, hub = new_server(*flags, "api").start(), new_server(*flags, "hub").start()
    api.create("a", policy="sum")
    assert api.submit("a", "ann", 1).status == 200
    assert "live     off: node.role is api" in api.out
    for path in ("/v1/boards", "/v1/boards/a", "/v1/boards/a/top", _PROFILE):
        assert hub.get(path).status == 404, path
    assert hub.submit("a", "ann", 1).status == 404
    for path in ("/healthz", "/readyz", "/health", "/metrics", "/v1/digest", "/openapi.json"):
        assert hub.get(path).status == 200, path
    assert "/v1/boards" not in hub.get("/openapi.json").json()["paths"]
    until(lambda: hub.metric("rankwire_members") == 1, "the hub has what the API took")
    assert "rpc" in await _submit(hub, "a", "ann", 10)
    until(lambda: api.scores("a") == {"ann": 11}, "the API has what the hub took")


def test_profiles_that_change_elsewhere_are_read_again(
    postgres: Database, redis_server: RedisServer, new_server: NewServer
) -> None:
    flags = ("--storage-url", postgres.url, "--redis-url", redis_server.url)
    one, two = new_server(*flags).start(), new_server(*flags).start()
    for number in range(5):
        writer, reader = (one, two) if number % 2 else (two, one)
        _profile(reader)
        assert writer.call("PUT", _PROFILE, {"name": f"Ada {number}"}).status == 200
        assert _profile(writer) == f"Ada {number}"
        # Less than a cache would remember it by itself.
        until(lambda reader=reader, n=number: _profile(reader) == f"Ada {n}", "news", 4)  # type: ignore[misc]


def test_a_node_that_nobody_writes_to_knows_that_it_could_not(
    new_postgres: NewPostgres, new_server: NewServer
) -> None:
    postgres = new_postgres().start()
    server = new_server("--storage-url", postgres.url).start()
    assert server.get("/readyz").json() == {"status": "ready"}
    postgres.kill()
    until(lambda: server.get("/readyz").status == 503, "not ready")
    assert server.metric("rankwire_storage_ready") == 0
    postgres.start()
    until(lambda: server.get("/readyz").status == 200, "ready")
    assert server.metric("rankwire_storage_ready") == 1


def test_a_cluster_of_redis_that_is_away_refuses_nothing(
    postgres: Database, new_server: NewServer
) -> None:
    flags = ("--storage-url", postgres.url, "--redis-url", "redis+cluster://127.0.0.1:1")
    server = new_server(*flags).start()
    server.create("a")
    assert server.submit("a", "ada", 1).status == 200
    assert server.call("PUT", _PROFILE, {"name": "Ada"}).status == 200
    page = server.get("/v1/boards/a/top?profiles=true")
    assert page.json()["entries"][0]["profile"]["name"] == "Ada"
    assert server.get("/readyz").json()["status"] == "degraded"
