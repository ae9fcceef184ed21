"""What one machine carries of the large game, step by step, and the fleet that carries it all.

The game has 1,000,000 users in 10,000 cohorts of 100; 500,000 games end in a minute, and each is
submitted to the board of all and to that of its player's cohort: 16,667 submits a second. With
each come ten reads over HTTP, and 750,000 sockets watch. PostgreSQL, Redis, one node that serves
HTTP, nodes that hold sockets (as many as the limit of open files asks for; each holds all boards)
and all clients share this machine. No process is pinned to a core.

Four series, each of which ends at the first step that is not carried:

- `games`: more and more games, submitted one by one, half over HTTP and half over WebSocket, with
  ten reads each, beside a fixed number of sockets;
- `batches`: the same without reads, most games in batches of a cohort's, as game servers send them;
- `sockets`: more and more sockets beside the fewest games;
- `idle`: more and more sockets to which nothing comes but pings, up to what memory holds.

A step is carried when 99 % of the requests are answered within 150 ms from the moment at which
they were due, nothing goes wrong, no watcher is told anything late (5 s) or is wrong in the end,
and 2 GiB of memory stay free. A step for which memory does not suffice, by what the steps before
have taken, or time, is not begun, and says so. A step that is not carried is a limit that was
found, and no error.

Beside what was measured stands what the capacity model predicts, and in the end the smallest fleet
by the capacity planner, its price, and the machines that were stated for it. Written to
loadtests/results/DATE-large.json and .md; the last line is JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

import cluster
import harness
import large_load
import large_report
import swarm
from cluster import Cluster
from large_load import Servers, Step
from large_machine import LEAST_FREE, available, kernel_memory, resident
from large_rows import Before, Row, not_tried, row_of
from rankwire.ops.capacity.units import Units

RESULTS: Final = harness.ROOT / "loadtests" / "results"
USERS: Final = 1_000_000
GAMES: Final = (83.0, 833.0, 1667.0, 2500.0, 4167.0, 8333.0)
"""A second: of 500,000 a minute one, 10, 20, 30, 50 and 100 in a hundred."""
SOCKETS: Final = (18_750, 37_500, 75_000, 150_000, 300_000, 450_000, 600_000, 750_000)
BATCH: Final = 50
MINUTES: Final = 25.0

# What ends a run: writing, and the end of all processes.
_END_SECONDS: Final = 30.0
# Two pings at least.
_IDLE_SECONDS: Final = 30.0
_LEAST_USERS: Final = 200
_LEAST_SOCKETS: Final = 20


class Options(msgspec.Struct, frozen=True):
    """The size of the run."""

    users: int
    games: list[float]
    sockets: list[int]
    batch: int
    seconds: float
    idle_seconds: float
    minutes: float
    factor: float


class Steps:
    """Runs one step after the other with as many nodes as each needs."""

    def __init__(
        self, program: Path, directory: Path, running: Cluster, played: Servers, options: Options
    ) -> None:
        """Take a filled cluster."""
        self._program = program
        self._directory = directory
        self._running = running
        self._played = played
        self._options = options
        self._units = Units.load()
        self._stack = contextlib.ExitStack()
        self._end = time.monotonic() + options.minutes * 60 - _END_SECONDS
        # Bytes of a socket, both ends; by the units until a step has shown it.
        self._each = self._units["memory_connection"] + 2 * self._units["memory_connection_kernel"]
        self._empty = Before(kernel_memory())
        # What it took to start a node the last time.
        self._node_seconds = 0.0
        self.rows: list[Row] = []

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the nodes that were added."""
        self._stack.close()

    def series(self, steps: Sequence[Step]) -> Row | None:
        """Run steps until one is not carried; return the last that was."""
        last = None
        for step in steps:
            row = self._step(step)
            self.rows.append(row)
            harness.progress(large_report.line(row), row.others)
            if not row.carried:
                break
            last = row
        return last

    def _step(self, step: Step) -> Row:
        hubs = max(cluster.hubs_for(step.sockets), len(self._running.hubs))
        if why := self._hindered(step, hubs):
            return not_tried(step, hubs, why)
        more = hubs - len(self._running.hubs)
        if more:
            began = time.monotonic()
            grown = cluster.more_hubs(self._running, self._directory, more)
            self._running = self._stack.enter_context(grown)
            self._node_seconds = (time.monotonic() - began) / more
        before = available()
        found = large_load.run(self._program, self._directory, self._running, self._played, step)
        # A client that sends batches has them all in its memory.
        if not step.batched:
            self._each = max(0.0, before - found.used.available) / step.sockets
        return row_of(step, hubs, self._played.users, found, self._empty, self._units)

    def _hindered(self, step: Step, hubs: int) -> str:
        """Say why a step is not begun; empty when it can be."""
        more = max(0, hubs - len(self._running.hubs))
        return hindrance(
            needed=step.sockets * self._each + more * self._node(),
            room=available() - LEAST_FREE,
            seconds=large_load.expected_seconds(step) + more * self._node_seconds,
            left=self._end - time.monotonic(),
        )

    def _node(self) -> float:
        """Tell the bytes of one more node: those of the largest there is."""
        return max(resident(node.process.pid) for node in self._running.nodes)


def main() -> None:
    options, output = read_options()
    cluster.require()
    program = swarm.build()
    started = time.monotonic()
    with harness.working_directory() as directory:
        rows = play(program, directory, options)
    large_report.report(rows, options, output, time.monotonic() - started)


def play(program: Path, directory: Path, options: Options) -> list[Row]:
    """Run all series."""
    most = cluster.hubs_for(max(options.sockets))
    with cluster.cluster(directory, 0, 1, most_hubs=most) as running:
        played = Servers(options.users)
        harness.progress(f"filling the boards of {options.users:,} users")
        began = time.monotonic()
        large_load.fill(running, played)
        spent = (time.monotonic() - began) / 60
        left = msgspec.structs.replace(options, minutes=options.minutes - spent)
        with Steps(program, directory, running, played, left) as steps:
            run_series(steps, options)
            return steps.rows


def run_series(steps: Steps, options: Options) -> None:
    """Run the four series; the last one goes on from the sockets that were carried."""
    seconds, (few, *_) = options.seconds, options.sockets
    least = options.games[0]
    steps.series([Step("games", few, games, seconds=seconds) for games in options.games])
    steps.series(
        [
            Step(
                *("batches", few, least),
                reads=False,
                batched=games - least,
                batch=options.batch,
                seconds=seconds,
            )
            for games in options.games[1:]
        ]
    )
    carried = steps.series(
        [Step("sockets", sockets, least, seconds=seconds) for sockets in options.sockets[1:]]
    )
    most = carried.step.sockets if carried else few
    steps.series(
        [
            Step("idle", sockets, 0.0, reads=False, seconds=options.idle_seconds)
            for sockets in options.sockets
            if sockets >= most
        ]
    )


def hindrance(*, needed: float, room: float, seconds: float, left: float) -> str:
    """Say what a step lacks, memory in bytes or time; empty when it can be begun."""
    if seconds > left:
        return "not tried: the time of the run was up"
    if needed > room:
        return f"not tried: {_gib(needed)} of memory are needed and {_gib(room)} are there"
    return ""


def read_options() -> tuple[Options, Path]:
    """Read the size of the run, and where its results go."""
    parser = harness.parser(__doc__)
    parser.add_argument(
        "--factor", type=_factor, default=1.0, help="size of everything, above 0 and at most 1"
    )
    parser.add_argument(
        "--seconds", type=harness.positive, default=20, help="of each step (default: 20)"
    )
    parser.add_argument(
        "--minutes", type=harness.positive, default=int(MINUTES), help="of the run (default: 15)"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the results go")
    given = parser.parse_args()
    return sized(given), given.output


def sized(given: argparse.Namespace) -> Options:
    """Make the options of a run of a size."""
    if given.quick:
        return _quick()
    factor, seconds = given.factor, float(given.seconds)
    return Options(
        users=max(_LEAST_USERS, round(USERS * factor)),
        games=[max(1.0, round(rate * factor, 1)) for rate in GAMES],
        sockets=[max(_LEAST_SOCKETS, round(count * factor)) for count in SOCKETS],
        batch=BATCH,
        seconds=seconds,
        idle_seconds=_IDLE_SECONDS,
        minutes=float(given.minutes),
        factor=factor,
    )


def _quick() -> Options:
    return Options(
        users=1000,
        games=[4.0, 20.0],
        sockets=[40, 80],
        batch=5,
        seconds=3.0,
        idle_seconds=3.0,
        minutes=MINUTES,
        factor=1000 / USERS,
    )


def _factor(text: str) -> float:
    if not 0 < (number := float(text)) <= 1:
        raise ValueError(text)
    return number


def _gib(size: float) -> str:
    return f"{size / 1024**3:.1f} GiB"


if __name__ == "__main__":
    harness.main(main)
