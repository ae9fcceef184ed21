"""What a region's database holds of members of a board: what a node that starts now would have.

Promises: it is made of the last checkpoint and all that the journal has beyond it, as of one
moment, by the same code as a node's memory, and of nothing that a node remembers. It costs reading
the journal since the checkpoint, about half a minute of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rankwire import _core
from rankwire.storage.postgres import replay
from rankwire.storage.postgres_link import Link, once
from rankwire.storage.source import engine_to_read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rankwire import settings

States = tuple[dict[int, int], tuple[str, list[tuple[int, int | None, int]]] | None]
"""The vector; and the board's name, and of each member the generation, the code and the stamp, or
None without such a board."""

# Nobody drops a week of the journal before it has been read.
_LOCK: Final = "LOCK TABLE journal IN ACCESS SHARE MODE"
_BOARD: Final = """
SELECT id, name, score, "order", policy, ties, seed, version, player_submits::int
FROM boards WHERE id = %s::bigint
"""
_MEMBERS: Final = """
SELECT member, code, stamp, generation FROM members
WHERE board = %s::bigint AND member = ANY (%s::text[])
"""


def read_stored(kept: settings.Storage, board: int, members: Sequence[str]) -> States:
    """Read what is stored of members. Blocks. Raises StorageError, CorruptError."""
    place = _signed(board)
    link = Link(kept, "region-stored", snapshots=True)
    with once(link, "read members") as connection, connection.transaction():
        connection.execute(_LOCK)
        vector = connection.execute("SELECT origin, number FROM vector").fetchall()
        dropped = connection.execute("SELECT board FROM dropped").fetchall()
        recovery = _core.Recovery(vector, [gone for (gone,) in dropped])
        for row in connection.execute(_BOARD, (place,)).fetchall():
            recovery.board(*row)
            recovery.members(connection.execute(_MEMBERS, (place, list(members))).fetchall())
        ((identity,),) = connection.execute("SELECT id FROM cluster").fetchall()
        engine = engine_to_read(recovery, identity)
        replay(connection, engine)
    return _core.states(engine, board, members)


def _signed(board: int) -> int:
    """Give a board's id as the database has it."""
    return board - (1 << 64) if board >> 63 else board
