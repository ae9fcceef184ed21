"""History: the journal read backwards, for people who ask what happened on a board.

The journal has no index by board, so a question looks through batches from the newest on. How much
it looks through is bounded; where it stopped, the next question goes on. Reading and decoding
happen away from the event loop, one question at a time.
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from rankwire import _core
from rankwire.storage import StorageError
from rankwire.storage.sqlite import JOURNAL_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from rankwire.storage.pool import Connection, Database

_READERS: Final = 2
"""Requests that read at the same time; each may hold `MOST_BYTES` and one batch."""

MOST_BATCHES: Final = 500
"""Most batches that one question looks through."""

MOST_BYTES: Final = 4 * 1024**2
"""After so many bytes of batches a question looks at no further one."""

_SQLITE: Final = """
SELECT seq, committed_ms, origin, number, batch, NULL FROM journal
WHERE seq <= ? ORDER BY seq DESC LIMIT ?
"""
# The lengths are known without reading the batches, so no more of them are read than are wanted.
_POSTGRES: Final = """
WITH sized AS MATERIALIZED (
    SELECT seq, sum(length(batch)) OVER (ORDER BY seq DESC) - length(batch) AS ahead
    FROM (SELECT seq, batch FROM journal WHERE seq <= %(seq)s ORDER BY seq DESC LIMIT %(most)s) AS j
)
SELECT seq, (extract(epoch FROM committed_at) * 1000)::int8, origin, number, batch,
       coalesce(
           (SELECT region FROM origins WHERE origins.origin = journal.origin),
           (SELECT region FROM cluster)
       )
FROM journal
WHERE seq >= (SELECT min(seq) FROM sized WHERE ahead < %(bytes)s) AND seq <= %(seq)s
ORDER BY seq DESC
"""

_Batches = list[tuple[int, int, int, int, bytes, str | None]]


class Place(msgspec.Struct, frozen=True):
    """A place in the journal: before one record of one batch."""

    seq: int
    """Of the batch."""
    index: int
    """Of the record in it."""

    @property
    def last(self) -> int:
        """The last batch of which something lies before it."""
        return self.seq if self.index else self.seq - 1


START: Final = Place(2**63 - 1, 0)
"""After everything."""


class Event(msgspec.Struct, frozen=True):
    """A record of a board."""

    at_ms: int
    """When it became durable here, in milliseconds since 1970."""
    record: dict[str, Any]
    """As `_core.records` gives it."""
    region: str | None = None
    """Where it was committed first; None if there are no regions."""


class Past(msgspec.Struct, frozen=True):
    """What a question found."""

    events: list[Event]
    """Newest first."""
    next: Place | None
    """Where to go on; None at the beginning of the journal."""
    lag: float | None = None
    """How many seconds old what was read may be; None if it is not old at all."""


class Question(msgspec.Struct, frozen=True):
    """What is wanted."""

    board: int
    member: str | None
    """Only events of this member."""
    limit: int
    """Most events."""
    before: Place
    may_be_late: bool = True
    """Whether a replica may answer that has not the newest yet."""


class History(Protocol):
    """Something that knows the past."""

    async def look(self, question: Question) -> Past:
        """Answer a question. Raises StorageError, or CorruptError for a damaged journal."""
        ...

    async def close(self) -> None:
        """Let go of everything. Idempotent."""
        ...


class SqliteHistory:
    """The journal of a `SqliteStorage`, read over a connection of its own."""

    def __init__(self, directory: Path, busy_seconds: float) -> None:
        """Open the journal, which is there; blocks. Raises StorageError."""
        try:
            file = (directory / JOURNAL_FILE).absolute().as_uri()
            self._journal = sqlite3.connect(
                f"{file}?mode=ro", uri=True, timeout=busy_seconds, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise StorageError(f"cannot open the journal: {error}") from error
        self._thread = ThreadPoolExecutor(1, "history")

    async def look(self, question: Question) -> Past:
        """See `History.look`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._look, question)

    async def close(self) -> None:
        """See `History.close`."""
        await asyncio.to_thread(self._thread.shutdown)
        self._journal.close()

    def _look(self, question: Question) -> Past:
        batches: _Batches = []
        size = 0
        try:
            for row in self._journal.execute(_SQLITE, (question.before.last, MOST_BATCHES)):
                batches.append(row)
                size += len(row[4])
                if size >= MOST_BYTES:
                    break
        except sqlite3.Error as error:
            raise StorageError(f"cannot read the journal: {error}") from error
        return _search(batches, question)


class PostgresHistory:
    """The journal that all nodes write, read on the replica if that is good and may be late."""

    def __init__(self, database: Database) -> None:
        """Use a database, which stays the caller's."""
        self._database = database
        self._thread = ThreadPoolExecutor(1, "history")
        # Others wait without holding what they have read.
        self._turns = asyncio.Semaphore(_READERS)

    async def look(self, question: Question) -> Past:
        """See `History.look`."""
        wanted = {"seq": question.before.last, "most": MOST_BATCHES, "bytes": MOST_BYTES}

        async def read(connection: Connection) -> _Batches:
            cursor = await connection.execute(_POSTGRES, wanted, binary=True)
            return await cursor.fetchall()

        loop = asyncio.get_running_loop()
        async with self._turns:
            if question.may_be_late:
                batches, lag = await self._database.read(read)
            else:
                batches, lag = await self._database.write(read), None
            past = await loop.run_in_executor(self._thread, _search, batches, question)
        return msgspec.structs.replace(past, lag=lag)

    async def close(self) -> None:
        """See `History.close`."""
        await asyncio.to_thread(self._thread.shutdown)


def _search(batches: _Batches, question: Question) -> Past:
    """Find the events among batches, which come newest first."""
    events: list[Event] = []
    size = 0
    for seq, at_ms, origin, number, batch, region in batches:
        size += len(batch)
        records = _core.records(origin, number, batch)
        end = len(records)
        if seq == question.before.seq:
            end = min(end, question.before.index)
        for index in range(end - 1, -1, -1):
            record = records[index]
            if not _is_wanted(record, question):
                continue
            if len(events) == question.limit:
                return Past(events, Place(seq, index + 1))
            events.append(Event(at_ms, record, region))
    is_all = len(batches) < MOST_BATCHES and size < MOST_BYTES
    return Past(events, None if is_all else Place(batches[-1][0], 0))


def _is_wanted(record: dict[str, Any], question: Question) -> bool:
    if record["board"] != question.board:
        return False
    return question.member is None or record.get("member") == question.member
