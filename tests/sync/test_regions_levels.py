"""Levels, sessions and bounded reads, on regions with real databases."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from fix_peers import NewWorld, Node, World, eventually
from rankwire.sync.regions.errors import NotThereYetError, TooStaleError
from rankwire.sync.regions.levels import parse
from rankwire.sync.regions.status import SyncResult

THREE = ("eu", "us", "ap")


async def started(new_world: NewWorld, *names: str) -> World:
    world = await new_world(*names)
    await world.start()
    await world["eu"].node.create("b")
    await eventually(lambda: all(n.engine.stats()["boards"] for n in world.nodes), "the board")
    return world


def told(result: SyncResult) -> dict[str, str]:
    return {row.region: row.status for row in result.regions}


async def sync(node: Node, level: str, timeout_ms: int = 20_000, **more: bool) -> SyncResult:
    return await node.regions.sync_score_update(parse(level), timeout_ms, **more)


async def test_update_is_answered_when_as_many_regions_have_it_as_were_asked_for(
    new_world: NewWorld,
) -> None:
    world = await started(new_world, *THREE)
    node = world["us"].node
    await node.submit("b", "m", 1)
    result = await sync(node, "all")
    assert (result.requested, result.achieved, result.is_reached) == ("all", "all", True)
    assert told(result) == {"eu": "acknowledged", "ap": "acknowledged"}
    assert result.consistency.fraction == 1
    assert result.consistency.worst_lag_ms == max(row.after_ms or 0 for row in result.regions)
    assert result.primary.region == "us"
    assert result.primary.position == f"{node.engine.origin}:{node.engine.last()}"
    for place in (world["eu"], world["ap"]):
        rows = place.database.sql(
            "SELECT max(number) FROM journal WHERE origin = %s", node.engine.origin
        )
        assert rows == [(node.engine.last(),)]

    # One that cannot be reached: enough for most, not for all.
    world.part("ap")
    await node.submit("b", "m", 2)
    most = await sync(node, "quorum")
    assert (most.achieved, most.is_reached) == ("quorum", True)
    assert told(most) == {"eu": "acknowledged", "ap": "pending"}
    assert most.consistency.fraction == pytest.approx(2 / 3)
    began = monotonic()
    every = await sync(node, "all", 300)
    assert monotonic() - began >= 0.3
    assert (every.achieved, every.is_reached) == ("quorum", False)
    assert every.consistency.worst_lag_ms is not None
    assert every.consistency.worst_lag_ms >= 300
    assert node.regions.ack_counts() == {
        ("all", "reached"): 1,
        ("quorum", "reached"): 1,
        ("all", "pending"): 1,
    }


async def test_update_that_no_other_region_has_is_local(new_world: NewWorld) -> None:
    world = await started(new_world, *THREE)
    node = world["us"].node
    world.part("us")
    await node.submit("b", "m", 3)
    assert (await sync(node, "any(2)", 300)).achieved == "local"
    local = await sync(node, "local", 0)
    assert (local.achieved, local.is_reached) == ("local", True)
    assert local.consistency.worst_lag_ms is None


async def test_region_that_refuses_to_be_asked_is_an_error_and_not_an_acknowledgement(
    new_world: NewWorld,
) -> None:
    world = await started(new_world, "eu", "us")
    world.secret = "another"
    await world["eu"].node.submit("b", "m", 1)
    acks = world["eu"].node.regions.acks["us"]
    await sync(world["eu"].node, "all", 300)
    await eventually(lambda: acks.trouble is not None, "a refusal")
    result = await sync(world["eu"].node, "all", 300)
    assert (result.achieved, told(result)) == ("local", {"us": "error"})
    assert "refuses" in (result.regions[0].error or "")


async def test_many_writers_cost_few_questions(new_world: NewWorld) -> None:
    world = await started(new_world, "eu", "us")
    node = world["eu"].node
    world.delays[("eu", "us")] = 0.1
    acks = node.regions.acks["us"]
    before = acks.asked
    await node.submit("b", "m", 1)
    results = await asyncio.gather(*(sync(node, "all") for _ in range(200)))
    assert all(result.is_reached for result in results)
    assert acks.asked - before <= 10
    assert acks.waiting == 0


async def test_repeat_waits_for_what_other_runs_of_the_node_have_written(
    new_world: NewWorld,
) -> None:
    world = await started(new_world, "eu", "us")
    world.part("us")
    await world["eu"].node.submit("b", "m", 7)
    await world["eu"].node.stop()
    node = await world["eu"].add()
    assert node.scores("b") == {"m": 7}
    # This run has written nothing, so only the vector tells that the other region lacks it.
    assert not (await sync(node, "all", 300, is_repeat=True)).is_reached
    world.cuts.clear()
    assert (await sync(node, "all", is_repeat=True)).is_reached
    assert world["us"].database.sql("SELECT count(*) FROM journal") == [(2,)]


async def test_session_sees_in_every_region_what_it_has_written(new_world: NewWorld) -> None:
    world = await started(new_world, "eu", "us")
    eu, us = world["eu"].node, world["us"].node
    token = eu.regions.token("new")
    for score in range(10):
        await eu.submit("b", "m", score)
        token = eu.regions.token(token)
        await us.regions.wait_session(token, 20_000)
        assert us.scores("b") == {"m": score}
    world.part("us")
    await eu.submit("b", "m", 99)
    late = eu.regions.token(token)
    with pytest.raises(NotThereYetError, match="lacks what the session has seen of 1 runs"):
        await us.regions.wait_session(late, 200)
    # Who has seen less is not held up, and the token never forgets.
    await us.regions.wait_session(token, 200)
    with pytest.raises(NotThereYetError):
        await us.regions.wait_session(us.regions.token(late), 200)
    world.cuts.clear()
    await us.regions.wait_session(late, 20_000)
    assert us.scores("b") == {"m": 99}
    await eventually(lambda: us.regions.token(late) == us.regions.token("new"), "a short token")


async def test_session_is_not_answered_by_a_node_that_may_be_far_behind(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await started(new_world, "eu", "us")
    us = world["us"].node
    token = world["eu"].node.regions.token("new")
    await us.regions.wait_session(token, 20_000)
    monkeypatch.setattr("rankwire.sync.regions.sessions.SETTLED_SECONDS", 0.0)
    with pytest.raises(NotThereYetError, match="does not know"):
        await us.regions.wait_session(token, 100)


async def test_bounded_read_waits_until_it_is_fresh_enough_or_says_how_old_it_is(
    new_world: NewWorld,
) -> None:
    world = await started(new_world, "eu", "us")
    eu, us = world["eu"].node, world["us"].node
    await eu.submit("b", "m", 1)
    written = monotonic()
    await asyncio.sleep(2.0)
    # What was written longer ago than that is there.
    assert await us.regions.wait_fresh(int((monotonic() - written) * 1000), 20_000) < 30_000
    assert us.scores("b") == {"m": 1}
    world.part("us")
    await asyncio.sleep(1.5)
    with pytest.raises(TooStaleError, match="ms old, more than 1000 ms"):
        await us.regions.wait_fresh(1000, 300)
    assert await us.regions.wait_fresh(60_000, 0) >= 1000
    world.cuts.clear()
    assert await us.regions.wait_fresh(2000, 20_000) <= 2000
    figures = us.regions.figures()
    assert figures["bounded_refusals_total"] == 1


async def test_age_that_is_not_known_is_not_young(new_world: NewWorld) -> None:
    world = await new_world("eu", "us")
    world.part("eu")
    node = await world["eu"].add()
    with pytest.raises(TooStaleError, match="not known"):
        await node.regions.wait_fresh(3_600_000, 300)
