"""Rankwire beside what a team would take or write instead, on this machine and in one run.

Three comparisons, all with the same client, which checks every answer and every delivery:

- the whole job: a leaderboard service in FastAPI over a Redis sorted set, with Redis Pub/Sub to its
  WebSockets. A game is two submits and ten reads; the highest rate is the one at which answers
  (p99 200 ms) and deliveries (p99 300 ms) are not yet late.
- fan-out: Centrifugo, a server for live messages that speaks the protocol of our hub.
- the structure: ZADD of redis-server beside the ranked list alone, as `bench_ranklist.py` does it.

How: each server side, with its Redis, has one core, the client and what publishes to Centrifugo
another. The sides run one after the other, each alone. Ours is durable (SQLite, synchronous=FULL)
in every figure; Redis keeps nothing, which is its best case, or all but a second, which is
recommended. Settings and versions of all are in the result.

Centrifugo is found by CENTRIFUGO=PROGRAM, on PATH, or where `make centrifugo` puts it; without
it its comparison is left out, and the result says so.

The last line is JSON. A ratio says how many times better ours is; below one, theirs is better.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

import bench_ranklist
import compare_centrifugo
import compare_fanout
import compare_job
import compare_lines
import compare_stacks
import example
import harness
import swarm
from compare_lines import Line, line

PARTS: Final = ("job", "fanout", "structure")
_STRUCTURE: Final = "structure"


class Options(msgspec.Struct, frozen=True):
    """How much to measure."""

    parts: list[str]
    job: compare_job.Options
    fanout: compare_fanout.Options
    moves: bench_ranklist.Options


class Outcome(msgspec.Struct):
    """What came of all comparisons."""

    lines: list[Line] = []
    rows: dict[str, Any] = {}
    peers: dict[str, Any] = {}
    skipped: list[str] = []
    others: float = 0.0


FULL: Final = Options(
    list(PARTS),
    compare_job.Options(
        users=10_000, history=8, watchers=[2000, 10_000], modest=80, narrowings=2, seconds=5
    ),
    compare_fanout.Options(
        steps=[1000, 5000, 10_000, 15_000, 19_000],
        watchers=18_000,
        modest=2,
        fast=20,
        cut_off=17_000,
        stay=1000,
        seconds=6,
    ),
    bench_ranklist.Options(members=250_000, slice=102_400, boards=["random"]),
)
QUICK: Final = Options(
    list(PARTS),
    compare_job.Options(
        users=400, history=2, watchers=[60, 120], modest=10, narrowings=0, seconds=1
    ),
    compare_fanout.Options(
        steps=[100, 300], watchers=300, modest=2, fast=20, cut_off=200, stay=50, seconds=1
    ),
    bench_ranklist.Options(members=20_000, slice=6400, boards=["random"]),
)


def main() -> None:
    options = read_options()
    harness.require(
        ("redis-server", "taskset", "setpriv"),
        ("fastapi", "hiredis", "httptools", "redis", "uvicorn", "websockets"),
    )
    program = swarm.build()
    outcome = Outcome()
    with harness.working_directory() as directory:
        if "job" in options.parts:
            job(program, directory, options.job, outcome)
        if "fanout" in options.parts:
            fanout(program, directory, options.fanout, outcome)
    if "structure" in options.parts:
        structure(options.moves, outcome)
    report(outcome, options)


def read_options() -> Options:
    parser = harness.parser(__doc__)
    parser.add_argument(
        "--only", choices=PARTS, nargs="+", default=list(PARTS), help="comparisons (default: all)"
    )
    given = parser.parse_args()
    return msgspec.structs.replace(QUICK if given.quick else FULL, parts=given.only)


def job(program: Path, directory: Path, options: compare_job.Options, outcome: Outcome) -> None:
    """Compare the whole job."""
    sides, others = compare_job.measure(program, directory, options)
    outcome.lines += compare_job.lines(sides)
    outcome.rows["job"] = sides
    outcome.others = max(outcome.others, others)
    outcome.peers["fastapi"] = {
        "redis": compare_stacks.PERSISTENCE,
        "uvicorn": compare_stacks.UVICORN,
        "durable": compare_stacks.DURABLE,
    }


def fanout(
    program: Path, directory: Path, options: compare_fanout.Options, outcome: Outcome
) -> None:
    """Compare fan-out, if Centrifugo is there."""
    centrifugo = compare_centrifugo.find()
    if isinstance(centrifugo, str):
        harness.progress(f"SKIPPED: fan-out: {centrifugo}")
        outcome.skipped.append(f"fan-out: {centrifugo}")
        return
    sides, others = compare_fanout.measure(program, directory, centrifugo, options)
    outcome.lines += compare_fanout.lines(sides, options)
    outcome.rows["fanout"] = sides
    outcome.others = max(outcome.others, others)
    outcome.peers["centrifugo"] = {
        "version": centrifugo.version,
        "settings": compare_centrifugo.SETTINGS,
        "environment": compare_centrifugo.ENVIRONMENT,
    }


def structure(options: bench_ranklist.Options, outcome: Outcome) -> None:
    """Compare moves a second of the ranked list with ZADD."""
    board = bench_ranklist.measure(example.build(), options.boards[0], options)
    rows = bench_ranklist.summarize(board)
    outcome.lines += structure_lines(rows, options.members)
    outcome.rows["structure"] = rows
    outcome.others = max(outcome.others, board.others)
    outcome.peers["redis-server"] = {"settings": "--save '' --appendonly no, pipelines of 64"}


def structure_lines(rows: list[bench_ranklist.Result], members: int) -> list[Line]:
    """Take our batches through the log, and Redis with and without ranks."""
    ties = next(row.ties for row in rows if row.batch)
    made = []
    for ranks, what in ((False, "ZADD"), (True, "ZADD and ZRANK")):
        told: dict[str, Any] = bench_ranklist.compare(rows, rows[0].board, ties, ranks=ranks)
        moves = (_STRUCTURE, f"moves/s, {members:,} members, both ranks told; {what}")
        made.append(line(moves, told["ours"], "redis", told["against"]["redis"], less=False))
    return made


def report(outcome: Outcome, options: Options) -> None:
    """Print the table and the result."""
    print(compare_lines.table(outcome.lines))
    for reason in outcome.skipped:
        print(f"SKIPPED: {reason}")
    harness.print_result(
        "compare",
        outcome.others,
        *("granian", "uvloop", "fastapi", "starlette", "uvicorn", "httptools", "websockets"),
        *("redis", "hiredis"),
        **result(outcome),
        options=options,
    )


def result(outcome: Outcome) -> dict[str, object]:
    """Return the figures of the last line; `ours` is the first line's, and so is what it beats."""
    first = outcome.lines[0] if outcome.lines else None
    beside = [one for one in outcome.lines if first and one.what == first.what]
    return {
        "unit": first.what if first else None,
        "ours": first.ours if first else None,
        "against": {one.peer: one.theirs for one in beside},
        "ratio": {one.peer: one.ratio for one in beside},
        "lines": outcome.lines,
        "skipped": outcome.skipped,
        "peers": outcome.peers,
        "rows": outcome.rows,
    }


if __name__ == "__main__":
    harness.main(main)
