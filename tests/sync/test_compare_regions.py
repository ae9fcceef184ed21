"""Regions that should hold the same find out on what they do not, also while others write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from fix_compared import (
    POLICIES,
    Journal,
    Region,
    assert_same,
    changed,
    counts,
    digests,
    filled,
    signed,
    states_of,
    verified,
)
from rankwire.sync.regions import compare
from rankwire.sync.regions import settle as settling
from rankwire.sync.regions.compare import Counted
from rankwire.sync.regions.compare_wire import (
    StatesAnswer,
    StatesRequest,
)
from rankwire.sync.regions.settle import settle


@pytest.fixture
def eu() -> Region:
    return Region.new("eu", 1, Journal())


# Comparing.


async def test_equal_regions_exchange_one_question(eu: Region) -> None:
    filled(eu)
    us = eu.copy("us", 2, {})
    report = await verified(eu, us)
    assert report.is_equal
    assert counts(report) == (0, 0, 0, 0)
    (peer,) = report.peers
    assert (peer.rounds, us.calls) == (1, 1)
    assert (peer.boards_compared, peer.members_compared) == (1, 491)
    assert 0 < peer.bytes_sent + peer.bytes_received < 200


@pytest.mark.parametrize("ties", ["first", "last", "member"])
@pytest.mark.parametrize("policy", POLICIES)
async def test_exactly_what_was_damaged_is_found_and_repaired(
    eu: Region, policy: str, ties: str
) -> None:
    filled(eu, policy, ties)
    damage = changed(
        m1=None,  # a lost row
        m2=(-5, 9, 0),  # another score
        ghost=(-3, 9, 0),  # a member that nobody entered
        m100=None,  # a removal that was lost
        m150=(-2, 7, 0),  # with the score that was removed
        m200=(None, None, 4),  # a removal too many
        m50=(-4, 6, 0),  # a member that came back after it
    )
    us = eu.copy("us", 2, {"b": damage})
    found = await verified(eu, us, repair=False)
    assert counts(found) == (7, 0, 0, 0)
    assert digests(eu, us)[0] != digests(eu, us)[1]
    (board,) = found.peers[0].boards
    assert (board.board, counts(board)) == ("b", (7, 0, 0, 0))
    samples = {sample.member: sample for sample in board.samples}
    assert set(samples) == {"m1", "m2", "ghost", "m100", "m150", "m200", "m50"}
    assert (samples["m1"].here.score, samples["m1"].there.score) == (1, None)
    assert samples["m200"].there.removals == 4

    repaired = await verified(eu, us)
    assert counts(repaired) == (7, 7, 0, 0)
    assert repaired.is_equal
    assert_same(eu, us)
    again = await verified(us, eu)
    assert counts(again) == (0, 0, 0, 0)


async def test_a_merge_keeps_the_better_of_two(eu: Region) -> None:
    eu.create("best")
    eu.create("last", "last")
    for board in ("best", "last"):
        eu.submit(board, {"ann": 5, "bob": 5}, at_ms=1_000)
    # A smaller code is a better score where the highest one leads.
    (code, stamp), *_ = states_of(eu, "best", "ann")
    better, worse = signed(code - 1), signed(code + 1)
    us = eu.copy(
        "us",
        2,
        {
            "best": changed(ann=(better, stamp, 0), bob=(worse, stamp, 0)),
            "last": changed(ann=(worse, stamp + 1, 0), bob=(better, stamp - 1, 0)),
        },
    )
    report = await verified(eu, us)
    assert counts(report) == (4, 4, 0, 0)
    assert eu.shown("best") == us.shown("best") == {"ann": 6, "bob": 5}
    assert eu.shown("last") == us.shown("last") == {"ann": 4, "bob": 5}


async def test_a_board_that_one_region_lacks_is_told_and_not_made(eu: Region) -> None:
    eu.create("a")
    eu.create("b")
    eu.submit("b", {"ann": 1})
    us = eu.copy("us", 2, {"b": None})
    for here, there in ((eu, us), (us, eu)):
        report = await verified(here, there)
        assert counts(report) == (1, 0, 1, 0)
        (board,) = report.peers[0].boards
        assert (board.board, board.missing_in) == ("b", "us")
        assert not report.is_equal


async def test_a_board_that_is_on_its_way_is_not_told(
    eu: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    us = Region.new("us", 2, eu.journal)
    us.reads_journal = False
    eu.create("a")
    impatient(monkeypatch)
    for here, there in ((us, eu), (eu, us)):
        report = await verified(here, there)
        assert counts(report) == (0, 0, 0, 1)
        (board,) = report.peers[0].boards
        assert board.missing_in is None


async def test_chosen_boards_are_compared_alone(eu: Region) -> None:
    eu.create("a")
    eu.create("b")
    for board in ("a", "b"):
        eu.submit(board, {"ann": 1})
    us = eu.copy("us", 2, {"a": changed(ann=None), "b": changed(ann=None)})
    report = await verified(eu, us, boards=[eu.engine.board_id("b")])
    assert counts(report) == (1, 1, 0, 0)
    assert us.shown("b") == {"ann": 1}
    assert us.shown("a") == {}


async def test_many_boards_share_the_rounds(eu: Region) -> None:
    names = [f"b{i}" for i in range(40)]
    for name in names:
        eu.create(name)
        eu.submit(name, {f"m{i}": i for i in range(40)})
    us = eu.copy("us", 2, {name: changed(m7=None) for name in names})
    peer = Counted(us)
    found = await compare.find(eu.engine, peer)
    assert {len(members) for members in found.members.values()} == {1}
    assert len(found.members) == 40
    # One for all boards, and one for each level of the highest of them.
    assert peer.rounds <= 6


async def test_comparing_stops_at_the_limit(eu: Region) -> None:
    filled(eu)
    us = eu.copy("us", 2, {"b": lambda rows: rows[:100]})
    found = await compare.find(eu.engine, Counted(us), limit=50)
    assert found.is_stopped
    assert sum(map(len, found.members.values())) == 50


# Writes meanwhile.


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nothing that will not come."""
    monkeypatch.setattr(settling, "_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(settling, "_PAUSE_SECONDS", 0.001)


@asynccontextmanager
async def busy(*regions: Region, board: str) -> AsyncIterator[None]:
    """Write everywhere, and let everything arrive late."""
    stopping = asyncio.Event()

    async def write(region: Region) -> None:
        round_ = 0
        while not stopping.is_set():
            round_ += 1
            scores = {f"m{(round_ * 7 + i * 13) % 300}": 100 + round_ + i for i in range(5)}
            region.submit(board, scores)
            if round_ % 5 == 0:
                ticket = region.engine.remove_member(board, f"m{round_ % 300}")
                region.commit()[ticket]
            await asyncio.sleep(0.002)
            if round_ % 3 == 0:
                region.pull()

    tasks = [asyncio.create_task(write(region)) for region in regions]
    try:
        yield
    finally:
        stopping.set()
        await asyncio.gather(*tasks)


@pytest.mark.parametrize("policy", POLICIES)
async def test_writes_meanwhile_are_never_taken_for_differences(eu: Region, policy: str) -> None:
    filled(eu, policy)
    us = eu.copy("us", 2, {})
    async with busy(eu, us, board="b"):
        candidates = 0
        while candidates < 100:
            found = await compare.find(eu.engine, Counted(us))
            candidates += sum(map(len, found.members.values()))
            report = await verified(eu, us)
            assert report.found == 0
    assert_same(eu, us)


async def test_damage_is_found_and_repaired_while_others_write(eu: Region) -> None:
    filled(eu)
    us = eu.copy("us", 2, {"b": changed(m301=None, m402=None, m450=None)})
    async with busy(eu, us, board="b"):
        report = await verified(eu, us)
        assert (report.found, report.resolved, report.failed) == (3, 3, 0)
    assert_same(eu, us)


async def test_what_never_stands_still_is_unsettled(
    eu: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch)
    filled(eu)
    us = eu.copy("us", 2, {"b": changed(m1=None)})
    us.reads_journal = False
    eu.submit("b", {"m2": 99})
    settled = await settle(eu.local, Counted(us), eu.engine.board_id("b"), ["m1", "m2", "m3"])
    # Without the last batch nobody knows what the other region would hold.
    assert settled.differing == {}
    assert settled.unsettled == ["m1", "m2"]


async def test_a_region_that_is_asked_waits_for_what_the_other_one_has(eu: Region) -> None:
    us = Region.new("us", 2, eu.journal)
    eu.create("b")
    eu.submit("b", {"ann": 1})
    request = StatesRequest(eu.engine.board_id("b"), ["ann"], eu.engine.vector(), 5_000)
    asked = asyncio.ensure_future(us.handlers["states"](msgspec.msgpack.encode(request)))
    await asyncio.sleep(0.05)
    assert not asked.done()
    us.pull()
    answer = msgspec.msgpack.decode(await asked, type=StatesAnswer)
    assert answer.vector == eu.engine.vector()
    assert (answer.name, len(answer.states or [])) == ("b", 1)
