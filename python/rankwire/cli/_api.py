"""A small client of the HTTP API, for the commands.

Promises about failures, because a sum must not count a submit twice:

* :class:`ProblemError`: the server refused; nothing was recorded.
* :class:`UnreachableError`: the request never left; nothing was recorded.
* :class:`LostError`: the connection broke while the answer was due, or the server failed. The
  submit may be recorded or not, so it is never sent again by itself.

:meth:`Api.submit` and :meth:`Api.submit_batch` wait and try again when the server names a time to
do so (503 with Retry-After) or cannot be reached, for at most :data:`PATIENCE_SECONDS`.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from rankwire.cli._rows import Submit

PATIENCE_SECONDS = 30.0
"""How long a submit waits for a busy or restarting server before it counts as failed."""

ANSWER_SECONDS = 30.0
"""How long any single answer may take."""

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0

_NOT_FOUND = 404
_CREATED = 201
_FIRST_ERROR = 400
_FIRST_FAILURE = 500


class ProblemError(Exception):
    """The server's refusal, from its problem+json."""

    def __init__(self, status: int, detail: str, field: str | None = None) -> None:
        """Keep the status, the server's words and the field they are about."""
        super().__init__(f"{status} {field}: {detail}" if field else f"{status} {detail}")
        self.status = status
        self.retry_after: float | None = None

    @property
    def is_not_found(self) -> bool:
        """Whether there is nothing at this address."""
        return self.status == _NOT_FOUND


class UnreachableError(Exception):
    """No connection to the server; nothing was sent."""


class LostError(Exception):
    """The outcome of a request is unknown."""


class BoardShape(msgspec.Struct, frozen=True):
    """Configuration of a board to create."""

    score: str = "int64"
    order: str = "desc"
    policy: str = "best"
    ties: str = "first"


class RankedEntry(msgspec.Struct, frozen=True):
    """An entry of a page of the top."""

    rank: int
    member: str
    score: int | float


class Page(msgspec.Struct, frozen=True):
    """A page of the top of a board at one version."""

    board: str
    version: int
    total: int
    entries: tuple[RankedEntry, ...]


class _Body(msgspec.Struct, omit_defaults=True):
    member: str
    score: int | float
    at: str | None = None


class _Problem(msgspec.Struct):
    title: str = ""
    detail: str = ""
    field: str | None = None


class Api:
    """An open client; use it as ``async with Api(url) as api``."""

    def __init__(self, url: str, connections: int = 1) -> None:
        """Prepare up to ``connections`` keep-alive connections."""
        self._base = url.rstrip("/")
        self._connections = connections
        self.retries = 0
        """How often a submit had to be sent again."""

    async def __aenter__(self) -> Self:
        """Open the client; connections open on demand."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections),
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self._session.close()

    async def is_ready(self) -> bool:
        """Whether the server answers ``/readyz`` with success."""
        try:
            await self._send("GET", "/readyz")
        except (ProblemError, UnreachableError, LostError):
            return False
        return True

    async def create_board(self, board: str, shape: BoardShape) -> bool:
        """Create a board; False if one of this shape is there already."""
        status, _ = await self._send("PUT", _path(board), msgspec.json.encode(shape))
        return status == _CREATED

    async def top(self, board: str, limit: int, offset: int = 0) -> Page:
        """Return a page of the top of a board."""
        path = f"{_path(board)}/top?limit={limit}&offset={offset}"
        _, answer = await self._send("GET", path)
        try:
            return msgspec.json.decode(answer, type=Page)
        except msgspec.DecodeError as error:
            raise LostError(f"the answer of {self._base} is not Rankwire's: {error}") from error

    async def submit(self, board: str, row: Submit) -> None:
        """Submit one score; returns when it is durable."""
        await self._patiently(f"{_path(board)}/scores", msgspec.json.encode(_body(row)))

    async def submit_batch(self, board: str, rows: Sequence[Submit]) -> bytes:
        """Submit many scores in one call; returns the server's answer when all are durable."""
        body = msgspec.json.encode([_body(row) for row in rows])
        return await self._patiently(f"{_path(board)}/scores:batch", body)

    async def _patiently(self, path: str, body: bytes) -> bytes:
        deadline = time.monotonic() + PATIENCE_SECONDS
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return (await self._send("POST", path, body))[1]
            except (ProblemError, UnreachableError) as error:
                wait = pause
                if isinstance(error, ProblemError):
                    if error.retry_after is None:
                        raise
                    wait = max(error.retry_after, pause)
                if time.monotonic() + wait > deadline:
                    raise
            self.retries += 1
            await asyncio.sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _send(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        # The path is quoted already; parsing it again would undo that.
        url = URL(self._base + path, encoded=True)
        headers = {"content-type": "application/json"} if body is not None else None
        try:
            async with self._session.request(method, url, data=body, headers=headers) as response:
                answer = await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise UnreachableError(f"no server answers at {self._base}: {error}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            message = f"no answer from {self._base}: {type(error).__name__} {error}".rstrip()
            raise LostError(message) from error
        if response.status >= _FIRST_ERROR:
            problem = _problem(response.status, answer, response.headers)
            if response.status >= _FIRST_FAILURE and problem.retry_after is None:
                raise LostError(str(problem))
            raise problem
        return response.status, answer


def _path(board: str) -> str:
    return f"/v1/boards/{quote(board, safe='')}"


def _body(row: Submit) -> _Body:
    return _Body(member=row.member, score=row.score, at=row.at)


def _problem(status: int, answer: bytes, headers: Mapping[str, str]) -> ProblemError:
    try:
        problem = msgspec.json.decode(answer, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem(detail=answer[:200].decode("utf-8", errors="replace"))
    words = problem.detail or problem.title or "without a reason"
    error = ProblemError(status, words, problem.field)
    # A date would be allowed too; the server sends seconds.
    seconds = headers.get("retry-after", "")
    error.retry_after = float(seconds) if seconds.isdecimal() else None
    return error
