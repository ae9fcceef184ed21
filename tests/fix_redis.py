"""Real Redis servers on free ports of 127.0.0.1, which forget everything when they end.

`redis_server` is a single one, `redis_cluster` a Redis Cluster of three masters, `redis_sentinel`
a master with a replica and a sentinel that makes it the master when the first one dies.
Without `redis-server` such tests are left out, but not in CI.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

import pytest
from redis import Redis
from redis.exceptions import RedisError

from fix_server import PATIENCE_SECONDS, until

SERVICE: Final = "scores"
"""What the sentinel calls its master."""
# A sentinel takes its master for dead after this long, in milliseconds.
_DEAD_MS: Final = 300
_QUICK_SENTINEL: Final = ("ping-period", "info-period", "publish-period", "ask-period")
_SLOTS: Final = 16_384
# Below the range that outgoing connections take theirs from: a server that was killed gets its
# port again.
_PORTS: Final = range(15_000, 32_000)


class RedisServer:
    """A process of redis-server. It is on the same port in each of its lives."""

    def __init__(self, directory: Path, *options: str, sentinel: str | None = None) -> None:
        """Choose a port; `sentinel` is the configuration of a sentinel."""
        directory.mkdir(parents=True)
        self._directory = directory
        self._options = options
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """For `redis.url`."""
        return f"redis://{self.address}"

    def start(self) -> Self:
        """Start, empty, and wait until it answers."""
        assert not self.running
        command = ["redis-server"]
        if self._sentinel is not None:
            file = self._directory / "sentinel.conf"
            file.write_text(self._sentinel, encoding="utf-8")
            command += [str(file), "--sentinel"]
        command += ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._directory)]
        command += ["--save", "", "--appendonly", "no", *self._options]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        until(self._answers, f"redis-server on port {self.port}")
        return self

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Let it end."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Let it hang: connections stay open and nothing is answered, until `resume`."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        """Leave no process behind, whatever happened."""
        if self.running:
            self.kill()

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def client(self) -> Redis:
        """Make a client that speaks to this very process. Use it in a `with`."""
        timeout = PATIENCE_SECONDS
        return Redis(port=self.port, socket_timeout=timeout, decode_responses=True)

    def ask(self, *words: str | int) -> Any:
        """Run one command."""
        with self.client() as client:
            return client.execute_command(*words)

    def _end(self, number: int) -> None:
        assert self.running
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(PATIENCE_SECONDS)

    def _answers(self) -> bool:
        if not self.running:
            text = (self._directory / "log").read_text(encoding="utf-8", errors="replace")
            pytest.fail(f"redis-server ended: {text[-2000:]}")
        try:
            # Another one may have taken the port.
            return bool(self.ask("INFO", "server")["process_id"] == self.pid)
        except RedisError:
            return False


class RedisCluster:
    """A Redis Cluster of three masters."""

    def __init__(self, nodes: list[RedisServer]) -> None:
        """Keep the nodes, which know each other already."""
        self.nodes = nodes

    @property
    def url(self) -> str:
        """For `redis.url`."""
        return "redis+cluster://" + ",".join(node.address for node in self.nodes)


class RedisSentinel:
    """A master, its replica and the sentinel that watches both."""

    def __init__(self, master: RedisServer, replica: RedisServer, sentinel: RedisServer) -> None:
        """Keep the processes, which know each other already."""
        self.master = master
        self.replica = replica
        self.sentinel = sentinel

    @property
    def url(self) -> str:
        """For `redis.url`."""
        return f"redis+sentinel://{self.sentinel.address}/{SERVICE}"

    def fail_over(self) -> None:
        """Kill the master and wait until the replica is the master."""
        self.master.kill()
        until(lambda: self.replica.ask("ROLE")[0] == "master", "a new master")
        until(self._knows_the_replica, "a sentinel that knows the new master")

    def _knows_the_replica(self) -> bool:
        (master,) = self.sentinel.ask("SENTINEL", "MASTERS")
        return (master["port"], master["flags"]) == (str(self.replica.port), "master")


def free_port() -> int:
    """Find a port that is free now."""
    for port in random.sample(_PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    pytest.fail("no port is free")


NewRedis = Callable[..., RedisServer]


@pytest.fixture
def new_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewRedis]:
    """Make servers, see `making_redis`."""
    with making_redis(tmp_path_factory.mktemp("redis")) as make:
        yield make


@contextmanager
def making_redis(place: Path) -> Iterator[NewRedis]:
    """Give what makes servers, not started yet, from the options of redis-server."""
    if shutil.which("redis-server") is None:
        reason = "redis-server is not there: what needs Redis is NOT tested"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with ExitStack() as servers:

        def make(*options: str, sentinel: str | None = None) -> RedisServer:
            where = place / str(len(list(place.iterdir())))
            server = RedisServer(where, *options, sentinel=sentinel)
            servers.callback(server.end)
            return server

        yield make


@pytest.fixture
def redis_server(new_redis: NewRedis) -> RedisServer:
    """Start a Redis server."""
    return new_redis().start()


@pytest.fixture
def redis_cluster(new_redis: NewRedis) -> RedisCluster:
    """Start a Redis Cluster and wait until all of it is there."""
    buses = [free_port() for _ in range(3)]
    nodes = [
        new_redis("--cluster-enabled", "yes", "--cluster-port", str(bus)).start() for bus in buses
    ]
    share = _SLOTS // len(nodes) + 1
    for index, node in enumerate(nodes):
        first, last = index * share, min((index + 1) * share, _SLOTS) - 1
        node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        node.ask("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        if index:
            node.ask("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, buses[0])

    def whole() -> bool:
        return all(
            {"cluster_state:ok", f"cluster_slots_ok:{_SLOTS}", f"cluster_size:{len(nodes)}"}
            <= set(node.ask("CLUSTER", "INFO").split())
            for node in nodes
        )

    until(whole, "a Redis Cluster")
    return RedisCluster(nodes)


@pytest.fixture
def redis_sentinel(new_redis: NewRedis) -> RedisSentinel:
    """Start a master, a replica and a sentinel, and wait until they know each other."""
    master = new_redis("--repl-diskless-sync-delay", "0").start()
    replica = new_redis("--replicaof", "127.0.0.1", str(master.port)).start()
    until(lambda: replica.ask("INFO", "replication")["master_link_status"] == "up", "a replica")
    configuration = (
        f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} 1\n"
        f"sentinel down-after-milliseconds {SERVICE} {_DEAD_MS}\n"
        f"sentinel failover-timeout {SERVICE} 2000\n"
    )
    sentinel = new_redis(sentinel=configuration).start()
    for period in _QUICK_SENTINEL:
        sentinel.ask("SENTINEL", "DEBUG", period, 100)

    def known() -> bool:
        replicas = sentinel.ask("SENTINEL", "REPLICAS", SERVICE)
        return [(row["flags"], row["master-link-status"]) for row in replicas] == [("slave", "ok")]

    until(known, "a sentinel that knows the replica")
    return RedisSentinel(master, replica, sentinel)
