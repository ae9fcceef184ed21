"""API keys of several regions converge, each with a PostgreSQL database of its own."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fix_beside import NAMED, Peer, Place, all_keys, open_place, regions, urls
from rankwire.storage import keys
from rankwire.storage.keys import ApiKey
from rankwire.storage.region_beside import PAGE_ROWS, START
from rankwire.sync.regions.beside import KeysRequest, ProfilesRequest, Progress
from rankwire.sync.regions.errors import NotAPeerError
from rankwire.sync.regions.wire import encode

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
        "INSERT INTO keys SELECT lpad(n::text, 12, '0'), 'k', sha256('k'), 'read', '', n, NULL "
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
    await one.sql("INSERT INTO keys SELECT 'd', 'k', sha256('k'), 'read', '', 1, 8")
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
        "INSERT INTO keys SELECT 'k' || n, 'k', sha256('k'), 'read', '', n, NULL "
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


_BAD: dict[str, tuple[object, ...]] = {
    "scope": ("bad", "k", b"h" * 32, "read billing", "", 1, None),
    "hash": ("bad", "k", b"h", "read", "", 1, None),
    "boards": ("bad", "k", b"h" * 32, "read", "a*b", 1, None),
    "text": ("bad", "k\0", b"h" * 32, "read", "", 1, None),
    "name": ("bad", "k" * 5000, b"h" * 32, "read", "", 1, None),
    "id": ("b\0d", "k", b"h" * 32, "read", "", 1, 7),
    "time": ("bad", "k", b"h" * 32, "read", "", 1 << 63, None),
}


@pytest.mark.parametrize("row", _BAD.values(), ids=_BAD)
async def test_a_key_that_cannot_be_read_keeps_no_other_away(
    regions: list[Place], row: tuple[object, ...]
) -> None:
    """It is left out, named, and asked for again; what else comes and is revoked counts."""
    one, two, _ = regions
    with open_place(one) as store:
        store.add(_key("a"))
        store.add(_key("c"))

    class Newer(Peer):
        async def post(self, path: str, body: bytes, seconds: float) -> bytes:
            answer = await super().post(path, body, seconds)
            if path != "keys":
                return answer
            told = msgspec.msgpack.decode(answer)
            told["keys"] = [row, *told["keys"]]
            return msgspec.msgpack.encode(told)

    progress = Progress()
    await two.beside.look(Newer(one), progress)
    assert _ids(two) == ["a", "c"]
    assert two.beside.troubles["eu"].startswith(f"API key {row[0]!r} of region eu is left out: ")
    with open_place(one) as store:
        assert store.revoke("a", 9)
    await two.beside.look(Newer(one), progress)
    assert [key.id for key in all_keys(two) if key.revoked_ms == 9] == ["a"]
    await two.beside.look(Peer(one), progress)
    assert two.beside.troubles == {}


async def test_one_that_cannot_be_read_is_revoked_all_the_same(regions: list[Place]) -> None:
    one, two, _ = regions
    statement = "INSERT INTO keys VALUES ('a', 'k', sha256('k'), 'read billing', '', 1, NULL)"
    await one.sql(statement)
    await two.sql(statement)
    with open_place(one) as store:
        assert store.revoke("a", 9)
    await two.pull(one)
    assert [key.revoked_ms for key in all_keys(two)] == [9]


async def test_a_profile_that_cannot_be_read_keeps_no_other_away(regions: list[Place]) -> None:
    one, two, _ = regions
    await one.write("ann", "Ann")
    await one.sql(
        "INSERT INTO profiles (member, attributes, updated_at) VALUES ('bad', '[1]', now())"
    )
    await one.write("zoe", "Zoe")
    await two.pull(one)
    assert await two.sql(NAMED) == [("ann", "Ann"), ("zoe", "Zoe")]
    assert two.beside.troubles["eu"].startswith("profile 'bad' of region eu is left out: its attr")
    # It is told as long as it is so.
    await two.pull(one)
    assert "eu" in two.beside.troubles
    await one.write("bad", "Better")
    await two.pull(one)
    assert two.beside.troubles == {}
    assert len(await two.sql(NAMED)) == 3


async def test_a_region_that_is_no_peer_is_told_nothing(regions: list[Place]) -> None:
    beside = regions[0].beside
    with pytest.raises(NotAPeerError, match="'gone' is no peer of region 'eu'"):
        await beside.answer_keys(encode(KeysRequest("gone")))
    with pytest.raises(NotAPeerError):
        await beside.answer_profiles(encode(ProfilesRequest("gone", START)))


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
            "INSERT INTO keys VALUES (%s, 'k', sha256('k'), 'read', '', 1, %s) ON CONFLICT (id) DO "
            "UPDATE SET revoked_ms = least(keys.revoked_ms, excluded.revoked_ms)",
            key_id, revoked_ms,
        )  # fmt: skip
        await regions[1 - at].pull(regions[at])
    for place in regions[:2]:
        rows = await place.sql("SELECT id, revoked_ms FROM keys ORDER BY id")
        assert rows == [
            (key_id, min(ends, default=None)) for key_id, ends in sorted(expected.items())
        ]
