"""Clients made with the unmodified Centrifuge SDKs, which tests use in one way.

A client hears events: dicts with the name of the event under `event`, and the channel under
`channel` where there is one. Data are JSON values, whatever the encoding of the protocol.

| event | fields |
|---|---|
| `connecting`, `disconnected` | `code` |
| `connected`, `token` (the SDK asks for one) | |
| `subscribing`, `unsubscribed` | `channel`, `code` |
| `subscribed` | `channel`, `recoverable`, `was_recovering`, `recovered`, `offset`, `epoch` |
| `publication` | `channel`, `offset`, `data`; in Python also `delta`: whether it came as one |
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest
from centrifuge import (  # type: ignore[import-untyped]
    Client,
    ClientDisconnectedError,
    ClientEventHandler,
    ConnectingContext,
    DeltaType,
    DisconnectedContext,
    OperationTimeoutError,
    PublicationContext,
    ReplyError,
    SubscribedContext,
    SubscribingContext,
    Subscription,
    SubscriptionEventHandler,
    UnsubscribedContext,
)

from fix_access import Signer
from fix_server import PATIENCE_SECONDS, Server, closed
from rankwire import _core
from rankwire.storage.keys import ApiKey, SqliteKeys

Event = dict[str, Any]

_JS: Final = Path(__file__).parent / "realtime" / "js"
# Between two attempts of an SDK, in seconds.
_SHORTEST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 0.2
# Longest line of the JavaScript client.
_LINE_BYTES: Final = 1024**2
_NUMBERS: Final = itertools.count()


class RefusedError(Exception):
    """The server answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class LostError(Exception):
    """The connection ended before the answer came, so nobody knows what became of a call."""


class Sdk(ABC):
    """A client and what it has heard."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = asyncio.Event()

    @abstractmethod
    async def connect(self, *, token: str = "", more_tokens: Sequence[str] = ()) -> None:
        """Begin to connect. The SDK can ask for more tokens if there are any."""

    @abstractmethod
    async def subscribe(self, channel: str, *, data: object = None, delta: bool = False) -> None:
        """Begin to subscribe, for the first time or again."""

    @abstractmethod
    async def unsubscribe(self, channel: str) -> None:
        """End a subscription."""

    @abstractmethod
    async def rpc(self, method: str, data: object) -> Any:
        """Make a call. Raises RefusedError and, with the SDK for Python, LostError."""

    def hear(self, event: str, **fields: Any) -> None:
        """Take note of something that has happened."""
        self.events.append({"event": event, **fields})
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for news that make the condition true."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pytest.fail(f"waited in vain; the client heard {self.events}")

    async def heard(self, event: str, channel: str | None = None, times: int = 1) -> Event:
        """Wait until an event has come so many times, and return that one."""
        await self.until(lambda: len(self.all(event, channel)) >= times)
        return self.all(event, channel)[times - 1]

    def all(self, event: str, channel: str | None = None) -> list[Event]:
        """Every event of this name, and of this channel if one is named."""
        return [
            heard
            for heard in self.events
            if heard["event"] == event and channel in {None, heard.get("channel")}
        ]

    def states(self, channel: str) -> list[Any]:
        """The data of all publications."""
        return [event["data"] for event in self.all("publication", channel)]

    async def state(self, channel: str, condition: Callable[[Any], bool]) -> Any:
        """Wait until the newest state is such, and return it."""
        await self.until(
            lambda: bool(states := self.states(channel)) and condition(states[-1]),
        )
        return self.states(channel)[-1]


class PythonSdk(Sdk):
    """The SDK for Python."""

    def __init__(self, url: str, *, protobuf: bool, longest_delay: float) -> None:
        super().__init__()
        self._url = url
        self._longest_delay = longest_delay
        self._protobuf = protobuf
        self._client: Client | None = None

    async def connect(self, *, token: str = "", more_tokens: Sequence[str] = ()) -> None:
        tokens = iter(more_tokens)

        async def get_token() -> str:
            self.hear("token")
            return next(tokens)

        self._client = Client(
            self._url,
            events=_ClientEvents(self),
            token=token,
            get_token=get_token if more_tokens else None,
            use_protobuf=self._protobuf,
            min_reconnect_delay=_SHORTEST_DELAY,
            max_reconnect_delay=self._longest_delay,
            proxy=None,
        )
        await self._client.connect()

    async def subscribe(self, channel: str, *, data: object = None, delta: bool = False) -> None:
        assert self._client is not None
        subscription = self._client.get_subscription(channel)
        if subscription is None:
            subscription = self._client.new_subscription(
                channel,
                events=_SubscriptionEvents(self, channel),
                data=None if data is None else self._pack(data),
                delta=DeltaType.FOSSIL if delta else None,
                min_resubscribe_delay=_SHORTEST_DELAY,
                max_resubscribe_delay=_LONGEST_DELAY,
            )
        await subscription.subscribe()

    async def unsubscribe(self, channel: str) -> None:
        assert self._client is not None
        subscription: Subscription = self._client.get_subscription(channel)
        await subscription.unsubscribe()

    async def rpc(self, method: str, data: object) -> Any:
        assert self._client is not None
        try:
            answer = await self._client.rpc(method, self._pack(data), PATIENCE_SECONDS)
        except ReplyError as error:
            raise RefusedError(error.code, error.message) from error
        except (ClientDisconnectedError, OperationTimeoutError) as error:
            raise LostError from error
        return self.unpack(answer.data)

    async def disconnect(self) -> None:
        """End the connection for good."""
        if self._client is not None:
            await self._client.disconnect()

    def _pack(self, data: object) -> object:
        return json.dumps(data).encode() if self._protobuf else data

    def unpack(self, data: Any) -> Any:
        """Make a JSON value of what the SDK hands out."""
        return json.loads(data) if self._protobuf else data


class _ClientEvents(ClientEventHandler):  # type: ignore[misc]
    def __init__(self, sdk: PythonSdk) -> None:
        self._sdk = sdk

    async def on_connecting(self, ctx: ConnectingContext) -> None:
        self._sdk.hear("connecting", code=ctx.code)

    async def on_connected(self, ctx: object) -> None:
        del ctx
        self._sdk.hear("connected")

    async def on_disconnected(self, ctx: DisconnectedContext) -> None:
        self._sdk.hear("disconnected", code=ctx.code)


class _SubscriptionEvents(SubscriptionEventHandler):  # type: ignore[misc]
    def __init__(self, sdk: PythonSdk, channel: str) -> None:
        self._sdk = sdk
        self._channel = channel

    async def on_subscribing(self, ctx: SubscribingContext) -> None:
        self._sdk.hear("subscribing", channel=self._channel, code=ctx.code)

    async def on_subscribed(self, ctx: SubscribedContext) -> None:
        position = ctx.stream_position
        self._sdk.hear(
            "subscribed",
            channel=self._channel,
            recoverable=ctx.recoverable,
            was_recovering=ctx.was_recovering,
            recovered=ctx.recovered,
            offset=position and position.offset,
            epoch=position and position.epoch,
        )

    async def on_unsubscribed(self, ctx: UnsubscribedContext) -> None:
        self._sdk.hear("unsubscribed", channel=self._channel, code=ctx.code)

    async def on_publication(self, ctx: PublicationContext) -> None:
        pub = ctx.pub
        heard = {"offset": pub.offset, "data": self._sdk.unpack(pub.data), "delta": pub.delta}
        self._sdk.hear("publication", channel=self._channel, **heard)


class JavaScriptSdk(Sdk):
    """The SDK for JavaScript, in a process of Node.js: see `js/client.js`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__()
        self._process = process
        self._calls: list[asyncio.Future[Event]] = []

    async def connect(self, *, token: str = "", more_tokens: Sequence[str] = ()) -> None:
        self._tell("connect", token=token, tokens=list(more_tokens))

    async def subscribe(self, channel: str, *, data: object = None, delta: bool = False) -> None:
        self._tell("subscribe", channel=channel, data=data, delta=delta)

    async def unsubscribe(self, channel: str) -> None:
        self._tell("unsubscribe", channel=channel)

    async def rpc(self, method: str, data: object) -> Any:
        answered = asyncio.get_running_loop().create_future()
        self._calls.append(answered)
        self._tell("rpc", call=len(self._calls) - 1, method=method, data=data)
        answer = await asyncio.wait_for(answered, PATIENCE_SECONDS)
        if "error" in answer:
            raise RefusedError(**answer["error"])
        return answer["data"]

    async def listen(self) -> None:
        """Take in what the process says, until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            event = json.loads(line)
            if event["event"] == "answer":
                self._calls[event["call"]].set_result(event)
            else:
                self.hear(**event)

    async def end(self) -> None:
        """Let the process disconnect and end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await asyncio.wait_for(self._process.wait(), PATIENCE_SECONDS)

    def _tell(self, do: str, **fields: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")


@asynccontextmanager
async def python_sdk(
    url: str, *, protobuf: bool, longest_delay: float = _LONGEST_DELAY
) -> AsyncIterator[Sdk]:
    """Make a client with the SDK for Python. Needs the fixture `no_tasks_left`.

    It lets `longest_delay` seconds pass at most between two attempts to connect.
    """
    sdk = PythonSdk(url, protobuf=protobuf, longest_delay=longest_delay)
    try:
        yield sdk
    finally:
        await sdk.disconnect()


@pytest.fixture
async def no_tasks_left() -> AsyncIterator[None]:
    """Wait after a test for what its clients do in the background."""
    others = asyncio.all_tasks()
    yield
    await closed(others)


@asynccontextmanager
async def javascript_sdk(url: str, *, protobuf: bool) -> AsyncIterator[Sdk]:
    """Make a client with the SDK for JavaScript. Needs the fixture `node_modules`."""
    process = await asyncio.create_subprocess_exec(
        *("node", "client.js", url, "protobuf" if protobuf else "json"),
        cwd=_JS,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES,
    )
    sdk = JavaScriptSdk(process)
    listening = asyncio.create_task(sdk.listen())
    try:
        yield sdk
        await sdk.end()
        assert process.returncode == 0
        await listening
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        listening.cancel()


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """Install what the tests in JavaScript need, as pinned. Returns where it is.

    Without npm such tests are left out, but not in CI.
    """
    modules = _JS / "node_modules"
    if shutil.which("npm") is None or shutil.which("node") is None:
        reason = "npm and node are not there: the SDK for JavaScript is NOT tested"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    # Npm writes it last.
    done, wanted = modules / ".package-lock.json", _JS / "package-lock.json"
    if not done.exists() or done.stat().st_mtime < wanted.stat().st_mtime:
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=_JS, check=True)
    return modules


MakeSdk = Callable[[str], AbstractAsyncContextManager[Sdk]]
"""Makes a client for an address."""


class Guarded:
    """A server that asks for keys, and a login server for its players."""

    def __init__(self, server: Server, signer: Signer) -> None:
        self.server = server
        self.signer = signer


_GUARDED_FLAGS: Final = (
    *("--auth-mode", "keys", "--auth-anonymous", "read"),
    *("--live-tick-ms", "10", "--live-personal-tick-ms", "20"),
)


def guard(server: Server) -> Guarded:
    """Make a server ask for keys, and know one for the tests and a signer of tokens."""
    text, key_id, digest = _core.Access.new_key()
    with SqliteKeys(server.directory) as store:
        scopes = ("read", "submit", "admin", "operator")
        store.add(ApiKey(key_id, "tests", digest, scopes, (), time.time_ns() // 1_000_000))
    signer = Signer()
    tokens = server.directory / "players.jwks"
    tokens.write_bytes(signer.jwks())
    server.flags += (*_GUARDED_FLAGS, "--auth-tokens", str(tokens))
    server.credential = text
    return Guarded(server, signer)


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Start a server that tests share. Each uses boards of its own."""
    place = tmp_path_factory.mktemp("guarded")
    guarded = guard(Server(place / "data", place / "logs"))
    guarded.server.start()
    yield guarded
    guarded.server.end()


@pytest.fixture
def board(guarded: Guarded) -> str:
    """Create a board of its own for a test. Players may submit; the last score counts."""
    name = f"b{next(_NUMBERS)}"
    config = {"player_submits": True, "policy": "last"}
    assert guarded.server.call("PUT", f"/v1/boards/{name}", config).status == 201
    return name


class Cable:
    """The way to a server, which can be cut and mended."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._is_cut = False
        self._ends: set[asyncio.StreamWriter] = set()
        self.url = ""

    @classmethod
    @asynccontextmanager
    async def laid(cls, server: Server) -> AsyncIterator[Cable]:
        """Lay a cable to the live door of a server."""
        cable = cls(server.live_port)
        listener = await asyncio.start_server(cable._carry, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        cable.url = server.live_url.replace(str(server.live_port), str(port))
        try:
            yield cable
        finally:
            cable.cut()
            listener.close()

    def cut(self) -> None:
        """End all connections the hard way, and let none through."""
        self._is_cut = True
        for end in self._ends:
            end.transport.abort()

    def mend(self) -> None:
        """Let connections through again."""
        self._is_cut = False

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        ends = {writer, there_writer}
        self._ends |= ends
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, there_writer))
                group.create_task(_pump(there_reader, writer))
        finally:
            self._ends -= ends
            for end in ends:
                end.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
