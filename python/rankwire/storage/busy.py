"""How much PostgreSQL has worked, for all of its clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rankwire.storage.pool import Connection, Database

# Sessions report at the ends of transactions, at most once a second.
_ACTIVE: Final = (
    "SELECT active_time / 1000 FROM pg_stat_database WHERE datname = current_database()"
)


async def active_seconds(database: Database) -> list[float]:
    """Give the time that all sessions of the database have worked, by server, the primary first.

    Since the statistics of each began; a session that waits for its client does not work. Raises
    StorageError.
    """

    async def read(connection: Connection) -> float:
        row = await (await connection.execute(_ACTIVE)).fetchone()
        return float(row[0]) if row else 0.0

    found = [await database.write(read)]
    if database.replica is not None:
        async with database.replica.pool.connection() as connection:
            found.append(await read(connection))
    return found
