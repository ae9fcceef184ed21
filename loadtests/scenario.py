"""Scenarios: what a load is, as TOML files below `scenarios/`.

Promises: a file is taken whole or refused with a sentence that names the field. Nothing in it can
lead anywhere but to the cluster that the run starts on this machine, every count has a limit, and
the phases of one last 900 seconds at most.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from game import COHORT
from harness import BenchError

DIRECTORY: Final = Path(__file__).resolve().parent / "scenarios"
MOST_SECONDS: Final = 900
"""What all phases of a scenario may last together."""

# A scaled scenario has so many reconnects a minute at least, so that a few seconds have some.
_FEWEST_RECONNECTS: Final = 60

Name = Annotated[str, Meta(pattern="^[a-z0-9-]{1,32}$")]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Seconds = Annotated[int, Meta(ge=1, le=MOST_SECONDS)]


class Players(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The game that is played; `game.py` says what users and games are."""

    users: Annotated[int, Meta(ge=COHORT, le=1_000_000)]
    games_per_minute: Count
    reads_per_game: Annotated[int, Meta(ge=0, le=100)]


class Sockets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who watches; `reconnects_per_minute` close and come back, one after the other."""

    count: Count
    opened_per_second: Annotated[int, Meta(ge=1, le=10_000)]
    reconnects_per_minute: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    encoding: Literal["json", "protobuf-delta"] = "protobuf-delta"

    def scaled(self, factor: float) -> Sockets:
        """Return other numbers of them; reconnects stay some, so that a few seconds have any."""
        before = self.reconnects_per_minute
        after = max(round(before * factor), min(before, _FEWEST_RECONNECTS))
        count = _scaled(self.count, factor)
        return msgspec.structs.replace(self, count=count, reconnects_per_minute=after)


class Phase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the time; games and reads come `factor` times as fast as the scenario says."""

    name: Name
    seconds: Seconds
    factor: Annotated[float, Meta(ge=0, le=100)] = 1.0


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At the beginning of a phase all sockets but some are dropped and come back.

    `at_once` of them, for each process of the generator, are on their way at the same time.
    """

    phase: Name
    stay: Annotated[int, Meta(ge=0, le=1_000_000)]
    at_once: Count


class Slow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From the beginning of the second phase some sockets are not read for a while."""

    sockets: Count
    seconds: Seconds


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody asks the HTTP API for at the beginning of a phase; it has to succeed."""

    phase: Name
    method: Literal["PUT", "POST", "DELETE"]
    path: Annotated[str, Meta(pattern="^/v1/[A-Za-z0-9/_.-]{1,200}$")]
    body: Annotated[str, Meta(max_length=1000)] = ""


class Bounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a run has to keep to, beside all that is never allowed."""

    api_p99_ms: Annotated[float, Meta(gt=0)] = 200.0
    load_error: Annotated[float, Meta(gt=0, le=1)] = 0.02
    """How far the load that was made may be from the one that was asked for, as a share."""
    stale_seconds: Annotated[int, Meta(ge=1, le=60)] = 5
    """A delivery later than this is stale, and none may be."""


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A load, and what has to come of it."""

    about: Annotated[str, Meta(min_length=1, max_length=200)]
    game: Players
    sockets: Sockets
    phases: Annotated[list[Phase], Meta(min_length=1, max_length=20)]
    bounds: Bounds = Bounds()
    cut: Cut | None = None
    slow: Slow | None = None
    requests: Annotated[list[Request], Meta(max_length=20)] = []

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        names = [phase.name for phase in self.phases]
        if len({*names}) < len(names):
            raise ValueError("two phases have the same name")
        if self.seconds > MOST_SECONDS:
            raise ValueError(f"the phases last {self.seconds} s, {MOST_SECONDS} s are allowed")
        named = [one.phase for one in self.requests] + ([self.cut.phase] if self.cut else [])
        for name in named:
            if name not in names:
                raise ValueError(f"there is no phase {name!r}")
        if self.cut and self.cut.stay >= self.sockets.count:
            raise ValueError("a cut drops some of the sockets")
        if self.slow and self.slow.sockets > self.sockets.count:
            raise ValueError("more slow sockets than sockets")
        if self.slow and self.slow.seconds > self.seconds - self.phases[0].seconds:
            raise ValueError("slow sockets read again before the end, and begin with the 2nd phase")

    @property
    def seconds(self) -> int:
        """How long all phases last."""
        return sum(phase.seconds for phase in self.phases)

    @property
    def games_per_second(self) -> float:
        """How many games end in a second of a phase with factor 1."""
        return self.game.games_per_minute / 60

    @property
    def games(self) -> float:
        """How many games end in all phases together."""
        return self.games_per_second * sum(phase.seconds * phase.factor for phase in self.phases)

    def scaled(self, factor: float, longest: int = MOST_SECONDS) -> Scenario:
        """Return it with other numbers of users, games and sockets, no phase over `longest`.

        What is less than one becomes one. How fast sockets are opened is about the machine and
        stays; so do the bounds. What is larger than a file may say is refused.
        """
        replace = msgspec.structs.replace
        slow, cut = self.slow, self.cut
        made = replace(
            self,
            game=replace(
                self.game,
                users=COHORT * _scaled(self.game.users / COHORT, factor),
                games_per_minute=_scaled(self.game.games_per_minute, factor),
            ),
            sockets=self.sockets.scaled(factor),
            phases=[replace(one, seconds=min(one.seconds, longest)) for one in self.phases],
            slow=slow and Slow(_scaled(slow.sockets, factor), seconds=min(slow.seconds, longest)),
            cut=cut and replace(cut, stay=math.floor(cut.stay * factor)),
        )
        try:
            return msgspec.convert(msgspec.to_builtins(made), Scenario)
        except msgspec.ValidationError as error:
            raise BenchError(f"{factor} times the scenario is refused: {error}") from error


def names() -> list[str]:
    """Return the scenarios that there are."""
    return sorted(file.stem for file in DIRECTORY.glob("*.toml"))


def read(file: Path) -> Scenario:
    """Read a file; what is wrong with it is told."""
    try:
        return msgspec.toml.decode(file.read_bytes(), type=Scenario)
    except FileNotFoundError as error:
        raise BenchError(f"there is no {file}; scenarios are {', '.join(names())}") from error
    except msgspec.DecodeError as error:
        raise BenchError(f"{file}: {error}") from error


def named(name: str) -> Scenario:
    """Read one of the scenarios that come with this repository."""
    return read(DIRECTORY / f"{name}.toml")


def _scaled(count: float, factor: float) -> int:
    return max(1, round(count * factor))
