"""An engine on its storage, in this process, for tests below the HTTP API.

`Kept` does one thing after the other on the caller's thread: each write is a batch of its own
unless the test asks for more, and a checkpoint happens when the test says so. `keep` runs the
server's own writer with its threads.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, cast

import pytest

from rankwire import _core
from rankwire.storage import Storage
from rankwire.storage.sqlite import BOARDS_FILE, JOURNAL_FILE, SqliteStorage
from rankwire.writer import Writer, batch_of

LIMIT: Final = 1_000_000
Value = bytes | tuple[bool, bytes]
Boards = dict[str, dict[str, Any]]


def boards_of(engine: _core.Engine) -> Boards:
    """Everything a reader can learn: every board's description, version and rows in order."""
    described = json.loads(engine.boards("", LIMIT))["boards"]
    return {board["board"]: board | {"rows": rows(engine, board["board"])} for board in described}


def rows(engine: _core.Engine, board: str) -> list[tuple[int, str, float]]:
    """Rank, member and score of every row of a board."""
    page, _, _ = engine.page(board, 0, LIMIT)
    return [(row["rank"], row["member"], row["score"]) for row in json.loads(page)["entries"]]


def commit(engine: _core.Engine, storage: SqliteStorage) -> dict[int, Value]:
    """Make what is queued durable as one batch, and give the answers by ticket."""
    sealed = engine.seal(0.0)
    assert sealed is not None
    if sealed.bytes:
        storage.append(batch_of(sealed))
    answers: dict[int, Value] = {}
    for ticket, value in sealed.commit():
        if isinstance(value, _core.RankwireError):
            raise value
        assert not isinstance(value, _core.Repeat)
        answers[ticket] = value
    return answers


class Kept:
    """An engine and the storage that it was recovered from."""

    def __init__(self, directory: Path) -> None:
        """Open and recover."""
        self.directory = directory
        self.storage = SqliteStorage(directory, busy_seconds=0.05)
        try:
            self.engine = self.storage.recover(LIMIT, LIMIT)
        except BaseException:
            self.storage.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close without a checkpoint, as after a crash."""
        self.storage.close()

    def commit(self, *tickets: int) -> list[Any]:
        """Commit what is queued and give the decoded answers of these tickets."""
        answers = commit(self.engine, self.storage)
        return [_decoded(answers[ticket]) for ticket in tickets]

    def create(
        self,
        board: str,
        *,
        score: str = "int64",
        order: str = "desc",
        policy: str = "best",
        ties: str = "first",
        player_submits: bool = False,
    ) -> None:
        """Create a board."""
        ticket = self.engine.create_board(board, score, order, policy, ties, player_submits)
        self.commit(ticket)

    def submit(self, board: str, member: str, score: float, at_ms: int | None = None) -> Any:
        """Submit one score and give the receipt."""
        (receipt,) = self.commit(self.engine.submit(board, member, score, at_ms))
        return receipt

    def remove(self, board: str, member: str) -> None:
        """Remove a member."""
        self.commit(self.engine.remove_member(board, member))

    def drop(self, board: str) -> None:
        """Drop a board."""
        self.commit(self.engine.drop_board(board))

    def checkpoint(self) -> bool:
        """Store a checkpoint, if there is anything to store."""
        checkpoint = self.engine.checkpoint()
        if checkpoint is not None:
            self.storage.store(checkpoint)
        return checkpoint is not None

    @property
    def boards(self) -> Boards:
        """See `boards_of`."""
        return boards_of(self.engine)


def _decoded(value: Value) -> Any:
    if isinstance(value, tuple):
        return value[0], json.loads(value[1])
    return json.loads(value) if value else None


@dataclass
class Running:
    """The server's writer at work, without the server."""

    writer: Writer
    engine: _core.Engine

    async def create(self, board: str, **config: str) -> None:
        """Create a board."""
        words = {"score": "int64", "order": "desc", "policy": "best", "ties": "first"} | config
        score, order, policy, ties = words.values()
        await self.writer.reply(self.engine.create_board(board, score, order, policy, ties))

    async def submit(self, board: str, member: str, score: float) -> Any:
        """Submit one score and give the receipt."""
        answer = await self.writer.reply(self.engine.submit(board, member, score))
        return json.loads(cast("bytes", answer))


@asynccontextmanager
async def keep(
    storage: Storage,
    *,
    checkpoint_members: int = LIMIT,
    checkpoint_seconds: float = 3600.0,
    on_fenced: Callable[[], None] | None = None,
) -> AsyncIterator[Running]:
    """Recover and run a writer; stop it and close the storage in the end."""
    engine = storage.recover(LIMIT, LIMIT)
    writer = Writer(
        engine,
        storage,
        checkpoint_members=checkpoint_members,
        checkpoint_seconds=checkpoint_seconds,
        on_fenced=on_fenced,
    )
    writer.start()
    try:
        yield Running(writer, engine)
    finally:
        await writer.stop()
        storage.close()


def sql(file: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run one statement on a database file, from outside."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        return connection.execute(statement, values).fetchall()


def journal_sql(directory: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run one statement on the journal of a storage directory."""
    return sql(directory / JOURNAL_FILE, statement, *values)


def boards_sql(directory: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run one statement on the checkpoints of a storage directory."""
    return sql(directory / BOARDS_FILE, statement, *values)


def journal_tail(directory: Path) -> int:
    """How many batches of the journal the last checkpoint does not include."""
    ((seq,),) = boards_sql(directory, "SELECT journal_seq FROM progress")
    ((last,),) = journal_sql(directory, "SELECT coalesce(max(seq), 0) FROM journal")
    return int(last) - int(seq)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where a storage may be; not there yet."""
    return tmp_path / "data"
