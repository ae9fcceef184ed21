"""The journal in PostgreSQL as an `ArchiveSource`, and the tables that archives are restored into.

Weeks go whole: first detached, so that nobody can write to them, then dropped. PostgreSQL cannot
detach concurrently where there is a default partition, as journal_rest is, so that takes the lock
that tidying takes, and gives up as soon. Rows of journal_rest go one by one, those before a week
before it: the journal loses its beginning, and never something between.

All happens on one connection, with an advisory lock that lets one process archive at a time. No
transaction stays open while anything is stored elsewhere.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import psycopg
from msgspec.structs import replace
from psycopg import errors, sql

from rankwire.settings import shown_url
from rankwire.storage import StorageError
from rankwire.storage.archive import SEGMENT_BYTES, SEGMENT_ROWS, Row
from rankwire.storage.archive_source import Extent, HeldError, Hold, Piece
from rankwire.storage.migrate import APPLIED, migrations, pending
from rankwire.storage.migrate_postgres import LOCK_SPACE
from rankwire.storage.postgres_link import Link, once
from rankwire.storage.postgres_tidy import TIDY_LOCK, is_covered, may_drop, shut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rankwire.settings import Storage
    from rankwire.storage.archive_restore import Record

REST: Final = "journal_rest"

# How long one statement may take: the largest counts a week of the journal.
_LONG_SECONDS: Final = 3600.0
# Rows that are deleted or restored in one statement.
_ROWS: Final = 10_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_LOCK: Final = "SELECT pg_try_advisory_lock(%s, hashtext('archive of ' || %s))"
_MARK: Final = "INSERT INTO archived DEFAULT VALUES ON CONFLICT DO NOTHING"
# Weeks whose time is over for so many days, also those that an earlier run has detached.
_WEEKS: Final = """
SELECT relname, inhparent IS NULL
FROM pg_class LEFT JOIN pg_inherits ON inhrelid = pg_class.oid
WHERE relkind = 'r'
  AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'journal'::regclass)
  AND CASE WHEN relname ~ '^journal_[0-9]{8}$' THEN
      to_date(right(relname, 8), 'YYYYMMDD') + 7 + %s <= (now() AT TIME ZONE 'UTC')::date
  END
ORDER BY relname
"""
_IS_DETACHED: Final = "SELECT NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = %s::regclass)"
_OLD_REST: Final = """
EXISTS (SELECT FROM vector WHERE vector.origin = piece.origin AND piece.number <= vector.number)
AND committed_at < now() - %(days)s * interval '1 day'
AND committed_at >= coalesce(timestamptz 'epoch' + %(first)s::int8 * interval '1 us', '-infinity')
AND committed_at < coalesce(timestamptz 'epoch' + %(end)s::int8 * interval '1 us', 'infinity')
"""
_US: Final = "(extract(epoch FROM committed_at) * 1000000)::int8"
_EXTENT: Final = sql.SQL(f"""
SELECT count(*), coalesce(sum(octet_length(batch)), 0)::int8, min({_US}), max({_US})
FROM ONLY {{}} AS piece WHERE {{}}
""")  # noqa: S608 - our own names
# The lengths are known without reading the batches, so no more of them are read than are wanted.
_NEXT: Final = sql.SQL(f"""
WITH found AS (
    SELECT seq, octet_length(batch) AS size FROM ONLY {{table}} AS piece
    WHERE seq > %(after)s AND {{old}} ORDER BY seq LIMIT %(rows)s
), sized AS (
    SELECT seq, sum(size) OVER (ORDER BY seq) - size AS before FROM found
)
SELECT seq, origin, number, {_US}, batch FROM ONLY {{table}} AS piece
WHERE seq > %(after)s AND seq <= (SELECT max(seq) FROM sized WHERE before < %(bytes)s) AND {{old}}
ORDER BY seq
""")  # noqa: S608 - our own names
_DISCARD: Final = """
DELETE FROM journal_rest USING unnest(%s::int8[], %s::int8[], %s::int8[])
    AS gone (seq, origin, number)
WHERE journal_rest.seq = gone.seq AND journal_rest.origin = gone.origin
  AND journal_rest.number = gone.number
"""
_FIRSTS: Final = """
SELECT origin, (SELECT min(number) FROM journal WHERE journal.origin = origins.origin) AS first
FROM origins
"""
_HOLD_COLUMNS: Final = "id, reason, (extract(epoch FROM placed_at) * 1000)::int8"
_MAKE_RESTORED: Final = """
CREATE TABLE IF NOT EXISTS journal_restored (
    seq          bigint NOT NULL,
    origin       bigint NOT NULL,
    number       bigint NOT NULL,
    committed_at timestamptz NOT NULL,
    batch        bytea NOT NULL,
    PRIMARY KEY (origin, number)
);
-- What the batches say. Of a score, the one of the two numbers holds that the board's type names.
CREATE TABLE IF NOT EXISTS journal_restored_records (
    seq          bigint NOT NULL,
    origin       bigint NOT NULL,
    number       bigint NOT NULL,
    place        integer NOT NULL,      -- in the batch
    committed_at timestamptz NOT NULL,
    type         text NOT NULL,
    board        bigint NOT NULL,
    name         text,
    member       text COLLATE "C",
    int64        bigint,
    float64      double precision,
    stamp_ms     bigint,
    generation   bigint,
    PRIMARY KEY (origin, number, place)
);
"""
_RESTORE: Final = """
INSERT INTO journal_restored
SELECT * FROM unnest(%s::int8[], %s::int8[], %s::int8[], %s::timestamptz[], %s::bytea[])
ON CONFLICT DO NOTHING
"""
_RESTORE_RECORDS: Final = """
INSERT INTO journal_restored_records
SELECT * FROM unnest(%s::int8[], %s::int8[], %s::int8[], %s::int4[], %s::timestamptz[], %s::text[],
                     %s::int8[], %s::text[], %s::text[], %s::int8[], %s::float8[], %s::int8[],
                     %s::int8[])
ON CONFLICT DO NOTHING
"""

_Connection = psycopg.Connection[tuple[Any, ...]]


class PostgresArchive:
    """See the module."""

    kind = "postgresql"
    cluster: str

    def __init__(self, kept: Storage) -> None:
        """Do not connect yet."""
        self._kept = kept
        self._opened: _Connection | None = None

    @contextmanager
    def open(self, *, to_change: bool = True) -> Iterator[None]:
        """See `ArchiveSource.open`."""
        with _connected(self._kept, "archive") as connection:
            ((self.cluster,),) = connection.execute("SELECT id FROM cluster").fetchall()
            if to_change and connection.execute(_LOCK, (LOCK_SPACE, self.cluster)).fetchall() != [
                (True,)
            ]:
                raise StorageError("another process archives this journal now")
            if to_change:
                connection.execute(_MARK)
            self._opened = connection
            try:
                yield
            finally:
                self._opened = None
                # Now, and not a moment after the session's end: another run may follow at once.
                with suppress(psycopg.Error):
                    connection.execute("SELECT pg_advisory_unlock_all()")

    def pieces(self, days: int) -> list[Piece]:
        """See `ArchiveSource.pieces`."""
        connection = self._connection
        weeks = connection.execute(_WEEKS, (days,)).fetchall()
        rest = Piece(REST, is_whole=False)
        has_rest = self.extent(rest, days).batches > 0
        found: list[Piece] = []
        for week, is_detached in weeks:
            start = _start(week)
            if not is_covered(connection, week):
                return [*found, replace(rest, end_us=start)]
            if has_rest:
                found.append(replace(rest, end_us=start))
                rest = replace(rest, first_us=start)
            found.append(Piece(week, is_whole=True, is_detached=is_detached))
        return [*found, rest]

    def extent(self, piece: Piece, days: int) -> Extent:
        """See `ArchiveSource.extent`."""
        query = _EXTENT.format(sql.Identifier(piece.name), _old(piece))
        (row,) = self._connection.execute(query, _bounds(piece, days)).fetchall()
        return Extent(*row)

    def rows(self, piece: Piece, days: int, after: int) -> list[Row]:
        """See `ArchiveSource.rows`."""
        query = _NEXT.format(table=sql.Identifier(piece.name), old=_old(piece))
        limits = {"after": after, "rows": SEGMENT_ROWS, "bytes": SEGMENT_BYTES}
        bounds = _bounds(piece, days) | limits
        found: list[Row] = self._connection.execute(query, bounds, binary=True).fetchall()
        return found

    def discard(self, piece: Piece, rows: Sequence[Row]) -> None:
        """See `ArchiveSource.discard`."""
        del piece
        connection = self._connection
        for start in range(0, len(rows), _ROWS):
            seqs, origins, numbers, *_ = zip(*rows[start : start + _ROWS], strict=True)
            with connection.transaction():
                if not may_drop(connection):
                    raise HeldError
                connection.execute(_DISCARD, (list(seqs), list(origins), list(numbers)))

    def detach(self, piece: Piece) -> bool:
        """See `ArchiveSource.detach`."""
        connection = self._connection
        if connection.execute(_IS_DETACHED, (piece.name,)).fetchall() == [(True,)]:
            return True
        detach = sql.SQL("ALTER TABLE journal DETACH PARTITION {}")
        return self._alone(detach.format(sql.Identifier(piece.name)), week=piece.name)

    def drop(self, piece: Piece) -> int | None:
        """See `ArchiveSource.drop`."""
        query = "SELECT pg_total_relation_size(%s::regclass)"
        ((size,),) = self._connection.execute(query, (piece.name,)).fetchall()
        if self._alone(sql.SQL("DROP TABLE {}").format(sql.Identifier(piece.name))):
            return int(size)
        return None

    def firsts(self) -> dict[int, int]:
        """See `ArchiveSource.firsts`."""
        found = self._connection.execute(_FIRSTS).fetchall()
        return {origin: first for origin, first in found if first is not None}

    def holds(self) -> list[Hold]:
        """See `ArchiveSource.holds`."""
        query = f"SELECT {_HOLD_COLUMNS} FROM holds ORDER BY id"  # noqa: S608 - our own names
        return [Hold(*row) for row in self._connection.execute(query.encode()).fetchall()]

    def hold(self, reason: str) -> Hold:
        """See `ArchiveSource.hold`."""
        query = f"INSERT INTO holds (reason) VALUES (%s) RETURNING {_HOLD_COLUMNS}"  # noqa: S608
        (row,) = self._connection.execute(query.encode(), (reason,)).fetchall()
        return Hold(*row)

    def release(self) -> list[Hold]:
        """See `ArchiveSource.release`."""
        query = f"DELETE FROM holds RETURNING {_HOLD_COLUMNS}"  # noqa: S608 - our own names
        return [Hold(*row) for row in self._connection.execute(query.encode()).fetchall()]

    def stop(self) -> bool:
        """See `ArchiveSource.stop`."""
        return self._connection.execute("DELETE FROM archived").rowcount > 0

    @property
    def _connection(self) -> _Connection:
        assert self._opened is not None, "it is not open"  # noqa: S101 - a mistake in this program
        return self._opened

    def _alone(self, statement: sql.Composed, week: str | None = None) -> bool:
        """Do what nobody may use the table for; False if somebody does. Raises HeldError.

        `week`: one that has to be in the checkpoint; False if it is not, or not any more.
        """
        connection = self._connection
        try:
            with connection.transaction():
                connection.execute(TIDY_LOCK)
                if not may_drop(connection):
                    raise HeldError
                if week is not None and not shut(connection, week):
                    return False
                connection.execute(statement)
        except errors.LockNotAvailable:
            return False
        return True


class PostgresRestored:
    """The tables `journal_restored` and `journal_restored_records`; see `archive_restore`."""

    def __init__(self, kept: Storage) -> None:
        """Do not connect yet."""
        self._kept = kept
        self.where = f"the tables journal_restored and journal_restored_records of {_place(kept)}"

    @contextmanager
    def open(self) -> Iterator[None]:
        """Make the tables for the block, unless they are there."""
        with _connected(self._kept, "restore") as self._connection:
            self._connection.execute(_MAKE_RESTORED)
            yield

    def add(self, rows: Sequence[Row], records: Sequence[Record]) -> None:
        """Add batches and what they say, all or nothing; what is there stays."""
        with self._connection.transaction():
            for start in range(0, len(rows), _ROWS):
                seqs, origins, numbers, times, batches = map(
                    list, zip(*rows[start : start + _ROWS], strict=True)
                )
                values = (seqs, origins, numbers, [_moment(us) for us in times], batches)
                self._connection.execute(_RESTORE, values)
            for start in range(0, len(records), _ROWS):
                columns = list(map(list, zip(*records[start : start + _ROWS], strict=True)))
                columns[4] = [_moment(us) for us in columns[4]]
                self._connection.execute(_RESTORE_RECORDS, columns)


@contextmanager
def _connected(kept: Storage, what: str) -> Iterator[_Connection]:
    """Connect to a database that this version's server has opened once."""
    with once(Link(kept, what, _LONG_SECONDS), f"{what} the journal") as connection:
        if connection.execute("SELECT to_regclass('schema_migrations')").fetchall() == [(None,)]:
            raise StorageError(f"there is no storage in {_place(kept)}")
        if pending(dict(connection.execute(APPLIED).fetchall()), migrations("postgres")):
            raise StorageError(
                "the database was written by an older version of Rankwire: start this one's "
                "server on it once"
            )
        yield connection


def _place(kept: Storage) -> str:
    return shown_url(kept.url)


def _old(piece: Piece) -> sql.SQL:
    """Say which rows of a piece count."""
    return sql.SQL("true" if piece.is_whole else _OLD_REST)


def _bounds(piece: Piece, days: int) -> dict[str, int | None]:
    return {"days": days, "first": piece.first_us, "end": piece.end_us}


def _start(week: str) -> int:
    """Tell when a week begins, in microseconds since 1970, given the name of its table."""
    monday = datetime.strptime(week[-8:], "%Y%m%d").replace(tzinfo=UTC)
    return (monday - _EPOCH) // timedelta(microseconds=1)


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
