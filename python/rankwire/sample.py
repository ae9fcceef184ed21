"""A made-up history of football goals, for the demo and for tests.

Promises: the same arguments give the same bytes, on every machine. The file has the columns of the
public list of international goals: date, home_team, away_team, team, scorer, minute, own_goal,
penalty. It is shaped to be hard on a leaderboard: dates ascend and repeat, a few scorers hold a
large share of the goals, most scorers tie at one or two, names are Unicode, and some rows are own
goals or lack their scorer.
"""

from __future__ import annotations

import csv
import hashlib
from datetime import date, timedelta
from string import ascii_uppercase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COLUMNS = (
    "date",
    "home_team",
    "away_team",
    "team",
    "scorer",
    "minute",
    "own_goal",
    "penalty",
)

FIRST_DAY = date(1950, 6, 24)

_GIVEN = (
    "José", "Zoë", "Łukasz", "Søren", "Çağlar", "Nwankwo", "Юрий", "Δημήτρης", "محمد", "דוד",
    "समीर", "健太", "민준", "伟", "Þór", "Aimé", "Ngọc", "Ștefan", "Žan", "Ana",
)  # fmt: skip
_FAMILY = (
    "Muñoz", "Ångström", "Kowalski", "Øvergård", "Özgür", "Okoro", "Шевченко", "Παπάς", "صلاح",
    "כהן", "कुमार", "田中", "김", "王", "Guðjohnsen", "N'Diaye", "Nguyễn", "Ionescu", "Šimić",
    "O'Brien", "de la Cruz", "van der Berg", "Silva", "Ito", "Haddad",
)  # fmt: skip
_TEAMS = ("Avalon", "Brasília", "Côte Bleue", "Düneland", "Élan", "Førland", "Góra", "日向")

_GOALS_A_MATCH = 4
_MATCHES_A_DAY = 3
_LEADERS_EXPONENT = 5
"""The most frequent scorers are 2 to this power, about equally frequent."""


def write_sample(path: Path, goals: int = 20_000, seed: int = 1) -> None:
    """Write a history of ``goals`` goals as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_rows(goals, seed))


def _rows(goals: int, seed: int) -> Iterator[tuple[object, ...]]:
    dice = _Dice(seed)
    for goal in range(goals):
        match = goal // _GOALS_A_MATCH
        home = _TEAMS[match % len(_TEAMS)]
        away = _TEAMS[(match * 3 + 1) % len(_TEAMS)]
        day = FIRST_DAY + timedelta(days=match // _MATCHES_A_DAY)
        minute = 1 + goal % _GOALS_A_MATCH * 23 + dice.below(20)
        own_goal = dice.below(50) == 0
        penalty = not own_goal and dice.below(15) == 0
        scorer = "NA" if dice.below(1000) == 0 else _scorer(dice, goals)
        team = home if dice.below(2) else away
        yield day, home, away, team, scorer, minute, _flag(own_goal), _flag(penalty)


def _scorer(dice: _Dice, goals: int) -> str:
    """Pick a scorer so that the n-th most frequent has about 1/n of the goals of the first.

    Drawing a power of two first and then a number below it does that without floating point.
    """
    exponents = max(1, goals.bit_length() - _LEADERS_EXPONENT)
    number = dice.below(1 << (_LEADERS_EXPONENT + dice.below(exponents)))
    given, rest = number % len(_GIVEN), number // len(_GIVEN)
    family, generation = rest % len(_FAMILY), rest // len(_FAMILY)
    # The offset keeps the most frequent scorers from sharing one family name.
    names = (_GIVEN[given], _initials(generation), _FAMILY[(family + given) % len(_FAMILY)])
    return " ".join(filter(None, names))


def _initials(number: int) -> str:
    """Tell people of one name apart: none, A. to Z., then two letters."""
    high, low = divmod(number, len(ascii_uppercase))
    letters = [chr(ord("A") + high - 1)] if high else []
    letters += [ascii_uppercase[low]] if number else []
    return " ".join(f"{letter}." for letter in letters)


def _flag(value: bool) -> str:
    return "TRUE" if value else "FALSE"


class _Dice:
    """Numbers that depend on the seed alone, not on the version of Python's ``random``."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rolls = 0

    def below(self, end: int) -> int:
        self._rolls += 1
        text = f"{self._seed}:{self._rolls}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) % end
