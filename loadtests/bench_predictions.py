"""What the capacity model predicts of a server, beside what a real one does.

First 15,000 watchers connect, and the memory of a connection is measured. Then, for a
minute, 6,000 watch while 200 games a second end: of their scores three of four are submitted over
WebSocket and one over HTTP, each to the board of all and to a cohort's; and 1,500 reads a second
come over HTTP. Predicted from python/rankwire/ops/data/units.json, which `make bench-units` wrote
in runs of its own at other loads: the server's processor time, deliveries, bytes to a watcher,
bytes of answers, and memory.

The server runs on one core, all clients on another. Every answer has to be a success, and every
watcher has to see in the end what the HTTP API says. Last, a server with `ops.caching` `apply`
promises a hit rate of profiles and keeps it. Exits with 1 when a prediction is more than 20 % off,
or the hit rate more than 0.05. The last line is JSON.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

import bench_units
import harness
import pacer
import swarm
import units_caching
import units_requests
import units_views
from game import COHORT, COHORT_TOP, SHARES, STANDING, TOP, Game, audience_of, fill, submits, write
from harness import BenchError, Process
from pacer import Request, Result
from rankwire.ops.capacity import model
from rankwire.ops.capacity.model import Audience, Load
from rankwire.ops.capacity.units import SHIPPED, Units
from swarm import Server

MOST_ERROR: Final = 0.2
_KINDS: Final = ("top", "member", "around")
_OVER_HTTP: Final = 0.25
# The driver begins and ends with the watchers; requests begin a bit later and end a bit earlier.
_EDGE_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.25
_SEED: Final = 7


class Options(msgspec.Struct, frozen=True):
    """The size of the run."""

    users: int
    idle: int
    watchers: int
    games: int
    """A second."""
    reads: int
    """A second."""
    seconds: int
    units: str
    """The file of them."""


class Row(msgspec.Struct, frozen=True):
    """One figure."""

    figure: str
    unit: str
    predicted: float
    measured: float
    most_difference: float | None = None
    """Judges by the difference instead of the ratio: for shares, like the hit rate of a cache."""

    @property
    def ratio(self) -> float:
        """Predicted by measured."""
        return self.predicted / self.measured if self.measured else float("inf")

    @property
    def is_right(self) -> bool:
        """Whether it is close enough."""
        if self.most_difference is not None:
            return abs(self.predicted - self.measured) <= self.most_difference
        return abs(self.ratio - 1) <= MOST_ERROR


Section = Callable[[Path, Path, Options, Units], list[Row]]
"""Predicts and measures: from the generator, a directory, the options and the units."""


def main() -> None:
    options = read_options()
    harness.require(("taskset", "setpriv"), ())
    units = Units.load(Path(options.units))
    program = swarm.build()
    rows: list[Row] = []
    with harness.working_directory() as directory:
        meter = harness.Meter(harness.cores())
        for section in SECTIONS:
            rows += section(program, directory, options, units)
        _, others = meter.stop()
    report(rows, others, options)


def read_options() -> Options:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=Path, default=SHIPPED, help="file of units")
    parser.add_argument(
        "--seconds", type=harness.positive, default=60, help="length of the load (default: 60)"
    )
    parser.add_argument("--quick", action="store_true", help="some seconds: only a test")
    given = parser.parse_args()
    if given.quick:
        return Options(2000, 600, 500, 30, 300, 5, str(given.units))
    return Options(16_000, 15_000, 6000, 200, 1500, given.seconds, str(given.units))


# Connections.


def connections(program: Path, directory: Path, options: Options, units: Units) -> list[Row]:
    """Predict and measure the memory of connections, at another number of them."""
    limit = ("--live-max-connections", str(options.idle + 10))
    with swarm.serving(directory, "connections", *limit) as server:
        bench_units.make_boards(server, options.users)
        found = bench_units.connections(
            program,
            server,
            bench_units.Options(
                users=options.users,
                watchers=options.watchers,
                idle=options.idle,
                games=options.games,
                members=0,
                seconds=1,
                rest=1,
                output=Path(options.units),
            ),
            units["cpu_base"],
        )
    names = ("memory_connection", "memory_connection_kernel")
    harness.progress(f"own memory of a connection: {found[names[0]]:.0f} bytes")
    # Its own part, a tenth, comes in the allocator's steps; what counts is what a machine needs.
    predicted, measured = sum(units[name] for name in names), sum(found[name] for name in names)
    return [Row("memory of a connection, the kernel's included", "bytes", predicted, measured)]


# Load.


def load(program: Path, directory: Path, options: Options, units: Units) -> list[Row]:
    """Predict and measure what a server uses under the load."""
    limit = ("--live-max-connections", str(options.watchers + 20))
    with swarm.serving(directory, "game", *limit) as server:
        fill(server.port, Game(options.users).history(units_requests.HISTORY))
        server.process.terminate()
    # What filling needed for a while is not there after a start.
    with swarm.serving(directory, "game", *limit) as server:
        result, answers = run(program, directory, server, options)
    seconds = float(result["seconds"])
    traffic = result["traffic"]
    wanted = predict(result, answers, options, units)
    kernel = units["memory_connection_kernel"] * options.watchers
    # Each user is on two boards.
    members = 2 * options.users
    resident = model.memory(units, connections=options.watchers, members=members) - kernel
    return [
        Row("resident memory", "bytes", resident, result["memory"]["after"]["rss_kb"] * 1024.0),
        Row("processor time", "cores", wanted.cores, result["server"]["cpu_seconds"] / seconds),
        Row("deliveries", "1/s", wanted.deliveries, traffic["deliveries_per_second"]),
        Row(
            "bytes to a watcher",
            "bytes/s",
            wanted.frame_bytes / options.watchers,
            traffic["frame_bytes_per_second_each"],
        ),
        Row(
            "bytes of an answer",
            "bytes",
            wanted.answer_bytes,
            answers.bytes_received / answers.answered,
        ),
    ]


class Predicted(msgspec.Struct, frozen=True):
    """What the model says of the load."""

    cores: float
    deliveries: float
    frame_bytes: float
    answer_bytes: float


def predict(result: Any, answers: Result, options: Options, units: Units) -> Predicted:
    """Ask the model about the load that there really was: rates as the clients kept them."""
    seconds = float(result["seconds"])
    over_socket = result["driver"]["receipts"]["count"] / seconds
    # Requests last a bit less than the measurement.
    requests = answers.answered / seconds
    submits = requests * submit_share(options)
    reads = (requests - submits) / len(_KINDS)
    audience = Audience(
        watchers=options.watchers,
        top=SHARES[TOP],
        cohort=SHARES[COHORT_TOP],
        standing=SHARES[STANDING],
        users=options.users,
        cohorts=options.users / COHORT,
        changing=units["change_share"],
        updates=(over_socket + submits) / 2,
    )
    seen = model.traffic(audience, units)
    asked = Load(
        http_submits=submits,
        ws_submits=over_socket,
        changing=units["change_share"],
        top_reads=reads,
        member_reads=reads,
        around_reads=reads,
        connections=options.watchers,
        evaluations=seen.evaluations,
        deliveries=seen.deliveries,
    )
    content = sum(units[f"bytes_read_{kind}"] * reads for kind in _KINDS)
    content += units["bytes_receipt"] * submits
    # The clients see frames, without what TLS and TCP/IP put around each.
    messages = seen.deliveries + options.watchers * units["pings_per_second"]
    frames = seen.wire_bytes - messages * (model.TCP_BYTES + model.TLS_BYTES)
    return Predicted(model.cores(asked, units), seen.deliveries, frames, content / requests)


def submit_share(options: Options) -> float:
    """Tell which share of the requests over HTTP are submits."""
    submits = 2 * options.games * _OVER_HTTP
    return submits / (submits + options.reads)


def run(program: Path, directory: Path, server: Server, options: Options) -> tuple[Any, Result]:
    """Put the server under load."""
    chance = random.Random(_SEED)
    games = list(Game(options.users).games(options.games * (options.seconds + 5)))
    over_http = [chance.random() < _OVER_HTTP for _ in games]
    file = directory / "games.ndjson"
    write(file, itertools.compress(games, (not http for http in over_http)))
    rate = 2 * options.games * _OVER_HTTP + options.reads
    count = int(rate * (options.seconds - 2 * _EDGE_SECONDS))
    played = itertools.compress(games, over_http)
    made = list(itertools.islice(requests(played, options, chance), count))
    size = units_views.Options(options.users, options.watchers, options.games, options.seconds)
    with pacer.pacing(server.port, directory, made, rate) as client:
        client.hear()
        drive = 2 * options.games * (1 - _OVER_HTTP)
        with Starter(server, client, options.watchers):
            result = units_views.watch(
                program,
                server,
                size,
                *(*audience_of(size.users), "--submits", str(file), "--drive", str(drive)),
                seconds=options.seconds,
            )
        answers = pacer.result_of(client)
    if answers.seconds > options.seconds:
        raise BenchError("the requests took longer than the measurement")
    return result, answers


def requests(
    games: Iterator[tuple[int, int]], options: Options, chance: random.Random
) -> Iterator[Request]:
    """Make submits and reads in their shares, without an end but that of the games."""
    kinds = itertools.cycle(_KINDS)
    played = (
        Request(
            "POST", f"/v1/boards/{one.board}/scores", {"member": one.member, "score": one.score}
        )
        for one in submits(games)
    )
    share = submit_share(options)
    for number in itertools.count():
        if int((number + 1) * share) > int(number * share):
            if (submit := next(played, None)) is None:
                return
            yield submit
        else:
            yield units_requests.read_request(next(kinds), chance.randrange(options.users))


class Starter:
    """Lets a client go on when all watchers have connected, while a block runs."""

    def __init__(self, server: Server, client: Process, watchers: int) -> None:
        """Prepare."""
        self._server = server
        self._client = client
        self._watchers = watchers
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._start)

    def __enter__(self) -> None:
        """Begin to look."""
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stopping.set()
        self._thread.join()

    def _start(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            found = harness.metrics(self._server.port)["rankwire_live_connections"]
            if found >= self._watchers:
                self._stopping.wait(_EDGE_SECONDS)
                self._client.go_on()
                return


# Caching.


def caching(program: Path, directory: Path, options: Options, units: Units) -> list[Row]:
    """Let caching promise a hit rate and keep it."""
    del program, options, units
    promised, kept = units_caching.hit_rates(directory)
    return [Row("hit rate of profiles", "part", promised, kept, most_difference=0.05)]


SECTIONS: Final[list[Section]] = [connections, load, caching]
"""In this order; a section may use what those before have left in the directory."""


def report(rows: list[Row], others: float, options: Options) -> None:
    """Print the table and the result; end with 1 when a prediction is wrong."""
    head = ("what", "unit", "predicted", "measured", "ratio")
    shown = ((row.figure, row.unit, row.predicted, row.measured, row.ratio) for row in rows)
    print(harness.table(head, shown))
    wrong = [row.figure for row in rows if not row.is_right]
    harness.print_result(
        "predictions",
        others,
        unit="predicted / measured",
        rows=[msgspec.structs.asdict(row) | {"ratio": round(row.ratio, 3)} for row in rows],
        most_error=MOST_ERROR,
        wrong=wrong,
        options=options,
    )
    if wrong:
        sys.exit(f"too far off: {', '.join(wrong)}")


if __name__ == "__main__":
    harness.main(main)
