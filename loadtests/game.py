"""The game that the load is made of, and its submits as files for the generator.

Promises: a game of so many users is the same in every run; nothing is measured here.

Users are in cohorts of 100 neighbours. There is a global board and one for each cohort; all keep
the best score, and each game is submitted to the global board and to that of its player's cohort.

Scores: a player's skill is 1,000 times a log-normal number (sigma 0.6), drawn once; a game's score
is the skill times another log-normal number (sigma 0.25), rounded to tens, so that many are tied.
Every user plays equally often.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

import harness

COHORT: Final = 100
"""Users of a cohort."""
TOP: Final = "board:global:top:10"
COHORT_TOP: Final = "board:cohort-{cohort}:top:10"
STANDING: Final = "board:global:member:{member}"
SHARES: Final = {TOP: 0.2, COHORT_TOP: 0.4, STANDING: 0.4}
"""Which part of the watchers watches what."""
MIX: Final = ", ".join(f"{share:.0%} {template}" for template, share in SHARES.items())
"""The same for the generator."""

_BATCH: Final = 5000
_SEED: Final = 1


class Submit(msgspec.Struct, frozen=True):
    """A line for the driver."""

    board: str
    member: str
    score: int


class Game:
    """Makes the same games in every run: pairs of a user and a score."""

    def __init__(self, users: int) -> None:
        """Draw the skills."""
        self._random = random.Random(_SEED)
        self._skills = [1000 * self._random.lognormvariate(0, 0.6) for _ in range(users)]

    def history(self, games: int) -> Iterator[tuple[int, int]]:
        """Let every user play so many games."""
        for _ in range(games):
            for user in range(len(self._skills)):
                yield user, self._score(user)

    def games(self, count: int) -> Iterator[tuple[int, int]]:
        """Let random users play."""
        for _ in range(count):
            user = self._random.randrange(len(self._skills))
            yield user, self._score(user)

    def _score(self, user: int) -> int:
        return 10 * round(self._skills[user] * self._random.lognormvariate(0, 0.25) / 10)


def cohort(user: int) -> str:
    """Return the board of a user's cohort."""
    return f"cohort-{user // COHORT}"


def boards(users: int) -> list[str]:
    """Return all boards of so many users."""
    return ["global", *(cohort(user) for user in range(0, users, COHORT))]


def players(board: str, users: int) -> range:
    """Return which of so many users play on a board."""
    if board == "global":
        return range(users)
    first = COHORT * int(board.removeprefix("cohort-"))
    return range(first, min(users, first + COHORT))


def audience_of(users: int) -> tuple[str, ...]:
    """Return the arguments of the generator that say who watches what."""
    return ("--mix", MIX, "--members", str(users), "--cohorts", str(len(boards(users)) - 1))


def fill(port: int, games: Iterable[tuple[int, int]]) -> None:
    """Make the boards, and submit games in batches."""
    items: dict[str, list[dict[str, object]]] = {"global": []}
    for user, score in games:
        item: dict[str, object] = {"member": f"player-{user}", "score": score}
        items["global"].append(item)
        items.setdefault(cohort(user), []).append(item)
    for board, of_board in items.items():
        harness.call(port, "PUT", f"/v1/boards/{board}", {"policy": "best"})
        for start in range(0, len(of_board), _BATCH):
            batch = of_board[start : start + _BATCH]
            harness.call(port, "POST", f"/v1/boards/{board}/scores:batch", batch)


def submits(games: Iterable[tuple[int, int]]) -> Iterator[Submit]:
    """Return the two submits of each game."""
    for user, score in games:
        for board in ("global", cohort(user)):
            yield Submit(board, f"player-{user}", score)


def write(file: Path, games: Iterable[tuple[int, int]]) -> None:
    """Write the submits of games for the driver."""
    file.write_bytes(b"\n".join(map(msgspec.json.encode, submits(games))))
