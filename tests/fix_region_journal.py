"""Regions without servers: storages with nodes and journals, and pulls when the test says so.

The storages are schemas of one database, which takes a tenth of the time that databases take.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from fix_postgres import Database
from fix_postgres_node import Boards, Node
from rankwire.settings import Storage
from rankwire.storage.region_journal import RegionJournal
from rankwire.storage.region_rows import ForeignBatch, Served

_JOURNAL = "SELECT origin, number, batch FROM journal ORDER BY seq"


class Place:
    """A region's storage."""

    def __init__(
        self, name: str, database: Database, stack: ExitStack, schema: str | None = None
    ) -> None:
        self.name = name
        schema = schema or name
        self.url = f"{database.url}?options=-csearch_path%3D{schema}"
        self._stack = stack
        database.sql(f"CREATE SCHEMA {schema}")
        # The first node makes the tables.
        self.nodes = [self.start()]
        self.journal = stack.enter_context(RegionJournal(Storage(url=self.url), name))

    def start(self, **kept: Any) -> Node:
        """Start a node."""
        return self._stack.enter_context(Node(self.url, region=self.name, **kept))

    def sql(self, statement: str, *values: object) -> list[Any]:
        """Run one statement."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            done = connection.execute(statement.encode(), values or None)
            return done.fetchall() if done.description else []

    @property
    def batches(self) -> list[tuple[int, int, bytes]]:
        """All that the journal has, in its order."""
        return self.sql(_JOURNAL)

    def ask(
        self, peer: Place, direct: Sequence[str] | None = None, asked: Collection[int] = ()
    ) -> Served:
        """Ask for what a peer has; without `direct`, for all that is not of this region."""
        but = [self.name] if direct is None else direct
        return peer.journal.serve(self.journal.vector(), but, asked)

    def take(self, served: Served) -> int:
        """Insert what does not build on what is missing here, and tell how many batches that is."""
        batches: list[ForeignBatch] = []
        for each in served.batches:
            if each.batch:
                batches.append(each)
            elif self.journal.number_of(each.origin) < each.number:
                break
        chosen = {each.origin for each in batches}
        rows = [row for row in served.origins if row.origin in chosen or row.last is not None]
        self.journal.insert(rows, batches)
        return len(batches)

    def pull(self, peer: Place, direct: Sequence[str] | None = None) -> int:
        """Ask and take; tell how many batches came."""
        return self.take(self.ask(peer, direct, self.journal.open_origins()))

    @property
    def recovered(self) -> Boards:
        """What a node that starts now finds."""
        with Node(self.url, region=self.name) as node:
            return node.boards


def served_places(served: Served) -> list[tuple[int, int, bool]]:
    """Origin and number of what was served, and whether it is a pointer."""
    return [(each.origin, each.number, not each.batch) for each in served.batches]


@pytest.fixture
def places(postgres: Database) -> Iterator[list[Place]]:
    """Make three regions, `eu`, `us` and `ap`, of one node each."""
    with ExitStack() as stack:
        yield [Place(name, postgres, stack) for name in ("eu", "us", "ap")]


@pytest.fixture
def pair(postgres: Database) -> Iterator[list[Place]]:
    """Make two regions, `eu` and `us`, of one node each."""
    with ExitStack() as stack:
        yield [Place(name, postgres, stack) for name in ("eu", "us")]
