"""What has to be true of an answer or of the state of a view, without Locust.

Promises: each check returns None, or a sentence that says what is wrong; none raises, whatever JSON
it is given. Boards keep the best score and are in descending order.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]
Rank = Annotated[int, msgspec.Meta(ge=1)]
Answer = TypeVar("Answer")


class Receipt(msgspec.Struct, frozen=True):
    """The answer to a submit."""

    member: str
    score: int
    rank: Rank
    changed: bool
    version: Count


class BatchReceipt(msgspec.Struct, frozen=True):
    """The answer to a batch."""

    submitted: Count
    changed: Count
    version: Count


class Place(msgspec.Struct, frozen=True):
    """A member's place."""

    member: str
    score: int
    rank: Rank
    total: Rank


class Entry(msgspec.Struct, frozen=True):
    """A row of a board; views leave the rank out."""

    member: str
    score: int
    rank: Rank | None = None


class Page(msgspec.Struct, frozen=True):
    """Rows of a board, the best first: an answer, or the state of a view of the best."""

    version: Count
    total: Count
    entries: list[Entry]


class Standing(msgspec.Struct, frozen=True):
    """The state of a view of one member."""

    version: Count
    total: Count
    rank: Rank | None
    score: int | None


def receipt(content: bytes, member: str, score: int) -> str | None:
    """Check the answer to a submit; it tells the best score, which may be another one."""
    answer = _decoded(content, Receipt)
    if isinstance(answer, str):
        return answer
    if answer.member != member or answer.score < score:
        return f"the receipt is for {answer.score} of {answer.member}, not {score} of {member}"
    return None


def batch(content: bytes, count: int) -> str | None:
    """Check the answer to a batch."""
    answer = _decoded(content, BatchReceipt)
    if isinstance(answer, str):
        return answer
    if answer.submitted != count:
        return f"{answer.submitted} of {count} scores were taken"
    return None


def place(content: bytes, member: str) -> str | None:
    """Check the place of a member that is on the board."""
    answer = _decoded(content, Place)
    if isinstance(answer, str):
        return answer
    if answer.member != member:
        return f"{answer.member} was told, {member} was asked for"
    return f"rank {answer.rank} of {answer.total}" if answer.rank > answer.total else None


def page(content: bytes, first: int | None = None, member: str | None = None) -> str | None:
    """Check rows of a board: that they begin with a rank, and that a member is among them."""
    answer = _decoded(content, Page)
    if isinstance(answer, str):
        return answer
    ranks = [entry.rank for entry in answer.entries]
    if ranks and (ranks[0] is None or ranks != list(range(ranks[0], ranks[0] + len(ranks)))):
        return f"ranks are {ranks}"
    if first is not None and ranks and ranks[0] != first:
        return f"the page begins with rank {ranks[0]}, not {first}"
    if member is not None and member not in {entry.member for entry in answer.entries}:
        return f"{member} is not among its neighbours"
    return _rows(answer)


def top_state(content: bytes, limit: int) -> Page | str:
    """Check and return the state of a view of the best."""
    state = _decoded(content, Page)
    if isinstance(state, str):
        return state
    if len(state.entries) != min(limit, state.total):
        return f"{len(state.entries)} rows of {state.total} members"
    return _rows(state) or state


def standing_state(content: bytes) -> Standing | str:
    """Check and return the state of a view of one member."""
    state = _decoded(content, Standing)
    if isinstance(state, str):
        return state
    if (state.rank is None) != (state.score is None):
        return f"rank {state.rank} with score {state.score}"
    return f"rank {state.rank} of {state.total}" if (state.rank or 0) > state.total else state


def _rows(rows: Page) -> str | None:
    """Check that the best come first and nobody twice."""
    scores = [entry.score for entry in rows.entries]
    if scores != sorted(scores, reverse=True):
        return f"scores are {scores}"
    if len({entry.member for entry in rows.entries}) < len(rows.entries):
        return "a member is told twice"
    return None if len(rows.entries) <= rows.total else "there are more rows than members"


def _decoded(content: bytes, kind: type[Answer]) -> Answer | str:
    """Decode JSON; a field that is missing or of another type is told."""
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        return f"{kind.__name__}: {error}"
