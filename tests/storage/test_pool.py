"""The pool on a real PostgreSQL: limits, recovery, figures, and which server is read."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import pytest

from fix_postgres import Database as Fresh
from fix_postgres import NewPostgres, Postgres, run_postgres_tool
from fix_server import PATIENCE_SECONDS
from rankwire.ops import metrics
from rankwire.settings import Storage
from rankwire.storage import StorageError
from rankwire.storage.pool import BusyError, Connection, Database, make_database
from rankwire.times import BUCKETS


@asynccontextmanager
async def _database(url: str, **settings: Any) -> AsyncIterator[Database]:
    database = make_database(Storage(url=url, **settings))
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def _one(connection: Connection) -> Any:
    return await (await connection.execute("SELECT 1")).fetchone()


def _sleep(seconds: float) -> Callable[[Connection], Awaitable[Any]]:
    return lambda connection: connection.execute("SELECT pg_sleep(%s)", (seconds,))


async def _until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = perf_counter() + PATIENCE_SECONDS
    while not await condition():
        assert perf_counter() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.02)


async def _works(database: Database) -> bool:
    try:
        return bool(await database.write(_one) == (1,))
    except StorageError:
        return False


async def test_connections_commit_by_themselves_and_within_limits(postgres: Fresh) -> None:
    async with _database(postgres.url, statement_seconds=7.5, lock_seconds=1.25) as database:

        async def shows(connection: Connection) -> list[str]:
            found = []
            for name in ("statement_timeout", "lock_timeout", "application_name"):
                row = await (await connection.execute(f"SHOW {name}")).fetchone()
                assert row is not None
                found.append(row[0])
            assert connection.autocommit
            return found

        assert await database.write(shows) == ["7500ms", "1250ms", "rankwire"]


async def test_what_the_url_says_counts(postgres: Fresh) -> None:
    async with _database(postgres.url + "?application_name=mine") as database:
        row = await database.write(lambda connection: connection.execute("SHOW application_name"))
        assert await row.fetchone() == ("mine",)


async def test_a_pool_that_is_used_up_refuses_in_time(postgres: Fresh) -> None:
    async with _database(postgres.url, pool_size=2, pool_wait_seconds=0.3) as database:
        pool = database.primary
        gate = asyncio.Event()

        async def hold(connection: Connection) -> None:
            await connection.execute("SELECT 1")
            await gate.wait()

        holders = [asyncio.create_task(database.write(hold)) for _ in range(2)]

        async def used() -> bool:
            return pool.used == 2

        await _until(used, "two connections in use")
        assert (pool.size, pool.idle, pool.waiting, pool.refused) == (2, 0, 0, 0)
        started = perf_counter()
        waiter = asyncio.create_task(database.write(_one))
        await asyncio.sleep(0.05)
        assert pool.waiting == 1
        with pytest.raises(BusyError, match="the 2 connections to the database are busy"):
            await waiter
        assert 0.3 <= perf_counter() - started < PATIENCE_SECONDS / 3
        assert (pool.waiting, pool.refused) == (0, 1)
        assert sum(pool.waits.counts) == 3
        assert pool.waits.total >= 0.3
        # The longest wait is counted where it belongs.
        assert sum(pool.waits.counts[BUCKETS.index(0.5) :]) >= 1
        waiter = asyncio.create_task(database.write(_one))
        gate.set()
        assert await waiter == (1,)
        await asyncio.gather(*holders)
        assert (pool.used, pool.refused) == (0, 1)


async def test_the_queue_has_an_end(postgres: Fresh) -> None:
    async with _database(postgres.url, pool_size=1, pool_wait_seconds=1.0) as database:
        tasks = [asyncio.create_task(database.write(_sleep(2.0))) for _ in range(80)]
        done = await asyncio.gather(*tasks, return_exceptions=True)
        said = [str(error) for error in done if isinstance(error, BusyError)]
        assert "too many requests wait for the database already" in said
        assert len(said) == 79
        assert await database.write(_one) == (1,)


async def test_statements_and_locks_have_limits(postgres: Fresh) -> None:
    postgres.sql("CREATE TABLE t (x int)")
    settings = {"pool_size": 2, "statement_seconds": 1.0, "lock_seconds": 0.2}
    async with _database(postgres.url, **settings) as database:
        with pytest.raises(BusyError, match="the database took too long"):
            await database.write(_sleep(30))
        locked = asyncio.Event()
        free = asyncio.Event()

        async def lock(connection: Connection) -> None:
            async with connection.transaction():
                await connection.execute("LOCK TABLE t")
                locked.set()
                await free.wait()

        holder = asyncio.create_task(database.write(lock))
        await locked.wait()
        with pytest.raises(BusyError, match="the database took too long"):
            await database.write(lambda connection: connection.execute("INSERT INTO t VALUES (1)"))
        free.set()
        await holder
        assert await database.write(_one) == (1,)


async def test_other_refusals_name_the_reason(postgres: Fresh) -> None:
    async with _database(postgres.url) as database:
        with pytest.raises(StorageError, match='the database refused: relation "none" does not'):
            await database.write(lambda connection: connection.execute("SELECT * FROM none"))

        async def leave_open(connection: Connection) -> None:
            await connection.execute("BEGIN")
            raise RuntimeError("on purpose")

        with pytest.raises(RuntimeError):
            await database.write(leave_open)
        assert await database.write(_one) == (1,)
        assert database.primary.used == 0


async def test_it_recovers_by_itself_after_a_crash(new_postgres: NewPostgres) -> None:
    server = new_postgres().start()
    async with _database(server.url, pool_size=3, pool_wait_seconds=0.3) as database:
        await asyncio.gather(*[database.write(_sleep(0.1)) for _ in range(3)])
        under_way = asyncio.create_task(database.write(_sleep(8)))

        async def runs() -> bool:
            return database.primary.used == 1

        await _until(runs, "a statement under way")
        server.kill()
        with pytest.raises(StorageError, match=r"the database (went away|failed)"):
            await under_way
        for _ in range(3):
            started = perf_counter()
            with pytest.raises(StorageError, match="the database cannot be reached") as caught:
                await database.write(_one)
            assert not isinstance(caught.value, BusyError)
            assert perf_counter() - started < 5
        server.start()
        await _until(lambda: _works(database), "the pool to connect again")
        found = await asyncio.gather(*[database.write(_one) for _ in range(20)])
        assert found == [(1,)] * 20


async def test_no_request_meets_a_connection_that_is_gone(postgres: Fresh) -> None:
    """Sessions that PostgreSQL has ended, as it does when it restarts, are found out before."""
    async with _database(postgres.url, pool_size=2) as database:
        await asyncio.gather(*[database.write(_sleep(0.1)) for _ in range(2)])
        for _ in range(3):
            ended = postgres.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'rankwire'"
            )
            assert ended
            assert await database.write(_one) == (1,)


async def test_a_server_that_is_not_there_yet(new_postgres: NewPostgres) -> None:
    server = new_postgres()
    async with _database(server.url, pool_wait_seconds=0.2) as database:
        with pytest.raises(StorageError, match="the database cannot be reached"):
            await database.write(_one)
        server.start()
        await _until(lambda: _works(database), "the first connection")


async def test_a_server_that_hangs_holds_nobody_for_ever(new_postgres: NewPostgres) -> None:
    server = new_postgres().start()
    settings = {"pool_size": 2, "pool_wait_seconds": 0.3, "statement_seconds": 1.0}
    async with _database(server.url, **settings) as database:
        await asyncio.gather(*[database.write(_sleep(0.1)) for _ in range(2)])
        under_way = asyncio.create_task(database.write(_sleep(0.5)))
        await asyncio.sleep(0.1)
        frozen = [server.pid, *server.children()]
        for process in frozen:
            os.kill(process, signal.SIGSTOP)
        try:
            with pytest.raises(StorageError):
                await asyncio.wait_for(under_way, 20)
            with pytest.raises(StorageError):
                await asyncio.wait_for(database.write(_one), 20)
        finally:
            for process in frozen:
                os.kill(process, signal.SIGCONT)
        await _until(lambda: _works(database), "the pool to work again")


async def test_a_closed_pool_says_so(postgres: Fresh) -> None:
    async with _database(postgres.url) as database:
        assert await database.write(_one) == (1,)
    with pytest.raises(StorageError, match="the server is stopping"):
        await database.write(_one)
    await database.close()


async def test_the_figures_are_told(postgres: Fresh) -> None:
    settings = {"pool_size": 4, "replica_url": postgres.url}
    async with _database(postgres.url, **settings) as database:
        watched = database.replica
        assert watched is not None
        assert _figures(database)["rankwire_replica_lag_seconds"] != 0

        async def good() -> bool:
            return watched.is_good

        await _until(good, "a look at the replica")
        await database.read(_one)
        async with database.primary.connection():
            found = _figures(database)
        assert found["rankwire_pool_size primary"] == 4
        assert found["rankwire_pool_used primary"] == 1
        assert found["database_pool_utilization primary"] == 0.25
        assert found["database_pool_utilization replica"] == 0
        assert found["rankwire_pool_idle replica"] >= 1
        assert found["rankwire_pool_waiting primary"] == 0
        assert found["rankwire_pool_refused_total primary"] == 0
        assert found["rankwire_pool_wait_seconds_count primary"] == 1
        assert found["rankwire_pool_wait_seconds_bucket primary +Inf"] == 1
        assert found["rankwire_pool_wait_seconds_sum primary"] > 0
        assert found["rankwire_replica_lag_seconds"] == 0
        assert found["rankwire_replica_reads_total"] == 1
        assert found["rankwire_replica_avoided_total"] == 0


def _figures(database: Database) -> dict[str, float]:
    return {
        " ".join((sample.name, *sample.labels.values())): sample.value
        for family in metrics._database(database)  # noqa: SLF001
        for sample in family.samples
    }


# The replica.


@pytest.fixture
def primary(new_postgres: NewPostgres) -> Postgres:
    server = new_postgres().start()
    server.sql("CREATE TABLE t (x int)")
    server.sql("INSERT INTO t VALUES (1)")
    return server


@pytest.fixture
def replica(primary: Postgres, new_postgres: NewPostgres) -> Postgres:
    """A streaming replica, made as operators make one."""
    server = new_postgres(data=primary.directory / "copy")
    run_postgres_tool(
        "pg_basebackup", "--checkpoint=fast", "--write-recovery-conf", "--no-sync",
        "-d", primary.url, "-D", str(server.data),
    )  # fmt: skip
    server.start()
    primary.sql("INSERT INTO t VALUES (2)")
    return server


async def _count(connection: Connection) -> tuple[int, bool]:
    row = await (
        await connection.execute("SELECT (SELECT count(*) FROM t), pg_is_in_recovery()")
    ).fetchone()
    assert row is not None
    return row[0], row[1]


async def test_a_replica_is_read_while_it_keeps_up(primary: Postgres, replica: Postgres) -> None:
    settings = {"replica_url": replica.url, "replica_lag_seconds": 1.5, "pool_size": 2}
    async with _database(primary.url, **settings) as database:
        watched = database.replica
        assert watched is not None

        async def good() -> bool:
            return watched.is_good and watched.lag == 0

        await _until(good, "a replica that is level")

        async def caught_up() -> bool:
            return await database.read(_count) == ((2, True), 0.0)

        await _until(caught_up, "what was written")
        assert watched.reads >= 1
        assert await database.write(_count) == (2, False)

        # It falls behind: its lag grows, and then the primary is read.
        replica.sql("SELECT pg_wal_replay_pause()")
        primary.sql("INSERT INTO t VALUES (3)")
        assert await database.write(_count) == (3, False)

        async def behind() -> bool:
            lag = watched.lag
            return lag is not None and lag > 1.5

        await _until(behind, "a lag")
        assert not watched.is_good
        avoided = watched.avoided
        assert await database.read(_count) == ((3, False), None)
        assert watched.avoided == avoided + 1

        replica.sql("SELECT pg_wal_replay_resume()")
        await _until(good, "a replica that is level again")
        assert (await database.read(_count))[0] == (3, True)

        # It goes away, and comes back.
        replica.kill()
        for _ in range(3):
            assert await database.read(_count) == ((3, False), None)

        async def lost() -> bool:
            return watched.lag is None

        await _until(lost, "the loss of the replica")
        replica.start()
        await _until(good, "the replica to come back")

        async def read_again() -> bool:
            return (await database.read(_count))[0] == (3, True)

        await _until(read_again, "the replica to be read again")

        # What cannot be done there is done on the primary: a read never fails for the replica.
        async def write(connection: Connection) -> bool:
            await connection.execute("INSERT INTO t VALUES (4)")
            return True

        assert await database.read(write) == (True, None)
        assert not watched.is_good


async def test_a_replica_without_a_stream_is_behind(primary: Postgres, replica: Postgres) -> None:
    """It has replayed all that it received, and knows nothing of what it did not receive."""
    settings = {"replica_url": replica.url, "replica_lag_seconds": 0.5}
    async with _database(primary.url, **settings) as database:
        watched = database.replica
        assert watched is not None

        async def good() -> bool:
            return watched.is_good and watched.lag == 0

        await _until(good, "a replica that is level")
        replica.sql("ALTER SYSTEM SET primary_conninfo = ''")
        replica.sql("SELECT pg_reload_conf()")

        async def behind() -> bool:
            return watched.lag is not None and watched.lag > 0.5

        await _until(behind, "a lag")
        primary.sql("INSERT INTO t VALUES (3)")
        assert await database.read(_count) == ((3, False), None)


async def test_a_busy_replica_is_not_waited_for_twice(postgres: Fresh) -> None:
    """When its connections are used up the primary is read, and the replica stays good."""
    settings = {"replica_url": postgres.url, "pool_size": 1, "pool_wait_seconds": 0.2}
    async with _database(postgres.url, **settings) as database:
        watched = database.replica
        assert watched is not None

        async def good() -> bool:
            return watched.is_good

        await _until(good, "a look at the replica")
        async with watched.pool.connection():
            assert await database.read(_one) == ((1,), None)
        assert watched.is_good
        assert (watched.reads, watched.avoided) == (0, 1)
        assert await database.read(_one) == ((1,), 0.0)
