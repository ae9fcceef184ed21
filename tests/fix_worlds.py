"""Regions in this process, see `fix_peers`: of a test's own, or shared by the tests of a file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio

from fix_peers import NewWorld, World
from fix_postgres import Postgres

# What happens now and then happens often here, and pauses are short: tests wait for both.
_QUICK: Final = {
    "leader._TURN_SECONDS": 0.05,
    "state._REFRESH_SECONDS": 0.1,
    # Both, or a session would be answered by nodes that lack what all are taken to have.
    "state.SETTLED_SECONDS": 1.0,
    "sessions.SETTLED_SECONDS": 1.0,
    "puller._LONGEST_SECONDS": 0.1,
    "acks._LONGEST_SECONDS": 0.1,
    "sessions._LOOK_SECONDS": 0.02,
}


def hurry(patch: pytest.MonkeyPatch) -> None:
    """Let things happen often."""
    for name, seconds in _QUICK.items():
        patch.setattr(f"rankwire.sync.regions.{name}", seconds)


on_one_loop = pytest.mark.asyncio(loop_scope="module")
"""For tests of a file that share `kept_world`."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kept_world(postgres_server: Postgres) -> AsyncIterator[World]:
    """Three regions that run, for all tests of a file; see `world`."""
    with pytest.MonkeyPatch.context() as patch:
        hurry(patch)
        world = World(postgres_server, ("eu", "us", "ap"), {})
        await world.open()
        await world.start()
        yield world
        await world.close()


@pytest_asyncio.fixture(loop_scope="module")
async def world(kept_world: World) -> World:
    """Three regions that run, one node in each, all well; for tests that are `on_one_loop`."""
    # Others of the file have a loop of their own, and time went by for them only.
    await kept_world.heal()
    return kept_world


@pytest.fixture
async def new_world(
    postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[NewWorld]:
    """Make regions of these names, not started yet; keywords are settings of all of them."""
    hurry(monkeypatch)
    worlds: list[World] = []

    async def make(*names: str, **changed: Any) -> World:
        world = World(postgres_server, names, changed)
        worlds.append(world)
        await world.open()
        return world

    yield make
    for world in worlds:
        await world.close()
