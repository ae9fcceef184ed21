"""A storm: nearly all watchers lose their connection at once and come back while the others stay.

Measured: seconds until 17,900 watchers of one `top:10` have reconnected, subscribed and have the
newest state; and how long after its submit a state reaches the 1,000 that stay, before, during and
after the storm. Ten submits a second change the top all the time.

How: the server runs on one core, the watchers on another, and nothing else. The rate of new
connections is the setting `live.accepts_per_second` as it comes, so a storm takes some seconds.
The ratio is by those who stay: p99 before the storm by p99 during it.

The last line is JSON.
"""

from __future__ import annotations

import argparse
from typing import Any, Final

import msgspec

import harness
import swarm

_SOCKETS: Final = 17_900
_STAY: Final = 1000
_TIMES: Final = ("before", "during", "after")


class Options(msgspec.Struct, frozen=True):
    """How much to measure."""

    sockets: int
    stay: int
    seconds: int


def main() -> None:
    options = read_options()
    harness.require(("taskset", "setpriv"), ())
    program = swarm.build()
    with (
        harness.working_directory() as directory,
        swarm.serving(directory, "rankwire") as server,
    ):
        harness.call(server.port, "PUT", "/v1/boards/global", {})
        items = [{"member": f"player-{number}", "score": number} for number in range(1000)]
        harness.call(server.port, "POST", "/v1/boards/global/scores:batch", items)
        meter = harness.Meter(harness.cores(), [server.process])
        result = swarm.run(
            program,
            *("storm", *server.hub, *server.api, "--seconds", str(options.seconds)),
            *("--sockets", str(options.sockets), "--stay", str(options.stay), "--drive", "10"),
        )
        _, others = meter.stop()
    report(result, others, options)


def read_options() -> Options:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="500 watchers: only a test")
    if parser.parse_args().quick:
        return Options(400, 100, 2)
    return Options(_SOCKETS, _STAY, 10)


def report(result: Any, others: float, options: Options) -> None:
    """Print the table and the result."""
    harness.progress("done", others)
    print(f"{result['back']['sockets']:,} are back after {result['back']['seconds']} s")
    rows = (
        (time, latency["p50_ms"], latency["p99_ms"], latency["max_ms"])
        for time in _TIMES
        for latency in (result["latency"][time]["from_sent"],)
    )
    print(harness.table(("those who stay", "p50 ms", "p99 ms", "max ms"), rows))
    print(result_line(result, others, options))


def result_line(result: Any, others: float, options: Options) -> str:
    """Make the last line."""
    p99 = {time: result["latency"][time]["from_sent"]["p99_ms"] for time in _TIMES}
    against = {"before": p99["before"]}
    line = {
        "name": "live-storm",
        "unit": "p99 ms of those who stay",
        "ours": p99["during"],
        "against": against,
        "ratio": harness.ratios(p99["during"], against, less_is_better=True),
        "back_seconds": result["back"]["seconds"],
        "back": result["back"]["sockets"],
        "p99_ms": p99,
        "noisy": others > harness.QUIET,
        "others": round(others, 3),
        "options": options,
        **harness.circumstances(),
    }
    return msgspec.json.encode(line).decode()


if __name__ == "__main__":
    harness.main(main)
