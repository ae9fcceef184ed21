"""Play a scenario: a cluster, a load, and a verdict.

    python loadtests/play.py medium
    python loadtests/play.py burst --factor 0.1 --output /tmp/results

A scenario is a file of `scenarios/`, by its name, or any other file of that kind. PostgreSQL,
Redis, nodes and the load generator run on this machine, on the loopback address, and end with the
run, which ends by itself however it goes. What was measured is written as DATE-NAME.json, and as
tables for people as DATE-NAME.md. The exit code is 1 if a check failed, or if there is no result.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

import book
import cluster
import game
import harness
import scenario
import swarm
import verdict
from cluster import Cluster
from game import Game
from harness import BenchError
from outcome import Outcome
from scenario import Scenario
from usage import Usage

HISTORY: Final = 8
"""Games of each user before, as few of the later ones beat the best."""

_SPARE_SECONDS: Final = 120
"""What a run may take beside opening sockets and its phases."""
# So many times the games that are needed are there, so that no driver runs dry.
_MORE: Final = 1.02
# Of the numbers, and the longest phase: only a test.
_QUICK: Final = (0.05, 3)
# Players do not wait for each other, and requests of one connection do: there are so many that
# hardly any is due while the one before it is under way.
_READ_CONNECTIONS: Final = 512
_SUBMIT_CONNECTIONS: Final = 256
# Fewer, as each has to submit about once a second: one that is used less often answers no pings
# meanwhile, and is closed.
_SUBMIT_SOCKETS: Final = 64
_ENCODINGS: Final = {
    "json": ("--encoding", "json"),
    "protobuf-delta": ("--encoding", "protobuf", "--delta"),
}


class Play(msgspec.Struct, frozen=True):
    """The games of a run: who had played before, and what is submitted through which door."""

    history: book.Scores
    over_http: list[tuple[int, int]]
    over_websocket: list[tuple[int, int]]


def play(chosen: Scenario, running: Cluster, program: Path, directory: Path) -> Outcome:
    """Put an empty cluster under load, and judge what came of it."""
    games = games_of(chosen)
    harness.progress(f"{chosen.game.users:,} users")
    game.fill(running.apis[0].port, games.history.items())
    files = (directory / "http.ndjson", directory / "websocket.ndjson")
    game.write(files[0], games.over_http)
    game.write(files[1], games.over_websocket)
    harness.progress(f"{chosen.sockets.count:,} sockets, then {chosen.seconds} s of load")
    with Usage(running.processes) as usage:
        result = generate(program, arguments(chosen, running, *files))
    harness.progress("what the boards hold", usage.used.others)
    doors = [
        book.Door(sent, [(*one,) for one in result[driver]["by_connection"]])
        for driver, sent in (("driver", games.over_http), ("driver_ws", games.over_websocket))
    ]
    expected = book.expected(games.history, doors, before_last_board(chosen))
    found = book.look(running, chosen.game.users, *expected)
    checks = verdict.judge(chosen, result, found)
    version = running.database.sql("SHOW server_version")[0][0]
    return Outcome(chosen, checks, found, usage.used, result, version)


def games_of(chosen: Scenario) -> Play:
    """Make the games, some more than are needed. Every second one is for one door."""
    made = Game(chosen.game.users)
    history = book.best_of(made.history(HISTORY))
    games = list(made.games(math.ceil(chosen.games * _MORE) + 2 * _SUBMIT_CONNECTIONS))
    return Play(history, over_http=games[::2], over_websocket=games[1::2])


def arguments(chosen: Scenario, running: Cluster, http: Path, websocket: Path) -> Iterator[str]:
    """Give the arguments of the generator."""
    # Each game is two submits, and half of the games come through each door.
    rate = str(chosen.games_per_second)
    most = math.ceil(chosen.games_per_second)
    sockets = chosen.sockets
    processes = max(2, math.ceil(sockets.count / cluster.most_sockets()))
    pids = {name: process.pid for name, process in running.processes.items() if name != "postgres"}
    yield from ("watch", "--url", ",".join(running.live_urls))
    yield from ("--http", ",".join(running.http_urls), *_ENCODINGS[sockets.encoding])
    yield from ("--sockets", str(sockets.count), "--processes", str(processes))
    yield from ("--ramp", str(sockets.opened_per_second), *game.audience_of(chosen.game.users))
    yield from ("--submits", str(http), "--drive", rate)
    yield from ("--drive-connections", str(min(_SUBMIT_CONNECTIONS, most)))
    yield from ("--submits-ws", str(websocket), "--drive-ws", rate)
    yield from ("--drive-ws-connections", str(min(_SUBMIT_SOCKETS, most)))
    yield from ("--reads", str(chosen.games_per_second * chosen.game.reads_per_game))
    yield from ("--reads-connections", str(_READ_CONNECTIONS), "--timed-by", "content")
    yield from ("--stale", str(chosen.bounds.stale_seconds))
    yield from ("--server-pid", ",".join(f"{name}={pid}" for name, pid in pids.items()))
    phases = (f"{one.name}:{one.seconds}:{one.factor}" for one in chosen.phases)
    yield from ("--phases", ",".join(phases))
    yield from _events(chosen)


def _events(chosen: Scenario) -> Iterator[str]:
    """Give the arguments that say what happens beside the load."""
    if chosen.sockets.reconnects_per_minute:
        yield from ("--churn", str(chosen.sockets.reconnects_per_minute))
    if chosen.slow:
        yield from ("--slow", f"{chosen.slow.sockets}:{chosen.slow.seconds}")
    if chosen.cut:
        yield from ("--cut", f"{chosen.cut.phase}:{chosen.cut.stay}")
        yield from ("--at-once", str(chosen.cut.at_once))
    for one in chosen.requests:
        body = f":{one.body}" if one.body else ""
        yield from ("--at", f"{one.phase}:{one.method}:{one.path}{body}")


def generate(program: Path, given: Iterator[str]) -> Any:
    """Run the generator to its end, and return its result, whatever it found."""
    command = ("setpriv", "--pdeathsig", "KILL", str(program), *given, "--output", "json")
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if ended.returncode not in {0, 1}:
        raise BenchError("the generator failed")
    return msgspec.json.decode(ended.stdout)


def before_last_board(chosen: Scenario) -> int:
    """Return how many submits of each door come before the global board is made anew, or 0."""
    made = [one.phase for one in chosen.requests if one.path == "/v1/boards/global"]
    if not made:
        return 0
    earlier = itertools.takewhile(lambda phase: phase.name != made[-1], chosen.phases)
    rate = chosen.games_per_second
    return math.ceil(sum(rate * phase.factor * phase.seconds for phase in earlier))


# The program.


def main() -> None:
    parser = harness.parser(__doc__)
    parser.add_argument("scenario", help="its name, or a file")
    parser.add_argument(
        "--factor", type=float, default=1.0, help="times so many users, games and sockets"
    )
    parser.add_argument(
        "--output", type=Path, default=harness.ROOT / "build" / "results", metavar="DIRECTORY"
    )
    given = parser.parse_args()
    factor, longest = _QUICK if given.quick else (given.factor, scenario.MOST_SECONDS)
    file = Path(given.scenario)
    read = scenario.read(file) if file.suffix else scenario.named(given.scenario)
    chosen = read.scaled(factor, longest)
    cluster.require()
    program = swarm.build()
    with (
        watched(chosen),
        harness.working_directory() as directory,
        cluster.cluster(directory, cluster.hubs_for(chosen.sockets.count)) as running,
    ):
        outcome = play(chosen, running, program, directory)
    print(outcome.publish(file.stem, given.output))
    if not outcome.ok:
        raise BenchError("a check failed")


@contextlib.contextmanager
def watched(chosen: Scenario) -> Iterator[None]:
    """End the block with an error when it takes longer than it can."""
    opening = chosen.sockets.count / chosen.sockets.opened_per_second
    limit = math.ceil(chosen.seconds + opening + _SPARE_SECONDS)

    def end(*_: object) -> None:
        raise BenchError(f"the run took more than {limit} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(limit)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    harness.main(main)
