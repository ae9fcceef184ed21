"""Reads and moves a second of several threads on one of our ranked lists.

Measured, on a list of a million members with 20-byte ids, with 1, 2, 4 and so on threads up to one
for each core:

- reads: the rank of a random member, and a page of 50 entries with their names from anywhere, both
  alone and beside one thread that writes random moves through the log in batches of 64 as fast as
  it can;
- moves of all threads together through one log, singly and in batches of 64.

How: each thread is pinned to a core of its own, the writer beside readers to the last one; with as
many readers as cores it shares that one with a reader. Members are drawn while the time runs, which
takes some 20 ns. There are five rounds, each with every case for a second; a figure is the median
of its rounds.

Not shown: latencies (`bench_ranklist_10m.py` has them), and more writers than cores.

The last line is JSON; `ours` are ranks a second with a reader on every core beside the writer.
`scaling` is by one thread of the same kind, `beside_writer` by as many readers without the writer.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import msgspec

import example
import harness


class Options(msgspec.Struct, frozen=True):
    """How much to measure; `seconds` are those of each case in each round."""

    members: int
    rounds: int
    seconds: float


class Case(msgspec.Struct):
    """What the example says: reads or moves a second, and moves of the writer beside."""

    job: str
    threads: int
    writer: bool
    rates: list[float]
    written: list[float]


class Row(msgspec.Struct, frozen=True):
    """A line of the table."""

    job: str
    threads: int
    writer: bool
    per_second: float
    written_per_second: float


def main() -> None:
    options = read_options()
    harness.require(("taskset", "setpriv"), ())
    program = example.build()
    cores = sorted(os.sched_getaffinity(0))
    meter = harness.Meter(cores)
    rows = measure(program, cores, options)
    _, others = meter.stop()
    harness.progress("done", others)
    head = ("job", "threads", "beside a writer", "all threads/s", "moves/s of the writer")
    lines = (
        (
            *(row.job, row.threads, "yes" if row.writer else "no", row.per_second),
            row.written_per_second or "-",
        )
        for row in rows
    )
    print(harness.table(head, lines))
    print(result_line(rows, others, options))


def read_options() -> Options:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--members", type=harness.positive, default=1_000_000, help="default: 1000000"
    )
    parser.add_argument("--rounds", type=harness.positive, default=5, help="default: 5")
    parser.add_argument("--quick", action="store_true", help="20,000 members: only a test")
    given = parser.parse_args()
    if given.quick:
        return Options(members=20_000, rounds=1, seconds=0.1)
    return Options(given.members, given.rounds, seconds=1.0)


def measure(program: Path, cores: list[int], options: Options) -> list[Row]:
    """Let the example do all cases, and take the medians."""
    command = (
        *(program, "threads", "--members", str(options.members)),
        *("--rounds", str(options.rounds), "--seconds", str(options.seconds)),
        *("--cores", ",".join(map(str, cores))),
    )
    cases = msgspec.json.decode(example.run(command, cores), type=list[Case])
    return [
        Row(
            *(case.job, case.threads, case.writer, harness.median(case.rates, 0)),
            harness.median(case.written, 0) if case.written else 0.0,
        )
        for case in cases
    ]


def result_line(rows: list[Row], others: float, options: Options) -> str:
    """Make the last line."""
    rates = {(row.job, row.threads, row.writer): row.per_second for row in rows}
    most = max(row.threads for row in rows)
    result = {
        "name": "ranklist-threads",
        "unit": "ranks/s",
        "ours": rates["rank", most, True],
        "threads": most,
        "scaling": {
            f"{job}{'-beside-writer' * writer}": round(rate / rates[job, 1, writer], 3)
            for (job, threads, writer), rate in rates.items()
            if threads == most
        },
        "beside_writer": {
            f"{job}-{threads}": round(rate / rates[job, threads, False], 3)
            for (job, threads, writer), rate in rates.items()
            if writer
        },
        "noisy": others > harness.QUIET,
        "others": round(others, 3),
        "options": options,
        "rows": rows,
        **harness.circumstances(),
    }
    return msgspec.json.encode(result).decode()


if __name__ == "__main__":
    harness.main(main)
