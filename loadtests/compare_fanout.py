"""Fan-out and idle connections: Rankwire beside Centrifugo, for `compare.py`.

Both speak the same protocol, so the same generator watches both, in JSON. Centrifugo is told what
to send by a small backend, whose publications look like our views; keeping and ranking scores is
its business, and is not counted. Ours does all that in the process that is measured, SQLite
included. Measured of both: memory of idle connections, processor time and delay of deliveries at a
modest rate and at one that is more than a core delivers, and how long it takes until all are back
that were cut off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import msgspec

import compare_centrifugo
import compare_runs
import harness
import swarm
from compare_centrifugo import CHANNEL, MEMBERS, Centrifugo
from compare_lines import Line, line
from compare_runs import Run
from swarm import Server

PART: Final = "fan-out"
CALM: Final = "rankwire"
PEER: Final = "centrifugo"
SOONER: Final = ("--live-tick-ms", "10", "--live-deliveries-per-second", "10000000")
"""Settings of ours with which it does not wait, and so conflates only what it must."""
SOON: Final = "our tick 10 ms"
# With 20,000 files a server takes 19,000 connections.
_LIMIT: Final = ("--live-max-connections", "19000")
_STORM_CHANGES: Final = 2


class Options(msgspec.Struct, frozen=True):
    """How much to measure."""

    steps: list[int]
    watchers: int
    modest: int
    """Changes a second that both deliver in time."""
    fast: int
    """More changes a second than both can deliver."""
    cut_off: int
    stay: int
    seconds: int


class Storm(msgspec.Struct, frozen=True):
    """How those who were cut off came back, and what those who stayed noticed."""

    seconds: float
    p99_ms: float | None
    is_right: bool
    errors: dict[str, int]


class Side(msgspec.Struct):
    """All that was measured of one server; None where it was not asked for."""

    name: str
    bytes_per_connection: float | None = None
    modest: Run | None = None
    fast: Run | None = None
    storm: Storm | None = None


class Sides(msgspec.Struct):
    """Ours as it comes, ours that does not wait, and Centrifugo."""

    calm: Side
    soon: Side
    peer: Side


def measure(
    program: Path, directory: Path, centrifugo: Centrifugo, options: Options
) -> tuple[Sides, float]:
    """Measure all, each alone; also return what other programs took at most."""
    others: list[float] = []

    def run(name: str, serving: AbstractContextManager[Server], *arguments: str) -> Side:
        with serving as server:
            meter = harness.Meter(harness.cores(), [server.process])
            runs = Runs(program, name, server, arguments, options)
            side = Side(name)
            # Idle connections come first: memory that was used before would be used again.
            side.bytes_per_connection = None if name == SOON else runs.idle()
            side.modest = runs.watch(options.modest)
            side.fast = None if name == CALM else runs.watch(options.fast)
            side.storm = None if name == SOON else runs.storm()
            others.append(meter.stop()[1])
        harness.progress(f"{name}: done", others[-1])
        return side

    sides = Sides(
        run(CALM, rankwire(directory, "calm")),
        run(SOON, rankwire(directory, "soon", *SOONER)),
        # It says nothing at a subscription: without history there is nothing to say.
        run(PEER, compare_centrifugo.serving(directory, centrifugo), "--first-state", "none"),
    )
    return sides, max(others)


@contextlib.contextmanager
def rankwire(directory: Path, name: str, *flags: str) -> Iterator[Server]:
    """Run our server with a board of a full top 10."""
    with swarm.serving(directory, name, *_LIMIT, *flags) as server:
        harness.call(server.port, "PUT", "/v1/boards/global", {"policy": "best"})
        items = [{"member": f"player-{number}", "score": number} for number in range(MEMBERS)]
        harness.call(server.port, "POST", "/v1/boards/global/scores:batch", items)
        yield server


class Runs:
    """The runs of the generator against one server."""

    def __init__(
        self, program: Path, name: str, server: Server, arguments: tuple[str, ...], options: Options
    ) -> None:
        """Remember how to run; `arguments` are for this server only."""
        self._program = program
        self._name = name
        self._doors = (*server.hub, *server.api, "--mix", CHANNEL, *arguments)
        self._options = options

    def idle(self) -> float:
        """Return the bytes of each idle connection."""
        steps = ",".join(map(str, self._options.steps))
        result = swarm.run(self._program, "idle", *self._doors, "--seconds", "1", "--steps", steps)
        return compare_runs.bytes_per_connection(result)

    def watch(self, rate: int) -> Run:
        """Change the top so many times a second."""
        result = swarm.attempt(
            self._program,
            *("watch", *self._doors, "--sockets", str(self._options.watchers)),
            *("--seconds", str(self._options.seconds)),
            *("--drive", str(rate), "--drive-connections", "4"),
        )
        run = compare_runs.read(self._name, ("deliveries", rate), rate, result)
        harness.progress(f"{run.side}: {run.deliveries_per_second:,.0f} deliveries/s")
        return run

    def storm(self) -> Storm:
        """Cut off nearly all watchers at once."""
        options = self._options
        result = swarm.attempt(
            self._program,
            *("storm", *self._doors, "--sockets", str(options.cut_off)),
            *("--stay", str(options.stay), "--seconds", "2", "--drive", str(_STORM_CHANGES)),
        )
        during = result["latency"]["during"]["from_sent"]
        p99 = during["p99_ms"] if during["count"] else None
        storm = Storm(result["back"]["seconds"], p99, result["ok"], result["errors"])
        harness.progress(f"{self._name}: back after {storm.seconds} s {storm.errors or ''}")
        return storm


def lines(sides: Sides, options: Options) -> Iterator[Line]:
    """Put ours beside Centrifugo."""
    calm, soon, peer = sides.calm, sides.soon, sides.peer
    memory = (PART, f"bytes of memory/connection, {max(options.steps):,} idle")
    figures = (calm.bytes_per_connection, PEER, peer.bytes_per_connection)
    yield line(memory, *figures, less=True)
    pairs = (
        *((calm.modest, peer.modest, "as it comes"), (soon.modest, peer.modest, SOON)),
        # As it comes ours conflates to ten states a second, so it would have less to do.
        (soon.fast, peer.fast, SOON),
    )
    for mine, theirs, setting in pairs:
        if mine and theirs:
            under = f"{mine.sockets:,} watchers, {mine.rate} changes/s, {setting}"
            yield from compare_runs.lines(PART, compare_runs.DELIVERIES, mine, theirs, under)
    if calm.storm and peer.storm:
        yield from _storm_lines(calm.storm, peer.storm, options)


def _storm_lines(ours: Storm, theirs: Storm, options: Options) -> Iterator[Line]:
    back = (PART, f"seconds until {options.cut_off:,} are back")
    mine, other = (storm.seconds if storm.is_right else None for storm in (ours, theirs))
    yield line(back, mine, PEER, other, less=True)
    stayed = (PART, f"p99 ms to the {options.stay:,} that stay meanwhile")
    mine, other = (storm.p99_ms if storm.is_right else None for storm in (ours, theirs))
    yield line(stayed, mine, PEER, other, less=True)
