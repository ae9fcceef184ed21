"""Regions in this process: each a real database, its nodes' parts, and a small HTTP server.

`fix_worlds` makes them. A `World` knows who asks whom, so a test can cut the way from one region to
another, slow it down and change what is answered. Nodes have no server of their own: an engine, a
storage, their place in the region and the facade of the regions, on the test's loop; a write is a
batch of its own.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable
from itertools import count
from time import monotonic
from typing import Any, Final, Literal

import pytest
from aiohttp import web

from fix_postgres import Database, Postgres
from fix_postgres_node import batch_of
from fix_server import PATIENCE_SECONDS
from rankwire import _core
from rankwire.settings import Redis, Storage
from rankwire.settings_regions import Regions as Settings
from rankwire.storage import FencedError, RefusedError, StorageError
from rankwire.storage.postgres import PostgresStorage
from rankwire.storage.region_journal import RegionJournal
from rankwire.sync.region import Region
from rankwire.sync.regions.errors import NotAPeerError, TooManyError
from rankwire.sync.regions.regions import Regions

SECRET: Final = "a secret of regions that is long enough"
_LIMIT: Final = 1_000_000
_LOOK_SECONDS: Final = 0.01
_LONGEST_SECONDS: Final = 3600.0
_DEFLATED_BYTES: Final = 1024
_BOARDS: Final = count(1)
_NAMES: Final = (f"world_{number}" for number in count(1))

Way = tuple[str, str]
"""From a region to another."""
Garble = Callable[[str, bytes], bytes]
"""Takes what was asked for and the answer, and gives another answer."""


async def eventually(
    is_so: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS
) -> None:
    """Wait for something that is to happen on its own."""
    deadline = monotonic() + seconds
    while not is_so():
        if monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s in vain for: {what}")
        await asyncio.sleep(_LOOK_SECONDS)


class Node:
    """A node of a region; `start` lets it take part."""

    def __init__(self, settings: Settings, database: Database, redis: str = "") -> None:
        """Recover it, in the order in which the server does it. Blocks for a moment."""
        self.settings = settings
        kept = Storage(url=database.url, statement_seconds=2.0)
        fenced: Literal["all", "names"] = "names" if settings.mode == "active-active" else "all"
        self.storage = PostgresStorage(kept, region=settings.name, fenced=fenced)
        self.region = Region(Redis(redis, 2000), self.storage)
        self.engine = self.storage.recover(_LIMIT, _LIMIT)
        self.journal = RegionJournal(kept, settings.name)
        self.regions = Regions(settings, self.journal, self.region, self.storage)
        self.is_stopped = False

    async def start(self) -> None:
        """Take part in the region and among the regions."""
        await asyncio.to_thread(self.region.start, self.engine)
        await self.regions.start(self.engine)
        assert await asyncio.to_thread(self.region.wait_level, PATIENCE_SECONDS)

    async def reign(self) -> None:
        """Be the first primary, whether the other regions are there or not."""
        assert self.journal.begin()
        assert self.journal.extend_lease(1, None)
        await eventually(lambda: self.regions.may_name, "a primary")

    async def stop(self) -> None:
        """End as the server does."""
        self.is_stopped = True
        await self.regions.stop()
        await asyncio.to_thread(self.region.stop)
        await asyncio.to_thread(self.storage.close)

    async def commit(self, ticket: int) -> Any:
        """Commit what is queued as the committer does, and give the reply to this ticket."""
        return await asyncio.to_thread(self._commit, ticket)

    def _commit(self, ticket: int) -> Any:
        sealed = self.engine.seal(0.0)
        assert sealed is not None
        try:
            self._append(sealed)
        except FencedError:
            self.regions.look()
            return dict(sealed.abort_not_primary())[ticket]
        number, batch = sealed.number, sealed.bytes
        replies = dict(sealed.commit())
        if batch:
            self.region.publish(number, batch)
        return replies[ticket]

    def _append(self, sealed: _core.Sealed) -> None:
        """Store a batch, without what the storage knows to be done already."""
        while (batch := batch_of(sealed)).bytes or batch.answers:
            try:
                self.storage.append(batch)
            except RefusedError as refused:
                sealed.again(refused.known, refused.taken)
            else:
                return

    async def create(self, board: str, policy: str = "best") -> Any:
        """Create a board and give the reply."""
        return await self.commit(
            self.engine.create_board(board, "int64", "desc", policy, "first", False)
        )

    async def submit(
        self, board: str, member: str, score: float, key: tuple[str, str] | None = None
    ) -> Any:
        """Submit a score and give the reply."""
        return await self.commit(self.engine.submit(board, member, score, key=key))

    def scores(self, board: str) -> dict[str, float]:
        """Every score of a board; nothing if it is not there."""
        try:
            page, _, _ = self.engine.page(board, 0, _LIMIT)
        except _core.NotFoundError:
            return {}
        return {row["member"]: row["score"] for row in json.loads(page)["entries"]}

    def has(self, board: str) -> bool:
        """Whether it knows a board."""
        try:
            self.engine.board_id(board)
        except _core.NotFoundError:
            return False
        return True

    def contents(self) -> object:
        """What has to be the same in all regions."""
        vector, boards = self.engine.digest()
        return dict(vector), [(board, name, size, rows) for board, name, _, size, rows in boards]

    def link(self, name: str) -> Any:
        """What it says of another region."""
        return next(link for link in self.regions.status().links if link.region == name)


class Place:
    """A region: a database, nodes, and a server in front of the first node that lives."""

    def __init__(self, world: World, name: str, database: Database) -> None:
        self.world = world
        self.name = name
        self.database = database
        self.nodes: list[Node] = []
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def node(self) -> Node:
        """The node that is asked."""
        living = [node for node in self.nodes if not node.is_stopped]
        if not living:
            raise StorageError("the region is starting")
        return living[0]

    @property
    def leader(self) -> Node:
        """The node that pulls."""
        return next(node for node in self.nodes if node.regions.status().leads)

    async def listen(self) -> None:
        """Take requests from now on."""
        application = web.Application(client_max_size=32 * 1024**2)
        application.router.add_post("/from/{asker}/v1/regions/{what}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    def renew(self) -> None:
        """Lose the database, and begin with an empty one."""
        server = self.world.server
        server.sql(f"DROP DATABASE {self.database.name} WITH (FORCE)")
        server.sql(f"CREATE DATABASE {self.database.name} TEMPLATE template0")

    async def close(self) -> None:
        """Take no more requests."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def add(self, redis: str = "", **changed: Any) -> Node:
        """Add a node and start it."""
        settings = self.world.settings(self.name, **changed)
        node = Node(settings, self.database, redis)
        self.nodes.append(node)
        await node.start()
        return node

    async def _answer(self, request: web.Request) -> web.Response:
        way = (request.match_info["asker"], self.name)
        await self.world.carry(way)
        if request.headers.get("Authorization") != f"Bearer {self.world.secret}":
            return web.json_response({"title": "Unauthorized"}, status=401)
        what = request.match_info["what"]
        answer = await _handled(self.node.regions.handlers[what], await request.read())
        await self.world.carry(way)
        if way in self.world.garbles and answer.status == web.HTTPOk.status_code:
            assert isinstance(answer.body, bytes)
            answer = web.Response(body=self.world.garbles[way](what, answer.body))
        return _deflated(answer)


async def _handled(handler: Callable[[bytes], Awaitable[bytes]], body: bytes) -> web.Response:
    """Answer as the API does."""
    try:
        return web.Response(body=await handler(body))
    except NotAPeerError as error:
        return web.json_response({"detail": str(error)}, status=403)
    except (TooManyError, StorageError) as error:
        return web.json_response({"detail": str(error)}, status=503)
    except ValueError as error:
        return web.json_response({"detail": str(error)}, status=400)


def _deflated(answer: web.Response) -> web.Response:
    body = answer.body
    if not isinstance(body, bytes) or len(body) < _DEFLATED_BYTES:
        return answer
    headers = {"Content-Encoding": "deflate"}
    return web.Response(body=zlib.compress(body, 1), status=answer.status, headers=headers)


class World:
    """All regions, and the network between them."""

    def __init__(self, server: Postgres, names: tuple[str, ...], changed: dict[str, Any]) -> None:
        self.server = server
        self.secret = SECRET
        self.places: dict[str, Place] = {}
        self.cuts: set[Way] = set()
        """Ways on which nothing gets through: neither the question nor its answer."""
        self.delays: dict[Way, float] = {}
        """Seconds that a question takes, and an answer as well."""
        self.garbles: dict[Way, Garble] = {}
        self._changed = changed
        self._names = names

    def __getitem__(self, name: str) -> Place:
        return self.places[name]

    @property
    def nodes(self) -> list[Node]:
        """All nodes that live."""
        return [
            node for place in self.places.values() for node in place.nodes if not node.is_stopped
        ]

    def settings(self, name: str, **changed: Any) -> Settings:
        """The settings of a region; each asks under its own name, so that it can be cut off."""
        peers = tuple(
            f"{other}=http://127.0.0.1:{place.port}/from/{name}"
            for other, place in self.places.items()
            if other != name
        )
        given: dict[str, Any] = {
            "peers": peers,
            "secret": SECRET,
            "primary": self._names[0],
            "lease_seconds": 3.0,
            "verify_seconds": 0.0,
        }
        return Settings(name=name, **(given | self._changed | changed))

    async def open(self) -> None:
        """Make the databases and listen."""
        for name in self._names:
            database = Database(self.server, next(_NAMES))
            self.server.sql(f"CREATE DATABASE {database.name} TEMPLATE template0")
            self.places[name] = Place(self, name, database)
            await self.places[name].listen()

    async def start(self) -> None:
        """Start a node in each region, and wait until a board can be created."""
        for place in self.places.values():
            await place.add()
        first = self.places[self._names[0]].node
        await eventually(lambda: first.regions.may_name, "a primary")
        await eventually(self.all_heard, "regions that hear of each other")
        await eventually(
            lambda: all(node.regions.primary == first.settings.name for node in self.nodes),
            "a primary that all know",
        )

    def all_heard(self) -> bool:
        """Whether every node knows every link to be well."""
        return all(
            link.up and link.trouble is None and link.lag_ms is not None
            for node in self.nodes
            for link in node.regions.status().links
        )

    async def board(self, policy: str = "best") -> str:
        """Create a board, wait until all nodes know it, and give its name."""
        name = f"b{next(_BOARDS)}"
        await self.places[self._names[0]].node.create(name, policy)
        await eventually(lambda: all(node.has(name) for node in self.nodes), f"board {name}")
        return name

    async def heal(self) -> None:
        """Undo what a test did: one node is left in each region, and all is well."""
        self.cuts.clear()
        self.delays.clear()
        self.garbles.clear()
        self.secret = SECRET
        extra = [node for place in self.places.values() for node in place.nodes[1:]]
        await asyncio.gather(*(node.stop() for node in extra if not node.is_stopped))
        for place in self.places.values():
            del place.nodes[1:]
        first = self.places[self._names[0]].node
        await eventually(lambda: first.regions.may_name, "a primary")
        await eventually(self.all_heard, "regions that hear of each other")
        acks = [acks for node in self.nodes for acks in node.regions.acks.values()]
        await eventually(lambda: all(each.trouble is None for each in acks), "no old troubles")

    def snapshot(self, name: str) -> Database:
        """Copy the database of a region that is stopped."""
        copy = Database(self.server, next(_NAMES))
        self.server.sql(f"CREATE DATABASE {copy.name} TEMPLATE {self.places[name].database.name}")
        return copy

    def restore(self, name: str, copy: Database) -> None:
        """Put a copy in the place of the database of a region that is stopped."""
        place = self.places[name]
        self.server.sql(f"DROP DATABASE {place.database.name} WITH (FORCE)")
        place.database = copy

    def part(self, name: str) -> None:
        """Cut a region off from all others."""
        for other in self._names:
            if other != name:
                self.cuts |= {(name, other), (other, name)}

    def cut(self, one: str, other: str) -> None:
        """Cut two regions off from each other."""
        self.cuts |= {(one, other), (other, one)}

    async def carry(self, way: Way) -> None:
        """Take as long as something takes on its way; for ever where it is cut."""
        await asyncio.sleep(self.delays.get(way, 0.0))
        await eventually(lambda: way not in self.cuts, "a way that is not cut", _LONGEST_SECONDS)

    async def until_same(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until all nodes have the same."""

        def are_same() -> bool:
            contents = [node.contents() for node in self.nodes]
            return all(content == contents[0] for content in contents)

        await eventually(are_same, "regions that have the same", seconds)

    async def close(self) -> None:
        """End everything."""
        self.cuts.clear()
        await asyncio.gather(*(node.stop() for node in self.nodes))
        for place in self.places.values():
            await place.close()
            self.server.sql(f"DROP DATABASE {place.database.name} WITH (FORCE)")


NewWorld = Callable[..., Awaitable[World]]
"""Makes regions of some names; keywords are settings of all of them."""
