"""The journal in SQLite as an `ArchiveSource`, beside the server that writes it.

What goes is its beginning: the batches before the first one that is younger or that the checkpoint
lacks. Rows are deleted some thousands at a time, as a commit waits meanwhile. The file does not get
smaller by that: the room is used again.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from rankwire.storage import StorageError
from rankwire.storage.archive import SEGMENT_BYTES, SEGMENT_ROWS, Row
from rankwire.storage.archive_source import Extent, HeldError, Hold, Piece
from rankwire.storage.migrate import APPLIED, migrations, pending
from rankwire.storage.sqlite import BOARDS_FILE, JOURNAL_FILE, lock_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

LOCK_FILE: Final = "archive.lock"

_JOURNAL: Final = Piece("journal", is_whole=False)
# Rows that are deleted at a time: a commit waits as long as that takes.
_DELETED_ROWS: Final = 5000
# How long a busy server's file is waited for: SQLite gives it to whoever comes at the right moment.
_PATIENCE_SECONDS: Final = 60.0
_DAY_MS: Final = 86_400_000

# The last row stays: it tells where the journal goes on.
_END: Final = """
SELECT min(
    (SELECT max(seq) - 1 FROM journal), ?1,
    coalesce((SELECT seq - 1 FROM journal WHERE committed_ms >= ?2 ORDER BY seq LIMIT 1), ?1)
)
"""
_EXTENT: Final = """
SELECT count(*), coalesce(sum(length(batch)), 0), min(committed_ms) * 1000, max(committed_ms) * 1000
FROM journal WHERE seq <= ?
"""
_NEXT: Final = """
SELECT seq, origin, number, committed_ms * 1000, batch FROM journal
WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?
"""
_MARK: Final = "INSERT INTO archived VALUES (1, ?) ON CONFLICT DO NOTHING"
_HOLDS: Final = "SELECT id, reason, placed_ms FROM holds ORDER BY id"


class SqliteArchive:
    """See the module."""

    kind = "sqlite"
    cluster: str

    def __init__(self, directory: Path) -> None:
        """Do not open anything yet."""
        self._directory = directory

    @contextmanager
    def open(self, *, to_change: bool = True) -> Iterator[None]:
        """See `ArchiveSource.open`."""
        if not (self._directory / JOURNAL_FILE).exists():
            raise StorageError(f"there is no storage in {self._directory.absolute()}")
        with self._locked(to_change), self._errors():
            self._journal = self._connect(JOURNAL_FILE, "journal")
            try:
                self._boards = self._connect(BOARDS_FILE, "boards")
                try:
                    (self.cluster,) = self._journal.execute("SELECT id FROM cluster").fetchone()
                    if to_change:
                        self._journal.execute(_MARK, (_now_ms(),))
                    yield
                finally:
                    self._boards.close()
            finally:
                self._journal.close()

    def pieces(self, days: int) -> list[Piece]:
        """See `ArchiveSource.pieces`."""
        del days
        return [_JOURNAL]

    def extent(self, piece: Piece, days: int) -> Extent:
        """See `ArchiveSource.extent`."""
        del piece
        return Extent(*self._journal.execute(_EXTENT, (self._end(days),)).fetchone())

    def rows(self, piece: Piece, days: int, after: int) -> list[Row]:
        """See `ArchiveSource.rows`."""
        del piece
        rows: list[Row] = []
        size = 0
        for row in self._journal.execute(_NEXT, (after, self._end(days), SEGMENT_ROWS)):
            rows.append(row)
            size += len(row[-1])
            if size >= SEGMENT_BYTES:
                break
        return rows

    def discard(self, piece: Piece, rows: Sequence[Row]) -> None:
        """See `ArchiveSource.discard`."""
        del piece
        for start in range(0, len(rows), _DELETED_ROWS):
            some = rows[start : start + _DELETED_ROWS]
            with self._transaction():
                if self.holds():
                    raise HeldError
                self._journal.executemany(
                    "DELETE FROM journal WHERE seq = ? AND origin = ? AND number = ?",
                    [row[:3] for row in some],
                )

    def detach(self, piece: Piece) -> bool:
        """See `ArchiveSource.detach`: there are no whole pieces."""
        raise ValueError(f"{piece.name} is no table of its own")

    def drop(self, piece: Piece) -> int | None:
        """See `ArchiveSource.drop`: there are no whole pieces."""
        raise ValueError(f"{piece.name} is no table of its own")

    def firsts(self) -> dict[int, int]:
        """See `ArchiveSource.firsts`."""
        query = "SELECT origin, min(number) FROM journal GROUP BY origin"
        return dict(self._journal.execute(query).fetchall())

    def holds(self) -> list[Hold]:
        """See `ArchiveSource.holds`."""
        return [Hold(*row) for row in self._journal.execute(_HOLDS)]

    def hold(self, reason: str) -> Hold:
        """See `ArchiveSource.hold`."""
        query = "INSERT INTO holds (reason, placed_ms) VALUES (?, ?)"
        placed_ms = _now_ms()
        with self._transaction():
            done = self._journal.execute(query, (reason, placed_ms))
        return Hold(done.lastrowid or 0, reason, placed_ms)

    def release(self) -> list[Hold]:
        """See `ArchiveSource.release`."""
        with self._transaction():
            holds = self.holds()
            self._journal.execute("DELETE FROM holds")
        return holds

    def stop(self) -> bool:
        """See `ArchiveSource.stop`."""
        return self._journal.execute("DELETE FROM archived").rowcount > 0

    def _end(self, days: int) -> int:
        """Tell the last batch that may go."""
        (covered,) = self._boards.execute("SELECT journal_seq FROM progress").fetchone()
        young_ms = _now_ms() - days * _DAY_MS
        (end,) = self._journal.execute(_END, (covered, young_ms)).fetchone()
        return end or 0

    def _connect(self, name: str, database: str) -> sqlite3.Connection:
        file = (self._directory / name).absolute().as_uri()
        connection = sqlite3.connect(
            f"{file}?mode=rw",
            uri=True,
            timeout=_PATIENCE_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
            _check_schema(connection, name, database)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._journal.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._journal.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._journal.execute("ROLLBACK")
            raise

    @contextmanager
    def _locked(self, wanted: bool) -> Iterator[None]:
        if not wanted:
            yield
            return
        try:
            lock = lock_directory(self._directory / LOCK_FILE)
        except StorageError as error:
            raise StorageError("another process archives this journal now") from error
        except OSError as error:
            raise StorageError(f"cannot lock {self._directory}: {error.strerror}") from error
        try:
            yield
        finally:
            os.close(lock)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(f"cannot archive the journal in {self._directory}: {error}") from (
                error
            )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _check_schema(connection: sqlite3.Connection, name: str, database: str) -> None:
    if pending(dict(connection.execute(APPLIED).fetchall()), migrations(database)):
        raise StorageError(
            f"{name} was written by an older version of Rankwire: start this one's server on it "
            "once"
        )
