"""How many bytes and rounds it takes until two regions know on which members they differ.

Measured, for boards of `--members` members in two regions of which 1, 10 and 1,000 differ: the
bytes of all questions and answers until exactly those are found, the rounds, and the milliseconds;
and all of that until each of them was proved to differ, is repaired and was looked at again. Beside
it: what telling all members with their keys takes, in the same compact bytes, from which the other
region could find out as well.

How: both regions are engines of this process, on one core, and a question is a call: the bytes and
rounds are those of regions on two continents, the time is that of both sides' work alone. Of the
members that differ a third has another score, so it stands in two places; a third is missing in one
region and a third in the other. They are drawn at random. Both regions have hashed their boards
before, as after a first comparison; what that takes is told as well. A run counts only if it finds
exactly what was planted, and if both regions have equal digests in the end.

The last line is JSON; the ratio is by the bytes of telling all members, for one difference.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
import struct
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import structlog

import harness
from harness import BenchError
from rankwire import _core
from rankwire.sync.regions import compare, verify
from rankwire.sync.regions.compare import Counted
from rankwire.sync.regions.compare_wire import OutlineAnswer, OutlineRequest
from rankwire.sync.regions.verify import Job, Local

DIFFERENCES: Final = (1, 10, 1000)
_BOARD: Final = 7
_NAME: Final = "bench"
_SEED: Final = bytes(range(16))
_CONFIG: Final = ("int64", "desc", "best", "first")
_LIMIT: Final = 1 << 20
# A node of the list has as many children, on average.
_FAN: Final = 16
_SIGN: Final = 1 << 63

Key = tuple[int, int]
"""Code and stamp, as a storage keeps them."""


class Cost(msgspec.Struct, frozen=True):
    """What it took."""

    rounds: int
    sent: int
    received: int
    milliseconds: float

    @property
    def bytes(self) -> int:
        """Both ways."""
        return self.sent + self.received


class Row(msgspec.Struct, frozen=True):
    """One number of differences."""

    differences: int
    hash_ms: float
    """Until both boards were hashed for the first time."""
    found: Cost
    repaired: Cost
    bytes_each_level: float
    """Of finding, for each difference and each level of the board."""


class Region:
    """An engine that answers as a region does, and commits at once."""

    def __init__(self, name: str, origin: int, members: Mapping[str, Key]) -> None:
        recovery = _core.Recovery([])
        recovery.board(_BOARD, _NAME, *_CONFIG, _SEED, 1, 0)
        recovery.members([(member, *key, 0) for member, key in members.items()])
        self.engine = recovery.finish(origin, _LIMIT, _LIMIT, True, name)
        self.batches: list[tuple[int, int, bytes]] = []
        self.trouble: str | None = None
        self.local = Local(self.engine, self, self)
        self.handlers = verify.handlers(self.local)

    async def post(self, name: str, body: bytes, _seconds: float) -> bytes:
        """Answer another region."""
        return await self.handlers[name](body)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[dict[int, int]]:
        """Let it repair: this is the only node."""
        yield {}

    async def stored(self, board: int, members: Sequence[str]) -> Any:
        """Give what is stored: memory is in order here."""
        return _core.states(self.engine, board, members)

    def reply(self, ticket: int) -> asyncio.Future[Any]:
        """Commit what is queued, and answer."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        sealed = self.engine.seal(0.0)
        if sealed is None:
            raise BenchError("the engine is closed")
        if sealed.bytes:
            self.batches.append((self.engine.origin, sealed.number, sealed.bytes))
        future.set_result(dict(sealed.commit())[ticket])
        return future

    def take_in(self, other: Region) -> None:
        """Apply what the other region has committed."""
        self.engine.apply(other.batches)

    @property
    def digest(self) -> str:
        """Of the one board."""
        return self.engine.digest()[1][0][4]


def main() -> None:
    members, quick = read_options()
    # What is found is told below, and not board by board.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    core, *_ = harness.cores()
    os.sched_setaffinity(0, {core})
    meter = harness.Meter([core])
    board = drawn(members)
    rows = []
    for count in DIFFERENCES if not quick else DIFFERENCES[:2]:
        rows.append(asyncio.run(measure(board, count)))
        harness.progress(f"{count} of {members:,} members")
    everything = asyncio.run(tell_all(Region("eu", 1, board)))
    report(members, rows, everything, meter.stop()[1])


def read_options() -> tuple[int, bool]:
    parser = harness.parser(__doc__)
    parser.add_argument(
        "--members", type=harness.positive, default=1_000_000, help="default: 1,000,000"
    )
    given = parser.parse_args()
    return (10_000 if given.quick else given.members), given.quick


def drawn(count: int) -> dict[str, Key]:
    """Return members with ids of 20 bytes and random scores."""
    chance = random.Random(1)
    return {
        f"player-{number:013}": (chance.randrange(count) - _SIGN // 2, number + 1)
        for number in range(count)
    }


def planted(board: Mapping[str, Key], count: int) -> tuple[dict[str, Key], set[str]]:
    """Return what another region holds, and on which members that differs; both lose some."""
    chance = random.Random(count)
    other = dict(board)
    differing = set()
    for index, chosen in enumerate(chance.sample(sorted(board), count)):
        member = chosen
        if index % 3 == 0:
            other[member] = (chance.randrange(len(board)) - _SIGN // 2, len(board) + index)
        elif index % 3 == 1:
            del other[member]
        else:
            member = f"ghost-{index:014}"
            other[member] = (chance.randrange(len(board)) - _SIGN // 2, len(board) + index)
        differing.add(member)
    return other, differing


async def measure(board: Mapping[str, Key], count: int) -> Row:
    """Plant differences, find them, and repair them."""
    other, differing = planted(board, count)
    here, there = Region("eu", 1, board), Region("us", 2, other)
    began = time.perf_counter()
    if here.digest == there.digest:
        raise BenchError("nothing was planted")
    hash_ms = (time.perf_counter() - began) * 1000
    peer = Counted(there)
    began = time.perf_counter()
    found = await compare.find(here.engine, peer)
    cost = costs(peer, began)
    if set(found.members.get(_BOARD, [])) != differing:
        raise BenchError(f"{count} differences were planted, and others found")
    repaired = await repair(here, there, len(differing))
    levels = math.log(len(board), _FAN)
    each = cost.bytes / len(differing) / levels
    return Row(len(differing), round(hash_ms, 1), cost, repaired, round(each, 1))


async def repair(here: Region, there: Region, count: int) -> Cost:
    """Find, prove and repair what differs, while both take in what the other one writes."""

    async def exchange() -> None:
        while True:
            here.take_in(there)
            there.take_in(here)
            await asyncio.sleep(0.001)

    exchanging = asyncio.create_task(exchange())
    job = Job("eu", "eu", repair=True)
    began = time.perf_counter()
    report = await verify.ensure_eventual_consistency(here.local, {"us": there}, job)
    milliseconds = (time.perf_counter() - began) * 1000
    exchanging.cancel()
    if (report.found, report.resolved) != (count, count) or here.digest != there.digest:
        raise BenchError(f"not everything was repaired: {report}")
    (peer,) = report.peers
    return Cost(peer.rounds, peer.bytes_sent, peer.bytes_received, round(milliseconds, 1))


def costs(peer: Counted, began: float) -> Cost:
    milliseconds = (time.perf_counter() - began) * 1000
    return Cost(peer.rounds, peer.bytes_sent, peer.bytes_received, round(milliseconds, 1))


async def tell_all(there: Region) -> Cost:
    """Ask for all entries, as many at a time as come."""
    peer = Counted(there)
    began = time.perf_counter()
    spot = b""
    while True:
        # At level 0, from the spot on; see rust/engine/src/compare/codec.rs.
        asks = struct.pack("<BQB", 0, _BOARD, bool(spot)) + spot
        request = OutlineRequest(asks=asks)
        answer = (await peer.ask("outline", request, OutlineAnswer, 60.0)).answer
        _, is_cut, count = struct.unpack_from("<BBH", answer)
        if not is_cut:
            return costs(peer, began)
        place = 4
        for _ in range(count):
            place += 17 + answer[place + 16]
        spot = answer[place:]


def report(members: int, rows: list[Row], everything: Cost, others: float) -> None:
    """Print the table and the result."""
    head = ("differing members", "bytes", "rounds", "ms", "bytes each, a level", "repaired: bytes",
            "rounds", "ms", "all members: times the bytes")  # fmt: skip
    table = (
        (
            f"{row.differences:,}",
            row.found.bytes,
            row.found.rounds,
            row.found.milliseconds,
            row.bytes_each_level,
            row.repaired.bytes,
            row.repaired.rounds,
            row.repaired.milliseconds,
            everything.bytes / row.found.bytes,
        )
        for row in rows
    )
    print(harness.table(head, table))
    hashed = harness.median(row.hash_ms for row in rows)
    print(
        f"telling all {members:,}: {everything.bytes:,} bytes, {everything.rounds:,} rounds, "
        f"{everything.milliseconds:,.0f} ms; hashing both boards for the first time: "
        f"{hashed:,.0f} ms"
    )
    first = rows[0].found.bytes
    harness.print_result(
        "repair",
        others,
        unit="bytes",
        ours=first,
        against={"all members": everything.bytes},
        ratio=round(everything.bytes / first, 1),
        members=members,
        rows=rows,
        all_members=everything,
    )


if __name__ == "__main__":
    harness.main(main)
