"""A small cluster: an autoscaler, what carries out its decisions, and pods that are processes.

The controller is the product's, which decides as Kubernetes' own does; it asks a real metrics
server over HTTPS through a client certificate, as the HPA controller does through the aggregator. A
turn of 15 seconds takes half a second here, and nothing else is scaled: servers start, leave and
drain as ever.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fix_balancer import Balancer
from fix_metrics_server import MetricsServer, pod, write_pods
from fix_server import Server
from rankwire.autoscale import quantity
from rankwire.autoscale.controller import (
    SYNC_SECONDS,
    Autoscaler,
    Clock,
    Controller,
    Decision,
    MetricError,
    Pod,
    Reading,
    Value,
)

TURN_SECONDS: Final = 0.5
_PATH: Final = (
    "/apis/custom.metrics.k8s.io/v1beta2/namespaces/game/pods/%2A/{}?labelSelector=app%3Dhub"
)


@dataclass(eq=False)
class HubPod:
    """One pod."""

    name: str
    server: Server
    is_ready: bool = False


@dataclass
class Cluster:
    """Pods, what decides how many there are, and what did."""

    new_server: Callable[[], Server]
    balancer: Balancer
    pods_file: Path
    pods: list[HubPod] = field(default_factory=list)
    wanted: int = 0
    """Replicas of the Deployment."""
    decisions: list[Decision] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    """Exit codes of pods that were told to stop."""
    _named: int = 0
    _ending: set[asyncio.Task[None]] = field(default_factory=set)

    async def begin(self, replicas: int) -> None:
        """Start the first pods, and wait for them."""
        self.wanted = replicas
        write_pods(self.pods_file, [])
        await asyncio.gather(*(self._start(self._add()) for _ in range(replicas)))

    def scale(self, replicas: int) -> None:
        """Carry out a decision, as a Deployment does: pods start and stop beside all else."""
        self.wanted = replicas
        while len(self.pods) > replicas:
            # The oldest one, which has those who have been there for longest. Of a pod that is
            # deleted the autoscaler hears nothing from that moment.
            self._spawn(self._stop(self.pods.pop(0)))
        while len(self.pods) < replicas:
            self._spawn(self._start(self._add()))
        self._publish()

    def crash(self) -> None:
        """End a pod without a word, and start another one in its place."""
        victim = self.pods.pop(0)
        os.kill(victim.server.pid, signal.SIGKILL)
        self.scale(self.wanted)

    async def end(self) -> None:
        """Wait until all that was begun is done."""
        await asyncio.gather(*self._ending)

    @property
    def is_settled(self) -> bool:
        """Whether there are as many pods as are wanted, all of them ready, and none on its way."""
        ready = sum(one.is_ready for one in self.pods)
        return ready == len(self.pods) == self.wanted and not self._ending

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _add(self) -> HubPod:
        new = HubPod(f"hub-{self._named}", self.new_server())
        self._named += 1
        self.pods.append(new)
        return new

    async def _start(self, new: HubPod) -> None:
        await asyncio.to_thread(new.server.start)
        new.is_ready = True
        self.balancer.add(new.server)
        self._publish()

    async def _stop(self, victim: HubPod) -> None:
        while not victim.is_ready:  # noqa: ASYNC110  # its start tells nobody
            await asyncio.sleep(TURN_SECONDS)
        os.kill(victim.server.pid, signal.SIGTERM)
        self.codes.append(await asyncio.to_thread(victim.server.wait))

    def _publish(self) -> None:
        started = [one for one in self.pods if one.is_ready]
        rows = [pod(one.name, f"{one.server.url}/metrics", app="hub") for one in started]
        write_pods(self.pods_file, rows)


@asynccontextmanager
async def autoscaling(
    cluster: Cluster, autoscaler: Autoscaler, metrics: MetricsServer
) -> AsyncIterator[None]:
    """Run the controller for the block."""
    loop = asyncio.create_task(_control(cluster, autoscaler, metrics))
    try:
        yield
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
        await cluster.end()
    assert loop.cancelled(), loop.exception()


async def _control(cluster: Cluster, autoscaler: Autoscaler, metrics: MetricsServer) -> None:
    controller, turn = Controller(autoscaler), 0
    while True:
        began = time.monotonic()
        readings = [
            await asyncio.to_thread(_read, metrics, metric.name) for metric in autoscaler.metrics
        ]
        clock = Clock(float(turn * SYNC_SECONDS))
        decision = controller.sync(clock, cluster.wanted, _seen(cluster.pods), readings)
        cluster.decisions.append(decision)
        if decision.replicas != cluster.wanted:
            cluster.scale(decision.replicas)
        turn += 1
        await asyncio.sleep(max(0.0, began + TURN_SECONDS - time.monotonic()))


def _seen(pods: Sequence[HubPod]) -> list[Pod]:
    return [
        Pod(one.name, "Running" if one.is_ready else "Pending", ready=one.is_ready) for one in pods
    ]


def _read(metrics: MetricsServer, name: str) -> Reading:
    """Ask as the controller does: through the aggregator, which says who asks."""
    reply = metrics.as_hpa(_PATH.format(name))
    if reply.status != 200:
        return MetricError(reply.json()["message"])
    items: list[Mapping[str, Any]] = reply.json()["items"]
    if not items:
        return MetricError("no metrics returned")
    return {
        item["describedObject"]["name"]: Value(quantity.parse(item["value"]).milli)
        for item in items
    }
