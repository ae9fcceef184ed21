"""What a watcher knows of its view, without Locust: one of the best, or of one member.

Promises: a state that is not well-formed, or whose version is not newer than that of the state
before, is told and changes nothing else.
"""

from __future__ import annotations

from typing import Final

from locust_users import checks

ROWS: Final = 10
Row = tuple[str, int]
"""A member and its score."""


class View:
    """Follows the states of one subscription, the first one included."""

    def __init__(self, board: str, member: str | None) -> None:
        """Begin with nothing; without a member it is the view of the best."""
        self._member = member
        self.board = board
        self.channel = f"board:{board}:" + (f"member:{member}" if member else f"top:{ROWS}")
        self.kind = "standing" if member else "top"
        self._version: int | None = None
        self._rows: set[Row] = set()

    def begin(self) -> None:
        """Forget everything, for another connection may be to another node."""
        self._version = None

    def take(self, content: bytes) -> set[Row] | str:
        """Return the rows that the state before did not have, or what is wrong.

        The first state has no news: its rows may be old.
        """
        state = checks.standing_state(content) if self._member else checks.top_state(content, ROWS)
        if isinstance(state, str):
            return state
        before, is_first = self._rows, self._version is None
        if self._version is not None and state.version <= self._version:
            return f"version {state.version} came after {self._version}"
        self._version, self._rows = state.version, self._rows_of(state)
        return set() if is_first else self._rows - before

    def _rows_of(self, state: checks.Page | checks.Standing) -> set[Row]:
        if isinstance(state, checks.Page):
            return {(entry.member, entry.score) for entry in state.entries}
        return {(self._member or "", state.score)} if state.score is not None else set()
