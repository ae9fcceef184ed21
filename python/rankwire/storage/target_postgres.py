"""A `Target` in a PostgreSQL database. Everything is one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from rankwire.settings import shown_url
from rankwire.storage import StorageError
from rankwire.storage.keys import COLUMNS
from rankwire.storage.keys_postgres import one_line
from rankwire.storage.migrate import migrations
from rankwire.storage.migrate_postgres import migrate
from rankwire.storage.region_claim import IS_USED

if TYPE_CHECKING:
    from rankwire.storage.backup import Batches, Board, Keys, Members, Profiles, Regions, Vector

_CONNECT_SECONDS: Final = 10
# Nodes that start meanwhile wait for these, and give up.
_LOCK: Final = """
LOCK TABLE origins, journal, boards, members, vector, dropped, names, profiles IN EXCLUSIVE MODE
"""
_IS_EMPTY: Final = """
SELECT NOT (
    EXISTS (SELECT FROM boards) OR EXISTS (SELECT FROM vector) OR EXISTS (SELECT FROM journal)
    OR EXISTS (SELECT FROM names) OR EXISTS (SELECT FROM profiles)
)
"""
_COPIES: Final = {
    "boards": (
        *("id", "name", "score", "order", "policy", "ties", "seed", "version"),
        "player_submits",
    ),
    "members": ("board", "member", "score", "code", "stamp", "generation"),
    "journal": ("origin", "number", "committed_at", "batch"),
    "profiles": ("member", "name", "avatar", "attributes", "updated_at"),
    "names": ("board", "name"),
}
# Tables with many rows or large ones are copied in the binary format, which needs the types.
_TYPES: Final = {
    "members": ("int8", "text", "float8", "int8", "int8", "int8"),
    "journal": ("int8", "int8", "timestamptz", "bytea"),
}
_SINCE: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KEY: Final = f"""
INSERT INTO keys ({COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO NOTHING
"""  # noqa: S608 - our own names
# Nodes look for batches of origins that stand here.
_ORIGINS: Final = """
INSERT INTO origins (origin, node, last)
SELECT origin, 'restored from a backup', max(number) FROM journal GROUP BY origin
"""
_EPOCH: Final = "UPDATE region_state SET epoch = %s, primary_region = %s"


class PostgresTarget:
    """See the module."""

    def __init__(self, url: str) -> None:
        """Make the tables, keep nodes from starting, begin the transaction.

        Raises StorageError when there is something in them, or a node uses them.
        """
        self._url = url
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        try:
            with self._errors():
                self._connection = self._database = psycopg.connect(
                    url,
                    autocommit=True,
                    connect_timeout=_CONNECT_SECONDS,
                    application_name="rankwire restore",
                )
                migrate(self._database, migrations("postgres"))
                self._begin()
        except BaseException:
            self.close()
            raise

    def vector(self, vector: Vector) -> None:
        """See `Target.vector`."""
        with self._errors(), self._database.cursor() as cursor:
            cursor.executemany("INSERT INTO vector VALUES (%s, %s)", vector.origins)
            dropped = [(board,) for board in vector.dropped]
            cursor.executemany("INSERT INTO dropped (board) VALUES (%s)", dropped)

    def names(self, names: Iterable[tuple[int, str]]) -> None:
        """See `Target.names`."""
        self._copy("names", names)

    def boards(self, boards: Iterable[Board]) -> None:
        """See `Target.boards`."""
        rows = (
            (
                *(board.id, board.name, board.score, board.order, board.policy, board.ties),
                *(board.seed, board.version, board.player_submits),
            )
            for board in boards
        )
        self._copy("boards", rows)

    def members(self, members: Iterable[Members]) -> None:
        """See `Target.members`."""
        rows = (
            (some.board, member, None if score is None else float(score), *key)
            for some in members
            for member, score, *key in some.rows
        )
        self._copy("members", rows)

    def batches(self, batches: Iterable[Batches]) -> None:
        """See `Target.batches`."""
        rows = (
            (origin, number, _time(committed_ms * 1000), batch)
            for some in batches
            for origin, number, committed_ms, batch in some.rows
        )
        self._copy("journal", rows)
        with self._errors():
            self._database.execute(_ORIGINS)

    def profiles(self, profiles: Iterable[Profiles]) -> None:
        """See `Target.profiles`."""
        rows = (
            (member, name, avatar, attributes, _time(updated_us))
            for some in profiles
            for member, name, avatar, attributes, updated_us in some.rows
        )
        self._copy("profiles", rows)

    def keys(self, keys: Iterable[Keys]) -> None:
        """See `Target.keys`."""
        with self._errors(), self._database.cursor() as cursor:
            for some in keys:
                cursor.executemany(_KEY.encode(), some.rows)

    def regions(self, regions: Regions) -> None:
        """See `Target.regions`: nobody is the primary until one is chosen."""
        with self._errors(), self._database.cursor() as cursor:
            cursor.execute("UPDATE cluster SET region = %s", (regions.region,))
            cursor.execute(_EPOCH, (regions.epoch, regions.primary))
            named = [(region, origin) for origin, region in regions.origins]
            cursor.executemany("UPDATE origins SET region = %s WHERE origin = %s", named)
            cursor.executemany("UPDATE vector SET region = %s WHERE origin = %s", named)

    def commit(self) -> None:
        """See `Target.commit`."""
        with self._errors():
            self._database.execute("COMMIT")
            # Outside of a transaction, and only to have plans from the first start on.
            self._database.execute("ANALYZE")

    def close(self) -> None:
        """See `Target.close`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _begin(self) -> None:
        self._database.execute("BEGIN")
        self._database.execute("SET LOCAL lock_timeout = '5s'")
        self._database.execute("SET LOCAL statement_timeout = 0")
        self._database.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        self._database.execute("SET LOCAL synchronous_commit = 'on'")
        self._database.execute(_LOCK)
        where = shown_url(self._url)
        if self._database.execute(IS_USED).fetchone() == (True,):
            raise StorageError(f"a server uses the storage in {where}: stop all nodes first")
        if self._database.execute(_IS_EMPTY).fetchone() != (True,):
            raise StorageError(f"the storage in {where} is not empty")

    def _copy(self, table: str, rows: Iterable[tuple[object, ...]]) -> None:
        types = _TYPES.get(table)
        query = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT {})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, _COPIES[table])),
            sql.SQL("binary" if types else "text"),
        )
        with self._errors(), self._database.cursor() as cursor, cursor.copy(query) as copy:
            if types:
                copy.set_types(types)
            for row in rows:
                copy.write_row(row)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            where = shown_url(self._url)
            raise StorageError(f"cannot restore into {where}: {one_line(error)}") from error


def _time(us: int) -> datetime:
    return _SINCE + timedelta(microseconds=us)
