"""Migrations: each runs once and whole, and a history that does not match is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fix_engine import Kept, boards_sql, journal_sql, sql
from rankwire.storage import StorageError
from rankwire.storage.migrate import Migration, migrate, migrations

_FIRST = Migration(1, "0001_first.sql", "CREATE TABLE a (x INTEGER) STRICT;")
_SECOND = Migration(2, "0002_second.sql", "CREATE TABLE b (x INTEGER); INSERT INTO b VALUES (1);")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "some.sqlite", isolation_level=None)) as connection:
        yield connection


def _tables(database: sqlite3.Connection) -> set[str]:
    return {name for (name,) in database.execute("SELECT name FROM sqlite_schema")}


def _ledger(database: sqlite3.Connection) -> list[tuple[int, str]]:
    query = "SELECT number, name FROM schema_migrations ORDER BY number"
    return database.execute(query).fetchall()


def test_a_fresh_storage_gets_every_migration_once(directory: Path) -> None:
    for _ in range(2):
        Kept(directory).close()
    for name in ("journal", "boards"):
        found = sql(
            directory / f"{name}.sqlite",
            "SELECT number, name, sha256 FROM schema_migrations ORDER BY number",
        )
        assert found == [(step.number, step.name, step.sha256) for step in migrations(name)]
        assert [number for number, _, _ in found] == [*range(1, len(found) + 1)]


def test_only_what_is_new_runs(database: sqlite3.Connection) -> None:
    migrate(database, [_FIRST])
    database.execute("INSERT INTO a VALUES (7)")
    migrate(database, [_FIRST, _SECOND])
    migrate(database, [_FIRST, _SECOND])
    assert database.execute("SELECT x FROM a").fetchall() == [(7,)]
    assert database.execute("SELECT x FROM b").fetchall() == [(1,)]
    assert _ledger(database) == [(1, "0001_first.sql"), (2, "0002_second.sql")]


def test_a_migration_that_fails_leaves_nothing_of_itself(database: sqlite3.Connection) -> None:
    bad = Migration(2, "0002_bad.sql", "CREATE TABLE c (x); INSERT INTO c VALUES (1); NONSENSE;")
    with pytest.raises(StorageError, match=r"migration 0002_bad\.sql failed: .*NONSENSE"):
        migrate(database, [_FIRST, bad])
    assert not database.in_transaction
    assert "c" not in _tables(database)
    assert _ledger(database) == [(1, "0001_first.sql")]
    migrate(database, [_FIRST, _SECOND])
    assert _ledger(database) == [(1, "0001_first.sql"), (2, "0002_second.sql")]


@pytest.mark.parametrize("name", ["journal", "boards"])
def test_a_database_of_a_newer_version_is_refused(directory: Path, name: str) -> None:
    Kept(directory).close()
    file = directory / f"{name}.sqlite"
    sql(file, "INSERT INTO schema_migrations (number, name, sha256) VALUES (99, '0099_x.sql', '')")
    with pytest.raises(StorageError) as caught:
        Kept(directory)
    assert str(caught.value) == (
        "the database has migration 99, which this version of Rankwire does not know: "
        "it was written by a newer one"
    )
    # Refusing it has not changed it, nor locked anyone out.
    sql(file, "DELETE FROM schema_migrations WHERE number = 99")
    Kept(directory).close()


@pytest.mark.parametrize("name", ["journal", "boards"])
def test_an_edited_migration_is_refused(directory: Path, name: str) -> None:
    Kept(directory).close()
    file = directory / f"{name}.sqlite"
    sql(file, "UPDATE schema_migrations SET sha256 = 'other' WHERE number = 1")
    with pytest.raises(StorageError, match=rf"migration 0001_{name}\.sql is not the one that was"):
        Kept(directory)


def test_both_databases_survive_the_loss_of_power(directory: Path) -> None:
    """As far as settings can promise it: write-ahead log, synced at every commit."""
    with Kept(directory) as kept:
        for connection in kept.storage._connections:  # noqa: SLF001
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_the_tables_are_strict(directory: Path) -> None:
    """A value of the wrong type cannot be stored by a mistake of ours."""
    Kept(directory).close()
    for query in (
        journal_sql(directory, "PRAGMA table_list"),
        boards_sql(directory, "PRAGMA table_list"),
    ):
        ours = [row for row in query if row[2] == "table" and not row[1].startswith("sqlite_")]
        assert ours
        assert all(strict for *_, strict in ours)
