"""The schema of a storage: what this program would change in it, and the change.

Servers do the same at their start. This is for whoever wants to see it done, or fail, before any
server of a new version starts. Nothing but the schema is touched: no row of data.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from rankwire.storage import StorageError
from rankwire.storage.keys import KEYS_FILE, SqliteKeys
from rankwire.storage.migrate import APPLIED, Migration, migrate, migrations, pending
from rankwire.storage.profiles_sqlite import PROFILES_FILE
from rankwire.storage.sqlite import BOARDS_FILE, JOURNAL_FILE, LOCK_FILE, lock_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rankwire.settings import Storage

_FILES: Final = {
    "journal": JOURNAL_FILE,
    "boards": BOARDS_FILE,
    "profiles": PROFILES_FILE,
    "keys": KEYS_FILE,
}
# A migration may rewrite a table; who has lost the database hears of it by the network's means.
_LONG_SECONDS: Final = 3600.0


def lacking(kept: Storage) -> list[str]:
    """Name the migrations that are to be applied: all of them where there is no storage yet.

    Changes nothing. Raises StorageError if the storage cannot be read, if it is newer than this
    program or if its history does not match.
    """
    return _lacking_postgres(kept) if kept.url else _lacking_sqlite(kept)


def bring_up(kept: Storage) -> list[str]:
    """Apply what is lacking, and name it, also where somebody else has applied it meanwhile.

    Raises StorageError as `lacking` does, and if a migration fails; those before it stay.
    """
    names = lacking(kept)
    if names and kept.url:
        _bring_up_postgres(kept)
    elif names:
        _bring_up_sqlite(kept.path, kept.busy_seconds)
    return names


def _lacking_postgres(kept: Storage) -> list[str]:
    # SQLite does without PostgreSQL's library.
    from rankwire.storage.postgres_link import Link, once  # noqa: PLC0415

    with once(Link(kept, "migration"), "read the schema") as connection:
        found = connection.execute("SELECT to_regclass('schema_migrations')").fetchone()
        applied = dict(connection.execute(APPLIED).fetchall()) if found != (None,) else {}
    return _names("postgres", pending(applied, migrations("postgres")))


def _bring_up_postgres(kept: Storage) -> None:
    from rankwire.storage.migrate_postgres import migrate as migrate_postgres  # noqa: PLC0415
    from rankwire.storage.postgres_link import Link, once  # noqa: PLC0415

    with once(Link(kept, "migration", _LONG_SECONDS), "change the schema") as connection:
        migrate_postgres(connection, migrations("postgres"))


def _lacking_sqlite(kept: Storage) -> list[str]:
    lacking = []
    for name, file in _FILES.items():
        with _errors(kept.path, "read"):
            applied = _applied(kept.path / file, kept.busy_seconds)
        lacking += _names(name, pending(applied, migrations(name)))
    return lacking


def _applied(file: Path, busy_seconds: float) -> dict[int, str]:
    if not file.exists():
        return {}
    place = f"{file.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(place, uri=True, timeout=busy_seconds)) as connection:
        ledger = "SELECT 1 FROM sqlite_schema WHERE name = 'schema_migrations'"
        if connection.execute(ledger).fetchone() is None:
            return {}
        return dict(connection.execute(APPLIED).fetchall())


def _bring_up_sqlite(directory: Path, busy_seconds: float) -> None:
    with _errors(directory, "change"):
        directory.mkdir(parents=True, exist_ok=True)
        lock = lock_directory(directory / LOCK_FILE)
        try:
            for name, file in _FILES.items():
                _migrate(directory / file, name, busy_seconds)
        finally:
            os.close(lock)


def _migrate(file: Path, name: str, busy_seconds: float) -> None:
    if name == "keys":
        # Nobody else may read that file, and commands use it also while it is migrated.
        SqliteKeys(file.parent).close()
        return
    connection = sqlite3.connect(file, timeout=busy_seconds, isolation_level=None)
    with closing(connection):
        migrate(connection, migrations(name))


def _names(database: str, steps: list[Migration]) -> list[str]:
    return [f"{database}/{step.name}" for step in steps]


@contextmanager
def _errors(directory: Path, what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"cannot {what} the schema in {directory}: {error}") from error
