"""Rankwire: a real-time leaderboard server with exact ranks, durable submits and live views.

`Board` is a leaderboard in the memory of one process, without the server.
"""

from rankwire._core import (
    Board,
    Column,
    Difference,
    Entry,
    InvalidError,
    LimitError,
    Ranks,
    RankwireError,
    Snapshot,
    Standings,
    Submitted,
    __version__,
)

__all__ = [
    "Board",
    "Column",
    "Difference",
    "Entry",
    "InvalidError",
    "LimitError",
    "Ranks",
    "RankwireError",
    "Snapshot",
    "Standings",
    "Submitted",
    "__version__",
]
