"""The top of a board as clients see it, and what moved between two of its states.

Pure functions and data: nothing here talks to a server.
"""

from __future__ import annotations

import msgspec


class Entry(msgspec.Struct, frozen=True):
    """A member and its score; its place in the list is its rank."""

    member: str
    score: int | float


class View(msgspec.Struct, frozen=True):
    """The first entries of a board at one version."""

    board: str
    version: int
    total: int
    entries: tuple[Entry, ...]


class Line(msgspec.Struct, frozen=True):
    """A row to show; ``movement`` is ``▲2``, ``▼1``, ``new`` or empty."""

    rank: int
    member: str
    score: int | float
    movement: str = ""


def lines(view: View, previous: View | None = None, offset: int = 0) -> list[Line]:
    """Return the rows of a view, with what moved since the previous one.

    Without a previous view nothing has moved: a first look is no news.
    """
    before = {entry.member: rank for rank, entry in enumerate(previous.entries)} if previous else {}
    return [
        Line(
            rank=offset + rank + 1,
            member=entry.member,
            score=entry.score,
            movement=_movement(before.get(entry.member), rank) if previous else "",
        )
        for rank, entry in enumerate(view.entries)
    ]


def _movement(before: int | None, now: int) -> str:
    if before is None:
        return "new"
    if before == now:
        return ""
    return f"▲{before - now}" if before > now else f"▼{now - before}"
