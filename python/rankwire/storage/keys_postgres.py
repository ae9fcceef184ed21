"""API keys in PostgreSQL, in the table that all nodes read.

A connection of its own, as servers look once a second on a thread of their own. When it is lost,
the next look makes another; no look takes longer than some seconds, so that other keys are looked
at meanwhile.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

import psycopg

from rankwire.settings import shown_url
from rankwire.storage import StorageError, keys
from rankwire.storage.keys import COLUMNS, ApiKey, too_many
from rankwire.storage.migrate import migrations
from rankwire.storage.migrate_postgres import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

# How long PostgreSQL may take to answer, in seconds; libpq rounds up to two for a connection.
_PATIENCE_SECONDS: Final = 2

_READ: Final = f"SELECT {COLUMNS} FROM keys ORDER BY created_ms, id"  # noqa: S608 - our own names
_ADD: Final = f"""
INSERT INTO keys ({COLUMNS}) SELECT %s, %s, %s, %s, %s, %s, %s
WHERE (SELECT count(*) FROM keys WHERE revoked_ms IS NULL) < %s
"""  # noqa: S608 - our own names
_REVOKE: Final = "UPDATE keys SET revoked_ms = %s WHERE id = %s AND revoked_ms IS NULL"
# Whatever changes a row gives it another transaction in `xmin`, also when it is done by hand.
_STATE: Final = "SELECT count(*), sum(xmin::text::int8), max(xmin::text::int8) FROM keys"

_Connection = psycopg.Connection[tuple[Any, ...]]


class PostgresKeys:
    """A `KeyStore` in a database."""

    def __init__(self, url: str) -> None:
        """Connect, create or migrate the tables. Raises StorageError."""
        self._url = url
        self._open: _Connection | None = None
        self._seen: tuple[Any, ...] | None = None
        with self._connection("open") as connection:
            migrate(connection, migrations("postgres"))
        self.changed()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, key: ApiKey) -> None:
        """See `KeyStore.add`."""
        with self._connection("write") as connection, connection.transaction():
            # So that keys which are made at once cannot pass the limit together.
            connection.execute("LOCK TABLE keys IN SHARE ROW EXCLUSIVE MODE")
            added = connection.execute(_ADD, (*key.columns, keys.MOST_KEYS)).rowcount
        if not added:
            raise too_many()

    def revoke(self, key_id: str, now_ms: int) -> bool:
        """See `KeyStore.revoke`."""
        with self._connection("write") as connection:
            return connection.execute(_REVOKE, (now_ms, key_id)).rowcount > 0

    def all(self) -> list[ApiKey]:
        """See `KeyStore.all`."""
        with self._connection("read") as connection:
            return [ApiKey.of(columns) for columns in connection.execute(_READ).fetchall()]

    def changed(self) -> bool:
        """See `KeyStore.changed`."""
        with self._connection("read") as connection:
            seen, self._seen = self._seen, connection.execute(_STATE).fetchone()
        return seen != self._seen

    def close(self) -> None:
        """See `KeyStore.close`."""
        if self._open is not None:
            self._open.close()

    @contextmanager
    def _connection(self, what: str) -> Iterator[_Connection]:
        try:
            if self._open is None or self._open.closed:
                self._open = _connect(self._url)
            yield self._open
        except psycopg.Error as error:
            where = shown_url(self._url)
            message = f"cannot {what} the API keys in {where}: {one_line(error)}"
            raise StorageError(message) from error


def _connect(url: str) -> _Connection:
    connection = psycopg.connect(
        url,
        autocommit=True,
        connect_timeout=_PATIENCE_SECONDS,
        tcp_user_timeout=_PATIENCE_SECONDS * 1000,
        application_name="rankwire keys",
    )
    try:
        # Other than options of the URL, this does not replace what the user has put there.
        connection.execute(
            "SELECT set_config('statement_timeout', %s, false)", (f"{_PATIENCE_SECONDS}s",)
        )
    except BaseException:
        connection.close()
        raise
    return connection


def one_line(error: Exception) -> str:
    """Return what PostgreSQL says, in one line."""
    return " ".join(str(error).split())
