"""How fast a node takes in what another one commits, beside how fast that one commits it.

Measured, in records a second: what a node commits under a full load of batches of 1,000 while its
follower stands still; what the follower takes in when it goes on, until it has all of that, from
Redis and, what is no longer there, from PostgreSQL; and what an engine alone takes in of the same
batches, read from the journal. Then both at once: what is committed, and how long it takes until a
score that one node has acknowledged is seen at the other.

How: PostgreSQL and the node that commits share one core; Redis, the client and the follower share
another. Marks tell how far the follower is: a score of a member of its own, which the follower
shows once it has everything that was committed before. A run counts only if in the end both nodes
show the same, and the engine alone has all members. Each figure is the median of its rounds.

The last line is JSON; the ratio is by the node that commits.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

import bench_http
import harness
import postgres_side
from bench_http import BATCH, MEMBERS, Load, Side
from harness import BenchError
from postgres_side import Postgres

_LOAD: Final = Load("ndjson", 4, BATCH)
_BOARD: Final = "/v1/boards/bench"
_MARK: Final = "mark"
# As many as come at once from the stream.
_TOGETHER: Final = 64
_LOOK_SECONDS: Final = 0.002
_MARK_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 120.0
# More than any batch holds, and than one engine may have.
_PENDING: Final = 1 << 20
_BOARDS: Final = 10
# Some hundred megabytes; the first of them fill the board.
_JOURNAL: Final = "SELECT origin, number, batch FROM journal ORDER BY seq LIMIT 3000"


class Options(msgspec.Struct, frozen=True):
    """How long to measure."""

    rounds: int
    seconds: int
    warmup: int


class Nodes(msgspec.Struct, frozen=True):
    """Two nodes on one database."""

    origin: Side
    follower: Side


class Round(msgspec.Struct, frozen=True):
    """Records a second, and what the follower's lag was when both worked."""

    committed: float
    caught_up: float
    together: float
    lag_p50_ms: float
    lag_max_ms: float
    lag_late_ms: float
    """In the last third of the time: more than in all of it if the follower falls behind."""
    follower_us: float
    """The follower's processor time for each record, as it caught up."""
    others: float


def main() -> None:
    options = read_options()
    harness.require(("wrk", "redis-server", "taskset", "setpriv"), ("psycopg", "redis"))
    postgres_side.require()
    with harness.working_directory() as directory:
        core, _ = harness.cores()
        with postgres_side.postgres(directory, core) as database:
            with running(directory, database) as nodes:
                rounds = [measure(nodes, options, seed) for seed in range(1, options.rounds + 1)]
                check_same(nodes)
            batches = [(*row[:2], bytes(row[2])) for row in database.sql(_JOURNAL)]
        alone = [apply_all(batches) for _ in range(options.rounds)]
    report(rounds, alone, options)


def read_options() -> Options:
    parser = harness.parser(__doc__)
    parser.add_argument("--rounds", type=harness.positive, default=3, help="default: 3")
    parser.add_argument(
        "--seconds", type=harness.positive, default=6, help="length of each load (default: 6)"
    )
    parser.add_argument(
        "--warmup", type=harness.positive, default=2, help="seconds before each (default: 2)"
    )
    given = parser.parse_args()
    return Options(1, 1, 1) if given.quick else Options(given.rounds, given.seconds, given.warmup)


@contextlib.contextmanager
def running(directory: Path, database: Postgres) -> Iterator[Nodes]:
    """Run Redis, a node that is full of members, and one that follows it."""
    redis_port, port, live_port = harness.free_ports(3)
    _, core = harness.cores()
    shared = ("--storage-url", database.url, "--redis-url", f"redis://{harness.HOST}:{redis_port}")
    follow = harness.serve_command(port, live_port, directory / "follower", *shared)
    redis = harness.redis_command(redis_port)
    with (
        harness.running(redis, directory / "redis.log", core) as store,
        contextlib.ExitStack() as stack,
    ):
        store.wait(lambda: harness.answers(redis_port))
        origin = stack.enter_context(
            bench_http.rankwire("origin", directory, harness.RANKWIRE, *shared)
        )
        bench_http.check_answer(origin)
        follower = stack.enter_context(harness.running(follow, directory / "follower.log", core))
        follower.wait(lambda: harness.is_ready(port))
        yield Nodes(origin, Side("follower", port, [follower]))


# Measuring.


def measure(nodes: Nodes, options: Options, seed: int) -> Round:
    """Commit while the follower stands still, let it catch up, and then do both at once."""
    (follower,) = nodes.follower.processes
    follower.pause()
    times = bench_http.Options(1, options.seconds, options.warmup, [])
    before = committed(nodes)
    alone = bench_http.measure_once(nodes.origin, _LOAD, times, seed)
    nodes.origin.processes[0].resume()
    records = committed(nodes) - before
    mark = set_mark(nodes, seed * 1_000_000)
    meter = harness.Meter(harness.cores(), [follower])
    began = time.perf_counter()
    follower.resume()
    seen = wait_for_mark(nodes, mark)
    cpu, others = meter.stop()
    caught_up = records / (seen - began)
    together, lags = work_together(nodes, options, seed, mark + 1)
    one = Round(
        alone.per_second,
        caught_up,
        together,
        harness.median(lag * 1000 for lag in lags),
        round(max(lags) * 1000, 2),
        harness.median(lag * 1000 for lag in lags[-(len(lags) // 3 or 1) :]),
        cpu * 1e6 / records,
        max(others, alone.others),
    )
    harness.progress(
        f"committed {one.committed:,.0f}/s, caught up {caught_up:,.0f}/s, together "
        f"{together:,.0f}/s with a lag of {one.lag_p50_ms:.0f} ms, {one.lag_max_ms:.0f} ms at most",
        one.others,
    )
    return one


def work_together(
    nodes: Nodes, options: Options, seed: int, mark: int
) -> tuple[float, list[float]]:
    """Load one node while the other follows, and return the records a second and all lags."""
    stopping = threading.Event()
    lags: list[float] = []

    def watch() -> None:
        for number in range(mark, mark + 1_000_000):
            set_mark(nodes, number)
            acknowledged = time.perf_counter()
            lags.append(wait_for_mark(nodes, number) - acknowledged)
            if stopping.wait(_MARK_SECONDS):
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        seen = bench_http.run_wrk(nodes.origin.port, _LOAD, options.seconds, seed)
    finally:
        stopping.set()
        watcher.join()
    if seen.refused or seen.socket_errors or seen.timeouts:
        raise BenchError(f"the node did not answer everything with success: {seen}")
    if not lags:
        raise BenchError("the follower showed no mark")
    return seen.requests * _LOAD.items / seen.seconds, lags


def committed(nodes: Nodes) -> int:
    """Return how many changes the node has committed."""
    return int(harness.metrics(nodes.origin.port)["rankwire_changes_total"])


def set_mark(nodes: Nodes, number: int) -> int:
    """Give the mark a score that it never had."""
    item = {"member": _MARK, "score": number}
    harness.call(nodes.origin.port, "POST", f"{_BOARD}/scores", item)
    return number


def wait_for_mark(nodes: Nodes, number: int) -> float:
    """Wait until the follower shows the mark, and return when that was."""
    end = time.monotonic() + _PATIENCE_SECONDS
    question = {"members": [_MARK]}
    while time.monotonic() < end:
        page = harness.call(nodes.follower.port, "POST", f"{_BOARD}/standings", question)
        if page["entries"] and page["entries"][0]["score"] >= number:
            return time.perf_counter()
        time.sleep(_LOOK_SECONDS)
    raise BenchError(f"the follower did not catch up within {_PATIENCE_SECONDS:.0f} s")


def check_same(nodes: Nodes) -> None:
    """See that both nodes show the same once both have everything."""
    wait_for_mark(nodes, set_mark(nodes, 2_147_483_647))
    ours, theirs = (
        [harness.call(port, "GET", f"{_BOARD}/top?limit=1000&offset={offset}")["entries"]
         for offset in range(0, MEMBERS, MEMBERS // 10)]
        for port in (nodes.origin.port, nodes.follower.port)
    )  # fmt: skip
    if ours != theirs:
        raise BenchError("the follower shows other standings")


def apply_all(batches: list[tuple[int, int, bytes]]) -> float:
    """Have an engine alone take in everything, on the server's core; return records a second."""
    from rankwire import _core  # noqa: PLC0415  # the benchmark's options need no extension

    engine = _core.Recovery([]).finish(1, _PENDING, _BOARDS, True)
    engine.track(False)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {harness.cores()[0]})
    began = time.perf_counter()
    for start in range(0, len(batches), _TOGETHER):
        some = batches[start : start + _TOGETHER]
        if engine.apply(some) != (len(some), ""):
            raise BenchError("the journal has gaps")
    seconds = time.perf_counter() - began
    os.sched_setaffinity(0, allowed)
    stats = engine.stats()
    if stats["members"] < MEMBERS:
        raise BenchError(f"the engine has {stats['members']} members")
    harness.progress(f"an engine alone: {stats['applied_records_total'] / seconds:,.0f}/s")
    return stats["applied_records_total"] / seconds


# Telling.


def report(rounds: list[Round], alone: list[float], options: Options) -> None:
    """Print the table and the result."""
    head = ("records", "a second", "times what is committed")
    produced = harness.median((one.committed for one in rounds), 0)
    applied = harness.median(alone, 0)
    caught_up = harness.median((one.caught_up for one in rounds), 0)
    together = harness.median((one.together for one in rounds), 0)
    rows = {
        "committed, the follower stands still": produced,
        "taken in by the follower as it catches up": caught_up,
        "taken in by an engine alone": applied,
        "committed and taken in at once": together,
    }
    print(harness.table(head, ((what, rate, rate / produced) for what, rate in rows.items())))
    lag = {
        "p50_ms": harness.median(one.lag_p50_ms for one in rounds),
        "max_ms": max(one.lag_max_ms for one in rounds),
        "late_ms": harness.median(one.lag_late_ms for one in rounds),
    }
    words = f"{lag['p50_ms']:.1f} ms, at most {lag['max_ms']:.1f} ms"
    print(
        f"lag of the follower: {words}, and {lag['late_ms']:.1f} ms in the last third of the time"
    )
    harness.print_result(
        "apply",
        max(one.others for one in rounds),
        *("granian", "uvloop", "psycopg", "redis"),
        unit="records/s",
        ours=applied,
        against={"committed": produced},
        ratio=round(applied / produced, 3),
        caught_up=caught_up,
        caught_up_ratio=round(caught_up / produced, 3),
        together=together,
        lag=lag,
        follower_us=harness.median(one.follower_us for one in rounds),
        durable="postgresql synchronous_commit=on",
        options=options,
        rounds=rounds,
    )


if __name__ == "__main__":
    harness.main(main)
