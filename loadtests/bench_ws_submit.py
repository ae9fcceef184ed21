"""Durable submits over WebSocket, beside the HTTP API of the same server.

Measured: receipts a second and their latency, over 64 sockets with 64 submits on their way on each
and over one socket with 1,024; and over HTTP, with `wrk` on 64 keep-alive connections, as in
`bench_http.py`: there a connection has one request on its way, which is what HTTP/1.1 allows.

How: the server runs on one core, the client on another. The board holds 100,000 members; every
submit carries a new score and changes the board. Rounds take turns; each figure is the median of
its rounds. A round counts only if every receipt is that of its submit, and if the server counted as
many submits as the client got receipts.

The last line is JSON; the ratio is that of 64 sockets.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import msgspec

import bench_http
import harness
import swarm
from bench_http import BATCH, MEMBERS, SCORES, Load, Side
from harness import BenchError
from swarm import Server

# More than this share of submits has to change something; a drawn score hardly ever repeats.
_CHANGING: Final = 0.999
_HTTP: Final = Load("single", 64)
# More on one socket gain nothing.
_MOST_OF_ONE: Final = 1024


class Options(msgspec.Struct, frozen=True):
    """How much to measure."""

    rounds: int
    seconds: int
    warmup: int
    sockets: list[int]
    in_flight: int


class Round(msgspec.Struct, frozen=True):
    """One round of one door; `cpu_us` is the server's processor time for each submit."""

    door: str
    sockets: int
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    others: float


def main() -> None:
    options = read_options()
    harness.require(("wrk", "taskset", "setpriv"), ())
    program = swarm.build()
    rounds: list[Round] = []
    with (
        harness.working_directory() as directory,
        swarm.serving(directory, "rankwire") as server,
    ):
        fill(server)
        for number in range(options.rounds):
            rounds.append(over_http(server, options, number + 1))
            rounds += [over_socket(program, server, count, options) for count in options.sockets]
    report(rounds, options)


def read_options() -> Options:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=harness.positive, default=5, help="default: 5")
    parser.add_argument(
        "--seconds", type=harness.positive, default=6, help="length of a round (default: 6)"
    )
    parser.add_argument(
        "--warmup", type=harness.positive, default=2, help="seconds before each (default: 2)"
    )
    parser.add_argument(
        "--sockets",
        type=harness.positive,
        nargs="+",
        default=[64, 1],
        help="the result is that of the first (default: 64 1)",
    )
    parser.add_argument(
        "--in-flight",
        type=harness.positive,
        default=4096,
        help="submits on their way in all, and 1024 at most on each socket (default: 4096)",
    )
    parser.add_argument("--quick", action="store_true", help="one round of a second: only a test")
    given = parser.parse_args()
    if given.quick:
        return Options(1, 1, 1, given.sockets, given.in_flight)
    return Options(given.rounds, given.seconds, given.warmup, given.sockets, given.in_flight)


def fill(server: Server) -> None:
    """Make the board of `bench_http`."""
    harness.call(server.port, "PUT", "/v1/boards/bench", {"policy": "last"})
    for start in range(0, MEMBERS, BATCH):
        items = [{"member": f"player-{i}", "score": 0} for i in range(start, start + BATCH)]
        harness.call(server.port, "POST", f"{SCORES}:batch", items)


def side(server: Server) -> Side:
    """Return the server as `bench_http` measures it."""

    def counted() -> tuple[int, int]:
        metrics = harness.metrics(server.port)
        return int(metrics["rankwire_submits_total"]), int(metrics["rankwire_changes_total"])

    return Side("rankwire", server.port, [server.process], counted)


def over_http(server: Server, options: Options, seed: int) -> Round:
    """Measure the HTTP API just as `bench_http` does."""
    times = bench_http.Options(1, options.seconds, options.warmup, [_HTTP.connections])
    one = bench_http.measure_once(side(server), _HTTP, times, seed)
    server.process.resume()
    harness.progress(f"HTTP: {one.per_second:,.0f}/s", one.others)
    return Round(
        *("http", _HTTP.connections, one.per_second),
        *(one.p50_ms, one.p99_ms, one.cpu_us, one.others),
    )


def over_socket(program: Path, server: Server, sockets: int, options: Options) -> Round:
    """Measure submits over so many sockets."""
    in_flight = min(_MOST_OF_ONE, max(1, options.in_flight // sockets))
    load = (
        *("submit", *server.hub, "--board", "bench", "--members", str(MEMBERS)),
        *("--sockets", str(sockets), "--in-flight", str(in_flight)),
    )
    swarm.run(program, *load, "--seconds", str(options.warmup))
    measured = side(server)
    before = bench_http.settled(measured)
    meter = harness.Meter(harness.cores(), [server.process])
    result = swarm.run(program, *load, "--seconds", str(options.seconds))
    cpu, others = meter.stop()
    after = bench_http.settled(measured)
    taken, changed = (now - then for now, then in zip(after, before, strict=True))
    receipts = result["receipts_in_all"]
    if taken != receipts:
        raise BenchError(f"the server took {taken} submits, the client has {receipts} receipts")
    if changed < taken * _CHANGING:
        raise BenchError(f"the board changed only {changed} times with {taken} submits")
    one = Round(
        *("websocket", sockets, result["per_second"]),
        p50_ms=result["latency"]["p50_ms"],
        p99_ms=result["latency"]["p99_ms"],
        cpu_us=cpu * 1e6 / receipts,
        others=others,
    )
    harness.progress(f"WebSocket, {sockets} sockets: {one.per_second:,.0f}/s", one.others)
    return one


def report(rounds: list[Round], options: Options) -> None:
    """Print the table and the result."""
    rows = medians(rounds)
    head = ("door", "sockets", "submits/s", "p50 ms", "p99 ms", "CPU µs/submit")
    print(harness.table(head, (msgspec.structs.astuple(row)[:-1] for row in rows)))
    print(result_line(rows, options))


def medians(rounds: list[Round]) -> list[Round]:
    """Return the medians of each door, and the most that others took."""
    kinds = dict.fromkeys((one.door, one.sockets) for one in rounds)
    return [
        Round(
            *(door, sockets),
            per_second=harness.median((one.per_second for one in same), 0),
            p50_ms=harness.median(one.p50_ms for one in same),
            p99_ms=harness.median(one.p99_ms for one in same),
            cpu_us=harness.median(one.cpu_us for one in same),
            others=max(one.others for one in same),
        )
        for door, sockets in kinds
        if (same := [one for one in rounds if (one.door, one.sockets) == (door, sockets)])
    ]


def result_line(rows: list[Round], options: Options) -> str:
    """Make the last line."""
    rates = {(row.door, row.sockets): row.per_second for row in rows}
    ours = rates["websocket", options.sockets[0]]
    against = {"http": rates["http", _HTTP.connections]}
    others = max(row.others for row in rows)
    result = {
        "name": "live-submit",
        "unit": "submits/s",
        "ours": ours,
        "against": against,
        "ratio": harness.ratios(ours, against, less_is_better=False),
        "durable": "sqlite synchronous=FULL",
        "noisy": others > harness.QUIET,
        "others": round(others, 3),
        "options": options,
        "rows": rows,
        **harness.circumstances("granian", "uvloop"),
    }
    return msgspec.json.encode(result).decode()


if __name__ == "__main__":
    harness.main(main)
