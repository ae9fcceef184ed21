"""What other regions add to an operation on boards: where it is done, and what is waited for.

A write that this region may not commit goes to the primary. A session's reads and writes wait until
this node has what the session has seen. A read may ask how old its answer may be, and a write in
how many regions it has to be durable. Operations that ask for none of it are done as on a server
without regions. `Alone` is such a server: it refuses what it cannot promise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import UNSET

from rankwire.api.answers import JSON, REPLAYED, Answer, start
from rankwire.api.calls import SESSION_HEADER
from rankwire.api.operations import run
from rankwire.api.problems import INVALID, REGIONS_OFF, SESSION_FIELD, ProblemError
from rankwire.model_queries import LevelQuery, ReadQuery, WaitQuery
from rankwire.storage import StorageError
from rankwire.sync.regions import levels
from rankwire.sync.regions.errors import NotThereYetError

if TYPE_CHECKING:
    from rankwire.api.calls import Call
    from rankwire.api.forward import Forward
    from rankwire.api.operations import Operation
    from rankwire.api.service import Service
    from rankwire.sync.regions.levels import Level, Outcome
    from rankwire.sync.regions.regions import Regions


_READ_WAIT_MS: Final = 1000
_LEVEL_WAIT_MS: Final = 2000
_NO_CONTENT: Final = 204
_ACCEPTED: Final = 202
_REPLAYED: Final = REPLAYED.lower().encode()


class _Receipt(msgspec.Struct):
    """What is read of a receipt."""

    changed: bool | int = True
    """Whether a submit changed the board, or how many of a batch did."""


class Alone:
    """Does operations on a server that is in no region."""

    async def answer(self, operation: Operation, service: Service, call: Call) -> Answer:
        """Do what was asked; a session is taken no notice of, and gets no token."""
        query = call.query
        level = query.level if isinstance(query, LevelQuery) else UNSET
        if level is not UNSET and levels.parse(level).kind != "local":
            raise ProblemError(REGIONS_OFF, "there are no regions for this level", "level")
        if isinstance(query, ReadQuery) and query.consistency != "local":
            raise ProblemError(REGIONS_OFF, "there are no regions to wait for", "consistency")
        return await run(operation, service, call)


class Across:
    """Does operations on a node of one region among others."""

    def __init__(self, regions: Regions, forward: Forward) -> None:
        """Wait for what `regions` hear of; what belongs to the primary goes there by `forward`."""
        self._regions = regions
        self._forward = forward

    async def answer(self, operation: Operation, service: Service, call: Call) -> Answer:
        """Do what was asked, here or in the primary region."""
        session = _session(call.headers)
        level = self._level(call.query)
        if not self._is_ours(operation):
            return await self._forward.send(operation, call, self._most_wait_ms(call, session))
        await self._wait(call.query, session)
        answer = await run(operation, service, call)
        outcome = _outcome(answer) if operation.across != "read" else "new"
        if level is not None:
            wait_ms = _wait_ms(call.query, _LEVEL_WAIT_MS)
            answer = await self._spread(answer, level, wait_ms, outcome)
        if session is None:
            return answer
        try:
            token = await self._regions.token(session, is_repeat=outcome == "repeat")
        except (NotThereYetError, StorageError):
            # It counts whatever a token could hold; the header that is missing tells the client.
            if operation.across == "read":
                raise
            return answer
        head, body = answer
        more = ((SESSION_HEADER, token.encode()), (b"vary", SESSION_HEADER))
        return start(head["status"], *head["headers"], *more), body

    def _is_ours(self, operation: Operation) -> bool:
        match operation.across:
            case "scores":
                return self._regions.may_write
            case "names":
                return self._regions.may_name
            case _:
                return True

    async def _wait(self, query: msgspec.Struct, session: str | None) -> None:
        """Wait until the node has what the read or the session asks for."""
        wait_ms = _wait_ms(query, _READ_WAIT_MS)
        if isinstance(query, ReadQuery):
            if query.consistency == "session" and session is None:
                raise ProblemError(INVALID, "the header is missing", SESSION_FIELD)
            if query.consistency == "bounded":
                await self._regions.wait_fresh(query.max_staleness_ms, wait_ms)
        if session is not None:
            await self._regions.wait_session(session, wait_ms)

    def _most_wait_ms(self, call: Call, session: str | None) -> int:
        """Give how long another region may wait for others before it answers this write."""
        for_level = isinstance(call.query, LevelQuery) and call.query.level is not UNSET
        return (_wait_ms(call.query, _LEVEL_WAIT_MS) if for_level else 0) + (
            0 if session is None else _wait_ms(call.query, _READ_WAIT_MS)
        )

    def _level(self, query: msgspec.Struct) -> Level | None:
        """Read the level of a write, and see that there are regions enough before it is done."""
        if not isinstance(query, LevelQuery) or query.level is UNSET:
            return None
        level = levels.parse(query.level)
        level.needed(len(self._regions.peers) + 1)
        return level

    async def _spread(self, answer: Answer, level: Level, wait_ms: int, outcome: Outcome) -> Answer:
        """Wait until a write that is done here is durable in more regions, and tell in which."""
        head, body = answer
        result = await self._regions.sync_score_update(level, wait_ms, outcome)
        told = b'"sync":' + msgspec.json.encode(result) + b"}"
        # A receipt is an object with something in it; what has no receipt has no body.
        body = body[:-1] + b"," + told if body else b"{" + told
        done = 200 if head["status"] == _NO_CONTENT else head["status"]
        headers = [pair for pair in head["headers"] if pair[0] != JSON[0]]
        return start(done if result.is_reached else _ACCEPTED, JSON, *headers), body


def _outcome(answer: Answer) -> Outcome:
    head, body = answer
    if any(name == _REPLAYED for name, _ in head["headers"]):
        return "repeat"
    is_new = not body or msgspec.json.decode(body, type=_Receipt).changed
    return "new" if is_new else "same"


def _session(headers: Mapping[bytes, bytes]) -> str | None:
    value = headers.get(SESSION_HEADER)
    return None if value is None else value.decode("latin-1").strip()


def _wait_ms(query: msgspec.Struct, default: int) -> int:
    if isinstance(query, WaitQuery) and query.timeout_ms is not UNSET:
        return query.timeout_ms
    return default
