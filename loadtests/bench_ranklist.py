"""Random score moves per second on one core: our ranked list beside Redis and a classic skip list.

Measured: moves a second at a million members with 20-byte ids. `log` is the list as any thread
writes to it: an operation is appended to the log, the next version is built and published by a
compare-and-swap, and each move is answered with the member's ranks before and after it. `draft` is
the same list as the server's one writer uses it: a draft is warmed up, changed and published, and
it also tells both ranks. Both do their moves in batches of 64, which become visible together, and
singly. Redis gets ZADD, or ZADD and ZRANK, in pipelines of 64 moves. The classic skip list is
Redis' design in Rust, changed in place, in our process: no server, no readers, no versions.

The ratio is that of batches through the log to plain ZADDs, which tell no rank; `with_ranks` is
beside ZADD and ZRANK, which tell one of the two.

How: all sides hold the same members and do the same moves, which are drawn before. As many moves as
there are members age each list; then come five rounds, in which all sides take turns: those in our
process, then Redis. Each figure is the median of its rounds. Our process and Redis have the same
core, and one of them waits. Redis' client, on the other core, sends commands that were encoded
before and always has a second pipeline on its way; `busy` tells which share of the time Redis was
at work. Moves a second inside the commands are moves by the time that Redis itself counted there
(INFO commandstats).

Boards: `random`, where all scores differ; `tied`, where 7,000 members share each score; `equal`,
where all members but one have the same score: a member leaves and comes back, each a move. Ties are
ranked by member, as Redis does it; ours also by who came first, the server's default.

Not shown: what a network, a disk or a second writer costs, and how long a single move waits.

The sides have to agree on the sum of all ranks. The last line is JSON.
"""

from __future__ import annotations

import argparse
import mmap
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

import example
import harness
from harness import BenchError
from redis_side import exchange, redis

if TYPE_CHECKING:
    from redis import Redis

BOARDS: Final = ("random", "tied", "equal")
BATCH: Final = 64
ROUNDS: Final = 5
# The works of a round, in the order of the example: whether ranks are asked for.
_RANKS: Final = (True, False)
# A line of the example's file: ten digits, a space, an id, and the end of the line.
_LINE: Final = 32
_SCORE: Final = slice(10)
_NAME: Final = slice(11, 31)


class Row(msgspec.Struct):
    """What one side did in one of the works; `batch` is 0 where nothing is published."""

    batch: int
    ranks: bool
    rates: list[float]
    rank_sum: int
    inside: list[float] = []
    """Moves a second of time inside the commands; Redis only."""
    busy: list[float] = []
    """Share of the time in which the process was at work; Redis only."""


class Side(msgspec.Struct):
    """All that one side did; `ties` tells how it ranks members of equal score."""

    side: str
    ties: str
    rows: list[Row]


class Board(msgspec.Struct):
    """All that all sides did on one board."""

    board: str
    sides: list[Side]
    others: float
    """Share of the cores that other programs took, in the worst round."""


class Result(msgspec.Struct, frozen=True):
    """A line of the table."""

    board: str
    side: str
    ties: str
    batch: int
    ranks: bool
    per_second: float
    inside_per_second: float
    busy: float


class Options(msgspec.Struct, frozen=True):
    """How much to measure."""

    members: int
    slice: int
    boards: list[str]


def main() -> None:
    options = read_options()
    harness.require(("redis-server", "taskset", "setpriv"), ("redis", "hiredis"))
    program = example.build()
    report([measure(program, name, options) for name in options.boards], options)


def read_options() -> Options:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--members", type=harness.positive, default=1_000_000, help="default: 1000000"
    )
    parser.add_argument(
        "--slice", type=harness.positive, default=102_400, help="moves in each (default: 102400)"
    )
    parser.add_argument(
        *("--board", "-b"),
        choices=BOARDS,
        nargs="+",
        default=list(BOARDS),
        help="the result is that of the first (default: all)",
    )
    parser.add_argument("--quick", action="store_true", help="20,000 members: only a test")
    given = parser.parse_args()
    if given.quick:
        return Options(members=20_000, slice=6400, boards=given.board)
    return Options(given.members, given.slice, given.board)


# Measuring.


def measure(program: Path, name: str, options: Options) -> Board:
    """Let all sides do their moves, round by round."""
    harness.progress(f"{name}: {options.members:,} members")
    cores = harness.cores()
    with harness.working_directory() as directory:
        file = directory / "moves.txt"
        command: harness.Command = [
            *(program, "moves", "--board", name, "--members", str(options.members)),
            *("--slice", str(options.slice), "--rounds", str(ROUNDS), "--moves-to", file),
        ]
        with (
            harness.running(command, directory / "example.log", cores[0], talks=True) as ours,
            redis(directory) as (server, client, connection),
        ):
            ours.hear()
            text = read(file)
            fill(connection, text, options)
            rows = [Row(0, ranks, [], 0) for ranks in _RANKS]
            others = 0.0
            for number in range(ROUNDS):
                meter = harness.Meter(cores, [ours, server])
                ours.go_on()
                ours.hear()
                redis_round(number, rows, text, options, (server, client, connection))
                others = max(others, meter.stop()[1])
                harness.progress(f"{name}: round {number + 1} of {ROUNDS}", others)
            sides = msgspec.json.decode(ours.hear(), type=list[Side])
    board = Board(name, [*sides, Side("redis", "member", rows)], others)
    check(board)
    return board


def read(file: Path) -> mmap.mmap:
    """Map the moves; they may be too many to be kept twice."""
    with file.open("rb") as opened:
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)


def fill(connection: socket.socket, text: mmap.mmap, options: Options) -> None:
    """Add the members, and age the list."""
    for start in range(0, options.members * 2, options.slice):
        end = min(start + options.slice, options.members * 2)
        exchange(connection, list(pipelines(text, start, end, ranks=False)), BATCH)
        if start // (1 << 21) != end // (1 << 21):
            harness.progress(f"redis did {end:,} of {options.members * 2:,} ZADDs")


def redis_round(
    number: int,
    rows: list[Row],
    text: mmap.mmap,
    options: Options,
    parts: tuple[harness.Process, Redis, socket.socket],
) -> None:
    """Do both works of a round."""
    process, client, connection = parts
    start = options.members * 2 + number * len(rows) * options.slice
    for row in rows:
        sent = list(pipelines(text, start, start + options.slice, ranks=row.ranks))
        client.config_resetstat()
        began, cpu = time.perf_counter(), process.cpu_seconds()
        answers = exchange(connection, sent, BATCH * (1 + row.ranks))
        seconds, cpu = time.perf_counter() - began, process.cpu_seconds() - cpu
        row.busy.append(cpu / seconds)
        row.rates.append(options.slice / seconds)
        row.inside.append(options.slice / inside(client, options.slice, ranks=row.ranks))
        row.rank_sum += sum_ranks(answers, ranks=row.ranks)
        start += options.slice


def pipelines(text: mmap.mmap, start: int, end: int, *, ranks: bool) -> Iterator[bytes]:
    """Encode moves, 64 at a time."""
    zadd = b"*4\r\n$4\r\nZADD\r\n$5\r\nbench\r\n$10\r\n%b\r\n$20\r\n%b\r\n"
    zrank = b"*3\r\n$5\r\nZRANK\r\n$5\r\nbench\r\n$20\r\n%b\r\n"
    commands = []
    for at in range(start * _LINE, end * _LINE, _LINE):
        line = text[at : at + _LINE]
        name = line[_NAME]
        commands.append(zadd % (line[_SCORE], name) + (zrank % name if ranks else b""))
    for first in range(0, len(commands), BATCH):
        yield b"".join(commands[first : first + BATCH])


def inside(client: Redis, moves: int, *, ranks: bool) -> float:
    """Return the seconds that Redis says it spent in the commands."""
    stats: dict[str, Any] = client.info("commandstats")
    names = ("zadd", "zrank") if ranks else ("zadd",)
    counted = [stats[f"cmdstat_{name}"] for name in names]
    if any(one["calls"] != moves or one["failed_calls"] for one in counted):
        raise BenchError(f"Redis did not do {moves} moves: {stats}")
    return float(sum(one["usec"] for one in counted)) / 1e6


def sum_ranks(answers: bytes, *, ranks: bool) -> int:
    """Add up the ranks, counted from 1; every ZADD has to answer that it added nobody."""
    numbers = [int(line[1:]) for line in answers.split()]
    if any(numbers[:: 1 + ranks]):
        raise BenchError("Redis added members while it should have moved them")
    return sum(numbers[1::2]) + len(numbers) // 2 if ranks else 0


def check(board: Board) -> None:
    """Refuse figures of sides that do not agree about the ranks that they tell."""
    for work in range(len(_RANKS)):
        for ties in ("first", "member"):
            sums = {
                f"{side.side}, {side.ties}": side.rows[work].rank_sum
                for side in board.sides
                if side.rows[work].ranks and (side.ties == ties or board.board == "random")
            }
            if len(set(sums.values())) > 1:
                raise BenchError(f"{board.board}: the sums of ranks differ: {sums}")


# Telling.


def summarize(board: Board) -> list[Result]:
    """Take the medians."""
    return [
        Result(
            *(board.board, side.side, side.ties, row.batch, row.ranks),
            per_second=harness.median(row.rates, 0),
            inside_per_second=harness.median(row.inside, 0) if row.inside else 0.0,
            busy=harness.median(row.busy) if row.busy else 1.0,
        )
        for side in board.sides
        for row in side.rows
    ]


def report(boards: list[Board], options: Options) -> None:
    """Print the table and the result."""
    rows = [row for board in boards for row in summarize(board)]
    print(table(rows))
    print(result_line(rows, max(board.others for board in boards), options))


def table(rows: list[Result]) -> str:
    """Show all rows."""
    head = (
        *("board", "side", "ties", "published each", "ranks told"),
        *("moves/s", "inside commands", "busy"),
    )
    lines = (
        (
            *(row.board, row.side, row.ties, row.batch or "-", ranks_told(row)),
            *(row.per_second, row.inside_per_second or "-", row.busy),
        )
        for row in rows
    )
    return harness.table(head, lines)


def ranks_told(row: Result) -> int:
    """Return how many ranks a move is answered with."""
    return row.ranks * (2 if row.batch else 1)


def result_line(rows: list[Result], others: float, options: Options) -> str:
    """Make the last line: the first board's figures, each board's, and every row."""
    kinds = dict.fromkeys((row.board, row.ties) for row in rows if row.batch)
    first = next(iter(kinds))
    result = {
        "name": "ranklist-moves",
        "unit": "moves/s",
        **compare(rows, *first, ranks=False),
        "with_ranks": compare(rows, *first, ranks=True),
        "boards": {"-".join(kind): compare(rows, *kind, ranks=False) for kind in kinds},
        "noisy": others > harness.QUIET,
        "others": round(others, 3),
        "options": options,
        "rows": rows,
        **harness.circumstances("redis", "hiredis"),
    }
    return msgspec.json.encode(result).decode()


def compare(rows: list[Result], board: str, ties: str, *, ranks: bool) -> dict[str, object]:
    """Put batches through the log beside the others, which are asked for ranks or not."""
    of_board = [row for row in rows if row.board == board]
    ours = next(
        row.per_second
        for row in of_board
        if (row.side, row.ties, row.batch) == ("log", ties, BATCH)
    )
    theirs = [row for row in of_board if not row.batch and row.ranks == ranks]
    against = {row.side: row.per_second for row in theirs}
    against |= {
        f"{row.side}-inside": row.inside_per_second for row in theirs if row.inside_per_second
    }
    return {
        "ours": ours,
        "against": against,
        "ratio": harness.ratios(ours, against, less_is_better=False),
    }


if __name__ == "__main__":
    harness.main(main)
