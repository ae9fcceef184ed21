"""Deliveries of one live view to 18,990 watchers, beside bare `send()` to as many sockets.

Measured: deliveries for each second of processor time of the hub's threads, with 20 changes a
second, of which it can deliver some seven to all, and without a tick or a budget worth the name:
the hub is always behind. Beside it: `send()` of as many bytes, in one thread of Rust, to as many
sockets.

Then, with a server as it comes (but for the number of connections) and four changes a second: from
sending the submit to each delivery; and in both parts what an RPC `rank` takes that is sent every
50 ms on a connection of its own.

How: the server and the bare sender run on one core, all receivers, the driver and the probe on
another. Receivers have a lower priority there than driver and probe. Rounds take turns; each figure
is the median of its rounds. A round counts only if every watcher got only what it may get, and in
the end saw what the HTTP API says.

The last line is JSON; the ratio is by processor time.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

import harness
import swarm
from harness import BenchError
from swarm import Server

SATURATED: Final = ("--live-tick-ms", "10", "--live-deliveries-per-second", "10000000")
# More than the hub can deliver to all. Still more would only keep the HTTP API busy, on the core
# that is measured.
CHANGES_PER_SECOND: Final = "20"
# Connections that are no watchers. With 20,000 files a server takes 19,000 connections in all.
_OTHERS: Final = 10
_PROBE: Final = ("--probe-ms", "50")


class Options(msgspec.Struct, frozen=True):
    """How much to measure."""

    watchers: int
    rounds: int
    seconds: int


class Round(msgspec.Struct, frozen=True):
    """One round of one side."""

    side: str
    per_cpu_second: float
    per_second: float
    bytes: int
    others: float


class Calm(msgspec.Struct, frozen=True):
    """What a server as it comes does, in milliseconds."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    spread_p99_ms: float
    rpc_p50_ms: float
    rpc_p99_ms: float
    hub_share: float
    others: float


def main() -> None:
    options = read_options()
    harness.require(("taskset", "setpriv"), ())
    program = swarm.build()
    limit = ("--live-max-connections", str(options.watchers + _OTHERS))
    rounds: list[Round] = []
    probes: list[float] = []
    with harness.working_directory() as directory:
        with serving(directory, "saturated", *limit, *SATURATED) as server:
            for _ in range(options.rounds):
                ours, probe = measure_hub(program, server, options)
                server.process.pause()
                bare = measure_bare(program, directory, server, ours.bytes, options)
                server.process.resume()
                rounds += [ours, bare]
                probes.append(probe)
        with serving(directory, "calm", *limit) as server:
            calm = measure_calm(program, server, options)
    report(rounds, probes, calm, options)


def read_options() -> Options:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--watchers", type=harness.positive, default=18_990, help="default: 18990")
    parser.add_argument("--rounds", type=harness.positive, default=5, help="default: 5")
    parser.add_argument(
        "--seconds", type=harness.positive, default=10, help="length of a round (default: 10)"
    )
    parser.add_argument("--quick", action="store_true", help="500 watchers: only a test")
    given = parser.parse_args()
    if given.quick:
        return Options(watchers=500, rounds=1, seconds=2)
    return Options(given.watchers, given.rounds, given.seconds)


@contextlib.contextmanager
def serving(directory: Path, name: str, *flags: str) -> Iterator[Server]:
    """Run a server whose board has a full top 10."""
    with swarm.serving(directory, name, *flags) as server:
        harness.call(server.port, "PUT", "/v1/boards/global", {})
        items = [{"member": f"player-{number}", "score": number} for number in range(1000)]
        harness.call(server.port, "POST", "/v1/boards/global/scores:batch", items)
        yield server


def watch(program: Path, server: Server, options: Options, *more: str) -> tuple[Any, float]:
    """Watch the top 10, and return the result and what other programs took of the cores."""
    meter = harness.Meter(harness.cores(), [server.process])
    result = swarm.run(
        program,
        *("watch", *server.hub, *server.api, *_PROBE),
        *("--sockets", str(options.watchers), "--seconds", str(options.seconds), *more),
    )
    return result, meter.stop()[1]


def measure_hub(program: Path, server: Server, options: Options) -> tuple[Round, float]:
    """Saturate the hub; return the round and the 99th percentile of the probe."""
    load = ("--drive", CHANGES_PER_SECOND, "--drive-connections", "4")
    result, others = watch(program, server, options, *load)
    traffic = result["traffic"]
    deliveries = traffic["deliveries"]
    one = Round(
        "rankwire",
        per_cpu_second=deliveries / swarm.hub_seconds(result),
        per_second=traffic["deliveries_per_second"],
        bytes=round(traffic["frame_bytes"] / deliveries),
        others=others,
    )
    harness.progress(f"rankwire: {one.per_cpu_second:,.0f} deliveries a CPU second", one.others)
    return one, result["probe"]["p99_ms"]


def measure_bare(
    program: Path, directory: Path, server: Server, size: int, options: Options
) -> Round:
    """Send as many bytes to as many sockets, for about as long."""
    core, other_core = harness.cores()
    (port,) = harness.free_ports(1)
    where = ("--port", str(port), "--sockets", str(options.watchers))
    # Some 200,000 sends a second is what a core does.
    rounds = max(1, options.seconds * 200_000 // options.watchers)
    many = ("--bytes", str(size), "--rounds", str(rounds), "--turns", "--output", "json")
    meter = harness.Meter(harness.cores(), [server.process])
    log = directory / "bare.log"
    with harness.running((program, "bare", *where, *many), log, core, talks=True) as bare:
        bare.hear()
        sink = (program, "sink", *where, "--processes", "2")
        with harness.running(sink, directory / "sink.log", other_core) as receivers:
            bare.hear()
            bare.go_on()
            result = msgspec.json.decode(bare.hear())
            bare.kill()
            receivers.finish()
    one = Round(
        "bare",
        per_cpu_second=result["sends_per_cpu_second"],
        per_second=result["sends_per_second"],
        bytes=size,
        others=meter.stop()[1],
    )
    harness.progress(f"bare: {one.per_cpu_second:,.0f} sends a CPU second", one.others)
    return one


def measure_calm(program: Path, server: Server, options: Options) -> Calm:
    """Change the top four times a second."""
    result, others = watch(program, server, options, "--drive", "4")
    latency, probe = result["latency"]["from_sent"], result["probe"]
    if not latency["count"]:
        raise BenchError("nothing was delivered")
    return Calm(
        *(latency["p50_ms"], latency["p99_ms"], latency["max_ms"]),
        spread_p99_ms=result["spread"]["p99_ms"],
        rpc_p50_ms=probe["p50_ms"],
        rpc_p99_ms=probe["p99_ms"],
        hub_share=swarm.hub_seconds(result) / result["seconds"],
        others=others,
    )


def report(rounds: list[Round], probes: list[float], calm: Calm, options: Options) -> None:
    """Print the tables and the result."""
    head = ("side", "/CPU second", "/second", "bytes")
    rows = ((one.side, one.per_cpu_second, one.per_second, one.bytes) for one in rounds)
    print(harness.table(head, rows))
    shown = msgspec.structs.asdict(calm)
    print(harness.table(("four changes a second", ""), shown.items()))
    print(result_line(rounds, probes, calm, options))


def result_line(rounds: list[Round], probes: list[float], calm: Calm, options: Options) -> str:
    """Make the last line."""
    ours, bare = (
        harness.median((one.per_cpu_second for one in rounds if one.side == side), 0)
        for side in ("rankwire", "bare")
    )
    others = max(calm.others, *(one.others for one in rounds))
    result = {
        "name": "live-fanout",
        "unit": "deliveries/CPU second",
        "ours": ours,
        "against": {"bare": bare},
        "ratio": harness.ratios(ours, {"bare": bare}, less_is_better=False),
        "p50_ms": calm.p50_ms,
        "p99_ms": calm.p99_ms,
        "rpc_p99_ms": calm.rpc_p99_ms,
        "rpc_saturated_p99_ms": harness.median(probes),
        "noisy": others > harness.QUIET,
        "others": round(others, 3),
        "options": options,
        "rows": rounds,
        "calm": calm,
        **harness.circumstances(),
    }
    return msgspec.json.encode(result).decode()


if __name__ == "__main__":
    harness.main(main)
