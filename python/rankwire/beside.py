"""What a server keeps beside its boards, and what reads their past: profiles, history, the pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from rankwire.profiles import Profiles, SharedCache
from rankwire.storage.history import History, PostgresHistory, SqliteHistory
from rankwire.storage.pool import Database, make_database
from rankwire.storage.profiles_postgres import PostgresProfiles
from rankwire.storage.profiles_sqlite import SqliteProfiles
from rankwire.sync.urls import connect_async

if TYPE_CHECKING:
    from rankwire.settings import Settings


class Beside(msgspec.Struct, frozen=True):
    """All of it, opened."""

    profiles: Profiles
    history: History
    database: Database | None = None
    """What the two use in PostgreSQL; None with SQLite."""

    async def close(self) -> None:
        """Let go of everything. Idempotent but for Redis."""
        await self.history.close()
        await self.profiles.close()
        if self.database is not None:
            await self.database.close()


async def open_beside(
    settings: Settings, cluster: str, tell: Callable[[list[str]], object] | None = None
) -> Beside:
    """Open what the settings ask for, after the storage itself. Raises StorageError.

    `cluster` is that of the PostgreSQL storage; `tell` as for `Profiles`. Neither PostgreSQL nor
    Redis is waited for.
    """
    kept, most_bytes = settings.storage, settings.limits.profile_bytes
    if not kept.url:
        alone = await asyncio.to_thread(SqliteProfiles, kept.path, kept.busy_seconds)
        history = await asyncio.to_thread(SqliteHistory, kept.path, kept.busy_seconds)
        return Beside(Profiles(alone, most_bytes), history)
    database = make_database(kept)
    await database.open()
    url = settings.redis.url
    shared = SharedCache(connect_async(url), cluster) if url else None
    store = PostgresProfiles(database, keep_deleted=settings.regions.is_on)
    profiles = Profiles(store, most_bytes, shared, tell)
    return Beside(profiles, PostgresHistory(database), database)
