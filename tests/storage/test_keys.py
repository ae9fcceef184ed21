"""The database of API keys: what it keeps, who reads it, and how two processes share it."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fix_engine import Kept, sql
from rankwire.storage import StorageError
from rankwire.storage import keys as module
from rankwire.storage.keys import KEYS_FILE, ApiKey, SqliteKeys
from rankwire.storage.migrate import migrations

KEY = ApiKey("a" * 12, "backend", bytes(range(32)), ("read", "submit"), ("cup", "season-*"), 1000)
OTHER = ApiKey("b" * 12, "of the Ärzte", b"\xff" * 32, ("operator",), (), 999)


def test_keys_are_kept_and_revoked(directory: Path) -> None:
    with SqliteKeys(directory) as store:
        assert store.all() == []
        store.add(KEY)
        store.add(OTHER)
        assert store.revoke(KEY.id, 2000)
        # Once and for ever: the first time stays.
        assert not store.revoke(KEY.id, 3000)
        assert not store.revoke("nobody", 3000)
    with SqliteKeys(directory) as store:
        revoked = ApiKey(KEY.id, KEY.name, KEY.hash, KEY.scopes, KEY.boards, 1000, 2000)
        assert store.all() == [OTHER, revoked]


def test_an_id_is_given_once(directory: Path) -> None:
    with SqliteKeys(directory) as store:
        store.add(KEY)
        with pytest.raises(StorageError, match=r"cannot write the API keys in .*UNIQUE"):
            store.add(KEY)
        assert store.all() == [KEY]


def test_changes_of_others_are_seen_and_own_ones_are_not(directory: Path) -> None:
    with SqliteKeys(directory) as reader, SqliteKeys(directory) as writer:
        assert not reader.changed()
        writer.add(KEY)
        assert not writer.changed()
        assert reader.changed()
        assert reader.all() == [KEY]
        assert not reader.changed()
        writer.revoke(KEY.id, 2000)
        assert reader.changed()
        assert not reader.changed()


def test_a_file_in_the_place_of_the_old_one_is_opened(directory: Path) -> None:
    with SqliteKeys(directory) as store:
        store.add(KEY)
        for file in directory.glob(KEYS_FILE + "*"):
            file.unlink()
        with pytest.raises(StorageError, match=r"cannot read the API keys in .*No such file"):
            store.changed()
        assert store.all() == [KEY]
        with SqliteKeys(directory) as new:
            new.add(OTHER)
        assert store.changed()
        assert store.all() == [OTHER]
        assert not store.changed()


def test_a_running_server_does_not_keep_the_keys_from_others(directory: Path) -> None:
    with Kept(directory), SqliteKeys(directory) as store:
        store.add(KEY)


def test_only_the_owner_reads_the_files(directory: Path) -> None:
    with SqliteKeys(directory) as store:
        store.add(KEY)
        files = list(directory.glob(KEYS_FILE + "*"))
        assert len(files) == 3
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_there_is_a_limit_of_good_keys(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEYS", 1)
    with SqliteKeys(directory) as store:
        store.add(KEY)
        with pytest.raises(StorageError, match="there are 1 keys already: revoke some first"):
            store.add(OTHER)
        store.revoke(KEY.id, 2000)
        store.add(OTHER)
        assert len(store.all()) == 2


def test_many_may_create_the_database_at_once(tmp_path: Path) -> None:
    def add(directory: Path, number: int) -> None:
        with SqliteKeys(directory) as store:
            store.add(ApiKey(f"{number}", "x", b"", ("read",), (), number))

    with ThreadPoolExecutor(8) as pool:
        for attempt in range(10):
            directory = tmp_path / f"{attempt}"
            list(pool.map(add, [directory] * 8, range(8)))
            with SqliteKeys(directory) as store:
                assert [key.created_ms for key in store.all()] == list(range(8))


def test_the_schema_is_migrated_strict_and_durable(directory: Path) -> None:
    with SqliteKeys(directory) as store:
        connection = store._connection  # noqa: SLF001
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    file = directory / KEYS_FILE
    (step,) = migrations("keys")
    found = sql(file, "SELECT number, name, sha256 FROM schema_migrations")
    assert found == [(1, step.name, step.sha256)]
    tables = {row[1]: row[-1] for row in sql(file, "PRAGMA table_list")}
    assert tables["keys"] == 1
    sql(file, "INSERT INTO schema_migrations (number, name, sha256) VALUES (99, 'x', '')")
    with pytest.raises(StorageError, match="written by a newer one"):
        SqliteKeys(directory)


def test_what_cannot_be_opened_says_so(directory: Path) -> None:
    directory.mkdir()
    (directory / KEYS_FILE).write_bytes(b"no database" * 100)
    with pytest.raises(StorageError, match=rf"cannot open the API keys in .*{KEYS_FILE}: .*not a"):
        SqliteKeys(directory)
