"""Regions that pull each other, on real databases."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec
import pytest

from fix_peers import SECRET, Garble, NewWorld, Node, World, eventually
from fix_redis import RedisServer
from fix_server import PATIENCE_SECONDS
from fix_worlds import on_one_loop
from rankwire.sync.regions.wire import PullAnswer, decode, encode

THREE = ("eu", "us", "ap")


def forget_soon(patch: pytest.MonkeyPatch) -> None:
    """Take a region that is silent for one.

    Not so soon that one is which has nothing to tell: that one answers after half a second.
    """
    patch.setattr("rankwire.sync.regions.puller.HEARD_SECONDS", 1.5)
    patch.setattr("rankwire.sync.regions.views.HEARD_SECONDS", 1.5)


async def board_everywhere(world: World, policy: str = "best") -> None:
    await world["eu"].node.create("b", policy)
    await eventually(lambda: all(n.engine.stats()["boards"] for n in world.nodes), "the board")


async def write_anything(node: Node, rng: random.Random, writes: int, board: str = "b") -> None:
    for _ in range(writes):
        await node.submit(board, f"m{rng.randrange(9)}", rng.randrange(1000))


def dropped(world: World) -> int:
    figures = [link for node in world.nodes for link in node.regions.link_figures().values()]
    return sum(int(link["dropped_answers_total"] or 0) for link in figures)


async def test_regions_that_all_write_come_to_the_same_and_never_wait_in_a_circle(
    new_world: NewWorld,
) -> None:
    world = await new_world(*THREE)
    world.delays[("us", "ap")] = 0.03
    world.delays[("ap", "us")] = 0.01
    await world.start()
    await board_everywhere(world, "sum")
    rngs = [random.Random(seed) for seed in range(3)]
    await asyncio.gather(
        *(write_anything(world[n].node, rng, 60) for n, rng in zip(THREE, rngs, strict=True))
    )
    await world.until_same()
    assert dropped(world) == 0
    assert all(node.regions.degraded == [] for node in world.nodes)
    # Each batch was pulled once, from its home: all but the own ones.
    total = sum(world[name].node.engine.last() for name in THREE)
    for node in world.nodes:
        pulled = [
            link["pulled_batches_total"] or 0 for link in node.regions.link_figures().values()
        ]
        assert sum(pulled) == total - node.engine.last()
        assert min(pulled) >= 60


@on_one_loop
async def test_what_a_batch_builds_on_is_stored_before_it(world: World) -> None:
    # Boards of eu come to ap later than what us writes to them.
    world.delays[("ap", "eu")] = 0.2
    before = dropped(world)
    eu, us, ap = (world[name].node for name in THREE)
    for number in range(5):
        board = f"built-{number}"
        await eu.create(board)
        await eventually(lambda b=board: us.has(b), board)  # type: ignore[misc]
        await us.submit(board, "m", number)
    await world.until_same()
    assert all(ap.scores(f"built-{number}") == {"m": number} for number in range(5))
    assert dropped(world) == before


@on_one_loop
async def test_batches_flow_round_a_cut(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_soon(monkeypatch)
    b = await world.board()
    world.cut("eu", "us")
    await eventually(
        lambda: not world["eu"].node.link("us").up and not world["us"].node.link("eu").up, "a cut"
    )
    await world["eu"].node.submit(b, "e", 1)
    await world["us"].node.submit(b, "u", 2)
    await world.until_same()
    assert world["us"].node.scores(b) == {"e": 1, "u": 2}
    world.cuts.clear()
    await eventually(world.all_heard, "links that are well again")
    await world["eu"].node.submit(b, "f", 3)
    await world.until_same()


@on_one_loop
async def test_long_partition_is_made_up_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_soon(monkeypatch)
    b = await world.board("sum")
    world.part("us")
    await eventually(lambda: not world["us"].node.link("eu").up, "a cut")
    assert (world["us"].node.link("eu").behind, world["us"].node.link("eu").lacking) == (None, None)
    # More than one answer may have.
    monkeypatch.setattr("rankwire.storage.region_journal._BATCHES", 100)
    rng = random.Random(1)
    await asyncio.gather(
        write_anything(world["eu"].node, rng, 150, b), write_anything(world["us"].node, rng, 30, b)
    )
    world.cuts.clear()
    await world.until_same()
    await eventually(lambda: world["us"].node.link("eu").lacking == 0, "nothing that lacks")
    await eventually(lambda: world["eu"].node.link("us").behind == 0, "nobody who is behind")


async def test_region_restored_from_a_backup_gets_its_own_batches_back(
    new_world: NewWorld,
) -> None:
    world = await new_world(*THREE)
    await world.start()
    await board_everywhere(world)
    eu = world["eu"]
    for score in range(5):
        await eu.node.submit("b", "m", score)
    await world.until_same()
    origin = eu.node.engine.origin
    await eu.node.stop()
    # As a backup has it that was made before the last two scores.
    eu.database.sql("DELETE FROM journal WHERE origin = %s AND number > 4", origin)
    eu.database.sql("UPDATE origins SET last = 4 WHERE origin = %s", origin)
    await eu.add()
    await world.until_same()
    assert eu.node.scores("b") == {"m": 4}


async def test_another_node_leads_when_the_leader_is_gone(new_world: NewWorld) -> None:
    world = await new_world("eu", "us")
    await world.start()
    await board_everywhere(world)
    us = world["us"]
    first = us.leader
    second = await us.add()
    assert not second.regions.status().leads
    await first.stop()
    await eventually(lambda: second.regions.status().leads, "a new leader")
    await world["eu"].node.submit("b", "m", 1)
    await world.until_same()
    assert second.scores("b") == {"m": 1}


@on_one_loop
async def test_node_that_does_not_lead_knows_the_links(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_soon(monkeypatch)
    second = await world["us"].add()
    await eventually(lambda: second.link("eu").up, "what the leader knows")
    assert second.link("eu").lag_ms < 10_000
    assert second.regions.link_figures()["eu"]["pulled_batches_total"] == 0
    world.part("us")
    await eventually(lambda: not second.link("eu").up, "what the leader misses")
    assert second.regions.degraded != []


async def test_two_leaders_at_once_are_harmless(new_world: NewWorld) -> None:
    world = await new_world("eu", "us")
    await world.start()
    await board_everywhere(world, "sum")
    us = world["us"]
    second = await us.add()
    # As a session that is lost without notice: for a while both believe that they lead.
    second.journal.lead = lambda: True  # type: ignore[method-assign]
    await eventually(lambda: second.regions.status().leads, "a second leader")
    assert us.nodes[0].regions.status().leads
    await write_anything(world["eu"].node, random.Random(1), 80)
    await world.until_same()
    rows = us.database.sql("SELECT origin, number, count(*) FROM journal GROUP BY 1, 2")
    assert {count for *_, count in rows} == {1}
    both = [node.regions.link_figures()["eu"]["failures_total"] for node in us.nodes]
    assert both == [0, 0]


async def test_server_is_ready_and_stops_at_once_while_others_are_away(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever waited for an answer would wait for it longer than this test may take.
    monkeypatch.setattr("rankwire.sync.regions.puller.REQUEST_SECONDS", 3600.0)
    world = await new_world("eu", "us")
    world.part("eu")
    node = await world["eu"].add()
    await eventually(lambda: node.regions.status().leads, "a leader")
    await node.reign()
    await node.create("b")
    assert await node.submit("b", "m", 1)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await node.stop()


WRONG = {
    "nonsense": "what is no answer",
    "damaged": "what is refused: what it sent is damaged",
    "gap": "what is refused: it left out batch",
    "nameless": "what is refused: it does not say where a batch is from",
    "other": "leads to region 'ap'",
    "own": "leads to this region's own database",
    "ahead": "ms ahead",
    "behind": "ms behind",
    "gone": "needs a copy of its database",
}
"""Ways to answer wrongly, and what is said of it."""


async def test_wrong_answers_are_refused_and_never_stored(new_world: NewWorld) -> None:
    world = await new_world("eu", "us")
    await world.start()
    await board_everywhere(world)
    eu, us = world["eu"].node, world["us"]
    for score, (change, said) in enumerate(WRONG.items()):
        world.garbles[("us", "eu")] = _garble(change, us.node.region.cluster)
        before = us.database.sql("SELECT count(*) FROM journal")
        await eu.submit("b", "m", 2 * score)
        await eu.submit("b", "m", 2 * score + 1)
        await eventually(
            lambda said=said: any(said in each for each in us.node.regions.degraded),  # type: ignore[misc]
            f"a trouble: {said}",
        )
        assert us.database.sql("SELECT count(*) FROM journal") == before
        refused = us.node.regions.link_figures()["eu"]["clock_refused"]
        assert refused == (change in {"ahead", "behind"})
        world.garbles.clear()
        await world.until_same()
        await eventually(lambda: us.node.regions.degraded == [], "all well")


def _garble(change: str, cluster: str) -> Garble:
    def garble(what: str, body: bytes) -> bytes:
        if what != "pull":
            return body
        if change == "nonsense":
            return b"\xc1"
        answer = decode(body, PullAnswer)
        rows = answer.batches
        changes: dict[str, dict[str, Any]] = {
            "damaged": {
                "batches": [msgspec.structs.replace(row, batch=row.batch[:-1]) for row in rows]
            },
            "gap": {
                "batches": [msgspec.structs.replace(row, number=row.number + 1) for row in rows]
            },
            "nameless": {"origins": []},
            "other": {"region": "ap"},
            "own": {"cluster": cluster},
            "ahead": {"clock_ms": answer.clock_ms + 60_000},
            "behind": {"clock_ms": answer.clock_ms - 60_000},
            "gone": {"batches": [], "gone": [5], "is_all": False},
        }
        return encode(msgspec.structs.replace(answer, **changes[change]))

    return garble


@on_one_loop
async def test_wrong_secret_is_said(world: World) -> None:
    world.secret = "another secret"
    await eventually(
        lambda: any("regions.secret" in each for each in world["us"].node.regions.degraded),
        "a trouble with the secret",
    )
    assert SECRET not in str(world["us"].node.regions.status())


async def test_region_that_is_no_peer_is_refused(new_world: NewWorld) -> None:
    world = await new_world(*THREE)
    for name in THREE:
        peers = [each for each in world.settings(name).peers if not each.startswith("ap=")]
        await world[name].add(peers=tuple(peers))
    ap = world["ap"].node
    await eventually(
        lambda: any("one of its peers" in each for each in ap.regions.degraded), "a refusal"
    )


async def test_two_names_for_one_region_are_noticed(new_world: NewWorld) -> None:
    world = await new_world("eu", "us")
    us = next(each for each in world.settings("eu").peers if each.startswith("us="))
    eu = await world["eu"].add(peers=(us, us.replace("us=", "ap=")))
    await world["us"].add()
    await eventually(
        lambda: any("of region ap leads to region 'us'" in each for each in eu.regions.degraded),
        "the second name",
    )
    await eventually(lambda: eu.link("us").lag_ms is not None, "the first name")


async def test_batches_come_to_other_nodes_through_redis(
    new_world: NewWorld, redis_server: RedisServer
) -> None:
    world = await new_world("eu", "us")
    url = redis_server.url
    await world["eu"].add()
    for _ in range(2):
        await world["us"].add(url)
    await eventually(lambda: world["eu"].node.regions.may_name, "a primary")
    await eventually(world.all_heard, "regions")
    await board_everywhere(world)
    other = next(node for node in world["us"].nodes if not node.regions.status().leads)
    await eventually(lambda: other.region.stats()["redis_up"] == 1, "Redis")
    before = other.region.stats()["stream_batches_total"]
    for score in range(20):
        await world["eu"].node.submit("b", "m", score)
    await world.until_same()
    assert other.region.stats()["stream_batches_total"] > before
