"""However long things are cached: nothing is shown that is older than what was acknowledged."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import pytest

from fix_access import open_access
from fix_api import make_parts
from fix_server import PATIENCE_SECONDS
from rankwire import _core
from rankwire.api.app import build
from rankwire.api.door import Door
from rankwire.beside import open_beside
from rankwire.local_cache import LOCAL_SECONDS
from rankwire.profiles import SHARED_SECONDS, SOLE_SECONDS, Profiles, longest_seconds
from rankwire.server import listen
from rankwire.settings import Http, Settings, Storage
from rankwire.storage import StorageError
from rankwire.storage.profiles import Content, Found, Key, Written
from rankwire.storage.profiles_sqlite import SqliteProfiles
from rankwire.storage.sqlite import SqliteStorage
from rankwire.writer import Writer

SESSIONS: Final = 8


def _content(name: str) -> Content:
    return Content(name, None, msgspec.Raw(b"{}"))


def _name(found: Found, member: str = "ada") -> str | None:
    stored = found.profiles.get(member)
    return None if stored is None else str(msgspec.json.decode(stored.body)["name"])


class SlowStore(SqliteProfiles):
    """A store whose answers may be held back, after they were made."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, 1.0)
        self.held = ""
        self.go = asyncio.Event()
        self.made = asyncio.Event()
        self.fails = False
        self.chance: random.Random | None = None

    async def get_many(self, members: Sequence[str]) -> Found:
        found = await super().get_many(members)
        await self._hold("get")
        return found

    async def put(self, member: str, content: Content, key: Key | None) -> Written:
        written = await super().put(member, content, key)
        await self._hold("put")
        if self.fails:
            raise StorageError("the connection broke")
        return written

    async def _hold(self, what: str) -> None:
        if self.chance is not None:
            await asyncio.sleep(self.chance.random() / 500)
        if what == self.held:
            self.made.set()
            await self.go.wait()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SlowStore]:
    store = SlowStore(tmp_path)
    yield store
    store.go.set()
    await store.close()


@pytest.fixture
def profiles(store: SlowStore) -> Profiles:
    profiles = Profiles(store, 4096)
    profiles.local.resize(20, SOLE_SECONDS)
    return profiles


async def test_what_was_read_before_a_write_is_not_remembered_after_it(
    profiles: Profiles, store: SlowStore
) -> None:
    await store.put("ada", _content("old"), None)
    store.held = "get"
    reading = asyncio.create_task(profiles.get_many(["ada"]))
    await store.made.wait()
    await profiles.put("ada", _content("new"), None)
    # The cache has room for few: the new one may have gone when the old one arrives.
    profiles.local.forget(["ada"])
    store.go.set()
    assert _name(await reading) == "old"
    assert _name(await profiles.get_many(["ada"])) == "new"


async def test_what_was_read_before_the_news_is_not_remembered_after_it(
    profiles: Profiles, store: SlowStore
) -> None:
    await store.put("ada", _content("old"), None)
    store.held = "get"
    reading = asyncio.create_task(profiles.get_many(["ada", "bob"]))
    await store.made.wait()
    await SqliteProfiles.put(store, "ada", _content("new"), None)
    profiles.forget(["ada"])
    store.go.set()
    assert _name(await reading) == "old"
    assert _name(await profiles.get_many(["ada"])) == "new"
    # The other was remembered.
    assert len(profiles.local) == 2


async def test_a_write_whose_client_has_gone_is_remembered(
    profiles: Profiles, store: SlowStore
) -> None:
    await profiles.put("ada", _content("old"), None)
    store.held = "put"
    writing = asyncio.create_task(profiles.put("ada", _content("new"), None))
    await store.made.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    store.go.set()
    await profiles.close()
    assert _name(Found(profiles.local.get_many(["ada"]))) == "new"


async def test_a_write_whose_end_is_open_makes_everybody_read_again(
    profiles: Profiles, store: SlowStore
) -> None:
    await profiles.put("ada", _content("old"), None)
    store.fails = True
    with pytest.raises(StorageError):
        await profiles.put("ada", _content("new"), None)
    assert _name(await profiles.get_many(["ada"])) == "new"


async def test_a_repeat_makes_everybody_read_again(profiles: Profiles, store: SlowStore) -> None:
    """The first attempt may have come through another node, or without an answer."""
    key: Key = ("me", "k")
    await profiles.put("ada", _content("old"), None)
    await store.put("ada", _content("new"), key)
    assert (await profiles.put("ada", _content("new"), key)).stored is None
    assert _name(await profiles.get_many(["ada"])) == "new"


@pytest.mark.parametrize("seed", range(3))
async def test_who_reads_profiles_sees_every_write_acknowledged_before(
    profiles: Profiles, store: SlowStore, seed: int
) -> None:
    """Of few members in a cache that is smaller still, by many at a time."""
    chance = store.chance = random.Random(seed)
    profiles.local.resize(3, SOLE_SECONDS)
    acknowledged: dict[str, int] = {}

    async def session() -> None:
        for _ in range(60):
            member = f"m{chance.randrange(6)}"
            if chance.random() < 0.3:
                written = await profiles.put(member, _content("x"), None)
                assert written.stored is not None
                version = written.stored.version
                acknowledged[member] = max(version, acknowledged.get(member, 0))
            else:
                least = acknowledged.get(member, 0)
                found = (await profiles.get_many([member])).profiles.get(member)
                assert (found.version if found else 0) >= least

    await asyncio.gather(*(session() for _ in range(SESSIONS)))
    assert profiles.local.counts.hits > 20


def test_how_long_a_profile_is_remembered_depends_on_who_tells() -> None:
    assert longest_seconds(is_sole=True, is_told=False) == SOLE_SECONDS
    assert longest_seconds(is_sole=False, is_told=True) == SHARED_SECONDS
    assert longest_seconds(is_sole=False, is_told=False) == LOCAL_SECONDS


async def _listening(port: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                await writer.wait_closed()
                return
            await asyncio.sleep(0.01)


@asynccontextmanager
async def _server(path: Path) -> AsyncIterator[tuple[str, _core.Engine]]:
    """Serve over HTTP from this process, so that its engine is at hand."""
    settings = Settings(storage=Storage(path=path), http=Http(port=0))
    storage = SqliteStorage(path, 1.0)
    engine = storage.recover(10_000, 100)
    writer = Writer(engine, storage, checkpoint_members=50_000, checkpoint_seconds=3600)
    writer.start()
    beside = await open_beside(settings, "")
    door = Door()
    port, leave = await listen(settings, door)
    door.open(build(make_parts(writer, beside, settings), open_access(), 65_536))
    await _listening(port)
    try:
        yield f"http://127.0.0.1:{port}/v1/boards/b", engine
    finally:
        await leave()
        await beside.close()
        await writer.stop()
        storage.close()


async def test_a_kept_page_shows_every_submit_acknowledged_before(tmp_path: Path) -> None:
    """Over HTTP, by many sessions at a time that write and read in turn."""
    acknowledged: dict[str, int] = {}
    async with _server(tmp_path) as (url, engine), aiohttp.ClientSession() as client:
        async with client.put(url, json={"policy": "last"}) as answer:
            assert answer.status == 201
        engine.keep_pages(["b"], 1_000_000)

        async def top(limit: int) -> dict[str, Any]:
            async with client.get(f"{url}/top?limit={limit}") as answer:
                page = await answer.json()
            assert answer.headers["etag"].endswith(f'.{page["version"]}"')
            return {entry["member"]: entry["score"] for entry in page["entries"]}

        async def session(name: str) -> None:
            for score in range(1, 31):
                body = {"member": name, "score": score}
                async with client.post(f"{url}/scores", json=body) as answer:
                    assert answer.status == 200
                acknowledged[name] = score
                for limit in (100, 99, 100):
                    least = dict(acknowledged)
                    shown = await top(limit)
                    assert all(shown[member] >= score for member, score in least.items())

        await asyncio.gather(*(session(f"s{number}") for number in range(SESSIONS)))
        stats = engine.page_stats()
    assert stats["hits"] > 50
    assert stats["misses"] > 50
