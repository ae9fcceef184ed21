"""The embedded storage: two SQLite databases in one directory.

`journal.sqlite` gets one row per commit and is what an acknowledgement waits for.
`boards.sqlite` gets the checkpoints. They are two files because SQLite has one writer at a time per
file: a checkpoint of a million members must not hold up a submit.

Both run in WAL mode with synchronous=FULL, so a commit survives the loss of power. The journal's
`seq` counts on from where it stood when this process started, so the engine's batch `number` has
exactly one place in it, and writing a batch twice is impossible.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rankwire import _core
from rankwire.storage import ANSWER_SECONDS, Batch, RefusedError, StorageError
from rankwire.storage.archived import warn_of_archive
from rankwire.storage.damage import corrupt, distrust
from rankwire.storage.migrate import migrate, migrations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOURNAL_FILE: Final = "journal.sqlite"
BOARDS_FILE: Final = "boards.sqlite"
LOCK_FILE: Final = "lock"

# Rows that cross into or out of SQLite at a time: some megabytes of memory.
_ROWS: Final = 20_000
# Rows that are read at a time when the server starts: these stay in the processor's cache, and are
# too few for Python's garbage collector to look at them.
_READ_ROWS: Final = 256
# Batches that are applied at a time when the server starts.
_BATCHES: Final = 2000
# Rows that are deleted at a time: a commit waits as long as that takes.
_DELETED_ROWS: Final = 5000
_DAY_MS: Final = 86_400_000

_APPEND = "INSERT INTO journal (seq, origin, number, committed_ms, batch) VALUES (?, ?, ?, ?, ?)"
# A probe that is larger than most batches: on a disk that is nearly full, a server that takes one
# small write and fails at the next is no use. Random, as SQLite skips pages that stay the same.
_PROBE = """
INSERT INTO probe VALUES (1, ?, randomblob(65536))
ON CONFLICT (id) DO UPDATE SET probed_ms = excluded.probed_ms, padding = excluded.padding
"""
_STORE_BOARD = """
INSERT INTO boards (id, name, score, "order", policy, ties, seed, version, player_submits)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET version = excluded.version
"""
# One statement for thousands of rows: SQLite unpacks the JSON itself, and other threads run
# Python meanwhile.
_STORE_MEMBERS = """
INSERT INTO members (board, member, score, code, stamp, generation)
SELECT ?1, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4
FROM json_each(?2) WHERE true
ON CONFLICT (board, member) DO UPDATE SET
    score = excluded.score, code = excluded.code, stamp = excluded.stamp,
    generation = excluded.generation
"""
_ANSWER = "INSERT INTO answers VALUES (?, ?, ?, ?)"
_EXPIRE_ANSWERS = """
DELETE FROM answers WHERE key IN (SELECT key FROM answers WHERE answered_ms < ? LIMIT ?)
"""
# The last row stays: it tells where the journal goes on. All do while there is a legal hold, and
# where the journal is archived.
_EXPIRE_JOURNAL = """
DELETE FROM journal WHERE seq IN (
    SELECT seq FROM journal
    WHERE committed_ms < ?1 AND seq <= ?2 AND seq < (SELECT max(seq) FROM journal)
      AND NOT EXISTS (SELECT 1 FROM holds) AND NOT EXISTS (SELECT 1 FROM archived)
    ORDER BY seq LIMIT ?3
)
"""
_STORE_VECTOR = """
INSERT INTO vector VALUES (?, ?) ON CONFLICT (origin) DO UPDATE SET number = excluded.number
"""


class SqliteStorage:
    """A `Storage` in a directory that it creates and locks for itself."""

    def __init__(
        self,
        directory: Path,
        busy_seconds: float,
        journal_days: int = 90,
        *,
        is_archived: bool = False,
    ) -> None:
        """Open the directory, create or migrate its databases. Raises StorageError.

        `is_archived`: the archive takes away what is old of the journal, and `tidy` does not. Nor
        does it where the journal was archived before, which it warns of once.
        """
        self._origin = secrets.randbits(63) or 1
        self._journal_days = journal_days
        self._is_archived = is_archived
        self._has_warned = False
        self._directory = directory
        self._busy_seconds = busy_seconds
        self._lock: int | None = None
        self._connections: list[sqlite3.Connection] = []
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = lock_directory(directory / LOCK_FILE)
            self._journal = self._open(directory / JOURNAL_FILE, busy_seconds)
            self._boards = self._open(directory / BOARDS_FILE, busy_seconds)
            migrate(self._journal, migrations("journal"))
            migrate(self._boards, migrations("boards"))
            (last,) = self._journal.execute("SELECT max(seq) FROM journal").fetchone()
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise StorageError(f"cannot open the storage in {directory}: {error}") from error
        except StorageError:
            self.close()
            raise
        self._base: int = last or 0

    def recover(self, pending_ops: int, boards: int) -> _core.Engine:
        """See `Storage.recover`."""
        with _errors("cannot read the storage"), distrust():
            vector = self._boards.execute("SELECT * FROM vector").fetchall()
            dropped = [board for (board,) in self._boards.execute("SELECT board FROM dropped")]
            recovery = _core.Recovery(vector, dropped)
            for board in self._boards.execute("SELECT * FROM boards").fetchall():
                self._recover_board(recovery, board)
            (seq,) = self._boards.execute("SELECT journal_seq FROM progress").fetchone()
            engine = recovery.finish(self._origin, pending_ops, boards)
            self._replay(engine, seq)
            return engine

    def append(self, batch: Batch) -> None:
        """See `Storage.append`. Names are unique in the engine: nobody else creates boards."""
        with _errors("cannot write to the journal"):
            if batch.answers or batch.doubted:
                with _transaction(self._journal):
                    self._answer(batch)
                    self._append(batch)
            else:
                self._append(batch)

    def holds(self, number: int) -> bool:
        """See `Storage.holds`."""
        seq = (self._base + number,)
        with _errors("cannot write to the journal"):
            if self._journal.in_transaction:
                self._journal.execute("ROLLBACK")
            self._journal.execute(_PROBE, (_now_ms(),))
            found = self._journal.execute("SELECT 1 FROM journal WHERE seq = ?", seq).fetchone()
        return found is not None

    def lead(self, engine: _core.Engine) -> bool:
        """See `Storage.lead`: there is nobody else."""
        del engine
        return True

    def store(self, checkpoint: _core.Checkpoint) -> None:
        """See `Storage.store`."""
        with _errors("cannot store a checkpoint"), _transaction(self._boards):
            self._write(checkpoint)

    def tidy(self) -> None:
        """See `Storage.tidy`."""
        answers_ms = _now_ms() - ANSWER_SECONDS * 1000
        journal_ms = _now_ms() - self._journal_days * _DAY_MS
        with _errors("cannot tidy the journal"):
            (seq,) = self._boards.execute("SELECT journal_seq FROM progress").fetchone()
            # The committer uses the other connection at the same time.
            connection = self._open(self._directory / JOURNAL_FILE, self._busy_seconds)
            try:
                _delete(connection, _EXPIRE_ANSWERS, answers_ms)
                if not self._is_archived and not self._was_archived(connection):
                    _delete(connection, _EXPIRE_JOURNAL, journal_ms, seq)
            finally:
                self._connections.remove(connection)
                connection.close()

    def close(self) -> None:
        """See `Storage.close`."""
        while self._connections:
            self._connections.pop().close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _was_archived(self, connection: sqlite3.Connection) -> bool:
        is_marked = connection.execute("SELECT 1 FROM archived").fetchone() is not None
        if is_marked and not self._has_warned:
            warn_of_archive()
            self._has_warned = True
        return is_marked

    def _open(self, file: Path, busy_seconds: float) -> sqlite3.Connection:
        connection = sqlite3.connect(
            file, timeout=busy_seconds, isolation_level=None, check_same_thread=False
        )
        self._connections.append(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _recover_board(self, recovery: _core.Recovery, board: tuple[int, ...]) -> None:
        recovery.board(*board)  # type: ignore[arg-type]  # the columns are the parameters
        query = "SELECT member, code, stamp, generation FROM members WHERE board = ?"
        rows = self._boards.execute(query, board[:1])
        while chunk := rows.fetchmany(_READ_ROWS):
            recovery.members(chunk)

    def _answer(self, batch: Batch) -> None:
        """Keep what writes are answered. Raises RefusedError if some were answered before."""
        keys = [*batch.doubted, *(key for key, _, _ in batch.answers)]
        query = "SELECT key, request, answer FROM answers WHERE key = ?"
        found = [self._journal.execute(query, (key,)).fetchone() for key in keys]
        if known := [answer for answer in found if answer is not None]:
            raise RefusedError(known, [])
        now_ms = _now_ms()
        self._journal.executemany(_ANSWER, [(*answer, now_ms) for answer in batch.answers])

    def _append(self, batch: Batch) -> None:
        if batch.bytes:
            seq = self._base + batch.number
            row = (seq, self._origin, batch.number, _now_ms(), batch.bytes)
            self._journal.execute(_APPEND, row)

    def _replay(self, engine: _core.Engine, seq: int) -> None:
        """Apply what stands behind `seq`, which must be all that was ever written there."""
        if seq > self._base:
            # New batches would be numbered as if the checkpoint included them.
            raise corrupt(f"the journal ends at {self._base}, the checkpoint goes to {seq}")
        tail = "SELECT seq, origin, number, batch FROM journal WHERE seq > ? ORDER BY seq"
        rows = self._journal.execute(tail, (seq,))
        while chunk := rows.fetchmany(_BATCHES):
            for found, *_ in chunk:
                seq += 1
                if found != seq:
                    raise corrupt(f"the journal's row {seq} is missing")
            batches = [(origin, number, batch) for _, origin, number, batch in chunk]
            count, stop = engine.apply(batches, trust=True)
            if stop:
                origin, number, _ = batches[count]
                place = f"journal batch {number} of origin {origin:016x}"
                raise corrupt(f"{place}: a batch before it is missing")

    def _write(self, checkpoint: _core.Checkpoint) -> None:
        database = self._boards
        for board in checkpoint.dropped:
            database.execute("DELETE FROM members WHERE board = ?", (board,))
            database.execute("DELETE FROM boards WHERE id = ?", (board,))
        for index, (*columns, members) in enumerate(checkpoint.boards):
            database.execute(_STORE_BOARD, columns)
            for start in range(0, members, _ROWS):
                rows = checkpoint.rows(index, start, _ROWS).decode()
                database.execute(_STORE_MEMBERS, (columns[0], rows))
        vector = checkpoint.vector
        database.executemany(_STORE_VECTOR, vector)
        seq = self._base + dict(vector).get(self._origin, 0)
        database.execute("UPDATE progress SET journal_seq = ?", (seq,))


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _delete(connection: sqlite3.Connection, statement: str, *bounds: int) -> None:
    """Run a statement that deletes rows until it finds no more."""
    while connection.execute(statement, (*bounds, _DELETED_ROWS)).rowcount:
        pass


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def _errors(what: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(f"{what}: {error}") from error


def lock_directory(file: Path) -> int:
    """Lock the directory for this process. The lock goes away with the process, however it ends."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StorageError(f"another Rankwire uses the storage in {file.parent}") from error
    return descriptor
