"""Schema migrations: numbered SQL files, forward only.

Each file runs once, in a transaction of its own, and leaves its name and checksum behind. A
database that has a migration this program does not know was written by a newer version and is
refused; so is one whose applied files have been edited since.
"""

from __future__ import annotations

import hashlib
import sqlite3
from importlib import resources

import msgspec

from rankwire.storage import StorageError

_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    sha256     TEXT NOT NULL,
    applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) STRICT
"""

APPLIED = "SELECT number, sha256 FROM schema_migrations"
"""Asks for what `pending` needs."""


class Migration(msgspec.Struct, frozen=True):
    """One SQL file."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Checksum of the SQL."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(database: str) -> list[Migration]:
    """List the migrations of a database in order; each has a folder of its own."""
    folder = resources.files("rankwire.storage") / "migrations" / database
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [Migration(int(f.name[:4]), f.name, f.read_text(encoding="utf-8")) for f in files]


def migrate(connection: sqlite3.Connection, steps: list[Migration]) -> None:
    """Bring a database to the newest schema.

    Raises StorageError if it is newer than this program or its history does not match.
    """
    connection.execute(_LEDGER)
    for step in pending(dict(connection.execute(APPLIED)), steps):
        _apply(connection, step)


def pending(applied: dict[int, str], steps: list[Migration]) -> list[Migration]:
    """Tell which migrations are to be applied, given the checksums of those that were, by number.

    Raises StorageError if the database is newer than this program or its history does not match.
    """
    known = {step.number for step in steps}
    if unknown := sorted(set(applied) - known):
        raise StorageError(
            f"the database has migration {unknown[-1]}, which this version of Rankwire does not "
            "know: it was written by a newer one"
        )
    for step in steps:
        if applied.get(step.number, step.sha256) != step.sha256:
            raise StorageError(f"migration {step.name} is not the one that was applied")
    return [step for step in steps if step.number not in applied]


def _apply(connection: sqlite3.Connection, step: Migration) -> None:
    # executescript would commit first, so the transaction is part of the script.
    values = f"{step.number}, '{step.name}', '{step.sha256}'"
    record = f"INSERT INTO schema_migrations (number, name, sha256) VALUES ({values});"  # noqa: S608 - our own file names
    try:
        connection.executescript(f"BEGIN IMMEDIATE;\n{step.sql}\n{record}\nCOMMIT;")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.rollback()
        raise StorageError(f"migration {step.name} failed: {error}") from error
