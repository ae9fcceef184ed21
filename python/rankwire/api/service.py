"""What each operation does: the one place that calls the core for HTTP.

The core hands over finished JSON; here it is only paired with a status and headers. Refusals are
exceptions, see `problems`. Both the lean path (`hot`) and the framework's routes call these. A
write with a key that the core knows is answered as it was the first time.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from typing import TYPE_CHECKING, Final, cast

import msgspec
from msgspec import UNSET

from rankwire import _core
from rankwire.api.analytics import Analytics
from rankwire.api.answers import (
    JSON,
    JSON_CREATED,
    JSON_CREATED_AGAIN,
    JSON_OK,
    JSON_OK_AGAIN,
    NO_CONTENT,
    NO_CONTENT_AGAIN,
    Answer,
    start,
)
from rankwire.api.bodies import Batch, at_line
from rankwire.api.health import Doctor
from rankwire.api.members import Members
from rankwire.api.parts import Parts
from rankwire.api.past import Past
from rankwire.api.problems import INVALID, UNAVAILABLE, ProblemError, classify
from rankwire.api.regions import Operators
from rankwire.model import (
    BoardConfig,
    BoardDigest,
    Digest,
    Names,
    Status,
    Submit,
)
from rankwire.model_queries import AroundQuery, BoardsQuery, CountQuery, ReadyQuery, TopQuery

if TYPE_CHECKING:
    from rankwire.api.idempotency import Key
    from rankwire.ops.metrics import Scrape
    from rankwire.writer import Value

_REVALIDATE: Final = (b"cache-control", b"no-cache")
_ALIVE: Final[Answer] = (JSON_OK, msgspec.json.encode(Status("ok")))
_READY: Final[Answer] = (JSON_OK, msgspec.json.encode(Status("ready")))


class Service:
    """Answers for one engine."""

    def __init__(self, parts: Parts, document: bytes, scrape: Scrape) -> None:
        """Answer for the writer's engine; `document` is the OpenAPI document."""
        writer = parts.writer
        self.members = Members(parts.beside.profiles)
        self.past = Past(writer.engine, parts.beside.history)
        self.analytics = Analytics(parts.watch)
        self.regions = Operators(parts.regions, writer.engine.origin)
        self.doctor = Doctor(parts)
        self._parts = parts
        self._writer = writer
        self._engine = writer.engine
        self._document = document
        self._scrape = scrape
        # Versions of a board mean something only within one process's boards.
        self._etag = f'"{writer.engine.origin:x}.'

    # Boards.

    async def create_board(self, board: str, config: BoardConfig, key: Key | None) -> Answer:
        """Create a board, or confirm that it exists just so."""
        ticket = self._engine.create_board(
            board,
            config.score,
            config.order,
            config.policy,
            config.ties,
            config.player_submits,
            key,
        )
        value = await self._writer.reply(ticket)
        if isinstance(value, _core.Repeat):
            return JSON_CREATED_AGAIN if value.created else JSON_OK_AGAIN, value.body
        created, description = cast("tuple[bool, bytes]", value)
        return JSON_CREATED if created else JSON_OK, description

    def describe_board(self, board: str) -> Answer:
        """Describe a board."""
        return JSON_OK, self._engine.describe(board)

    async def delete_board(self, board: str, key: Key | None) -> Answer:
        """Delete a board with everything in it."""
        return _gone(await self._writer.reply(self._engine.drop_board(board, key)))

    def list_boards(self, query: BoardsQuery) -> Answer:
        """List boards by name."""
        return JSON_OK, self._engine.boards(query.after, query.limit)

    # Scores.

    def receipt(self, board: str, submit: Submit, key: Key | None) -> Future[Value]:
        """Take one score, and promise the receipt for when it is durable; see `taken`."""
        ticket = self._engine.submit(board, submit.member, submit.score, submit.at_ms, key)
        return self._writer.reply(ticket)

    async def submit(self, board: str, submit: Submit, key: Key | None) -> Answer:
        """Take one score; answered when it is durable."""
        return taken(await self.receipt(board, submit, key))

    async def submit_batch(self, board: str, batch: Batch, key: Key | None) -> Answer:
        """Take many scores, all or nothing."""
        items = [(submit.member, submit.score, submit.at_ms) for submit in batch.submits]
        try:
            ticket = self._engine.submit_batch(board, items, key)
            return taken(await self._writer.reply(ticket))
        except _core.RankwireError as error:
            index = error.args[2]
            if index is None or batch.lines is None:
                raise
            raise at_line(classify(error), index, batch.lines[index]) from error

    # Ranks.

    def top(self, board: str, query: TopQuery, known: bytes | None) -> Answer:
        """Give a page of the ranking, or 304 when the client knows this version."""
        page, board_id, version = self._engine.page(board, query.offset, query.limit)
        etag = f'{self._etag}{board_id:x}.{version}"'.encode()
        if known is not None and _matches(known, etag):
            return start(304, (b"etag", etag), _REVALIDATE), b""
        return start(200, JSON, (b"etag", etag), _REVALIDATE), page

    def standing(self, board: str, member: str) -> Answer:
        """Give one member's place."""
        return JSON_OK, self._engine.standing(board, member)

    async def remove_member(self, board: str, member: str, key: Key | None) -> Answer:
        """Remove a member from the board."""
        return _gone(await self._writer.reply(self._engine.remove_member(board, member, key)))

    def around(self, board: str, member: str, query: AroundQuery) -> Answer:
        """Give a member with its neighbours."""
        return JSON_OK, self._engine.around(board, member, query.radius)

    def standings(self, board: str, names: Names) -> Answer:
        """Give the places of the named members."""
        return JSON_OK, self._engine.standings(board, names.members)

    def count(self, board: str, query: CountQuery) -> Answer:
        """Count the members with a score within bounds."""
        low = None if query.min is UNSET else query.min
        high = None if query.max is UNSET else query.max
        try:
            return JSON_OK, self._engine.count(board, low, high)
        except _core.InvalidError as error:
            # The core speaks of a score; say which of the two bounds it means.
            field = "max" if self._is_bound(board, low) else "min"
            raise ProblemError(INVALID, error.args[0], field) from error

    def _is_bound(self, board: str, low: float | None) -> bool:
        try:
            self._engine.count(board, low)
        except _core.InvalidError:
            return False
        return True

    # The server itself.

    def alive(self) -> Answer:
        """Say that the process answers."""
        return _ALIVE

    def ready(self, query: ReadyQuery) -> Answer:
        """Say whether writes can be committed, or reads served, and will be for a while."""
        trouble = self._parts.departure.reason
        if query.purpose == "writes":
            trouble = trouble or self._parts.trouble
        if trouble is not None:
            raise ProblemError(UNAVAILABLE, trouble)
        if reasons := self._parts.degraded:
            return JSON_OK, msgspec.json.encode(Status("degraded", reasons))
        return _READY

    def metrics(self, accept: str) -> Answer:
        """Give the metrics in the format that the scraper prefers."""
        content_type, text = self._scrape(accept)
        return start(200, (b"content-type", content_type)), text

    async def digest(self) -> Answer:
        """Give digests of all boards, made on a thread, as those of large ones take a second."""
        vector, boards = await asyncio.to_thread(self._engine.digest)
        answer = Digest(
            {str(origin): number for origin, number in vector},
            [
                BoardDigest(f"{board:x}", name, version, total, digest)
                for board, name, version, total, digest in boards
            ],
        )
        return JSON_OK, msgspec.json.encode(answer)

    def openapi(self) -> Answer:
        """Give the document that describes all this."""
        return JSON_OK, self._document


def taken(receipt: Value) -> Answer:
    """Answer with the receipt of one score or of many."""
    if isinstance(receipt, _core.Repeat):
        return JSON_OK_AGAIN, receipt.body
    return JSON_OK, cast("bytes", receipt)


def _gone(value: Value) -> Answer:
    return NO_CONTENT_AGAIN if isinstance(value, _core.Repeat) else NO_CONTENT


def _matches(known: bytes, etag: bytes) -> bool:
    """Tell whether an If-None-Match header names the tag; weakness does not matter for it."""
    tags = [tag.strip().removeprefix(b"W/") for tag in known.split(b",")]
    return etag in tags or tags == [b"*"]
