"""Regions: each a PostgreSQL, a Redis and nodes, which reach the other regions over links.

`new_regions` makes some, not started yet; `running_regions` does the same for a block. Each region
is a `Cluster`. What goes from one region to another passes the link of that pair, which leads to
whichever node of the other region listens, as a load balancer would; `cut`, `part` and `slow` are
what happens to the network between regions, and `heal` ends all of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from typing import Any, Final

import pytest

from cluster_books import Books
from fix_chaos import Chaos
from fix_cluster import LIMIT, Cluster, Digest, Node, create_boards, on_each, until_level
from fix_network import Link, Network, running_network
from fix_postgres import NewPostgres, Postgres, making_postgres
from fix_redis import NewRedis, RedisServer, free_port, making_redis
from fix_server import NewServer, Reply, Server, making_servers, until

NAMES: Final = ("eu", "us", "ap")
"""The first one is the primary at first."""
SECRET: Final = "known-to-all-regions-of-these-tests"
SESSION: Final = "Rankwire-Session"
"""The header of sessions."""
# No comparisons but those that a test asks for, and leases that end while a test waits.
_FLAGS: Final = (
    *("--regions-secret", SECRET, "--regions-verify-seconds", "0"),
    *("--regions-lease-seconds", "3"),
)


class Region(Cluster):
    """One region; `add` has given it its nodes."""

    def __init__(
        self,
        name: str,
        network: Network,
        new_server: NewServer,
        backing: tuple[Postgres, RedisServer],
        flags: Sequence[str],
    ) -> None:
        super().__init__(network, new_server, *backing, flags)
        self.name = name

    @property
    def node(self) -> Node:
        """The first node."""
        return self.nodes[0]

    @property
    def server(self) -> Server:
        """The server of the first node."""
        return self.nodes[0].server

    def kill(self) -> None:
        """Kill everything, as if the place had burned down; `start_all` rebuilds it."""
        parts: tuple[Server | Postgres | RedisServer, ...] = (self.postgres, self.redis)
        for part in (*self.servers, *parts):
            if part.running:
                part.kill()

    def status(self) -> dict[str, Any]:
        """What it knows about itself and the other regions."""
        reply = self.server.get("/v1/regions")
        assert reply.status == 200, reply
        return dict(reply.json())

    def has(self, board: str, member: str, score: float | None) -> bool:
        """Whether a member has this score here; None: it is not on the board."""
        reply = self.server.get(f"/v1/boards/{board}/members/{member}")
        if reply.status == 404:
            return score is None
        return bool(reply.status == 200 and reply.json()["score"] == score)

    def kept_score(self, board: str, member: str) -> float | None:
        """A member's score, as somebody finds it who has nothing but PostgreSQL."""
        page, _, _ = self.recovered().page(board, 0, LIMIT)
        rows = {row["member"]: row["score"] for row in json.loads(page)["entries"]}
        return rows.get(member)

    def until_has(self, board: str, member: str, score: float | None) -> None:
        """Wait for it."""
        until(lambda: self.has(board, member, score), f"{member} at {score} in {self.name}")


class Regions:
    """All regions and the network between them."""

    def __init__(
        self, regions: Mapping[str, Region], links: Mapping[tuple[str, str], Link]
    ) -> None:
        """`links` lead from the first region of a pair to the second one."""
        self._regions = dict(regions)
        self._links = dict(links)
        self._cut: set[tuple[str, str]] = set()
        self.books = Books()

    def __getitem__(self, name: str) -> Region:
        return self._regions[name]

    def __iter__(self) -> Iterator[Region]:
        return iter(self._regions.values())

    @property
    def names(self) -> list[str]:
        """Of all regions, the first primary first."""
        return list(self._regions)

    @property
    def nodes(self) -> list[Node]:
        """Of all regions."""
        return [node for region in self for node in region.nodes]

    def others(self, name: str) -> list[Region]:
        """All regions but one."""
        return [region for region in self if region.name != name]

    def start(self) -> None:
        """Start whatever does not run."""
        on_each(list(self), Region.start_all)

    def create_boards(self) -> None:
        """Create the boards that the books know, and wait until all regions have them."""
        primary = self[self.names[0]]
        # It needs the others, for its lease.
        until(lambda: bool(primary.status()["is_primary"]), "a primary that may act")
        create_boards(primary.node)
        self.until_level()

    def until_level(self) -> Digest:
        """Wait until all nodes of all regions have seen the same; compare and give the boards."""
        return until_level(self.nodes)

    def until_linked(self) -> None:
        """Wait until every region hears from every other one."""

        def are_linked() -> bool:
            links = [link for region in self for link in region.status()["links"]]
            return all(link["up"] and link["trouble"] is None for link in links)

        until(are_linked, "regions that hear from each other")
        # Who has seen nothing that not all regions have.
        for server in (region.server for region in self):
            reply = server.call("GET", "/v1/boards?timeout_ms=20000", None, {SESSION: "AYA"})
            assert reply.status == 200, reply

    # The network.

    def link(self, sender: str, receiver: str) -> Link:
        """The connections that one region opens to another one."""
        return self._links[sender, receiver]

    def carried(self) -> int:
        """Bytes between regions so far, in both directions."""
        return sum(link.carried() for link in self._links.values())

    def cut(self, sender: str, receiver: str) -> None:
        """Let nothing that one region sends arrive at another one: neither requests nor answers."""
        self._cut.add((sender, receiver))
        self._apply()

    def part(self, name: str, *others: str) -> None:
        """Let nothing pass between a region and these, or all, others."""
        for other in others or [region.name for region in self.others(name)]:
            self._cut |= {(name, other), (other, name)}
        self._apply()

    def slow(self, one: str, other: str, seconds: float) -> None:
        """Let everything between two regions take so long in each direction."""
        for pair in ((one, other), (other, one)):
            self._links[pair].slow(seconds)

    def heal(self) -> None:
        """Let everything pass again, at once."""
        self._cut.clear()
        for pair, link in self._links.items():
            self.slow(*pair, 0)
            link.heal()

    def _apply(self) -> None:
        for (near, far), link in self._links.items():
            link.cut(requests=(near, far) in self._cut, answers=(far, near) in self._cut)


_Door = tuple[int, int]
_given: Final[set[int]] = set()


def _doors(nodes: int) -> list[_Door]:
    """Find ports for so many nodes, for HTTP and for watchers."""
    return [(_port(), _port()) for _ in range(nodes)]


def _port() -> int:
    """Find a port that is free and stays so: nobody here is given it again."""
    while (port := free_port()) in _given:
        pass
    _given.add(port)
    return port


class Makers:
    """Makes regions; what they consist of ends when the fixtures do that it comes from."""

    def __init__(
        self,
        network: Network,
        new_server: NewServer,
        new_postgres: NewPostgres,
        new_redis: NewRedis,
    ) -> None:
        self._network = network
        self._new_server = new_server
        self._new_postgres = new_postgres
        self._new_redis = new_redis

    def regions(
        self,
        *flags: str,
        names: Sequence[str] = NAMES,
        nodes: int = 1,
        postgres: Mapping[str, Postgres] | None = None,
        hosts: Sequence[str] = (),
    ) -> Regions:
        """Make regions of so many nodes, not started yet, with these flags.

        `postgres` are servers to use for the regions that it names. With `hosts`, each region has
        an address of its own, and the same ports everywhere.
        """
        places = dict(zip(names, hosts or ["127.0.0.1"] * len(names), strict=True))
        common = _doors(nodes)
        doors = {name: common if hosts else _doors(nodes) for name in names}
        links = {
            (near, far): self._network.link(*(port for port, _ in doors[far]), host=places[far])
            for near, far in permutations(names, 2)
        }
        regions = {}
        for name in names:
            others = [(far, link) for (near, far), link in links.items() if near == name]
            peers = " ".join(f"{far}=http://127.0.0.1:{link.port}" for far, link in others)
            place = ("--http-host", places[name], "--live-host", places[name])
            about = ("--regions-name", name, "--regions-peers", peers)
            every = (*about, "--regions-primary", names[0], *place, *_FLAGS, *flags)
            regions[name] = self._region(name, every, doors[name], (postgres or {}).get(name))
        return Regions(regions, links)

    def _region(
        self, name: str, flags: Sequence[str], doors: Sequence[_Door], postgres: Postgres | None
    ) -> Region:
        backing = (postgres or self._new_postgres(), self._new_redis())
        region = Region(name, self._network, self._new_server, backing, flags)
        for http, live in doors:
            region.add(flags=("--http-port", f"{http}", "--live-port", f"{live}"))
        return region


NewRegions = Callable[..., Regions]


@pytest.fixture
def new_regions(
    new_server: NewServer, new_postgres: NewPostgres, new_redis: NewRedis
) -> Iterator[NewRegions]:
    """Make regions, see `Makers.regions`."""
    with running_network() as network:
        yield Makers(network, new_server, new_postgres, new_redis).regions


@contextmanager
def running_regions(
    place: Path, template: Path, *flags: str, chaos: Mapping[str, Chaos] | None = None
) -> Iterator[Regions]:
    """Run three regions, with the boards that the books know, until the end of the block.

    `chaos` is what the databases of some of them are made to believe.
    """
    for folder in ("servers", "redis"):
        (place / folder).mkdir()
    with (
        making_servers(place / "servers") as new_server,
        making_postgres(template) as new_postgres,
        making_redis(place / "redis") as new_redis,
        running_network() as network,
    ):
        believing = {
            name: new_postgres(environment=each.variables) for name, each in (chaos or {}).items()
        }
        makers = Makers(network, new_server, new_postgres, new_redis)
        regions = makers.regions(*flags, postgres=believing)
        regions.start()
        regions.create_boards()
        yield regions


def in_session(
    server: Server, path: str, token: str = "new", method: str = "GET", body: object = None
) -> tuple[Reply, str]:
    """Ask for something in a session, and give the token that goes on from there."""
    reply = server.call(method, path, body, {SESSION: token})
    return reply, reply.headers.get(SESSION.lower(), token)
