"""What regions tell each other beside the boards: pages, wrong questions, the order of places."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest

from fix_beside import Place, regions, urls
from rankwire.storage.region_beside import PAGE_BYTES, PAGE_ROWS, START, Page
from rankwire.sync.regions import foreign_rows
from rankwire.sync.regions.beside import KeysAnswer, KeysRequest, ProfilesRequest
from rankwire.sync.regions.wire import decode, encode

__all__ = ["regions", "urls"]


async def test_pages_are_bounded(regions: list[Place], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_rows, "_NAME_CHARACTERS", 2 * PAGE_BYTES)
    one, two, _ = regions
    # All of one time, as after a migration: the member decides.
    await one.sql(
        "INSERT INTO profiles (member, attributes, updated_at, changed_at) "
        "SELECT 'm' || n, '{}', now(), '2026-01-01' FROM generate_series(1, %s) AS n",
        2 * PAGE_ROWS + 5,
    )
    peer = await two.pull(one)
    assert [len(page.rows) for page in peer.pages()] == [PAGE_ROWS, PAGE_ROWS, 5]
    assert len(two.told) == 2 * PAGE_ROWS + 5
    assert await two.rows() == await one.rows()
    large = PAGE_BYTES // 3
    await one.sql(
        "UPDATE profiles SET name = repeat('x', %s), changed_at = clock_timestamp(), "
        "updated_at = clock_timestamp() WHERE member IN ('m1', 'm2', 'm3', 'm4')",
        large,
    )
    await one.sql(
        "UPDATE profiles SET name = repeat('x', %s), changed_at = clock_timestamp(), "
        "updated_at = clock_timestamp() WHERE member = 'm5'",
        2 * PAGE_BYTES,
    )
    peer = await two.pull(one)
    assert [len(page.rows) for page in peer.pages()] == [2, 2, 1]
    assert await two.rows() == await one.rows()


async def test_wrong_bodies_are_refused(regions: list[Place]) -> None:
    beside = regions[0].beside
    for answer in (beside.answer_keys, beside.answer_profiles):
        wrongs: list[Any] = [{"region": 5}, {"region": "us", "after": 7}, {"region": ""}, []]
        for wrong in wrongs:
            with pytest.raises(msgspec.ValidationError):
                await answer(msgspec.msgpack.encode(wrong))
        for body in (b"", b"\xc1"):
            with pytest.raises(msgspec.DecodeError):
                await answer(body)
    early = msgspec.msgpack.encode({"region": "us", "after": [-1, "x"]})
    with pytest.raises(msgspec.ValidationError, match="after"):
        await beside.answer_profiles(early)
    assert decode(await beside.answer_keys(encode(KeysRequest("us"))), KeysAnswer).keys == []
    page = decode(await beside.answer_profiles(encode(ProfilesRequest("us", START))), Page)
    assert (page.rows, page.after, page.resume, page.is_last) == ([], START, START, True)


def test_places_are_in_the_order_of_the_database() -> None:
    """`min` of two places is what PostgreSQL, which sorts bytes, would say."""
    places = sorted((1, text) for text in ("a", "é", "\uffff", "\U0001f600", "z", ""))
    for before, after in pairwise(places):
        assert before[1].encode() < after[1].encode()
    assert places[0] > START
