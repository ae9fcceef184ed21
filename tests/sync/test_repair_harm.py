"""A repair never makes things worse: late regions, damaged nodes, nodes that repair at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fix_compared import (
    Journal,
    Region,
    assert_same,
    changed,
    counts,
    pulling,
    signed,
    states_of,
    verified,
)
from fix_server import until
from rankwire import _core
from rankwire.sync.regions import settle
from rankwire.sync.regions.compare_wire import (
    Repair,
    RepairRequest,
    State,
)


@pytest.fixture
def eu() -> Region:
    return Region.new("eu", 1, Journal())


@pytest.mark.parametrize("needs_majority", [False, True])
async def test_a_region_that_is_late_has_no_vote(
    eu: Region, needs_majority: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the same as one that has lost what it has not heard of yet."""
    eu.create("b", "sum")
    eu.submit("b", {"ann": 10})
    ap = eu.copy("ap", 3, {})
    ((code, stamp),) = states_of(eu, "b", "ann")
    eu.submit("b", {"ann": 5})
    us = eu.copy("us", 2, {"b": changed(ann=(signed(code), stamp, 0))})
    ap.reads_journal = False
    batches = len(eu.journal.batches)
    with monkeypatch.context() as hurried:
        # What would be waited for does not come.
        hurried.setattr(settle, "_LOOKS", 1)
        hurried.setattr(settle, "_WAIT_SECONDS", 0.1)
        report = await verified(us, eu, ap, primary="us", needs_majority=needs_majority)
    assert counts(report.peers[0]) == (1, 0, 1, 0)
    assert "not certain what ap holds" in report.peers[0].boards[0].samples[0].outcome
    assert len(eu.journal.batches) == batches
    # When it has come, it tells who has lost something.
    ap.reads_journal = True
    report = await verified(us, eu, ap, primary="us", needs_majority=needs_majority)
    assert counts(report) == (1, 1, 0, 0)
    assert_same(eu, us, ap)
    assert eu.shown("b") == us.shown("b") == ap.shown("b") == {"ann": 15}


async def test_a_member_that_never_stands_still_has_no_vote(
    eu: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unsettled is not the same, whatever was seen of it first."""
    monkeypatch.setattr(settle, "_PAUSE_SECONDS", 0.0)
    eu.create("b", "sum")
    eu.submit("b", {"ann": 10, "bob": 20})
    (ann, bob) = states_of(eu, "b", "ann", "bob")
    wrong = changed(ann=(signed(ann[0] - 1), ann[1], 0), bob=(signed(bob[0] - 1), bob[1], 0))
    us, ap = eu.copy("us", 2, {"b": wrong}), eu.copy("ap", 3, {})
    answer = ap.handlers["states"]

    async def move_ann(body: bytes) -> bytes:
        eu.submit("b", {"ann": 1})
        return await answer(body)

    ap.handlers["states"] = move_ann
    report = await verified(eu, us, ap, needs_majority=True)
    outcomes = {each.member: each.outcome for each in report.peers[0].boards[0].samples}
    assert outcomes["bob"] == "resolved"
    assert "not certain what ap holds" in outcomes["ann"]
    assert us.shown("b")["bob"] == 20


async def test_two_nodes_of_a_region_write_one_difference_once(eu: Region) -> None:
    """The one that has not heard of the other's repair yet waits until it has."""
    eu.create("b", "sum")
    eu.submit("b", {"ann": 10})
    ((code, stamp),) = states_of(eu, "b", "ann")
    eu.submit("b", {"ann": 5})
    lost = changed(ann=(signed(code), stamp, 0))
    one, two = eu.copy("us", 2, {"b": lost}), eu.copy("us", 4, {"b": lost})
    one.pull()
    two.pull()
    (true,), (seen,) = states_of(eu, "b", "ann"), states_of(one, "b", "ann")
    item = Repair("ann", State(0, *seen), State(0, *true))
    request = RepairRequest(eu.engine.board_id("b"), "b", [item])
    async with pulling(two):
        answers = await asyncio.gather(one.local.repair(request), two.local.repair(request))
    assert sorted(answer.repaired for answer in answers) == [0, 1]
    one.pull()
    assert one.shown("b") == two.shown("b") == eu.shown("b") == {"ann": 15}


@pytest.mark.parametrize("policy", ["best", "last", "sum"])
@pytest.mark.parametrize("asks_bad", [False, True])
async def test_a_node_with_damaged_memory_spoils_nothing(
    eu: Region, policy: str, asks_bad: bool
) -> None:
    """Its database is right, and so are the region's other nodes."""
    eu.create("b", policy)
    eu.submit("b", {"ann": 10})
    ((code, stamp),) = states_of(eu, "b", "ann")
    # It looks better and later than the truth.
    bad = eu.copy("us", 2, {"b": changed(ann=(signed(code - 3), stamp + 9, 0))})
    good = eu.copy("us", 4, {})
    bad.database = good
    batches = len(eu.journal.batches)
    here, there = (bad, eu) if asks_bad else (eu, bad)
    # Whoever is primary.
    report = await verified(here, there, primary="us")
    assert counts(report) == (1, 0, 1, 0)
    assert "start the nodes of both again" in report.peers[0].boards[0].samples[0].outcome
    assert len(eu.journal.batches) == batches
    assert eu.shown("b") == good.shown("b") == {"ann": 10}


async def test_a_node_that_is_behind_its_region_repairs_nothing(
    eu: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rankwire.sync.regions.local._LEVEL_SECONDS", 0.0)
    eu.create("b", "sum")
    eu.submit("b", {"ann": 10})
    behind = eu.copy("eu", 4, {})
    eu.submit("b", {"bob": 1})
    (seen,) = states_of(behind, "b", "ann")
    item = Repair("ann", State(0, *seen), State(0, seen[0] - 1, seen[1]))
    with pytest.raises(_core.BusyError, match="behind its region"):
        await behind.local.repair(RepairRequest(eu.engine.board_id("b"), "b", [item]))
    assert behind.shown("b") == {"ann": 10}


async def test_a_turn_lasts_until_it_is_known_what_became_of_the_batch(eu: Region) -> None:
    eu.create("b", "sum")
    eu.submit("b", {"ann": 10})
    (seen,) = states_of(eu, "b", "ann")
    item = Repair("ann", State(0, *seen), State(0, seen[0] - 1, seen[1]))
    request = RepairRequest(eu.engine.board_id("b"), "b", [item])
    reply, failed = eu.reply, asyncio.Event()

    def fail(_: int) -> asyncio.Future[Any]:
        eu.trouble = "the database is away"
        failed.set()
        future = asyncio.get_running_loop().create_future()
        future.set_exception(_core.UnavailableError(eu.trouble, None, None))
        return future

    eu.reply = fail  # type: ignore[assignment, method-assign]
    doubtful = asyncio.create_task(eu.local.repair(request))
    await failed.wait()
    # Nobody waits for it any more.
    doubtful.cancel()
    turn = eu.journal.turns["eu"]
    await asyncio.sleep(0.05)
    assert turn.locked()
    eu.trouble = None
    await asyncio.to_thread(until, lambda: not turn.locked(), "the end of the turn")
    # It was stored.
    eu.commit()
    eu.reply = reply  # type: ignore[method-assign]
    assert (await eu.local.repair(request)).repaired == 0
    assert eu.shown("b") == {"ann": 11}
