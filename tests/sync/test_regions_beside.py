"""Profiles of several regions converge, each with a PostgreSQL database of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Final

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fix_beside import NAMED, Peer, Place, all_keys, open_place, regions, urls
from fix_redis import RedisServer
from fix_server import PATIENCE_SECONDS
from rankwire.profiles import Profiles, SharedCache
from rankwire.storage.keys import ApiKey
from rankwire.storage.profiles import Content, UnknownProfileError
from rankwire.storage.profiles_postgres import PostgresProfiles
from rankwire.storage.region_beside import PAGE_ROWS
from rankwire.storage.source_postgres import PostgresSource
from rankwire.sync.names import profile_key
from rankwire.sync.regions import beside as module
from rankwire.sync.regions.beside import (
    BesideBoards,
    Progress,
)
from rankwire.sync.regions.errors import PeerError
from rankwire.sync.urls import connect_async

__all__ = ["regions", "urls"]


async def test_the_later_write_wins_in_both_orders(regions: list[Place]) -> None:
    one, two, _ = regions
    await one.write("ada", "from one")
    await two.write("ada", "from two")
    await two.write("bob", "first")
    await one.write("bob", "later")
    await one.pull(two)
    await two.pull(one)
    assert await one.rows() == await two.rows()
    assert await one.sql(NAMED) == [("ada", "from two"), ("bob", "later")]
    # Told are those that changed, and no others.
    assert (list(one.told), list(two.told)) == (["ada"], ["bob"])
    assert one.told == (await one.profiles.get_many(["ada"])).profiles
    assert one.beside.figures() == {"keys": 0, "profiles": 1}


async def test_a_write_over_what_was_seen_wins_whatever_the_clock_says(
    regions: list[Place],
) -> None:
    one, two, _ = regions
    await one.write("ada", "ahead")
    await one.sql("UPDATE profiles SET updated_at = now() + interval '1 hour'")
    await two.pull(one)
    await two.write("ada", "changed")
    await one.pull(two)
    assert await one.sql(NAMED) == await two.sql(NAMED) == [("ada", "changed")]


async def test_of_the_same_time_all_regions_choose_the_same(regions: list[Place]) -> None:
    one, two, three = regions
    for place, name in ((one, "b"), (two, "c"), (three, None)):
        await place.write("ada", name)
        await place.write("bob", name)
    await two.profiles.delete("bob", None)
    # It says as little as what is left of a profile that was deleted.
    await three.sql("UPDATE profiles SET attributes = '{}' WHERE member = 'bob'")
    written = datetime.now(UTC)
    for place in regions:
        await place.sql("UPDATE profiles SET updated_at = %s", written)
    for place in regions:
        for other in regions:
            if place is not other:
                await place.pull(other)
    assert await one.rows() == await two.rows() == await three.rows()
    assert [row[4] for row in await one.rows()] == [False, True]


async def test_a_deletion_does_not_come_back(regions: list[Place]) -> None:
    one, two, _ = regions
    await one.write("ada", "Ada")
    await two.pull(one)
    await two.profiles.delete("ada", None)
    # What one still has is older, and goes there as here.
    await two.pull(one)
    assert (await two.profiles.get_many(["ada"])).profiles == {}
    await one.pull(two)
    assert (await one.profiles.get_many(["ada"])).profiles == {}
    assert one.told["ada"].body == b""
    with pytest.raises(UnknownProfileError):
        await one.profiles.delete("ada", None)
    # Nothing is left of what it said, and a new one counts.
    assert await one.sql("SELECT name, avatar, attributes::text FROM profiles") == [
        (None, None, "{}")
    ]
    # Nor is there anything to back up.
    source = PostgresSource(one.url)
    assert [row for rows in source.profiles() for row in rows] == []
    source.close()
    await one.write("ada", "again")
    await two.pull(one)
    assert await two.sql(NAMED) == [("ada", "again")]


async def test_old_deletions_are_forgotten_and_not_told(regions: list[Place]) -> None:
    one, two, _ = regions
    for member in ("ada", "bob"):
        await one.write(member, None)
        await one.profiles.delete(member, None)
    await one.sql(
        "UPDATE profiles SET updated_at = now() - interval '91 days' WHERE member = 'bob'"
    )
    await two.pull(one)
    assert [row[0] for row in await two.rows()] == ["ada"]
    # Whoever begins to lead forgets them, and once a day from then on.
    assert [row[0] for row in await one.rows()] == ["ada", "bob"]
    await one.pull(two)
    assert [row[0] for row in await one.rows()] == ["ada"]


async def test_without_regions_nothing_is_left_of_a_profile(regions: list[Place]) -> None:
    alone = PostgresProfiles(regions[0].database)
    await alone.put("ada", Content("Ada", None, msgspec.Raw(b"{}")), None)
    await alone.delete("ada", None)
    assert await regions[0].rows() == []


async def test_what_is_committed_late_is_not_missed(regions: list[Place]) -> None:
    one, two, _ = regions
    with psycopg.connect(one.url) as slow:
        slow.execute("INSERT INTO profiles VALUES ('slow', 'Slow', NULL, '{}', now())")
        await one.write("quick", "Quick")
        await two.pull(one)
        assert await two.sql(NAMED) == [("quick", "Quick")]
        slow.commit()
    await two.pull(one)
    assert await two.sql(NAMED) == [("quick", "Quick"), ("slow", "Slow")]
    assert list(two.told) == ["quick", "slow"]


async def test_a_change_is_told_however_old_the_row_is(regions: list[Place]) -> None:
    """Whether it was made there or taken over, and whatever was told meanwhile."""
    one, two, three = regions
    for member in ("ada", "bob", "eve"):
        await one.write(member, "old")
    for place, other in ((one, None), (two, one), (three, two)):
        if other is not None:
            await place.pull(other)
        for member, age in (("ada", 90), ("bob", 60), ("eve", 30)):
            await place.sql(
                "UPDATE profiles SET changed_at = now() - make_interval(secs => %s) "
                "WHERE member = %s",
                age, member,
            )  # fmt: skip
    await two.pull(one)
    await three.pull(two)
    await one.write("ada", "new")
    await one.profiles.delete("bob", None)
    await two.pull(one)
    await three.pull(two)
    assert await three.sql(NAMED) == [("ada", "new"), ("eve", "old")]


async def test_what_has_settled_is_not_told_again(regions: list[Place]) -> None:
    one, two, _ = regions
    for member in ("ada", "bob", "eve"):
        await one.write(member, None)
    await one.sql("UPDATE profiles SET changed_at = now() - interval '1 minute'")
    await one.write("new", None)
    first, second = await two.pull(one), await two.pull(one)
    assert [len(page.rows) for page in first.pages()] == [4]
    assert [row[0] for page in second.pages() for row in page.rows] == ["new"]


async def test_a_failure_in_between_loses_nothing(
    regions: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, _ = regions
    await one.sql(
        "INSERT INTO profiles (member, attributes, updated_at, changed_at) "
        "SELECT 'm' || n, '{}', now(), '2026-01-01' FROM generate_series(1, %s) AS n",
        PAGE_ROWS + 1,
    )
    taken = two.beside._kept.take_profiles  # noqa: SLF001 - fails where a database could
    calls = []

    async def fail(rows: Any) -> Any:
        calls.append(len(rows))
        if len(calls) == 2:
            raise PeerError("away")
        return await taken(rows)

    monkeypatch.setattr(two.beside._kept, "take_profiles", fail)  # noqa: SLF001
    await two.pull(one)
    assert two.beside.troubles == {"eu": "away"}
    await two.pull(one)
    # It went on where it was.
    assert calls == [PAGE_ROWS, 1, 1]
    assert two.beside.troubles == {}
    assert await two.rows() == await one.rows()


async def test_of_a_clock_that_is_off_no_profile_is_taken(regions: list[Place]) -> None:
    one, two, _ = regions
    await one.write("ada", None)
    with open_place(one) as store:
        store.add(ApiKey("a", "game", bytes(32), ("read",), (), 5))
    peer = Peer(one)
    peer.is_off = True
    await two.beside.look(peer, Progress())
    assert (await two.rows(), len(all_keys(two))) == ([], 1)
    peer.is_off = False
    await two.beside.look(peer, Progress())
    assert len(await two.rows()) == 1


async def test_everything_is_gone_through_again_each_day(
    regions: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, _ = regions
    await one.write("ada", "Ada")
    await one.sql("UPDATE profiles SET changed_at = '2026-01-01'")
    await one.write("bob", None)
    await one.sql("UPDATE profiles SET changed_at = now() - interval '1 minute' WHERE member='bob'")
    await two.pull(one)
    await two.sql("DELETE FROM profiles")
    await two.pull(one)
    assert await two.rows() == []
    monkeypatch.setattr(module, "SWEEP_SECONDS", 0.0)
    await two.pull(one)
    assert await two.rows() == await one.rows()


async def test_caches_of_the_region_are_told(
    regions: list[Place], redis_server: RedisServer
) -> None:
    """Nodes that have read a profile read the other region's state once it is taken over."""
    one, two, _ = regions
    told: list[str] = []
    leader, node = (
        Profiles(two.profiles, 4096, SharedCache(connect_async(redis_server.url), "c"), tell)
        for tell in (told.extend, None)
    )
    beside = BesideBoards(two.database, "us", ["eu"], leader.take_over)
    try:
        await two.write("ada", "old")
        for each in (leader, node):
            assert b"old" in (await each.get_many(["ada"])).profiles["ada"].body
        await one.pull(two)
        await one.write("ada", "new")
        await one.write("bob", "unread")
        await beside.look(Peer(one), Progress())
        assert told == ["ada", "bob"]
        node.forget(told)
        for each in (leader, node):
            assert b"new" in (await each.get_many(["ada"])).profiles["ada"].body
        # Redis does not fill with what nobody reads here.
        assert redis_server.ask("TTL", profile_key("c", "bob")) <= 2
    finally:
        await leader.close()
        await node.close()


_Step = tuple[str, int, int, int]
_STEPS: Final = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "delete", "pull", "late"]),
        st.integers(0, 2),
        st.integers(0, 2),
        st.integers(0, 1),
    ),
    max_size=25,
)


class _Model:
    """The latest write of each member in each region; a pull takes the later ones."""

    def __init__(self) -> None:
        self.clock = 0
        self.states: list[dict[str, tuple[int, str | None]]] = [{}, {}, {}]

    def write(self, place: int, member: str, name: str | None) -> None:
        self.clock += 1
        self.states[place][member] = (self.clock, name)

    def pull(self, place: int, other: int) -> None:
        for member, state in self.states[other].items():
            self.states[place][member] = max(self.states[place].get(member, state), state)

    def named(self, place: int) -> list[tuple[str, str]]:
        states = self.states[place].items()
        return sorted((member, name) for member, (_, name) in states if name is not None)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_STEPS)
async def test_regions_converge_as_a_simple_model_does(
    regions: list[Place], steps: list[_Step]
) -> None:
    model = _Model()
    for place in regions:
        await place.sql("TRUNCATE profiles")
        place.progress.clear()
    for number, (what, at, other, who) in enumerate(steps):
        place, member = regions[at], ("ada", "bob")[who]
        if what == "put":
            await place.write(member, str(number))
            model.write(at, member, str(number))
        elif what == "delete" and member in dict(model.named(at)):
            await place.profiles.delete(member, None)
            model.write(at, member, None)
        elif what == "pull" and at != other:
            await place.pull(regions[other])
            model.pull(at, other)
        elif what == "late":
            # As if it had been committed only now: known some time ago, and not told yet.
            await place.write("late", str(number))
            await place.sql(
                "UPDATE profiles SET changed_at = changed_at - interval '2 seconds' "
                "WHERE member = 'late'"
            )
            model.write(at, "late", str(number))
        assert await place.sql(NAMED) == model.named(at)
    # Round a circle twice: everything has been everywhere.
    for at in (0, 1, 2, 0, 1, 2):
        await regions[at].pull(regions[at - 1])
        model.pull(at, at - 1)
    assert [await place.sql(NAMED) for place in regions] == [model.named(0)] * 3
    assert len({str(await place.rows()) for place in regions}) == 1


# The task of the leader.


async def test_the_task_goes_on_whatever_happens(
    regions: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, _ = regions
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    peer = Peer(one)
    peer.trouble = "eu cannot be reached"
    task = asyncio.create_task(two.beside.run(peer))
    try:
        await _until(lambda: two.beside.troubles == {"eu": "eu cannot be reached"})
        peer.trouble = None
        await one.write("ada", "Ada")
        await _until(lambda: two.beside.profiles == 1)
        assert two.beside.troubles == {}
        peer.place = two  # answers as somebody else would
        monkeypatch.setattr(two.beside, "answer_keys", _broken)
        await _until(lambda: "no answer that can be read" in two.beside.troubles.get("eu", ""))
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _broken(_: bytes) -> bytes:
    return b"\xc1"


async def _until(condition: Callable[[], bool]) -> None:
    deadline = perf_counter() + PATIENCE_SECONDS
    while not condition():
        assert perf_counter() < deadline, "waited in vain"
        await asyncio.sleep(0.01)
