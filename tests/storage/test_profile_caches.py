"""The caches of profiles, with a real Redis: hits, changes here and elsewhere, and its absence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_redis import RedisCluster, RedisServer
from fix_server import PATIENCE_SECONDS
from rankwire import local_cache
from rankwire import profiles as module
from rankwire.local_cache import LocalCache
from rankwire.profiles import Profiles, SharedCache
from rankwire.storage.profiles import NONE, Content, Found, Key, Stored
from rankwire.storage.profiles_sqlite import SqliteProfiles
from rankwire.sync.names import profile_key
from rankwire.sync.urls import connect_async

CLUSTER = "c1"


class CountedStore(SqliteProfiles):
    """A store that tells how often it was read, and may be as one that reads a replica."""

    reads = 0
    lag: float | None = None

    async def get_many(self, members: Any) -> Found:
        self.reads += 1
        return msgspec.structs.replace(await super().get_many(members), lag=self.lag)

    async def close(self) -> None:
        """Two nodes share it; its test closes it."""

    async def end(self) -> None:
        await super().close()


def _content(name: str) -> Content:
    return Content(name, None, msgspec.Raw(b"{}"))


def _names(found: Found) -> dict[str, str]:
    return {m: msgspec.json.decode(s.body)["name"] for m, s in found.profiles.items()}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[CountedStore]:
    store = CountedStore(tmp_path, 1.0)
    yield store
    await store.end()


@asynccontextmanager
async def _node(
    store: CountedStore, url: str, told: list[str] | None = None
) -> AsyncIterator[Profiles]:
    shared = SharedCache(connect_async(url), CLUSTER)
    node = Profiles(store, 4096, shared, None if told is None else told.extend)
    try:
        yield node
    finally:
        await node.close()


async def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = perf_counter() + PATIENCE_SECONDS
    while not condition():
        assert perf_counter() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.02)


def _kept(server: RedisServer, member: str) -> str | None:
    value = server.ask("GET", profile_key(CLUSTER, member))
    return None if value is None else str(value)


async def test_what_one_node_read_another_finds_in_redis(
    store: CountedStore, redis_server: RedisServer
) -> None:
    await store.put("ada", _content("Ada"), None)
    async with _node(store, redis_server.url) as one, _node(store, redis_server.url) as two:
        assert _names(await one.get_many(["ada", "bob", "ada"])) == {"ada": "Ada"}
        assert store.reads == 1
        # Also that there is none.
        assert _names(await two.get_many(["bob", "ada"])) == {"ada": "Ada"}
        assert _names(await one.get_many(["bob", "ada"])) == {"ada": "Ada"}
        assert store.reads == 1
        assert one.shared is not None
        assert two.shared is not None
        counted = [
            (cache.counts.hits, cache.counts.misses)
            for node in (one, two)
            for cache in (node.local, node.shared)
            if cache is not None
        ]
        assert counted == [(2, 2), (0, 2), (0, 2), (2, 0)]
        for member in ("ada", "bob"):
            left = redis_server.ask("TTL", profile_key(CLUSTER, member))
            assert 50 < left <= 60


async def test_a_change_reaches_other_nodes(store: CountedStore, redis_server: RedisServer) -> None:
    told: list[str] = []
    async with _node(store, redis_server.url, told) as one, _node(store, redis_server.url) as two:
        for name in ("first", "second"):
            await one.put("ada", _content(name), None)
            assert told == ["ada"]
            # Here at once, and there when the news is heard; Redis has the new one by then.
            assert _names(await one.get_many(["ada"])) == {"ada": name}
            two.forget(told)
            assert _names(await two.get_many(["ada"])) == {"ada": name}
            told.clear()
        assert store.reads == 0
        await one.delete("ada", None)
        assert told == ["ada"]
        # Without the news the old one is read for a time.
        assert _names(await two.get_many(["ada"])) == {"ada": "second"}
        two.forget(told)
        for node in (one, two):
            assert _names(await node.get_many(["ada"])) == {}
        assert store.reads == 0


async def test_a_repeat_tells_nobody(store: CountedStore, redis_server: RedisServer) -> None:
    told: list[str] = []
    key: Key = ("me", "k")
    async with _node(store, redis_server.url, told) as node:
        await node.put("ada", _content("one"), key)
        await node.put("ada", _content("two"), None)
        told.clear()
        await node.put("ada", _content("one"), key)
        assert told == []
        assert _names(await node.get_many(["ada"])) == {"ada": "two"}


async def test_an_old_state_is_not_put_over_a_new_one(redis_server: RedisServer) -> None:
    """In whatever order two writers and a slow reader come to Redis."""
    cache = SharedCache(connect_async(redis_server.url), CLUSTER)
    try:
        old, new, gone = Stored(255, b'{"a":1}'), Stored(256, b'{"a":2}'), Stored(4096, b"")
        for states in ([old, new], [new, old], [new, gone, old], [gone, new]):
            redis_server.ask("FLUSHALL")
            for state in states:
                await cache.put({"ada": state})
            newest = max(states, key=lambda state: state.version)
            await cache.fill({"ada": NONE})
            await cache.fill({"ada": old})
            assert await cache.get_many(["ada"]) == {"ada": newest}
    finally:
        await cache.close()


async def test_what_is_not_ours_is_ignored(redis_server: RedisServer) -> None:
    cache = SharedCache(connect_async(redis_server.url), CLUSTER)
    try:
        for value in ("", "1", "x" * 40, "2" + "0" * 16 + "{}", "1" + "z" * 16 + "{}"):
            redis_server.ask("SET", profile_key(CLUSTER, "ada"), value)
            assert await cache.get_many(["ada"]) == {}
        # A newer version's format is written over.
        stored = Stored(7, b"{}")
        await cache.put({"ada": stored})
        redis_server.ask("SET", profile_key(CLUSTER, "ada"), "2" + "f" * 40)
        await cache.put({"ada": stored})
        assert await cache.get_many(["ada"]) == {"ada": stored}
    finally:
        await cache.close()


async def test_what_a_replica_said_is_kept_for_less_long(
    store: CountedStore, redis_server: RedisServer
) -> None:
    store.lag = 1.5
    async with _node(store, redis_server.url) as node:
        assert (await node.get_many(["ada"])).lag == 1.5
        assert 0 < redis_server.ask("TTL", profile_key(CLUSTER, "ada")) <= 60
        # From a cache it is not said again.
        assert (await node.get_many(["ada"])).lag is None


async def test_without_redis_everything_goes_on(
    store: CountedStore, redis_server: RedisServer
) -> None:
    async with _node(store, redis_server.url) as node:
        await node.put("ada", _content("old"), None)
        redis_server.kill()
        node.forget(["ada"])
        started = perf_counter()
        for number in range(50):
            assert _names(await node.get_many(["ada", f"{number}"])) == {"ada": "old"}
        await node.put("ada", _content("new"), None)
        assert _names(await node.get_many(["ada"])) == {"ada": "new"}
        # Once it was found to be away it is not asked at each question.
        assert perf_counter() - started < PATIENCE_SECONDS / 3
        assert store.reads == 50
        redis_server.start()
        await _until(lambda: '"name":"new"' in (_kept(redis_server, "ada") or ""), "the debt")


async def test_what_redis_missed_is_told_when_it_is_back(
    store: CountedStore, redis_server: RedisServer
) -> None:
    """Redis hangs with an old state in it: it is put right without any further question."""
    async with _node(store, redis_server.url) as one, _node(store, redis_server.url) as two:
        await one.put("ada", _content("old"), None)
        redis_server.pause()
        started = perf_counter()
        await one.put("ada", _content("new"), None)
        assert _names(await one.get_many(["ada"])) == {"ada": "new"}
        one.forget(["ada"])
        assert _names(await one.get_many(["ada"])) == {"ada": "new"}
        assert perf_counter() - started < PATIENCE_SECONDS / 3
        redis_server.resume()
        await _until(lambda: '"name":"new"' in (_kept(redis_server, "ada") or ""), "the debt")
        assert _names(await two.get_many(["ada"])) == {"ada": "new"}


async def test_debts_have_a_limit(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_OWED", 3)
    cache = SharedCache(connect_async(redis_server.url), CLUSTER)
    try:
        redis_server.kill()
        for number in range(5):
            await cache.put({f"m{number}": Stored(number + 1, b"{}")})
        # An older state of one that is owed is none to remember.
        await cache.put({"m4": Stored(1, b"old")})
        redis_server.start()
        await _until(lambda: _kept(redis_server, "m4") is not None, "the debts")
        found = [_kept(redis_server, f"m{number}") is not None for number in range(5)]
        assert found == [False, False, True, True, True]
        assert (_kept(redis_server, "m4") or "").endswith("5{}")
    finally:
        await cache.close()


async def test_a_cluster_of_redis(store: CountedStore, redis_cluster: RedisCluster) -> None:
    members = [f"m{number}" for number in range(30)]
    async with _node(store, redis_cluster.url) as one, _node(store, redis_cluster.url) as two:
        for member in members[:10]:
            await one.put(member, _content(member), None)
        expected = {member: member for member in members[:10]}
        for node in (one, two, two):
            assert _names(await node.get_many(members)) == expected
        assert store.reads == 1


# The local cache.


def test_the_local_cache_is_bounded_and_keeps_what_is_used() -> None:
    cache = LocalCache(entries=3)
    for member in "abc":
        cache.put_many({member: NONE})
    cache.get_many("a")
    cache.get_many("dd")
    cache.put_many({"d": NONE})
    cache.put_many({"e": NONE})
    # Who is new has its place until the next one comes, and then the one that it wins.
    assert set(cache.get_many("abcde")) == set("ade")


def test_the_local_cache_forgets_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(local_cache, "monotonic", lambda: now)
    cache = LocalCache(seconds=5.0)
    cache.put_many({"a": Stored(9, b"{}")})
    now = 104.9
    assert cache.get_many("a") == {"a": Stored(9, b"{}")}
    now = 105.0
    assert cache.get_many("a") == {}
    # What was forgotten is not newer than anything.
    cache.put_many({"a": Stored(9, b"{}")})
    now = 111.0
    cache.put_many({"a": NONE})
    assert cache.get_many("a") == {"a": NONE}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.booleans())))
def test_the_newest_state_counts(steps: list[tuple[str, int, bool]]) -> None:
    cache = LocalCache(seconds=1000.0)
    model: dict[str, Stored] = {}
    for member, version, forget in steps:
        if forget:
            cache.forget([member])
            model.pop(member, None)
            continue
        stored = Stored(version, b"%d" % version)
        cache.put_many({member: stored})
        if member not in model or version >= model[member].version:
            model[member] = stored
    assert cache.get_many("ab") == model
