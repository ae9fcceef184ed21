"""Passes a write on to the primary region, and its answer back as it is.

The request goes to the same path with the body, the credential, the key and the session that the
client sent, so that the primary decides and counts as if it had been asked itself. A request that
was passed on once is not passed on again. Bounded by the number of requests that are passed on at
once, which have connections of their own, by the size of an answer, and in time by
`regions.forward_seconds` beside what the client lets the primary wait for other regions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import aiohttp
from yarl import URL

from rankwire import _core
from rankwire.api.answers import REPLAYED, Answer, start
from rankwire.api.problems import (
    BUSY,
    NOT_PRIMARY,
    NOT_THERE_YET,
    PRIMARY_UNREACHABLE,
    ProblemError,
)
from rankwire.sync.regions.peers import MOST_PASSED_ON, reason_of

if TYPE_CHECKING:
    from rankwire.api.calls import Call
    from rankwire.api.operations import Operation
    from rankwire.sync.regions.regions import Regions

FORWARDED: Final = "Rankwire-Forwarded"
"""The header of a request that was passed on: which region did."""
SERVED_BY: Final = "Rankwire-Served-By"
"""The header of an answer from another region: which one."""

_FORWARDED_HEADER: Final = FORWARDED.lower().encode()
_SENT: Final = (
    b"authorization",
    b"x-api-key",
    b"idempotency-key",
    b"content-type",
    b"rankwire-session",
)
# What is about the connection and not about the answer, and what the server itself adds.
_KEPT: Final = frozenset(
    (
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "server",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
# Answers to writes are receipts. A larger one is none of ours.
_ANSWER_BYTES: Final = 1024**2
_CREATED: Final = 201
_SUCCESSES: Final = range(200, 300)


class Forward:
    """The way to the primary region."""

    def __init__(self, regions: Regions, engine: _core.Engine, seconds: float) -> None:
        """Send with the HTTP client of `regions`; the primary may take so many seconds."""
        self._regions = regions
        self._engine = engine
        self._seconds = seconds
        self._under_way = 0

    async def send(self, operation: Operation, call: Call, wait_ms: int) -> Answer:
        """Have the primary do it, which may wait for so long as the client asks it to.

        After a success with a board's name this node knows of it too. If that takes too long, the
        client is told so, and waits again when it repeats the request: it could meet another board
        of that name otherwise.
        """
        primary, url = self._way(call)
        before = self._board_id(call.board)
        if self._under_way >= MOST_PASSED_ON:
            detail = f"{MOST_PASSED_ON} requests wait for the primary region {primary} already"
            raise ProblemError(BUSY, detail)
        self._under_way += 1
        try:
            answer = await self._ask(primary, url, call, self._seconds + wait_ms / 1000)
        finally:
            self._under_way -= 1
        self._regions.forwarded += 1
        if operation.across == "names" and answer[0]["status"] in _SUCCESSES:
            await self._until_known(call, before, answer)
        return answer

    def _way(self, call: Call) -> tuple[str, str]:
        """Name the primary and its address, or refuse to go there."""
        primary, own = self._regions.primary, self._regions.name
        if primary is None:
            raise ProblemError(NOT_PRIMARY, "it is not known yet which region is the primary")
        if primary == own:
            detail = f"this region, {own}, is the primary but may not take writes for now"
            raise ProblemError(NOT_PRIMARY, detail)
        by = call.headers.get(_FORWARDED_HEADER)
        if by is not None:
            detail = (
                f"the request was passed on by {by.decode('latin-1')!r}, but the primary is "
                f"{primary} and not {own}"
            )
            raise ProblemError(NOT_PRIMARY, detail)
        if (url := self._regions.primary_url) is None:
            detail = f"the primary is {primary!r}, for which regions.peers has no address"
            raise ProblemError(NOT_PRIMARY, detail)
        return primary, url

    async def _ask(self, primary: str, url: str, call: Call, seconds: float) -> Answer:
        target = call.sent.path + (b"?" + call.sent.query if call.sent.query else b"")
        headers = {
            name.decode(): call.headers[name].decode("latin-1")
            for name in _SENT
            if name in call.headers
        }
        headers |= {FORWARDED: self._regions.name, "accept-encoding": "identity"}
        try:
            async with self._regions.passing_on.request(
                call.sent.method,
                URL(url + target.decode("latin-1"), encoded=True),
                data=call.sent.content or None,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=seconds),
                allow_redirects=False,
            ) as got:
                body = await _read(got.content)
                kept = _headers(got.raw_headers)
                return start(
                    got.status, *kept, (SERVED_BY.lower().encode(), primary.encode())
                ), body
        except TimeoutError as error:
            detail = f"the primary region {primary} gave no answer within {seconds:g} s"
            raise ProblemError(PRIMARY_UNREACHABLE, detail) from error
        except ValueError as error:
            detail = f"the primary region {primary} gave an answer that is not taken: {error}"
            raise ProblemError(PRIMARY_UNREACHABLE, detail) from error
        except (aiohttp.ClientError, OSError) as error:
            detail = f"the primary region {primary} cannot be reached: {reason_of(error)}"
            raise ProblemError(PRIMARY_UNREACHABLE, detail) from error

    async def _until_known(self, call: Call, before: int | None, answer: Answer) -> None:
        """Wait until the own engine has the board, or has it no more.

        For as long again as the primary may take.
        """
        head, _ = answer
        is_new = head["status"] == _CREATED and not _has(head["headers"], REPLAYED)

        def is_known() -> bool:
            now = self._board_id(call.board)
            if call.sent.method == "DELETE":
                return now is None or now != before
            return now is not None and not (is_new and now == before)

        if not await self._regions.until(is_known, self._seconds):
            detail = "the primary region has done it, but this node does not know of it yet"
            raise ProblemError(NOT_THERE_YET, detail)

    def _board_id(self, board: str) -> int | None:
        try:
            return self._engine.board_id(board)
        except _core.NotFoundError:
            return None


async def _read(content: aiohttp.StreamReader) -> bytes:
    """Read an answer within its limit."""
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > _ANSWER_BYTES:
            raise ValueError(f"its answer has more than {_ANSWER_BYTES} bytes")
    return bytes(body)


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    lowered = ((name.lower(), value) for name, value in pairs)
    return [(name, value) for name, value in lowered if name.decode("latin-1") not in _KEPT]


def _has(headers: Iterable[tuple[bytes, bytes]], name: str) -> bool:
    wanted = name.lower().encode()
    return any(found == wanted for found, _ in headers)
