"""Random score moves per second on one core: our ranked list beside Redis and a classic skip list.

Measured: moves a second at a million members with 20-byte ids, each move followed by a question for
the member's new rank, and the same without the question. Ours is the list that the server uses,
copied on write: a version is published after every 64 moves, or after every single one. The classic
skip list is Redis' design in Rust, changed in place, in the same process: no server, no readers.
Redis gets ZADD, or ZADD and ZRANK, in pipelines of 64 moves.

How: all sides hold the same members and do the same moves, which are drawn before. As many moves as
there are members age each list; then come five rounds, in each a slice of every kind of work. Each
figure is the median of its slices. Redis has a core for itself; its client, on the other one, sends
commands that were encoded before and always has a second pipeline on its way; `busy` tells which
share of the time Redis was at work. Moves a second inside the commands are moves by the time that
Redis itself counted there (INFO commandstats).

Boards: `random`, where all scores differ; `tied`, where 7,000 members share each score; `equal`,
where all members but one have the same score: a member leaves and comes back, each a move. Ties are
ranked by member, as Redis does it; ours also by who came first, the server's default.

The sides have to agree on the sum of all ranks. The last line is JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

import harness
from harness import HOST, BenchError

if TYPE_CHECKING:
    from redis import Redis

BOARDS: Final = ("random", "tied", "equal")
BATCH: Final = 64
ROUNDS: Final = 5
# The kinds of work in each round, in the order in which the example does them. Redis and the
# classic skip list publish nothing, so that each does both of its kinds twice.
_RANKS: Final = (True, False, True, False)
# A line of the example's file: ten digits, a space, an id, and the end of the line.
_LINE: Final = 32
_SCORE: Final = slice(10)
_NAME: Final = slice(11, 31)


class Row(msgspec.Struct):
    """What one side did in one kind of work; `batch` is 0 where nothing is published."""

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
    members: int
    slice: int
    sides: list[Side]


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
    program = build()
    boards = []
    others = 0.0
    with harness.working_directory() as directory:
        for name in options.boards:
            board, disturbed = measure(program, directory, name, options)
            check(board)
            boards.append(board)
            others = max(others, disturbed)
    report([row for board in boards for row in summarize(board)], others, options)


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


def build() -> Path:
    """Build the example, and return where it is."""
    if shutil.which("cargo") is None:
        raise BenchError("a Rust toolchain is needed: https://rustup.rs")
    command = ("cargo", "build", "--release", "--quiet", "-p", "rankwire-ranklist")
    if subprocess.run(
        (*command, "--example", "bench_moves"), cwd=harness.ROOT, check=False
    ).returncode:
        raise BenchError("the example was not built")
    target = harness.ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
    return target / "release" / "examples" / "bench_moves"


# Measuring.


def measure(program: Path, directory: Path, name: str, options: Options) -> tuple[Board, float]:
    """Let all sides do their moves; with them comes what others took of the cores at most."""
    moves = directory / "moves.txt"
    meter = harness.Meter(harness.cores())
    board = run_example(program, moves, name, options)
    _, before = meter.stop()
    harness.progress(f"{name}: ours and the classic skip list are done", before)
    meter = harness.Meter(harness.cores())
    with redis(directory) as (process, client, connection):
        text = moves.read_bytes()
        fill(connection, text, options)
        rows = redis_rounds(process, client, connection, text, options)
        _, after = meter.stop(process)
    harness.progress(f"{name}: Redis is done", after)
    board.sides.append(Side("redis", "member", rows))
    return board, max(before, after)


def run_example(program: Path, moves: Path, name: str, options: Options) -> Board:
    """Run ours and the classic skip list on the server's core."""
    command = [
        *(str(program), "--board", name, "--members", str(options.members)),
        *("--slice", str(options.slice), "--moves-to", str(moves)),
    ]
    return msgspec.json.decode(harness.last_line(command, harness.cores()[0]), type=Board)


@contextlib.contextmanager
def redis(directory: Path) -> Iterator[tuple[harness.Process, Redis, socket.socket]]:
    """Run Redis on the server's core, and this process on the client's."""
    from redis import Redis  # noqa: PLC0415  # only now is it known to be installed

    (port,) = harness.free_ports(1)
    allowed = os.sched_getaffinity(0)
    core, client_core = harness.cores()
    with harness.running(harness.redis_command(port), directory / "redis.log", core) as process:
        process.wait(lambda: harness.answers(port))
        os.sched_setaffinity(0, {client_core})
        try:
            with Redis(port=port) as client, socket.create_connection((HOST, port)) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                yield process, client, connection
        finally:
            os.sched_setaffinity(0, allowed)


def fill(connection: socket.socket, text: bytes, options: Options) -> None:
    """Add the members, and age the list."""
    for start in range(0, options.members * 2, options.slice):
        end = min(start + options.slice, options.members * 2)
        exchange(connection, list(pipelines(text, start, end, ranks=False)), BATCH)


def redis_rounds(
    process: harness.Process,
    client: Redis,
    connection: socket.socket,
    text: bytes,
    options: Options,
) -> list[Row]:
    """Do all rounds."""
    rows = [Row(0, ranks, [], 0) for ranks in (True, False)]
    start = options.members * 2
    for _ in range(ROUNDS):
        for ranks in _RANKS:
            sent = list(pipelines(text, start, start + options.slice, ranks=ranks))
            client.config_resetstat()
            began, cpu = time.perf_counter(), process.cpu_seconds()
            answers = exchange(connection, sent, BATCH * (1 + ranks))
            seconds, cpu = time.perf_counter() - began, process.cpu_seconds() - cpu
            row = rows[not ranks]
            row.busy.append(cpu / seconds)
            row.rates.append(options.slice / seconds)
            row.inside.append(options.slice / inside(client, options.slice, ranks=ranks))
            row.rank_sum += sum_ranks(answers, ranks=ranks)
            start += options.slice
    return rows


def pipelines(text: bytes, start: int, end: int, *, ranks: bool) -> Iterator[bytes]:
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


def exchange(connection: socket.socket, sent: Sequence[bytes], answers: int) -> bytes:
    """Send pipelines so that there are always two on their way; return all answers."""
    commands = sum(one.count(b"*") for one in sent)
    received: list[bytes] = []
    seen = 0
    for number, pipeline in enumerate(sent):
        connection.sendall(pipeline)
        while seen < number * answers:
            received.append(connection.recv(1 << 16))
            seen += received[-1].count(b"\n")
    while seen < commands:
        received.append(connection.recv(1 << 16))
        seen += received[-1].count(b"\n")
    return b"".join(received)


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
    """Refuse figures of sides that do not agree about the ranks."""
    sums = {
        side.side: sum(row.rank_sum for row in side.rows)
        for side in board.sides
        if side.ties == "member" or board.board == "random"
    }
    if len(set(sums.values())) != 1:
        raise BenchError(f"the sums of ranks differ: {sums}")


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


def report(rows: list[Result], others: float, options: Options) -> None:
    """Print the table and the result."""
    head = (
        "board",
        "side",
        "ties",
        "published each",
        "ranks",
        "moves/s",
        "inside commands",
        "busy",
    )
    lines = (
        (
            *(row.board, row.side, row.ties, row.batch or "-", "yes" if row.ranks else "no"),
            row.per_second,
            *(row.inside_per_second or "-", row.busy),
        )
        for row in rows
    )
    print(harness.table(head, lines))
    print(result_line(rows, others, options))


def result_line(rows: list[Result], others: float, options: Options) -> str:
    """Make the last line: the first board's figures with and without ranks, and every row."""
    result = {
        "name": "ranklist-moves",
        "unit": "moves/s",
        **compare(rows, ranks=True),
        "without_ranks": compare(rows, ranks=False),
        "noisy": others > harness.QUIET,
        "others": round(others, 3),
        "options": options,
        "rows": rows,
        **harness.circumstances("redis", "hiredis"),
    }
    return msgspec.json.encode(result).decode()


def compare(rows: list[Result], *, ranks: bool) -> dict[str, object]:
    """Put ours, published in batches, beside the others on the first board."""
    board, ties = rows[0].board, rows[0].ties
    of_kind = [row for row in rows if row.board == board and row.ranks == ranks]
    ours = next(row for row in of_kind if (row.batch, row.ties) == (BATCH, ties)).per_second
    against = {row.side: row.per_second for row in of_kind if row.side != rows[0].side}
    against |= {
        f"{row.side}-inside": row.inside_per_second for row in of_kind if row.inside_per_second
    }
    return {
        "ours": ours,
        "against": against,
        "ratio": harness.ratios(ours, against, less_is_better=False),
    }


if __name__ == "__main__":
    harness.main(main)
