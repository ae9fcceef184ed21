"""PostgreSQL's schema: migrations, and what is forgotten in time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from fix_postgres import Database
from fix_postgres_node import Node
from fix_server import until
from rankwire.settings import Storage
from rankwire.storage import Batch, StorageError, postgres_link
from rankwire.storage import postgres as postgres_storage
from rankwire.storage.migrate import Migration, migrations
from rankwire.storage.migrate_postgres import migrate
from rankwire.storage.postgres import PostgresStorage

_FIRST = Migration(1, "0001_first.sql", "CREATE TABLE a (x integer);")
_SECOND = Migration(2, "0002_second.sql", "CREATE TABLE b (x integer); INSERT INTO b VALUES (1);")
_LEDGER = "SELECT number, name FROM schema_migrations ORDER BY number"
_WEEKS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'journal'::regclass"


@pytest.fixture
def connection(postgres: Database) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        yield connection


def _open(database: Database) -> None:
    PostgresStorage(Storage(url=database.url)).close()


def _add(database: Database, node: Node, number: int, days: float) -> None:
    """Add a batch that is so many days old."""
    database.sql(
        "INSERT INTO journal (origin, number, batch, committed_at) "
        "VALUES (%s, %s, '', now() - %s * interval '1 day')",
        *(node.engine.origin, number, days),
    )


def _weeks(database: Database) -> set[str]:
    return {week for (week,) in database.sql(_WEEKS)}


def _names(weeks: range) -> set[str]:
    """The partitions of weeks, counted from this one."""
    today = datetime.now(UTC).date()
    monday = today - timedelta(days=today.weekday())
    return {f"journal_{monday + timedelta(days=7 * week):%Y%m%d}" for week in weeks}


def _make_week(database: Database, week: int) -> str:
    """Make a week of the journal, counted from this one."""
    (name,) = _names(range(week, week + 1))
    start = datetime.strptime(name[-8:], "%Y%m%d").replace(tzinfo=UTC)
    end = start + timedelta(days=7)
    database.sql(
        f"CREATE TABLE {name} PARTITION OF journal FOR VALUES FROM ('{start}') TO ('{end}')"
    )
    return name


def test_several_nodes_may_start_at_once_on_an_empty_database(postgres: Database) -> None:
    failures: list[Exception] = []

    def start() -> None:
        try:
            _open(postgres)
        except StorageError as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = postgres.sql("SELECT number, name, sha256 FROM schema_migrations ORDER BY number")
    steps = migrations("postgres")
    assert found == [(step.number, step.name, step.sha256) for step in steps]
    assert [number for number, _, _ in found] == [*range(1, len(found) + 1)]
    assert postgres.sql("SELECT count(*) FROM cluster") == [(1,)]


def test_a_node_waits_for_a_migration_longer_than_for_a_request(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _open(postgres)
    slow = Migration(9999, "9999_slow.sql", "SELECT pg_sleep(1);")
    steps = [*migrations("postgres"), slow]
    monkeypatch.setattr(postgres_storage, "migrations", lambda _: steps)
    monkeypatch.setattr(postgres_link, "GRACE_SECONDS", 0.1)
    PostgresStorage(Storage(url=postgres.url, statement_seconds=0.4)).close()
    assert postgres.sql("SELECT name FROM schema_migrations WHERE number = 9999") == [(slow.name,)]


def test_only_what_is_new_runs(postgres: Database, connection: psycopg.Connection[Any]) -> None:
    migrate(connection, [_FIRST])
    postgres.sql("INSERT INTO a VALUES (7)")
    for _ in range(2):
        migrate(connection, [_FIRST, _SECOND])
    assert postgres.sql("SELECT x FROM a") == [(7,)]
    assert postgres.sql("SELECT x FROM b") == [(1,)]
    assert postgres.sql(_LEDGER) == [(1, "0001_first.sql"), (2, "0002_second.sql")]


def test_a_migration_that_fails_leaves_nothing_of_itself(
    postgres: Database, connection: psycopg.Connection[Any]
) -> None:
    bad = Migration(2, "0002_bad.sql", "CREATE TABLE c (x integer); NONSENSE;")
    with pytest.raises(StorageError, match=r"migration 0002_bad\.sql failed: .*NONSENSE"):
        migrate(connection, [_FIRST, bad])
    assert postgres.sql("SELECT to_regclass('c')") == [(None,)]
    assert postgres.sql(_LEDGER) == [(1, "0001_first.sql")]
    migrate(connection, [_FIRST, _SECOND])
    assert postgres.sql(_LEDGER) == [(1, "0001_first.sql"), (2, "0002_second.sql")]


def test_a_database_of_a_newer_version_is_refused(postgres: Database) -> None:
    _open(postgres)
    add = "INSERT INTO schema_migrations (number, name, sha256) VALUES (99, '0099_x.sql', '')"
    postgres.sql(add)
    with pytest.raises(StorageError) as caught:
        _open(postgres)
    assert str(caught.value) == (
        "the database has migration 99, which this version of Rankwire does not know: "
        "it was written by a newer one"
    )
    # Refusing it has not changed it, nor locked anyone out.
    postgres.sql("DELETE FROM schema_migrations WHERE number = 99")
    _open(postgres)


def test_an_edited_migration_is_refused(postgres: Database) -> None:
    _open(postgres)
    postgres.sql("UPDATE schema_migrations SET sha256 = 'other' WHERE number = 1")
    with pytest.raises(StorageError, match=r"migration 0001_postgres\.sql is not the one that was"):
        _open(postgres)


def test_a_database_that_cannot_hold_every_name_is_refused(postgres: Database) -> None:
    postgres.sql("CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII'")
    try:
        with pytest.raises(StorageError, match="has the encoding SQL_ASCII, it has to be UTF8"):
            PostgresStorage(Storage(url=postgres.server.url_of("ascii")))
    finally:
        postgres.sql("DROP DATABASE ascii WITH (FORCE)")


def test_the_tables_stand_in_the_schema_that_the_url_names(postgres: Database) -> None:
    postgres.sql("CREATE SCHEMA games")
    with Node(f"{postgres.url}?options=-csearch_path%3Dgames") as node:
        node.create("a")
        assert node.checkpoint()
        node.storage.tidy()
    assert postgres.sql("SELECT name FROM games.boards") == [("a",)]
    assert postgres.sql("SELECT to_regclass('public.boards')") == [(None,)]


def test_weeks_are_made_ahead_and_used(postgres: Database) -> None:
    with Node(postgres.url) as node:
        node.create("a")
        assert _weeks(postgres) == {"journal_rest"} | _names(range(5))
        assert postgres.sql("SELECT tableoid::regclass::text FROM journal") in [
            [(name,)] for name in _names(range(2))
        ]
        for name in _names(range(2, 5)):
            postgres.sql(f"DROP TABLE {name}")
        node.storage.tidy()
        assert _weeks(postgres) == {"journal_rest"} | _names(range(5))


def test_large_batches_are_compressed_quickly_in_every_week(postgres: Database) -> None:
    with Node(postgres.url) as node:
        node.storage.append(Batch(1, bytes(100_000)))
        _add(postgres, node, 2, 7000)
        postgres.sql("UPDATE journal SET batch = %s WHERE number = 2", bytes(100_000))
        query = "SELECT pg_column_compression(batch), pg_column_size(batch) < 10000 FROM journal"
        assert postgres.sql(query) == [("lz4", True)] * 2


def test_a_week_that_came_without_a_table_stays_where_it_is(postgres: Database) -> None:
    with Node(postgres.url) as node:
        for name in _names(range(5)):
            postgres.sql(f"DROP TABLE {name}")
        node.create("a")
        node.storage.tidy()
        assert len(_names(range(5)) - _weeks(postgres)) == 1
        node.submit("a", "ann", 1)
        boards = node.boards
    with Node(postgres.url) as node:
        assert node.boards == boards


def test_old_weeks_go_when_a_checkpoint_includes_them(postgres: Database) -> None:
    with Node(postgres.url, journal_days=14) as node:
        node.create("a")
        node.submit("a", "ann", 1)
        assert node.checkpoint()
        covered, young, open_one = (_make_week(postgres, week) for week in (-4, -2, -5))
        _add(postgres, node, 1, 7 * 4)
        _add(postgres, node, 1, 7 * 2)
        _add(postgres, node, 3, 7 * 5)
        node.storage.tidy()
        weeks = {"journal_rest"} | _names(range(5))
        assert _weeks(postgres) == weeks | {young, open_one}
        # It is included once a third batch is.
        node.submit("a", "ann", 2)
        assert node.checkpoint()
        node.storage.tidy()
        assert _weeks(postgres) == weeks | {young}
        assert postgres.sql("SELECT to_regclass(%s)", covered) == [(None,)]


def test_a_week_that_is_being_read_is_left_for_next_time(postgres: Database) -> None:
    with Node(postgres.url, journal_days=14) as node:
        node.create("a")
        week = _make_week(postgres, -4)
        with psycopg.connect(postgres.url) as reader:
            reader.execute("LOCK TABLE journal IN ACCESS SHARE MODE")
            node.storage.tidy()
            assert week in _weeks(postgres)
        node.storage.tidy()
        assert week not in _weeks(postgres)


def test_old_rows_of_the_rest_go_when_a_checkpoint_includes_them(postgres: Database) -> None:
    with Node(postgres.url, journal_days=14) as node:
        node.create("a")
        assert node.checkpoint()
        for number, days in ((1, 15), (1, 12), (2, 15)):
            _add(postgres, node, number, days)
        node.storage.tidy()
        rest = postgres.sql(
            "SELECT number, committed_at < now() - interval '14 days' FROM journal_rest"
        )
        assert sorted(rest) == [(1, False), (2, True)]


def test_answers_are_kept_for_a_day(postgres: Database) -> None:
    with Node(postgres.url) as node:
        for age in ("23:59:00", "24:01:00"):
            postgres.sql(
                "INSERT INTO answers SELECT decode(md5(n::text || %s), 'hex'), '', '', "
                "now() - %s::interval FROM generate_series(1, 20001) AS n",
                *(age, age),
            )
        node.storage.tidy()
        assert postgres.sql("SELECT count(*) FROM answers") == [(20001,)]
        old = "SELECT count(*) FROM answers WHERE created_at < now() - interval '24 hours'"
        assert postgres.sql(old) == [(0,)]


def test_dropped_boards_are_forgotten_with_the_journal(postgres: Database) -> None:
    with Node(postgres.url, journal_days=14) as node:
        for days in (13, 15):
            postgres.sql(
                "INSERT INTO dropped VALUES (%s, now() - %s * interval '1 day')", days, days
            )
        node.storage.tidy()
    assert postgres.sql("SELECT board FROM dropped") == [(13,)]


def test_origins_are_closed_when_they_have_ended_and_forgotten_with_their_journal(
    postgres: Database,
) -> None:
    last = "SELECT last FROM origins WHERE origin = %s"
    with Node(postgres.url) as node, Node(postgres.url) as idle:
        with Node(postgres.url) as crashed:
            crashed.create("a")
            link = crashed.storage._committer  # noqa: SLF001
            link.close()
        assert postgres.sql(last, crashed.engine.origin) == [(None,)]
        free = "SELECT pg_try_advisory_xact_lock(%s::bigint)"
        until(
            lambda: postgres.sql(free, crashed.engine.origin) == [(True,)], "the end of a session"
        )
        node.storage.tidy()
        assert postgres.sql(last, crashed.engine.origin) == [(1,)]
        for alive in (node, idle):
            assert postgres.sql(last, alive.engine.origin) == [(None,)]
        node.catch_up()
        assert [name for _, name, *_ in node.boards] == ["a"]
        # One that comes back after all is heard of again.
        assert crashed.storage.holds(1)
        crashed.submit("a", "ann", 1)
        assert postgres.sql(last, crashed.engine.origin) == [(None,)]
        node.catch_up()
        assert node.boards == crashed.boards
        crashed.storage.close()
        assert node.checkpoint()
        postgres.sql("TRUNCATE journal")
        node.storage.tidy()
        assert postgres.sql(last, crashed.engine.origin) == []
        for alive in (node, idle):
            assert postgres.sql(last, alive.engine.origin) == [(None,)]
        # What it wrote is remembered.
        vector = dict(postgres.sql("SELECT origin, number FROM vector"))
        assert vector[crashed.engine.origin] == 2


def test_tidying_that_fails_ends_no_leadership(postgres: Database) -> None:
    with Node(postgres.url) as node:
        node.create("a")
        assert node.storage.lead(node.engine)
        postgres.sql("ALTER TABLE answers RENAME TO elsewhere")
        with pytest.raises(StorageError, match="cannot tidy the storage"):
            node.storage.tidy()
        checkpoint = node.engine.checkpoint()
        assert checkpoint is not None
        node.storage.store(checkpoint)
