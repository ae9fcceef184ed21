"""A cluster: PostgreSQL, Redis and nodes, each of which reaches them over links of its own.

`new_cluster` makes one, not started yet. `judge` compares everything that knows the boards: the
nodes with each other, with what is in PostgreSQL, with the clients' books and with what watchers
were last shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Final, TypeVar

import pytest

from cluster_books import BOARDS, MESS, PROBE, Books, Scores
from cluster_load import Load
from fix_chaos import Chaos
from fix_network import Link, Network, running_network
from fix_postgres import NewPostgres, Postgres
from fix_redis import NewRedis, RedisServer
from fix_server import NewServer, Server, until
from rankwire import _core
from rankwire.settings import Storage
from rankwire.storage.postgres import PostgresStorage

# Time-outs short enough for tests to wait them out.
_FLAGS: Final = (
    *("--storage-statement-seconds", "2", "--storage-lock-seconds", "1"),
    *("--storage-pool-wait-seconds", "1", "--live-drain-seconds", "0"),
    *("--live-tick-ms", "20", "--live-personal-tick-ms", "50"),
    *("--live-commands-per-second", "100000"),
)
_PAGE: Final = 1000
LIMIT: Final = 1_000_000

# Who has the lock of the checkpoints: the only one of two numbers that lasts.
_LEADER: Final = """
SELECT client_port FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND objsubid = 2 AND granted
  AND application_name = 'rankwire-checkpointer'
"""

_Whom = TypeVar("_Whom")
_Result = TypeVar("_Result")

Digest = dict[str, tuple[str, int, str]]
"""Of each board its id, how many members it has and the digest of its rows."""


class Node:
    """A server and its links."""

    def __init__(self, server: Server, postgres: Link, redis: Link) -> None:
        self.server = server
        self.postgres = postgres
        self.redis = redis

    def start(self) -> None:
        """Start its server."""
        self.server.start()

    def digest(self) -> tuple[dict[str, int], Digest]:
        """What it has seen, and its boards."""
        answer = self.server.get("/v1/digest").json()
        boards = {
            row["board"]: (row["id"], row["total"], row["digest"]) for row in answer["boards"]
        }
        # A node that has written nothing yet is known to itself only.
        vector = {origin: number for origin, number in answer["vector"].items() if number}
        return vector, boards

    def contents(self) -> dict[str, Scores]:
        """Every member's score on every board."""
        page = self.server.get(f"/v1/boards?limit={_PAGE}").json()
        boards = [row["board"] for row in page["boards"]]
        while page.get("next"):
            page = self.server.get(f"/v1/boards?limit={_PAGE}&after={page['next']}").json()
            boards += [row["board"] for row in page["boards"]]
        return {board: self._scores(board) for board in boards}

    def state(self, channel: str) -> Any:
        """What a watcher of a channel has to see, but for the version."""
        _, board, view, what = channel.split(":")
        if view == "top":
            page = self.server.get(f"/v1/boards/{board}/top?limit={what}").json()
            rows = [{"member": row["member"], "score": row["score"]} for row in page["entries"]]
            return {"total": page["total"], "entries": rows}
        reply = self.server.get(f"/v1/boards/{board}/members/{what}")
        if reply.status == 404:
            total = self.server.get(f"/v1/boards/{board}/top?limit=1").json()["total"]
            return {"total": total, "rank": None, "score": None}
        return {key: reply.json()[key] for key in ("total", "rank", "score")}

    def ready(self) -> dict[str, Any]:
        """What it says about itself."""
        return dict(self.server.get("/readyz").json())

    def _scores(self, board: str) -> Scores:
        scores: Scores = {}
        ranks = []
        page: dict[str, Any] = {"total": 1}
        while len(scores) < page["total"]:
            path = f"/v1/boards/{board}/top?limit={_PAGE}&offset={len(scores)}"
            page = self.server.get(path).json()
            ranks += [row["rank"] for row in page["entries"]]
            scores |= {row["member"]: row["score"] for row in page["entries"]}
        assert ranks == [*range(1, len(scores) + 1)]
        return scores


class Cluster:
    """PostgreSQL, Redis and the nodes."""

    def __init__(
        self,
        network: Network,
        new_server: NewServer,
        postgres: Postgres,
        redis: RedisServer,
        flags: Sequence[str] = (),
    ) -> None:
        self.name = ""
        """Of its region, if there are others."""
        self.postgres = postgres
        self.redis = redis
        self.nodes: list[Node] = []
        self.books = Books()
        self._network = network
        self._new_server = new_server
        self._flags = tuple(flags)

    @property
    def servers(self) -> list[Server]:
        """The nodes' servers."""
        return [node.server for node in self.nodes]

    def add(self, chaos: Chaos | None = None, flags: Sequence[str] = ()) -> Node:
        """Add a node, not started yet, with more flags than the others."""
        postgres = self._network.link(self.postgres.port)
        redis = self._network.link(self.redis.port)
        urls = (
            *(
                "--storage-url",
                self.postgres.url.replace(str(self.postgres.port), str(postgres.port)),
            ),
            *("--redis-url", f"redis://127.0.0.1:{redis.port}"),
        )
        prefix = () if chaos is None else chaos.prefix
        server = self._new_server(*urls, *_FLAGS, *self._flags, *flags, prefix=prefix)
        self.nodes.append(Node(server, postgres, redis))
        return self.nodes[-1]

    def start(self) -> None:
        """Start everything and create the boards."""
        self.start_all()
        create_boards(self.nodes[0])
        self.until_level()

    def start_all(self) -> None:
        """Start whatever does not run."""
        for part in (self.postgres, self.redis):
            if not part.running:
                part.start()
        on_each([node for node in self.nodes if not node.server.running], Node.start)

    def restart(self) -> None:
        """Stop all nodes and start them again."""
        for node in self.nodes:
            assert node.server.terminate() == 0
        on_each(self.nodes, Node.start)

    def until_level(self) -> Digest:
        """Wait until all nodes have seen the same; compare their boards, and give them."""
        return until_level(self.nodes)

    def kept(self) -> Digest:
        """What somebody finds who has nothing but PostgreSQL."""
        _, boards = self.recovered().digest()
        return {name: (f"{board:x}", total, digest) for board, name, _, total, digest in boards}

    def recovered(self) -> _core.Engine:
        """Make an engine of nothing but PostgreSQL."""
        storage = PostgresStorage(Storage(url=self.postgres.url), region=self.name)
        try:
            return storage.recover(LIMIT, LIMIT)
        finally:
            storage.close()

    def journal(self) -> list[dict[str, Any]]:
        """Every record that was ever committed; each batch must be there once, with no gaps."""
        return [record for _, record in self.journal_by_origin()]

    def journal_by_origin(self) -> list[tuple[int, dict[str, Any]]]:
        """The same, each with the origin that committed it."""
        rows = self.postgres.sql(
            "SELECT origin, number, batch FROM journal ORDER BY origin, number"
        )
        numbers: dict[int, int] = {}
        for origin, number, _ in rows:
            assert number == numbers.get(origin, 0) + 1, f"{number} after {numbers.get(origin, 0)}"
            numbers[origin] = number
        return [(row[0], record) for row in rows for record in _core.records(*row)]

    def leader(self) -> Node | None:
        """The node that takes the checkpoints."""
        ports = {port for (port,) in self.postgres.sql(_LEADER)}
        return next((node for node in self.nodes if node.postgres.ports() & ports), None)

    def checkpoint_is_under_way(self) -> bool:
        """Whether the leader is in a transaction."""
        return bool(self.postgres.sql(f"{_LEADER} AND xact_start IS NOT NULL"))


def create_boards(node: Node) -> None:
    """Create the boards that the books know, at a node."""
    for board in (*BOARDS, MESS, PROBE):
        node.server.create(board, **BOARDS.get(board, BOARDS["sum"]))


def until_level(nodes: Sequence[Node]) -> Digest:
    """Wait until all nodes have seen the same; compare their boards, and give them."""

    def are_level() -> bool:
        vectors = [vector for vector, _ in on_each(nodes, Node.digest)]
        return all(vector == vectors[0] for vector in vectors)

    until(are_level, "level nodes")
    digests = [boards for _, boards in on_each(nodes, Node.digest)]
    for boards in digests[1:]:
        assert boards == digests[0], "nodes that have seen the same have other boards"
    return digests[0]


def on_each(whom: Sequence[_Whom], do: Callable[[_Whom], _Result]) -> list[_Result]:
    """Do something on all of them at once."""
    with ThreadPoolExecutor(max(1, len(whom))) as threads:
        return list(threads.map(do, whom))


async def judge(cluster: Cluster, load: Load) -> None:
    """End the load; all who know the boards must agree, now and after a restart of all nodes."""
    await load.stop()
    boards = await asyncio.to_thread(cluster.until_level)
    books, nodes = cluster.books, cluster.nodes
    books.settle(await asyncio.to_thread(nodes[0].contents))
    assert await asyncio.to_thread(cluster.kept) == boards
    await asyncio.to_thread(cluster.journal)
    channels = {channel for watcher in load.watchers for channel in watcher.channels}
    states = {channel: nodes[-1].state(channel) for channel in channels}
    await load.until_shown(states)
    await asyncio.to_thread(cluster.restart)
    assert await asyncio.to_thread(cluster.until_level) == boards
    # Nothing is open any more: this is exact.
    books.settle(await asyncio.to_thread(nodes[-1].contents))
    await load.until_shown(states)


NewCluster = Callable[..., Cluster]


@pytest.fixture
def new_cluster(
    new_server: NewServer, new_postgres: NewPostgres, new_redis: NewRedis
) -> Iterator[NewCluster]:
    """Make clusters of so many nodes, not started yet, with these flags."""
    with ExitStack() as cleanup:
        network = cleanup.enter_context(running_network())

        def make(*flags: str, nodes: int = 3, postgres: Postgres | None = None) -> Cluster:
            server = postgres or new_postgres()
            cluster = Cluster(network, new_server, server, new_redis(), flags)
            for _ in range(nodes):
                cluster.add()
            return cluster

        yield make
