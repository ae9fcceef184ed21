"""What the clients of a cluster know: the contents that its boards may have.

A write is acknowledged, or it is *open*: nobody answered, or the answer was that the storage
cannot commit. An open write may have counted, and may still count later. Each book keeps what one
member may have; `settle` compares it with what is there and goes on from that.

Every amount and score is drawn at random from 2^40 (`draw`), so that what is there tells which of
the open writes counted: a lost or a doubled write does not look like any of them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

# Sums of so many amounts stay exact in a double; every combination of open ones can be tried.
_AMOUNTS: Final = 1 << 40
MOST_OPEN: Final = 8
"""Open writes after which a client leaves a member alone."""
MESS: Final = "mess"
"""The board on which everybody does anything; only that all nodes agree on it is known."""
PROBE: Final = "probe"
"""A board for the tests themselves; nobody keeps books of it."""

BOARDS: Final[Mapping[str, Mapping[str, str]]] = {
    "sum": {"policy": "sum"},
    "best": {"policy": "best", "ties": "last"},
    "last": {"policy": "last", "order": "asc"},
    "gone": {"policy": "last"},
    "batch": {"policy": "sum", "ties": "member"},
}
"""The boards whose contents the books know, with their configuration."""

Score = int | None
"""None: the member is not on the board."""
Scores = dict[str, int]


def draw(chance: random.Random) -> int:
    """Draw an amount or a score that no other write has."""
    return chance.randrange(1, _AMOUNTS)


class Book(Protocol):
    """What one member may have."""

    def begin(self, change: Score) -> None:
        """Note a write that is on its way."""

    def acknowledge(self, change: Score) -> None:
        """Note the answer to it."""

    @property
    def open(self) -> Sequence[Score]:
        """Writes that may count or not."""

    def settle(self, found: Score) -> None:
        """Check what is there and go on from it."""


@dataclass
class Sum:
    """A member of a board with the policy `sum`; a change is an amount."""

    acknowledged: int = 0
    open: list[Score] = field(default_factory=list)

    def begin(self, change: Score) -> None:
        self.open.append(change)

    def acknowledge(self, change: Score) -> None:
        self.open.remove(change)
        self.acknowledged += change or 0

    def settle(self, found: Score) -> None:
        extra = (found or 0) - self.acknowledged
        possible = {0}
        for amount in self.open:
            possible |= {one + (amount or 0) for one in possible}
        assert extra in possible, f"{extra:+} beside what was acknowledged, open was {self.open}"
        self.acknowledged, self.open = found or 0, []


@dataclass
class Best:
    """A member of a board with the policy `best`; a change is a score."""

    acknowledged: Score = None
    open: list[Score] = field(default_factory=list)

    def begin(self, change: Score) -> None:
        self.open.append(change)

    def acknowledge(self, change: Score) -> None:
        self.open.remove(change)
        self.acknowledged = max(self.acknowledged or 0, change or 0)

    def settle(self, found: Score) -> None:
        better = [score for score in self.open if (score or 0) > (self.acknowledged or 0)]
        assert found in (self.acknowledged, *better), (found, self)
        self.acknowledged, self.open = found, []


@dataclass
class Newest:
    """A member that has what was written last; a change is a score, or None for a removal."""

    acknowledged: Score = None
    open: list[Score] = field(default_factory=list)

    def begin(self, change: Score) -> None:
        self.open.append(change)

    def acknowledge(self, change: Score) -> None:
        self.open.remove(change)
        self.acknowledged = change

    def settle(self, found: Score) -> None:
        assert found in (self.acknowledged, *self.open), (found, self)
        self.acknowledged, self.open = found, []


_KINDS: Final[Mapping[str, type[Sum | Best | Newest]]] = {
    "sum": Sum,
    "best": Best,
    "last": Newest,
    "gone": Newest,
    "batch": Sum,
}


@dataclass
class Books:
    """Everything the clients know."""

    members: dict[str, dict[str, Book]] = field(default_factory=lambda: {b: {} for b in BOARDS})
    groups: dict[tuple[str, ...], str] = field(default_factory=dict)
    """Members of `batch` that always have the same, and who of them has the book."""
    lives: dict[str, Newest] = field(default_factory=dict)
    """Boards that come and go: the score of their only member, 0 without it, None without them."""
    made: dict[str, list[int]] = field(default_factory=dict)
    """Boards that everybody wants to create, with the status of each answer."""
    acknowledged: int = 0
    left_open: int = 0
    repeated: int = 0
    """Acknowledged writes that had to be sent more than once."""

    def of(self, board: str, member: str) -> Book:
        """Look up a member's book."""
        return self.members[board].setdefault(member, _KINDS[board]())

    def life(self, board: str) -> Newest:
        """Look up the book of a board that comes and goes."""
        return self.lives.setdefault(board, Newest())

    def settle(self, contents: Mapping[str, Scores]) -> None:
        """Compare with all boards of a node: with every member's score."""
        known = {*BOARDS, *self.lives, *self.made, MESS, PROBE}
        assert contents.keys() <= known, f"nobody made {contents.keys() - known}"
        for board, books in self.members.items():
            scores = dict(contents[board])
            if board == "batch":
                self._gather(scores)
            for member, book in books.items():
                _settle(f"{member} on {board}", book, scores.pop(member, None))
            assert scores == {}, f"nobody else is on {board}"
        for board, life in self.lives.items():
            found = sum(contents[board].values()) if board in contents else None
            _settle(board, life, found)
        for board, statuses in self.made.items():
            assert statuses.count(201) <= 1, f"{board} was created more than once: {statuses}"
            assert not statuses or board in contents, f"{board} is lost"

    def _gather(self, scores: Scores) -> None:
        """Leave one member of each group, after a look at all of them."""
        for group, keeper in self.groups.items():
            had = {member: scores.pop(member, None) for member in group}
            assert len(set(had.values())) == 1, f"half a batch: {had}"
            if (score := had[keeper]) is not None:
                scores[keeper] = score


def _settle(whose: str, book: Book, found: Score) -> None:
    try:
        book.settle(found)
    except AssertionError as error:
        raise AssertionError(f"{whose}: {error}") from error
