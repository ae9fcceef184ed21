"""The analyzer on a real PostgreSQL: what is made to go wrong is found, explained, and cleared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fix_analyzer import Watching, watch
from fix_postgres import Database as Fresh
from fix_postgres import NewPostgres, run_postgres_tool
from rankwire.ops.findings import Bottleneck, Recommendation, Report
from rankwire.settings import Storage
from rankwire.storage.pool import Connection

POOL = "DATABASE_CONNECTION_POOL"
WAIT = "DATABASE_POOL_WAIT"
SLOW = "DATABASE_SLOW_QUERIES"
INDEX = "DATABASE_MISSING_INDEX"
TRANSACTION = "DATABASE_LONG_TRANSACTION"
LOCKS = "DATABASE_LOCK_WAITS"
LAG = "DATABASE_REPLICATION_LAG"


# On a machine with other work something else may be a bottleneck as well.


def _found(report: Report) -> list[Bottleneck]:
    return [found for found in report.bottlenecks if found.source == "database"]


def _types(report: Report) -> list[str]:
    return [found.type for found in _found(report)]


def _causes(report: Report) -> dict[str, str | None]:
    return {found.type: found.cause for found in _found(report)}


def _advice(report: Report) -> list[Recommendation]:
    return [each for each in report.recommendations if each.because.startswith("DATABASE")]


@asynccontextmanager
async def _held(watching: Watching, count: int, statement: str = "SELECT 1") -> AsyncIterator[None]:
    """Take connections out of the pool and do nothing with them after this statement."""
    async with AsyncExitStack() as stack:
        for _ in range(count):
            connection = await stack.enter_async_context(watching.database.primary.connection())
            await connection.execute(statement.encode())
        yield
        # Whoever gets them next finds no transaction.
        await stack.aclose()


@asynccontextmanager
async def _calling(watching: Watching, statement: str, tasks: int = 1) -> AsyncIterator[None]:
    """Run a statement in the pool, again and again."""

    async def work(connection: Connection) -> Any:
        return await (await connection.execute(statement.encode())).fetchall()

    stop = asyncio.Event()

    async def call() -> None:
        while not stop.is_set():
            await watching.database.write(work)

    # They end by themselves: Python 3.11 may forget to cancel one that waits for a connection.
    running = [asyncio.create_task(call()) for _ in range(tasks)]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*running)


@contextmanager
def _session(url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url) as connection:
        yield connection


async def test_held_connections_are_the_bottleneck_itself(postgres: Fresh, tmp_path: Path) -> None:
    kept = Storage(url=postgres.url, pool_size=3)
    async with watch(tmp_path, kept) as watching:
        await watching.until(lambda r: r.figures["database.pool_utilization"] == 0, "an idle pool")
        async with _held(watching, 3):
            found, report = await watching.fires(POOL)
            assert (found.severity, found.source, found.threshold) == ("HIGH", "database", 0.8)
            assert found.cause is None
            assert found.details["pool"] == "primary"
            # They run nothing: no statement is to blame, and nothing was measured to size by.
            assert report.figures["database.held_running_part"] == 0
            assert _types(report) == [POOL]
            assert [each for each in _advice(report) if each.because == POOL] == []
            score = report.health["database"].score
            assert score is not None
            assert score < 0.5
            assert "database.pool_utilization" in report.health["database"].cause
            assert report.overall.score is not None
            assert report.overall.score <= score
        await watching.clears(POOL)
        # Without the extension nothing is said of statements, not even that there were none.
        assert watching.report.figures["database.slow_queries"] is None
        assert "pg_stat_statements" in watching.report.sources["database"].reason


async def test_within_the_bounds_of_hysteresis_nothing_changes(
    postgres: Fresh, tmp_path: Path
) -> None:
    kept = Storage(url=postgres.url, pool_size=4)
    async with watch(tmp_path, kept) as watching:
        async with _held(watching, 3):
            async with _held(watching, 1):
                await watching.fires(POOL)
            # Three of four are below the bound and above the clear level.
            await watching.until(
                lambda r: 0.74 < (r.figures["database.pool_utilization"] or 0) < 0.76,
                "three of four",
            )
            assert POOL in _types(watching.report)
        await watching.clears(POOL)
        async with _held(watching, 3):
            await watching.until(
                lambda r: 0.74 < (r.figures["database.pool_utilization"] or 0) < 0.76,
                "three of four",
            )
            assert POOL not in _types(watching.report)


async def test_transactions_that_do_nothing_explain_a_full_pool(
    postgres: Fresh, tmp_path: Path
) -> None:
    kept = Storage(url=postgres.url, pool_size=2)
    rules = {TRANSACTION: {"bound": 0.2, "clear": 0.1}}
    async with watch(tmp_path, kept, rules=rules) as watching:
        async with _held(watching, 2, "BEGIN"):
            report = await watching.until(
                lambda r: {POOL, TRANSACTION} <= set(_types(r)), "both rules"
            )
            assert _types(report)[:2] == [TRANSACTION, POOL]
            report = await watching.until(
                lambda r: _causes(r).get(POOL) == TRANSACTION,
                "the cause",
            )
            (advice,) = _advice(report)
            assert advice.action == "END_TRANSACTION"
            pids = {pid for (pid,) in postgres.sql(
                "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction'"
            )}  # fmt: skip
            assert advice.inputs["session"] in pids
        await watching.clears(TRANSACTION)
        await watching.clears(POOL)


async def test_a_lock_is_told_with_who_holds_it(postgres: Fresh, tmp_path: Path) -> None:
    postgres.sql("CREATE TABLE t (x int)")
    kept = Storage(url=postgres.url, pool_size=2, lock_seconds=30)
    async with watch(tmp_path, kept) as watching:
        with _session(postgres.url) as session:
            session.execute("LOCK TABLE t")
            async with _calling(watching, "SELECT x FROM t", 2):
                report = await watching.until(
                    lambda r: _types(r)[:2] == [LOCKS, POOL] and _causes(r)[POOL] == LOCKS,
                    "the lock as the cause of the full pool",
                )
                blocked: Any = _found(report)[0].details["blocked"]
                assert blocked[0]["blocker"] == session.info.backend_pid
                (advice,) = _advice(report)
                assert advice.inputs["session"] == session.info.backend_pid
                (change,) = advice.predicted
                assert (change.before, change.after) == (2, 0)
                session.rollback()
                await watching.clears(LOCKS)


async def test_slow_statements_explain_a_full_pool(
    counting_postgres: Fresh, tmp_path: Path
) -> None:
    kept = Storage(url=counting_postgres.url, pool_size=2)
    rules = {POOL: {"bound": 0.7, "clear": 0.5}, WAIT: {"bound": 0.01, "clear": 0.005}}
    async with watch(tmp_path, kept, rules=rules) as watching:
        async with _calling(watching, "SELECT pg_sleep(0.031), 'private'", 4):
            causes = {POOL: SLOW, WAIT: POOL}
            report = await watching.until(
                # A pool is sized once there are requests enough to go by.
                lambda r: (
                    causes.items() <= _causes(r).items()
                    and any(each.action == "RESIZE_POOL" for each in _advice(r))
                ),
                "slow statements as the cause of the full pool, and that of the waiting",
            )
            types = _types(report)
            assert types.index(SLOW) < types.index(POOL) < types.index(WAIT)
            slow = _found(report)[types.index(SLOW)]
            assert slow.cause is None
            statements: Any = slow.details["statements"]
            (statement,) = statements
            assert statement["text"] == "SELECT pg_sleep($1), $2"
            assert statement["mean"] >= 0.031
            first, *others = _advice(report)
            assert first.action == "SPEED_UP_STATEMENT"
            assert "pg_sleep" in first.description
            assert first.predicted[0].after < first.predicted[0].before
            # The pool comes second, by the model and with its inputs.
            (pool,) = [each for each in others if each.action == "RESIZE_POOL"]
            assert pool.inputs["size"] == 2
            assert float(pool.inputs["load_erlangs"]) > 1
            assert {each.figure for each in pool.predicted} >= {"P(wait for a connection)"}
            assert pool.confidence == "low"
        await watching.clears(POOL)
        await watching.clears(SLOW)


async def test_many_fast_statements_fill_a_pool_by_themselves(
    counting_postgres: Fresh, tmp_path: Path
) -> None:
    """Their number is the reason and not the time of each, so the pool is to grow."""
    kept = Storage(url=counting_postgres.url, pool_size=1)
    rules = {POOL: {"bound": 0.7, "clear": 0.5}}
    async with watch(tmp_path, kept, rules=rules) as watching:
        async with _calling(watching, "SELECT pg_sleep(0.002)", 3):
            found, _ = await watching.fires(POOL)
            assert found.cause is None
            report = await watching.until(_advice, "advice")
            (advice,) = [each for each in _advice(report) if each.because == POOL]
            assert (advice.action, advice.confidence) == ("RESIZE_POOL", "medium")
        await watching.clears(POOL)


async def test_a_missing_index_is_named_and_clears_when_it_is_made(
    counting_postgres: Fresh, tmp_path: Path
) -> None:
    counting_postgres.sql("CREATE TABLE scores (id int PRIMARY KEY, player int, points int)")
    counting_postgres.sql(
        "INSERT INTO scores SELECT n, n % 50000, n FROM generate_series(1, 200000) n"
    )
    counting_postgres.sql("ANALYZE scores")
    # Without this PostgreSQL would start helpers for every call.
    name = counting_postgres.name
    counting_postgres.sql(f"ALTER DATABASE {name} SET max_parallel_workers_per_gather = 0")
    kept = Storage(url=counting_postgres.url, pool_size=2)
    rules = {SLOW: {"bound": 1, "clear": 0}}
    statement = "SELECT points FROM scores WHERE player = 4711"
    async with (
        watch(tmp_path, kept, rules=rules, window_seconds=3.0) as watching,
        _calling(watching, statement),
    ):
        found, report = await watching.fires(INDEX)
        tables: Any = found.details["tables"]
        assert [(t["table"], t["columns"]) for t in tables] == [("public.scores", ["player"])]
        assert tables[0]["rows_each"] == pytest.approx(200_000, rel=0.01)
        advice = next(a for a in _advice(report) if a.action == "CREATE_INDEX")
        (change,) = advice.predicted
        assert (change.before, change.after) == (tables[0]["rows_each"], 4)
        # Do as it says.
        assert advice.apply == 'CREATE INDEX CONCURRENTLY ON public.scores ("player");\n'
        await asyncio.to_thread(counting_postgres.sql, advice.apply)
        await watching.clears(INDEX)


async def test_slow_statements_on_such_a_table_come_from_the_missing_index(
    counting_postgres: Fresh, tmp_path: Path
) -> None:
    counting_postgres.sql("CREATE TABLE scores (player int, points int)")
    counting_postgres.sql("INSERT INTO scores SELECT n, n FROM generate_series(1, 20000) n")
    kept = Storage(url=counting_postgres.url, pool_size=2)
    async with watch(tmp_path, kept, window_seconds=3.0) as watching:
        statement = "SELECT points, pg_sleep(0.021) FROM scores WHERE player = 4711"
        async with _calling(watching, statement):
            report = await watching.until(
                lambda r: _causes(r).get(SLOW) == INDEX,
                "the missing index as the cause of slow statements",
            )
            types = _types(report)
            assert types.index(INDEX) < types.index(SLOW)


async def test_a_replica_that_does_not_replay_is_behind(
    new_postgres: NewPostgres, tmp_path: Path
) -> None:
    primary = new_postgres().start()
    replica = new_postgres(data=primary.directory / "copy")
    run_postgres_tool(
        "pg_basebackup", "--checkpoint=fast", "--write-recovery-conf", "--no-sync",
        "-d", primary.url, "-D", str(replica.data),
    )  # fmt: skip
    replica.start()
    kept = Storage(url=primary.url, replica_url=replica.url)
    async with watch(tmp_path, kept, rules={LAG: {"bound": 0.5, "clear": 0.2}}) as watching:
        await watching.until(
            lambda r: r.figures["database.replication_lag"] == 0, "a replica that is level"
        )
        replica.sql("SELECT pg_wal_replay_pause()")
        primary.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n")
        found, report = await watching.fires(LAG)
        assert found.value > 0.5
        assert found.cause is None
        rows: Any = found.details["replication"]
        assert rows[0]["bytes"] > 0
        (advice,) = _advice(report)
        assert (advice.action, advice.inputs["bytes_replayed_per_second"]) == ("RESUME_REPLAY", 0)
        await asyncio.to_thread(replica.sql, advice.apply)
        await watching.clears(LAG)
        replica.kill()
        await watching.fires("DATABASE_REPLICA_LOST")
        assert watching.report.figures["database.replication_lag"] is None


async def test_a_database_that_dies_is_unavailable_and_changes_no_rule(
    new_postgres: NewPostgres, tmp_path: Path
) -> None:
    server = new_postgres().start()
    kept = Storage(url=server.url, pool_size=2, pool_wait_seconds=0.2)
    async with watch(tmp_path, kept) as watching:
        async with _held(watching, 2):
            await watching.fires(POOL)
            server.kill()
            report = await watching.until(
                lambda r: r.sources["database"].status == "unavailable", "the loss"
            )
            assert "cannot be asked" in report.sources["database"].reason
            of_database = {k: v for k, v in report.figures.items() if k.startswith("database.")}
            assert set(of_database.values()) == {None}
            assert report.health["database"].score is None
            assert report.overall.score is None
            assert "database" in report.overall.cause
            # The others go on.
            assert report.sources["api"].status == "ok"
            assert report.health["api"].score is not None
        assert POOL in _types(await watching.looks())
        await asyncio.to_thread(server.start)
        report = await watching.clears(POOL)
        assert report.sources["database"].status == "ok"
        assert report.overall.score is not None
