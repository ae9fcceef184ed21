"""Connections to PostgreSQL that threads keep: made when needed, closed after any error.

No wait is without a limit, also if the database or the network falls silent: statements have a
limit in the database and, a little later, one here.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg

from rankwire.storage import FencedError, RefusedError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.abc import PQGen

    from rankwire import settings

GRACE_SECONDS: Final = 2.0
"""How much longer than the database this side waits for an answer."""

_T = TypeVar("_T")

_SESSION = """
SELECT set_config('synchronous_commit', 'on', false),
       set_config('statement_timeout', %(statement)s, false),
       set_config('lock_timeout', %(lock)s, false),
       set_config('idle_in_transaction_session_timeout', %(idle)s, false),
       set_config('client_connection_check_interval', '1s', false),
       -- Our statements take milliseconds, and compiling one that looks expensive half a second.
       set_config('jit', 'off', false),
       -- The database, too, has to notice that this machine has vanished: it holds our locks.
       set_config('tcp_keepalives_idle', %(alive)s, false),
       set_config('tcp_keepalives_interval', %(alive)s, false),
       set_config('tcp_keepalives_count', '2', false),
       set_config('tcp_user_timeout', %(silent)s, false)
"""


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that does not wait for ever for a database that has fallen silent."""

    patience: float = 10.0

    def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:
        """Wait for the database, as psycopg asks for it, but not for ever."""
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
        self,
        kept: settings.Storage,
        what: str,
        statement_seconds: float | None = None,
        *,
        snapshots: bool = False,
    ) -> None:
        """Do not connect yet. `what` is shown in the database.

        With `snapshots`, transactions see one moment and change nothing.
        """
        self._kept = kept
        self._what = what
        self._seconds = statement_seconds or kept.statement_seconds
        self._snapshots = snapshots
        self._connection: Connection | None = None

    @contextmanager
    def use(self, purpose: str, *, reconnect: bool = True) -> Iterator[Connection]:
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
            if not isinstance(error, RefusedError | FencedError):
                self.close()
            raise

    def close(self) -> None:
        """Close the connection if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> Connection:
        kept = self._kept
        limit = math.ceil(kept.statement_seconds)
        connection = Connection.connect(
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
            connection.patience = kept.statement_seconds + GRACE_SECONDS
            limits = {
                "statement": _ms(self._seconds),
                "lock": _ms(kept.lock_seconds),
                # However long a statement may take, between two of them nothing does.
                "idle": _ms(kept.statement_seconds),
                "alive": str(math.ceil(limit / 3)),
                "silent": _ms(kept.statement_seconds),
            }
            connection.execute(_SESSION, limits)
            connection.patience = self._seconds + GRACE_SECONDS
            if self._snapshots:
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                connection.read_only = True
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def once(link: Link, purpose: str) -> Iterator[Connection]:
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
