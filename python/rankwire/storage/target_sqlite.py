"""A `Target` in a directory of SQLite databases.

The databases are written in one transaction. SQLite makes a transaction over several files atomic
where they have rollback journals, so they have those here, and get WAL again by the next server.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rankwire.storage import StorageError
from rankwire.storage.backup import (
    Batches,
    Board,
    Keys,
    MemberRow,
    Members,
    Profiles,
    Regions,
    Vector,
)
from rankwire.storage.keys import COLUMNS, KEYS_FILE, SqliteKeys
from rankwire.storage.migrate import migrate, migrations
from rankwire.storage.profiles_sqlite import PROFILES_FILE
from rankwire.storage.sqlite import BOARDS_FILE, JOURNAL_FILE, LOCK_FILE, lock_directory

if TYPE_CHECKING:
    from pathlib import Path

_FILES: Final = {"boards": BOARDS_FILE, "journal": JOURNAL_FILE, "profiles": PROFILES_FILE}
_EXACT: Final = 2.0**53

_IS_EMPTY: Final = """
SELECT NOT (
    EXISTS (SELECT * FROM boards) OR EXISTS (SELECT * FROM vector)
    OR EXISTS (SELECT * FROM journal.journal) OR EXISTS (SELECT * FROM profiles.profiles)
)
"""
_BOARD: Final = """
INSERT INTO boards (id, name, score, "order", policy, ties, seed, version, player_submits)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_MEMBER: Final = "INSERT INTO members VALUES (?, ?, ?, ?, ?, ?)"
_BATCH: Final = "INSERT INTO journal.journal VALUES (NULL, ?, ?, ?, ?)"
_PROFILE: Final = """
INSERT INTO profiles.profiles (member, name, avatar, attributes, updated_us) VALUES (?, ?, ?, ?, ?)
"""
_KEY: Final = f"""
INSERT INTO keys.keys ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
"""  # noqa: S608 - our own names


class SqliteTarget:
    """See the module."""

    def __init__(self, directory: Path) -> None:
        """Make the databases, lock them against servers, begin the transaction.

        Raises StorageError when there is something in them, or a server uses them.
        """
        self._lock: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._whole: set[int] = set()
        try:
            with _errors():
                directory.mkdir(parents=True, exist_ok=True)
                self._lock = lock_directory(directory / LOCK_FILE)
                _make(directory)
                self._database = self._open(directory)
                self._begin(directory)
        except BaseException:
            self.close()
            raise

    def vector(self, vector: Vector) -> None:
        """See `Target.vector`."""
        with _errors():
            self._database.executemany("INSERT INTO vector VALUES (?, ?)", vector.origins)
            dropped = [(board,) for board in vector.dropped]
            self._database.executemany("INSERT INTO dropped VALUES (?)", dropped)

    def names(self, names: Iterable[tuple[int, str]]) -> None:
        """See `Target.names`: the only server knows them from the journal."""

    def boards(self, boards: Iterable[Board]) -> None:
        """See `Target.boards`."""
        with _errors():
            for board in boards:
                row = (
                    *(board.id, board.name, board.score, board.order, board.policy, board.ties),
                    *(board.seed, board.version, board.player_submits),
                )
                self._database.execute(_BOARD, row)
                if board.score == "int64":
                    self._whole.add(board.id)

    def members(self, members: Iterable[Members]) -> None:
        """See `Target.members`."""
        with _errors():
            for some in members:
                rows = _whole(some.rows) if some.board in self._whole else some.rows
                self._database.executemany(_MEMBER, [(some.board, *row) for row in rows])

    def batches(self, batches: Iterable[Batches]) -> None:
        """See `Target.batches`."""
        with _errors():
            for some in batches:
                self._database.executemany(_BATCH, some.rows)

    def profiles(self, profiles: Iterable[Profiles]) -> None:
        """See `Target.profiles`."""
        with _errors():
            for some in profiles:
                self._database.executemany(_PROFILE, some.rows)

    def keys(self, keys: Iterable[Keys]) -> None:
        """See `Target.keys`."""
        with _errors():
            for some in keys:
                self._database.executemany(_KEY, some.rows)

    def regions(self, regions: Regions) -> None:
        """See `Target.regions`: SQLite has none."""
        raise StorageError(
            f"the backup is of the region {regions.region}: it can only be restored into PostgreSQL"
        )

    def commit(self) -> None:
        """See `Target.commit`."""
        with _errors():
            self._database.execute("COMMIT")

    def close(self) -> None:
        """See `Target.close`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _begin(self, directory: Path) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        if self._database.execute(_IS_EMPTY).fetchone() != (1,):
            raise StorageError(f"the storage in {directory.absolute()} is not empty")

    def _open(self, directory: Path) -> sqlite3.Connection:
        # Nobody else is to be waited for: the directory is locked.
        connection = sqlite3.connect(directory / BOARDS_FILE, timeout=0, isolation_level=None)
        self._connection = connection
        for name, file in {**_FILES, "keys": KEYS_FILE}.items():
            schema = "main" if name == "boards" else name
            if schema != "main":
                connection.execute(f"ATTACH ? AS {schema}", (str(directory / file),))
            connection.execute(f"PRAGMA {schema}.journal_mode = DELETE")
            connection.execute(f"PRAGMA {schema}.synchronous = FULL")
        return connection


def _make(directory: Path) -> None:
    """Make the databases that are missing; they are empty."""
    for name, file in _FILES.items():
        connection = sqlite3.connect(directory / file, timeout=0, isolation_level=None)
        try:
            migrate(connection, migrations(name))
        finally:
            connection.close()
    SqliteKeys(directory).close()


def _whole(rows: list[MemberRow]) -> Iterable[MemberRow]:
    """Write scores for people as whole numbers, as far as they are exact."""
    for member, score, code, stamp, generation in rows:
        if isinstance(score, float) and abs(score) <= _EXACT:
            yield member, int(score), code, stamp, generation
        else:
            yield member, score, code, stamp, generation


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"cannot restore: {error}") from error
