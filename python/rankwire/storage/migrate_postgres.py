"""Schema migrations of PostgreSQL: as those of SQLite, while other nodes may start as well.

Each file is a transaction, and a lock of the database lets one node at a time look and apply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg

from rankwire.storage import StorageError
from rankwire.storage.migrate import APPLIED, Migration, pending

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.rows import TupleRow

# The namespace of advisory locks with two numbers that nobody else should use: "rank".
LOCK_SPACE: Final = 0x72616E6B
# How long a node waits for another one that migrates.
_PATIENCE: Final = "SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = 0"
_LOCK = "SELECT pg_advisory_xact_lock(%s, hashtext(current_schema()))"
_LEDGER = """
CREATE TABLE schema_migrations (
    number     integer PRIMARY KEY,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""
_RECORD = "INSERT INTO schema_migrations (number, name, sha256) VALUES (%s, %s, %s)"


def migrate(connection: Connection[TupleRow], steps: list[Migration]) -> None:
    """Bring a database to the newest schema, on a connection that commits by itself.

    Raises StorageError if it is newer than this program or its history does not match, and
    psycopg.Error.
    """
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StorageError(f"the database has the encoding {encoding}, it has to be UTF8")
    while _apply_next(connection, steps):
        pass


def _apply_next(connection: Connection[TupleRow], steps: list[Migration]) -> bool:
    """Apply the first migration that is to be applied, if there is one."""
    with connection.transaction():
        connection.execute(_PATIENCE)
        connection.execute(_LOCK, (LOCK_SPACE,))
        if _row(connection, "SELECT to_regclass('schema_migrations')") == (None,):
            connection.execute(_LEDGER)
        todo = pending(dict(connection.execute(APPLIED).fetchall()), steps)
        if not todo:
            return False
        step = todo[0]
        try:
            connection.execute(step.sql.encode())
        except psycopg.Error as error:
            raise StorageError(f"migration {step.name} failed: {error}") from error
        connection.execute(_RECORD, (step.number, step.name, step.sha256))
        return True


def _row(connection: Connection[TupleRow], query: str) -> TupleRow:
    return connection.execute(query.encode()).fetchall()[0]
