"""The storage of many nodes: one PostgreSQL database that all of them write to.

What a node promises its clients rests on three things here.

*One place for each batch.* A run of a node is an origin, and only one session of the database may
write as that origin: the one that holds the origin's advisory lock. A session has such a lock until
it ends, and PostgreSQL releases it after the session's last transaction has committed or rolled
back. So nothing is checked at each commit: a connection that got the lock may write for as long as
it works. This rules out poolers that give a transaction any session.

*A known fate.* When `append` fails, nobody knows whether the batch was stored, and worse, it may
still happen: the old session may hang in a commit, or a statement may be on its way through the
network. Therefore `holds` does not look at once. It ends every session that has the origin's lock,
takes the lock itself, which waits until they are gone, and only then looks. What it finds is final,
because the only session that writes as this origin is now its own. Before it looks it commits a
row, so that "not stored" is not said of a database that cannot store. If the old session does not
go away in time the answer is StorageError, and the next attempt begins in the same way.

*Order.* A batch may build on batches of other origins: it was sealed after they were applied, so
after they were committed, so its `seq` is larger. `missing` and `recover` give batches in the order
of seq, and of each origin without gaps. A row with a smaller seq may become visible later than one
with a larger; it then belongs to another origin, whose number tells that it has not been read.

Checkpoints are written by the session that has the advisory lock of the checkpoints, in whose
transactions they are written: a node that lost the lock lost the transaction with it.

Each thread has a connection of its own: the committer, the checkpointer and the follower. Any error
closes the connection, and it is made again when it is needed next. No wait is without a limit, also
if the database or the network falls silent: statements have a limit in the database and, a little
later, one here.
"""

from __future__ import annotations

import math
import os
import secrets
import select
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
from psycopg import errors, generators, pq, sql
from psycopg.errors import error_from_result

from rankwire import _core
from rankwire.storage import (
    ANSWER_SECONDS,
    Batch,
    JournalBatch,
    RefusedError,
    StorageError,
)
from rankwire.storage.archived import warn_of_archive
from rankwire.storage.damage import corrupt, distrust
from rankwire.storage.migrate import migrations
from rankwire.storage.migrate_postgres import LOCK_SPACE, migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGresult

    from rankwire import settings

_T = TypeVar("_T")
_Rows = list[tuple[Any, ...]]

# Most batches of an origin, and about how many bytes, that are read at a time.
_BATCHES: Final = 1000
_BYTES: Final = 8 * 1024**2
# Members that are written at a time: about a megabyte.
_MEMBERS: Final = 16_384
# Members that are read at a time. Measured to be faster than thousands; these few do not make
# Python's garbage collector look at them.
_COPIED_ROWS: Final = 256
# How long one statement of a checkpoint, of recovery or of tidying may take. The largest of them
# handles every member of a board, and may not be cut short by the limit for requests.
_LONG_SECONDS: Final = 3600.0
# How much longer than the database this side waits for an answer.
_GRACE_SECONDS: Final = 2.0
# Weeks of the journal that are made ahead.
_WEEKS: Final = 4
# They queue behind a lock that tidying waits for.
TIDY_LOCK: Final = "SET LOCAL lock_timeout = '100ms'"
"""Begins a transaction that would rather give up than hold up others."""
# Rows that tidying deletes at a time, and at most each time.
_DELETED_ROWS: Final = 10_000
_DELETES: Final = 100

_SESSION = """
SELECT set_config('synchronous_commit', 'on', false),
       set_config('statement_timeout', %(statement)s, false),
       set_config('lock_timeout', %(lock)s, false),
       set_config('idle_in_transaction_session_timeout', %(idle)s, false),
       set_config('client_connection_check_interval', '1s', false),
       -- The database, too, has to notice that this machine has vanished: it holds our locks.
       set_config('tcp_keepalives_idle', %(alive)s, false),
       set_config('tcp_keepalives_interval', %(alive)s, false),
       set_config('tcp_keepalives_count', '2', false),
       set_config('tcp_user_timeout', %(silent)s, false)
"""
# A lock on one bigint shows in pg_locks as two halves and a 1.
_END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND classid = (%(origin)s::bigint >> 32)::oid
  AND objid = (%(origin)s::bigint & 4294967295)::oid
"""
_LOCK_ORIGIN = "SELECT pg_advisory_lock(%s::bigint)"
_PROVE = """
INSERT INTO origins (origin, node) VALUES (%s, %s)
ON CONFLICT (origin) DO UPDATE SET proved_at = excluded.proved_at, last = NULL
"""
_END_ORIGIN = """
UPDATE origins SET last = (
    SELECT coalesce(max(number), 0) FROM journal WHERE journal.origin = origins.origin
) WHERE origin = %s
"""
_APPEND = "INSERT INTO journal (origin, number, batch) VALUES (%b, %b, %b)"
_APPEND_ALL = """
SELECT append_batch(%b, %b, %b, %b::bytea[], %b::bytea[], %b::bytea[], %b::bytea[],
                    %b::text[], %b::bigint[], %b::bigint[])
"""
_KNOWN = "SELECT key, request, answer FROM answers WHERE key = ANY (%b::bytea[])"
_TAKEN = "SELECT name FROM names WHERE name = ANY (%s) AND board <> ALL (%s::bigint[])"
_HOLDS = "SELECT 1 FROM journal WHERE origin = %s AND number = %s"
# Of each origin the next batches, and of all of these the first ones. In one statement, which sees
# origins and batches at one moment: a batch may build on one of an origin that has just come. What
# comes after the end of a list that was cut may build on what was cut off.
_MISSING = """
WITH seen AS (
    SELECT * FROM unnest(%(origins)s::bigint[], %(numbers)s::bigint[]) AS seen (origin, number)
), wanted AS (
    SELECT origin, coalesce(number, 0) AS number FROM origins LEFT JOIN seen USING (origin)
    WHERE origin <> %(own)s AND (last IS NULL OR last > coalesce(number, 0))
), found AS (
    SELECT seq, wanted.origin, found.number, batch,
           row_number() OVER (PARTITION BY wanted.origin ORDER BY found.number) AS place
    FROM wanted
    CROSS JOIN LATERAL (
        SELECT seq, number, batch FROM journal
        WHERE journal.origin = wanted.origin AND journal.number > wanted.number
        ORDER BY number LIMIT %(batches)s
    ) AS found
), counted AS (
    SELECT *, sum(octet_length(batch)) OVER (ORDER BY seq) - octet_length(batch) AS before
    FROM found
    WHERE seq <= (
        SELECT coalesce(min(seq), 9223372036854775807) FROM found WHERE place = %(batches)s
    )
)
SELECT origin, number, batch FROM counted WHERE before < %(bytes)s ORDER BY seq
"""
_LOCK_CHECKPOINTS = "SELECT pg_try_advisory_lock(%s, hashtext(%s))"
_UNLOCK_CHECKPOINTS = "SELECT pg_advisory_unlock(%s, hashtext(%s))"
_CHANGED = "CREATE TEMPORARY TABLE changed (LIKE members) ON COMMIT DELETE ROWS"
_STORE_BOARD = """
INSERT INTO boards (id, name, score, "order", policy, ties, seed, version, player_submits)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET version = excluded.version
"""
# In the order of the index, which takes about a fifth less time.
_STORE_CHANGED = """
INSERT INTO members SELECT * FROM changed ORDER BY board, member
ON CONFLICT (board, member) DO UPDATE SET
    score = excluded.score, code = excluded.code, stamp = excluded.stamp,
    generation = excluded.generation
"""
_STORE_DROPPED = """
INSERT INTO dropped (board) SELECT unnest(%s::bigint[]) ON CONFLICT DO NOTHING
"""
_STORE_VECTOR = """
INSERT INTO vector SELECT * FROM unnest(%s::bigint[], %s::bigint[])
ON CONFLICT (origin) DO UPDATE SET number = excluded.number
WHERE vector.number < excluded.number
"""
_COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END: Final = b"\xff\xff"
_CLOCK = "SELECT extract(epoch FROM clock_timestamp()) * 1000"
_IS_ARCHIVED = "SELECT EXISTS (SELECT FROM archived)"
_OLD_WEEKS = """
SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'journal'::regclass AND relname ~ '^journal_[0-9]{8}$'
  AND to_date(right(relname, 8), 'YYYYMMDD') + 7 + %s <= (now() AT TIME ZONE 'UTC')::date
ORDER BY relname
"""
# From one origin to the next in the index: a week has many batches of few origins.
_IS_COVERED = """
WITH RECURSIVE lasts AS (
    (SELECT origin, number FROM {week} ORDER BY origin DESC, number DESC LIMIT 1)
    UNION ALL
    SELECT next.origin, next.number FROM lasts CROSS JOIN LATERAL (
        SELECT origin, number FROM {week} AS week WHERE week.origin < lasts.origin
        ORDER BY origin DESC, number DESC LIMIT 1
    ) AS next
)
SELECT coalesce(bool_and(lasts.number <= coalesce(vector.number, 0)), true)
FROM lasts LEFT JOIN vector USING (origin)
"""
_DELETE_REST = """
DELETE FROM journal_rest WHERE ctid = ANY (ARRAY(
    SELECT rest.ctid FROM journal_rest AS rest JOIN vector USING (origin)
    WHERE rest.number <= vector.number AND committed_at < now() - %s * interval '1 day' LIMIT %s
))
"""
_DELETE_ANSWERS = """
DELETE FROM answers WHERE key = ANY (ARRAY(
    SELECT key FROM answers WHERE created_at < now() - %s * interval '1 second'
    ORDER BY created_at LIMIT %s
))
"""
_DELETE_DROPPED = "DELETE FROM dropped WHERE dropped_at < now() - %s * interval '1 day'"
# A minimum, which the index has; whether there are any would be looked for in all of the journal.
_DELETE_ORIGINS = """
DELETE FROM origins
WHERE last IS NOT NULL
  AND (SELECT min(number) FROM journal WHERE journal.origin = origins.origin) IS NULL
"""


class _Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that does not wait for ever for a database that has fallen silent."""

    patience: float = 10.0

    def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:
        return super().wait(gen, interval, timeout or self.patience)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Wait for so long at most meanwhile."""
        before, self.patience = self.patience, seconds
        try:
            yield
        finally:
            self.patience = before


class Link:
    """A connection that is made when it is needed, and closed after any error.

    For the modules of this package.
    """

    def __init__(
        self, kept: settings.Storage, what: str, statement_seconds: float | None = None
    ) -> None:
        """Do not connect yet. `what` is shown in the database."""
        self._kept = kept
        self._what = what
        self._seconds = statement_seconds or kept.statement_seconds
        self._connection: _Connection | None = None

    @contextmanager
    def use(self, purpose: str, *, reconnect: bool = True) -> Iterator[_Connection]:
        """Give the connection. Errors of the database become StorageError and close it."""
        try:
            if self._connection is None:
                if not reconnect:
                    raise psycopg.OperationalError("the connection is lost")  # noqa: TRY301
                self._connection = self._connect()
            yield self._connection
        except psycopg.Error as error:
            self.close()
            raise StorageError(f"cannot {purpose}: {_first_line(error)}") from error
        except BaseException as error:
            if not isinstance(error, RefusedError):
                self.close()
            raise

    def close(self) -> None:
        """Close the connection if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> _Connection:
        kept = self._kept
        limit = math.ceil(kept.statement_seconds)
        connection = _Connection.connect(
            kept.url,
            autocommit=True,
            client_encoding="UTF8",
            application_name=f"rankwire-{self._what}",
            connect_timeout=limit,
            keepalives_idle=limit,
            keepalives_interval=math.ceil(limit / 3),
            keepalives_count=3,
            tcp_user_timeout=limit * 1000,
        )
        try:
            connection.patience = kept.statement_seconds + _GRACE_SECONDS
            limits = {
                "statement": _ms(self._seconds),
                "lock": _ms(kept.lock_seconds),
                # However long a statement may take, between two of them nothing does.
                "idle": _ms(kept.statement_seconds),
                "alive": str(math.ceil(limit / 3)),
                "silent": _ms(kept.statement_seconds),
            }
            connection.execute(_SESSION, limits)
            connection.patience = self._seconds + _GRACE_SECONDS
        except BaseException:
            connection.close()
            raise
        return connection


class PostgresStorage:
    """A `Storage` in a PostgreSQL database, which it creates its tables in."""

    cluster: str
    """Which database this is, wherever it is."""

    def __init__(self, kept: settings.Storage, *, is_archived: bool = False) -> None:
        """Connect, create or migrate the tables. Raises StorageError.

        `is_archived`: the archive takes away what is old of the journal, and `tidy` does not. Nor
        does it where any node has archived the journal, which it warns of once.
        """
        self._kept = kept
        self._is_archived = is_archived
        self._has_warned = False
        self._origin = secrets.randbits(63) or 1
        self._node = f"{socket.gethostname()}:{os.getpid()}"
        self._committer = Link(kept, "committer")
        self._checkpointer = Link(kept, "checkpointer", _LONG_SECONDS)
        self._follower = Link(kept, "follower")
        self._following = threading.Lock()
        # The connection that has the lock of the checkpoints.
        self._leading: _Connection | None = None
        with once(Link(kept, "migration"), "open the storage") as connection:
            migrate(connection, migrations("postgres"))
            ((self.cluster,),) = connection.execute("SELECT id FROM cluster").fetchall()

    def recover(self, pending_ops: int, boards: int) -> _core.Engine:
        """See `Storage.recover`."""
        with self._take_over():
            pass
        link = Link(self._kept, "recovery", _LONG_SECONDS)
        with once(link, "read the storage") as connection, distrust(), connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            # Nobody drops a week of the journal before it has been read.
            connection.execute("LOCK TABLE journal IN ACCESS SHARE MODE")
            engine = self._load(connection, pending_ops, boards)
            # Others write as well: who takes the checkpoints is decided later.
            engine.track(False)
            _replay(connection, engine)
        return engine

    def append(self, batch: Batch) -> None:
        """See `Storage.append`: one round trip, whatever the batch has."""
        with self._committer.use("write to the journal", reconnect=False) as connection:
            more = batch.created or batch.dropped or batch.answers or batch.doubted
            if batch.bytes and not more:
                row = (self._origin, batch.number, batch.bytes)
                connection.execute(_APPEND, row, prepare=True)
                return
            try:
                connection.execute(_APPEND_ALL, self._all_of(batch), prepare=True)
            except psycopg.Error as error:
                if error.sqlstate not in {"RW001", "RW002"}:
                    raise
                raise _refusal(connection, batch) from error

    def holds(self, number: int) -> bool:
        """See `Storage.holds`, and the top of this file for why it is so thorough."""
        with self._take_over() as connection:
            return bool(connection.execute(_HOLDS, (self._origin, number)).fetchall())

    def missing(self, vector: Mapping[int, int]) -> list[JournalBatch]:
        """Give committed batches that the vector lacks, a bounded number of them, in causal order.

        None are left when there are none. Raises StorageError.
        """
        with self._following, self._follower.use("read the journal") as connection:
            return _missing(connection, vector, self._origin)

    def clock_ms(self) -> int:
        """Ask the database for the time, in milliseconds since 1970, as it is now.

        It is exact up to half the round trip. Raises StorageError.
        """
        with self._following, self._follower.use("ask for the time") as connection:
            asked = time.monotonic()
            ((ms,),) = connection.execute(_CLOCK).fetchall()
            return round(float(ms) + (time.monotonic() - asked) * 500)

    def lead(self, engine: _core.Engine) -> bool:
        """See `Storage.lead`."""
        try:
            limit = self._kept.statement_seconds + _GRACE_SECONDS
            with (
                self._checkpointer.use("take checkpoints") as connection,
                connection.within(limit),
            ):
                if connection is self._leading:
                    connection.execute("SELECT 1")
                    return True
                self._stop_leading(engine)
                if self._begin_to_lead(connection, engine):
                    self._leading = connection
                return self._leading is not None
        except StorageError:
            self._stop_leading(engine)
            raise

    def store(self, checkpoint: _core.Checkpoint) -> None:
        """See `Storage.store`."""
        with self._checkpointer.use("store a checkpoint") as connection:
            if connection is not self._leading:
                raise StorageError("cannot store a checkpoint: another node takes them now")
            with connection.transaction():
                _write(connection, checkpoint)

    def tidy(self) -> None:
        """See `Storage.tidy`. On a connection of its own, as failing here ends no leadership."""
        link = Link(self._kept, "tidy", _LONG_SECONDS)
        with once(link, "tidy the storage") as connection:
            _make_weeks(connection)
            if not self._is_archived and not self._was_archived(connection):
                _drop_weeks(connection, self._kept.journal_days)
                _delete(connection, _DELETE_REST, self._kept.journal_days, _may_forget)
            _delete(connection, _DELETE_ANSWERS, ANSWER_SECONDS)
            connection.execute(_DELETE_DROPPED, (self._kept.journal_days,))
            _tidy_origins(connection)

    def close(self) -> None:
        """See `Storage.close`. Tells the others that nothing more comes of this origin."""
        # If it fails, who takes the checkpoints finds out.
        with suppress(StorageError), self._committer.use("end", reconnect=False) as connection:
            connection.execute(_END_ORIGIN, (self._origin,))
        for link in (self._committer, self._checkpointer, self._follower):
            link.close()

    def _was_archived(self, connection: _Connection) -> bool:
        is_marked = bool(_value(connection, _IS_ARCHIVED))
        if is_marked and not self._has_warned:
            warn_of_archive()
            self._has_warned = True
        return is_marked

    @contextmanager
    def _take_over(self) -> Iterator[_Connection]:
        """Connect anew, become the only session that writes as this origin, prove that it can."""
        self._committer.close()
        with self._committer.use("write to the journal") as connection:
            connection.execute(_END_OTHERS, {"origin": self._origin})
            connection.execute(_LOCK_ORIGIN, (self._origin,))
            connection.execute(_PROVE, (self._origin, self._node))
            yield connection

    def _all_of(self, batch: Batch) -> tuple[Any, ...]:
        keys, requests, answers = zip(*batch.answers, strict=True) if batch.answers else ((),) * 3
        names, ids = zip(*batch.created, strict=True) if batch.created else ((),) * 2
        lists = (keys, requests, answers, batch.doubted, names, ids, batch.dropped)
        return (self._origin, batch.number, batch.bytes, *map(list, lists))

    def _load(self, connection: _Connection, pending_ops: int, boards: int) -> _core.Engine:
        vector = connection.execute("SELECT origin, number FROM vector").fetchall()
        dropped = connection.execute("SELECT board FROM dropped").fetchall()
        recovery = _core.Recovery(vector, [board for (board,) in dropped])
        columns = 'id, name, score, "order", policy, ties, seed, version, player_submits'
        query = f"SELECT {columns} FROM boards ORDER BY id"  # noqa: S608 - our own names
        for board in connection.execute(query.encode(), binary=True).fetchall():
            recovery.board(*board)
            _load_members(connection, recovery, board[0])
        return recovery.finish(self._origin, pending_ops, boards, shared=True)

    def _begin_to_lead(self, connection: _Connection, engine: _core.Engine) -> bool:
        """Take the lock of the checkpoints and note in the engine all that the last one lacks."""
        place = (LOCK_SPACE, self.cluster)
        if not _value(connection, _LOCK_CHECKPOINTS, *place):
            return False
        stored = dict(connection.execute("SELECT origin, number FROM vector").fetchall())
        if not _includes(engine.vector(), stored):
            # Not level with the last checkpoint yet; somebody else may be.
            connection.execute(_UNLOCK_CHECKPOINTS, place)
            return False
        connection.execute("DROP TABLE IF EXISTS pg_temp.changed")
        connection.execute(_CHANGED)
        engine.track(True)
        _mark(connection, engine, stored)
        return True

    def _stop_leading(self, engine: _core.Engine) -> None:
        self._leading = None
        engine.track(False)


def _replay(connection: _Connection, engine: _core.Engine) -> None:
    """Apply all that is newer than the checkpoint. A gap cannot be, so it is damage."""
    while batches := _missing(connection, engine.vector(), engine.origin):
        count, why = engine.apply(batches, trust=True)
        if count < len(batches):
            origin, number, _ = batches[count]
            raise corrupt(f"the journal has a {why} before batch {number} of origin {origin}")
    vector = engine.vector()
    for origin, last in connection.execute("SELECT origin, last FROM origins WHERE last > 0"):
        if vector.get(origin, 0) < last:
            raise corrupt(f"the journal lacks the last batches of origin {origin}")


def _load_members(connection: _Connection, recovery: _core.Recovery, board: int) -> None:
    query = sql.SQL(
        "COPY (SELECT member, code, stamp, generation FROM members WHERE board = {}) "
        "TO STDOUT (FORMAT binary)"
    )
    for data in _copy_out(connection, query.format(board).as_bytes(connection)):
        recovery.copied(data)


def _copy_out(connection: _Connection, query: bytes) -> Iterator[bytes]:
    """Run a COPY and give what comes, several rows at a time.

    Below psycopg's own methods, which take more than twice as long for each row, and there are as
    many rows as the boards have members.
    """
    wire = connection.pgconn
    wire.send_query(query)
    _expect(pq.ExecStatus.COPY_OUT, connection.wait(generators.execute(wire)))
    look = select.poll()
    look.register(wire.socket, select.POLLIN)
    rows: list[bytes | memoryview] = []
    size, data = wire.get_copy_data(1)
    while size >= 0:
        if size > 0:
            rows.append(data)
        elif not look.poll(connection.patience * 1000):
            raise psycopg.OperationalError("the database has fallen silent")
        else:
            wire.consume_input()
        if len(rows) == _COPIED_ROWS:
            yield b"".join(rows)
            rows.clear()
        size, data = wire.get_copy_data(1)
    yield b"".join(rows)
    _expect(pq.ExecStatus.COMMAND_OK, connection.wait(generators.fetch_many(wire)))


def _expect(status: pq.ExecStatus, results: list[PGresult]) -> None:
    for result in results:
        if result.status != status:
            raise error_from_result(result)


def _missing(connection: _Connection, vector: Mapping[int, int], own: int) -> list[JournalBatch]:
    """See `PostgresStorage.missing`; batches of the origin `own` are left out."""
    bounds = {
        "origins": list(vector),
        "numbers": list(vector.values()),
        "own": own,
        "batches": _BATCHES,
        "bytes": _BYTES,
    }
    return connection.execute(_MISSING, bounds, binary=True).fetchall()


def _mark(connection: _Connection, engine: _core.Engine, stored: dict[int, int]) -> None:
    """Note in the engine as changed all that it includes beyond the stored vector."""
    included = engine.vector()
    seen = dict(stored)
    while not _includes(seen, included):
        batches = _missing(connection, seen, own=0)
        if not batches:
            raise corrupt("the journal lacks batches that the last checkpoint lacks as well")
        engine.mark(batches)
        seen |= {origin: number for origin, number, _ in batches}


def _refusal(connection: _Connection, batch: Batch) -> RefusedError:
    keys = [*(key for key, _, _ in batch.answers), *batch.doubted]
    known = connection.execute(_KNOWN, (keys,), binary=True).fetchall()
    names = [name for name, _ in batch.created]
    taken = connection.execute(_TAKEN, (names, batch.dropped)).fetchall()
    return RefusedError(
        [(key, request, answer) for key, request, answer in known], [n for (n,) in taken]
    )


def _write(connection: _Connection, checkpoint: _core.Checkpoint) -> None:
    if dropped := checkpoint.dropped:
        connection.execute("DELETE FROM members WHERE board = ANY (%s::bigint[])", (dropped,))
        connection.execute("DELETE FROM boards WHERE id = ANY (%s::bigint[])", (dropped,))
        connection.execute(_STORE_DROPPED, (dropped,))
    boards = checkpoint.boards
    ids = [board[0] for board in boards]
    query = "SELECT id FROM boards WHERE id = ANY (%s::bigint[])"
    old = {board for (board,) in connection.execute(query, (ids,))}
    with connection.cursor() as cursor:
        cursor.executemany(_STORE_BOARD, [board[:-1] for board in boards])
    # Most of all a first checkpoint has many members. No row of theirs is there already.
    _copy_members(connection, "members", checkpoint, [n for n, i in enumerate(ids) if i not in old])
    _copy_members(connection, "changed", checkpoint, [n for n, i in enumerate(ids) if i in old])
    connection.execute(_STORE_CHANGED)
    vector = checkpoint.vector
    columns = ([origin for origin, _ in vector], [number for _, number in vector])
    connection.execute(_STORE_VECTOR, columns)


def _copy_members(
    connection: _Connection, table: str, checkpoint: _core.Checkpoint, indexes: Iterable[int]
) -> None:
    """Copy the changed members of some of the boards into a table."""
    boards = checkpoint.boards
    query = sql.SQL(
        "COPY {} (board, member, score, code, stamp, generation) FROM STDIN (FORMAT binary)"
    )
    with connection.cursor() as cursor, cursor.copy(query.format(sql.Identifier(table))) as copy:
        copy.write(_COPY_HEADER)
        for index in indexes:
            for start in range(0, boards[index][-1], _MEMBERS):
                copy.write(checkpoint.copy(index, start, _MEMBERS))
        copy.write(_COPY_END)


def _make_weeks(connection: _Connection) -> None:
    """Make weeks of the journal ahead. While the journal is in use that is left for next time."""
    with suppress(errors.LockNotAvailable), connection.transaction():
        connection.execute(TIDY_LOCK)
        connection.execute(sql.SQL("SELECT make_weeks({})").format(_WEEKS))


def _drop_weeks(connection: _Connection, days: int) -> None:
    """Drop old weeks of the journal. What is in use now is left for next time."""
    for (week,) in connection.execute(_OLD_WEEKS, (days,)).fetchall():
        with suppress(errors.LockNotAvailable), connection.transaction():
            connection.execute(TIDY_LOCK)
            if not _may_forget(connection):
                return
            if shut(connection, week):
                connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(week)))


def is_covered(connection: psycopg.Connection[tuple[Any, ...]], week: str) -> bool:
    """Tell whether the last checkpoint includes all of a week of the journal."""
    return bool(_value(connection, sql.SQL(_IS_COVERED).format(week=sql.Identifier(week))))


def shut(connection: psycopg.Connection[tuple[Any, ...]], week: str) -> bool:
    """Let nobody write to a week until the transaction ends, and tell whether it is covered.

    A clock that was set back makes commits come late, so nothing else tells it for good.
    """
    connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.Identifier(week)))
    return is_covered(connection, week)


def may_drop(connection: psycopg.Connection[tuple[Any, ...]]) -> bool:
    """Tell whether no legal hold forbids to drop anything of the journal.

    In a transaction: a new hold waits for its end.
    """
    connection.execute("LOCK TABLE holds IN SHARE MODE")
    return not _value(connection, "SELECT EXISTS (SELECT FROM holds)")


def _may_forget(connection: psycopg.Connection[tuple[Any, ...]]) -> bool:
    """Tell whether what is old may be dropped unarchived, in a transaction as well."""
    connection.execute("LOCK TABLE archived IN SHARE MODE")
    return not _value(connection, _IS_ARCHIVED) and may_drop(connection)


def _tidy_origins(connection: _Connection) -> None:
    """Take note of origins that have ended, and forget those whose journal is gone."""
    open_ones = connection.execute("SELECT origin FROM origins WHERE last IS NULL").fetchall()
    for (origin,) in open_ones:
        with connection.transaction():
            # Whoever writes as this origin has its lock.
            if _value(connection, "SELECT pg_try_advisory_xact_lock(%s::bigint)", origin):
                connection.execute(_END_ORIGIN, (origin,))
    connection.execute(_DELETE_ORIGINS)


def _delete(
    connection: _Connection,
    query: str,
    age: int,
    is_allowed: Callable[[_Connection], bool] = lambda _: True,
) -> None:
    """Delete what is old, piece by piece, so that nobody waits long for it."""
    for _ in range(_DELETES):
        with connection.transaction():
            if not is_allowed(connection):
                return
            deleted = connection.execute(query.encode(), (age, _DELETED_ROWS)).rowcount
        if deleted < _DELETED_ROWS:
            return


def _value(
    connection: psycopg.Connection[tuple[Any, ...]], query: str | sql.Composed, *values: object
) -> Any:
    """Give the one value that a query asks for."""
    text = query.encode() if isinstance(query, str) else query
    ((value,),) = connection.execute(text, values).fetchall()
    return value


def _includes(vector: Mapping[int, int], other: Mapping[int, int]) -> bool:
    return all(vector.get(origin, 0) >= number for origin, number in other.items())


@contextmanager
def once(link: Link, purpose: str) -> Iterator[_Connection]:
    """Use a link and close it."""
    try:
        with link.use(purpose) as connection:
            yield connection
    finally:
        link.close()


def _ms(seconds: float) -> str:
    return f"{math.ceil(seconds * 1000)}ms"


def _first_line(error: psycopg.Error) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
