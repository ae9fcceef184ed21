"""A `Source` over the SQLite files of a directory, which a server may be using.

The files are in WAL mode, so a reader and a writer do not wait for each other; what a long read
costs is disk, as the WAL files cannot start over meanwhile.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rankwire import _core
from rankwire.storage import StorageError
from rankwire.storage.backup import BatchRow, Board, KeyRow, MemberRow, ProfileRow
from rankwire.storage.damage import corrupt
from rankwire.storage.keys import COLUMNS, KEYS_FILE
from rankwire.storage.migrate import migrations
from rankwire.storage.profiles_sqlite import PROFILES_FILE
from rankwire.storage.sqlite import BOARDS_FILE, JOURNAL_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Rows at a time: some megabytes of memory.
_ROWS: Final = 10_000
_BATCHES: Final = 1000

_BATCH: Final = """
SELECT seq, origin, number, committed_ms, batch FROM journal WHERE seq > ? ORDER BY seq
"""
_PROFILES: Final = "SELECT member, name, avatar, attributes, updated_us FROM profiles"
_KEYS: Final = f"SELECT {COLUMNS} FROM keys ORDER BY created_ms, id"  # noqa: S608 - our own names


class SqliteSource:
    """See the module."""

    kind = "sqlite"
    region = ""
    identity = ""

    def __init__(self, directory: Path, busy_seconds: float) -> None:
        """Open what is there. Raises StorageError when it is none of this version."""
        self.ends: dict[int, int] = {}
        self._directory = directory
        self._busy_seconds = busy_seconds
        self._connections: list[sqlite3.Connection] = []
        try:
            with _errors(directory):
                self._boards = self._open(BOARDS_FILE, "boards")
                # Snapshots begin with the first read. The journal is read later, so that it has
                # whatever the checkpoint includes.
                (self._seq,) = self._boards.execute("SELECT journal_seq FROM progress").fetchone()
                self.vector = self._boards.execute("SELECT * FROM vector").fetchall()
                dropped = self._boards.execute("SELECT board FROM dropped ORDER BY board")
                self.dropped = [board for (board,) in dropped]
                self._journal = self._open(JOURNAL_FILE, "journal")
                self._last = self._last_seq()
        except BaseException:
            self.close()
            raise

    def boards(self) -> list[Board]:
        """See `Source.boards`."""
        with _errors(self._directory):
            rows = self._boards.execute("SELECT * FROM boards ORDER BY id").fetchall()
        return [Board(*row) for row in rows]

    def members(self) -> Iterator[tuple[int, list[MemberRow]]]:
        """See `Source.members`."""
        for board in self.boards():
            with _errors(self._directory):
                rows = self._boards.execute(
                    "SELECT member, score, code, stamp, generation FROM members WHERE board = ?",
                    (board.id,),
                )
                while chunk := rows.fetchmany(_ROWS):
                    yield board.id, chunk

    def feed(self, recovery: _core.Recovery, board: int) -> None:
        """See `Source.feed`."""
        query = "SELECT member, code, stamp, generation FROM members WHERE board = ?"
        with _errors(self._directory):
            rows = self._boards.execute(query, (board,))
            while chunk := rows.fetchmany(_ROWS):
                recovery.members(chunk)

    def refresh(self) -> None:
        """See `Source.refresh`."""
        with _errors(self._directory):
            self._journal.execute("COMMIT")
            self._journal.execute("BEGIN")
            self._last = self._last_seq()

    def tail(self) -> Iterator[list[BatchRow]]:
        """See `Source.tail`."""
        if self._seq > self._last:
            raise corrupt(
                f"the journal ends at row {self._last}, the checkpoint goes to {self._seq}"
            )
        return self._batches(self._seq)

    def journal(self) -> Iterator[list[BatchRow]]:
        """See `Source.journal`."""
        with _errors(self._directory):
            (first,) = self._journal.execute("SELECT min(seq) FROM journal").fetchone()
        return self._batches((first or 1) - 1)

    def profiles(self) -> Iterator[list[ProfileRow]]:
        """See `Source.profiles`."""
        if (self._directory / PROFILES_FILE).exists():
            with _errors(self._directory):
                rows = self._open(PROFILES_FILE, "profiles").execute(_PROFILES)
                while chunk := rows.fetchmany(_ROWS):
                    yield chunk

    def keys(self) -> list[KeyRow]:
        """See `Source.keys`."""
        if not (self._directory / KEYS_FILE).exists():
            return []
        with _errors(self._directory):
            return self._open(KEYS_FILE, "keys").execute(_KEYS).fetchall()

    def regions(self) -> None:
        """See `Source.regions`: SQLite has none."""

    def close(self) -> None:
        """See `Source.close`."""
        while self._connections:
            self._connections.pop().close()

    def _open(self, name: str, database: str) -> sqlite3.Connection:
        """Open a file for reading and begin a transaction on it."""
        file = self._directory / name
        if not file.exists():
            raise StorageError(f"there is no storage in {self._directory.absolute()}")
        connection = sqlite3.connect(
            f"{file.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=self._busy_seconds,
            isolation_level=None,
        )
        self._connections.append(connection)
        connection.execute("BEGIN")
        applied = connection.execute("SELECT number, sha256 FROM schema_migrations").fetchall()
        _check_schema(name, applied, [(step.number, step.sha256) for step in migrations(database)])
        return connection

    def _last_seq(self) -> int:
        (last,) = self._journal.execute("SELECT max(seq) FROM journal").fetchone()
        return last or 0

    def _batches(self, seq: int) -> Iterator[list[BatchRow]]:
        with _errors(self._directory):
            rows = self._journal.execute(_BATCH, (seq,))
            while chunk := rows.fetchmany(_BATCHES):
                for found, *_ in chunk:
                    seq += 1
                    if found != seq:
                        raise corrupt(f"the journal's row {seq} is missing")
                yield [row[1:] for row in chunk]


def _check_schema(name: str, applied: list[tuple[int, str]], known: list[tuple[int, str]]) -> None:
    if applied == known:
        return
    if len(applied) < len(known):
        why = "was written by an older version of Rankwire: start this one's server on it once"
    else:
        why = "was written by a newer version of Rankwire, or was changed"
    raise StorageError(f"{name} {why}")


@contextmanager
def _errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(f"cannot read the storage in {directory}: {error}") from error
