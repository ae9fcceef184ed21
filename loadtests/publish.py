"""Take a result of a load test into what the capacity planner knows.

    python loadtests/publish.py loadtests/results/2026-12-01-medium.json

Promises: nothing is typed by hand. A result of `play.py` of one of the planner's scenarios, or of
`large.py`, replaces what python/rankwire/ops/data/loadtests.json has of this scenario, and all else
stays. A result of fewer users than the scenario's, of one whose checks were missed, or in which
other programs took the machine, is refused.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

import msgspec

import game
import harness
from harness import BenchError
from rankwire.ops.capacity.measured import (
    MOST_BYTES,
    SHIPPED,
    LoadTest,
    LoadTestFile,
    MeasuredError,
    load_tests,
)
from rankwire.ops.capacity.scenario import NAMES, load_scenario

_MOST_RESULT: Final = 16 * MOST_BYTES
_DAY: Final = len("2026-12-01")


class Result(msgspec.Struct, frozen=True):
    """What a result has to say to be published; the rest of it is for people."""

    scenario: str
    tests: list[LoadTest]


class _Game(msgspec.Struct, frozen=True):
    users: int
    games_per_minute: float
    reads_per_game: float


class _Sockets(msgspec.Struct, frozen=True):
    count: int


class _Phase(msgspec.Struct, frozen=True):
    factor: float = 1.0


class _Scenario(msgspec.Struct, frozen=True):
    game: _Game
    sockets: _Sockets
    phases: list[_Phase]


class _Delivery(msgspec.Struct, frozen=True):
    by_template: dict[str, dict[str, float]]


class _Told(msgspec.Struct, frozen=True):
    api: dict[str, dict[str, float]]
    delivery: _Delivery


class _Generator(msgspec.Struct, frozen=True):
    phases: list[_Told]


class Played(msgspec.Struct, frozen=True):
    """What is needed of a result of `play.py`."""

    scenario: str
    ok: bool
    noisy: bool
    date: str
    machine: str
    load: _Scenario
    generator: _Generator


def read(file: Path) -> Result:
    """Read a result. Raises BenchError."""
    try:
        if file.stat().st_size > _MOST_RESULT:
            raise BenchError(f"{file} is larger than a result may be")
        result = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
        if "generator" in result:
            return of_play(msgspec.convert(result, Played), file.name)
        return msgspec.convert(result, Result)
    except OSError as error:
        raise BenchError(f"{file} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{file} is no result of a load test: {error}") from error


def of_play(played: Played, source: str) -> Result:
    """Take the worst phase of a scenario, and the least load. Raises BenchError."""
    if not played.ok:
        raise BenchError("a check was missed: nothing was carried")
    asked, phases = played.load, played.generator.phases
    deliveries = [
        told["p99_ms"]
        for phase in phases
        for view, told in phase.delivery.by_template.items()
        if view != game.STANDING and told["count"]
    ]
    test = {
        "date": played.date[:_DAY],
        "machine": played.machine,
        "target": f"make loadtest-{played.scenario}",
        "source": source,
        "users": asked.game.users,
        "connections": asked.sockets.count,
        "updates_per_minute": asked.game.games_per_minute
        * min(phase.factor for phase in asked.phases),
        "reads_per_update": asked.game.reads_per_game,
        "api_p99_ms": max(phase.api["all"]["p99_ms"] for phase in phases),
        "delivery_p99_ms": max(deliveries, default=None),
        "noisy": played.noisy,
    }
    return Result(played.scenario, [msgspec.convert(test, LoadTest)])


def check(result: Result, file: Path) -> None:
    """Refuse what should not be kept. Raises BenchError."""
    if result.scenario not in NAMES:
        known = ", ".join(NAMES)
        raise BenchError(f"{file} is of {result.scenario}, and the scenarios are {known}")
    if not result.tests:
        raise BenchError(f"{file} has no test that was carried")
    users = load_scenario(result.scenario).demand.users
    for test in result.tests:
        if test.source != file.name:
            raise BenchError(f"the tests are of {test.source}, not of {file.name}")
        if test.users < users:
            raise BenchError(f"{test.users:,.0f} users played, and the scenario has {users:,.0f}")
        if test.noisy:
            raise BenchError("other programs took too much of the machine meanwhile")


def publish(file: Path, data: Path) -> LoadTestFile:
    """Take a result into the file of load tests, and return it. Raises BenchError."""
    result = read(file)
    check(result, file)
    try:
        known = load_tests(data).tests
    except MeasuredError as error:
        raise BenchError(str(error)) from error
    made = LoadTestFile(tests=dict(sorted({**known, result.scenario: result.tests}.items())))
    content = msgspec.json.encode(made)
    # What would be refused is not written.
    msgspec.json.decode(content, type=LoadTestFile)
    data.write_bytes(msgspec.json.format(content, indent=1) + b"\n")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("result", type=Path, help="a file of loadtests/results")
    parser.add_argument("--data", type=Path, default=SHIPPED, help="what is changed")
    given = parser.parse_args()
    made = publish(given.result, given.data)
    for name, tests in made.tests.items():
        for test in tests:
            harness.progress(
                f"{name}, {test.date}: {test.connections:,.0f} sockets, "
                f"{test.updates_per_minute:,.0f} games a minute, {test.api_p99_ms:g} ms"
            )


if __name__ == "__main__":
    harness.main(main)
