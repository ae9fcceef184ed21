"""Who is the first primary, which of two counts, and what is not believed; on real databases."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from fix_peers import NewWorld, Node, World, eventually
from rankwire.storage.region_rows import LinkRow
from rankwire.sync.regions import wire
from rankwire.sync.regions.state import MOST_AHEAD, Clock
from rankwire.sync.regions.threads import MOST

THREE = ("eu", "us", "ap")


def agree(world: World, primary: str) -> bool:
    """Whether all nodes know this primary, in one epoch."""
    return len({node.regions.status().epoch for node in world.nodes}) == 1 and all(
        node.regions.primary == primary for node in world.nodes
    )


def acting(world: World) -> list[str]:
    """Name the regions that act as primary."""
    return [node.regions.name for node in world.nodes if node.regions.may_name]


def is_told(node: Node, words: str) -> bool:
    """Whether a node says so of itself."""
    return any(words in each for each in node.regions.degraded)


async def until_considered(node: Node) -> None:
    """Wait until the leader has had all that the others have, and has thought of it since."""

    def links() -> Sequence[LinkRow]:
        return node.journal.state().links

    await eventually(
        lambda: bool(links()) and all(link.level_ms for link in links()), "all of the others"
    )
    for _ in range(2):
        before = links()[0].contact_ms
        await eventually(lambda before=before: links()[0].contact_ms != before, "another turn")  # type: ignore[misc]


def peers_of(world: World, name: str, *others: str) -> tuple[str, ...]:
    """Give the peers of a region that does not know of all."""
    return tuple(f"{other}=http://127.0.0.1:{world[other].port}/from/{name}" for other in others)


async def test_settings_that_disagree_give_no_primary_and_are_told(new_world: NewWorld) -> None:
    world = await new_world(*THREE)
    for name in THREE:
        await world[name].add(primary=name)
    for node in world.nodes:
        await until_considered(node)
        await eventually(lambda node=node: is_told(node, "its regions.primary is"), "a word of it")  # type: ignore[misc]
        await eventually(lambda node=node: is_told(node, "there is no primary yet"), "and of that")  # type: ignore[misc]
    assert acting(world) == []
    assert {node.regions.status().epoch for node in world.nodes} == {0}
    # An operator who says which one it is has one, and only one.
    await world["us"].node.regions.failover(force=False)
    await eventually(lambda: agree(world, "us"), "a primary that all know")
    assert acting(world) == ["us"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"mode": "primary"}, "its regions.mode is"), ({}, "its regions are eu, us, and here ap")],
)
async def test_other_settings_are_told(
    new_world: NewWorld, changed: dict[str, Any], words: str
) -> None:
    world = await new_world(*THREE)
    eu = await world["eu"].add()
    await world["us"].add(**(changed or {"peers": peers_of(world, "us", "eu")}))
    await eventually(lambda: is_told(eu, words), "a word of it")
    assert not eu.regions.may_name


async def test_region_that_is_added_follows_the_primary_that_there_is(new_world: NewWorld) -> None:
    """Also if its name comes first and it takes itself for the chosen one."""
    world = await new_world(*THREE, primary="")
    eu = await world["eu"].add(peers=peers_of(world, "eu", "us"))
    us = await world["us"].add(peers=peers_of(world, "us", "eu"))
    await eventually(lambda: eu.regions.may_name, "a primary")
    await eu.create("old")
    await eventually(lambda: us.engine.stats()["boards"] == 1, "the board")
    await us.stop()
    await eu.stop()
    eu, us = await world["eu"].add(), await world["us"].add()
    ap = await world["ap"].add()
    await eventually(lambda: agree(world, "eu"), "a primary that all know")
    await eventually(lambda: eu.regions.may_name, "a lease")
    assert acting(world) == ["eu"]
    await eu.create("new")
    await world.until_same()
    assert ap.engine.stats()["boards"] == 2


async def test_first_primary_waits_until_it_has_heard_of_every_region(new_world: NewWorld) -> None:
    """It is a region all the same: it takes scores and answers reads."""
    world = await new_world("eu", "us")
    eu = await world["eu"].add()
    await eventually(lambda: is_told(eu, "there is no primary yet"), "a word of it")
    await eventually(lambda: eu.link("us").trouble is not None, "a region that does not answer")
    assert eu.regions.may_write
    assert not eu.regions.may_name
    await world["us"].add()
    await eventually(lambda: eu.regions.may_name, "the first primary")
    await eventually(lambda: agree(world, "eu"), "a primary that all know")
    assert eu.regions.status().epoch == 1


async def test_first_primary_can_be_made_by_force(new_world: NewWorld) -> None:
    world = await new_world("eu", "us")
    eu = await world["eu"].add()
    report = await eu.regions.failover(force=True)
    assert (report.before, report.epoch) == ("", 1)
    assert eu.regions.may_name
    await world["us"].add()
    await eventually(lambda: agree(world, "eu"), "a primary that all know")


def _forged(what: str, epoch: int, primary: str) -> bytes:
    if what == "promise":
        return wire.encode(wire.PromiseRequest(epoch, primary))
    return wire.encode(wire.PullRequest("us", {}, ["us"], 0, epoch, primary))


async def test_what_cannot_be_an_epoch_is_not_believed(new_world: NewWorld) -> None:
    """Whoever has the secret can say it; no primary ends by it, and none is kept from beginning."""
    world = await new_world(*THREE)
    await world.start()
    eu, us = world["eu"].node, world["us"].node
    await eventually(lambda: agree(world, "eu"), "a primary that all know")
    ballots = [(2**63 - 1, "us"), (MOST_AHEAD + 2, "us"), (2, "nowhere"), (2**63 - 1, "nowhere")]
    for what in ("pull", "promise"):
        for ballot in ballots:
            answer = await eu.regions.handlers[what](_forged(what, *ballot))
            if what == "promise":
                said = wire.decode(answer, wire.PromiseAnswer)
                assert not said.promised
                assert "it tells of" in said.problem
            state = eu.journal.state()
            assert (state.epoch, state.primary, state.is_open) == (1, "eu", True)
    await eu.create("b")
    # The largest that is believed leaves room for all that come after it.
    await eu.regions.handlers["pull"](_forged("pull", MOST_AHEAD + 1, "ap"))
    assert eu.journal.state().epoch == MOST_AHEAD + 1
    await eventually(lambda: agree(world, "ap"), "what all believe")
    await us.regions.failover(force=False)
    await eventually(lambda: agree(world, "us"), "a primary that all know")
    await us.create("c")
    await world.until_same()


async def test_region_that_tells_nonsense_is_told_of_and_the_others_go_on(
    new_world: NewWorld,
) -> None:
    world = await new_world(*THREE)
    await world.start()
    eu, ap = world["eu"].node, world["ap"].node

    def far(what: str, body: bytes) -> bytes:
        if what != "pull":
            return body
        answer = wire.decode(body, wire.PullAnswer)
        return wire.encode(msgspec.structs.replace(answer, epoch=2**62, primary="ap"))

    world.garbles["eu", "ap"] = world.garbles["us", "ap"] = far
    await eventually(lambda: is_told(eu, "too far beyond 1"), "a word of it")
    # Its batches come all the same.
    await eu.create("b")
    await eventually(lambda: ap.engine.stats()["boards"] == 1, "the board")
    await ap.submit("b", "m", 1)
    await world.until_same()
    # The lease has the other two.
    lease = eu.journal.state().lease_until_ms
    await eventually(lambda: eu.journal.state().lease_until_ms > lease, "a longer lease")
    world.garbles.clear()
    await eventually(lambda: not eu.regions.degraded, "all to be well")


async def test_nobody_follows_a_stranger(new_world: NewWorld) -> None:
    """A region that the others' settings do not name any more, and that knows theirs."""
    world = await new_world(*THREE)
    eu = await world["eu"].add(peers=peers_of(world, "eu", "us"))
    us = await world["us"].add(peers=peers_of(world, "us", "eu"))
    await eventually(lambda: eu.regions.may_name, "a primary")
    ap = await world["ap"].add()
    for node in (eu, us):
        answer = await node.regions.handlers["promise"](_forged("promise", 7, "ap"))
        assert not wire.decode(answer, wire.PromiseAnswer).promised
    assert eu.regions.may_name
    assert not ap.regions.may_name
    # One that was primary when it was taken out is told of.
    assert eu.journal.promise(9, "ap")
    await eventually(lambda: is_told(eu, "none of the regions in the settings"), "a word of it")
    await eu.regions.failover(force=False)
    await eu.create("b")


# What a new leader does with what there was.


async def test_new_leader_keeps_what_is_stable_while_a_region_is_away(new_world: NewWorld) -> None:
    world = await new_world(*THREE)
    await world.start()
    eu = world["eu"].node
    await eu.create("b")
    await world.until_same()
    origin = eu.engine.origin
    await eventually(lambda: eu.journal.state().stable.get(origin) == 1, "what all have")
    world.part("ap")
    await eu.stop()
    eu = await world["eu"].add()
    await eventually(lambda: eu.regions.status().leads, "a node that leads")
    await eu.submit("b", "m", 1)
    await eventually(lambda: eu.link("us").behind == 0, "a region that hears")
    await eventually(lambda: eu.journal.state().links[0].contact_ms is None, "what it has saved")
    assert eu.journal.state().stable == {origin: 1}


async def test_other_regions_than_before_are_a_new_beginning(new_world: NewWorld) -> None:
    """They have nothing yet, and a lease without end does not outlast the time of one region."""
    world = await new_world(*THREE)
    eu = await world["eu"].add(peers=())
    await eventually(lambda: eu.regions.may_name, "a primary")
    await eu.create("b")
    await eventually(lambda: eu.journal.state().stable != {}, "what all have")
    assert eu.journal.state().lease_until_ms == math.inf
    await eu.stop()
    # Nobody answers it from now on.
    eu = await world["eu"].add()
    await eventually(lambda: len(eu.journal.state().links) == len(THREE) - 1, "what it has saved")
    assert eu.journal.state().stable == {}
    assert eu.journal.state().lease_until_ms < math.inf
    await eventually(lambda: not eu.regions.may_name, "the end of the lease")


async def test_primary_from_a_snapshot_acts_when_it_has_what_it_lost(new_world: NewWorld) -> None:
    world = await new_world(*THREE)
    await world.start()
    place = world["eu"]
    await place.node.create("a")
    await world.until_same()
    await place.node.stop()
    snapshot = world.snapshot("eu")
    eu = await place.add()
    await eventually(lambda: eu.regions.may_name, "a lease")
    await eu.create("b")
    await world.until_same()
    await eu.stop()
    world.restore("eu", snapshot)
    place.database.sql("UPDATE region_state SET lease_until = '-infinity'")
    eu = await place.add()
    await eventually(lambda: eu.regions.may_name, "a lease")
    assert eu.journal.state().epoch == 1
    # What its journal has is in its engine at once.
    reply = await eu.create("b")
    await world.until_same()
    assert eu.engine.stats()["boards"] == 2, reply


async def test_old_primary_of_two_asks_before_it_acts_again(new_world: NewWorld) -> None:
    world = await new_world("eu", "us")
    await world.start()
    eu, us = world["eu"].node, world["us"].node
    await eu.create("a")
    await world.until_same()
    await eu.stop()
    await us.regions.failover(force=True)
    await us.create("b")
    # It hears of nobody at first.
    world.cut("eu", "us")
    eu = await world["eu"].add()
    await eventually(lambda: is_told(eu, "its lease is over"), "a word of it")
    await eventually(lambda: eu.link("us").trouble is not None, "a region that does not answer")
    assert not eu.regions.may_name
    world.cuts.clear()
    await eventually(lambda: agree(world, "us"), "a primary that all know")
    assert acting(world) == ["us"]
    await world.until_same()


async def test_primary_of_two_goes_on_alone_whoever_leads(new_world: NewWorld) -> None:
    world = await new_world("eu", "us")
    await world.start()
    eu = world["eu"].node
    other = await world["eu"].add()
    await world["us"].node.stop()
    await eu.stop()
    await eventually(lambda: other.regions.status().leads, "another node that leads")
    lease = other.journal.state().lease_until_ms
    await eventually(lambda: other.journal.state().lease_until_ms > lease + 1000, "a longer lease")
    assert other.regions.may_name


# Leases.


async def test_lease_counts_from_the_earliest_that_it_may_have_been(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database's clock may have been read at any time while it was asked."""
    world = await new_world(*THREE)
    await world.start()
    eu = world["eu"].node
    monkeypatch.setattr(Clock, "_error_at", lambda *_: 60_000.0)
    await eventually(lambda: not eu.regions.may_name, "the end of the last lease")
    assert all(eu.link(name).up for name in ("us", "ap"))


async def test_slow_reads_of_the_journal_do_not_end_a_lease(new_world: NewWorld) -> None:
    world = await new_world(*THREE)
    await world.start()
    eu = world["eu"].node
    ask = wire.encode(wire.AwaitRequest({7: 9}, 0))
    with eu.journal._reader._lock:  # noqa: SLF001 - as if its database took long
        waiting = [asyncio.ensure_future(eu.regions.handlers["await"](ask)) for _ in range(MOST)]
        for _ in range(3):
            row = eu.journal.state()
            await eventually(
                lambda row=row: eu.journal.state().lease_until_ms > row.lease_until_ms,  # type: ignore[misc]
                "a longer lease",
            )
        assert not any(each.done() for each in waiting)
    await asyncio.gather(*waiting)


async def test_lease_does_not_grow_when_the_clock_is_set_back(new_world: NewWorld) -> None:
    """It would outlast what whoever takes over waits for."""
    world = await new_world(*THREE)
    await world.start()
    eu = world["eu"].node
    world.part("eu")
    # Nothing else of a clock that is a minute behind counts here.
    world["eu"].database.sql("UPDATE region_state SET lease_until = lease_until + interval '1 min'")
    await eventually(lambda: not eu.regions.may_name, "the end of the lease")
    world.cuts.clear()
    await eventually(lambda: eu.regions.may_name, "another lease")


# Majorities, and what comes of two primaries.


async def test_promise_is_for_who_counts_the_same_regions(new_world: NewWorld) -> None:
    world = await new_world(*THREE)
    await world.start()
    us = world["us"].node
    asked = wire.PromiseRequest(2, "ap", names=["ap", "us"])
    said = await us.regions.handlers["promise"](wire.encode(asked))
    answer = wire.decode(said, wire.PromiseAnswer)
    assert (answer.promised, answer.problem) == (
        False,
        "its regions are ap, us, and here ap, eu, us",
    )


async def test_board_that_two_primaries_made_is_told_and_can_be_ended(new_world: NewWorld) -> None:
    """What docs/regions.md says: end it at one primary, then at the other, then make it anew."""
    world = await new_world("eu", "us")
    await world.start()
    eu, us = world["eu"].node, world["us"].node
    world.cut("eu", "us")
    await us.regions.failover(force=True)
    assert sorted(acting(world)) == ["eu", "us"]
    await eu.create("b")
    await us.create("b")
    await eu.submit("b", "m", 1)
    await us.submit("b", "n", 2)
    world.cuts.clear()
    await eventually(lambda: agree(world, "us"), "a primary that all know")
    for node in (eu, us):
        await eventually(lambda node=node: is_told(node, "the board 'b'"), "a word of it")  # type: ignore[misc]
    assert eu.engine.board_id("b") != us.engine.board_id("b")

    await us.commit(us.engine.drop_board("b"))
    await eu.regions.failover(force=False)
    await eu.commit(eu.engine.drop_board("b"))
    await world.until_same()
    assert eu.engine.stats()["boards"] == us.engine.stats()["boards"] == 0
    await eu.create("b")
    await eu.submit("b", "m", 3)
    await eventually(lambda: us.scores("b") == {"m": 3}, "the score")
    await us.submit("b", "n", 4)
    await world.until_same()
    assert eu.scores("b") == {"m": 3, "n": 4}
