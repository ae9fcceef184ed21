"""The API in this process: the ASGI app over a real engine, a real writer and a real storage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from starlette.types import ASGIApp, Message

from fix_access import open_access
from rankwire import _core
from rankwire.api.app import build, counters
from rankwire.api.parts import Parts
from rankwire.beside import Beside, open_beside
from rankwire.model import Problem
from rankwire.ops.analyzer.sources import Watched
from rankwire.ops.watch import Watch, learn
from rankwire.settings import Settings, Storage
from rankwire.storage.sqlite import SqliteStorage
from rankwire.writer import Writer

MAX_BODY_BYTES = 64 * 1024
JSON = "application/json"
BOARD = "/v1/boards/b"


class Answer(msgspec.Struct, frozen=True):
    """What the app sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Client:
    """Speaks ASGI to an app, like the server does."""

    def __init__(self, app: ASGIApp, writer: Writer) -> None:
        self._app = app
        self.writer = writer

    async def get(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        answer = await self.send("GET", path, headers=headers)
        assert answer is not None
        return answer

    async def post(self, path: str, value: object) -> Answer:
        return await self.call("POST", path, msgspec.json.encode(value), JSON)

    async def call(
        self, method: str, path: str, body: bytes = b"", content_type: str | None = None
    ) -> Answer:
        headers = {"content-length": str(len(body))} if body else {}
        if content_type is not None:
            headers["content-type"] = content_type
        answer = await self.send(method, path, [body], headers)
        assert answer is not None
        return answer

    async def send(
        self,
        method: str,
        path: str,
        chunks: list[bytes] | None = None,
        headers: dict[str, str] | None = None,
        *,
        hang_up: bool = False,
    ) -> Answer | None:
        """Send a request; with `hang_up` the client goes away after the last chunk."""
        sent: list[Message] = []
        chunks = chunks or [b""]
        messages: list[Message] = [
            {"type": "http.request", "body": chunk, "more_body": hang_up or number < len(chunks)}
            for number, chunk in enumerate(chunks, 1)
        ]

        async def receive() -> Message:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(dict(message))

        await self._app(_scope(method, path, headers or {}), receive, send)
        if not sent:
            return None
        start, end = sent
        names = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], names, end["body"])


def _scope(method: str, target: str, headers: dict[str, str]) -> dict[str, Any]:
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path, errors="replace"),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "server": ("127.0.0.1", "80"),
        "client": ("127.0.0.1", "40000"),
    }


def make_parts(writer: Writer, beside: Beside, settings: Settings) -> Parts:
    """Put together what the API is an API of; nothing looks at it by itself."""
    requests = counters()
    watched = Watched(writer, beside, None, None, requests)
    return Parts(writer, beside, Watch(watched, learn(settings.ops), settings), requests)


@asynccontextmanager
async def running_api(
    path: Path,
    *,
    pending_ops: int = 65_536,
    boards: int = 100,
    busy_seconds: float = 2.0,
    access: _core.Access | None = None,
) -> AsyncIterator[Client]:
    """Run a writer over a storage in `path`; without `access` everybody may do everything."""
    storage = SqliteStorage(path, busy_seconds)
    engine = storage.recover(pending_ops, boards)
    writer = Writer(engine, storage, checkpoint_members=50_000, checkpoint_seconds=3600)
    writer.start()
    stack = AsyncExitStack()
    try:
        settings = Settings(storage=Storage(path=path, busy_seconds=busy_seconds))
        beside = await open_beside(settings, "")
        stack.push_async_callback(beside.close)
        app = build(make_parts(writer, beside, settings), access or open_access(), MAX_BODY_BYTES)
        yield Client(app, writer)
    finally:
        await stack.aclose()
        await writer.stop()
        storage.close()


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Client]:
    async with running_api(tmp_path / "data") as client:
        yield client


async def prepared(api: Client) -> tuple[bytes, bytes]:
    """Make a board with one member, and give everything there is."""
    await api.call("PUT", BOARD)
    await api.call("POST", f"{BOARD}/scores", b'{"member":"ada","score":30}', JSON)
    return await everything(api)


async def everything(api: Client) -> tuple[bytes, bytes]:
    """Give the list of boards, and the board's ranking."""
    return (await api.get("/v1/boards")).body, (await api.get(f"{BOARD}/top?limit=1000")).body


def check_problem(answer: Answer, path: str, status: int, kind: str, field: str | None) -> None:
    """Check that a request was refused as it should be."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json
    assert (answer.status, problem["type"]) == (status, f"urn:rankwire:problem:{kind}")
    assert (problem["status"], problem.get("field")) == (status, field)
    assert problem["instance"] == path.partition("?")[0]
    assert problem["title"]
    assert problem["detail"]
    msgspec.json.decode(answer.body, type=Problem)
