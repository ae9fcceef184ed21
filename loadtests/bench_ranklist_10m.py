"""Our ranked list at ten million members with 20-byte ids: moves, and how long a rank takes.

Measured: everything that `bench_ranklist.py` measures, on its board `random`, and then the
nanoseconds that one thread needs for a random member's rank (p50 and p99), with finding the current
version and leaving it again: while the other core is idle; while it exports the whole list again
and again, each time visiting all entries with their names in a new snapshot; and while it writes
random moves through the log, in batches of 64, as fast as it can.

How: the list is aged by as many moves as it has members. There are five rounds, each with all
three cases; a figure is the median of its rounds. Each question is timed alone. What reading the
clock takes (the median of two readings in a row) is taken off and told as `clock_ns`. Both threads
are pinned to cores of their own.

Not shown: a rank over HTTP, and members that are asked for often, which the processor's caches
would hold. The two cores may belong to one physical core, and then share more than memory.

The last line is JSON: `ours`, `against` and `ratio` are those of moves in batches beside Redis;
`rank` has the latencies, and `p99_beside_export` is the p99 beside the export by that beside
nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

import bench_ranklist
import example
import harness
from bench_ranklist import Options, Result


class Samples(msgspec.Struct):
    """Nanoseconds in one case, and what the other core did in a second; one for each round."""

    p50: list[float]
    p99: list[float]
    other: list[float]


class Latency(msgspec.Struct):
    """What the example measured."""

    clock: list[float]
    idle: Samples
    export: Samples
    writer: Samples


class Rank(msgspec.Struct, frozen=True):
    """A line of the table; `other_per_second` are entries exported or moves made."""

    beside: str
    p50_ns: float
    p99_ns: float
    other_per_second: float


def main() -> None:
    options = read_options()
    harness.require(("redis-server", "taskset", "setpriv"), ("redis", "hiredis"))
    program = example.build()
    board = bench_ranklist.measure(program, "random", options)
    meter = harness.Meter(harness.cores())
    latency = measure(program, options)
    _, others = meter.stop()
    harness.progress("latencies are done", others)
    report(bench_ranklist.summarize(board), latency, max(others, board.others), options)


def read_options() -> Options:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--members", type=harness.positive, default=10_000_000, help="default: 10000000"
    )
    parser.add_argument(
        "--slice",
        type=harness.positive,
        default=204_800,
        help="moves or questions in each round (default: 204800)",
    )
    parser.add_argument("--quick", action="store_true", help="20,000 members: only a test")
    given = parser.parse_args()
    if given.quick:
        return Options(members=20_000, slice=6400, boards=["random"])
    return Options(given.members, given.slice, ["random"])


def measure(program: Path, options: Options) -> Latency:
    """Let the example time its ranks on both cores."""
    cores = harness.cores()
    command = (
        *(program, "latency", "--members", str(options.members), "--slice", str(options.slice)),
        *("--rounds", str(bench_ranklist.ROUNDS), "--cores", ",".join(map(str, cores))),
    )
    return msgspec.json.decode(example.run(command, cores), type=Latency)


def summarize(latency: Latency) -> list[Rank]:
    """Take the medians, and the clock off."""
    clock = harness.median(latency.clock, 0)
    cases = {"idle": latency.idle, "export": latency.export, "writer": latency.writer}
    return [
        Rank(
            beside,
            harness.median(samples.p50, 0) - clock,
            harness.median(samples.p99, 0) - clock,
            harness.median(samples.other, 0),
        )
        for beside, samples in cases.items()
    ]


def report(rows: list[Result], latency: Latency, others: float, options: Options) -> None:
    """Print the tables and the result."""
    ranks = summarize(latency)
    print(bench_ranklist.table(rows))
    print()
    head = ("rank beside", "p50 ns", "p99 ns", "entries or moves/s of the other core")
    print(harness.table(head, (msgspec.structs.astuple(rank) for rank in ranks)))
    print(result_line(rows, latency, others, options))


def result_line(rows: list[Result], latency: Latency, others: float, options: Options) -> str:
    """Make the last line."""
    ranks = {rank.beside: rank for rank in summarize(latency)}
    ties = rows[0].ties
    idle, export, writer = ranks["idle"], ranks["export"], ranks["writer"]
    result = {
        "name": "ranklist-10m",
        "unit": "moves/s",
        **bench_ranklist.compare(rows, "random", ties, ranks=False),
        "with_ranks": bench_ranklist.compare(rows, "random", ties, ranks=True),
        "rank": ranks,
        "clock_ns": harness.median(latency.clock, 0),
        "p99_beside_export": round(export.p99_ns / idle.p99_ns, 3),
        "p50_beside_writer": round(writer.p50_ns / idle.p50_ns, 3),
        "noisy": others > harness.QUIET,
        "others": round(others, 3),
        "options": options,
        "rows": rows,
        **harness.circumstances("redis", "hiredis"),
    }
    return msgspec.json.encode(result).decode()


if __name__ == "__main__":
    harness.main(main)
