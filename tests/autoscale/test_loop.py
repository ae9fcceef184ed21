"""Real nodes that come and go with real load, by what a real metrics server tells of them.

`make verify-autoscale` runs the long form: more watchers, two waves, and a node that is killed.
"""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from fix_autoscale_loop import Cluster, autoscaling
from fix_balancer import balancing
from fix_crowd import Watcher
from fix_metrics_server import NewMetricsServer
from fix_postgres import Database
from fix_redis import RedisServer
from fix_server import NewServer, Server
from fix_submitters import end_all, eventually, submitters_of
from rankwire.autoscale.controller import Autoscaler
from rankwire.autoscale.manifest import load

_CHANNEL: Final = "board:a:top:10"
_SHUTDOWN: Final = 3001
_AT_ONCE: Final = 100


class Form(NamedTuple):
    """How much."""

    stay: int
    """Watchers that are there from the beginning to the end."""
    more: int
    """Those who come with a wave, and go with it."""
    target: int
    most: int
    waves: int


_SHORT: Final = Form(stay=50, more=220, target=60, most=6, waves=1)
_LONG: Final = Form(stay=200, more=1500, target=300, most=7, waves=2)
_LEAST: Final = 2
_SUBMITTERS: Final = 8
"""Of each kind; those over WebSocket are connections as well."""

_MANIFEST: Final = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: hub}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: hub}}
  minReplicas: {least}
  maxReplicas: {most}
  metrics:
    - type: Pods
      pods:
        metric: {{name: websocket_connections_per_pod}}
        target: {{type: AverageValue, averageValue: "{target}"}}
  behavior:
    scaleUp:
      stabilizationWindowSeconds: 15
      policies: [{{type: Percent, value: 100, periodSeconds: 15}}]
    scaleDown:
      stabilizationWindowSeconds: 60
      policies: [{{type: Pods, value: 1, periodSeconds: 60}}]
"""


@pytest.fixture
def form() -> Form:
    """Choose the form, and see that this process may have the files for it."""
    form = _LONG if os.environ.get("VERIFY_AUTOSCALE") else _SHORT
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 3 * (form.stay + form.more) + 1000
    if needed > most:
        pytest.skip(f"{needed} open files are not allowed here: autoscaling is NOT tested")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), most))
    return form


@pytest.fixture
def autoscaler(form: Form, tmp_path: Path) -> Autoscaler:
    """Read the autoscaler as an operator's file."""
    file = tmp_path / "hpa.yaml"
    file.write_text(_MANIFEST.format(least=_LEAST, most=form.most, target=form.target))
    return load(file)


def _replicas_for(connections: int, form: Form) -> int:
    return min(max(-(-connections // form.target), _LEAST), form.most)


@pytest.mark.timeout(100)
async def test_nodes_follow_the_load_and_nothing_is_lost(  # noqa: PLR0917
    form: Form,
    autoscaler: Autoscaler,
    new_server: NewServer,
    new_metrics_server: NewMetricsServer,
    postgres: Database,
    redis_server: RedisServer,
    tmp_path: Path,
) -> None:
    def make() -> Server:
        return new_server(
            *("--storage-url", postgres.url, "--redis-url", redis_server.url),
            *("--node-leave-seconds", "2", "--live-drain-seconds", "1"),
        )

    async with balancing() as balancer:
        cluster = Cluster(make, balancer, tmp_path / "pods.json")
        await cluster.begin(_LEAST)
        cluster.pods[0].server.create("a", policy="sum")
        pods = str(cluster.pods_file)
        metrics = await asyncio.to_thread(new_metrics_server, "--pods", pods, "--allow-user", "hpa")
        stay = await _come(balancer.live_port, form.stay)
        submitters = submitters_of(balancer, live=_SUBMITTERS, http=_SUBMITTERS)
        async with asyncio.TaskGroup() as group:
            for submitter in submitters:
                group.create_task(submitter.run())
            await eventually(lambda: all(one.acknowledged for one in submitters), "submits")
            async with autoscaling(cluster, autoscaler, metrics):
                for wave in range(form.waves):
                    await _wave(cluster, form, is_hit=wave > 0)
            await eventually(lambda: all(one.has_state for one in stay), "watchers that are back")
            await end_all(submitters)
        last = cluster.pods[0].server
        scores = await asyncio.to_thread(last.scores, "a")
        assert scores == {one.member: one.acknowledged for one in submitters}
        rows = [(member, score) for _, member, score in last.entries("a")][:10]
        await eventually(lambda: all(one.entries == rows for one in stay), "the last state")
        _check(cluster, stay, form)
        print(  # noqa: T201  # the figures of this run
            f"replicas {_path(cluster)}; {sum(one.acknowledged for one in submitters)} submits, "
            f"{sum(one.failures for one in submitters)} sent again; "
            f"{sum(len(one.told) for one in stay)} watchers were told to come back"
        )
        _leave(stay)
        await eventually(lambda: not any(balancer.carried.values()), "the end of all connections")


async def _come(port: int, count: int) -> list[Watcher]:
    watchers = [Watcher(port, _CHANNEL, protobuf=number % 2 == 1) for number in range(count)]
    for start in range(0, count, _AT_ONCE):
        some = watchers[start : start + _AT_ONCE]
        await asyncio.gather(*(one.connect() for one in some))
        await eventually(lambda some=some: all(one.has_state for one in some), "a first state")  # type: ignore[misc]
    return watchers


def _leave(watchers: Sequence[Watcher]) -> None:
    for one in watchers:
        one.leave()


async def _wave(cluster: Cluster, form: Form, *, is_hit: bool) -> None:
    """Have many come, wait for the nodes that they need, and have them go again."""
    visitors = await _come(cluster.balancer.live_port, form.more)
    wanted = _replicas_for(form.stay + form.more + _SUBMITTERS, form)
    assert wanted > _LEAST
    await eventually(
        lambda: cluster.wanted == wanted and cluster.is_settled, f"{wanted} nodes for the wave"
    )
    if is_hit:
        cluster.crash()
        await eventually(lambda: cluster.is_settled, "another node in the place of the one")
    await eventually(lambda: all(one.has_state for one in visitors), "visitors that see something")
    _leave(visitors)
    await eventually(
        lambda: cluster.wanted == _LEAST and cluster.is_settled, "no more nodes than are needed"
    )


def _path(cluster: Cluster) -> list[int]:
    """Give the numbers of replicas in the order in which they were decided."""
    path = [_LEAST]
    for decision in cluster.decisions:
        if decision.replicas != path[-1]:
            path.append(decision.replicas)
    return path


def _check(cluster: Cluster, stay: Sequence[Watcher], form: Form) -> None:
    # Every node that was told to stop ended well, and told everybody.
    assert set(cluster.codes) == {0}
    assert {end.code for one in stay for end in one.told} <= {_SHUTDOWN}
    if form.waves == 1:
        assert all(one.told for one in stay)
        assert sum(one.lost for one in stay) == 0
    # One at a time, as the policy says; upwards at most twice as many.
    path = _path(cluster)
    for before, after in pairwise(path):
        assert after - before == -1 or before < after <= 2 * before, path
    # What was decided came from figures: after the first turns none was without any.
    known = [d for d in cluster.decisions if d.proposals and d.proposals[0].replicas is not None]
    assert len(known) > len(cluster.decisions) // 2
