"""Storages of both kinds, for tests of what works on either.

`Place` is where a storage is; `Place.open` runs an engine on it, one thing after the other on the
caller's thread, as `fix_engine.Kept` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

import pytest

from fix_engine import LIMIT, boards_sql, commit, journal_sql
from fix_postgres import Database, Postgres
from rankwire.settings import Storage
from rankwire.storage.backup import Counts, output
from rankwire.storage.postgres import PostgresStorage
from rankwire.storage.proof import Report, State, offline
from rankwire.storage.source import open_source
from rankwire.storage.sqlite import SqliteStorage
from rankwire.storage.transfer import examine, open_target, restore, save

Kind = Literal["sqlite", "postgres"]
KINDS: Final[tuple[Kind, ...]] = ("sqlite", "postgres")


class Node:
    """An engine on its storage."""

    def __init__(self, storage: SqliteStorage | PostgresStorage) -> None:
        self.storage = storage
        self.engine = storage.recover(LIMIT, LIMIT)

    def commit(self) -> None:
        """Store what is queued as one batch."""
        commit(self.engine, self.storage)  # type: ignore[arg-type]  # either works

    def create(
        self,
        board: str,
        score: str = "int64",
        order: str = "desc",
        policy: str = "best",
        ties: str = "first",
    ) -> None:
        """Create a board."""
        self.engine.create_board(board, score, order, policy, ties)
        self.commit()

    def submit(self, board: str, member: str, score: float) -> None:
        """Submit one score, in a batch of its own."""
        self.engine.submit(board, member, score)
        self.commit()

    def checkpoint(self) -> None:
        """Store a checkpoint."""
        assert self.storage.lead(self.engine)
        checkpoint = self.engine.checkpoint()
        assert checkpoint is not None
        self.storage.store(checkpoint)

    @property
    def state(self) -> State:
        """Give what is in memory."""
        return State.of(self.engine)


class Place:
    """Where a storage is or may be."""

    def __init__(self, kind: Kind, settings: Storage, database: Database | None) -> None:
        self.kind = kind
        self.settings = settings
        self._database = database

    @property
    def flags(self) -> list[str]:
        """Name it on a command line."""
        if self.kind == "sqlite":
            return ["--storage-path", str(self.settings.path)]
        return ["--storage-url", self.settings.url]

    @contextmanager
    def open(self) -> Iterator[Node]:
        """Run an engine on it; there is no checkpoint in the end."""
        storage: SqliteStorage | PostgresStorage
        if self.kind == "sqlite":
            storage = SqliteStorage(self.settings.path, busy_seconds=0.05)
        else:
            storage = PostgresStorage(self.settings)
        try:
            yield Node(storage)
        finally:
            storage.close()

    def boards_sql(self, statement: str, *values: object) -> list[Any]:
        """Change or read checkpoints behind everybody's back, with `?` for values."""
        return self._sql(boards_sql, statement, values)

    def journal_sql(self, statement: str, *values: object) -> list[Any]:
        """Change or read the journal."""
        return self._sql(journal_sql, statement, values)

    def _sql(
        self, run: Callable[..., list[Any]], statement: str, values: tuple[object, ...]
    ) -> list[Any]:
        if self._database is None:
            return run(self.settings.path, statement, *values)
        return self._database.sql(statement.replace("?", "%s"), *values)

    def state(self) -> State:
        """Recover, and give what is there."""
        with self.open() as node:
            return node.state

    def offline(self) -> Report:
        """Prove it by itself."""
        source = open_source(self.settings)
        try:
            return offline(source, lambda *_: None)
        finally:
            source.close()

    def backup(self, file: Path) -> Counts:
        """Write a backup of it."""
        source = open_source(self.settings)
        try:
            with output(file, replace=False) as opened:
                return save(source, opened, lambda _: None)
        finally:
            source.close()

    def restore(self, file: Path) -> None:
        """Put a backup into it."""
        contents = examine(file, lambda _: None)
        target = open_target(self.settings)
        try:
            restore(file, contents, target, lambda _: None)
        finally:
            target.close()


NewPlace = Callable[[Kind], Place]


@pytest.fixture
def new_place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[NewPlace]:
    """Make places where there is nothing yet. PostgreSQL only runs for tests that ask for it."""
    numbers = count()
    made: list[tuple[Postgres, str]] = []

    def make(kind: Kind) -> Place:
        number = next(numbers)
        if kind == "sqlite":
            return Place(kind, Storage(path=tmp_path / f"place-{number}"), None)
        server: Postgres = request.getfixturevalue("postgres_server")
        name = f"place_{tmp_path.name}_{number}".replace("-", "_").lower()[:60]
        server.sql(f'CREATE DATABASE "{name}" TEMPLATE template0')
        made.append((server, name))
        database = Database(server, name)
        return Place(kind, Storage(url=database.url), database)

    yield make
    for server, name in made:
        server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(params=KINDS)
def place(new_place: NewPlace, request: pytest.FixtureRequest) -> Place:
    """Make a place of each kind."""
    return new_place(request.param)


def fill(node: Node) -> None:
    """Make boards of every kind that both storages take, in the checkpoint and behind it."""
    node.create("best")
    node.create("last", "float64", "asc", "last", "last")
    node.create("sum", "int64", "desc", "sum", "member")
    node.create("gone")
    for number, member in enumerate(["ann", "bob", "日本", "x" * 128]):
        node.submit("best", member, 7)
        node.submit("last", member, -1.5 * number)
        node.submit("sum", member, 2**61)
    for extreme in (-(2**63), 2**63 - 1):
        node.submit("best", f"{extreme}", extreme)
    node.submit("gone", "ann", 1)
    node.engine.remove_member("sum", "bob")
    node.commit()
    node.engine.drop_board("gone")
    node.commit()
    node.checkpoint()
    node.create("gone", "int64", "asc", "last", "first")
    node.submit("gone", "bob", 2)
    node.submit("sum", "bob", 3)
    node.engine.remove_member("best", "ann")
    node.commit()
    node.submit("last", "tiny", 5e-324)
