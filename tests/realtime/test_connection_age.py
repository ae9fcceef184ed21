"""Connections that end after `live.connection_seconds`: SDKs come back by themselves.

Rust tests show when the hub ends one (`rust/hub/tests/sessions.rs`). Here the unmodified SDKs are
told so. A real server takes a minute and more for it, in `make verify-drain` only.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web

from fix_sdk import Sdk, javascript_sdk, python_sdk
from fix_server import NewServer, closed

_COME_BACK: Final = 3011
_CLIENTS: Final = 40
_TOP: Final = "board:a:top:3"
# The connections' time with a tenth more, the look at them and some patience, in seconds.
_LONGEST: Final = 66 + 25 + 30


@asynccontextmanager
async def _sends_away() -> AsyncIterator[str]:
    """Serve what begins a session, and end the first one as the hub does."""
    seen = 0

    async def talk(request: web.Request) -> web.WebSocketResponse:
        nonlocal seen
        seen += 1
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        command = json.loads(await socket.receive_str())
        reply = {"client": "c", "version": "v", "ping": 25, "pong": True}
        await socket.send_str(json.dumps({"id": command["id"], "connect": reply}))
        if seen == 1:
            await socket.close(code=_COME_BACK, message=b"force reconnect")
        async for _ in socket:
            pass
        return socket

    app = web.Application()
    app.router.add_get("/connection/websocket", talk)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    _, port = runner.addresses[0]
    try:
        yield f"ws://127.0.0.1:{port}/connection/websocket"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("make", [python_sdk, javascript_sdk], ids=["python", "javascript"])
async def test_an_sdk_that_is_told_so_comes_back(
    make: Callable[..., AbstractAsyncContextManager[Sdk]], node_modules: Path
) -> None:
    del node_modules
    others = asyncio.all_tasks()
    async with _sends_away() as url:
        async with make(url, protobuf=False) as sdk:
            await sdk.connect()
            assert (await sdk.heard("connecting", times=2))["code"] == _COME_BACK
            await sdk.heard("connected", times=2)
            assert not sdk.all("disconnected")
        await closed(others)


@pytest.mark.skipif("VERIFY_DRAIN" not in os.environ, reason="takes minutes: make verify-drain")
@pytest.mark.timeout(600)
async def test_all_come_back_to_a_real_server_and_not_at_once(new_server: NewServer) -> None:
    server = await asyncio.to_thread(new_server("--live-connection-seconds", "60").start)
    server.create("a", policy="sum")
    others, loop = asyncio.all_tasks(), asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(closed, others)
        sdks = [
            await stack.enter_async_context(python_sdk(server.live_url, protobuf=number % 2 == 1))
            for number in range(_CLIENTS)
        ]
        began = loop.time()
        for sdk in sdks:
            await sdk.connect()
            await sdk.subscribe(_TOP)
        times = await asyncio.gather(*(_told(sdk, began) for sdk in sdks))
        await asyncio.to_thread(server.submit, "a", "ann", 7)
        for sdk in sdks:
            await sdk.state(_TOP, lambda state: [row["score"] for row in state["entries"]] == [7])
    figures = server.get("/metrics").body.decode()
    assert f'rankwire_live_closed_total{{code="{_COME_BACK}"}} {_CLIENTS}.0' in figures
    # Never before nine tenths of the time; and spread over the seconds of a look at the least.
    assert min(times) >= 53
    assert max(times) - min(times) > 5
    print(f"told after {min(times):.1f} to {max(times):.1f} s")  # noqa: T201  # the figures


async def _told(sdk: Sdk, began: float) -> float:
    """Wait until a client is told to come back and has; gives after how long it was told."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(_LONGEST):
        while len(sdk.all("connecting")) < 2:  # noqa: ASYNC110  # longer than `heard` waits
            await asyncio.sleep(0.1)
    assert sdk.all("connecting")[1]["code"] == _COME_BACK
    told = loop.time() - began
    await sdk.heard("subscribed", _TOP, times=2)
    return told
