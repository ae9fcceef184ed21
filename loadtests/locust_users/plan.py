"""How many Locust users of each kind a scenario has, and when: arithmetic, without Locust.

Promises: everything but the time grows in proportion to one factor, so Large is ten times Medium at
every moment; no kind has less than one user, and then its pace is slower, so that rates stay right.

Medium, at factor 1, is the game of `game.py`: 100,000 users who play 50,000 games a minute, each
submitted to two boards and followed by ten reads, and 75,000 WebSockets. Half of the games are
submitted by their players, half by game servers in batches, so in a minute there are

    25,000 games of players     2 submits, 2 top, 3 around and 3 member each
    25,000 visits of browsers   6 top, 3 around and 3 member each
       500 matches of servers   50 games each, in a batch for each of two boards

which are 100,000 submits and 200,000 + 150,000 + 150,000 reads, ten for each game.

One of 100,000 users plays every 120 s. A user of Locust does something every 6 s instead, in the
name of another member each time: it stands for 20 users, with one connection where they had 20. So

    players    25,000 / 60 s * 6 s   = 2,500
    browsers   25,000 / 60 s * 6 s   = 2,500
    servers       500 / 60 s * 6 s   =    50
    watchers   one WebSocket each    = 75,000

A run comes up within its first sixth, stays until the second third ends, gets half as many users
again for a sixth, who come in a tenth of the time in which the first ones came, and goes back.
"""

from __future__ import annotations

from typing import Final

import msgspec

import game

PACE_SECONDS: Final = 6.0
"""Between two things that an HTTP user of Locust does."""
MATCH: Final = 50
"""Games of a match, all of one cohort."""

_USERS: Final = 100_000
_WATCHERS: Final = 75_000
_GAMES_PER_SECOND: Final = 50_000 / 60
_BY_PLAYERS: Final = 0.5
_BURST: Final = 1.5


class Stage(msgspec.Struct, frozen=True):
    """A part of a run."""

    name: str
    until: float
    """Its end, as a share of the run."""
    level: float
    """How many users there are at its end, in users of the plain scenario."""
    coming: float
    """The share of the run in which users come or go."""


STAGES: Final = (
    Stage("ramp", 1 / 6, 1.0, 1 / 6),
    Stage("steady", 4 / 6, 1.0, 1 / 6),
    Stage("burst", 5 / 6, _BURST, 1 / 60),
    Stage("after", 1.0, 1.0, 1 / 60),
)


class Kind(msgspec.Struct, frozen=True):
    """Users of Locust that do the same."""

    count: int
    pace: float
    """Seconds between two things that one of them does; 0 for those who only watch."""


class Plan(msgspec.Struct, frozen=True):
    """A scenario: `scale` is its size in Mediums and parts of one."""

    scale: float
    seconds: float

    @property
    def cohorts(self) -> int:
        """How many cohorts of members there are: one at least."""
        return max(1, round(self.scale * _USERS / game.COHORT))

    @property
    def members(self) -> int:
        """How many members play."""
        return self.cohorts * game.COHORT

    @property
    def kinds(self) -> dict[str, Kind]:
        """The users of Locust when all are there."""
        games = _GAMES_PER_SECOND * self.scale
        return {
            "player": _paced(games * _BY_PLAYERS),
            "browser": _paced(games * _BY_PLAYERS),
            "game_server": _paced(games * (1 - _BY_PLAYERS) / MATCH),
            "live": Kind(_at_least_one(_WATCHERS * self.scale), 0.0),
        }

    @property
    def users(self) -> int:
        """How many users of Locust there are at level 1."""
        return sum(kind.count for kind in self.kinds.values())

    @property
    def most_users(self) -> int:
        """How many there are in the burst."""
        return round(self.users * _BURST)

    def at(self, second: float) -> tuple[int, float] | None:
        """Return how many users there should be, and how many come or go a second; None after."""
        before = 0.0
        for stage in STAGES:
            if second < stage.until * self.seconds:
                moved = self.users * abs(stage.level - before or stage.level)
                return round(self.users * stage.level), moved / (stage.coming * self.seconds)
            before = stage.level
        return None


def _paced(rate: float) -> Kind:
    """Return users who together do so many things a second."""
    count = _at_least_one(rate * PACE_SECONDS)
    return Kind(count, count / rate)


def _at_least_one(count: float) -> int:
    return max(1, round(count))
