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

import os
import secrets
import select
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import psycopg
from psycopg import generators, pq, sql
from psycopg.errors import error_from_result

from rankwire import _core
from rankwire.storage import (
    Batch,
    FencedError,
    JournalBatch,
    RefusedError,
    StorageError,
    postgres_checkpoint,
    postgres_tidy,
)
from rankwire.storage.archived import warn_of_archive
from rankwire.storage.damage import corrupt, distrust
from rankwire.storage.migrate import migrations
from rankwire.storage.migrate_postgres import LOCK_SPACE, migrate
from rankwire.storage.postgres_link import GRACE_SECONDS, Connection, Link, once
from rankwire.storage.region_claim import claim

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg.pq.abc import PGresult

    from rankwire import settings

Fenced = Literal["all", "names"]
"""Which batches only the primary region may commit: all, or those that create or drop boards."""

# Most batches of an origin, and about how many bytes, that are read at a time.
_BATCHES: Final = 1000
_BYTES: Final = 8 * 1024**2
# Members that are read at a time. Measured to be faster than thousands; these few do not make
# Python's garbage collector look at them.
_COPIED_ROWS: Final = 256
# How long one statement of a checkpoint, of recovery or of tidying may take. The largest of them
# handles every member of a board, and may not be cut short by the limit for requests.
_LONG_SECONDS: Final = 3600.0

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
INSERT INTO origins (origin, node, region) VALUES (%s, %s, %s)
ON CONFLICT (origin) DO UPDATE SET proved_at = excluded.proved_at, last = NULL
"""
_APPEND = "INSERT INTO journal (origin, number, batch) VALUES (%b, %b, %b)"
_APPEND_ALL = """
SELECT append_batch(%b, %b, %b, %b::bytea[], %b::bytea[], %b::bytea[], %b::bytea[],
                    %b::text[], %b::bigint[], %b::bigint[])
"""
_APPEND_FENCED = "SELECT append_fenced(%b, %b, %b, %b)"
_APPEND_IN_REGION = """
SELECT append_in_region(%b, %b, %b, %b::bytea[], %b::bytea[], %b::bytea[], %b::bytea[],
                        %b::text[], %b::bigint[], %b::bigint[], %b::bytea, %b::bigint)
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
_CLOCK = "SELECT extract(epoch FROM clock_timestamp()) * 1000"


class PostgresStorage:
    """A `Storage` in a PostgreSQL database, which it creates its tables in."""

    cluster: str
    """Which database this is, wherever it is."""

    def __init__(
        self,
        kept: settings.Storage,
        *,
        is_archived: bool = False,
        region: str = "",
        fenced: Fenced | None = None,
    ) -> None:
        """Connect, create or migrate the tables. Raises StorageError.

        `is_archived`: the archive takes away what is old of the journal, and `tidy` does not. Nor
        does it where any node has archived the journal, which it warns of once. `region`: the name
        of this region among others, which the database has to belong to. `fenced`: what is refused
        unless this region is the primary.
        """
        self.epoch = 0
        """Of which primary the engine believes to be a part; `append` is fenced by it."""
        self._kept = kept
        self._region = region
        self._fenced = fenced
        self._is_archived = is_archived
        self._has_warned = False
        self._origin = secrets.randbits(63) or 1
        self._node = f"{socket.gethostname()}:{os.getpid()}"
        self._committer = Link(kept, "committer")
        self._checkpointer = Link(kept, "checkpointer", _LONG_SECONDS)
        self._follower = Link(kept, "follower")
        self._following = threading.Lock()
        # The connection that has the lock of the checkpoints.
        self._leading: Connection | None = None
        # As long as `rankwire migrate` waits: a migration may rewrite a table.
        with once(Link(kept, "migration", _LONG_SECONDS), "open the storage") as connection:
            migrate(connection, migrations("postgres"))
            claim(connection, region)
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
            replay(connection, engine)
        return engine

    def append(self, batch: Batch) -> None:
        """See `Storage.append`: one round trip, whatever the batch has.

        Raises FencedError for what only the primary region may commit, if this is not it.
        """
        query, values = self._statement(batch)
        with self._committer.use("write to the journal", reconnect=False) as connection:
            try:
                connection.execute(query, values, prepare=True)
            except psycopg.Error as error:
                match error.sqlstate:
                    case "RW001" | "RW002":
                        raise _refusal(connection, batch) from error
                    case "RW003":
                        raise FencedError from error
                    case _:
                        raise

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
            limit = self._kept.statement_seconds + GRACE_SECONDS
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
                postgres_checkpoint.write(connection, checkpoint)

    def tidy(self) -> None:
        """See `Storage.tidy`. On a connection of its own, as failing here ends no leadership."""
        link = Link(self._kept, "tidy", _LONG_SECONDS)
        with once(link, "tidy the storage") as connection:
            drops = not self._is_archived and not self._was_archived(connection)
            postgres_tidy.tidy(connection, self._kept.journal_days, drops=drops)

    def close(self) -> None:
        """See `Storage.close`. Tells the others that nothing more comes of this origin."""
        # If it fails, who takes the checkpoints finds out.
        with suppress(StorageError), self._committer.use("end", reconnect=False) as connection:
            connection.execute(postgres_tidy.END_ORIGIN, (self._origin,))
        for link in (self._committer, self._checkpointer, self._follower):
            link.close()

    def _was_archived(self, connection: Connection) -> bool:
        is_marked = postgres_tidy.is_archived(connection)
        if is_marked and not self._has_warned:
            warn_of_archive()
            self._has_warned = True
        return is_marked

    @contextmanager
    def _take_over(self) -> Iterator[Connection]:
        """Connect anew, become the only session that writes as this origin, prove that it can."""
        self._committer.close()
        with self._committer.use("write to the journal") as connection:
            connection.execute(_END_OTHERS, {"origin": self._origin})
            connection.execute(_LOCK_ORIGIN, (self._origin,))
            connection.execute(_PROVE, (self._origin, self._node, self._region or None))
            yield connection

    def _statement(self, batch: Batch) -> tuple[str, tuple[Any, ...]]:
        """Choose the statement that appends a batch: the smallest one that does all of it."""
        has_names = bool(batch.created or batch.dropped)
        is_fenced = (self._fenced == "all" and not batch.is_repair) or (
            self._fenced == "names" and has_names
        )
        epoch = self.epoch if is_fenced else None
        if batch.bytes and not (has_names or batch.answers or batch.doubted):
            row = (self._origin, batch.number, batch.bytes)
            return (_APPEND_FENCED, (*row, epoch)) if is_fenced else (_APPEND, row)
        keys, requests, answers = zip(*batch.answers, strict=True) if batch.answers else ((),) * 3
        names, ids = zip(*batch.created, strict=True) if batch.created else ((),) * 2
        lists = (keys, requests, answers, batch.doubted, names, ids, batch.dropped)
        values = (self._origin, batch.number, batch.bytes, *map(list, lists))
        if not self._region:
            return _APPEND_ALL, values
        # Other regions have to recognise a repeated write as well.
        told = msgspec.msgpack.encode(batch.answers) if batch.answers else None
        return _APPEND_IN_REGION, (*values, told, epoch)

    def _load(self, connection: Connection, pending_ops: int, boards: int) -> _core.Engine:
        vector = connection.execute("SELECT origin, number FROM vector").fetchall()
        dropped = connection.execute("SELECT board FROM dropped").fetchall()
        recovery = _core.Recovery(vector, [board for (board,) in dropped])
        columns = 'id, name, score, "order", policy, ties, seed, version, player_submits'
        query = f"SELECT {columns} FROM boards ORDER BY id"  # noqa: S608 - our own names
        for board in connection.execute(query.encode(), binary=True).fetchall():
            recovery.board(*board)
            _load_members(connection, recovery, board[0])
        # Repairs that count nowhere else are the database's: another one that comes in its place
        # never had what they put right.
        identity = self.cluster if self._region else ""
        return recovery.finish(self._origin, pending_ops, boards, shared=True, region=identity)

    def _begin_to_lead(self, connection: Connection, engine: _core.Engine) -> bool:
        """Take the lock of the checkpoints and note in the engine all that the last one lacks."""
        place = (LOCK_SPACE, self.cluster)
        if connection.execute(_LOCK_CHECKPOINTS, place).fetchone() != (True,):
            return False
        stored = dict(connection.execute("SELECT origin, number FROM vector").fetchall())
        if not _includes(engine.vector(), stored):
            # Not level with the last checkpoint yet; somebody else may be.
            connection.execute(_UNLOCK_CHECKPOINTS, place)
            return False
        connection.execute("DROP TABLE IF EXISTS pg_temp.changed")
        connection.execute(postgres_checkpoint.CHANGED)
        engine.track(True)
        _mark(connection, engine, stored)
        return True

    def _stop_leading(self, engine: _core.Engine) -> None:
        self._leading = None
        engine.track(False)


def replay(connection: Connection, engine: _core.Engine) -> None:
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


def _load_members(connection: Connection, recovery: _core.Recovery, board: int) -> None:
    query = sql.SQL(
        "COPY (SELECT member, code, stamp, generation FROM members WHERE board = {}) "
        "TO STDOUT (FORMAT binary)"
    )
    for data in _copy_out(connection, query.format(board).as_bytes(connection)):
        recovery.copied(data)


def _copy_out(connection: Connection, query: bytes) -> Iterator[bytes]:
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


def _missing(connection: Connection, vector: Mapping[int, int], own: int) -> list[JournalBatch]:
    """See `PostgresStorage.missing`; batches of the origin `own` are left out."""
    bounds = {
        "origins": list(vector),
        "numbers": list(vector.values()),
        "own": own,
        "batches": _BATCHES,
        "bytes": _BYTES,
    }
    return connection.execute(_MISSING, bounds, binary=True).fetchall()


def _mark(connection: Connection, engine: _core.Engine, stored: dict[int, int]) -> None:
    """Note in the engine as changed all that it includes beyond the stored vector."""
    included = engine.vector()
    seen = dict(stored)
    while not _includes(seen, included):
        batches = _missing(connection, seen, own=0)
        if not batches:
            raise corrupt("the journal lacks batches that the last checkpoint lacks as well")
        engine.mark(batches)
        seen |= {origin: number for origin, number, _ in batches}


def _refusal(connection: Connection, batch: Batch) -> RefusedError:
    keys = [*(key for key, _, _ in batch.answers), *batch.doubted]
    known = connection.execute(_KNOWN, (keys,), binary=True).fetchall()
    names = [name for name, _ in batch.created]
    taken = connection.execute(_TAKEN, (names, batch.dropped)).fetchall()
    return RefusedError(
        [(key, request, answer) for key, request, answer in known], [n for (n,) in taken]
    )


def _includes(vector: Mapping[int, int], other: Mapping[int, int]) -> bool:
    return all(vector.get(origin, 0) >= number for origin, number in other.items())
