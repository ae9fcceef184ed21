"""What the analyzer asks PostgreSQL: with few rights, few connections, and new statistics."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import psycopg
import pytest

from fix_analyzer import watch
from fix_postgres import Database as Fresh
from fix_postgres import NewPostgres
from fix_server import PATIENCE_SECONDS, until
from rankwire.ops.analyzer.readings import Reading
from rankwire.settings import Storage
from rankwire.storage import StorageError
from rankwire.storage.vitals import STATEMENTS, PostgresVitals

CONNECTIONS = "DATABASE_CONNECTIONS"


async def test_sessions_near_their_limit_are_found(
    new_postgres: NewPostgres, tmp_path: Path
) -> None:
    server = new_postgres({"max_connections": "20"}).start()
    async with watch(tmp_path, Storage(url=server.url, pool_size=1)) as watching:
        await watching.until(lambda r: r.figures["database.connections_part"], "the first look")
        with ExitStack() as sessions:
            while True:
                try:
                    connection = psycopg.connect(server.url.replace("rankwire@", "guest@"))
                except psycopg.OperationalError as error:
                    # Nobody but superusers gets in any more, and the analyzer is in already.
                    if "guest" in str(error) and "does not exist" in str(error):
                        server.sql("CREATE ROLE guest LOGIN")
                        continue
                    break
                sessions.enter_context(connection)
            found, report = await watching.fires(CONNECTIONS)
            assert found.value > 0.8
            assert report.sources["database"].status == "ok"
            advice = next(a for a in report.recommendations if a.because == CONNECTIONS)
            assert advice.inputs["max_connections"] == 20
            assert advice.predicted[0].after <= 0.7
        await watching.clears(CONNECTIONS)


async def test_a_role_without_rights_is_told_less_and_nothing_fails(
    counting_postgres: Fresh, tmp_path: Path
) -> None:
    role = f"plain_{counting_postgres.name}"
    counting_postgres.sql(f"CREATE ROLE {role} LOGIN")
    counting_postgres.sql(f"GRANT ALL ON SCHEMA public TO {role}")
    url = counting_postgres.url.replace("rankwire@", f"{role}@")
    try:
        with psycopg.connect(counting_postgres.url) as other:
            other.execute("SELECT 'of another role'")
            async with watch(tmp_path, Storage(url=url)) as watching:
                report = await watching.until(
                    lambda r: r.figures["database.slow_queries"] is not None, "statements"
                )
                assert report.sources["database"].status == "ok"
                assert (report.figures["database.connections_part"] or 0) > 0
                # It does not see the other's transaction.
                oldest = report.figures["database.oldest_transaction"]
                assert oldest is not None
                assert oldest < 30
                assert (await watching.looks()).sources["database"].status == "ok"
    finally:
        counting_postgres.sql(f"DROP OWNED BY {role} CASCADE")
        counting_postgres.sql(f"DROP ROLE {role}")


async def test_statements_are_counted_from_one_question_to_the_next(
    counting_postgres: Fresh,
) -> None:
    def call(statement: str, times: int) -> None:
        with psycopg.connect(counting_postgres.url, autocommit=True) as connection:
            for _ in range(times):
                connection.execute(statement.encode())

    vitals = PostgresVitals(counting_postgres.url)
    try:
        call("SELECT 1 AS one", 5)
        first = await vitals.read([])
        # What came before the first question is not known to be of any window.
        assert "statements" not in first.rows
        call("SELECT 1 AS one", 3)
        for number in range(STATEMENTS + 5):
            call(f"SELECT {', '.join('1' * (number + 2))}", 1)
        second = await vitals.read([])
        assert len(second.rows["statements"]) == STATEMENTS
        ours = [row for row in second.rows["statements"] if "vitals" in row["text"]]
        assert ours == []
        call("SELECT 1 AS one", 2)
        third = await vitals.read([])
        calls = {row["text"]: row["calls"] for row in third.rows["statements"]}
        assert calls["SELECT $1 AS one"] == 2
        assert first.life == second.life == third.life
        # Its statistics begin anew: another life, and no statements until there are two of it.
        counting_postgres.sql("SELECT pg_stat_statements_reset()")
        call("SELECT 1 AS one", 1)
        fourth = await vitals.read([])
        assert fourth.life != third.life
        assert "statements" not in fourth.rows
        call("SELECT 1 AS one", 4)
        calls = {row["text"]: row["calls"] for row in (await vitals.read([])).rows["statements"]}
        assert calls["SELECT $1 AS one"] == 4
    finally:
        await vitals.close()
        await vitals.close()


async def test_statements_beyond_those_that_are_remembered_are_not_taken_for_new(
    counting_postgres: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rankwire.storage.vitals._SNAPSHOT", 1)
    vitals = PostgresVitals(counting_postgres.url)
    long = "SELECT pg_sleep(0.3)"
    try:
        await vitals.read([])
        # It takes the most time now; how much of that was before is not known.
        await asyncio.to_thread(counting_postgres.sql, long)
        assert (await vitals.read([])).rows["statements"] == []
        await asyncio.to_thread(counting_postgres.sql, long)
        (row,) = (await vitals.read([])).rows["statements"]
        assert row["calls"] == 1
    finally:
        await vitals.close()


async def test_questions_write_no_temporary_files(counting_postgres: Fresh) -> None:
    def call() -> None:
        with psycopg.connect(counting_postgres.url, autocommit=True) as connection:
            # Constants of another type make another statement.
            for kinds in product(("1", "true"), repeat=10):
                connection.execute(f"SELECT {', '.join(kinds)}".encode())

    def sessions() -> int:
        ((count,),) = counting_postgres.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rankwire vitals'"
            " AND datname = current_database()"
        )
        return int(count)

    await asyncio.to_thread(call)
    name = counting_postgres.name
    # So little is not enough for the statements that are known.
    counting_postgres.sql(f"ALTER DATABASE {name} SET work_mem = '64kB'")
    vitals = PostgresVitals(counting_postgres.url)
    try:
        first = await vitals.read([])
        await vitals.read([])
    finally:
        await vitals.close()
    # A session that has gone has told what it did.
    await asyncio.to_thread(until, lambda: sessions() == 0, "the end of the session")
    read = "SELECT temp_bytes FROM pg_stat_database WHERE datname = current_database()"
    assert counting_postgres.sql(read) == [(first.totals["temp_bytes"],)]


async def test_columns_are_read_of_tables_that_are_read_from_end_to_end(postgres: Fresh) -> None:
    vitals = PostgresVitals(postgres.url)
    postgres.sql("CREATE TABLE t AS SELECT n AS id, n AS points FROM generate_series(1, 20000) n")
    postgres.sql("CREATE INDEX ON t (id)")
    postgres.sql("ANALYZE t")

    async def told() -> Reading:
        return Reading(at=0.0, rows=(await vitals.read([])).rows)

    async def until_columns(rows: int) -> Reading:
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while len((found := await told()).rows["columns"]) != rows:
            assert asyncio.get_running_loop().time() < deadline
        return found

    try:
        (table,) = (await told()).rows["tables"]
        assert set(table) == {"name", "plain", "live", "dead", "scans", "scanned", "index_scans"}
        assert (await told()).rows["columns"] == []
        postgres.sql("SELECT count(points) FROM t")
        (row,) = (await until_columns(1)).rows["columns"]
        assert row == {"name": "public.t", "columns": ["id", "points"], "leading": ["id"]}
        postgres.sql("DROP TABLE t")
        await until_columns(0)
    finally:
        await vitals.close()


async def test_a_server_that_is_not_there_is_told_without_its_password(tmp_path: Path) -> None:
    vitals = PostgresVitals(f"postgresql://u:secret@/d?host={tmp_path}")
    with pytest.raises(StorageError, match="PostgreSQL cannot be asked") as caught:
        await vitals.read([])
    assert "secret" not in str(caught.value)


async def test_a_session_that_is_ended_is_replaced(postgres: Fresh) -> None:
    vitals = PostgresVitals(postgres.url)
    try:
        await vitals.read([])
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
        await asyncio.to_thread(postgres.sql, end, "rankwire vitals")
        with pytest.raises(StorageError, match="terminating connection"):
            await vitals.read([])
        assert (await vitals.read([])).gauges["max_connections"] > 0
    finally:
        await vitals.close()


async def test_texts_of_other_databases_are_not_told(counting_postgres: Fresh) -> None:
    """A statement has the same id there, although it names other things in other words."""
    columns = range(3, 11)
    vitals = PostgresVitals(counting_postgres.url)
    try:
        await vitals.read([])
        for count in columns:
            values = ", ".join("1" * count)
            counting_postgres.server.sql(f"SELECT {values} AS secret")
            counting_postgres.sql(f"SELECT {values} AS ours")
        texts = [row["text"] for row in (await vitals.read([])).rows["statements"]]
        assert len([text for text in texts if text.endswith("AS ours")]) == len(columns)
        assert not [text for text in texts if "secret" in text]
    finally:
        await vitals.close()
