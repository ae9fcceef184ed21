"""What a snapshot costs that is held for a minute while our ranked list goes on at full speed.

Measured: resident memory at its peak, and moves a second, in three equal stretches: without a
snapshot; with one that is taken at the beginning and read in full at the end; and after it is gone.
`log` and `draft` are the two ways to write to a list (`bench_ranklist.py` tells them apart).

How: a million members with 20-byte ids, aged by as many moves; one thread moves random members in
batches of 64 as fast as it can, and looks at its memory after every 4096 moves. `peak` is by the
live bytes, which are what the list says of itself (`Version::memory`); so it includes what the
allocator and loading left behind. Giving the snapshot's blocks back may take memory, too, so the
result is the highest peak of the last two stretches. The snapshot has to read the same at its end
as at its beginning.

Promised is that a snapshot keeps at most one more copy of the list, so a peak of 2.1 at most.
The minute is `--seconds 60`; a few seconds replace all of a million members, too.

Not shown: several snapshots of different moments. Each can keep a copy.

The last line is JSON; `ours` is the highest peak of both sides, and `within` tells if it is as
promised.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import msgspec

import example
import harness

ALLOWED: Final = 2.1
"""The peak by the live bytes: two copies, and a tenth of one."""

STRETCHES: Final = ("without", "with", "after")


class Options(msgspec.Struct, frozen=True):
    """How much to measure."""

    members: int
    seconds: int


class Stretch(msgspec.Struct):
    """Moves a second, and resident bytes at the most and at the end."""

    rate: float
    peak: int
    end: int


class Row(msgspec.Struct, frozen=True):
    """A line of the table; `peak` and `end` are by the live bytes."""

    side: str
    snapshot: str
    per_second: float
    peak: float
    end: float


def main() -> None:
    options = read_options()
    harness.require(("taskset", "setpriv"), ())
    program = example.build()
    rows = []
    others = 0.0
    for side in ("log", "draft"):
        meter = harness.Meter(harness.cores()[:1])
        rows += measure(program, side, options)
        others = max(others, meter.stop()[1])
        harness.progress(f"{side} is done", others)
    head = ("side", "snapshot", "moves/s", "peak/live", "end/live")
    print(harness.table(head, (msgspec.structs.astuple(row) for row in rows)))
    print(result_line(rows, others, options))


def read_options() -> Options:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--members", type=harness.positive, default=1_000_000, help="default: 1000000"
    )
    parser.add_argument(
        "--seconds", type=harness.positive, default=10, help="of each stretch (default: 10)"
    )
    parser.add_argument("--quick", action="store_true", help="200,000 members: only a test")
    given = parser.parse_args()
    if given.quick:
        return Options(members=200_000, seconds=1)
    return Options(given.members, given.seconds)


def measure(program: Path, side: str, options: Options) -> list[Row]:
    """Let the example write on one core."""
    command = (
        *(program, "held", "--through", side, "--members", str(options.members)),
        *("--seconds", str(options.seconds)),
    )
    line = example.run(command, harness.cores()[:1])
    live, *stretches = msgspec.json.decode(line, type=tuple[int, Stretch, Stretch, Stretch])
    return [
        Row(side, name, found.rate, round(found.peak / live, 3), round(found.end / live, 3))
        for name, found in zip(STRETCHES, stretches, strict=True)
    ]


def result_line(rows: list[Row], others: float, options: Options) -> str:
    """Make the last line; rates are by those of the same side without a snapshot."""
    ours = max(row.peak for row in rows if row.snapshot != "without")
    rates = {(row.side, row.snapshot): row.per_second for row in rows}
    result = {
        "name": "ranklist-snapshot",
        "unit": "peak/live",
        "ours": ours,
        "allowed": ALLOWED,
        "within": ours <= ALLOWED,
        "rate": {
            side: round(rate / rates[side, "without"], 3)
            for (side, snapshot), rate in rates.items()
            if snapshot == "with"
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
