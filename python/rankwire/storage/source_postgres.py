"""A `Source` over a PostgreSQL database that nodes may be using.

Everything comes from one snapshot, in a transaction that may only read; only `refresh` takes
another for the journal. What a long read costs the database is that it keeps old rows meanwhile.
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from rankwire import _core
from rankwire.settings import shown_url
from rankwire.storage import StorageError
from rankwire.storage.backup import BatchRow, Board, KeyRow, MemberRow, ProfileRow, Regions
from rankwire.storage.keys import COLUMNS
from rankwire.storage.keys_postgres import one_line
from rankwire.storage.migrate import APPLIED, migrations, pending

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.abc import Query

# Rows at a time: some megabytes of memory.
_ROWS: Final = 10_000
_BATCHES: Final = 200
# Pieces of a binary copy that are handed over at a time, each about a row.
_PIECES: Final = 16_384
_CONNECT_SECONDS: Final = 10

_BOARDS: Final = """
SELECT id, name, score, "order", policy, ties, seed, version, player_submits::int
FROM boards ORDER BY id
"""
_MEMBERS: Final = """
COPY (SELECT board, member, score, code, stamp, generation FROM members ORDER BY board)
TO STDOUT (FORMAT binary)
"""
_MEMBER_TYPES: Final = ("int8", "text", "float8", "int8", "int8", "int8")
_FEED: Final = sql.SQL("""
COPY (SELECT member, code, stamp, generation FROM members WHERE board = {})
TO STDOUT (FORMAT binary)
""")
_BATCH: Final = "origin, number, (extract(epoch FROM committed_at) * 1000)::int8, batch"
_TAIL: Final = f"""
SELECT {_BATCH} FROM (
    SELECT journal.* FROM origins
    LEFT JOIN unnest(%(origins)s::int8[], %(numbers)s::int8[]) AS seen (origin, number)
        USING (origin)
    JOIN journal ON journal.origin = origins.origin AND journal.number > coalesce(seen.number, 0)
    WHERE coalesce(last, 9223372036854775807) > coalesce(seen.number, 0)
) AS tail ORDER BY seq
"""  # noqa: S608 - our own names
_JOURNAL: Final = f"SELECT {_BATCH} FROM journal ORDER BY seq"  # noqa: S608 - our own names
_PROFILES: Final = """
SELECT member, name, avatar, attributes::text, (extract(epoch FROM updated_at) * 1000000)::int8
FROM profiles WHERE NOT is_deleted
"""
_KEYS: Final = f"SELECT {COLUMNS} FROM keys ORDER BY created_ms, id"  # noqa: S608 - our own names
_ENDS: Final = "SELECT origin, last FROM origins WHERE last > 0"
_CLUSTER: Final = """
SELECT coalesce(region, ''), CASE WHEN region IS NULL THEN '' ELSE id END FROM cluster
"""
_EPOCH: Final = "SELECT epoch, primary_region FROM region_state"
_FOREIGN: Final = "SELECT origin, region FROM reached WHERE region <> %s ORDER BY origin"

_Connection = psycopg.Connection[tuple[Any, ...]]


class PostgresSource:
    """See the module."""

    kind = "postgresql"

    def __init__(self, url: str) -> None:
        """Connect. Raises StorageError when there is no storage of this version."""
        self._url = url
        self._connections: list[_Connection] = []
        try:
            with self._errors():
                self._boards = self._journal = self._snapshot()
                self.vector = self._boards.execute("SELECT origin, number FROM vector").fetchall()
                dropped = self._boards.execute("SELECT board FROM dropped ORDER BY board")
                self.dropped = [board for (board,) in dropped]
                self.ends: dict[int, int] = dict(self._boards.execute(_ENDS).fetchall())
                ((self.region, self.identity),) = self._boards.execute(_CLUSTER).fetchall()
        except BaseException:
            self.close()
            raise

    def boards(self) -> list[Board]:
        """See `Source.boards`."""
        with self._errors():
            return [Board(*row) for row in self._boards.execute(_BOARDS).fetchall()]

    def members(self) -> Iterator[tuple[int, list[MemberRow]]]:
        """See `Source.members`."""
        with self._errors(), self._boards.cursor() as cursor, cursor.copy(_MEMBERS) as copy:
            copy.set_types(_MEMBER_TYPES)
            for board, rows in groupby(copy.rows(), key=itemgetter(0)):
                members = (row[1:] for row in rows)
                while chunk := list(islice(members, _ROWS)):
                    yield board, chunk

    def feed(self, recovery: _core.Recovery, board: int) -> None:
        """See `Source.feed`."""
        query = _FEED.format(board)
        with self._errors(), self._boards.cursor() as cursor, cursor.copy(query) as copy:
            pieces = iter(copy)
            while data := b"".join(islice(pieces, _PIECES)):
                recovery.copied(data)

    def refresh(self) -> None:
        """See `Source.refresh`."""
        with self._errors():
            if self._journal is not self._boards:
                self._connections.remove(self._journal)
                self._journal.close()
            self._journal = self._snapshot()

    def tail(self) -> Iterator[list[BatchRow]]:
        """See `Source.tail`."""
        seen = {
            "origins": [origin for origin, _ in self.vector],
            "numbers": [number for _, number in self.vector],
        }
        return self._stream(self._journal, "tail", _TAIL, _BATCHES, seen)

    def journal(self) -> Iterator[list[BatchRow]]:
        """See `Source.journal`."""
        return self._stream(self._journal, "journal", _JOURNAL, _BATCHES)

    def profiles(self) -> Iterator[list[ProfileRow]]:
        """See `Source.profiles`."""
        return self._stream(self._boards, "profiles", _PROFILES, _ROWS)

    def keys(self) -> list[KeyRow]:
        """See `Source.keys`."""
        with self._errors():
            return self._boards.execute(_KEYS.encode()).fetchall()

    def regions(self) -> Regions | None:
        """See `Source.regions`."""
        if not self.region:
            return None
        with self._errors():
            ((epoch, primary),) = self._boards.execute(_EPOCH).fetchall()
            foreign = self._boards.execute(_FOREIGN, (self.region,)).fetchall()
        return Regions(self.region, epoch, primary, foreign)

    def close(self) -> None:
        """See `Source.close`."""
        while self._connections:
            self._connections.pop().close()

    def _snapshot(self) -> _Connection:
        """Begin a transaction that sees one state of the database."""
        connection = psycopg.connect(
            self._url, connect_timeout=_CONNECT_SECONDS, application_name="rankwire source"
        )
        self._connections.append(connection)
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        # A long read is what this is for.
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        found = connection.execute("SELECT to_regclass('schema_migrations')").fetchone()
        if found == (None,):
            raise StorageError(f"there is no storage in {shown_url(self._url)}")
        if pending(dict(connection.execute(APPLIED).fetchall()), migrations("postgres")):
            raise StorageError(
                "the database was written by an older version of Rankwire: start this one's "
                "server on it once"
            )
        # Nobody drops a part of the journal before it has been read.
        connection.execute("LOCK TABLE journal IN ACCESS SHARE MODE")
        return connection

    def _stream(
        self,
        connection: _Connection,
        name: str,
        query: str,
        rows: int,
        values: dict[str, list[int]] | None = None,
    ) -> Iterator[list[Any]]:
        text: Query = query.encode()
        with self._errors(), connection.cursor(name, binary=True) as cursor:
            cursor.execute(text, values)
            while chunk := cursor.fetchmany(rows):
                yield chunk

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            where = shown_url(self._url)
            raise StorageError(f"cannot read the storage in {where}: {one_line(error)}") from error
