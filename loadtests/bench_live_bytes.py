"""Bytes that a watcher of a game gets in a second.

The game, which `game.py` describes, has 25,000 users. Three of four watch at the same time: 20 %
the ten best of all, 40 % the ten best of their cohort, 40 % their own place among all. 208 games
end in a second (12,500 a minute). Before the measurement every user has played eight games, as few
of the later ones beat the best.

Measured: all bytes of WebSocket frames, headers and pings included, divided by watchers and
seconds; and for each kind of channel those of its messages. Once in JSON, and once in Protobuf with
deltas, each with a server of its own and the same games. What was wanted are 40 bytes.

A run counts only if every watcher in the end saw what the HTTP API says. The last line is JSON.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

import msgspec

import harness
import swarm
from game import Game, audience_of, fill, write
from harness import BenchError

WANTED_BYTES: Final = 40
VARIANTS: Final = {
    "json": ("--encoding", "json"),
    "protobuf-delta": ("--encoding", "protobuf", "--delta"),
}


class Options(msgspec.Struct, frozen=True):
    """The size of the game."""

    users: int
    watchers: int
    games_per_second: int
    history: int
    seconds: int


class Row(msgspec.Struct, frozen=True):
    """One variant; `kinds` are bytes of messages for each watcher of a channel template."""

    variant: str
    bytes_per_second: float
    deliveries_per_second: float
    kinds: dict[str, float]
    p50_ms: float
    p99_ms: float
    hub_share: float
    others: float


def main() -> None:
    options = read_options()
    harness.require(("taskset", "setpriv"), ())
    program = swarm.build()
    with harness.working_directory() as directory:
        rows = [measure(program, directory, variant, options) for variant in VARIANTS]
    report(rows, options)


def read_options() -> Options:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seconds", type=harness.positive, default=90, help="of each variant (default: 90)"
    )
    parser.add_argument(
        "--history", type=harness.positive, default=8, help="games of each user before (default: 8)"
    )
    parser.add_argument("--quick", action="store_true", help="400 users, 5 seconds: only a test")
    given = parser.parse_args()
    if given.quick:
        return Options(users=400, watchers=300, games_per_second=20, history=4, seconds=5)
    return Options(
        users=25_000,
        watchers=18_750,
        games_per_second=208,
        history=given.history,
        seconds=given.seconds,
    )


def measure(program: Path, directory: Path, variant: str, options: Options) -> Row:
    """Play with a new server."""
    limit = ("--live-max-connections", str(options.watchers + 10))
    with swarm.serving(directory, variant, *limit) as server:
        game = Game(options.users)
        fill(server.port, game.history(options.history))
        submits = directory / f"{variant}.ndjson"
        # Some more than needed, so that the driver never runs dry.
        write(submits, game.games(options.games_per_second * (options.seconds + 5)))
        meter = harness.Meter(harness.cores(), [server.process])
        result = swarm.run(
            program,
            *("watch", *server.hub, *server.api, *VARIANTS[variant]),
            *(*audience_of(options.users), "--sockets", str(options.watchers)),
            *("--submits", str(submits), "--drive", str(2 * options.games_per_second)),
            *("--drive-connections", "8", "--seconds", str(options.seconds)),
        )
        _, others = meter.stop()
    return row_of(variant, result, others, options)


def row_of(variant: str, result: Any, others: float, options: Options) -> Row:
    """Take what is told; refuse a run whose driver was too slow."""
    played = result["driver"]["receipts"]["count"] / 2 / result["seconds"]
    if not 0.95 < played / options.games_per_second < 1.1:
        raise BenchError(f"{played:.0f} games a second were played")
    traffic, latency = result["traffic"], result["latency"]["from_sent"]
    row = Row(
        variant,
        bytes_per_second=traffic["frame_bytes_per_second_each"],
        deliveries_per_second=traffic["deliveries_per_second"],
        kinds={
            kind: told["message_bytes_per_second_each"]
            for kind, told in traffic["templates"].items()
        },
        p50_ms=latency["p50_ms"],
        p99_ms=latency["p99_ms"],
        hub_share=round(swarm.hub_seconds(result) / result["seconds"], 3),
        others=others,
    )
    harness.progress(f"{variant}: {row.bytes_per_second:.1f} bytes a watcher and second", others)
    return row


def report(rows: list[Row], options: Options) -> None:
    """Print the table and the result."""
    head = ("variant", "bytes/s", *rows[0].kinds, "p50 ms", "p99 ms", "hub share")
    lines = (
        (
            *(row.variant, row.bytes_per_second, *row.kinds.values()),
            *(row.p50_ms, row.p99_ms, row.hub_share),
        )
        for row in rows
    )
    print(harness.table(head, lines))
    print(result_line(rows, options))


def result_line(rows: list[Row], options: Options) -> str:
    """Make the last line: the smallest variant's figures, and every row."""
    ours = min(row.bytes_per_second for row in rows)
    against = {"wanted": float(WANTED_BYTES)}
    others = max(row.others for row in rows)
    result = {
        "name": "live-bytes",
        "unit": "bytes/watcher/s",
        "ours": ours,
        "against": against,
        "ratio": harness.ratios(ours, against, less_is_better=True),
        "noisy": others > harness.QUIET,
        "others": round(others, 3),
        "options": options,
        "rows": rows,
        **harness.circumstances(),
    }
    return msgspec.json.encode(result).decode()


if __name__ == "__main__":
    harness.main(main)
