"""A checkpoint on its way into PostgreSQL's tables, in a transaction of the caller's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rankwire import _core
    from rankwire.storage.postgres_link import Connection

# Members that are written at a time: about a megabyte.
_MEMBERS: Final = 16_384

CHANGED: Final = "CREATE TEMPORARY TABLE changed (LIKE members) ON COMMIT DELETE ROWS"
"""Makes the table that `write` needs; a session does it once."""
_STORE_BOARD = """
INSERT INTO boards (id, name, score, "order", policy, ties, seed, version, player_submits)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET version = excluded.version
"""
# In the order of the index, which takes about a fifth less time.
_STORE_CHANGED = """
INSERT INTO members SELECT * FROM changed ORDER BY board, member
ON CONFLICT (board, member) DO UPDATE SET
    score = excluded.score, code = excluded.code, stamp = excluded.stamp,
    generation = excluded.generation
"""
_STORE_DROPPED = """
INSERT INTO dropped (board) SELECT unnest(%s::bigint[]) ON CONFLICT DO NOTHING
"""
_STORE_VECTOR = """
INSERT INTO vector SELECT * FROM unnest(%s::bigint[], %s::bigint[])
ON CONFLICT (origin) DO UPDATE SET number = excluded.number
WHERE vector.number < excluded.number
"""
_COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END: Final = b"\xff\xff"


def write(connection: Connection, checkpoint: _core.Checkpoint) -> None:
    """Write it over the last one. Raises psycopg.Error."""
    if dropped := checkpoint.dropped:
        connection.execute("DELETE FROM members WHERE board = ANY (%s::bigint[])", (dropped,))
        connection.execute("DELETE FROM boards WHERE id = ANY (%s::bigint[])", (dropped,))
        connection.execute(_STORE_DROPPED, (dropped,))
    boards = checkpoint.boards
    ids = [board[0] for board in boards]
    query = "SELECT id FROM boards WHERE id = ANY (%s::bigint[])"
    old = {board for (board,) in connection.execute(query, (ids,))}
    with connection.cursor() as cursor:
        cursor.executemany(_STORE_BOARD, [board[:-1] for board in boards])
    # Most of all a first checkpoint has many members. No row of theirs is there already.
    _copy_members(connection, "members", checkpoint, [n for n, i in enumerate(ids) if i not in old])
    _copy_members(connection, "changed", checkpoint, [n for n, i in enumerate(ids) if i in old])
    connection.execute(_STORE_CHANGED)
    vector = checkpoint.vector
    columns = ([origin for origin, _ in vector], [number for _, number in vector])
    connection.execute(_STORE_VECTOR, columns)


def _copy_members(
    connection: Connection, table: str, checkpoint: _core.Checkpoint, indexes: Iterable[int]
) -> None:
    """Copy the changed members of some of the boards into a table."""
    boards = checkpoint.boards
    query = sql.SQL(
        "COPY {} (board, member, score, code, stamp, generation) FROM STDIN (FORMAT binary)"
    )
    with connection.cursor() as cursor, cursor.copy(query.format(sql.Identifier(table))) as copy:
        copy.write(_COPY_HEADER)
        for index in indexes:
            for start in range(0, boards[index][-1], _MEMBERS):
                copy.write(checkpoint.copy(index, start, _MEMBERS))
        copy.write(_COPY_END)
