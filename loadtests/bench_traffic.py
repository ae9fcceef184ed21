"""What it costs to watch the reads, and what keeping first pages saves, beside a request over HTTP.

Measured, in nanoseconds a call of the core from Python: a page of 10, a page of 100 and a member's
standing, with the traffic watched or not and the pages kept or not; and what the server's process
uses for the same read over HTTP. The cost of watching is the difference of two columns, and the
share is that of the request's processor time.

How: reads go to 100 boards of 1,000 members, the n-th board as often as 1 / n. Each round times
every case once, one after the other, so that what changes on the machine hits all of them alike; a
figure is the best of its rounds, as others can only take time. The server has one core and this
program another; it has 64 connections, on which it sends 64 requests and waits for all answers.
Nothing is watched or kept by that server.

Not shown: reads of boards that change, where a page has to be encoded. `encoding` in the last line
is what that takes. The last line is JSON; `ours` is the largest share.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import socket
import time
from collections.abc import Callable
from typing import Final

import msgspec

import bench_http
import harness
from harness import HOST, BenchError
from rankwire import _core

BOARDS: Final = 100
MEMBERS: Final = 1000
_CONNECTIONS: Final = 64
_KEPT_BYTES: Final = 1 << 26
_LIMIT: Final = 1 << 20
_SUCCESS: Final = b"HTTP/1.1 200 "
# Up to the end of the head.
_LENGTH: Final = re.compile(rb"content-length: (\d+)\r\n(?:.+\r\n)*\r\n", re.IGNORECASE)
_BOUND: Final = 0.01
"""Share of a request's processor time that watching may take."""


class Options(msgspec.Struct, frozen=True):
    """How much to measure: rounds, calls of each case in a round, seconds of each load."""

    rounds: int
    calls: int
    seconds: int


class Read(msgspec.Struct, frozen=True):
    """A kind of read: by the core, and its address below a board."""

    name: str
    ask: Callable[[_core.Engine, str], object]
    address: str


class Case(msgspec.Struct, frozen=True):
    """What the engine does besides."""

    watched: bool
    kept: bool


class Row(msgspec.Struct, frozen=True):
    """Nanoseconds of a read, and microseconds of the same over HTTP."""

    read: str
    plain: float
    watched: float
    kept: float
    both: float
    request_us: float

    @property
    def cost(self) -> float:
        """What watching costs; the worse of the two ways to measure it."""
        return max(self.watched - self.plain, self.both - self.kept)

    @property
    def share(self) -> float:
        """Which part of the request that is."""
        return self.cost / (self.request_us * 1000)


READS: Final = (
    Read("page of 10", lambda engine, board: engine.page(board, 0, 10), "top?limit=10"),
    Read("page of 100", lambda engine, board: engine.page(board, 0, 100), "top?limit=100"),
    Read(
        "standing",
        lambda engine, board: engine.standing(board, "player-7"),
        "members/player-7",
    ),
)
CASES: Final = tuple(Case(*flags) for flags in itertools.product((False, True), repeat=2))


def main() -> None:
    options = read_options()
    harness.require(("taskset", "setpriv"), ())
    requests, noise = measure_requests(options)
    calls, encoding = measure_calls(options)
    rows = [row(read, calls, requests) for read in READS]
    report(rows, encoding, noise, options)


def read_options() -> Options:
    parser = harness.parser(__doc__)
    parser.add_argument("--rounds", type=harness.positive, default=15, help="default: 15")
    parser.add_argument(
        "--calls", type=harness.positive, default=20_000, help="calls of a case (default: 20000)"
    )
    parser.add_argument(
        "--seconds", type=harness.positive, default=3, help="length of each load (default: 3)"
    )
    given = parser.parse_args()
    if given.quick:
        return Options(rounds=2, calls=1000, seconds=1)
    return Options(given.rounds, given.calls, given.seconds)


# Requests.


def measure_requests(options: Options) -> tuple[dict[str, float], float]:
    """Return the microseconds of each read over HTTP, and the share that others took at most."""
    cores = harness.cores()
    with harness.working_directory() as directory, bench_http.rankwire("server", directory) as side:
        # The server has the other one.
        os.sched_setaffinity(0, cores[1:])
        measured = {}
        noise = 0.0
        for read in READS:
            load(side.port, read, 0.5)
            meter = harness.Meter(cores, side.processes)
            done = load(side.port, read, options.seconds)
            used, others = meter.stop()
            measured[read.name] = used * 1e6 / done
            noise = max(noise, others)
            harness.progress(f"{read.name} over HTTP: {measured[read.name]:.1f} µs", others)
    return measured, noise


def load(port: int, read: Read, seconds: float) -> int:
    """Send a read over all connections and take in all answers, again and again.

    Returns how many there were. All answers have to be like the first one.
    """
    request = f"GET /v1/boards/bench/{read.address} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        connect = socket.create_connection
        peers = [stack.enter_context(connect((HOST, port))) for _ in range(_CONNECTIONS)]
        peers[0].sendall(request)
        size = len(answer_of(peers[0]))
        done = 1
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for peer in peers:
                peer.sendall(request)
            for peer in peers:
                if not peer.recv(size, socket.MSG_WAITALL).startswith(_SUCCESS):
                    raise BenchError(f"{read.name} was not answered with success")
            done += len(peers)
    return done


def answer_of(peer: socket.socket) -> bytes:
    """Take in one answer, whose length is not known yet."""
    answer = b""
    while not (length := _LENGTH.search(answer)) or len(answer) < length.end() + int(length[1]):
        more = peer.recv(1 << 16)
        if not more:
            raise BenchError("the server hung up")
        answer += more
    return answer


# Calls.


def measure_calls(options: Options) -> tuple[dict[tuple[str, Case], float], float]:
    """Return the best nanoseconds of each read in each case, and of encoding a first page."""
    engine = filled_engine()
    names = [f"board-{n}" for n in range(BOARDS)]
    weights = list(itertools.accumulate(1 / n for n in range(1, BOARDS + 1)))
    asked = random.Random(1).choices(names, cum_weights=weights, k=options.calls)
    best: dict[tuple[str, Case], float] = {}
    for number in range(options.rounds):
        for read, case in itertools.product(READS, CASES):
            engine.watch_traffic(case.watched)
            engine.keep_pages(names if case.kept else [], _KEPT_BYTES)
            # The first calls fill what is kept.
            for name in names:
                read.ask(engine, name)
            taken = time_calls(engine, read, asked)
            best[read.name, case] = min(taken, best.get((read.name, case), taken))
        harness.progress(f"round {number + 1} of {options.rounds}")
    stats = engine.page_stats()
    return best, stats["built_seconds"] / stats["built"] * 1e9


def time_calls(engine: _core.Engine, read: Read, asked: list[str]) -> float:
    ask = read.ask
    started = time.perf_counter()
    for board in asked:
        ask(engine, board)
    return (time.perf_counter() - started) / len(asked) * 1e9


def filled_engine() -> _core.Engine:
    """Make an engine whose boards are full of members."""
    engine = _core.Recovery([]).finish(1, _LIMIT, _LIMIT)
    items = [(f"player-{n}", n * 1_000_003 % 1_000_000_007, None) for n in range(MEMBERS)]
    for n in range(BOARDS):
        engine.create_board(f"board-{n}", "int64", "desc", "best", "first")
        engine.submit_batch(f"board-{n}", items)
        sealed = engine.seal(0.0)
        if sealed is None or len(sealed.commit()) != 2:
            raise BenchError("the boards could not be filled")
    return engine


# Telling.


def row(read: Read, calls: dict[tuple[str, Case], float], requests: dict[str, float]) -> Row:
    """Put together what was measured of a read."""

    def nanos(*, watched: bool, kept: bool) -> float:
        return round(calls[read.name, Case(watched, kept)], 1)

    return Row(
        read.name,
        plain=nanos(watched=False, kept=False),
        watched=nanos(watched=True, kept=False),
        kept=nanos(watched=False, kept=True),
        both=nanos(watched=True, kept=True),
        request_us=round(requests[read.name], 2),
    )


def report(rows: list[Row], encoding: float, noise: float, options: Options) -> None:
    """Print the table and the result."""
    head = ("read", "ns", "watched", "kept", "both", "watching", "request µs", "share")
    print(
        harness.table(
            head,
            (
                (*msgspec.structs.astuple(row)[:5], row.cost, row.request_us, f"{row.share:.2%}")
                for row in rows
            ),
        )
    )
    worst = max(row.share for row in rows)
    words = "less" if worst < _BOUND else "MORE"
    print(f"watching takes {worst:.2%} of a request's processor time: {words} than {_BOUND:.0%}")
    harness.print_result(
        "traffic",
        noise,
        *("granian", "uvloop"),
        unit="share of a request",
        ours=round(worst, 5),
        against={"bound": _BOUND},
        ratio=round(_BOUND / worst, 2),
        encoding_ns=round(encoding),
        options=options,
        rows=rows,
    )


if __name__ == "__main__":
    harness.main(main)
