"""Durable submits over HTTP, beside an echo on the same server and beside FastAPI over Redis.

Measured: single submits a second, their latency and the server side's processor time, at 64 and 256
keep-alive connections; then scores a second in batches of 1,000, as NDJSON and as MessagePack.

How: the server side runs on one core (FastAPI and Redis share it, as one stack), the client `wrk`
on another. All servers hold the same 100,000 members; every submit carries a new score and changes
the board. Rounds interleave: ours, echo, FastAPI, again and again; only the server whose turn it is
runs, the others are stopped meanwhile. Each figure is the median of its rounds.

A round counts only if every answer was a success and the server itself counted as many submits as
`wrk` got answers (those still on their way when it stopped may be more). The last line is JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

import harness
from harness import HOST, BenchError, Process

MEMBERS: Final = 100_000
BATCH: Final = 1000
SCORES: Final = "/v1/boards/bench/scores"
# More than this share of submits has to change something; a drawn score hardly ever repeats.
_CHANGING: Final = 0.999
# What was on its way when the client stopped is done after so long.
_SETTLING_SECONDS: Final = 0.1


class Load(msgspec.Struct, frozen=True):
    """What the client sends."""

    kind: str
    connections: int
    items: int = 1

    @property
    def path(self) -> str:
        """Where it goes."""
        return SCORES if self.kind == "single" else f"{SCORES}:batch"


class Wrk(msgspec.Struct, frozen=True):
    """What the client saw."""

    requests: int
    seconds: float
    refused: int
    socket_errors: int
    timeouts: int
    p50_us: float
    p99_us: float
    max_us: float


class Round(msgspec.Struct, frozen=True):
    """One measurement."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    others: float


class Row(msgspec.Struct, frozen=True):
    """The medians of all rounds of one side under one load."""

    side: str
    load: str
    connections: int
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


class Side(msgspec.Struct, frozen=True):
    """A server, with all its processes, and how many submits it says it has taken and changed."""

    name: str
    port: int
    processes: list[Process]
    counted: Callable[[], tuple[int, int]] | None = None


class Options(msgspec.Struct, frozen=True):
    """How long to measure."""

    rounds: int
    seconds: int
    warmup: int
    connections: list[int]


def main() -> None:
    options = read_options()
    harness.require(
        ("wrk", "redis-server", "taskset", "setpriv"), ("fastapi", "redis", "uvicorn", "httptools")
    )
    with harness.working_directory() as directory, servers(directory) as sides:
        singles = [Load("single", count) for count in options.connections]
        batches = [Load(kind, 4, BATCH) for kind in ("ndjson", "msgpack")]
        measured = [item for load in singles for item in measure(sides, load, options)]
        measured += [item for load in batches for item in measure(sides[:1], load, options)]
    report([row for row, _ in measured], max(others for _, others in measured), options)


def read_options() -> Options:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=harness.positive, default=5, help="rounds of each side (default: 5)"
    )
    parser.add_argument(
        "--seconds", type=harness.positive, default=6, help="length of a round (default: 6)"
    )
    parser.add_argument(
        "--warmup", type=harness.positive, default=2, help="seconds before each (default: 2)"
    )
    parser.add_argument(
        *("--connections", "-c"),
        type=harness.positive,
        nargs="+",
        default=[64, 256],
        help="keep-alive connections; the result is that of the first (default: 64 256)",
    )
    parser.add_argument("--quick", action="store_true", help="one round of a second: only a test")
    given = parser.parse_args()
    if given.quick:
        return Options(rounds=1, seconds=1, warmup=1, connections=given.connections[:1])
    return Options(given.rounds, given.seconds, given.warmup, given.connections)


# The servers.


@contextlib.contextmanager
def servers(directory: Path) -> Iterator[list[Side]]:
    """Run all sides, filled with the same members, each stopped until its turn."""
    with contextlib.ExitStack() as stack:
        sides = [
            stack.enter_context(side(directory))
            for side in (
                rankwire_scheduled,
                rankwire_unscheduled,
                asgi_echo,
                asgi_echo_scheduled,
                fastapi_redis,
            )
        ]
        for one in sides:
            check_answer(one)
            for process in one.processes:
                process.pause()
        yield sides


def check_answer(side: Side) -> None:
    """See that a submit is answered as it should be, before thousands of answers go unread."""
    best = {"member": "player-1", "score": 2_147_483_647}
    answer = harness.call(side.port, "POST", SCORES, best)
    expected = best if side.counted is None else best | {"rank": 1}
    if answer | expected != answer:
        raise BenchError(f"{side.name} answered {answer}")


def rankwire_scheduled(directory: Path) -> contextlib.AbstractContextManager[Side]:
    """Run our server as it is."""
    return rankwire("rankwire", directory, harness.RANKWIRE)


def rankwire_unscheduled(directory: Path) -> contextlib.AbstractContextManager[Side]:
    """Run our server without its scheduling policy."""
    program = (sys.executable, str(Path(__file__).with_name("unscheduled.py")))
    return rankwire("rankwire-unscheduled", directory, program)


@contextlib.contextmanager
def rankwire(
    name: str, directory: Path, program: Sequence[str] = harness.RANKWIRE, *flags: str
) -> Iterator[Side]:
    """Run our server with its defaults, or with flags."""
    port, live_port = harness.free_ports(2)
    command = harness.serve_command(port, live_port, directory / name, *flags, program=program)
    log = directory / f"{name}.log"
    with harness.running(command, log, harness.cores()[0]) as process:
        process.wait(lambda: harness.is_ready(port))
        harness.call(port, "PUT", "/v1/boards/bench", {"policy": "last"})
        for start in range(0, MEMBERS, BATCH):
            items = [{"member": f"player-{i}", "score": 0} for i in range(start, start + BATCH)]
            harness.call(port, "POST", f"{SCORES}:batch", items)

        def counted() -> tuple[int, int]:
            metrics = harness.metrics(port)
            taken, changed = metrics["rankwire_submits_total"], metrics["rankwire_changes_total"]
            return int(taken), int(changed)

        yield Side(name, port, [process], counted)


def asgi_echo(directory: Path) -> contextlib.AbstractContextManager[Side]:
    """Run the echo on granian as it comes."""
    return echo("asgi-echo", directory)


def asgi_echo_scheduled(directory: Path) -> contextlib.AbstractContextManager[Side]:
    """Run the echo on granian with the scheduling policy that our server sets for itself."""
    return echo("asgi-echo-scheduled", directory, "--schedule-as-batch")


@contextlib.contextmanager
def echo(name: str, directory: Path, *flags: str) -> Iterator[Side]:
    """Run an echo."""
    (port,) = harness.free_ports(1)
    command = [sys.executable, str(Path(__file__).with_name("echo.py")), str(port), *flags]
    with harness.running(command, directory / f"{name}.log", harness.cores()[0]) as process:
        process.wait(lambda: harness.answers(port))
        yield Side(name, port, [process])


@contextlib.contextmanager
def fastapi_redis(directory: Path) -> Iterator[Side]:
    """Run FastAPI and Redis."""
    from redis import Redis  # noqa: PLC0415  # only now is it known to be installed

    port, redis_port = harness.free_ports(2)
    command = [
        *(sys.executable, "-m", "uvicorn", "peer_fastapi:app"),
        *("--app-dir", str(Path(__file__).parent), "--host", HOST, "--port", str(port)),
        *("--loop", "uvloop", "--http", "httptools", "--workers", "1"),
        *("--no-access-log", "--log-level", "warning"),
    ]
    core, _ = harness.cores()
    environment = {"REDIS_PORT": str(redis_port)}
    with (
        harness.running(harness.redis_command(redis_port), directory / "redis.log", core) as store,
        harness.running(command, directory / "fastapi.log", core, environment) as process,
        Redis(port=redis_port) as redis,
    ):
        store.wait(lambda: harness.answers(redis_port))
        process.wait(lambda: harness.answers(port))
        redis.zadd("bench", {f"player-{i}": 0 for i in range(MEMBERS)})

        def counted() -> tuple[int, int]:
            calls = int(redis.info("commandstats")["cmdstat_zadd"]["calls"])
            return calls, calls

        yield Side("fastapi-redis", port, [process, store], counted)


# Measuring.


def measure(sides: list[Side], load: Load, options: Options) -> list[tuple[Row, float]]:
    """Measure all sides under one load in turns; with each row goes what others took at most."""
    rounds: dict[str, list[Round]] = {side.name: [] for side in sides}
    for number in range(options.rounds):
        for side in sides:
            one = measure_once(side, load, options, seed=number + 1)
            rounds[side.name].append(one)
            what = f"{side.name}, {load.kind}, {load.connections} connections"
            harness.progress(f"{what}: {one.per_second:,.0f}/s", one.others)
    return [(summarize(side.name, load, rounds[side.name]), worst(rounds)) for side in sides]


def measure_once(side: Side, load: Load, options: Options, seed: int) -> Round:
    """Give one side its turn."""
    for process in side.processes:
        process.resume()
    run_wrk(side.port, load, options.warmup, seed + 1000)
    before = settled(side)
    meter = harness.Meter(harness.cores(), side.processes)
    seen = run_wrk(side.port, load, options.seconds, seed)
    cpu, others = meter.stop()
    check(side, load, seen, before, settled(side))
    for process in side.processes:
        process.pause()
    return Round(
        per_second=seen.requests * load.items / seen.seconds,
        p50_ms=seen.p50_us / 1000,
        p99_ms=seen.p99_us / 1000,
        cpu_us=cpu * 1e6 / (seen.requests * load.items),
        others=others,
    )


def run_wrk(port: int, load: Load, seconds: int, seed: int) -> Wrk:
    """Run the client for some seconds."""
    command = [
        *("wrk", "--threads", "1", "--connections", str(load.connections)),
        *("--duration", f"{seconds}s", "--timeout", "10s"),
        *("--script", str(Path(__file__).with_name("submit.lua"))),
        *(f"http://{HOST}:{port}{load.path}", "--"),
        *(load.kind, str(MEMBERS), str(load.items), str(seed)),
    ]
    return msgspec.json.decode(harness.last_line(command, harness.cores()[1]), type=Wrk)


def settled(side: Side) -> tuple[int, int]:
    """Return the server's own counts once they stand still."""
    if side.counted is None:
        return 0, 0
    counts = side.counted()
    while True:
        time.sleep(_SETTLING_SECONDS)
        before, counts = counts, side.counted()
        if counts == before:
            return counts


def check(
    side: Side, load: Load, seen: Wrk, before: tuple[int, int], after: tuple[int, int]
) -> None:
    """Refuse a round that is not what it seems."""
    if not seen.requests or seen.refused or seen.socket_errors or seen.timeouts:
        raise BenchError(f"{side.name} did not answer everything with success: {seen}")
    if side.counted is None:
        return
    answered = seen.requests * load.items
    taken, changed = (now - then for now, then in zip(after, before, strict=True))
    if not answered <= taken <= answered + load.connections * load.items:
        raise BenchError(f"{side.name} took {taken} submits, the client has {answered} receipts")
    if changed < taken * _CHANGING:
        raise BenchError(f"{side.name} changed only {changed} times with {taken} submits")


# Telling.


def summarize(side: str, load: Load, rounds: list[Round]) -> Row:
    """Take the medians."""
    return Row(
        side,
        load.kind if load.items == 1 else f"{load.kind} x {load.items:,}",
        load.connections,
        per_second=harness.median((one.per_second for one in rounds), 0),
        p50_ms=harness.median(one.p50_ms for one in rounds),
        p99_ms=harness.median(one.p99_ms for one in rounds),
        cpu_us=harness.median(one.cpu_us for one in rounds),
    )


def worst(rounds: dict[str, list[Round]]) -> float:
    """Return the largest share of the cores that others took in a round."""
    return max(one.others for of_side in rounds.values() for one in of_side)


def report(rows: list[Row], others: float, options: Options) -> None:
    """Print the table and the result."""
    head = ("server", "submits", "connections", "scores/s", "p50 ms", "p99 ms", "CPU µs/score")
    print(harness.table(head, (msgspec.structs.astuple(row) for row in rows)))
    print(result_line(rows, others, options))


def result_line(rows: list[Row], others: float, options: Options) -> str:
    """Make the last line: the first load's figures, and every row."""
    first = rows[0]
    against = {
        row.side: row.per_second
        for row in rows[1:]
        if (row.load, row.connections) == (first.load, first.connections)
    }
    result = {
        "name": "http-submit",
        "unit": "requests/s",
        "ours": first.per_second,
        "against": against,
        "ratio": harness.ratios(first.per_second, against, less_is_better=False),
        "connections": first.connections,
        "p50_ms": first.p50_ms,
        "p99_ms": first.p99_ms,
        "cpu_us": first.cpu_us,
        "durable": "sqlite synchronous=FULL",
        "noisy": others > harness.QUIET,
        "others": round(others, 3),
        "options": options,
        "rows": rows,
        **harness.circumstances("granian", "uvloop", "fastapi", "uvicorn", "redis", "hiredis"),
    }
    return msgspec.json.encode(result).decode()


if __name__ == "__main__":
    harness.main(main)
