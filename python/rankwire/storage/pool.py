"""Connections to PostgreSQL that requests share, and which of two servers a read asks.

Promises: a request waits at most `storage.pool_wait_seconds` for a connection and then gets a clear
refusal; no statement, and no server that hangs, holds a connection for ever; after PostgreSQL was
away the pool connects again by itself. A read asks the replica if there is one that is reached and
not too far behind, and the primary otherwise.

For the event loop that it was opened on. The committer and its companions have connections of their
own: nothing that happens here holds up a commit.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
import structlog
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from rankwire.storage import StorageError
from rankwire.times import Times

if TYPE_CHECKING:
    from rankwire.settings import Storage

OWN_CONNECTIONS: Final = 7
"""Most connections that a node has to PostgreSQL beside its pool: to commit, to take checkpoints,
to follow, to tidy, to look after API keys, to ask how PostgreSQL is, and while it archives."""

REGION_CONNECTIONS: Final = 6
"""Most that it has besides in a region among others: to serve its journal to them, to take in
theirs, to know who is primary, to lead, and two while it repairs."""

# Requests that wait for each connection of a pool; more are refused without waiting.
_WAITING_EACH: Final = 64
# How long attempts to connect again go on, at growing distances, until a request begins anew. The
# distances stay short because this is.
_RECONNECT_SECONDS: Final = 4.0
# Beyond the time that a statement may take on the server: after that it is not the statement.
_HANG_SECONDS: Final = 2.0
# Between two looks at the replica's lag, and how long the last one counts.
_LOOK_SECONDS: Final = 1.0
_FRESH_SECONDS: Final = 3.0

# What the URL may say otherwise. A peer that vanished without a word is noticed within 15 seconds.
_DEFAULTS: Final = {
    "application_name": "rankwire",
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
_TIMEOUTS: Final = """
SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false)
"""
# A replica that has replayed all that it received is level, but only while it receives: without a
# stream the time of the last replayed transaction is all that is known.
_LAG: Final = """
SELECT CASE
    WHEN NOT pg_is_in_recovery() THEN 0
    WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()
         AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 0
    ELSE extract(epoch FROM now() - pg_last_xact_replay_timestamp())
END::float8
"""

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
_T = TypeVar("_T")
Work = Callable[[Connection], Awaitable[_T]]
"""What is done with a connection, which commits each statement by itself."""

_log = structlog.get_logger(__name__)
# The pool's own words for what we say in ours.
logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())


class BusyError(StorageError):
    """The database works, but has no time for this now; trying again soon helps."""


class Pool:
    """Connections to one server."""

    def __init__(self, url: str, name: str, kept: Storage) -> None:
        """Describe it; `open` begins to connect. `name` is for the metrics."""
        given = {key: str(value) for key, value in conninfo_to_dict(url).items()}
        self.conninfo = make_conninfo(**(_DEFAULTS | given))
        self.name = name
        self.size = kept.pool_size
        """Most connections."""
        self.waiting = 0
        """Requests that wait for a connection now."""
        self.refused = 0
        """Requests that got none."""
        self.waits = Times()
        """How long requests waited for a connection."""
        self._lent: set[Connection] = set()
        self._busy_seconds = 0.0
        self._changed_at = perf_counter()
        self._wait_seconds = kept.pool_wait_seconds
        self.hold_seconds = kept.statement_seconds + _HANG_SECONDS
        """Longest time that a request has a connection; after that its transaction is ended."""
        limits = (kept.statement_seconds, kept.lock_seconds)
        self._timeouts = [f"{round(seconds * 1000)}ms" for seconds in limits]
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            self.conninfo,
            kwargs={"autocommit": True},
            min_size=1,
            max_size=kept.pool_size,
            open=False,
            configure=self._configure,
            check=self._check,
            timeout=kept.pool_wait_seconds,
            max_waiting=kept.pool_size * _WAITING_EACH,
            reconnect_timeout=_RECONNECT_SECONDS,
        )

    @property
    def used(self) -> int:
        """Connections that work for a request now."""
        return len(self._lent)

    @property
    def busy_seconds(self) -> float:
        """For how long connections have worked for requests until now, all of them together.

        What it grows by in a second is how many of them worked on average.
        """
        return self._busy_seconds + self.used * (perf_counter() - self._changed_at)

    @property
    def backends(self) -> list[int]:
        """Process ids of the sessions that work for a request now, as PostgreSQL knows them."""
        return [connection.info.backend_pid for connection in self._lent if not connection.closed]

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return int(self._pool.get_stats().get("pool_available", 0))

    async def open(self) -> None:
        """Begin to connect. Does not wait for the server."""
        await self._pool.open()

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection. What it raises becomes a StorageError, also a BusyError."""
        connection = await self._acquire()
        self._note()
        self._lent.add(connection)
        try:
            with cut_after(self.hold_seconds, connection):
                yield connection
        except psycopg.Error as error:
            raise _explain(error) from error
        finally:
            self._note()
            self._lent.discard(connection)
            await self._pool.putconn(connection)

    def _note(self) -> None:
        """Count the time until now, before another number of connections is in use."""
        now = perf_counter()
        self._busy_seconds += self.used * (now - self._changed_at)
        self._changed_at = now

    async def _acquire(self) -> Connection:
        started = perf_counter()
        self.waiting += 1
        try:
            return await self._pool.getconn()
        except TooManyRequests as error:
            self.refused += 1
            raise BusyError("too many requests wait for the database already") from error
        except PoolTimeout as error:
            self.refused += 1
            if self.used >= self.size:
                raise BusyError(f"the {self.size} connections to the database are busy") from error
            raise StorageError("the database cannot be reached") from error
        except PoolClosed as error:
            raise StorageError("the server is stopping") from error
        finally:
            self.waiting -= 1
            self.waits.add(perf_counter() - started)

    async def _configure(self, connection: Connection) -> None:
        with cut_after(self.hold_seconds, connection):
            await connection.execute(_TIMEOUTS, self._timeouts)

    async def _check(self, connection: Connection) -> None:
        """Find connections that PostgreSQL has left, before a request finds them."""
        with cut_after(self._wait_seconds, connection):
            await AsyncConnectionPool.check_connection(connection)


class Replica:
    """A server that follows the primary, and how far behind it is."""

    def __init__(self, pool: Pool, most_lag: float) -> None:
        """Read from it while it is at most `most_lag` seconds behind."""
        self.pool = pool
        self.reads = 0
        """Reads that it answered."""
        self.avoided = 0
        """Reads that went to the primary because it was away or too far behind."""
        self._most_lag = most_lag
        self._lag: float | None = None
        self._measured = 0.0
        self._is_lost = False
        self._watch: asyncio.Task[None] | None = None

    @property
    def lag(self) -> float | None:
        """How many seconds it was behind, about a second ago; None if that is not known."""
        is_fresh = perf_counter() - self._measured <= _FRESH_SECONDS
        return self._lag if is_fresh else None

    @property
    def is_good(self) -> bool:
        """Whether it may be read from."""
        return (lag := self.lag) is not None and lag <= self._most_lag

    def distrust(self) -> None:
        """Do not read from it until it has been looked at again."""
        self._lag = None

    async def open(self) -> None:
        """Begin to look at it, and to connect."""
        await self.pool.open()
        self._watch = asyncio.create_task(self._watch_forever())

    async def close(self) -> None:
        """End that. Idempotent."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        await self.pool.close()

    async def _watch_forever(self) -> None:
        while True:
            try:
                await self._watch_closely()
            except (psycopg.Error, OSError) as error:
                self.distrust()
                if not self._is_lost:
                    self._is_lost = True
                    _log.warning("replica lost", reason=str(error))
            await asyncio.sleep(_LOOK_SECONDS)

    async def _watch_closely(self) -> None:
        """Measure the lag again and again, on a connection that nobody has to wait for."""
        connection = await psycopg.AsyncConnection.connect(self.pool.conninfo, autocommit=True)
        async with connection:
            while True:
                with cut_after(_FRESH_SECONDS, connection):
                    row = await (await connection.execute(_LAG)).fetchone()
                self._lag = row[0] if row else None
                self._measured = perf_counter()
                if self._is_lost:
                    self._is_lost = False
                    _log.info("replica found", lag=self._lag)
                await asyncio.sleep(_LOOK_SECONDS)


class Database:
    """The primary, and the replica if there is one."""

    def __init__(self, primary: Pool, replica: Replica | None = None) -> None:
        """Take them, not opened yet."""
        self.primary = primary
        self.replica = replica

    async def open(self) -> None:
        """Begin to connect to both. Does not wait for them."""
        await self.primary.open()
        if self.replica is not None:
            await self.replica.open()

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        if self.replica is not None:
            await self.replica.close()
        await self.primary.close()

    async def write(self, work: Work[_T]) -> _T:
        """Do it on the primary. Raises StorageError."""
        async with self.primary.connection() as connection:
            return await work(connection)

    async def read(self, work: Work[_T]) -> tuple[_T, float | None]:
        """Do it on the replica if that is good, else on the primary. Raises StorageError.

        Returns as well how many seconds the replica was behind; None from the primary. `work` only
        reads: it is done again on the primary when the replica fails at it.
        """
        replica = self.replica
        if replica is None:
            return await self.write(work), None
        lag = replica.lag
        if replica.is_good:
            try:
                async with replica.pool.connection() as connection:
                    found = await work(connection)
            except BusyError:
                pass
            except StorageError:
                replica.distrust()
            else:
                replica.reads += 1
                return found, lag
        replica.avoided += 1
        return await self.write(work), None


def make_database(kept: Storage) -> Database:
    """Make what the settings describe; it is not opened yet."""
    replica = None
    if kept.replica_url:
        replica = Replica(Pool(kept.replica_url, "replica", kept), kept.replica_lag_seconds)
    return Database(Pool(kept.url, "primary", kept), replica)


@contextmanager
def cut_after(seconds: float, connection: psycopg.AsyncConnection[Any]) -> Iterator[None]:
    """Break the connection if what is done with it takes longer.

    A server that hangs answers nothing, so neither its own timeouts end a statement nor does
    cancelling the task that waits for it: psycopg waits for the answer to the cancelling. An end of
    the stream is what it does notice.
    """
    deadline = asyncio.get_running_loop().call_later(seconds, _cut, connection)
    try:
        yield
    finally:
        deadline.cancel()


def _cut(connection: psycopg.AsyncConnection[Any]) -> None:
    with (
        suppress(psycopg.Error, OSError),
        socket.socket(fileno=os.dup(connection.fileno())) as stream,
    ):
        stream.shutdown(socket.SHUT_RDWR)


def _explain(error: psycopg.Error) -> StorageError:
    if isinstance(error, errors.QueryCanceled | errors.LockNotAvailable):
        return BusyError("the database took too long")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        said = error.diag.message_primary
        return StorageError(f"the database failed: {said}" if said else "the database went away")
    return StorageError(f"the database refused: {error.diag.message_primary or error}")
