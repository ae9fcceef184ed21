"""Who is primary, and how another region becomes it, on real databases."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from fix_peers import NewWorld, World, eventually
from rankwire import _core
from rankwire.sync.regions.errors import FailoverError
from rankwire.sync.regions.peers import Peer

THREE = ("eu", "us", "ap")


def primaries(world: World) -> list[str | None]:
    return [node.regions.primary for node in world.nodes]


async def test_only_the_primary_names_boards(new_world: NewWorld) -> None:
    world = await new_world("eu", "us")
    await world.start()
    eu, us = world["eu"].node, world["us"].node
    assert eu.regions.may_name
    assert not us.regions.may_name
    assert us.regions.may_write
    assert us.regions.primary == "eu"
    assert us.regions.primary_url == us.regions.peers["eu"].url
    with pytest.raises(_core.NotPrimaryError, match="eu"):
        us.engine.create_board("b", "int64", "desc", "best", "first", False)
    await eu.create("b")
    await eventually(lambda: us.engine.stats()["boards"] == 1, "the board")
    await us.submit("b", "m", 1)
    await world.until_same()


async def test_in_mode_primary_nobody_else_commits(new_world: NewWorld) -> None:
    world = await new_world("eu", "us", mode="primary")
    await world.start()
    eu, us = world["eu"].node, world["us"].node
    await eu.create("b")
    await eventually(lambda: us.engine.stats()["boards"] == 1, "the board")
    assert not us.regions.may_write
    with pytest.raises(_core.NotPrimaryError):
        us.engine.submit("b", "m", 1)
    await eu.submit("b", "m", 1)
    await world.until_same()


async def test_primary_moves_and_comes_back_and_nothing_is_lost(new_world: NewWorld) -> None:
    world = await new_world(*THREE)
    await world.start()
    eu, us = world["eu"].node, world["us"].node
    await eu.create("b")
    for score in range(50):
        await eu.submit("b", "m", score)
    report = await us.regions.failover(force=False)
    assert (report.region, report.before, report.lost) == ("us", "eu", 0)
    assert report.epoch > 1
    # Nobody had to wait for a lease, as the old primary has promised.
    assert [step.what for step in report.steps] == [
        "3 of 3 regions answer",
        f"3 of 3 regions promise epoch {report.epoch}",
        "all that others have is here",
        "this region takes writes",
    ]
    assert us.scores("b") == {"m": 49}
    assert us.regions.may_name
    await us.create("c")
    await eventually(lambda: primaries(world) == ["us"] * 3, "a primary that all know")
    assert not eu.regions.may_name
    with pytest.raises(FailoverError, match="already"):
        await us.regions.failover(force=False)

    # Asked for at the region that has to hand over.
    await eventually(world.all_heard, "regions that hear of each other")
    back = await us.regions.failback()
    assert (back.region, back.before) == ("eu", "us")
    await eventually(lambda: eu.regions.may_name, "the primary of the settings")
    await eu.create("d")
    await world.until_same()
    with pytest.raises(FailoverError, match="already"):
        await world["ap"].node.regions.failback()


async def test_primary_that_is_cut_off_stops_before_another_one_begins(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody waits long for the region that is cut off.
    monkeypatch.setattr("rankwire.sync.regions.failover._REST_SECONDS", 0.1)
    world = await new_world(*THREE, lease_seconds=2.0)
    await world.start()
    eu, us = world["eu"].node, world["us"].node
    await eu.create("b")
    await world.until_same()
    world.part("eu")
    # It goes on for a while and counts the last board that it could name.
    last, named = monotonic(), 0
    failing = asyncio.create_task(us.regions.failover(force=False))
    while not failing.done():
        try:
            ticket = eu.engine.create_board(f"x{named}", "int64", "desc", "best", "first", False)
            reply = await eu.commit(ticket)
        except _core.NotPrimaryError as error:
            reply = error
        if not isinstance(reply, _core.RankwireError):
            named, last = named + 1, monotonic()
        await asyncio.sleep(0.05)
    report = await failing
    assert named > 0
    assert "every lease that there may have been is over" in [step.what for step in report.steps]
    opened = next(step for step in report.steps if step.what == "all that others have is here")
    began = monotonic() - report.steps[-1].after_ms / 1000
    assert last < began + opened.after_ms / 1000
    assert us.regions.may_name
    assert not eu.regions.may_name
    assert any("may not act as such" in each for each in eu.regions.degraded)
    # It learns of the new primary when it is back, and its boards come to all.
    world.cuts.clear()
    await eventually(lambda: primaries(world) == ["us"] * 3, "a primary that all know")
    await world.until_same()
    assert us.engine.stats()["boards"] == 1 + named


async def test_minority_takes_over_by_force_only(new_world: NewWorld) -> None:
    world = await new_world("eu", "us")
    await world.start()
    await world["eu"].node.create("b")
    await world.until_same()
    us = world["us"].node
    await world["eu"].node.stop()
    await world["eu"].close()
    with pytest.raises(FailoverError, match="1 of 2 regions answer, and 2 are needed"):
        await us.regions.failover(force=False)
    assert us.regions.status().epoch == 1
    report = await us.regions.failover(force=True)
    assert report.region == us.regions.primary == "us"
    await us.create("c")
    with pytest.raises(FailoverError, match="not handed over"):
        await us.regions.failback()
    # The old primary is told when it comes again, before it has named anything.
    await world["eu"].listen()
    eu = await world["eu"].add()
    await eventually(lambda: eu.regions.primary == "us", "an old primary that knows")
    assert not eu.regions.may_name
    await world.until_same()


async def test_one_of_three_that_was_forced_needs_no_lease_until_it_has_one(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody can answer.
    monkeypatch.setattr("rankwire.sync.regions.failover._PROMISE_SECONDS", 0.2)
    world = await new_world(*THREE, lease_seconds=1.5)
    await world.start()
    world.part("ap")
    ap = world["ap"].node
    await ap.regions.failover(force=True)
    assert ap.regions.may_name
    status = ap.regions.status()
    assert (status.is_primary, status.lease_ms) == (True, None)
    world.cuts.clear()
    await eventually(lambda: ap.regions.status().lease_ms is not None, "a lease")
    await eventually(lambda: primaries(world) == ["ap"] * 3, "a primary that all know")


async def test_promise_is_kept_by_the_database(new_world: NewWorld) -> None:
    world = await new_world("eu", "us")
    await world.start()
    eu = world["eu"].node
    await eu.create("b")
    # Sealed under the old primary, stored after the promise: the node does not know of it yet.
    ticket = eu.engine.create_board("c", "int64", "desc", "best", "first", False)
    assert eu.journal.promise(7, "us")
    reply = await eu.commit(ticket)
    assert isinstance(reply, _core.NotPrimaryError)
    assert "us" in reply.args[0]
    await eventually(lambda: primaries(world) == ["us"] * 2, "a primary that all know")
    assert not eu.journal.promise(6, "eu")


async def test_two_coordinators_never_both_win(new_world: NewWorld) -> None:
    world = await new_world(*THREE)
    await world.start()
    results = await asyncio.gather(
        *(world[name].node.regions.failover(force=False) for name in ("us", "ap")),
        return_exceptions=True,
    )
    assert all(
        not isinstance(each, Exception) or isinstance(each, FailoverError) for each in results
    )
    await eventually(lambda: len(set(primaries(world))) == 1, "one primary")
    acting = [node.regions.name for node in world.nodes if node.regions.may_name]
    assert len(acting) <= 1


async def test_operator_takes_a_region_out_and_in(new_world: NewWorld) -> None:
    world = await new_world("eu", "us")
    await world.start()
    eu = world["eu"].node
    other = await world["eu"].add()
    await eu.regions.set_out("maintenance")
    assert eu.regions.out_reason == eu.regions.status().out_reason == "maintenance"
    await eventually(lambda: other.regions.out_reason == "maintenance", "the other node")
    assert eu.regions.figures()["is_out"] == 1
    await eu.regions.set_out(None)
    assert eu.regions.out_reason is None


async def test_region_that_did_not_answer_is_asked_for_no_promise(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would cost the same time once more."""
    world = await new_world(*THREE)
    await world.start()
    asked = []
    post = Peer.post

    async def note(peer: Peer, name: str, body: bytes, seconds: float) -> bytes:
        if name == "promise":
            asked.append(peer.name)
        return await post(peer, name, body, seconds)

    monkeypatch.setattr(Peer, "post", note)
    world.part("eu")
    await world["us"].node.regions.failover(force=False)
    assert sorted(asked) == ["ap", "ap", "eu"]
