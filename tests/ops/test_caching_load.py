"""How busy PostgreSQL is, as the price of caching needs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from math import inf
from time import monotonic

import psycopg
import pytest

from fix_postgres import Database as Fresh
from fix_server import PATIENCE_SECONDS
from rankwire.ops.caching.load import Load
from rankwire.settings import Storage
from rankwire.storage import migrate_postgres
from rankwire.storage.busy import active_seconds, profile_read_seconds
from rankwire.storage.migrate import migrations
from rankwire.storage.pool import Connection, Database, make_database
from rankwire.storage.profiles_postgres import PostgresProfiles


@pytest.fixture
async def database(postgres: Fresh) -> AsyncIterator[Database]:
    database = make_database(Storage(url=postgres.url))
    await database.open()
    yield database
    await database.close()


async def _work(database: Database, seconds: float) -> None:
    async def sleep(connection: Connection) -> None:
        await connection.execute("SELECT pg_sleep(%s)", (seconds,))

    await database.write(sleep)


async def _reported(database: Database, least: float, most: float = inf) -> None:
    """Wait until the sessions have reported so many seconds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            (reported,) = await active_seconds(database)
            if least <= reported < most:
                return
            await asyncio.sleep(0.05)


async def test_the_work_of_all_sessions_is_counted(database: Database) -> None:
    started = monotonic()
    (before,) = await active_seconds(database)
    load = Load(database, 0.2)
    await load.look(monotonic())
    assert load.known.most is None
    await asyncio.gather(*(_work(database, 0.5) for _ in range(3)))
    await _reported(database, before + 1.5)
    await load.look(monotonic())
    known = load.known
    assert known.servers == 1
    assert known.most is not None
    assert known.most == [known.mean]
    # Three sessions have worked half a second each, and hardly anybody else.
    assert 1.5 <= known.most[0] * known.seen_seconds < 2.5
    assert known.seen_seconds <= monotonic() - started


async def test_work_in_other_databases_of_the_server_counts(
    database: Database, postgres: Fresh
) -> None:
    (before,) = await active_seconds(database)
    await asyncio.to_thread(postgres.server.sql, "SELECT pg_sleep(0.5)")
    await _reported(database, before + 0.5)


async def test_the_server_that_is_read_from_tells_what_a_read_costs(
    postgres: Fresh, counting_postgres: Fresh
) -> None:
    """A replica, if there is one: here another server, which counts statements."""
    with psycopg.connect(counting_postgres.url, autocommit=True) as connection:
        migrate_postgres.migrate(connection, migrations("postgres"))
    alone = make_database(Storage(url=counting_postgres.url))
    both = make_database(Storage(url=postgres.url, replica_url=counting_postgres.url))
    await alone.open()
    await both.open()
    try:
        assert await profile_read_seconds(alone) is None
        await PostgresProfiles(alone).get_many(["ada", "bob"])
        mean = await profile_read_seconds(alone)
        assert mean is not None
        assert 0 < mean < 1
        assert await profile_read_seconds(both) == mean
    finally:
        await both.close()
        await alone.close()


async def test_the_most_is_kept_until_something_changes(database: Database) -> None:
    load = Load(database, 0.001)
    await load.look(monotonic())
    (before,) = await active_seconds(database)
    await _work(database, 0.5)
    await _reported(database, before + 0.5)
    await load.look(monotonic())
    most = load.known.most
    assert most is not None
    for _ in range(3):
        await asyncio.sleep(0.05)
        await load.look(monotonic())
    assert load.known.most == most
    assert load.known.mean is not None
    assert load.known.mean < most[0]
    load.restart()
    known = load.known
    assert known.most is None
    assert known.seen_seconds == 0.0


async def test_statistics_that_were_reset_leave_a_gap(database: Database, postgres: Fresh) -> None:
    (before,) = await active_seconds(database)
    await _work(database, 1.0)
    await _reported(database, before + 1.0)
    load = Load(database, 0.001)
    await load.look(monotonic())
    postgres.sql("SELECT pg_stat_reset()")
    await _reported(database, 0.0, before + 0.5)
    await load.look(monotonic())
    assert load.known.most is None
    await asyncio.sleep(0.05)
    await load.look(monotonic())
    assert load.known.most is not None


async def test_a_database_that_is_away_leaves_a_gap(database: Database) -> None:
    load = Load(database, 0.001)
    await load.look(monotonic())
    await database.close()
    await asyncio.sleep(0.02)
    await load.look(monotonic())
    assert (load.known.most, load.known.mean) == (None, None)
