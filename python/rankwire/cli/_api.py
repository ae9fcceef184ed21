"""A small client of the HTTP API, for the commands.

Promises about failures, because a sum must not count a submit twice:

* :class:`ProblemError`: the server refused; nothing was recorded.
* :class:`UnreachableError`: the request never left; nothing was recorded.
* :class:`LostError`: the connection broke while the answer was due, or the server failed while it
  held the submit. It may be recorded or not.

Every submit has a key, so it counts once however often it is sent. Whatever happens to it but a
refusal for good, it waits and tries again, for at most :data:`PATIENCE_SECONDS`.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from rankwire.cli._rows import Submit

PATIENCE_SECONDS = 30.0
"""How long a submit is sent again to a server that is busy, away or failing."""

ANSWER_SECONDS = 30.0
"""How long any single answer may take, unless whoever asks knows that it takes longer."""

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0

BUSY = frozenset(("urn:rankwire:problem:busy", "urn:rankwire:problem:too-many-requests"))
"""Types of the refusals that say: nothing was recorded, send it again."""

_NOT_FOUND = 404
_CREATED = 201
_FIRST_ERROR = 400
_FIRST_FAILURE = 500


Answer = TypeVar("Answer", bound=msgspec.Struct)


class ProblemError(Exception):
    """The server's refusal, from its problem+json."""

    def __init__(self, status: int, problem: _Problem, retry_after: float | None = None) -> None:
        """Keep the status, the server's words, and the seconds it asks to wait, if it does."""
        words = problem.detail or problem.title or "without a reason"
        super().__init__(
            f"{status} {problem.field}: {words}" if problem.field else f"{status} {words}"
        )
        self.status = status
        self.field = problem.field
        self.retry_after = retry_after
        self.is_busy = problem.type in BUSY

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


class DigestOfBoard(msgspec.Struct, frozen=True):
    """What a server says of a board in few bytes."""

    id: str
    board: str
    total: int
    digest: str


class Digest(msgspec.Struct, frozen=True):
    """What a server holds, and which commits that includes."""

    vector: dict[str, int]
    boards: tuple[DigestOfBoard, ...]


class _Body(msgspec.Struct, omit_defaults=True):
    member: str
    score: int | float
    at: str | None = None


class _Problem(msgspec.Struct):
    type: str = ""
    title: str = ""
    detail: str = ""
    field: str | None = None


class Api:
    """An open client; use it as ``async with Api(url) as api``."""

    def __init__(self, url: str, connections: int = 1, key: str | None = None) -> None:
        """Prepare up to ``connections`` keep-alive connections. ``key`` may be a token as well."""
        self._base = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._connections = connections
        self.retries = 0
        """How often a submit had to be sent again."""

    async def __aenter__(self) -> Self:
        """Open the client; connections open on demand."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
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

    async def describe(self, board: str) -> BoardShape:
        """Return the shape of a board."""
        return await self.ask(_path(board), BoardShape)

    async def top(self, board: str, limit: int, offset: int = 0) -> Page:
        """Return a page of the top of a board."""
        return await self.ask(f"{_path(board)}/top?limit={limit}&offset={offset}", Page)

    async def digest(self) -> Digest:
        """Return digests of all boards."""
        return await self.ask("/v1/digest", Digest)

    async def ask(self, path: str, kind: type[Answer]) -> Answer:
        """Return what is at this address, which is quoted already."""
        _, answer = await self._send("GET", path)
        return self.decode(answer, kind)

    async def order(
        self, method: str, path: str, body: msgspec.Struct | None, seconds: float
    ) -> bytes:
        """Let the server do something that takes so long at most, and return what it answers.

        Nothing is sent again, so a :class:`LostError` leaves open whether it is done.
        """
        content = None if body is None else msgspec.json.encode(body)
        _, answer = await self._send(method, path, content, seconds=seconds)
        return answer

    async def submit(self, board: str, row: Submit, key: str) -> None:
        """Submit one score; returns when it is durable. No other call may have the key."""
        body = msgspec.json.encode(_body(row))
        await self._patiently(f"{_path(board)}/scores", body, key)

    async def submit_batch(self, board: str, rows: Sequence[Submit], key: str) -> None:
        """Submit many scores in one call, all or nothing; returns when all are durable."""
        body = msgspec.json.encode([_body(row) for row in rows])
        await self._patiently(f"{_path(board)}/scores:batch", body, key)

    async def _patiently(self, path: str, body: bytes, key: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        pause = FIRST_PAUSE_SECONDS
        lost: LostError | None = None
        while True:
            try:
                await self._send("POST", path, body, key)
            except (ProblemError, UnreachableError, LostError) as error:
                asked = _wait_seconds(error)
                if asked is None:
                    # Had it been recorded before, the answer would be that one.
                    raise
                lost = _lost(error) or lost
                wait = max(pause, asked)
                if time.monotonic() + wait > deadline:
                    raise lost or error from None
            else:
                return
            self.retries += 1
            await asyncio.sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def decode(self, answer: bytes, kind: type[Answer]) -> Answer:
        """Read an answer. Raises LostError."""
        try:
            return msgspec.json.decode(answer, type=kind)
        except msgspec.DecodeError as error:
            raise LostError(f"the answer of {self._base} is not Rankwire's: {error}") from error

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        key: str | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> tuple[int, bytes]:
        # The path is quoted already; parsing it again would undo that.
        url = URL(self._base + path, encoded=True)
        headers = {"content-type": "application/json"} if body is not None else {}
        if key is not None:
            headers["idempotency-key"] = key
        try:
            asked = self._session.request(
                method, url, data=body, headers=headers, timeout=aiohttp.ClientTimeout(seconds)
            )
            async with asked as response:
                answer = await response.read()
        except aiohttp.ClientConnectorError as error:
            code = error.os_error.errno or 0
            # A name that is not known has a negative code and words of its own.
            reason = os.strerror(code) if code > 0 else error.os_error.strerror
            raise UnreachableError(f"no server at {self._base}: {reason}") from error
        except aiohttp.ConnectionTimeoutError as error:
            raise UnreachableError(f"no server at {self._base}: {error}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            message = f"no answer from {self._base}: {type(error).__name__} {error}".rstrip()
            raise LostError(message) from error
        if response.status >= _FIRST_ERROR:
            problem = _problem(response.status, answer, response.headers)
            if response.status >= _FIRST_FAILURE and problem.retry_after is None:
                raise LostError(str(problem)) from problem
            raise problem
        return response.status, answer


def _wait_seconds(error: ProblemError | UnreachableError | LostError) -> float | None:
    """Return how long to wait before a submit is sent again; None if it is refused for good."""
    return error.retry_after if isinstance(error, ProblemError) else 0.0


def _lost(error: ProblemError | UnreachableError | LostError) -> LostError | None:
    """Tell whether the fate of the submit is open: it is, too, when the storage has failed."""
    if isinstance(error, ProblemError) and not error.is_busy:
        return LostError(str(error))
    return error if isinstance(error, LostError) else None


def _path(board: str) -> str:
    return f"/v1/boards/{quote(board, safe='')}"


def _body(row: Submit) -> _Body:
    return _Body(member=row.member, score=row.score, at=row.at)


def _problem(status: int, answer: bytes, headers: Mapping[str, str]) -> ProblemError:
    try:
        problem = msgspec.json.decode(answer, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem(detail=answer[:200].decode("utf-8", errors="replace"))
    # A date would be allowed too; the server sends seconds.
    seconds = headers.get("retry-after", "")
    return ProblemError(status, problem, float(seconds) if seconds.isdecimal() else None)
