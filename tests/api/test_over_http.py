"""The API over real connections, served as users run it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from urllib.parse import quote, urlsplit

import aiohttp
import pytest
from yarl import URL

from fix_server import Server

BOARD = "/v1/boards/b"


@pytest.fixture
async def http(server: Server) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        async with session.put(server.url + BOARD) as answer:
            assert answer.status == 201
        yield session


@pytest.mark.parametrize(
    "member",
    [
        "ada",
        "a/b",
        "a%2Fb",
        "100%",
        "who?#&=+;",
        "José Piendibene",
        "日本/東京",
        "👩‍🚀",
        "..",
        ".",
        "a\\b\"c'",
        "é" * 64,
        "top",
        "x:batch",
    ],
)
async def test_any_member_id_goes_there_and_back(
    server: Server, http: aiohttp.ClientSession, member: str
) -> None:
    scores = server.url + BOARD + "/scores"
    async with http.post(scores, json={"member": member, "score": 7}) as answer:
        assert (answer.status, (await answer.json())["member"]) == (200, member)
    # Dots must be escaped as well: clients and proxies resolve "..", not "%2E%2E".
    segment = quote(member, safe="").replace(".", "%2E")
    address = f"{server.url}{BOARD}/members/{segment}"
    async with http.get(URL(address, encoded=True)) as answer:
        assert (answer.status, (await answer.json())["member"]) == (200, member)
    async with http.get(URL(address + "/around", encoded=True)) as answer:
        assert (await answer.json())["entries"][0]["member"] == member
    async with http.get(URL(address + "%zz", encoded=True)) as answer:
        assert answer.status == 400
    async with http.delete(URL(address, encoded=True)) as answer:
        assert (answer.status, await answer.read()) == (204, b"")


async def test_head_has_the_headers_of_get(server: Server, http: aiohttp.ClientSession) -> None:
    for path in (BOARD, f"{BOARD}/top", f"{BOARD}/members/none", "/healthz", "/openapi.json"):
        async with http.get(server.url + path) as get, http.head(server.url + path) as head:
            assert (head.status, await head.read()) == (get.status, b"")
            for name in ("content-type", "content-length", "etag"):
                assert head.headers.get(name) == get.headers.get(name)
            assert get.content_length == len(await get.read())


async def test_a_known_version_is_not_sent_again(
    server: Server, http: aiohttp.ClientSession
) -> None:
    top = server.url + BOARD + "/top"
    async with http.get(top) as answer:
        etag = answer.headers["etag"]
    async with http.get(top, headers={"if-none-match": etag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")


async def test_a_body_without_end_is_refused(server: Server, http: aiohttp.ClientSession) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65_536
            await asyncio.sleep(0)

    headers = {"content-type": "application/json"}
    for path in ("scores", "scores:batch"):
        try:
            async with http.post(
                f"{server.url}{BOARD}/{path}", data=endless(), headers=headers
            ) as answer:
                assert answer.status == 413
        except aiohttp.ClientConnectionError:
            # The server has answered and closed while the client was still sending.
            pass
    async with http.get(server.url + BOARD) as answer:
        assert (await answer.json())["version"] == 0


def test_who_hangs_up_in_a_body_changes_nothing(server: Server) -> None:
    server.create("b")
    address = urlsplit(server.url)
    for path in ("scores", "scores:batch"):
        request = (
            f"POST {BOARD}/{path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            'content-length: 500\r\n\r\n{"member":"ada","score":1}'
        )
        with socket.create_connection((address.hostname, address.port or 0)) as connection:
            connection.sendall(request.encode())
    assert server.get(f"{BOARD}/top").json()["version"] == 0
    assert server.submit("b", "ada", 1).status == 200
    assert "request failed" not in server.log


@pytest.mark.parametrize("method", ["QUERY", "OPTIONS", "PATCH", "TRACE", "PUT"])
async def test_unknown_methods(server: Server, http: aiohttp.ClientSession, method: str) -> None:
    async with http.request(method, f"{server.url}{BOARD}/top") as answer:
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
        assert answer.content_type == "application/problem+json"
