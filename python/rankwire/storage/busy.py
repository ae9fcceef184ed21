"""How much PostgreSQL has worked: for all of its clients, and for each read of profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import errors

if TYPE_CHECKING:
    from rankwire.storage.pool import Connection, Database

# Of all databases, as they share the server. Sessions report at the ends of transactions, at most
# once a second.
_ACTIVE: Final = "SELECT sum(active_time) / 1000 FROM pg_stat_database"

_EXTENSION: Final = """
SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace AS n ON n.oid = extnamespace
WHERE extname = 'pg_stat_statements'
"""
# The read of `profiles_postgres`, whose literals PostgreSQL replaces.
_PROFILES: Final = "SELECT member, (extract(%FROM profiles WHERE member = ANY(%"
_MEAN: Final = """
SELECT sum(total_exec_time) / nullif(sum(calls), 0) / 1000 FROM {schema}.pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query LIKE %s
"""
# The extension is there, but the library is not loaded, is too old, or may not be asked.
_NOT_COUNTED: Final = (errors.ObjectNotInPrerequisiteState, psycopg.ProgrammingError)


async def active_seconds(database: Database) -> list[float]:
    """Give the time that all sessions of a server have worked, by server, the primary first.

    Since the statistics of each began; a session that waits for its client does not work. Raises
    StorageError.
    """

    async def read(connection: Connection) -> float:
        ((seconds,),) = await (await connection.execute(_ACTIVE)).fetchall()
        return float(seconds)

    found = [await database.write(read)]
    if database.replica is not None:
        async with database.replica.pool.connection() as connection:
            found.append(await read(connection))
    return found


async def profile_read_seconds(database: Database) -> float | None:
    """Give the mean time that the server of reads has worked for one read of profiles, any node's.

    Without waiting for a connection and for the network, as pg_stat_statements has measured it;
    None where it does not. Raises StorageError.
    """
    pool = database.primary if database.replica is None else database.replica.pool
    async with pool.connection() as connection:
        found = await (await connection.execute(_EXTENSION)).fetchall()
        if not found:
            return None
        query = _MEAN.format(schema=found[0][0]).encode()
        try:
            ((mean,),) = await (await connection.execute(query, (_PROFILES,))).fetchall()
        except _NOT_COUNTED:
            return None
    return None if mean is None else float(mean)
