"""API keys in PostgreSQL: as in SQLite, and what is different there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from fix_postgres import Database, NewPostgres
from fix_server import until
from rankwire import _core, access
from rankwire.access import Guard, refusal
from rankwire.settings import Auth, Http, Settings, Storage
from rankwire.storage import StorageError
from rankwire.storage import keys as module
from rankwire.storage.keys import ApiKey, open_keys
from rankwire.storage.keys_postgres import PostgresKeys

KEY = ApiKey("a" * 12, "backend", bytes(range(32)), ("read", "submit"), ("cup", "season-*"), 1000)
OTHER = ApiKey("b" * 12, "of the Ärzte", b"\xff" * 32, ("operator",), (), 999)


def test_keys_are_kept_and_revoked(postgres: Database) -> None:
    with open_keys(Storage(url=postgres.url)) as store:
        assert isinstance(store, PostgresKeys)
        assert store.all() == []
        store.add(KEY)
        store.add(OTHER)
        assert store.revoke(KEY.id, 2000)
        # Once and for ever: the first time stays.
        assert not store.revoke(KEY.id, 3000)
        assert not store.revoke("nobody", 3000)
    with PostgresKeys(postgres.url) as store:
        revoked = ApiKey(KEY.id, KEY.name, KEY.hash, KEY.scopes, KEY.boards, 1000, 2000)
        assert store.all() == [OTHER, revoked]
        with pytest.raises(StorageError, match=r"cannot write the API keys in .*duplicate key"):
            store.add(KEY)
        # It can still be used.
        assert len(store.all()) == 2


def test_every_change_is_seen_once(postgres: Database) -> None:
    changes = (
        "UPDATE keys SET scopes = 'admin'",
        "UPDATE keys SET scopes = 'read'",
        "DELETE FROM keys",
    )
    with PostgresKeys(postgres.url) as reader, PostgresKeys(postgres.url) as writer:
        assert not reader.changed()
        writer.add(KEY)
        assert reader.changed()
        assert not reader.changed()
        writer.revoke(KEY.id, 2000)
        assert reader.changed()
        assert not reader.changed()
        for change in changes:
            postgres.sql(change)
            assert reader.changed(), change
            assert not reader.changed()


def test_keys_made_at_once_do_not_pass_the_limit(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one is being added, and not committed yet."""
    monkeypatch.setattr(module, "MOST_KEYS", 1)
    with (
        PostgresKeys(postgres.url) as store,
        psycopg.connect(postgres.url) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute("INSERT INTO keys VALUES ('x', 'x', '', 'read', '', 1, NULL)")
        adding = pool.submit(store.add, KEY)
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'keys'::regclass"
        until(lambda: adding.done() or postgres.sql(waits) == [(1,)], "the other one to wait")
        other.commit()
        with pytest.raises(StorageError, match="there are 1 keys already: revoke some first"):
            adding.result()
        assert [key.id for key in store.all()] == ["x"]
        store.revoke("x", 1)
        store.add(KEY)


def test_a_password_is_not_told() -> None:
    url = "postgresql://me:secret@127.0.0.1:1/db"
    with pytest.raises(StorageError, match=r"in postgresql://me:\*\*\*@127") as raised:
        PostgresKeys(url)
    assert "secret" not in str(raised.value)
    with pytest.raises(StorageError, match=r"postgresql://me:\*\*\*@") as refused:
        Guard(Auth(mode="keys"), Storage(url=url))
    assert "secret" not in str(refused.value)
    exposed = Settings(http=Http(host="0.0.0.0"), storage=Storage(url=url))
    words = refusal(exposed, knows_anybody=False)
    assert words is not None
    assert "--storage-url 'postgresql://me:***@127.0.0.1:1/db'" in words[1]
    assert "--storage-path" not in words[1]
    assert "secret" not in words[1]


@pytest.fixture
def new_guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Guard]]:
    """Make guards that look often."""
    monkeypatch.setattr(access, "_LOOK_SECONDS", 0.01)
    guards: list[Guard] = []

    def make(url: str) -> Guard:
        guards.append(Guard(Auth(mode="keys"), Storage(url=url)))
        guards[-1].start()
        return guards[-1]

    yield make
    for guard in guards:
        guard.stop()


def _is_known(guard: Guard, credential: str) -> bool:
    try:
        guard.access.identify(credential)
    except _core.UnauthorizedError:
        return False
    return True


def _add(url: str) -> str:
    text, key_id, digest = _core.Access.new_key()
    with PostgresKeys(url) as store:
        store.add(ApiKey(key_id, "x", digest, ("read",), (), time.time_ns() // 1_000_000))
    return text


def test_keys_outlive_their_database(
    new_postgres: NewPostgres, new_guard: Callable[[str], Guard]
) -> None:
    server = new_postgres().start()
    first = _add(server.url)
    guard = new_guard(server.url)
    assert guard.describe() == "keys: 1 API keys; others may do nothing"
    assert _is_known(guard, first)
    server.kill()
    # However often it looks meanwhile.
    time.sleep(0.3)
    assert _is_known(guard, first)
    server.start()
    second = _add(server.url)
    until(lambda: _is_known(guard, second), "the new key")
    with PostgresKeys(server.url) as store:
        store.revoke(first.split("_")[1], 1)
    until(lambda: not _is_known(guard, first), "the revoked key to be unknown")


def test_a_database_that_hangs_does_not_hold_up_the_looking(
    new_postgres: NewPostgres, new_guard: Callable[[str], Guard]
) -> None:
    """A statement has a limit: without it the thread would wait for the lock for ever."""
    server = new_postgres().start()
    first = _add(server.url)
    guard = new_guard(server.url)
    with psycopg.connect(server.url) as holder:
        holder.execute("LOCK TABLE keys IN ACCESS EXCLUSIVE MODE")
        until(lambda: "statement timeout" in server.log, "a look that gives up")
    assert _is_known(guard, first)
    second = _add(server.url)
    until(lambda: _is_known(guard, second), "the new key")
