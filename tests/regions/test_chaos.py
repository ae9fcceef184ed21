"""Three regions under load while servers, databases and the network between them fail at random.

REGIONS_MINUTES says for how long; without it the test is left out. `make verify-regions` asks for
3. REGIONS_SEED draws the same faults again. In the end all regions must hold the same, every value
must be explained by what clients were told, and no session may have seen a value go back.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import pytest

from cluster_load import running_load
from fix_cluster import Node, on_each
from fix_postgres import Postgres
from fix_redis import RedisServer
from fix_regions import NewRegions, Regions
from fix_server import Server, until
from region_load import Watch, watching

_MINUTES: Final = float(os.environ.get("REGIONS_MINUTES", "0"))
_SEED: Final = os.environ.get("REGIONS_SEED", "regions")
_NODES: Final = 2
# A fault lasts as long at most, and so does the calm after it.
_FAULT_SECONDS: Final = 5.0
# Within this time all regions have the same once nothing fails any more.
_CONVERGED_SECONDS: Final = 60.0

pytestmark = [
    pytest.mark.skipif(not _MINUTES, reason="left out: make verify-regions"),
    pytest.mark.timeout(300 + 120 * _MINUTES),
]


async def test_regions_survive_random_faults(
    new_regions: NewRegions, capsys: pytest.CaptureFixture[str]
) -> None:
    regions = new_regions("--regions-forward-seconds", "2", nodes=_NODES)
    await asyncio.to_thread(regions.start)
    await asyncio.to_thread(regions.create_boards)
    servers = [node.server for node in regions.nodes]
    groups = [range(at, at + _NODES) for at in range(0, len(servers), _NODES)]
    async with (
        running_load(servers, regions.books, groups) as load,
        watching(regions, regions.books) as watch,
    ):
        await load.progress()
        faults, healed = await _torment(regions)
        await load.progress()
        await load.stop()
        last = await _seconds_until_converged(regions)
    await asyncio.to_thread(_judge, regions)
    report = _report(regions, watch, faults, [*healed, last])
    with capsys.disabled():
        sys.stdout.write(f"\n{json.dumps(report)}\n")
    assert watch.reads > 0


async def _torment(regions: Regions) -> tuple[Counter[str], list[float]]:
    """Let things fail; tell what did, and the seconds until all was level after each time."""
    chance = random.Random(_SEED)
    faults: Counter[str] = Counter()
    healed = []
    deadline = time.monotonic() + 60 * _MINUTES
    while time.monotonic() < deadline:
        async with AsyncExitStack() as stack:
            # In the order of the table: what ends last begins first, so that a server starts when
            # its database is there, but perhaps no other region.
            chosen = sorted(chance.sample(range(len(_FAULTS)), chance.randint(1, 2)))
            for name in (list(_FAULTS)[number] for number in chosen):
                faults[name] += 1
                await stack.enter_async_context(_FAULTS[name](regions, chance))
                await asyncio.sleep(chance.uniform(0, _FAULT_SECONDS))
        healed.append(await _seconds_until_converged(regions))
        await asyncio.sleep(chance.uniform(0, _FAULT_SECONDS))
    return faults, healed


async def _seconds_until_converged(regions: Regions) -> float:
    """Wait until every region has all that any region has now, and tell how long that took."""
    began = time.monotonic()
    wanted: dict[str, int] = {}
    for vector, _ in await asyncio.to_thread(on_each, regions.nodes, Node.digest):
        wanted |= {origin: max(number, wanted.get(origin, 0)) for origin, number in vector.items()}

    def is_there(node: Node) -> bool:
        vector, _ = node.digest()
        return all(vector.get(origin, 0) >= number for origin, number in wanted.items())

    def converged() -> bool:
        return all(on_each(regions.nodes, is_there))

    await asyncio.to_thread(until, converged, "regions that have converged", _CONVERGED_SECONDS)
    return time.monotonic() - began


def _judge(regions: Regions) -> None:
    """Compare everything that knows the boards, now and after a start from the databases alone."""
    boards = regions.until_level()
    regions.books.settle(regions["eu"].node.contents())
    for region in regions:
        assert region.kept() == boards, f"{region.name} keeps something else"
        region.journal()
    for node in regions.nodes:
        assert node.server.terminate() == 0
    regions.start()
    assert regions.until_level() == boards
    regions.books.settle(regions["ap"].node.contents())


def _report(
    regions: Regions, watch: Watch, faults: Counter[str], healed: list[float]
) -> dict[str, Any]:
    books = regions.books
    return {
        "regions": regions.names,
        "seed": _SEED,
        "minutes": _MINUTES,
        "faults": dict(faults),
        "acknowledged": books.acknowledged,
        "left_open": books.left_open,
        "repeated": books.repeated,
        "session_reads": watch.reads,
        "session_refused": watch.refused,
        "converged_worst_s": round(max(healed), 3),
        "converged_median_s": round(sorted(healed)[len(healed) // 2], 3),
        "worst_lag_ms": round(watch.lags.worst_ms),
        "bytes_between_regions": regions.carried(),
    }


# The faults. Each is a block: it lasts as long as the block does.


@asynccontextmanager
async def _dead_server(regions: Regions, chance: random.Random) -> AsyncIterator[None]:
    async with _killed(chance.choice(regions.nodes).server):
        yield


@asynccontextmanager
async def _dead_postgres(regions: Regions, chance: random.Random) -> AsyncIterator[None]:
    async with _killed(chance.choice(list(regions)).postgres):
        yield


@asynccontextmanager
async def _dead_redis(regions: Regions, chance: random.Random) -> AsyncIterator[None]:
    async with _killed(chance.choice(list(regions)).redis):
        yield


@asynccontextmanager
async def _dead_region(regions: Regions, chance: random.Random) -> AsyncIterator[None]:
    region = chance.choice(list(regions))
    region.kill()
    yield
    await asyncio.to_thread(region.start_all)


@asynccontextmanager
async def _cut_one_way(regions: Regions, chance: random.Random) -> AsyncIterator[None]:
    regions.cut(*chance.sample(regions.names, 2))
    yield
    regions.heal()


@asynccontextmanager
async def _cut_pair(regions: Regions, chance: random.Random) -> AsyncIterator[None]:
    regions.part(*chance.sample(regions.names, 2))
    yield
    regions.heal()


@asynccontextmanager
async def _cut_off(regions: Regions, chance: random.Random) -> AsyncIterator[None]:
    regions.part(chance.choice(regions.names))
    yield
    regions.heal()


@asynccontextmanager
async def _slow(regions: Regions, chance: random.Random) -> AsyncIterator[None]:
    one, other = chance.sample(regions.names, 2)
    regions.slow(one, other, chance.uniform(0.02, 0.3))
    yield
    regions.heal()


@asynccontextmanager
async def _reset(regions: Regions, chance: random.Random) -> AsyncIterator[None]:
    one, other = chance.sample(regions.names, 2)
    regions.link(one, other).reset()
    yield
    regions.link(one, other).reset()


@asynccontextmanager
async def _killed(part: Server | Postgres | RedisServer) -> AsyncIterator[None]:
    """Kill something that may be dead already by another fault, and start it again."""
    if part.running:
        part.kill()
    yield
    if not part.running:
        await asyncio.to_thread(part.start)


_FAULTS: Final = {
    "cut one way": _cut_one_way,
    "cut between two": _cut_pair,
    "cut off": _cut_off,
    "slow": _slow,
    "connections reset": _reset,
    "server killed": _dead_server,
    "region killed": _dead_region,
    "PostgreSQL killed": _dead_postgres,
    "Redis killed": _dead_redis,
}
