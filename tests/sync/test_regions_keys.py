"""API keys of several regions converge, each with a PostgreSQL database of its own."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fix_beside import Peer, Place, all_keys, open_place, regions, urls
from rankwire.storage import keys
from rankwire.storage.keys import ApiKey
from rankwire.storage.region_beside import PAGE_ROWS
from rankwire.sync.regions.beside import Progress

__all__ = ["regions", "urls"]


def _key(key_id: str, revoked_ms: int | None = None) -> ApiKey:
    return ApiKey(key_id, "game", key_id.encode() * 32, ("read", "submit"), ("cup",), 5, revoked_ms)


def _ids(place: Place) -> list[str]:
    return [key.id for key in all_keys(place)]


async def test_keys_are_those_of_all_regions(regions: list[Place]) -> None:
    one, two, _ = regions
    with open_place(one) as store:
        store.add(_key("a"))
        store.add(_key("c", 77))
    with open_place(two) as store:
        store.add(_key("b"))
    await one.pull(two)
    await two.pull(one)
    assert all_keys(one) == all_keys(two) == [_key("a"), _key("b"), _key("c", 77)]
    # Nothing is sent while nothing has changed.
    peer = await two.pull(one)
    assert [answer.keys for answer in peer.told_keys()] == [[]]
    with open_place(one) as store:
        store.revoke("b", 9)
    assert len((await two.pull(one)).told_keys()[0].keys) == 3
    assert two.beside.figures()["keys"] == 3


@pytest.mark.parametrize("first", [0, 1])
async def test_a_revocation_wins_and_is_never_undone(regions: list[Place], first: int) -> None:
    one, two, _ = regions
    with open_place(one) as store:
        store.add(_key("a"))
    await two.pull(one)
    for place, at_ms in ((one, 200), (two, 100)):
        with open_place(place) as store:
            assert store.revoke("a", at_ms)
    for place, other in ((one, two), (two, one))[:: 1 if first else -1]:
        await place.pull(other)
    assert all_keys(one) == all_keys(two) == [_key("a", 100)]
    # From a region that has not heard of it, as after a backup was restored.
    await one.sql("UPDATE keys SET revoked_ms = NULL")
    await two.pull(one)
    assert all_keys(two) == [_key("a", 100)]
    await one.pull(two)
    one.progress.clear()
    await one.pull(two)
    assert all_keys(one) == [_key("a", 100)]


async def test_keys_come_in_pages(regions: list[Place]) -> None:
    one, two, _ = regions
    await one.sql(
        "INSERT INTO keys SELECT lpad(n::text, 12, '0'), 'k', ''::bytea, 'read', '', n, NULL "
        "FROM generate_series(1, %s) AS n",
        2 * PAGE_ROWS,
    )
    peer = await two.pull(one)
    assert [len(answer.keys) for answer in peer.told_keys()] == [PAGE_ROWS, PAGE_ROWS, 0]
    assert all_keys(two) == all_keys(one)


async def test_there_are_never_too_many_good_keys(
    regions: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server with more would take none; revocations always find room."""
    one, two, _ = regions
    monkeypatch.setattr(keys, "MOST_KEYS", 3)
    for place, ids in ((one, "abc"), (two, "xy")):
        with open_place(place) as store:
            for key_id in ids:
                store.add(_key(key_id))
    await one.sql("INSERT INTO keys SELECT 'd', 'k', ''::bytea, 'read', '', 1, 8")
    await two.pull(one)
    assert _ids(two) == ["d", "a", "x", "y"]
    assert "2 API keys found no room" in two.beside.troubles["eu"]
    with open_place(two) as store:
        store.revoke("x", 9)
    # It asks again, also when nothing has changed there.
    await two.pull(one)
    assert _ids(two) == ["d", "a", "b", "x", "y"]


async def test_a_key_that_changes_while_pages_are_asked_for_is_asked_for_again(
    regions: list[Place],
) -> None:
    one, two, _ = regions
    await one.sql(
        "INSERT INTO keys SELECT 'k' || n, 'k', ''::bytea, 'read', '', n, NULL "
        "FROM generate_series(1, %s) AS n",
        PAGE_ROWS,
    )

    class Changing(Peer):
        async def post(self, path: str, body: bytes, seconds: float) -> bytes:
            if path == "keys" and self.bodies:
                await one.sql("UPDATE keys SET revoked_ms = 5 WHERE id = 'k1'")
            return await super().post(path, body, seconds)

    progress = Progress()
    await two.beside.look(Changing(one), progress)
    assert all(key.revoked_ms is None for key in all_keys(two))
    await two.beside.look(Peer(one), progress)
    assert [key.id for key in all_keys(two) if key.revoked_ms == 5] == ["k1"]


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from("ab"), st.none() | st.integers(1, 9))))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_keys_converge_whatever_the_order(
    regions: list[Place], steps: list[tuple[int, str, int | None]]
) -> None:
    """A key is there if any region has it, and revoked at the first time that any knows of."""
    expected: dict[str, list[int]] = {}
    for place in regions:
        await place.sql("TRUNCATE keys")
        place.progress.clear()
    for at, key_id, revoked_ms in steps:
        expected.setdefault(key_id, []).extend([] if revoked_ms is None else [revoked_ms])
        await regions[at].sql(
            "INSERT INTO keys VALUES (%s, 'k', '', 'read', '', 1, %s) ON CONFLICT (id) DO "
            "UPDATE SET revoked_ms = least(keys.revoked_ms, excluded.revoked_ms)",
            key_id, revoked_ms,
        )  # fmt: skip
        await regions[1 - at].pull(regions[at])
    for place in regions[:2]:
        rows = await place.sql("SELECT id, revoked_ms FROM keys ORDER BY id")
        assert rows == [
            (key_id, min(ends, default=None)) for key_id, ends in sorted(expected.items())
        ]
