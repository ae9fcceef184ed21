"""Which region a database belongs to: it takes a name once, and another only by `adopt`.

What a database says of the runs of nodes in it means something only together with that name: those
without a region are its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg

from rankwire.settings_regions import NAME_RULE, is_name
from rankwire.storage import StorageError
from rankwire.storage.migrate import migrations
from rankwire.storage.migrate_postgres import migrate
from rankwire.storage.postgres_link import Connection, Link, once

if TYPE_CHECKING:
    from rankwire import settings

_Connection = psycopg.Connection[tuple[Any, ...]]

# A running node has an advisory lock on its origin; see storage/postgres.py.
IS_USED: Final = """
SELECT EXISTS (
    SELECT FROM pg_locks JOIN origins
      ON classid = (origin >> 32)::oid AND objid = (origin & 4294967295)::oid
    WHERE locktype = 'advisory' AND objsubid = 1
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
"""
"""Whether a node uses the database; while origins are locked, none begins to."""

_NAME: Final = "UPDATE cluster SET region = %s WHERE region IS NULL"
# Row by row: what stood here without a region was this one's, whose name is known now.
_NAME_ORIGINS: Final = """
WITH named AS (UPDATE origins SET region = %(region)s WHERE region IS NULL)
UPDATE vector SET region = %(region)s WHERE region IS NULL
"""
# Who opened the database before is told to begin anew: its locks and its stream have other names.
_RENAME: Final = """
UPDATE cluster SET region = %s, id = replace(gen_random_uuid()::text, '-', '')
"""
_BEGIN_ANEW: Final = """
UPDATE region_state
SET is_open = false, lease_until = '-infinity', out_reason = NULL, stable = '{}',
    was_level = false
"""
# The last ones that stand only in the journal; see rust/engine's record.rs for the format.
_HAS_FIXES: Final = """
SELECT EXISTS (
    SELECT FROM journal LEFT JOIN vector USING (origin)
    WHERE journal.number > coalesce(vector.number, 0) AND substring(batch FROM 1 FOR 1) = '\\x03'
)
"""


def claim(connection: _Connection, region: str) -> None:
    """Give a database to a region if it has none yet; empty for no region.

    Raises StorageError if it belongs to another one, and psycopg.Error.
    """
    with connection.transaction():
        if region and connection.execute(_NAME, (region,)).rowcount:
            connection.execute(_NAME_ORIGINS, {"region": region})
        ((found,),) = connection.execute("SELECT coalesce(region, '') FROM cluster").fetchall()
    if found != region:
        what = f"this server's region is {region}" if region else "the settings name no region"
        raise StorageError(
            f"the database belongs to the region {found}, and {what}: correct storage.url or "
            "regions.name, or, if it is a copy that is to become another region's, run "
            "`rankwire regions adopt`"
        )


def adopt(kept: settings.Storage, region: str) -> None:
    """Make a copy of a region's database, which no server uses, another region's.

    It becomes a database of its own, which keeps all that it holds and takes no part in what went
    on between the regions before. Raises StorageError.
    """
    if not is_name(region):
        raise StorageError(f"a region cannot be called {region!r}: allowed is {NAME_RULE}")
    with once(Link(kept, "adopt"), "adopt the database") as connection:
        migrate(connection, migrations("postgres"))
        with connection.transaction():
            _adopt(connection, region)


def _adopt(connection: Connection, region: str) -> None:
    connection.execute("LOCK TABLE origins IN EXCLUSIVE MODE")
    if connection.execute(IS_USED).fetchone() == (True,):
        raise StorageError("a server uses the database: stop all nodes first")
    ((old,),) = connection.execute("SELECT coalesce(region, '') FROM cluster").fetchall()
    if not old:
        raise StorageError(
            "the database belongs to no region: what stands in it has to be given to the region "
            "that wrote it first, by starting a server with that regions.name on it once"
        )
    if connection.execute(_HAS_FIXES).fetchone() == (True,):
        raise StorageError(
            "there are repairs in its journal that count in that database only: start a server "
            f"with regions.name {old} and no peers on it once, which takes a checkpoint as it stops"
        )
    connection.execute(_NAME_ORIGINS, {"region": old})
    connection.execute(_RENAME, (region,))
    connection.execute(_BEGIN_ANEW)
    connection.execute("DELETE FROM region_links")
