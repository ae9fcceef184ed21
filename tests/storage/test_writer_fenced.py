"""The writer of a region that is not the primary, or not any more."""

from __future__ import annotations

import asyncio

import pytest

from fix_engine import keep
from fix_postgres import Database
from rankwire import _core
from rankwire.settings import Storage
from rankwire.storage.postgres import PostgresStorage
from rankwire.storage.region_journal import RegionJournal


async def test_a_write_that_only_the_primary_may_commit_is_refused(postgres: Database) -> None:
    """At once, with nothing of it left behind; and writing goes on when the region is primary."""
    kept = Storage(url=postgres.url)
    storage = PostgresStorage(kept, region="eu", fenced="all")
    told: list[tuple[int, bool]] = []
    with RegionJournal(kept, "eu") as journal:
        assert journal.promise(1, "us")
        writes: list[asyncio.Future[None]] = []

        def fenced() -> None:
            told.append((journal.state().epoch, any(write.done() for write in writes)))

        async with keep(storage, on_fenced=fenced) as running:
            writes.append(asyncio.ensure_future(running.create("a")))
            with pytest.raises(_core.NotPrimaryError, match="primary"):
                await asyncio.gather(*writes)
            assert told == [(1, False)], "before anybody was answered"
            assert running.writer.trouble is None
            assert postgres.sql("SELECT * FROM journal") == []
            journal.promise(2, "eu")
            journal.open_primary(2)
            journal.extend_lease(2, None)
            storage.epoch = 2
            await running.create("a")
            await running.submit("a", "ann", 1)
        assert postgres.sql("SELECT number FROM journal") == [(1,), (2,)]
