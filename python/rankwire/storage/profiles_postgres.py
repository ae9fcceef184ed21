"""Profiles in PostgreSQL, in the table that all nodes share."""

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

_READ: Final = f"SELECT member, {_COLUMNS} FROM profiles WHERE member = ANY(%s)"  # noqa: S608 - our own names
_PUT: Final = f"""
INSERT INTO profiles (member, name, avatar, attributes, updated_at)
VALUES (%s, %s, %s, %s, clock_timestamp())
ON CONFLICT (member) DO UPDATE SET
    name = excluded.name, avatar = excluded.avatar, attributes = excluded.attributes,
    updated_at = {_LATER.format("profiles.")}
RETURNING {_COLUMNS}
"""  # noqa: S608 - our own names
_DELETE: Final = (
    f"DELETE FROM profiles WHERE member = %s RETURNING {_VERSION.format(_LATER.format(''))}"  # noqa: S608 - our own names
)
# Waits for another transaction that has the key and is not through yet.
_CLAIM: Final = """
INSERT INTO answers (key, request, answer) VALUES (%s, %s, '') ON CONFLICT DO NOTHING
"""
_KNOWN: Final = "SELECT request, answer FROM answers WHERE key = %s"
_KEEP: Final = "UPDATE answers SET answer = %s WHERE key = %s"

_Work = Callable[["Connection"], Awaitable[Written]]


class PostgresProfiles:
    """A `ProfileStore` over the connections that requests share."""

    def __init__(self, database: Database) -> None:
        """Use a database, which stays the caller's."""
        self._database = database

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
            row = await _row(connection, _DELETE, member)
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
