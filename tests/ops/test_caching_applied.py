"""Caching from the first look to the last: advised, applied, kept, taken back; on real storages.

The clock of the caches is the test's: a look-up takes a millisecond of it, however busy the machine
is. So hit rates depend on the traffic alone.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import psycopg
import pytest

from fix_caching import zipf
from fix_postgres import Database as Fresh
from fix_postgres import NewPostgres, Postgres
from fix_redis import RedisServer
from rankwire import _core, local_cache
from rankwire.local_cache import LOCAL_SECONDS
from rankwire.ops.caching import (
    CachingReport,
    IntelligentCaching,
    Thresholds,
    intelligent,
    meter,
    profile_cache,
)
from rankwire.ops.caching.report import Strategy
from rankwire.ops.prices import Catalogue
from rankwire.profiles import SHARED_SECONDS, SOLE_SECONDS, Profiles, SharedCache
from rankwire.settings import Ops, Storage
from rankwire.storage import migrate_postgres
from rankwire.storage.migrate import migrations
from rankwire.storage.pool import Database, make_database
from rankwire.storage.profiles import Stored
from rankwire.storage.profiles_postgres import PostgresProfiles
from rankwire.storage.profiles_sqlite import SqliteProfiles
from rankwire.storage.sqlite import SqliteStorage
from rankwire.sync.urls import connect_async

SKU: Final = "rds-pg:db.m6g.xlarge"
SMALL: Final = 200
"""Entries of the cache while caching is not applied: few, so that it is worth something."""
MEGABYTES: Final = 2
BUDGET: Final = MEGABYTES * 750_000
"""Bytes of them that are for profiles."""
WINDOW: Final = 3.0
READ: Final = "SELECT member,%FROM profiles WHERE member = ANY%"
"""Text of the statement that reads profiles."""
LOOKS_EACH: Final = 500
"""Look-ups between two looks."""


class Clock:
    """Time of the caches, in seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(local_cache, "monotonic", clock)
    monkeypatch.setattr(intelligent, "monotonic", clock)
    monkeypatch.setattr(profile_cache, "LOCAL_ENTRIES", SMALL)
    monkeypatch.setattr(meter, "LEAST_QUESTIONS", 3_000)
    return clock


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[_core.Engine]:
    storage = SqliteStorage(tmp_path / "boards", 1.0)
    yield storage.recover(1_000, 1_000)
    storage.close()


class Node:
    """Profiles with their caching, asked for one after the other."""

    def __init__(
        self, engine: _core.Engine, profiles: Profiles, database: Database | None, clock: Clock
    ) -> None:
        ops = Ops(window_seconds=WINDOW, caching="advise", cache_mb=MEGABYTES, database_sku=SKU)
        profiles.local.resize(SMALL, LOCAL_SECONDS)
        thresholds = Thresholds(members_per_day=1_000.0, load_seconds=0.0)
        self.profiles = profiles
        self.caching = IntelligentCaching(
            engine, profiles, database, Catalogue.load(), ops, thresholds
        )
        self.clock = clock

    async def ask(self, members: Sequence[str]) -> None:
        """Ask for each of these, and look now and then."""
        for number, member in enumerate(members, 1):
            self.clock.now += 0.001
            await self.profiles.get_many([member])
            if number % LOOKS_EACH == 0:
                await self.caching.look()

    @property
    def report(self) -> CachingReport:
        """What it says, after a way through JSON."""
        encoded = msgspec.json.encode(self.caching.report())
        return msgspec.json.decode(encoded, type=CachingReport)

    def state(self) -> str:
        """How the profiles' cache stands."""
        return self.strategy.state

    @property
    def strategy(self) -> Strategy:
        """What it says of the profiles' cache."""
        return self.report.strategies[1]


@pytest.fixture
async def sqlite_node(tmp_path: Path, engine: _core.Engine, clock: Clock) -> AsyncIterator[Node]:
    profiles = Profiles(SqliteProfiles(tmp_path, 1.0), 4096)
    yield Node(engine, profiles, None, clock)
    await profiles.close()


@pytest.fixture
def counting_postgres(new_postgres: NewPostgres) -> Postgres:
    """A server that counts statements, with the schema."""
    server = new_postgres({"shared_preload_libraries": "pg_stat_statements"}).start()
    with psycopg.connect(server.url, autocommit=True) as connection:
        migrate_postgres.migrate(connection, migrations("postgres"))
        connection.execute("CREATE EXTENSION pg_stat_statements")
    return server


@asynccontextmanager
async def _node(url: str, engine: _core.Engine, clock: Clock) -> AsyncIterator[Node]:
    database = make_database(Storage(url=url))
    await database.open()
    profiles = Profiles(PostgresProfiles(database), 4096)
    yield Node(engine, profiles, database, clock)
    await profiles.close()
    await database.close()


@pytest.fixture
async def postgres_node(
    counting_postgres: Postgres, engine: _core.Engine, clock: Clock
) -> AsyncIterator[Node]:
    async with _node(counting_postgres.url, engine, clock) as node:
        yield node


def _reads(server: Postgres) -> int:
    """How often PostgreSQL was asked for profiles."""
    ((calls,),) = server.sql(
        "SELECT coalesce(sum(calls), 0)::int8 FROM pg_stat_statements WHERE query LIKE %s", READ
    )
    return int(calls)


async def test_applied_advice_keeps_its_promise_and_spares_postgres(
    postgres_node: Node, counting_postgres: Postgres
) -> None:
    node = postgres_node
    trace = zipf(5_000, 1.0, 40_000, seed=7)
    before = _reads(counting_postgres)
    await node.ask(trace[:15_000])
    advised = node.strategy
    assert advised.state == "off"
    assert advised.reason.startswith("advised")
    assert (node.profiles.local.entries, advised.seconds) == (SMALL, LOCAL_SECONDS)
    assert advised.predicted_hit_rate is not None
    assert advised.baseline_hit_rate is not None
    off = (_reads(counting_postgres) - before) / 15_000
    assert off == pytest.approx(1 - advised.baseline_hit_rate, abs=0.05)

    node.caching.apply("apply")
    await node.ask(trace[15_000:25_000])
    applied = node.strategy
    assert applied.state == "on"
    assert node.profiles.local.entries == applied.entries != SMALL
    before = _reads(counting_postgres)
    await node.ask(trace[25_000:])
    on = (_reads(counting_postgres) - before) / 15_000
    kept = node.strategy
    assert (kept.state, kept.predicted_hit_rate) == ("on", applied.predicted_hit_rate)
    assert kept.measured_hit_rate is not None
    assert kept.predicted_hit_rate is not None
    assert kept.measured_hit_rate == pytest.approx(kept.predicted_hit_rate, abs=0.05)
    assert on == pytest.approx(1 - kept.predicted_hit_rate, abs=0.05)
    assert off - on > 0.05

    report = node.report
    (_, freed) = report.capacity_freed
    assert freed.monthly_seconds is not None
    assert freed.part is not None
    assert report.current_database_cost == pytest.approx(0.318 * 730)
    assert report.reasons.keys() >= {"added_cache_cost", "realizable_saving"}
    assert kept.memory_bytes is not None
    assert 0 < kept.memory_bytes < 2_000_000


async def test_what_postgres_worked_is_told_and_not_when_its_answer_came(
    postgres_node: Node, counting_postgres: Postgres
) -> None:
    node = postgres_node
    await node.ask(zipf(5_000, 1.0, 20_000, seed=7))
    node.clock.now += WINDOW
    await node.caching.look()
    report, cost = node.report, node.profiles.cost
    (_, freed) = report.capacity_freed
    ((worked,),) = counting_postgres.sql(
        "SELECT sum(total_exec_time) / 1000 FROM pg_stat_statements WHERE query LIKE %s", READ
    )
    # Each question of one member is a read.
    assert cost.reads == node.profiles.local.counts.misses
    assert freed.miss_seconds is not None
    assert freed.miss_seconds == pytest.approx(worked / cost.reads)
    assert freed.miss_seconds < cost.seconds / cost.reads
    assert not freed.is_bound
    assert report.realizable_saving is not None


@pytest.mark.parametrize("words", ["", "CREATE EXTENSION pg_stat_statements"])
async def test_without_statistics_of_statements_no_saving_is_promised(
    postgres: Fresh, engine: _core.Engine, clock: Clock, words: str
) -> None:
    """Also with the extension, where the library is not loaded."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        migrate_postgres.migrate(connection, migrations("postgres"))
        connection.execute(words.encode())
    async with _node(postgres.url, engine, clock) as node:
        await node.ask(zipf(5_000, 1.0, 20_000, seed=7))
        report, cost = node.report, node.profiles.cost
    (_, freed) = report.capacity_freed
    assert freed.is_bound
    assert freed.miss_seconds == pytest.approx(cost.seconds / cost.reads)
    assert freed.part is None
    assert report.current_database_cost is not None
    assert report.realizable_saving is None
    assert "only an upper bound" in report.reasons["realizable_saving"]


async def test_a_workload_that_shifts_takes_the_cache_back(sqlite_node: Node) -> None:
    node = sqlite_node
    node.caching.apply("apply")
    await node.ask(zipf(3_000, 1.0, 15_000, seed=1))
    on = node.strategy
    assert (on.state, node.profiles.local.seconds) == ("on", SOLE_SECONDS)
    # All at once everybody else is asked for, and nobody twice.
    await node.ask([f"other{number}" for number in range(10_000)])
    back = node.strategy
    assert back.state == "rolled_back"
    assert "predicted was" in back.reason
    assert (node.profiles.local.entries, node.profiles.local.seconds) == (SMALL, LOCAL_SECONDS)
    # It rests although there is something to gain again, and then it is tried again.
    trace = zipf(3_000, 1.0, 50_000, seed=2)
    await node.ask(trace[:4_000])
    assert node.state() == "rolled_back"
    await node.ask(trace[4_000:])
    assert node.state() == "on"


async def test_modes_turn_it_off_and_the_watching_too(sqlite_node: Node) -> None:
    node = sqlite_node
    trace = zipf(3_000, 1.0, 20_000, seed=1)
    node.caching.apply("apply")
    await node.ask(trace)
    assert node.state() == "on"
    node.caching.apply("advise")
    assert node.state() == "off"
    assert node.strategy.reason == "ops.caching is advise"
    assert (node.profiles.local.entries, node.profiles.local.seconds) == (SMALL, LOCAL_SECONDS)
    node.caching.apply("off")
    assert node.strategy.predicted_hit_rate is None
    assert node.report.capacity_freed[1].hits_per_second is None
    # Nobody counts, so nothing is told, which is not the same as zero.
    assert node.report.patterns == []
    node.caching.apply("advise")
    before = node.report.patterns[1].value
    node.caching.apply("off")
    await node.ask([f"x{number}" for number in range(1_000)])
    node.caching.apply("advise")
    assert node.report.patterns[1].value == pytest.approx(before, rel=0.01)


async def test_profiles_that_grow_are_fewer_within_the_budget(sqlite_node: Node) -> None:
    node = sqlite_node
    node.caching.apply("apply")
    trace = zipf(3_000, 1.0, 30_000, seed=1)
    await node.ask(trace[:20_000])
    assert node.state() == "on"
    local = node.profiles.local
    before = local.entries
    large = Stored(1, b"x" * 4_000)
    local.put_many({f"m{number}": large for number in range(3_000)}, is_written=True)
    assert local.bytes > BUDGET
    await node.caching.look()
    assert local.bytes <= BUDGET
    assert local.entries < before


async def test_memory_that_profiles_have_already_is_not_needed_again(sqlite_node: Node) -> None:
    """Also without caching."""
    node = sqlite_node
    large = Stored(1, b"x" * 5_000)
    node.profiles.local.put_many({f"m{number}": large for number in range(SMALL)})
    assert node.profiles.local.bytes > 1_000_000
    left = MEGABYTES - node.profiles.local.bytes / 1e6
    assert f" {left:,.1f} MB " in node.report.reasons["added_cache_cost"]


async def test_with_redis_a_profile_is_remembered_for_a_minute(
    engine: _core.Engine, tmp_path: Path, redis_server: RedisServer, clock: Clock
) -> None:
    shared = SharedCache(connect_async(redis_server.url), "c1")
    profiles = Profiles(SqliteProfiles(tmp_path, 1.0), 4096, shared)
    database = make_database(Storage(url="postgresql://nobody@127.0.0.1:1/none"))
    try:
        assert Node(engine, profiles, database, clock).strategy.seconds == SHARED_SECONDS
    finally:
        await profiles.close()
        await database.close()


async def test_few_members_are_no_pattern(sqlite_node: Node) -> None:
    node = sqlite_node
    node.caching.apply("apply")
    chance = random.Random(1)
    await node.ask([f"m{chance.randrange(600)}" for _ in range(12_000)])
    assert node.report.patterns[1].found is False
    assert node.state() == "off"
    assert node.strategy.reason == "not more than 1,000 members were asked for in 24 h"
    assert "SQLite" in node.report.reasons["current_database_cost"]


async def test_a_database_that_is_away_leaves_gaps(
    postgres_node: Node, counting_postgres: Postgres
) -> None:
    node = postgres_node
    await node.ask(zipf(2_000, 1.0, 2_000, seed=1))
    counting_postgres.kill()
    node.clock.now += WINDOW
    await node.caching.look()
    report = node.report
    assert report.capacity_freed[1].part is None
    # The price is known all the same.
    assert report.current_database_cost is not None
