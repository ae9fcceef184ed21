"""Requests to other regions, against a server that answers what it likes."""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from rankwire.sync.regions.errors import PeerError
from rankwire.sync.regions.peers import Peer, open_http
from rankwire.sync.regions.wire import ANSWER_BYTES

SECRET = "never to be seen in an error"
Answer = Callable[[web.Request], web.StreamResponse]
Ask = Callable[[Answer], "asyncio.Future[bytes]"]


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    answers: list[Answer] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.path == "/base/v1/regions/pull"
        assert request.headers["Authorization"] == f"Bearer {SECRET}"
        assert await request.read() == b"question"
        return answers[-1](request)

    application = web.Application()
    application.router.add_post("/base/v1/regions/pull", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    async with open_http() as http:
        peer = Peer("us", f"http://127.0.0.1:{port}/base", http, SECRET)

        def run(given: Answer) -> asyncio.Future[bytes]:
            answers.append(given)
            return asyncio.ensure_future(peer.post("pull", b"question", 5.0))

        yield run
    await runner.cleanup()


def deflated(content: bytes, status: int = 200) -> web.Response:
    return web.Response(body=content, status=status, headers={"Content-Encoding": "deflate"})


async def test_answers_come_as_they_are_or_inflated(ask: Ask) -> None:
    assert await ask(lambda _: web.Response(body=b"plain")) == b"plain"
    content = bytes(ANSWER_BYTES)
    assert await ask(lambda _: deflated(zlib.compress(content, 1))) == content


async def test_large_requests_are_deflated_and_small_ones_are_not() -> None:
    taken: list[tuple[str | None, bytes]] = []

    async def take(request: web.Request) -> web.Response:
        # aiohttp's server inflates.
        taken.append((request.headers.get("Content-Encoding"), await request.read()))
        return web.Response(body=b"taken")

    app = web.Application(client_max_size=ANSWER_BYTES)
    app.router.add_post("/v1/regions/repair", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    bodies = (b"x" * 1000, b"x" * 100_000)
    async with open_http() as http:
        peer = Peer("us", site.name, http, SECRET)
        for body in bodies:
            assert await peer.post("repair", body, 5) == b"taken"
    await runner.cleanup()
    assert taken == [(None, bodies[0]), ("deflate", bodies[1])]
    assert peer.bytes_sent < 3000


WRONG: dict[str, tuple[Callable[[], web.Response], str]] = {
    "bomb": (lambda: deflated(zlib.compress(bytes(ANSWER_BYTES + 1), 9)), "more than"),
    "flood": (lambda: web.Response(body=bytes(ANSWER_BYTES + 1)), "more than"),
    "half": (lambda: deflated(zlib.compress(b"half of it")[:-4]), "ends too soon"),
    "no zlib": (lambda: deflated(b"what is no zlib"), "cannot be inflated"),
    "secret": (lambda: web.Response(status=401), "regions.secret"),
    "no peer": (lambda: web.Response(status=403), "one of its peers"),
    "problem": (
        lambda: deflated(zlib.compress(b'{"detail": "too busy"}'), 503),
        "answered 503: too busy",
    ),
    "error": (lambda: web.Response(body=b"<html>", status=502), "502: no reason is given"),
    "elsewhere": (
        lambda: web.Response(status=307, headers={"Location": "http://127.0.0.1:1/"}),
        "answered 307",
    ),
}


@pytest.mark.parametrize("what", WRONG)
async def test_what_is_wrong_is_one_clear_sentence(ask: Ask, what: str) -> None:
    make, said = WRONG[what]
    with pytest.raises(PeerError, match=said) as raised:
        await ask(lambda _: make())
    text = str(raised.value)
    assert text.startswith("region us")
    assert SECRET not in text
    assert "\n" not in text


async def test_region_that_takes_no_connection_is_not_said_to_give_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rankwire.sync.regions.peers._CONNECT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        # It takes one in, which it never accepts, and hears of no other.
        with socket.create_connection(address):
            async with open_http() as http:
                peer = Peer("us", f"http://127.0.0.1:{address[1]}", http, SECRET)
                said = r"region us cannot be reached: no connection within 0\.1 s"
                with pytest.raises(PeerError, match=said):
                    await peer.post("pull", b"", 60)


async def test_region_that_is_away_or_silent_is_said() -> None:
    async with open_http() as http:
        # Connections are made, and nobody takes them.
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            peer = Peer("us", f"http://127.0.0.1:{port}", http, SECRET)
            with pytest.raises(PeerError, match=r"region us did not answer within 0\.2 s"):
                await peer.post("pull", b"", 0.2)
        peer = Peer("us", "http://127.0.0.1:1", http, SECRET)
        # Everybody may read it in a problem or in `GET /health`: no address stands in it.
        with pytest.raises(PeerError) as refused:
            await peer.post("pull", b"", 5)
        assert str(refused.value) == "region us cannot be reached: Connection refused"
        assert peer.failures == 1
        peer = Peer("us", "http://no-such-host.invalid", http, SECRET)
        with pytest.raises(PeerError) as unknown:
            await peer.post("pull", b"", 5)
        assert str(unknown.value).startswith("region us cannot be reached: ")
        assert "invalid" not in str(unknown.value)


async def test_a_connection_that_breaks_is_said_without_an_address() -> None:
    async def leave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(leave, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, open_http() as http:
        for scheme in ("http", "https"):
            peer = Peer("us", f"{scheme}://127.0.0.1:{port}", http, SECRET)
            with pytest.raises(PeerError, match="region us cannot be reached: ") as raised:
                await peer.post("pull", b"", 5)
            assert str(port) not in str(raised.value)
