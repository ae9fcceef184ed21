"""The source `database`: PostgreSQL and our pools, or the files of SQLite.

With PostgreSQL gauges, totals and rows are those of `rankwire.storage.vitals`, and of each pool
(`primary`, `replica`) the gauges `pool.NAME.size`, `.used`, `.waiting`, the totals
`pool.NAME.requests`, `.refused`, `.busy_seconds` and the times `pool.NAME`. With a replica there
are `replica_lag` while it is known and `replica_lost`, 1 or 0. With SQLite there are the gauges
`journal_bytes`, `boards_bytes`, `disk_bytes` and `disk_free`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rankwire.ops.analyzer.readings import Buckets, Reading, UnavailableError
from rankwire.storage import StorageError
from rankwire.storage.vitals import PostgresVitals

if TYPE_CHECKING:
    from rankwire.storage.pool import Database, Pool
    from rankwire.storage.vitals import Vitals

POOLS: Final = ("primary", "replica")
"""Names of the pools that there may be."""


class PostgresSource:
    """The primary, and what we know of the replica by ourselves."""

    name = "database"

    def __init__(self, database: Database) -> None:
        """Ask on a connection of its own, beside the pools."""
        self._database = database
        self._vitals = PostgresVitals(database.primary.conninfo)

    async def read(self) -> Reading:
        """See `Source.read`."""
        pool, replica = self._database.primary, self._database.replica
        try:
            vitals = await self._vitals.read(pool.backends)
        except StorageError as error:
            raise UnavailableError(str(error)) from error
        pools = [pool] if replica is None else [pool, replica.pool]
        gauges, totals = dict(vitals.gauges), dict(vitals.totals)
        for each in pools:
            gauges |= _gauges(each)
            totals |= _totals(each)
        if replica is not None:
            gauges["replica_lost"] = float(replica.lag is None)
            if (lag := replica.lag) is not None:
                gauges["replica_lag"] = lag
        return Reading(
            at=time.time(),
            life=vitals.life,
            gauges=gauges,
            totals=totals,
            times={f"pool.{each.name}": Buckets.of(each.waits) for each in pools},
            rows=vitals.rows,
            note=vitals.missing,
            unknown=self._unknown(vitals),
        )

    def _unknown(self, vitals: Vitals) -> tuple[str, ...]:
        """Name the figures that this reading is of no use for, though the source answers."""
        replica = self._database.replica
        unknown = () if "statements" in vitals.rows else ("database.slow_",)
        is_lost = replica is not None and replica.lag is None
        return (*unknown, "database.replication_lag") if is_lost else unknown

    async def close(self) -> None:
        """See `Source.close`."""
        await self._vitals.close()


class SqliteSource:
    """The directory of the storage."""

    name = "database"

    def __init__(self, directory: Path) -> None:
        """Look at this directory."""
        self._directory = directory

    async def read(self) -> Reading:
        """See `Source.read`."""
        try:
            gauges = await asyncio.to_thread(self._look)
        except OSError as error:
            raise UnavailableError(f"{self._directory} cannot be read: {error.strerror}") from error
        return Reading(at=time.time(), gauges=gauges)

    async def close(self) -> None:
        """See `Source.close`: there is nothing to let go of."""

    def _look(self) -> Mapping[str, float]:
        disk = os.statvfs(self._directory)
        return {
            "journal_bytes": self._size("journal.sqlite"),
            "boards_bytes": self._size("boards.sqlite"),
            "disk_bytes": float(disk.f_blocks * disk.f_frsize),
            "disk_free": float(disk.f_bavail * disk.f_frsize),
        }

    def _size(self, name: str) -> float:
        """Add up a database and what it has not yet taken over from its log."""
        return float(sum(file.stat().st_size for file in self._directory.glob(f"{name}*")))


def _gauges(pool: Pool) -> dict[str, float]:
    figures = {"size": pool.size, "used": pool.used, "waiting": pool.waiting}
    return {f"pool.{pool.name}.{key}": float(value) for key, value in figures.items()}


def _totals(pool: Pool) -> dict[str, float]:
    figures = {
        "requests": float(sum(pool.waits.counts)),
        "refused": float(pool.refused),
        "busy_seconds": pool.busy_seconds,
    }
    return {f"pool.{pool.name}.{key}": value for key, value in figures.items()}
