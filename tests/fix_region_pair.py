"""Two regions for tests of what a client sees: one node each, each with a database of its own.

`eu` is the primary. They reach each other directly; for cuts and crashes there are `fix_regions`.
Both databases are on the server that the session shares, so a pair is there in a second or two.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from fix_postgres import Postgres, fresh_database
from fix_redis import free_port, making_redis
from fix_server import NewServer, Server, making_servers, until

SECRET: Final = "the-secret-of-a-pair-of-regions-or-so"
NAMES: Final = ("eu", "us")


class Pair(NamedTuple):
    """Both regions."""

    eu: Server
    us: Server

    def until_linked(self) -> None:
        """Wait until both have heard from each other and know the primary."""
        for server in self:
            until(lambda server=server: _is_linked(server), "regions that know each other")  # type: ignore[misc]
            # The session of a client that has seen nothing yet which not all regions have.
            path = "/v1/boards?consistency=session&timeout_ms=20000"
            assert server.call("GET", path, None, {"rankwire-session": "AYA"}).status == 200


def _is_linked(server: Server) -> bool:
    status = server.get("/v1/regions").json()
    is_up = all(link["up"] for link in status["links"])
    # Whoever began first has asked the other one in vain, and says so until it asks again.
    return status["primary"] == "eu" and is_up and not status["degraded"]


@contextmanager
def running_pair(place: Path, postgres: Postgres, *flags: str) -> Iterator[Pair]:
    """Run a pair with these flags."""
    with ExitStack() as stack:
        redis = stack.enter_context(making_redis(place))().start()
        databases = [stack.enter_context(fresh_database(postgres)) for _ in NAMES]
        # The servers end before what they use.
        make = stack.enter_context(making_servers(place))
        ports = {name: free_port() for name in NAMES}
        servers = []
        for name, database in zip(NAMES, databases, strict=True):
            peers = " ".join(
                f"{other}=http://127.0.0.1:{port}" for other, port in ports.items() if other != name
            )
            own = ("--regions-name", name, "--regions-peers", peers, "--regions-primary", "eu")
            kept = ("--storage-url", database.url, "--redis-url", redis.url)
            shared = ("--regions-secret", SECRET, "--regions-verify-seconds", "0")
            servers.append(_started(make, ports[name], *kept, *own, *shared, *flags))
        for server in servers:
            server.wait_ready()
        pair = Pair(*servers)
        pair.until_linked()
        yield pair


def _started(make: NewServer, port: int, *flags: str) -> Server:
    return make("--live-port", "0", *flags).spawn(http_port=port)
