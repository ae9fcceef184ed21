"""Regions that replicate what stands beside the boards, each a database, without HTTP between.

A test module that uses the fixtures imports them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import psycopg
import pytest

from fix_postgres import Postgres
from rankwire.settings import Storage
from rankwire.storage import migrate_postgres
from rankwire.storage.keys import ApiKey, KeyStore, open_keys
from rankwire.storage.migrate import migrations
from rankwire.storage.pool import Database, make_database
from rankwire.storage.profiles import Content, Stored
from rankwire.storage.profiles_postgres import PostgresProfiles
from rankwire.storage.region_beside import Page
from rankwire.sync.regions.beside import BesideBoards, KeysAnswer, Progress
from rankwire.sync.regions.errors import PeerError
from rankwire.sync.regions.wire import decode

NAMES: Final = ("eu", "us", "ap")
NAMED: Final = "SELECT member, name FROM profiles WHERE NOT is_deleted ORDER BY member"


class Place:
    """A region: its profiles, its keys, and what it has told its caches."""

    def __init__(self, name: str, url: str, database: Database) -> None:
        self.name, self.url, self.database = name, url, database
        self.profiles = PostgresProfiles(database, keep_deleted=True)
        self.told: dict[str, Stored] = {}
        self.beside = BesideBoards(database, name, NAMES, self._take)
        self.progress: dict[str, Progress] = {}

    async def _take(self, changed: Mapping[str, Stored]) -> None:
        self.told |= changed

    async def write(self, member: str, name: str | None) -> None:
        content = Content(name, None, msgspec.Raw(b'{"a": 1}'))
        await self.profiles.put(member, content, None)

    async def pull(self, other: Place) -> Peer:
        """Ask another region once, as its leader does, and tell what passed."""
        peer = Peer(other)
        await self.beside.look(peer, self.progress.setdefault(other.name, Progress()))
        return peer

    async def sql(self, statement: str, *values: object) -> list[Any]:
        async def run(connection: psycopg.AsyncConnection[Any]) -> list[Any]:
            done = await connection.execute(statement.encode(), values)
            return await done.fetchall() if done.description else []

        return await self.database.write(run)

    async def rows(self) -> list[Any]:
        """All that has to be the same in all regions."""
        return await self.sql(
            "SELECT member, name, avatar, attributes::text, is_deleted, updated_at "
            "FROM profiles ORDER BY member"
        )


class Peer:
    """Another region without HTTP between."""

    def __init__(self, place: Place) -> None:
        self.name = place.name
        self.is_off = False
        self.place = place
        self.bodies: list[tuple[str, bytes]] = []
        self.trouble: str | None = None

    async def post(self, path: str, body: bytes, seconds: float) -> bytes:
        assert seconds > 0
        if self.trouble is not None:
            raise PeerError(self.trouble)
        beside = self.place.beside
        answer = {"keys": beside.answer_keys, "profiles": beside.answer_profiles}[path]
        self.bodies.append((path, await answer(body)))
        return self.bodies[-1][1]

    def pages(self) -> list[Page]:
        return [decode(body, Page) for path, body in self.bodies if path == "profiles"]

    def told_keys(self) -> list[KeysAnswer]:
        return [decode(body, KeysAnswer) for path, body in self.bodies if path == "keys"]


@pytest.fixture(scope="module")
def urls(postgres_server: Postgres) -> Iterator[dict[str, str]]:
    """Three regions' databases."""
    for name in NAMES:
        postgres_server.sql(f"CREATE DATABASE beside_{name} TEMPLATE template0")
    found = {name: postgres_server.url_of(f"beside_{name}") for name in NAMES}
    for url in found.values():
        with psycopg.connect(url, autocommit=True) as connection:
            migrate_postgres.migrate(connection, migrations("postgres"))
    yield found
    for name in NAMES:
        postgres_server.sql(f"DROP DATABASE beside_{name} WITH (FORCE)")


@pytest.fixture
async def regions(urls: dict[str, str]) -> AsyncIterator[list[Place]]:
    """Three of them, empty."""
    places = []
    for name, url in urls.items():
        database = make_database(Storage(url=url, statement_seconds=1.0, pool_size=2))
        await database.open()
        places.append(Place(name, url, database))
        await places[-1].sql("TRUNCATE profiles, keys")
    yield places
    for place in places:
        await place.database.close()


@contextmanager
def open_place(place: Place) -> Iterator[KeyStore]:
    """Open the API keys of a region, as the command line does."""
    with open_keys(Storage(url=place.url)) as store:
        yield store


def all_keys(place: Place) -> list[ApiKey]:
    """Every API key of a region, the oldest first."""
    with open_place(place) as store:
        return store.all()
