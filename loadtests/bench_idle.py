"""Memory and processor time that idle watchers cost the server.

Measured: how much the server's own memory (pages backed by no file, shared ones divided) grows
from no connection to 19,000, each with one subscription to the same `top:10`, by connection; what
the kernel takes for a socket is not in it. The slope from 1,000 to 19,000 is told as well, and is
less: the allocator has some of what later connections need since the first of them. Then the
server's processor time over half a minute in which nothing changes, as a share of one core; in
that time every connection answers a ping or two.

How: the server runs on one core, the watchers on another.
Nothing runs beside it; the ratio is by what was wanted: 600 bytes a connection.

The last line is JSON.
"""

from __future__ import annotations

import argparse
from typing import Any, Final

import msgspec

import harness
import swarm

WANTED_BYTES: Final = 600
_STEPS: Final = (1000, 5000, 10_000, 15_000, 19_000)


class Options(msgspec.Struct, frozen=True):
    """How much to measure."""

    steps: list[int]
    seconds: int


def main() -> None:
    options = read_options()
    harness.require(("taskset", "setpriv"), ())
    program = swarm.build()
    limit = ("--live-max-connections", str(max(options.steps)))
    with (
        harness.working_directory() as directory,
        swarm.serving(directory, "rankwire", *limit) as server,
    ):
        harness.call(server.port, "PUT", "/v1/boards/global", {})
        items = [{"member": f"player-{number}", "score": number} for number in range(1000)]
        harness.call(server.port, "POST", "/v1/boards/global/scores:batch", items)
        meter = harness.Meter(harness.cores(), [server.process])
        result = swarm.run(
            program,
            *("idle", *server.hub, *server.api, "--seconds", str(options.seconds)),
            *("--steps", ",".join(map(str, options.steps))),
        )
        _, others = meter.stop()
    report(result, others, options)


def read_options() -> Options:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seconds", type=harness.positive, default=30, help="length of the rest (default: 30)"
    )
    parser.add_argument(
        "--steps", type=harness.positive, nargs="+", default=[*_STEPS], help="numbers of watchers"
    )
    parser.add_argument("--quick", action="store_true", help="at most 1,000: only a test")
    given = parser.parse_args()
    if given.quick:
        return Options(steps=[200, 600, 1000], seconds=2)
    return Options(given.steps, given.seconds)


def report(result: Any, others: float, options: Options) -> None:
    """Print the table and the result."""
    harness.progress("done", others)
    rows = (
        (f"{step['opening']['ready']:,}", step["memory"]["anon_kb"], step["memory"]["rss_kb"])
        for step in result["steps"]
    )
    print(harness.table(("watchers", "own kB", "resident kB"), rows))
    print(result_line(result, others, options))


def result_line(result: Any, others: float, options: Options) -> str:
    """Make the last line."""
    grown = result["steps"][-1]["memory"]["anon_kb"] - result["memory_before"]["anon_kb"]
    ours = round(grown * 1024 / result["sockets"], 1)
    against = {"wanted": float(WANTED_BYTES)}
    line = {
        "name": "live-idle",
        "unit": "bytes/connection",
        "ours": ours,
        "against": against,
        "ratio": harness.ratios(ours, against, less_is_better=True),
        "slope": result["bytes_per_socket"],
        "connections": result["sockets"],
        "cpu_share": result["server"]["cpu_share"],
        "pings": result["pings"],
        "noisy": others > harness.QUIET,
        "others": round(others, 3),
        "options": options,
        "rows": result["steps"],
        **harness.circumstances(),
    }
    return msgspec.json.encode(line).decode()


if __name__ == "__main__":
    harness.main(main)
