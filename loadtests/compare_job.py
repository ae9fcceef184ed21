"""The whole job: Rankwire beside FastAPI over Redis with Pub/Sub, under the same game.

A game is two submits and ten reads. Measured of each side: what a request and a delivery take of
the processor, what an idle watcher takes of the memory, and how many games a second it carries
while watchers look on. A rate is carried if everything was answered and delivered right, if at
least 95 % of what was due was done, and if neither answers nor deliveries were late.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

import compare_lines
import compare_runs
import compare_stacks
import game
import harness
import swarm
from compare_lines import Line, line
from compare_runs import Run
from compare_stacks import Stack
from game import Game

READS: Final = 10
"""Reads of a game."""
SUBMITS: Final = 2
API_P99_MS: Final = 200.0
"""Answers that come later are too late."""
DELIVERY_P99_MS: Final = 300.0
"""The same for deliveries: both sides wait for a tick of 100 ms besides."""
CHANGES: Final = 10
"""Changes a second of the board whose deliveries are measured."""
PART: Final = "whole job"
_DONE: Final = 0.95
FEW_SOCKETS: Final = 10
_MIX: Final = ", ".join(f"{game.SHARES[one]:.0%} {one}" for one in (game.TOP, game.COHORT_TOP))


class Options(msgspec.Struct, frozen=True):
    """How much to measure."""

    users: int
    history: int
    watchers: list[int]
    """The game is watched by the first number; deliveries are measured with each."""
    modest: int
    """Games a second at which requests are measured, and from which the highest rate is sought."""
    narrowings: int
    seconds: int


class Side(msgspec.Struct):
    """All that was measured of one side; None and empty where it was not asked for."""

    name: str
    durable: str
    request: Run | None = None
    deliveries: list[Run] = []
    bytes_per_connection: float | None = None
    games: list[Run] = []
    """The runs in which the highest rate was sought, in their order."""
    carried: int = 0


def measure(program: Path, directory: Path, options: Options) -> tuple[list[Side], float]:
    """Measure all sides, each alone; also return what other programs took at most."""
    sides: list[Side] = []
    worst = 0.0
    for name in compare_stacks.DURABLE:
        with compare_stacks.opened(name, directory, options.users, options.history) as stack:
            meter = harness.Meter(harness.cores(), stack.processes)
            runs = Runs(program, directory, stack, options)
            # The second persistence changes what a submit costs, and nothing about watchers.
            sides.append(runs.after(sides[1]) if len(sides) > 1 else runs.whole())
            others = meter.stop()[1]
        harness.progress(f"{name}: {sides[-1].carried:,} games a second", others)
        worst = max(worst, others)
    return sides, worst


class Runs:
    """The runs of the generator against one stack."""

    def __init__(self, program: Path, directory: Path, stack: Stack, options: Options) -> None:
        self._program = program
        self._submits = directory / "submits.ndjson"
        self._stack = stack
        self._options = options
        self._game = Game(options.users)
        self._side = Side(stack.name, compare_stacks.DURABLE[stack.name])

    def whole(self) -> Side:
        """Measure everything."""
        # At first: memory that connections had before would be used again.
        self._side.bytes_per_connection = self._memory()
        self._side.request = self._play("requests", self._options.modest, FEW_SOCKETS)
        self._side.deliveries = [self._deliver(count) for count in self._options.watchers]
        return self._climb(self._options.modest)

    def after(self, known: Side) -> Side:
        """Measure only what the way of persistence may change."""
        self._side.request = self._play("requests", self._options.modest, FEW_SOCKETS)
        return self._climb(max(known.carried, 1))

    def _climb(self, start: int) -> Side:
        """Seek the highest rate that is carried."""

        def tries(rate: int) -> bool:
            run = self._play("game", rate, self._options.watchers[0])
            self._side.games.append(run)
            told = why_not(run) or f"carried, {run.cpu_share:.0%} of the core"
            harness.progress(f"{run.side}: {rate:,} games a second: {told}")
            return not why_not(run)

        # Something else on the machine may spoil a try, so each rate has two.
        def carries(rate: int) -> bool:
            return tries(rate) or tries(rate)

        self._side.carried = compare_lines.highest(carries, start, self._options.narrowings)
        return self._side

    def _play(self, what: str, rate: int, sockets: int) -> Run:
        """Play so many games a second before so many watchers."""
        # Some more than needed, so that the driver never runs dry.
        game.write(self._submits, self._game.games(rate * (self._options.seconds + 5)))
        users = self._options.users
        result = self._watch(
            *("--sockets", str(sockets), "--mix", _MIX, "--members", str(users)),
            *("--cohorts", str(users // game.COHORT), "--submits", str(self._submits)),
            *("--drive", str(SUBMITS * rate), "--drive-connections", "16"),
            *("--reads", str(READS * rate)),
        )
        return compare_runs.read(self._stack.name, (what, rate), (SUBMITS + READS) * rate, result)

    def _deliver(self, sockets: int) -> Run:
        """Change a board that so many watch."""
        mix = f"board:{compare_stacks.STAGE}:top:10"
        result = self._watch(
            *("--sockets", str(sockets), "--mix", mix),
            *("--drive", str(CHANGES), "--drive-board", compare_stacks.STAGE),
        )
        run = compare_runs.read(self._stack.name, ("deliveries", CHANGES), CHANGES, result)
        harness.progress(f"{run.side}: deliveries to {sockets:,}: {why_not(run) or 'in time'}")
        return run

    def _watch(self, *arguments: str) -> Any:
        length = ("--seconds", str(self._options.seconds))
        return swarm.attempt(self._program, "watch", *self._stack.doors, *length, *arguments)

    def _memory(self) -> float:
        """Return the bytes of each idle connection."""
        most = self._options.watchers[0]
        mix = f"board:{compare_stacks.STAGE}:top:10"
        pid = ("--server-pid", str(self._stack.watchers.pid))
        steps = [most // 4, most // 2, most]
        result = swarm.run(
            self._program,
            *("idle", *self._stack.hub, *self._stack.http, *pid, "--mix", mix),
            *("--seconds", "1", "--steps", ",".join(map(str, steps))),
        )
        return compare_runs.bytes_per_connection(result)


def why_not(run: Run) -> str:
    """Return why a rate is not carried; nothing if it is."""
    reasons = {
        f"wrong: {run.errors}": not run.is_right,
        f"only {run.requests:,} of {run.due:,} requests": run.requests < _DONE * run.due,
        f"p99 of answers {run.api_p99_ms} ms": (run.api_p99_ms or 0.0) > API_P99_MS,
        f"p99 of deliveries {run.delivery_p99_ms} ms": (
            (run.delivery_p99_ms or 0.0) > DELIVERY_P99_MS
        ),
    }
    return ", ".join(reason for reason, holds in reasons.items() if holds)


def lines(sides: list[Side]) -> Iterator[Line]:
    """Put ours beside each other side; of a run with errors no figure is told."""
    ours, *peers = sides
    for peer in peers:
        watchers = ours.games[0].sockets
        carried = (PART, f"games/s carried, {watchers:,} watchers")
        yield line(carried, ours.carried, peer.name, peer.carried, less=False)
        if ours.request and peer.request:
            under = f"{ours.request.rate:,} games/s"
            told = (PART, compare_runs.REQUESTS, ours.request, peer.request)
            yield from compare_runs.lines(*told, under)
        for mine, theirs in zip(ours.deliveries, peer.deliveries, strict=False):
            under = f"{mine.sockets:,} watchers, {CHANGES} changes/s"
            yield from compare_runs.lines(PART, compare_runs.DELIVERIES, mine, theirs, under)
        if peer.bytes_per_connection is not None:
            memory = (PART, f"bytes of memory/connection, {watchers:,} idle")
            figures = (ours.bytes_per_connection, peer.name, peer.bytes_per_connection)
            yield line(memory, *figures, less=True)
