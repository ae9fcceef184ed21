"""kill -9 under load, again and again: nothing acknowledged is lost, nothing counts twice.

Every connection has at most one write under way and keeps exact books: what was acknowledged, and
what was sent and never answered. After a kill exactly the unanswered writes may or may not be
there; the books then go on from what is there. Amounts on the member that all share are powers of
two, one for each connection, so its score tells which of them counted.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import pytest

from fix_engine import boards_sql
from fix_server import NewServer, Server

_CONNECTIONS: Final = 8
# Of each of the four tests; `make verify` asks for more.
_KILLS: Final = int(os.environ.get("KILLS", "27"))
_STARTS_KILLED: Final = 6
_BATCH: Final = 40
_SHARED: Final = "shared"
_BOARDS: Final = {
    "sum": {"policy": "sum"},
    "last": {"policy": "last", "order": "asc"},
    "best": {"policy": "best", "ties": "last"},
    "batch": {"policy": "sum", "ties": "member"},
    "gone": {"policy": "sum"},
}
# What ends a request without an answer when the server is killed.
_CUT = (aiohttp.ClientError, ConnectionError, asyncio.TimeoutError)

Scores = dict[str, float]


class UnansweredError(Exception):
    """The server died before it answered."""


@dataclass
class Book:
    """What one member's score may be: as acknowledged, or as if the open write had counted."""

    acknowledged: float | None = None
    open: list[float | None] = field(default_factory=list)

    def settle(self, member: str, scores: Scores) -> None:
        """Check what is there and go on from it."""
        found = scores.pop(member, None)
        assert found in (self.acknowledged, *self.open), (member, found, self)
        self.acknowledged, self.open = found, []


@dataclass
class Books:
    """Everything the clients know."""

    members: dict[str, dict[str, Book]] = field(
        default_factory=lambda: {board: {} for board in _BOARDS}
    )
    shared: int = 0
    shared_open: int = 0
    versions: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_BOARDS, 0))
    answered: int = 0
    unanswered: int = 0

    def of(self, board: str, member: str) -> Book:
        return self.members[board].setdefault(member, Book())

    def settle(self, pages: dict[str, dict[str, Any]]) -> None:
        """Compare with every board as it is after a restart."""
        for board, page in pages.items():
            rows = [(row["rank"], row["score"], row["member"]) for row in page["entries"]]
            assert len(rows) == page["total"]
            assert [rank for rank, _, _ in rows] == [*range(1, len(rows) + 1)]
            best_first = -1 if _BOARDS[board].get("order") == "asc" else 1
            scores = [score * best_first for _, score, _ in rows]
            assert scores == sorted(scores, reverse=True), "ranks follow from scores"
            assert page["version"] >= self.versions[board], "versions never go back"
            self.versions[board] = page["version"]
            by_member = {member: score for _, score, member in rows}
            assert len(by_member) == len(rows)
            if board == "sum":
                self._settle_shared(int(by_member.pop(_SHARED, 0)))
            if board == "batch":
                _assert_all_or_nothing(by_member)
            for member, book in self.members[board].items():
                self.unanswered += len(book.open)
                book.settle(member, by_member)
            assert by_member == {}, "nobody else is there"

    def _settle_shared(self, found: int) -> None:
        extra = found - self.shared
        assert extra >= 0, f"{self.shared - found} lost"
        assert extra & ~self.shared_open == 0, f"{extra:b} counted, {self.shared_open:b} was open"
        self.shared, self.shared_open = found, 0


def _assert_all_or_nothing(scores: Scores) -> None:
    """A batch gives each of a connection's members the same."""
    for number in range(_CONNECTIONS):
        own = {score for member, score in scores.items() if member.startswith(f"{number}-")}
        assert len(own) <= 1, f"half a batch of connection {number}"


class Connection:
    """One client: one write after the other, of every kind in turn."""

    def __init__(self, number: int, books: Books, http: aiohttp.ClientSession, url: str) -> None:
        self._number = number
        self._books = books
        self._http = http
        self._url = url
        self._chance = random.Random(books.answered * _CONNECTIONS + number)

    async def run(self) -> None:
        """Write until the server is gone."""
        kinds = (self._own, self._shared, self._last, self._best, self._batch, self._leave)
        try:
            while True:
                await self._chance.choice(kinds)()
                self._books.answered += 1
        except UnansweredError:
            return

    async def _own(self) -> None:
        book, amount = self._books.of("sum", f"{self._number}"), self._chance.randrange(1, 1000)
        after = (book.acknowledged or 0) + amount
        receipt = await self._write(book, after, "sum", f"{self._number}", amount)
        assert receipt["previous_score"] == book.acknowledged
        assert receipt["score"] == after
        book.acknowledged = after

    async def _shared(self) -> None:
        books, amount = self._books, 1 << self._number
        # Nobody else adds this amount, so what is found too much names its connections.
        books.shared_open |= amount
        receipt = await self._send("POST", "sum/scores", {"member": _SHARED, "score": amount})
        assert receipt["score"] - (receipt["previous_score"] or 0) == amount
        books.shared_open &= ~amount
        books.shared += amount
        self._note("sum", receipt)

    async def _last(self) -> None:
        book, score = self._books.of("last", f"{self._number}"), self._chance.randrange(-50, 50)
        receipt = await self._write(book, score, "last", f"{self._number}", score)
        assert receipt["score"] == score
        book.acknowledged = score

    async def _best(self) -> None:
        book, score = self._books.of("best", f"{self._number}"), self._chance.randrange(10**9)
        after = max(book.acknowledged or 0, score)
        receipt = await self._write(book, after, "best", f"{self._number}", score)
        assert receipt["score"] == after
        assert receipt["changed"] == (after != book.acknowledged)
        book.acknowledged = after

    async def _batch(self) -> None:
        members = [f"{self._number}-{n}" for n in range(_BATCH)]
        books = [self._books.of("batch", member) for member in members]
        for book in books:
            book.open.append((book.acknowledged or 0) + 1)
        body = [{"member": member, "score": 1} for member in members]
        receipt = await self._send("POST", "batch/scores:batch", body)
        assert receipt["submitted"] == receipt["changed"] == _BATCH
        for book in books:
            book.acknowledged = book.open.pop()
        self._note("batch", receipt)

    async def _leave(self) -> None:
        """A member that comes and goes: what it had before it left never comes back."""
        member = f"{self._number}"
        book = self._books.of("gone", member)
        if book.acknowledged is None or book.acknowledged < 3:
            after = (book.acknowledged or 0) + 1
            receipt = await self._write(book, after, "gone", member, 1)
            assert receipt["score"] == after
            book.acknowledged = after
        else:
            book.open.append(None)
            await self._send("DELETE", f"gone/members/{member}")
            book.acknowledged = book.open.pop()

    async def _write(
        self, book: Book, after: float, board: str, member: str, score: float
    ) -> dict[str, Any]:
        book.open.append(after)
        body = {"member": member, "score": score}
        receipt = await self._send("POST", f"{board}/scores", body)
        book.open.pop()
        self._note(board, receipt)
        return receipt

    async def _send(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        try:
            address = f"{self._url}/v1/boards/{path}"
            async with self._http.request(method, address, json=body) as answer:
                # A head without its body is no acknowledgement.
                content = await answer.read()
                assert answer.status in {200, 204}, (answer.status, content)
                return dict(await answer.json()) if content else {}
        except _CUT as error:
            raise UnansweredError from error

    def _note(self, board: str, receipt: dict[str, Any]) -> None:
        """An answer that comes later may be of an earlier version; remember the newest."""
        versions = self._books.versions
        versions[board] = max(versions[board], receipt["version"])


async def _load(server: Server, books: Books, end: Callable[[], Awaitable[None]]) -> None:
    """Write on all connections until `end` has killed the server."""
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as http, asyncio.TaskGroup() as group:
        for number in range(_CONNECTIONS):
            group.create_task(Connection(number, books, http, server.url).run())
        await end()


def _pages(server: Server) -> dict[str, dict[str, Any]]:
    return {board: server.get(f"/v1/boards/{board}/top?limit=1000").json() for board in _BOARDS}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "flags",
    [
        pytest.param((), id="journal only"),
        pytest.param(("--storage-checkpoint-members", "1"), id="checkpoints all the time"),
        pytest.param(("--storage-checkpoint-members", "200"), id="some checkpoints"),
        pytest.param(("--storage-checkpoint-seconds", "0.1"), id="timed checkpoints"),
    ],
)
async def test_no_kill_loses_or_doubles_a_write(
    new_server: NewServer, flags: tuple[str, ...]
) -> None:
    chance = random.Random(" ".join(flags))
    server = await asyncio.to_thread(new_server(*flags).start)
    for board, config in _BOARDS.items():
        server.create(board, **config)
    books = Books()
    slowest = 0.0
    for kill in range(_KILLS):
        answered = books.answered

        async def end(before: int = answered) -> None:
            # Under load, which has begun; checkpoints are looked for five times a second.
            async with asyncio.timeout(30):
                while books.answered < before + _CONNECTIONS:  # noqa: ASYNC110  # a plain counter
                    await asyncio.sleep(0.001)
            await asyncio.sleep(chance.uniform(0, 0.3))
            server.kill()

        await _load(server, books, end)
        if kill % (_KILLS // _STARTS_KILLED) == 0:
            # Killed while it starts: anywhere from the first import to the first requests.
            await asyncio.to_thread(_kill_start, server, chance.uniform(0, max(slowest, 0.5)))
        began = time.monotonic()
        await asyncio.to_thread(server.start)
        slowest = max(slowest, time.monotonic() - began)
        books.settle(await asyncio.to_thread(_pages, server))
    assert books.answered > _KILLS * _CONNECTIONS
    assert books.unanswered > 0, "kills came while writes were under way"
    assert await asyncio.to_thread(server.terminate) == 0
    await asyncio.to_thread(server.start)
    books.settle(await asyncio.to_thread(_pages, server))
    if flags:
        assert boards_sql(server.directory, "SELECT count(*) FROM members") > [(0,)]


def _kill_start(server: Server, seconds: float) -> None:
    server.spawn()
    time.sleep(seconds)
    server.kill()
