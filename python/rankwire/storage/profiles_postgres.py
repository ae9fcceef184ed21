"""Profiles in PostgreSQL, in the table that all nodes share.

Among regions a profile that is deleted leaves its row behind, empty and marked, so that the
deletion reaches the other regions and is not undone by them; `region_beside` forgets it at last.
Nobody who reads profiles ever sees such a row. Without regions the row goes at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from rankwire.storage import StorageError
from rankwire.storage.profiles import (
    NONE,
    PLAIN,
    Content,
    Found,
    Key,
    Request,
    Stored,
    UnknownProfileError,
    Written,
    from_columns,
    full_json,
)

if TYPE_CHECKING:
    from rankwire.storage.pool import Connection, Database

_VERSION: Final = "(extract(epoch FROM {}) * 1000000)::int8"
_COLUMNS: Final = f"{_VERSION.format('updated_at')}, name, avatar, attributes::text"
# The time of a change is later than that of the one before, whatever the clock does.
_LATER: Final = "greatest(clock_timestamp(), {}updated_at + interval '1 microsecond')"

_READ: Final = f"SELECT member, {_COLUMNS} FROM profiles WHERE member = ANY(%s) AND NOT is_deleted"  # noqa: S608 - our own names
_PUT: Final = f"""
INSERT INTO profiles (member, name, avatar, attributes, updated_at)
VALUES (%s, %s, %s, %s, clock_timestamp())
ON CONFLICT (member) DO UPDATE SET
    name = excluded.name, avatar = excluded.avatar, attributes = excluded.attributes,
    is_deleted = false, updated_at = {_LATER.format("profiles.")}, changed_at = clock_timestamp()
RETURNING {_COLUMNS}
"""  # noqa: S608 - our own names
_DELETE: Final = f"""
DELETE FROM profiles WHERE member = %s AND NOT is_deleted
RETURNING {_VERSION.format(_LATER.format(""))}
"""  # noqa: S608 - our own names
_BURY: Final = f"""
UPDATE profiles SET
    name = NULL, avatar = NULL, attributes = '{{}}', is_deleted = true,
    updated_at = {_LATER.format("")}, changed_at = clock_timestamp()
WHERE member = %s AND NOT is_deleted
RETURNING {_VERSION.format("updated_at")}
"""  # noqa: S608 - our own names
# Waits for another transaction that has the key and is not through yet.
_CLAIM: Final = """
INSERT INTO answers (key, request, answer) VALUES (%s, %s, '') ON CONFLICT DO NOTHING
"""
_KNOWN: Final = "SELECT request, answer FROM answers WHERE key = %s"
_KEEP: Final = "UPDATE answers SET answer = %s WHERE key = %s"

_Work = Callable[["Connection"], Awaitable[Written]]


class PostgresProfiles:
    """A `ProfileStore` over the connections that requests share."""

    def __init__(self, database: Database, *, keep_deleted: bool = False) -> None:
        """Use a database, which stays the caller's.

        `keep_deleted`: other regions have to hear of deletions.
        """
        self._database = database
        self._delete = _BURY if keep_deleted else _DELETE

    async def get_many(self, members: Sequence[str]) -> Found:
        """See `ProfileStore.get_many`."""

        async def read(connection: Connection) -> dict[str, Stored]:
            rows = await (await connection.execute(_READ, (list(members),))).fetchall()
            return {member: from_columns(*columns) for member, *columns in rows}

        return Found(*await self._database.read(read))

    async def put(self, member: str, content: Content, key: Key | None) -> Written:
        """See `ProfileStore.put`."""

        async def put(connection: Connection) -> Written:
            attributes = bytes(content.attributes).decode()
            row = await _row(connection, _PUT, member, content.name, content.avatar, attributes)
            stored = from_columns(*row)
            return Written(stored, full_json(member, stored))

        return await self._write(key and Request.put(key, member, content), put)

    async def delete(self, member: str, key: Key | None) -> Written:
        """See `ProfileStore.delete`."""

        async def delete(connection: Connection) -> Written:
            row = await _row(connection, self._delete, member)
            if row is None:
                raise UnknownProfileError
            return Written(Stored(row[0], NONE.body), b"")

        return await self._write(key and Request.delete(key, member), delete)

    async def close(self) -> None:
        """See `ProfileStore.close`."""

    async def _write(self, request: Request | None, work: _Work) -> Written:
        if request is None:
            return await self._database.write(work)

        async def once(connection: Connection) -> Written:
            async with connection.transaction():
                return await _once(connection, request, work)

        return await self._database.write(once)


async def _once(connection: Connection, request: Request, work: _Work) -> Written:
    """Do a write and keep its answer, unless there is one."""
    claimed = await connection.execute(_CLAIM, (request.key, request.digest))
    if claimed.rowcount:
        done = await work(connection)
        await connection.execute(_KEEP, (PLAIN + done.answer, request.key))
        return done
    known = await _row(connection, _KNOWN, request.key)
    if known is None:
        raise StorageError("the answer to the first request has just been forgotten")
    return request.repeat(*known)


async def _row(connection: Connection, statement: str, *values: object) -> Any:
    return await (await connection.execute(statement, values)).fetchone()
