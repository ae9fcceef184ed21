"""What the doctor finds of PostgreSQL and Redis."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psycopg
import pytest
from click.testing import CliRunner

from fix_postgres import Database, NewPostgres
from fix_redis import RedisServer
from rankwire.cli import _shared, main
from rankwire.cli._checks import Check
from rankwire.settings import Storage
from rankwire.storage.migrate import migrations
from rankwire.storage.postgres import PostgresStorage


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _found(url: str) -> dict[str, Check]:
    return {check.name: check for check in _shared.check_postgres(Storage(url=url))}


def _statuses(url: str) -> dict[str, str]:
    return {name: check.status for name, check in _found(url).items()}


def _doctor(*words: str, code: int = 0) -> dict[str, Check]:
    ports = ("--http-port", "0", "--live-port", "0")
    done = CliRunner().invoke(main, ["doctor", "--json", *ports, *words])
    assert done.exit_code == code, done.output
    checks = msgspec.json.decode(done.stdout)["checks"]
    return {check["name"]: msgspec.convert(check, Check) for check in checks}


def test_an_empty_database_is_fine_and_stays_so(postgres: Database) -> None:
    words = ["--storage-url", postgres.url, "--auth-mode", "keys"]
    found = _doctor(*words)
    assert "version 15" in found["postgresql"].found
    assert found["schema"].found == "no tables yet; the first start creates them"
    # Nothing of SQLite is looked at, nothing is made, and keys are not asked for.
    assert not {"storage", "journal.sqlite", "writing", "access"} & found.keys()
    assert not Path("rankwire-data").exists()
    assert postgres.sql("SELECT to_regclass('keys')") == [(None,)]


def test_a_database_with_tables_is_tried_and_not_changed(postgres: Database) -> None:
    PostgresStorage(Storage(url=postgres.url)).close()
    found = _doctor("--storage-url", postgres.url, "--auth-mode", "keys")
    assert {check.status for check in found.values()} <= {"ok", "warn"}
    assert found["writing"].found == "the journal can be written to"
    assert found["access"].found == "keys: 0 API keys; others may do nothing"
    assert postgres.sql("SELECT count(*) FROM origins") == [(0,)]
    assert postgres.sql("SELECT count(*) FROM journal") == [(0,)]


def test_what_cannot_be_reached_fails_without_its_password() -> None:
    found = _found("postgresql://me:secret@127.0.0.1:1/db")
    assert {check.status for check in found.values()} == {"fail"}
    assert found["postgresql"].found.startswith("postgresql://me:***@127.0.0.1:1/db: ")
    assert "secret" not in repr(found)


def test_a_newer_schema_fails(postgres: Database) -> None:
    PostgresStorage(Storage(url=postgres.url)).close()
    postgres.sql("INSERT INTO schema_migrations (number, name, sha256) VALUES (99, 'x', '')")
    schema = _found(postgres.url)["schema"]
    assert (schema.status, "newer" in schema.found) == ("fail", True)
    assert "writing" not in _found(postgres.url)


def test_an_older_schema_is_told_and_left(postgres: Database) -> None:
    PostgresStorage(Storage(url=postgres.url)).close()
    last = migrations("postgres")[-1].number
    postgres.sql("DELETE FROM schema_migrations WHERE number = %s", last)
    found = _doctor("--storage-url", postgres.url, "--auth-mode", "keys")
    assert found["schema"].found.startswith("1 migrations are due")
    assert postgres.sql("SELECT count(*) FROM schema_migrations WHERE number = %s", last) == [(0,)]


def test_a_database_of_another_encoding_fails(postgres: Database) -> None:
    name = f"{postgres.name}_latin"
    postgres.sql(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII'")
    try:
        assert _statuses(postgres.server.url_of(name))["postgresql"] == "fail"
    finally:
        postgres.sql(f"DROP DATABASE {name}")


def test_who_may_not_write_is_told(postgres: Database) -> None:
    PostgresStorage(Storage(url=postgres.url)).close()
    reader = f"{postgres.name}_reader"
    postgres.sql(f"CREATE ROLE {reader} LOGIN")
    try:
        url = postgres.url.replace("rankwire@", f"{reader}@")
        # Without a right to look, not even that works.
        assert "fail" in _statuses(url).values()
        postgres.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}")
        found = _found(url)
        assert (found["schema"].status, found["writing"].status) == ("ok", "fail")
        assert "permission denied" in found["writing"].found
    finally:
        postgres.sql(f"DROP OWNED BY {reader}")
        postgres.sql(f"DROP ROLE {reader}")


def test_settings_that_forget_commits_warn(new_postgres: NewPostgres) -> None:
    server = new_postgres({"fsync": "off", "synchronous_commit": "off"}).start()
    durability = _found(server.url)["durability"]
    assert durability.status == "warn"
    assert durability.found == "fsync = off, synchronous_commit = off"
    assert durability.advice


def test_an_old_version_fails(postgres: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_shared, "OLDEST_POSTGRES", 990_000)
    assert _found(postgres.url)["postgresql"].advice == "use PostgreSQL 14 or newer"


@pytest.mark.parametrize(("ahead", "status"), [(0.0, "ok"), (90.0, "warn"), (-90.0, "warn")])
def test_clocks_are_compared(
    postgres: Database, monkeypatch: pytest.MonkeyPatch, ahead: float, status: str
) -> None:
    clock: Callable[[], float] = time.time
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        monkeypatch.setattr(time, "time", lambda: clock() + ahead)
        found = _shared.check_clock(connection)
    assert found.status == status
    assert f"{ahead:+.0f}"[:2] in found.found or not ahead


def test_redis_is_asked(redis_server: RedisServer) -> None:
    assert _shared.check_redis(redis_server.url).status == "ok"
    redis_server.kill()
    found = _shared.check_redis(redis_server.url.replace("redis://", "redis://:secret@"))
    assert found.status == "fail"
    assert "secret" not in found.found
    assert _shared.check_redis("http://x").status == "fail"


def test_redis_is_among_the_checks(postgres: Database, redis_server: RedisServer) -> None:
    words = ["--storage-url", postgres.url, "--redis-url", redis_server.url]
    assert _doctor(*words)["redis"].status == "ok"
    redis_server.kill()
    assert _doctor(*words, code=1)["redis"].status == "fail"
