"""The load generator for live views: right figures about a right server, and a wrong one is caught.

It shares no code with the server, so this is also a second opinion on the protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from aiohttp import web
from centrifuge import fossil  # type: ignore[import-untyped]
from centrifuge.protocol import client_pb2  # type: ignore[import-untyped]

from fix_server import Server

_ROOT: Final = Path(__file__).parents[2]
_SECONDS: Final = 60.0


class Outcome(NamedTuple):
    """How a run ended."""

    code: int
    result: Any


@pytest.fixture(scope="session")
def program() -> Path:
    subprocess.run(
        ("cargo", "build", "--quiet", "-p", "rankwire-swarm"), cwd=_ROOT, check=True, timeout=110
    )
    return _ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug" / "rankwire-swarm"


def _run(program: Path, *arguments: str) -> Outcome:
    command = [str(program), *arguments, "--output", "json"]
    ended = subprocess.run(command, stdout=subprocess.PIPE, timeout=_SECONDS, check=False)
    return Outcome(ended.returncode, json.loads(ended.stdout))


def test_fifty_watchers_see_all_that_a_driver_does(program: Path, server: Server) -> None:
    for board in ("global", "cohort-0", "cohort-1"):
        server.create(board)
    for number in range(20):
        server.submit("global", f"player-{number}", number)
    mix = (
        "20% board:global:top:10, 40% board:cohort-{cohort}:top:10,"
        "40% board:global:member:{member} + board:global:top:5"
    )
    code, result = _run(
        *(program, "watch", "--url", server.live_url, "--http", server.url),
        *("--sockets", "50", "--processes", "2", "--seconds", "2", "--drive", "20"),
        *("--mix", mix, "--members", "50", "--cohorts", "2", "--probe-ms", "100"),
        *("--server-pid", str(server.pid)),
    )
    assert (code, result["ok"], result["errors"]) == (0, True, {}), result
    assert result["sockets"] == 50
    templates = result["traffic"]["templates"]
    top, cohort, member, other_top = (
        templates[f"board:{channel}"]["subscriptions"]
        for channel in (
            "global:top:10",
            "cohort-{cohort}:top:10",
            "global:member:{member}",
            "global:top:5",
        )
    )
    assert top + cohort + member == 50
    assert other_top == member
    assert abs(top - 10) <= 1
    assert abs(member - 20) <= 1
    # All subscriptions were compared: to two tops, to those of two cohorts, and to own standings.
    assert result["checked"]["subscriptions"] == 50 + member
    assert (result["checked"]["wrong"], result["checked"]["channels"]) == (0, 4 + member)
    # Every change is at the top, so those who watch it got news, and all of it could be timed.
    assert result["driver"]["changes"] > 0
    assert templates["board:global:top:10"]["deliveries"] > 0
    assert templates["board:cohort-{cohort}:top:10"]["deliveries"] == 0
    assert result["latency"]["untimed"] == result["latency"]["unlogged"] == 0
    assert result["latency"]["from_sent"]["count"] >= result["traffic"]["deliveries"]
    assert result["probe"]["count"] > 0


# A server that says what it is told to, right or wrong.

_Talk = Callable[[web.WebSocketResponse], Awaitable[None]]


async def _top(_: web.Request) -> web.Response:
    row = {"rank": 1, "member": "ann", "score": 1}
    return web.json_response({"version": 7, "total": 1, "entries": [row]})


@asynccontextmanager
async def _serving(talk: _Talk, *protocols: str) -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=protocols)
        await socket.prepare(request)
        await talk(socket)
        async for _ in socket:
            pass
        return socket

    app = web.Application()
    app.router.add_get("/connection/websocket", answer)
    app.router.add_get("/v1/boards/global/top", _top)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"ws://{host}:{port}/connection/websocket"
    finally:
        await runner.cleanup()


def _state(version: int) -> str:
    data = {"version": version, "total": 0, "entries": []}
    return json.dumps({"push": {"channel": "board:global:top:10", "pub": {"data": data}}})


async def _begin(socket: web.WebSocketResponse) -> None:
    await socket.receive_str()
    await socket.send_str('{"id":1,"connect":{}}\n{"id":2,"subscribe":{}}')


async def _goes_back(socket: web.WebSocketResponse) -> None:
    await _begin(socket)
    for version in (5, 6, 4):
        await socket.send_str(_state(version))


async def _sends_nonsense(socket: web.WebSocketResponse) -> None:
    await _begin(socket)
    await socket.send_str(_state(5))
    await socket.send_str('{"push":{"channel":"board:global:top:10"}}')


async def _closes(socket: web.WebSocketResponse) -> None:
    await _begin(socket)
    await socket.send_str(_state(5))
    await socket.close(code=3008, message=b"slow")


async def _goes_on(socket: web.WebSocketResponse) -> None:
    await _begin(socket)
    for version in (5, 6, 7):
        await socket.send_str(_state(version))


@pytest.mark.parametrize(
    ("talk", "errors"),
    [
        pytest.param(_goes_back, {"view: version did not go forward": 3}, id="back"),
        pytest.param(_sends_nonsense, {"message: neither a reply nor a push": 3}, id="nonsense"),
        pytest.param(_closes, {"closed: 3008 slow": 3}, id="closed"),
        pytest.param(_goes_on, {}, id="right"),
    ],
)
async def test_what_a_server_does_wrong_is_noticed(
    program: Path, talk: _Talk, errors: dict[str, int]
) -> None:
    async with _serving(talk) as url:
        arguments = ("watch", "--url", url, "--sockets", "3", "--processes", "1", "--seconds", "1")
        code, result = await asyncio.to_thread(_run, program, *arguments)
    assert result["errors"] == errors
    assert (code, result["ok"]) == ((1, False) if errors else (0, True))


async def test_a_last_state_that_is_not_the_servers_is_noticed(program: Path) -> None:
    async with _serving(_goes_on) as url:
        http = url.replace("ws://", "http://").removesuffix("/connection/websocket")
        arguments = ("watch", "--url", url, "--http", http, "--sockets", "3", "--seconds", "0.1")
        code, result = await asyncio.to_thread(_run, program, *arguments)
    assert (code, result["ok"], result["errors"]) == (1, False, {})
    assert (result["checked"]["subscriptions"], result["checked"]["wrong"]) == (3, 1)


# Protobuf and deltas, as another implementation writes and reads them.

_OLD: Final = b'{"version":5,"total":0,"entries":[]}'
_NEW: Final = b'{"version":6,"total":0,"entries":[]}'


def _delta(old: bytes, new: bytes, checksum: str) -> bytes:
    """Replace the one byte in which the texts differ."""
    at = next(place for place in range(len(old)) if old[place] != new[place])
    size, tail = _number(len(new)), _number(len(new) - at - 1)
    copies = f"{_number(at)}@0,1:{chr(new[at])}{tail}@{_number(at + 1)},"
    return f"{size}\n{copies}{checksum};".encode()


def _number(number: int) -> str:
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"
    high, low = divmod(number, 64)
    return (_number(high) if high else "") + digits[low]


def _checksum(text: bytes) -> str:
    padded = text + bytes(-len(text) % 4)
    words = (padded[at : at + 4] for at in range(0, len(padded), 4))
    return _number(sum(int.from_bytes(word, "big") for word in words) % 2**32)


def _varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number % 128 + 128]) + _varint(number >> 7)


async def _speak_protobuf(socket: web.WebSocketResponse, checksum: str, *, grants: bool) -> bytes:
    """Answer one watcher's first frame with a state, then send a delta and a ping.

    What the watcher says to the ping is returned.
    """
    commands = []
    rest = await socket.receive_bytes()
    while rest:
        size, rest = rest[0], rest[1:]
        commands.append(client_pb2.Command.FromString(rest[:size]))
        rest = rest[size:]
    connect, subscribe = commands
    assert (connect.connect.token, subscribe.subscribe.delta) == ("secret", "fossil")
    first, second = client_pb2.Reply(id=connect.id), client_pb2.Reply(id=subscribe.id)
    first.connect.client = "x"
    second.subscribe.delta = grants
    second.subscribe.publications.add(data=_OLD, offset=6)
    third = client_pb2.Reply()
    third.push.channel = subscribe.subscribe.channel
    third.push.pub.data = _delta(_OLD, _NEW, checksum)
    third.push.pub.delta = True
    third.push.pub.offset = 7
    for replies in ((first, second), (third, client_pb2.Reply())):
        messages = [reply.SerializeToString() for reply in replies]
        await socket.send_bytes(b"".join(_varint(len(one)) + one for one in messages))
    return await socket.receive_bytes()


@pytest.mark.parametrize(
    ("checksum", "grants", "errors"),
    [
        pytest.param(_checksum(_NEW), True, {}, id="right"),
        pytest.param(
            _checksum(_OLD), True, {"view: delta does not apply: Checksum": 2}, id="checksum"
        ),
        pytest.param(_checksum(_NEW), False, {"subscribe: no deltas": 2}, id="refused"),
    ],
)
async def test_protobuf_and_deltas_are_understood(
    program: Path, checksum: str, grants: bool, errors: dict[str, int]
) -> None:
    pongs = []
    assert bytes(fossil.apply_delta(_OLD, _delta(_OLD, _NEW, _checksum(_NEW)))) == _NEW

    async def talk(socket: web.WebSocketResponse) -> None:
        # The wrong delta ends the connection before the pong.
        with contextlib.suppress(*([TypeError] if errors else [])):
            pongs.append(await _speak_protobuf(socket, checksum, grants=grants))

    async with _serving(talk, "centrifuge-protobuf") as url:
        code, result = await asyncio.to_thread(
            _run,
            *(program, "watch", "--url", url, "--encoding", "protobuf", "--delta"),
            *("--token", "secret", "--sockets", "2", "--processes", "1", "--seconds", "1"),
        )
    assert (code, result["errors"]) == (bool(errors), errors)
    # Pings and the rest may come before the count begins.
    assert result["sockets"] == (0 if errors else 2)
    assert pongs == ([] if errors else [b"\0", b"\0"])


# Submits.


def _receipt(command: dict[str, Any], change: dict[str, object]) -> str:
    submit = command["rpc"]["data"]
    receipt = submit | {"rank": 1, "changed": True, "version": 1} | change
    return json.dumps({"id": command["id"], "rpc": {"data": receipt}})


@pytest.mark.parametrize(
    ("change", "error"),
    [
        pytest.param({}, None, id="right"),
        pytest.param({"score": -1}, "receipt: not that of the submit", id="score"),
        pytest.param({"member": "player-x"}, "receipt: not that of the submit", id="member"),
        pytest.param({"board": "other"}, "receipt: not that of the submit", id="board"),
        pytest.param({"rank": None}, "receipt: ", id="form"),
    ],
)
async def test_every_receipt_is_compared_with_its_submit(
    program: Path, change: dict[str, object], error: str | None
) -> None:
    most = 0

    async def talk(socket: web.WebSocketResponse) -> None:
        nonlocal most
        await socket.receive_str()
        await socket.send_str('{"id":1,"connect":{}}')
        async for message in socket:
            commands = [json.loads(line) for line in message.data.splitlines()]
            most = max(most, len(commands))
            # Receipts may come in any order.
            await socket.send_str("\n".join(_receipt(one, change) for one in commands[::-1]))

    async with _serving(talk) as url:
        code, result = await asyncio.to_thread(
            _run,
            *(program, "submit", "--url", url, "--board", "bench", "--sockets", "2"),
            *("--in-flight", "8", "--seconds", "0.5"),
        )
    assert most == 8
    if error is None:
        assert (code, result["errors"]) == (0, {})
        assert result["receipts_in_all"] == result["changes_in_all"] > 0
        assert result["latency"]["count"] == result["receipts_in_all"]
    else:
        assert code == 1
        assert any(found.startswith(error) for found in result["errors"])
