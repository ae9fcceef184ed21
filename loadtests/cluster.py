"""A cluster on this machine: PostgreSQL, Redis, nodes that serve HTTP and nodes that hold sockets.

Promises: everything listens on the loopback address only and ends with the block, whatever happens
to the program; PostgreSQL is as durable as it comes; every node has its settings as they come but
for where it finds the others and for how many sockets it may hold. Nothing is pinned to a core.

By itself it runs one until it is interrupted, for whatever is to be tried by hand:

    python loadtests/cluster.py --hubs 4
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

import harness
import postgres_side
from harness import HOST, Process
from postgres_side import Postgres
from swarm import Server

_SPARE_FILES: Final = 1000
"""Files that a node keeps for other things than sockets."""
# Sockets beside the watchers', as those of submits, and of watchers that come back before it is
# known that they went.
_SPARE_SOCKETS: Final = 1.01
# Of a node to PostgreSQL at most, as `docs/nodes.md` says, and some to look at it.
_SESSIONS_EACH: Final = 15
_OTHER_SESSIONS: Final = 10


class Cluster(msgspec.Struct, frozen=True):
    """What runs, and where it listens."""

    database: Postgres
    redis: Process
    apis: list[Server]
    hubs: list[Server]
    flags: tuple[str, ...]
    """Of every node."""

    @property
    def http_urls(self) -> list[str]:
        """Where HTTP requests go."""
        return [f"http://{HOST}:{server.port}" for server in self.apis]

    @property
    def live_urls(self) -> list[str]:
        """Where sockets connect."""
        return [server.live_url for server in self.hubs]

    @property
    def nodes(self) -> list[Server]:
        """All nodes."""
        return [*self.apis, *self.hubs]

    @property
    def processes(self) -> dict[str, Process]:
        """What runs, by name: `api-0`, `hub-0`, ..., `redis` and `postgres`."""
        nodes = {server.process.name: server.process for server in self.nodes}
        return nodes | {"redis": self.redis, "postgres": self.database}


def most_sockets() -> int:
    """Return how many sockets a process may hold, by the limit of open files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, most - _SPARE_FILES)


def hubs_for(sockets: int) -> int:
    """Return how many nodes it takes to hold so many sockets."""
    return math.ceil(sockets * _SPARE_SOCKETS / most_sockets())


@contextlib.contextmanager
def cluster(
    directory: Path, hubs: int, apis: int = 1, *flags: str, most_hubs: int = 0
) -> Iterator[Cluster]:
    """Run a cluster with an empty database while the block runs; `flags` are for every node.

    PostgreSQL has sessions for `most_hubs`, if those are more, which `more_hubs` starts later.
    """
    most_sessions = (max(hubs, most_hubs) + apis) * _SESSIONS_EACH + _OTHER_SESSIONS
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(
            postgres_side.postgres(directory, None, "-c", f"max_connections={most_sessions}")
        )
        (port,) = harness.free_ports(1)
        redis = stack.enter_context(
            harness.running(harness.redis_command(port), directory / "redis.log")
        )
        redis.wait(lambda: harness.answers(port))
        shared = ("--storage-url", database.url, "--redis-url", f"redis://{HOST}:{port}", *flags)
        empty = Cluster(database, redis, apis=[], hubs=[], flags=shared)
        serving = stack.enter_context(_more(empty, directory, apis, "api"))
        yield stack.enter_context(_more(serving, directory, hubs, "hub"))


def more_hubs(
    running: Cluster, directory: Path, count: int
) -> contextlib.AbstractContextManager[Cluster]:
    """Give the cluster with so many hubs more, which end with the block."""
    return _more(running, directory, count, "hub")


@contextlib.contextmanager
def _more(running: Cluster, directory: Path, count: int, role: str) -> Iterator[Cluster]:
    there = running.apis if role == "api" else running.hubs
    numbers = range(len(there), len(there) + count)
    with contextlib.ExitStack() as stack:
        nodes = [
            stack.enter_context(_node(directory, f"{role}-{number}", role, *running.flags))
            for number in numbers
        ]
        for node in nodes:
            node.process.wait(functools.partial(harness.is_ready, node.port))
        grown = {"apis" if role == "api" else "hubs": [*there, *nodes]}
        yield msgspec.structs.replace(running, **grown)


@contextlib.contextmanager
def _node(directory: Path, name: str, role: str, *flags: str) -> Iterator[Server]:
    """Start a node, and do not wait until it is ready."""
    port, live_port = harness.free_ports(2)
    own = ("--node-role", role, "--live-max-connections", str(most_sockets()))
    command = harness.serve_command(port, live_port, directory / name, *own, *flags)
    with harness.running(command, directory / f"{name}.log") as process:
        yield Server(process, port, live_port)


def require() -> None:
    """Say at once what has to be installed."""
    harness.require(("redis-server", "setpriv"), ("psycopg", "redis"))
    postgres_side.require()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hubs", type=harness.positive, default=1, help="default: 1")
    parser.add_argument("--apis", type=harness.positive, default=1, help="default: 1")
    given = parser.parse_args()
    require()
    with (
        harness.working_directory() as directory,
        cluster(directory, given.hubs, given.apis) as running,
    ):
        shown = {
            "http": running.http_urls,
            "live": running.live_urls,
            "postgres": running.database.url,
            "pids": {name: process.pid for name, process in running.processes.items()},
        }
        print(msgspec.json.format(msgspec.json.encode(shown)).decode(), flush=True)
        signal.pause()


if __name__ == "__main__":
    harness.main(main)
