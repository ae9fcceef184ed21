"""What one of each thing costs a server: the units that `rankwire ops capacity` plans with.

Measured on this machine, with a server on one core and all clients on another:

- processor time of reads and submits over HTTP and WebSocket, each at several rates that are kept
  whatever the answers take, and fitted: a cost of each request, one of each time that the server
  wakes for some, and one of each commit;
- of a delivery and of a look whether a view has changed, and of connections that do nothing;
- memory of the process, of a connection (the kernel's for both its ends, halved) and of a member;
- bytes of answers and messages, and how often views change, in a game like that of
  `bench_live_bytes.py`;
- the same of commits on PostgreSQL, of its own processor time and of its disk;
- and what a record of another node costs.

It takes about two and a half minutes and writes python/rankwire/ops/data/units.json, or the file
of `--output`. The last line is JSON.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

import harness
import postgres_side
import slab
import swarm
import units_requests
import units_views
from game import audience_of, boards
from rankwire.ops.capacity.units import NEEDED, SHIPPED, Unit, UnitFile, Units
from swarm import Server
from units_requests import Bench, Found

TARGET: Final = "make bench-units"
_FIGURES: Final = 5
_BATCH: Final = 5000


class Options(msgspec.Struct, frozen=True):
    """How much to measure."""

    users: int
    watchers: int
    idle: int
    games: int
    """A second."""
    members: int
    """Of one board, for their memory."""
    seconds: float
    """Of each level."""
    rest: float
    """Of the connections that do nothing; two pings at least."""
    output: Path


def main() -> None:
    options = read_options()
    harness.require(("taskset", "setpriv"), ("psycopg",))
    postgres_side.require()
    program = swarm.build()
    seconds = options.seconds
    with harness.working_directory() as directory:
        meter = harness.Meter(harness.cores())
        found = idle(program, directory, options)
        game = units_requests.Players(options.users, seconds)
        found |= units_requests.measure(program, directory, game, found)
        audience = units_views.Options(options.users, options.watchers, options.games, seconds)
        found |= units_views.measure(program, directory, audience, found)
        found |= units_requests.on_postgres(directory, game)
        _, others = meter.stop()
    report(found, others, options)


def read_options() -> Options:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=SHIPPED, help="where the units go")
    parser.add_argument("--quick", action="store_true", help="half a minute: only a test")
    given = parser.parse_args()
    if given.quick:
        return Options(2000, 300, 900, 20, 10_000, 1.0, 2.0, given.output)
    return Options(18_000, 4000, 18_000, 100, 200_000, 4.0, 26.0, given.output)


# Connections that do nothing.


def idle(program: Path, directory: Path, options: Options) -> Found:
    """Measure an empty server, and connections that nothing is sent to."""
    limit = ("--live-max-connections", str(options.idle + 10))
    with swarm.serving(directory, "idle", *limit) as server:
        empty = memory(server, "Rss")
        make_boards(server, options.users)
        players = units_requests.Players(options.users, options.seconds)
        base = Bench(server, directory, players).rest()
        found = connections(program, server, options, base)
        member = memory_of_member(server, options.members)
    return found | {"cpu_base": base, "memory_process": empty, "memory_member": member}


def make_boards(server: Server, users: int) -> None:
    """Make boards without members: connections would live in what is kept from filling them."""
    for board in boards(users):
        harness.call(server.port, "PUT", f"/v1/boards/{board}", {})


def connections(program: Path, server: Server, options: Options, base: float) -> Found:
    """Open connections that watch the views of a game, in which nothing happens."""
    with slab.Slab() as kernel:
        result = swarm.run(
            program,
            *("idle", *server.hub, *server.api, "--seconds", str(options.rest)),
            *("--steps", str(options.idle), *audience_of(options.users)),
        )
    grown = result["steps"][-1]["memory"]["anon_kb"] - result["memory_before"]["anon_kb"]
    used = result["server"]["cpu_seconds"] / result["seconds"]
    return {
        "cpu_idle_connection": max(0.0, used - base) * 1e6 / options.idle,
        "memory_connection": grown * 1024 / options.idle,
        # Both ends are on this machine.
        "memory_connection_kernel": kernel.grown / options.idle / 2,
        "pings_per_second": result["pings"] / result["seconds"] / options.idle,
    }


def memory_of_member(server: Server, members: int) -> float:
    """Fill a board with members whose ids have 20 bytes, and return what each of them takes."""
    before = memory(server, "Anonymous")
    harness.call(server.port, "PUT", "/v1/boards/large", {})
    for start in range(0, members, _BATCH):
        numbers = range(start, start + _BATCH)
        items = [{"member": f"player-{number:013}", "score": number * 7919} for number in numbers]
        harness.call(server.port, "POST", "/v1/boards/large/scores:batch", items)
    return max(0.0, memory(server, "Anonymous") - before) / members


def memory(server: Server, what: str) -> float:
    """Return the bytes of a process's memory of a kind."""
    return slab.bytes_of(Path(f"/proc/{server.process.pid}/smaps_rollup"), what)


# Telling.


def report(found: Found, others: float, options: Options) -> None:
    """Write the file, print the table and the result."""
    machine = str(harness.circumstances()["machine"])
    date = datetime.now(UTC).date().isoformat()
    units = {
        name: Unit(float(f"{found[name]:.{_FIGURES}g}"), unit, what, date, machine, TARGET)
        for name, (unit, what) in NEEDED.items()
    }
    file = UnitFile(units, noisy=others > harness.QUIET)
    Units(file)
    options.output.write_bytes(msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n")
    rows = ((name, f"{unit.value:,.6g}", unit.unit) for name, unit in units.items())
    print(harness.table(("what", "each", "unit"), rows))
    harness.print_result("units", others, file=str(options.output), units=found)


if __name__ == "__main__":
    harness.main(main)
