"""API keys: where they are kept, beside the boards but apart from them.

Servers read them and the command line writes them, also while servers run. What is stored of a key
is its hash, never its secret. With SQLite they are a small database of their own, `keys.sqlite`,
which takes no part in the lock on the directory and which only its owner can read; `keys_postgres`
keeps them in the database that nodes share.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol, Self

import msgspec

from rankwire.storage import StorageError
from rankwire.storage.migrate import migrate, migrations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rankwire.settings import Storage

KEYS_FILE: Final = "keys.sqlite"

MOST_KEYS: Final = 10_000
"""Most keys that are good at the same time."""

# How long a statement waits for another process that writes.
_BUSY_SECONDS: Final = 5.0

COLUMNS: Final = "id, name, hash, scopes, boards, created_ms, revoked_ms"
"""Of the table `keys`, in every storage."""

Columns = tuple[str, str, bytes, str, str, int, int | None]


class ApiKey(msgspec.Struct, frozen=True):
    """What is kept of an API key."""

    id: str
    name: str
    hash: bytes
    scopes: tuple[str, ...]
    boards: tuple[str, ...]
    """Names, or prefixes that end in `*`; empty for all boards."""
    created_ms: int
    revoked_ms: int | None = None

    @classmethod
    def of(cls, columns: Columns) -> Self:
        """Make a key of what the table has of it."""
        key_id, name, digest, scopes, boards, created_ms, revoked_ms = columns
        lists = (tuple(scopes.split()), tuple(boards.split()))
        return cls(key_id, name, digest, *lists, created_ms, revoked_ms)

    @property
    def columns(self) -> Columns:
        """What the table has of the key."""
        return (
            *(self.id, self.name, self.hash, " ".join(self.scopes), " ".join(self.boards)),
            *(self.created_ms, self.revoked_ms),
        )


class KeyStore(Protocol):
    """The open place. Each method may block; use it from one thread at a time."""

    def __enter__(self) -> Self:
        """Use it in a block; it is closed in the end."""
        ...

    def __exit__(self, *_: object) -> None:
        """Close it."""
        ...

    def add(self, key: ApiKey) -> None:
        """Keep a new key. Durable on return. Raises StorageError, also when there are too many."""
        ...

    def revoke(self, key_id: str, now_ms: int) -> bool:
        """End a key for ever. Durable on return. False if it is not there or revoked already."""
        ...

    def all(self) -> list[ApiKey]:
        """Give every key, revoked ones as well, the oldest first. Raises StorageError."""
        ...

    def changed(self) -> bool:
        """Tell whether the keys may have changed since this was last asked. Cheap.

        Raises StorageError.
        """
        ...

    def close(self) -> None:
        """Let go of it. Idempotent."""
        ...


def open_keys(storage: Storage) -> KeyStore:
    """Open the keys of the storage that the settings name, and make their table if it is missing.

    Raises StorageError.
    """
    if storage.url:
        # SQLite servers do without PostgreSQL's library.
        from rankwire.storage.keys_postgres import PostgresKeys  # noqa: PLC0415

        return PostgresKeys(storage.url)
    return SqliteKeys(storage.path)


def too_many() -> StorageError:
    """Say that no more keys can be added."""
    return StorageError(f"there are {MOST_KEYS} keys already: revoke some first")


class SqliteKeys:
    """A `KeyStore` in a file of a directory."""

    def __init__(self, directory: Path) -> None:
        """Open, create or migrate the database. Raises StorageError."""
        self._file = directory / KEYS_FILE
        self._version = 0
        with self._errors("open"):
            directory.mkdir(parents=True, exist_ok=True)
            self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, key: ApiKey) -> None:
        """See `KeyStore.add`."""
        with self._errors("write"):
            # One statement, so that keys which are made at once cannot pass the limit together.
            added = self._connection.execute(
                f"INSERT INTO keys ({COLUMNS}) SELECT ?, ?, ?, ?, ?, ?, ? "  # noqa: S608 - our own names
                "WHERE (SELECT count(*) FROM keys WHERE revoked_ms IS NULL) < ?",
                (*key.columns, MOST_KEYS),
            ).rowcount
        if not added:
            raise too_many()

    def revoke(self, key_id: str, now_ms: int) -> bool:
        """See `KeyStore.revoke`."""
        with self._errors("write"):
            done = self._connection.execute(
                "UPDATE keys SET revoked_ms = ? WHERE id = ? AND revoked_ms IS NULL",
                (now_ms, key_id),
            )
        return done.rowcount > 0

    def all(self) -> list[ApiKey]:
        """See `KeyStore.all`."""
        with self._errors("read"):
            rows = self._connection.execute(
                f"SELECT {COLUMNS} FROM keys ORDER BY created_ms, id"  # noqa: S608 - our own names
            ).fetchall()
        return [ApiKey.of(columns) for columns in rows]

    def changed(self) -> bool:
        """See `KeyStore.changed`. A file that stands in the place of the old one is opened."""
        with self._errors("read"):
            if self._file.stat().st_ino == self._inode:
                seen, self._version = self._version, self._data_version()
                return seen != self._version
            old = self._connection
            self._connect()
            old.close()
            return True

    def close(self) -> None:
        """See `KeyStore.close`."""
        self._connection.close()

    def _connect(self) -> None:
        with _one_at_a_time(self._file.parent):
            self._connection = _open(self._file)
        # As long as it is open, no other file gets its number.
        self._inode = self._file.stat().st_ino
        self._version = self._data_version()

    def _data_version(self) -> int:
        """Give a number that differs after a commit of another connection."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            message = f"cannot {what} the API keys in {self._file}: {error}"
            raise StorageError(message) from error


def _open(file: Path) -> sqlite3.Connection:
    # SQLite gives its other files the mode of this one.
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(
        file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        migrate(connection, migrations("keys"))
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
    """Keep other processes from creating the same database at the same time.

    This is a lock on the directory itself and not on its lock file, which a server holds on to.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
