"""What a node answers other regions, asked directly."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from fix_peers import NewWorld, Node, World, eventually
from fix_server import PATIENCE_SECONDS
from fix_worlds import on_one_loop
from rankwire.storage import StorageError
from rankwire.sync.regions import serving, wire
from rankwire.sync.regions.errors import NotAPeerError, TooManyError

ASKED = wire.PullRequest("us", {}, ["us"], 60_000, 1, "eu")


async def pull(node: Node, **changed: Any) -> wire.PullAnswer:
    body = wire.encode(msgspec.structs.replace(ASKED, **changed))
    return wire.decode(await node.regions.handlers["pull"](body), wire.PullAnswer)


async def wait(node: Node, origin: int, number: int, wait_ms: int = 60_000) -> int:
    body = wire.encode(wire.AwaitRequest({origin: number}, wait_ms))
    answer = wire.decode(await node.regions.handlers["await"](body), wire.AwaitAnswer)
    return answer.vector[origin]


async def refusal(ask: Callable[[], Awaitable[object]]) -> str:
    """Ask until others have taken all the room, and give what is said then."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await ask()
            except TooManyError as error:
                return str(error)
            await asyncio.sleep(0.01)


async def stay(ask: Callable[[], Awaitable[object]]) -> None:
    """Ask until there is room, and take it."""
    while True:
        with suppress(TooManyError):
            await ask()
        await asyncio.sleep(0.01)


async def test_waiting_pull_is_answered_when_something_is_committed(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than a test may take: only news end the waiting.
    monkeypatch.setattr(serving, "MOST_WAIT_MS", 600_000)
    world = await new_world("eu", "us")
    node = await world["eu"].add()
    await node.reign()
    waiting = asyncio.create_task(pull(node, wait_ms=600_000))
    acknowledged = asyncio.create_task(wait(node, node.engine.origin, 1))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await node.create("b")
    answer = await waiting
    (row,) = answer.batches
    assert (row.origin, row.number) == (node.engine.origin, 1)
    assert (answer.region, answer.epoch, answer.primary) == ("eu", 1, "eu")
    assert answer.waited_ms > 0
    assert answer.is_all
    assert await acknowledged == 1


@on_one_loop
async def test_pull_is_not_woken_by_what_comes_from_elsewhere(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    eu, us = world["eu"].node, world["us"].node
    b = await world.board()
    await us.submit(b, "m", 1)
    await world.until_same()
    # An origin that comes while a pull waits is not known yet, and ends the waiting in vain.
    await eventually(
        lambda: eu.region.number_of(us.engine.origin) == us.engine.last(), "a known origin"
    )
    monkeypatch.setattr(serving, "MOST_WAIT_MS", 600_000)
    vector = eu.region.vector()
    waiting = asyncio.create_task(
        pull(eu, region="ap", direct=["ap", "us"], vector=vector, wait_ms=600_000)
    )
    await us.submit(b, "m", 2)
    await eventually(lambda: eu.scores(b) == {"m": 2}, "the score")
    assert not waiting.done()
    await eu.submit(b, "m", 3)
    answer = await waiting
    assert [(row.origin, bool(row.batch)) for row in answer.batches] == [
        (us.engine.origin, False),
        (eu.engine.origin, True),
    ]


async def test_as_many_wait_as_may(new_world: NewWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_PULLS", 2)
    monkeypatch.setattr(serving, "MOST_AWAITS", 1)
    monkeypatch.setattr(serving, "MOST_WAIT_MS", 600_000)
    world = await new_world("eu", "us")
    node = await world["eu"].add()
    kept: list[asyncio.Task[Any]] = [
        asyncio.create_task(stay(lambda: pull(node, wait_ms=600_000))) for _ in range(2)
    ]
    kept.append(asyncio.create_task(stay(lambda: wait(node, 5, 1))))
    assert "2 requests" in await refusal(lambda: pull(node, wait_ms=0))
    assert "1 requests" in await refusal(lambda: wait(node, 5, 1, wait_ms=0))
    assert (node.regions.figures()["requests_refused_total"] or 0) >= 2
    for task in kept:
        task.cancel()
    await asyncio.gather(*kept, return_exceptions=True)
    monkeypatch.setattr(serving, "MOST_WAIT_MS", 10)
    assert (await pull(node)).batches == []
    assert await wait(node, 5, 1) == 0


async def test_what_is_wrong_is_refused(new_world: NewWorld) -> None:
    world = await new_world("eu", "us")
    node = await world["eu"].add()
    with pytest.raises(NotAPeerError, match="'ap' is no peer of region 'eu'"):
        await pull(node, region="ap")
    for what in ("pull", "await", "promise"):
        with pytest.raises(msgspec.MsgspecError):
            await node.regions.handlers[what](b"\xc1")
    await node.stop()
    with pytest.raises(StorageError, match="shutting down"):
        await pull(node)


async def test_newer_primary_is_believed_also_of_who_only_asks(new_world: NewWorld) -> None:
    world = await new_world("eu", "us")
    node = await world["eu"].add()
    await node.reign()
    answer = await pull(node, epoch=4, primary="us", wait_ms=0)
    assert (answer.epoch, answer.primary) == (4, "us")
    assert node.regions.primary == "us"
    assert not node.regions.may_name


async def test_engine_that_is_behind_does_not_hide_what_the_journal_has(
    new_world: NewWorld,
) -> None:
    world = await new_world("eu", "us")
    node = await world["eu"].add()
    await node.reign()
    await node.create("b")
    origin, number = node.engine.origin, node.engine.last()
    # Another one of the region, whose engine follows no more.
    second = await world["eu"].add()
    await asyncio.to_thread(second.region.stop)
    await node.create("c")
    assert second.region.number_of(origin) == number
    assert await wait(second, origin, number + 1) == number + 1
    assert [row.number for row in (await pull(second, wait_ms=0)).batches] == [1, 2]
