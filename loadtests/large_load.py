"""The load of one step of `large.py`: watchers, games, reads, and batches of games.

Promises: rates are kept whatever the answers take, and latencies count from the moment at which a
request was due. What goes wrong is part of what is found, and ends nothing but the step.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import msgspec

import game
import harness
import pacer
from cluster import Cluster
from game import Game
from harness import BenchError, Process
from large_machine import Used, Watch
from pacer import Request, Result

READS_PER_GAME: Final = 10
BOARDS_OF_GAME: Final = 2
"""Each game is submitted to so many boards."""
HISTORY: Final = 8
"""Games of each user before; only the best is submitted, which leaves the same boards."""

MEASURED: Final = "measured"
"""Name of the phase that counts."""

_TELLING: Final = ("sh", "-c", 'words=$1; shift; exec "$@" 2>"$words"', "sh")
"""Runs a command whose last words are kept in a file."""
_FILLERS: Final = 8
"""Threads that fill the boards, so that PostgreSQL commits for several at once."""
_CONNECTIONS: Final = 64
_SOCKETS_OF_CLIENT: Final = 18_000
"""Of a process of the generator, which has other files as well."""
_RAMP: Final = 8000
# To connect and to compare, beside the time that is measured.
_STEP_SECONDS: Final = 15.0
_SOCKETS_PER_SECOND: Final = 2500.0
_PATIENCE: Final = 3.0
"""A step may take so many times what it is expected to."""
_WARM_SECONDS: Final = 3.0
_EDGE_SECONDS: Final = 1.0
"""Batches begin so much after the watchers are there, and end before these do."""
_LOOK_SECONDS: Final = 0.25
# Submits for so much longer than needed, so that the drivers never run dry.
_SPARE_SECONDS: Final = 5.0


class Step(msgspec.Struct, frozen=True):
    """What is asked of the cluster."""

    series: str
    sockets: int
    games: float
    """A second, submitted one by one: half over HTTP, half over WebSocket."""
    reads: bool = True
    """Whether ten reads over HTTP come with each of these."""
    batched: float = 0.0
    """More games a second, which come in batches over HTTP."""
    batch: int = 1
    """Games in a batch."""
    seconds: float = 20.0


class Found(msgspec.Struct, frozen=True):
    """What came of it."""

    result: Any
    """The generator's; None when it ended before its time."""
    batches: Result | None
    used: Used
    others: float
    """Share of the cores that others took."""
    trouble: str
    """Why there is no result; empty when there is one."""


class Servers(Game):
    """Game servers, each of which has a cohort's games and sends them together."""

    def __init__(self, users: int) -> None:
        """Draw the skills."""
        super().__init__(users)
        self.users = users

    def together(self, games: int) -> list[tuple[int, int]]:
        """Let users of one cohort play so many games."""
        first = self._random.randrange(self.users) // game.COHORT * game.COHORT
        most = min(first + game.COHORT, self.users)
        players = [self._random.randrange(first, most) for _ in range(games)]
        return [(user, self._score(user)) for user in players]


def fill(running: Cluster, played: Servers) -> None:
    """Make the boards, on which each user has the best of some games."""
    users = played.users
    best = [0] * users
    for user, score in played.history(HISTORY):
        best[user] = max(best[user], score)
    cohorts = -(-users // game.COHORT)
    share = -(-cohorts // _FILLERS) * game.COHORT
    port = running.apis[0].port
    parts = [range(start, min(start + share, users)) for start in range(0, users, share)]
    with ThreadPoolExecutor(_FILLERS) as threads:
        done = threads.map(
            lambda part: game.fill(port, ((user, best[user]) for user in part)), parts
        )
        # Asked for, so that what went wrong is raised.
        list(done)


# A step.


def run(program: Path, directory: Path, running: Cluster, played: Servers, step: Step) -> Found:
    """Put the cluster under the load of a step."""
    words = directory / "swarm.err"
    command = (*_TELLING, str(words), str(program), *arguments(running, directory, played, step))
    meter = harness.Meter(os.sched_getaffinity(0), [*running.processes.values()])
    result, batches, trouble = None, None, ""
    with Watch(running.processes, _PATIENCE * expected_seconds(step)) as watch:
        try:
            with (
                _batching(directory, running, played, step) as paced,
                harness.running(command, directory / "swarm.log", talks=True) as client,
            ):
                watch.add_client(client)
                result = msgspec.json.decode(client.hear())
                if paced is not None:
                    batches = msgspec.json.decode(paced.hear(), type=Result)
                # What its own processes used is known when it has ended, well or not.
                client.end()
        except BenchError as error:
            trouble = watch.killed or _said(error, words)
    _, others = meter.stop()
    return Found(result, batches, watch.used(), others, trouble)


def expected_seconds(step: Step) -> float:
    """Tell how long a step takes, with connecting before it and comparing after it."""
    return step.seconds + _STEP_SECONDS + step.sockets / _SOCKETS_PER_SECOND


def _said(error: BenchError, words: Path) -> str:
    """Say why a client ended, in its own words if it left any."""
    lines = words.read_text(errors="replace").splitlines() if words.exists() else []
    return f"{error}: {lines[-1]}" if lines else str(error)


def arguments(running: Cluster, directory: Path, played: Servers, step: Step) -> list[str]:
    """Make the arguments of the generator."""
    processes = -(-step.sockets // _SOCKETS_OF_CLIENT)
    # PostgreSQL has a process for each session, which only `Watch` counts.
    processor = {name: one for name, one in running.processes.items() if name != "postgres"}
    measured = ",".join(f"{name}={one.pid}" for name, one in processor.items())
    words = [
        *("watch", "--output", "json", "--url", ",".join(running.live_urls)),
        *("--sockets", str(step.sockets), "--processes", str(processes), "--ramp", str(_RAMP)),
        *("--phases", f"warm:{_WARM_SECONDS:g}:1,{MEASURED}:{step.seconds:g}:1"),
        *("--server-pid", measured, *game.audience_of(played.users)),
    ]
    if step.games:
        words += _driven(running, directory, played, step)
    return words


def _driven(running: Cluster, directory: Path, played: Servers, step: Step) -> list[str]:
    """Make those that say what is submitted and read."""
    long = _WARM_SECONDS + step.seconds + _SPARE_SECONDS
    games = list(played.games(int(step.games * long) + 1))
    files = {name: directory / f"submits-{name}.ndjson" for name in ("http", "ws")}
    game.write(files["http"], games[::2])
    game.write(files["ws"], games[1::2])
    # Of each kind half the games, and each game to two boards.
    rate, connections = f"{step.games / 2 * BOARDS_OF_GAME:g}", str(_CONNECTIONS)
    words = [
        *("--http", ",".join(running.http_urls), "--timed-by", "content"),
        *("--submits", str(files["http"]), "--drive", rate, "--drive-connections", connections),
        *("--submits-ws", str(files["ws"]), "--drive-ws", rate),
        *("--drive-ws-connections", connections),
    ]
    if step.reads:
        words += ["--reads", f"{step.games * READS_PER_GAME:g}", "--reads-connections", connections]
    return words


# Batches.


@contextlib.contextmanager
def _batching(
    directory: Path, running: Cluster, played: Servers, step: Step
) -> Iterator[Process | None]:
    """Give a client that sends batches as soon as all watchers are there, if any are asked for."""
    if not step.batched:
        yield None
        return
    rate = step.batched / step.batch * BOARDS_OF_GAME
    count = int(rate * (_WARM_SECONDS + step.seconds - 2 * _EDGE_SECONDS))
    file = directory / "batches.ndjson"
    file.write_bytes(b"\n".join(map(msgspec.json.encode, _requests(played, step, count))))
    words = (str(running.apis[0].port), str(file), str(rate), str(_CONNECTIONS))
    command = (sys.executable, pacer.__file__, *words)
    with harness.running(command, directory / "pacer.log", talks=True) as client:
        client.hear()
        with _Starter(running, client, step.sockets):
            yield client


def _requests(played: Servers, step: Step, count: int) -> Iterator[Request]:
    """Make requests, each of which has so many games of one cohort, for one of both boards."""
    for _ in range(-(-count // BOARDS_OF_GAME)):
        games = played.together(step.batch)
        items = [{"member": f"player-{user}", "score": score} for user, score in games]
        for board in ("global", game.cohort(games[0][0])):
            yield Request("POST", f"/v1/boards/{board}/scores:batch", items)


class _Starter:
    """Lets a client go on when all watchers have connected, while a block runs."""

    def __init__(self, running: Cluster, client: Process, watchers: int) -> None:
        self._running = running
        self._client = client
        self._watchers = watchers
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._start)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _start(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            found = [harness.metrics(hub.port) for hub in self._running.hubs]
            if sum(one["rankwire_live_connections"] for one in found) >= self._watchers:
                self._stopping.wait(_EDGE_SECONDS)
                self._client.go_on()
                return
