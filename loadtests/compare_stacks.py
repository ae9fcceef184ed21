"""The servers that play the whole game for `compare_job.py`: ours, and FastAPI over Redis.

Promises: every process of a stack is on the server's core, and its processor time and memory count;
all stacks hold the same boards with the same scores before they are used.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

import game
import harness
import swarm
from game import Game
from harness import HOST, Process

if TYPE_CHECKING:
    from redis import Redis

STAGE: Final = "stage"
"""A board of its own for the measurement of deliveries; the game does not touch it."""
STAGE_MEMBERS: Final = 1000
PERSISTENCE: Final = {
    "fastapi": ("--appendonly", "no"),
    "fastapi, everysec": ("--appendonly", "yes", "--appendfsync", "everysec"),
}
"""What Redis keeps of a write: nothing, which is its best case, or all but the last second.

The latter is what its documentation recommends: https://redis.io/docs/latest/operate/oss_and_stack/
management/persistence/."""
UVICORN: Final = (
    *("--loop", "uvloop", "--http", "httptools", "--ws", "websockets-sansio", "--workers", "1"),
    *("--ws-per-message-deflate", "false", "--no-access-log", "--log-level", "warning"),
)
DURABLE: Final = {
    "rankwire": "SQLite, synchronous=FULL: a receipt means that it is on the disk",
    "fastapi": "no: Redis without persistence",
    "fastapi, everysec": "up to a second is lost: Redis with appendonly and appendfsync everysec",
}


class Stack(msgspec.Struct, frozen=True):
    """One side, and how the generator reaches it."""

    name: str
    processes: list[Process]
    watchers: Process
    """The process that holds the sockets."""
    hub: tuple[str, ...]
    http: tuple[str, ...]

    @property
    def doors(self) -> tuple[str, ...]:
        """All arguments that say where everything is, and which processes are measured."""
        pids = ",".join(f"{process.name}={process.pid}" for process in self.processes)
        return (*self.hub, *self.http, "--server-pid", pids)


def opened(
    name: str, directory: Path, users: int, history: int
) -> contextlib.AbstractContextManager[Stack]:
    """Run one of the sides of `DURABLE`, with its boards filled."""
    if name in PERSISTENCE:
        return fastapi(directory, name, users, history)
    return rankwire(directory, users, history)


@contextlib.contextmanager
def rankwire(directory: Path, users: int, history: int) -> Iterator[Stack]:
    """Run our server as it comes, but for the number of connections."""
    with swarm.serving(directory, "rankwire", "--live-max-connections", "19000") as server:
        game.fill(server.port, Game(users).history(history))
        harness.call(server.port, "PUT", f"/v1/boards/{STAGE}", {"policy": "best"})
        items = [{"member": f"player-{one}", "score": one} for one in range(STAGE_MEMBERS)]
        harness.call(server.port, "POST", f"/v1/boards/{STAGE}/scores:batch", items)
        hub = ("--url", server.live_url)
        yield Stack("rankwire", [server.process], server.process, hub, server.api)


@contextlib.contextmanager
def fastapi(directory: Path, name: str, users: int, history: int) -> Iterator[Stack]:
    """Run FastAPI and Redis, with one of the ways of `PERSISTENCE`."""
    from redis import Redis  # noqa: PLC0415  # only now is it known to be installed

    port, redis_port = harness.free_ports(2)
    home = directory / name.replace(", ", "-")
    home.mkdir()
    core, _ = harness.cores()
    store_command = redis_command(redis_port, name)
    command = uvicorn_command(port)
    environment = {"REDIS_PORT": str(redis_port)}
    with (
        harness.running(store_command, home / "redis.log", core) as store,
        Redis(port=redis_port, decode_responses=True) as redis,
    ):
        store.wait(lambda: harness.answers(redis_port))
        with harness.running(command, home / "uvicorn.log", core, environment) as process:
            process.wait(lambda: harness.answers(port))
            fill(redis, port, users, history)
            url = f"ws://{HOST}:{port}/ws?channel={{channel}}"
            hub = ("--url", url, "--encoding", "plain")
            http = ("--http", f"http://{HOST}:{port}")
            yield Stack(name, [process, store], process, hub, http)


def redis_command(port: int, name: str) -> harness.Command:
    """Make the command of a Redis that keeps what this side promises to keep."""
    address = ("--bind", HOST, "--port", str(port))
    return ["redis-server", *address, "--save", "", *PERSISTENCE[name]]


def uvicorn_command(port: int) -> harness.Command:
    """Make the command of the service: one worker, as it has one core."""
    peers = str(Path(__file__).parent / "peers")
    where = ("fastapi_live:app", "--app-dir", peers, "--host", HOST, "--port", str(port))
    return [sys.executable, "-m", "uvicorn", *where, *UVICORN]


def fill(redis: Redis, port: int, users: int, history: int) -> None:
    """Make the boards over the API, and let all users play before, in Redis itself."""
    for board in (*game.boards(users), STAGE):
        harness.call(port, "PUT", f"/v1/boards/{board}", {"policy": "best"})
    with redis.pipeline(transaction=False) as pipeline:
        # A pipeline only notes the commands; the annotations are those of a plain client.
        for submit in game.submits(Game(users).history(history)):
            best = {submit.member: submit.score}
            pipeline.zadd(f"board:{submit.board}", best, gt=True)
        stage = {f"player-{number}": number for number in range(STAGE_MEMBERS)}
        pipeline.zadd(f"board:{STAGE}", stage)
        pipeline.execute()
