"""What a region keeps beside its boards, as other regions ask for it: API keys and profiles.

Promises: taking the same rows again, or in another order, ends in the same rows; a key that is
revoked stays so; of two states of a profile that with the later time stays, of the same time a
deletion, and then the content that sorts last; a deletion is remembered for `DELETED_DAYS`. Rows
are told in pages: at most `PAGE_ROWS`, and `PAGE_BYTES` of text or one row.

A page of profiles tells where to go on, in the order in which this region came to know them. That
is by time, and a transaction may be seen some time after the time that its rows have; so there is
another place to begin with next time, which is before all that may still come. What the clock
of the database is set back by within that time does no harm either.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

from msgspec import Meta, Struct

from rankwire.storage import keys
from rankwire.storage.keys import COLUMNS, Columns
from rankwire.storage.profiles import NONE, Stored, from_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rankwire.storage.pool import Connection, Database

PAGE_ROWS: Final = 1000
PAGE_BYTES: Final = 1024**2

DELETED_DAYS: Final = 90
"""How long it is remembered that a profile was deleted."""

# After a request has let go of its connection, until PostgreSQL has ended the transaction.
_END_SECONDS: Final = 3.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_US: Final = 32_503_680_000_000_000  # the year 3000

Micros = Annotated[int, Meta(ge=0, lt=_MOST_US)]
"""Microseconds since 1970."""

Place = tuple[Micros, str]
"""When a region came to know a profile, and the member: an order of all profiles."""

START: Final[Place] = (0, "")

Row = tuple[str, str | None, str | None, str | None, Micros]
"""Member, name, avatar, attributes as JSON (None: deleted), and when it was written."""


class Page(Struct, frozen=True):
    """Some profiles, in the order in which the region came to know them."""

    rows: list[Row]
    after: Place
    """Where the next page begins."""
    resume: Place
    """Where to begin the next time, when this was the last page or the next one fails."""
    is_last: bool


_US: Final = "(extract(epoch FROM {}) * 1000000)::int8"
_NOW: Final = f"SELECT {_US.format('clock_timestamp()')}"
# Looks at PAGE_ROWS rows and gives as many of them as there is room for.
_PROFILES: Final = f"""
SELECT member, name, avatar, CASE WHEN NOT is_deleted THEN attributes::text END,
       {_US.format("updated_at")}, {_US.format("changed_at")}, found
FROM (
    SELECT *, count(*) OVER () AS found, row_number() OVER up AS place,
           sum(octet_length(concat(member, name, avatar, attributes::text))) OVER up AS bytes
    FROM (
        SELECT * FROM profiles
        WHERE (changed_at, member) > (%s, %s)
              AND (NOT is_deleted OR updated_at > clock_timestamp() - %s)
        ORDER BY changed_at, member LIMIT {PAGE_ROWS}
    ) AS near
    WINDOW up AS (ORDER BY changed_at, member)
) AS sized WHERE place = 1 OR bytes <= {PAGE_BYTES}
ORDER BY changed_at, member
"""  # noqa: S608 - our own names
_WHAT: Final = (
    "({0}.updated_at, {0}.is_deleted, "
    'json_build_array({0}.name, {0}.avatar, {0}.attributes)::text COLLATE "C")'
)
# What is known already locks and writes nothing; members come in order, so that nobody waits in a
# circle.
_TAKE_PROFILES: Final = f"""
INSERT INTO profiles AS kept (member, name, avatar, attributes, is_deleted, updated_at)
SELECT given.* FROM unnest(
    %s::text[], %s::text[], %s::text[], %s::json[], %s::boolean[], %s::timestamptz[]
) AS given (member, name, avatar, attributes, is_deleted, updated_at)
LEFT JOIN profiles AS old ON old.member = given.member
WHERE old.member IS NULL OR {_WHAT.format("given")} > {_WHAT.format("old")}
ORDER BY given.member COLLATE "C"
ON CONFLICT (member) DO UPDATE SET
    name = excluded.name, avatar = excluded.avatar, attributes = excluded.attributes,
    is_deleted = excluded.is_deleted, updated_at = excluded.updated_at,
    changed_at = clock_timestamp()
WHERE {_WHAT.format("excluded")} > {_WHAT.format("kept")}
RETURNING member, is_deleted, {_US.format("updated_at")}, name, avatar, attributes::text
"""  # noqa: S608 - our own names
_FORGET: Final = f"""
DELETE FROM profiles WHERE is_deleted AND member IN (
    SELECT member FROM profiles
    WHERE is_deleted AND updated_at < clock_timestamp() - %s LIMIT {PAGE_ROWS}
)
"""  # noqa: S608 - our own names

_MARK: Final = """
SELECT sha256(convert_to(coalesce(string_agg(keys::text, chr(10) ORDER BY id), ''), 'UTF8'))
FROM keys
"""
_KEYS: Final = f"SELECT {COLUMNS} FROM keys WHERE id > %s ORDER BY id LIMIT {PAGE_ROWS}"  # noqa: S608 - our own names
_IS_KNOWN: Final = """
SELECT NOT EXISTS (
    SELECT FROM unnest(%s::text[], %s::int8[]) AS given (id, revoked_ms)
    LEFT JOIN keys ON keys.id = given.id
    WHERE keys.id IS NULL
          OR keys.revoked_ms IS DISTINCT FROM least(keys.revoked_ms, given.revoked_ms)
)
"""
# Of a time and none, `least` is the time.
_REVOKE: Final = """
UPDATE keys SET revoked_ms = given.revoked_ms
FROM unnest(%s::text[], %s::int8[]) AS given (id, revoked_ms)
WHERE keys.id = given.id
      AND keys.revoked_ms IS DISTINCT FROM least(keys.revoked_ms, given.revoked_ms)
"""
_TAKE_KEYS: Final = f"""
INSERT INTO keys ({COLUMNS})
SELECT {COLUMNS} FROM (
    SELECT *, row_number() OVER (PARTITION BY revoked_ms IS NULL ORDER BY created_ms, id) AS place
    FROM unnest(
        %s::text[], %s::text[], %s::bytea[], %s::text[], %s::text[], %s::int8[], %s::int8[]
    ) AS given ({COLUMNS})
    WHERE NOT EXISTS (SELECT FROM keys WHERE keys.id = given.id)
) AS missing
WHERE revoked_ms IS NOT NULL
      OR place <= %s - (SELECT count(*) FROM keys WHERE revoked_ms IS NULL)
"""  # noqa: S608 - our own names
_MISSING: Final = """
SELECT count(*) FROM unnest(%s::text[]) AS given (id)
WHERE NOT EXISTS (SELECT FROM keys WHERE keys.id = given.id)
"""


class RegionBeside:
    """The API keys and profiles of this region's database. Everything may raise StorageError.

    All of it is asked of the primary: a replica that is behind would tell places too early.
    """

    def __init__(self, database: Database) -> None:
        """Use a database, which stays the caller's."""
        self._database = database
        self._late_us = round((database.primary.hold_seconds + _END_SECONDS) * 1e6)

    async def keys_mark(self) -> bytes:
        """Digest all API keys; it differs whenever one does."""

        async def read(connection: Connection) -> bytes:
            return bytes(await _value(connection, _MARK))

        return await self._database.write(read)

    async def keys_after(self, key_id: str) -> list[Columns]:
        """Give API keys with larger ids, in their order, at most `PAGE_ROWS`."""

        async def read(connection: Connection) -> list[Columns]:
            return await (await connection.execute(_KEYS, (key_id,))).fetchall()

        return await self._database.write(read)

    async def take_keys(self, rows: Sequence[Columns]) -> tuple[int, int]:
        """Take over API keys that are missing here, and what was revoked, at once.

        Returns how many changed, and how many good ones found no room: there are never more than
        `keys.MOST_KEYS`.
        """
        columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(7)]
        ends = (columns[0], columns[6])

        async def take(connection: Connection) -> tuple[int, int]:
            if await _value(connection, _IS_KNOWN, *ends):
                return 0, 0
            async with connection.transaction():
                # As when keys are made: at once they cannot pass the limit together.
                await connection.execute("LOCK TABLE keys IN SHARE ROW EXCLUSIVE MODE")
                changed = (await connection.execute(_REVOKE, ends)).rowcount
                added = await connection.execute(_TAKE_KEYS, (*columns, keys.MOST_KEYS))
                missing = await _value(connection, _MISSING, columns[0])
            return changed + added.rowcount, missing

        return await self._database.write(take)

    async def revoke_keys(self, ends: Sequence[tuple[str, int]]) -> int:
        """Revoke keys of these ids at these times, if they are here; returns how many changed."""

        async def revoke(connection: Connection) -> int:
            columns = [list(column) for column in zip(*ends, strict=True)]
            return (await connection.execute(_REVOKE, columns)).rowcount

        return await self._database.write(revoke) if ends else 0

    async def profiles_after(self, place: Place) -> Page:
        """Give the profiles that this region came to know after this, deleted ones as well."""
        since = (_time(place[0]), place[1], timedelta(days=DELETED_DAYS))

        async def read(connection: Connection) -> Page:
            # Before the page, so that whatever is committed by then is in it.
            settled = await _value(connection, _NOW) - self._late_us, ""
            rows = await (await connection.execute(_PROFILES, since)).fetchall()
            after = (rows[-1][5], rows[-1][0]) if rows else place
            is_last = not rows or len(rows) == rows[0][6] < PAGE_ROWS
            return Page([row[:5] for row in rows], after, max(START, min(after, settled)), is_last)

        return await self._database.write(read)

    async def forget_deleted(self) -> int:
        """Forget the deletions that are old enough, some of them; returns how many."""

        async def forget(connection: Connection) -> int:
            return (await connection.execute(_FORGET, (timedelta(days=DELETED_DAYS),))).rowcount

        return await self._database.write(forget)

    async def take_profiles(self, rows: Sequence[Row]) -> dict[str, Stored]:
        """Take over what is newer than what is here; give what changed, by member."""
        # A member stands once in a page; PostgreSQL would refuse a second time.
        once = list({row[0]: row for row in rows}.values())
        values = (
            [row[0] for row in once],
            [row[1] for row in once],
            [row[2] for row in once],
            ["{}" if row[3] is None else row[3] for row in once],
            [row[3] is None for row in once],
            [_time(row[4]) for row in once],
        )

        async def take(connection: Connection) -> dict[str, Stored]:
            changed = await (await connection.execute(_TAKE_PROFILES, values)).fetchall()
            return {
                member: Stored(columns[0], NONE.body) if is_deleted else from_columns(*columns)
                for member, is_deleted, *columns in changed
            }

        return await self._database.write(take)


def _time(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)


async def _value(connection: Connection, statement: str, *values: object) -> Any:
    row = await (await connection.execute(statement, values)).fetchone()
    return None if row is None else row[0]
