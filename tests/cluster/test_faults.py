"""A cluster of three nodes under load, and everything it needs fails, one after the other.

After each fault everybody who knows the boards must agree: nothing acknowledged is lost, nothing
counts twice; see `fix_cluster.judge`. During it, whoever can still be served is served. ROUNDS says
how often each fault happens; `make verify` asks for more.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import pytest

from cluster_books import PROBE
from cluster_load import Load, running_load
from fix_chaos import NewChaos
from fix_cluster import Cluster, NewCluster, Node, judge
from fix_disk import SmallDisk
from fix_network import Link
from fix_postgres import NewPostgres, Postgres
from fix_redis import RedisServer
from fix_server import Server, until

_ROUNDS: Final = int(os.environ.get("ROUNDS", "1"))
# Longer than any time-out of a node, see `fix_cluster`.
_LONG_SECONDS: Final = 4.0

pytestmark = pytest.mark.timeout(120 + 60 * _ROUNDS)


@asynccontextmanager
async def _under_load(cluster: Cluster, *, loses_answers: bool = False) -> AsyncIterator[Load]:
    """Start a cluster and a load for a block of faults, and judge both in the end.

    The faults may be such that answers must have been lost: else there was no load.
    """
    await asyncio.to_thread(cluster.start)
    async with running_load(cluster.servers, cluster.books) as load:
        await load.progress()
        yield load
        await load.progress()
        await judge(cluster, load)
    if loses_answers:
        assert cluster.books.left_open > 0
        assert cluster.books.repeated > 0


async def _until(condition: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(until, condition, what)


def _write(node: Node) -> int:
    """Submit a score that nobody keeps books of."""
    return node.server.submit(PROBE, "x", 1).status


def _is_degraded(node: Node) -> bool:
    """Whether a node says that it lacks something and takes writes all the same."""
    reply = node.server.get("/readyz")
    assert reply.status == 200
    answer = reply.json()
    assert (answer["status"] == "degraded") == bool(answer.get("reasons"))
    return bool(answer["status"] == "degraded")


def _only_reads(node: Node) -> bool:
    """Whether a node that cannot write refuses that properly and answers questions."""
    refusal = node.server.submit(PROBE, "x", 1)
    if refusal.status == 200:
        return False
    assert refusal.status == 503
    assert refusal.headers["retry-after"] == "1"
    assert refusal.json()["type"] == "urn:rankwire:problem:unavailable"
    assert node.server.get(f"/v1/boards/{PROBE}/top").status == 200
    assert node.server.get("/healthz").status == 200
    return True


async def test_nodes_are_killed(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    async with _under_load(cluster, loses_answers=True) as load:
        for round_ in range(3 * _ROUNDS):
            node = round_ % 3
            server = cluster.servers[node]
            server.kill()
            await load.progress(*({0, 1, 2} - {node}))
            await asyncio.to_thread(server.start)
            await load.progress()
        assert all(watcher.connections > 1 for watcher in load.watchers)


async def test_postgres_is_killed(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    async with _under_load(cluster, loses_answers=True) as load:
        for _ in range(2 * _ROUNDS):
            cluster.postgres.kill()
            for node in cluster.nodes:
                await _until(partial(_only_reads, node), "a refusal")
                assert node.server.get("/readyz").status == 503
            await asyncio.to_thread(cluster.postgres.start)
            await load.progress()


async def test_redis_is_killed_and_comes_back_empty(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    async with _under_load(cluster) as load:
        for _ in range(2 * _ROUNDS):
            cluster.redis.kill()
            await _until(lambda: all(map(_is_degraded, cluster.nodes)), "degraded nodes")
            await load.progress()
            await asyncio.to_thread(cluster.redis.start)
            await _until(lambda: not any(map(_is_degraded, cluster.nodes)), "nodes that are well")
            await load.progress()


async def test_redis_hangs(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    async with _under_load(cluster) as load:
        for _ in range(_ROUNDS):
            cluster.redis.pause()
            await _until(lambda: all(map(_is_degraded, cluster.nodes)), "degraded nodes")
            await load.progress()
            cluster.redis.resume()
            await _until(lambda: not any(map(_is_degraded, cluster.nodes)), "nodes that are well")


async def test_redis_is_away_all_the_time(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    await asyncio.to_thread(cluster.start)
    cluster.redis.kill()
    async with running_load(cluster.servers, cluster.books) as load:
        for _ in range(3 * _ROUNDS):
            await load.progress(writes=30)
        assert all(await asyncio.to_thread(lambda: [*map(_is_degraded, cluster.nodes)]))
        # The restart is without Redis as well.
        await judge(cluster, load)


@pytest.mark.parametrize(
    ("way", "late"),
    [
        pytest.param({}, 0.0, id="altogether"),
        pytest.param({}, _LONG_SECONDS, id="altogether, and what was under way arrives late"),
        pytest.param({"requests": False}, 0.0, id="without its answers"),
    ],
)
async def test_a_node_is_cut_off_from_postgres(
    new_cluster: NewCluster, way: dict[str, bool], late: float
) -> None:
    cluster = new_cluster()
    async with _under_load(cluster, loses_answers=True) as load:
        for round_ in range(_ROUNDS):
            number = round_ % 3
            node = cluster.nodes[number]
            node.postgres.cut(**way)
            await _until(partial(_only_reads, node), "a refusal")
            await load.progress(*({0, 1, 2} - {number}))
            # Until all of its time-outs have passed, and some of its ways to mend it have failed.
            await asyncio.sleep(_LONG_SECONDS)
            assert await asyncio.to_thread(_only_reads, node)
            assert node.server.get("/readyz").status == 503
            node.postgres.heal(late=late)
            await load.progress()
            await asyncio.sleep(late)


async def test_a_node_hangs(new_cluster: NewCluster) -> None:
    """As a machine does that is moved; it then goes on with what it was about."""
    cluster = new_cluster()
    async with _under_load(cluster) as load:
        for round_ in range(_ROUNDS):
            number = round_ % 3
            pid = cluster.servers[number].pid
            os.kill(pid, signal.SIGSTOP)
            await load.progress(*({0, 1, 2} - {number}))
            await asyncio.sleep(_LONG_SECONDS)
            os.kill(pid, signal.SIGCONT)
            await load.progress()


async def test_connections_to_postgres_break(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    async with _under_load(cluster, loses_answers=True) as load:
        for round_ in range(6 * _ROUNDS):
            cluster.nodes[round_ % 3].postgres.reset()
            await load.progress()


async def test_a_node_is_cut_off_from_redis(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    async with _under_load(cluster) as load:
        for round_ in range(_ROUNDS):
            node = cluster.nodes[round_ % 3]
            node.redis.cut()
            await _until(partial(_is_degraded, node), "a degraded node")
            # The writers go from node to node only when the next one shows what they wrote.
            await load.progress()
            node.redis.heal()
            await _until(lambda node=node: not _is_degraded(node), "a node that is well")  # type: ignore[misc]
            node.redis.reset()
            await load.progress()


async def test_slow_networks(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    async with _under_load(cluster) as load:
        for seconds in (0.02, 0.2):
            for node in cluster.nodes:
                node.redis.slow(seconds)
            cluster.nodes[0].postgres.slow(seconds / 10)
            for _ in range(_ROUNDS):
                await load.progress()
            for node in cluster.nodes:
                node.redis.heal()
                node.postgres.heal()


async def test_the_disk_of_postgres_is_full(
    new_cluster: NewCluster, new_postgres: NewPostgres, small_disk: SmallDisk
) -> None:
    postgres = new_postgres({"max_wal_size": "8MB"}, data=small_disk.data, prefix=small_disk.prefix)
    cluster = new_cluster(postgres=postgres)
    async with _under_load(cluster, loses_answers=True) as load:
        for _ in range(_ROUNDS):
            await asyncio.to_thread(small_disk.fill)
            for node in cluster.nodes:
                await _until(partial(_only_reads, node), "a refusal")
            await asyncio.to_thread(small_disk.free)
            # It may have given up; whoever watches over it starts it again.
            if not postgres.running:
                await asyncio.to_thread(postgres.start)
            await load.progress()


@pytest.mark.parametrize("millis", [200, 3000])
async def test_the_disk_of_postgres_is_slow(
    new_cluster: NewCluster, new_postgres: NewPostgres, new_chaos: NewChaos, millis: int
) -> None:
    chaos = new_chaos()
    cluster = new_cluster(postgres=new_postgres(environment=chaos.variables))
    async with _under_load(cluster) as load:
        for _ in range(_ROUNDS):
            chaos.slow_syncs(millis)
            # The longer delay is past all time-outs: perhaps nothing gets done.
            await asyncio.sleep(_LONG_SECONDS)
            chaos.slow_syncs(0)
            await load.progress()


async def test_the_clock_of_a_node_jumps(new_cluster: NewCluster, new_chaos: NewChaos) -> None:
    chaos = new_chaos()
    cluster = new_cluster(nodes=2)
    node = cluster.add(chaos)
    began_ms = _now_ms()
    async with _under_load(cluster) as load:
        for _ in range(_ROUNDS):
            for hours in (1, -1, 0):
                chaos.jump(hours * 3600)
                await load.progress()
                await asyncio.to_thread(_assert_it_knows_the_time, node)
    stamps = [record["stamp_ms"] for record in cluster.journal() if record["type"] == "score"]
    assert len(stamps) > 0
    assert began_ms - 1000 <= min(stamps)
    assert max(stamps) <= _now_ms() + 1000


def _assert_it_knows_the_time(node: Node) -> None:
    """A score may be of any time in the past, and of a minute ahead at most."""
    now = datetime.now(UTC)
    at = {"now": now.isoformat(), "later": (now + timedelta(minutes=5)).isoformat()}
    assert node.server.submit(PROBE, "x", 1, at=at["now"]).status == 200
    assert node.server.submit(PROBE, "x", 1, at=at["later"]).status == 422


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def test_whoever_takes_checkpoints_is_killed(new_cluster: NewCluster) -> None:
    cluster = new_cluster("--storage-checkpoint-members", "1")
    async with _under_load(cluster, loses_answers=True) as load:
        for _ in range(3 * _ROUNDS):
            await _until(cluster.checkpoint_is_under_way, "a checkpoint")
            leader = cluster.leader()
            assert leader is not None
            leader.server.kill()
            # With that one gone, it is another one.
            await _until(lambda: cluster.leader() is not None, "another one")
            await _until(cluster.checkpoint_is_under_way, "its checkpoint")
            await asyncio.to_thread(leader.server.start)
            await load.progress()


async def test_a_node_joins_under_load(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    async with _under_load(cluster) as load:
        for _ in range(_ROUNDS):
            seen, _ = await asyncio.to_thread(cluster.nodes[0].digest)
            node = cluster.add()
            await asyncio.to_thread(node.server.start)
            # Ready means level, with all that was there before it began.
            vector, _ = await asyncio.to_thread(node.digest)
            behind = {o: number for o, number in seen.items() if vector.get(o, 0) < number}
            assert behind == {}
            await load.progress()
    async with running_load(cluster.servers, cluster.books) as load:
        await load.progress()
        await judge(cluster, load)


@asynccontextmanager
async def _killed(part: Server | Postgres | RedisServer) -> AsyncIterator[None]:
    part.kill()
    yield
    await asyncio.to_thread(part.start)


@asynccontextmanager
async def _hanging(server: Server) -> AsyncIterator[None]:
    os.kill(server.pid, signal.SIGSTOP)
    yield
    os.kill(server.pid, signal.SIGCONT)


@asynccontextmanager
async def _cut(link: Link, **ways: bool) -> AsyncIterator[None]:
    link.cut(**ways)
    yield
    link.heal()


@asynccontextmanager
async def _slow(link: Link) -> AsyncIterator[None]:
    link.slow(0.05)
    yield
    link.heal()


@asynccontextmanager
async def _reset(link: Link) -> AsyncIterator[None]:
    link.reset()
    yield
    link.reset()


async def test_two_faults_at_once(new_cluster: NewCluster) -> None:
    chance = random.Random(os.environ.get("SEED", "faults"))
    cluster = new_cluster("--storage-checkpoint-seconds", "0.3")
    async with _under_load(cluster) as load:
        for _ in range(3 * _ROUNDS):
            one, other = chance.sample(cluster.nodes, 2)
            # In the order in which they begin; they end in the opposite one, so that a node
            # starts when everything else is well.
            faults = (
                _killed(one.server),
                _hanging(other.server),
                _killed(cluster.postgres),
                _killed(cluster.redis),
                _cut(one.postgres),
                _cut(other.postgres, requests=False),
                _cut(other.redis),
                _slow(one.postgres),
                _reset(other.postgres),
            )
            chosen = sorted(chance.sample(range(len(faults)), 2))
            async with AsyncExitStack() as stack:
                for number in chosen:
                    await stack.enter_async_context(faults[number])
                    await asyncio.sleep(chance.uniform(0, _LONG_SECONDS / 2))
            await load.progress()
