"""Bytes of memory: our ranked list beside Redis, one large board and many small ones.

Measured, in resident memory as the kernel counts it, as the growth of a fresh process:

- a board of ten million members with 20-byte ids and distinct scores: after it was loaded, and
  after as many random moves in batches of 64. `log` and `draft` are the two ways to write to a list
  (`bench_ranklist.py` tells them apart); `draft, purged` has the allocator give back at once what
  is freed (MIMALLOC_PURGE_DELAY=0). Without that some of what loading needed, 32 bytes a member,
  may still be there. `layout` is what the list says of itself (`Version::memory`) at the end.
- 100,000 boards without members, of 50 and of 128: each made empty and then given its members in
  one batch. A board through the log keeps the last batch with its results.
- with `--million` 1,000,000 boards of 50 members, and how long it takes to make them.

Redis gets the same members and scores with pipelined ZADDs. Its figure is the growth of
used_memory_rss; used_memory, which leaves out what its allocator wastes, is its layout. It gets
its best case: it is not aged by moves. Sorted sets of up to 128 members are listpacks there.

How: names and scores are made on the fly, so that nothing but the list keeps them. The allocator
is the server's (mimalloc). Nothing is averaged: memory does not vary from run to run as time does.

Not shown: what the server keeps beside its lists, and snapshots (`bench_snapshot.py`).

The last line is JSON; `ours` is bytes a member of the large board through drafts, after the moves.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

import example
import harness
from redis_side import exchange, redis

if TYPE_CHECKING:
    from redis import Redis

SMALL: Final = (0, 50, 128)
PLAYERS: Final = 50
_PURGED: Final = {"MIMALLOC_PURGE_DELAY": "0"}
_SCORE_BITS: Final = 33
_LEAST: Final = 1_000_000_000
_PAIRS: Final = 64
_PIPELINE: Final = 256
# Redis counts its resident bytes ten times a second.
_SETTLE_SECONDS: Final = 1.0


class Options(msgspec.Struct, frozen=True):
    """How much to measure."""

    members: int
    boards: int
    million: int
    """Boards of the last part; 0 if it is left out."""


class Size(msgspec.Struct):
    """Resident bytes of all lists, and those of one by its own account."""

    resident: int
    runs: int = 0
    inners: int = 0
    keys: int = 0
    names: int = 0
    index: int = 0

    def layout(self) -> int:
        """Add up what the list says."""
        return self.runs + self.inners + self.keys + self.names + self.index


class OneBoard(msgspec.Struct):
    """What the example says of one board."""

    loaded: Size
    moved: Size


class ManyBoards(msgspec.Struct):
    """What the example says of many boards."""

    all: Size
    seconds: float


class Large(msgspec.Struct, frozen=True):
    """Bytes a member of a large board."""

    side: str
    loaded: float
    moved: float
    layout: float
    parts: dict[str, float] = {}


class Small(msgspec.Struct, frozen=True):
    """Bytes of a small board."""

    side: str
    boards: int
    members: int
    bytes: float
    layout: float
    seconds: float


def main() -> None:
    options = read_options()
    harness.require(("redis-server", "taskset", "setpriv"), ("redis", "hiredis"))
    program = example.build()
    meter = harness.Meter(harness.cores())
    large = [
        one_board(program, "log", options, {}),
        one_board(program, "draft", options, {}),
        one_board(program, "draft", options, _PURGED),
        redis_board(options),
    ]
    small = [many_boards(program, "draft", options.boards, members) for members in SMALL]
    small.append(many_boards(program, "log", options.boards, PLAYERS))
    small += [redis_boards(options.boards, members) for members in SMALL if members]
    if options.million:
        small.append(many_boards(program, "draft", options.million, PLAYERS))
    report(large, small, meter.stop()[1], options)


def read_options() -> Options:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--members", type=harness.positive, default=10_000_000, help="default: 10000000"
    )
    parser.add_argument(
        "--boards", type=harness.positive, default=100_000, help="small ones (default: 100000)"
    )
    parser.add_argument("--million", action="store_true", help="also make 1,000,000 boards of 50")
    parser.add_argument("--quick", action="store_true", help="little of everything: only a test")
    given = parser.parse_args()
    if given.quick:
        return Options(members=20_000, boards=1000, million=2000 * given.million)
    return Options(given.members, given.boards, 1_000_000 * given.million)


# Ours.


def one_board(
    program: Path, through: str, options: Options, environment: Mapping[str, str]
) -> Large:
    """Load and move a board in a fresh process."""
    command = (program, "memory", "--through", through, "--members", str(options.members))
    line = example.run(command, harness.cores()[:1], environment)
    board = msgspec.json.decode(line, type=OneBoard)
    each = {
        part: round(size / options.members, 2)
        for part, size in msgspec.structs.asdict(board.moved).items()
    }
    return Large(
        f"{through}, purged" if environment else through,
        loaded=round(board.loaded.resident / options.members, 2),
        moved=each.pop("resident"),
        layout=round(board.moved.layout() / options.members, 2),
        parts=each,
    )


def many_boards(program: Path, through: str, boards: int, members: int) -> Small:
    """Make small boards in a fresh process."""
    harness.progress(f"{through}: {boards:,} boards of {members}")
    command = (
        *(program, "boards", "--through", through),
        *("--boards", str(boards), "--members", str(members)),
    )
    line = example.run(command, harness.cores()[:1])
    made = msgspec.json.decode(line, type=ManyBoards)
    size = round(made.all.resident / boards, 1)
    return Small(through, boards, members, size, made.all.layout(), made.seconds)


# Redis.


def redis_board(options: Options) -> Large:
    """Load a sorted set into a fresh Redis."""
    resident, used, _ = redis_bytes(1, options.members)
    loaded = round(resident / options.members, 2)
    return Large("redis", loaded, loaded, round(used / options.members, 2))


def redis_boards(boards: int, members: int) -> Small:
    """Load small sorted sets into a fresh Redis."""
    resident, used, seconds = redis_bytes(boards, members)
    each = round(resident / boards, 1)
    return Small("redis", boards, members, each, round(used / boards), round(seconds, 2))


def redis_bytes(boards: int, members: int) -> tuple[int, int, float]:
    """Return by how much used_memory_rss and used_memory grow, and the seconds it takes."""
    harness.progress(f"redis: {boards:,} boards of {members:,}")
    with (
        harness.working_directory() as directory,
        redis(directory) as (_, client, connection),
    ):
        empty, began = memory(client), time.perf_counter()
        batch: list[bytes] = []
        for number, command in enumerate(commands(boards, members), 1):
            batch.append(command)
            if len(batch) == _PIPELINE:
                exchange(connection, batch, 1)
                batch.clear()
            if number * _PAIRS % (1 << 21) == 0:
                harness.progress(f"redis: {number * _PAIRS:,} members")
        exchange(connection, batch, 1)
        seconds = time.perf_counter() - began
        count = client.dbsize(), client.zcard("board-0000000")
        if count != (boards, members):
            raise harness.BenchError(f"Redis holds {count}, not {boards, members}")
        time.sleep(_SETTLE_SECONDS)
        full = memory(client)
    return full[0] - empty[0], full[1] - empty[1], seconds


def memory(client: Redis) -> tuple[int, int]:
    """Return Redis' resident bytes and those that it uses."""
    info = client.info("memory")
    return info["used_memory_rss"], info["used_memory"]


def commands(boards: int, members: int) -> Iterator[bytes]:
    """Encode the ZADDs of all members, 64 of a board at a time."""
    for board in range(boards):
        first = board * members
        for start in range(first, first + members, _PAIRS):
            numbers = range(start, min(start + _PAIRS, first + members))
            pairs = [
                b"$10\r\n%d\r\n$20\r\nmember-%013d\r\n" % (score(number), number)
                for number in numbers
            ]
            head = b"*%d\r\n$4\r\nZADD\r\n$13\r\nboard-%07d\r\n" % (2 + 2 * len(pairs), board)
            yield head + b"".join(pairs)


def score(number: int) -> int:
    """Return what `distinct_score` in the example's random.rs does."""
    mask = (1 << _SCORE_BITS) - 1
    mixed = number & mask
    for factor in (0x1_9E37_79B9, 0x1_85EB_CA6B):
        mixed = mixed * factor & mask
        mixed ^= mixed >> (_SCORE_BITS // 2)
    return _LEAST + mixed


# Telling.


def report(large: list[Large], small: list[Small], others: float, options: Options) -> None:
    """Print the tables and the result."""
    each = [f"bytes a member of {options.members:,}", "loaded", "moved", "layout"]
    print(harness.table(each, ((row.side, row.loaded, row.moved, row.layout) for row in large)))
    print()
    each = ["small boards", "boards", "members", "bytes a board", "layout", "seconds"]
    print(harness.table(each, (msgspec.structs.astuple(row) for row in small)))
    print(result_line(large, small, others, options))


def result_line(large: list[Large], small: list[Small], others: float, options: Options) -> str:
    """Make the last line; memory is not disturbed by other programs, the seconds are."""
    sides = {row.side: row for row in large}
    ours, theirs = sides["draft"].moved, sides["redis"]
    against = {"redis": theirs.moved, "redis-used": theirs.layout}
    result = {
        "name": "ranklist-memory",
        "unit": "bytes/member",
        "ours": ours,
        "layout": sides["draft"].layout,
        "against": against,
        "ratio": harness.ratios(ours, against, less_is_better=True),
        "noisy": others > harness.QUIET,
        "others": round(others, 3),
        "options": options,
        "rows": large,
        "small": small,
        **harness.circumstances("redis", "hiredis"),
    }
    return msgspec.json.encode(result).decode()


if __name__ == "__main__":
    harness.main(main)
