"""Levels, sessions and bounded reads, on regions with real databases."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from time import monotonic

import pytest
from msgspec.structs import replace

from fix_peers import NewWorld, Node, World, eventually
from fix_server import PATIENCE_SECONDS
from fix_worlds import on_one_loop
from rankwire import _core
from rankwire.sync.regions import wire
from rankwire.sync.regions.errors import NotThereYetError, TooStaleError
from rankwire.sync.regions.levels import Outcome, parse
from rankwire.sync.regions.sessions import decode_token, encode_token
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


async def sync(
    node: Node, level: str, timeout_ms: int = 20_000, outcome: Outcome = "new"
) -> SyncResult:
    return await node.regions.sync_score_update(parse(level), timeout_ms, outcome)


async def fresh_since(node: Node, moment: float) -> None:
    """Read with a bound such that what was committed anywhere before a moment has to be there.

    The bound grows with time, so on a slow machine it is wider.
    """
    while monotonic() - moment < PATIENCE_SECONDS:
        with suppress(TooStaleError):
            await node.regions.wait_fresh(int((monotonic() - moment) * 1000), 100)
            return
    pytest.fail("nothing is fresh enough")


@on_one_loop
async def test_update_is_answered_when_as_many_regions_have_it_as_were_asked_for(
    world: World,
) -> None:
    b = await world.board()
    node = world["us"].node
    before = dict(node.regions.ack_counts())
    await node.submit(b, "m", 1)
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
    await node.submit(b, "m", 2)
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
    counts = node.regions.ack_counts()
    for each in (("all", "reached"), ("quorum", "reached"), ("all", "pending")):
        assert counts[each] == before.get(each, 0) + 1


@on_one_loop
async def test_update_that_no_other_region_has_is_local(world: World) -> None:
    b = await world.board()
    node = world["us"].node
    world.part("us")
    await node.submit(b, "m", 3)
    assert (await sync(node, "any(2)", 300)).achieved == "local"
    local = await sync(node, "local", 0)
    assert (local.achieved, local.is_reached) == ("local", True)
    assert local.consistency.worst_lag_ms is None


@on_one_loop
async def test_region_that_refuses_to_be_asked_is_an_error_and_not_an_acknowledgement(
    world: World,
) -> None:
    b = await world.board()
    world.secret = "another"
    await world["eu"].node.submit(b, "m", 1)
    began = monotonic()
    result = await sync(world["eu"].node, "all", 100)
    while told(result) != {"us": "error", "ap": "error"}:
        assert monotonic() - began < PATIENCE_SECONDS
        result = await sync(world["eu"].node, "all", 100)
    assert result.achieved == "local"
    assert all("refuses" in (row.error or "") for row in result.regions)


@on_one_loop
async def test_many_writers_cost_few_questions(world: World) -> None:
    b = await world.board()
    node = world["eu"].node
    world.delays[("eu", "us")] = 0.1
    acks = node.regions.acks["us"]
    before = acks.asked
    await node.submit(b, "m", 1)
    results = await asyncio.gather(*(sync(node, "all") for _ in range(200)))
    assert all(result.is_reached for result in results)
    assert acks.asked - before <= 10
    assert acks.waiting == 0


@on_one_loop
async def test_what_a_region_lacks_for_long_holds_up_nobody_else(world: World) -> None:
    b = await world.board()
    node = world["eu"].node
    acks = node.regions.acks["us"]
    # Batches that never come, of more runs than there are questions in a second.
    others = [acks.add(origin, 1) for origin in range(1, 500)]
    asked = acks.asked
    await node.submit(b, "m", 1)
    assert (await sync(node, "all")).achieved == "all"
    assert acks.asked - asked <= 5
    for waiter in others:
        assert not waiter.done.done()
        acks.leave(waiter)


async def test_new_region_answers_no_session_before_it_was_level_with_all(
    new_world: NewWorld,
) -> None:
    world = await started(new_world, *THREE)
    eu = world["eu"].node
    await eu.submit("b", "m", 1)
    await world.until_same()
    ap = world["ap"]
    await ap.node.stop()
    # All that there is, all regions have: a token says nothing.
    token = encode_token({})
    await world["us"].node.regions.wait_session(token, 20_000)
    world.part("ap")
    # The region is made anew.
    ap.renew()
    node = await ap.add()
    with pytest.raises(NotThereYetError, match="does not know"):
        await node.regions.wait_session(token, 200)
    world.cuts.clear()
    await node.regions.wait_session(token, 20_000)
    assert node.scores("b") == {"m": 1}


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
    assert not (await sync(node, "all", 300, outcome="repeat")).is_reached
    world.cuts.clear()
    assert (await sync(node, "all", outcome="repeat")).is_reached
    assert world["us"].database.sql("SELECT count(*) FROM journal") == [(2,)]


@on_one_loop
async def test_repeat_at_a_node_that_does_not_know_the_write_proves_nothing_by_what_it_has(
    world: World,
) -> None:
    b = await world.board()
    one, us = world["eu"].node, world["us"].node
    two = await world["eu"].add()
    world.part("eu")
    # It hears of nothing any more, and answers from what the database knows.
    await asyncio.to_thread(two.region.stop)
    assert not isinstance(await one.submit(b, "m", 5, ("client", "k")), _core.Repeat)
    assert isinstance(await two.submit(b, "m", 5, ("client", "k")), _core.Repeat)
    result = await sync(two, "all", 0, "repeat")
    assert (result.achieved, result.primary.position) == ("local", None)
    assert two.scores(b) == us.scores(b) == {}
    token = await two.regions.token("new", is_repeat=True)
    for node in (two, us):
        with pytest.raises(NotThereYetError):
            await node.regions.wait_session(token, 0)
    world.cuts.clear()
    await us.regions.wait_session(token, 20_000)
    assert us.scores(b) == {"m": 5}
    assert (await sync(two, "all", outcome="repeat")).achieved == "all"


@on_one_loop
async def test_write_that_changes_nothing_waits_for_what_it_has_found(world: World) -> None:
    b = await world.board()
    one, two = world["eu"].node, await world["eu"].add()
    world.part("us")
    await one.submit(b, "m", 12)
    await eventually(lambda: two.scores(b) == {"m": 12}, "the better score")
    # Whoever is told that it is there relies on the other node's batch.
    assert not json.loads(await two.submit(b, "m", 10))["changed"]
    assert (await sync(two, "all", 0, "same")).achieved == "local"
    world.cuts.clear()
    assert (await sync(two, "all", outcome="same")).achieved == "all"
    assert world["us"].node.scores(b) == {"m": 12}


@on_one_loop
async def test_address_that_leads_elsewhere_acknowledges_nothing(world: World) -> None:
    b = await world.board()
    node = world["eu"].node

    def garble(what: str, body: bytes) -> bytes:
        if what != "await":
            return body
        return wire.encode(replace(wire.decode(body, wire.AwaitAnswer), region="eu"))

    world.garbles[("eu", "us")] = garble
    await node.submit(b, "m", 1)
    waiting = asyncio.create_task(sync(node, "all", 60_000))
    await eventually(lambda: node.regions.acks["us"].trouble is not None, "a trouble")
    assert "leads to region 'eu'" in (node.regions.acks["us"].trouble or "")
    assert not waiting.done()
    world.garbles.clear()
    assert (await waiting).achieved == "all"


@on_one_loop
async def test_session_has_seen_what_a_read_showed_before_the_follower_noted_it(
    world: World,
) -> None:
    b = await world.board()
    eu, us = world["eu"].node, await world["us"].add()
    await asyncio.to_thread(us.region.stop)
    await eu.submit(b, "m", 7)
    origin, number = eu.engine.origin, eu.engine.last()
    rows = world["eu"].database.sql(
        "SELECT batch FROM journal WHERE origin = %s AND number = %s", origin, number
    )
    # As the follower does, which takes note of it after that.
    us.engine.apply([(origin, number, bytes(rows[0][0]))], False)
    assert us.scores(b) == {"m": 7}
    assert us.region.number_of(origin) < number
    assert decode_token(await us.regions.token("new"))[origin] == number


@on_one_loop
async def test_session_sees_in_every_region_what_it_has_written(world: World) -> None:
    b = await world.board()
    eu, us = world["eu"].node, world["us"].node
    token = await eu.regions.token("new")
    for score in range(10):
        await eu.submit(b, "m", score)
        token = await eu.regions.token(token)
        await us.regions.wait_session(token, 20_000)
        assert us.scores(b) == {"m": score}
    world.part("us")
    await eu.submit(b, "m", 99)
    late = await eu.regions.token(token)
    with pytest.raises(NotThereYetError, match="lacks what the session has seen of 1 runs"):
        await us.regions.wait_session(late, 200)
    # Who has seen less is not held up, and the token never forgets.
    await us.regions.wait_session(token, 20_000)
    with pytest.raises(NotThereYetError):
        await us.regions.wait_session(await us.regions.token(late), 200)
    world.cuts.clear()
    await us.regions.wait_session(late, 20_000)
    assert us.scores(b) == {"m": 99}
    settled = us.regions._state.settled  # noqa: SLF001 - how long a token is, is seen nowhere else
    await eventually(
        lambda: all(settled.vector().get(o, 0) >= n for o, n in decode_token(late).items()),
        "what all have, and nobody has to remember",
    )
    assert await us.regions.token(late) == await us.regions.token("new")


@on_one_loop
async def test_session_is_not_answered_by_a_node_that_may_be_far_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    us = world["us"].node
    token = await world["eu"].node.regions.token("new")
    await us.regions.wait_session(token, 20_000)
    monkeypatch.setattr("rankwire.sync.regions.sessions.SETTLED_SECONDS", 0.0)
    with pytest.raises(NotThereYetError, match="does not know"):
        await us.regions.wait_session(token, 100)


@on_one_loop
async def test_bounded_read_waits_until_it_is_fresh_enough_or_says_how_old_it_is(
    world: World,
) -> None:
    b = await world.board()
    eu, us = world["eu"].node, world["us"].node
    await eu.submit(b, "m", 1)
    await fresh_since(us, monotonic())
    assert us.scores(b) == {"m": 1}
    world.part("us")
    await eu.submit(b, "m", 2)
    await asyncio.sleep(0.3)
    refusals = us.regions.figures()["bounded_refusals_total"]
    assert refusals is not None
    with pytest.raises(TooStaleError, match="ms old, more than 200 ms"):
        await us.regions.wait_fresh(200, 100)
    assert us.regions.figures()["bounded_refusals_total"] == refusals + 1
    assert await us.regions.wait_fresh(3_600_000, 0) > 200
    assert us.scores(b) == {"m": 1}
    world.cuts.clear()
    await fresh_since(us, monotonic())
    assert us.scores(b) == {"m": 2}


async def test_age_that_is_not_known_is_not_young(new_world: NewWorld) -> None:
    world = await new_world("eu", "us")
    world.part("eu")
    node = await world["eu"].add()
    with pytest.raises(TooStaleError, match="not known"):
        await node.regions.wait_fresh(3_600_000, 300)
