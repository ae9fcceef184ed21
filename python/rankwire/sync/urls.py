"""Clients for the addresses that `redis.url` may hold.

Each client gives up quickly, so that a Redis that hangs is soon seen as one that is away: callers
do without it and try again in their own time. Passwords are never part of a message from here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import unquote

from redis import Redis, RedisCluster
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio import RedisCluster as AsyncRedisCluster
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

ALLOWED: Final = (
    "redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], "
    "redis+cluster://[[USER]:PASSWORD@]HOST[:PORT],HOST[:PORT].. or "
    "redis+sentinel://[[USER]:PASSWORD@]HOST[:PORT],HOST[:PORT]../SERVICE[/DATABASE], "
    "each with rediss for TLS"
)
"""What `redis.url` may look like."""

FAILURES: Final = (RedisError, RedisClusterException, OSError)
"""What clients raise when Redis cannot do what was asked. Not all of it has one base."""

Client = Redis | RedisCluster
AsyncClient = AsyncRedis | AsyncRedisCluster

# To connect, and for each answer. An answer comes within milliseconds or something is wrong.
_TIMEOUT_SECONDS: Final = 1.0
# A connection that was idle for longer is tried out before it is used.
_IDLE_SECONDS: Final = 5
# Connections that a server closed while they were idle are replaced once, without a pause.
_RETRIES: Final = 1
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26_379
_MOST_DATABASE: Final = 2**31 - 1
_MOST_REASON: Final = 200
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#\s]+)(?::([0-9]{1,5}))?")

Host = tuple[str, int]
Kind = Literal["single", "cluster", "sentinel"]

_SCHEMES: Final[dict[str, tuple[Kind, bool]]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
}


@dataclass(frozen=True, slots=True)
class Address:
    """What a URL says. Its text form leaves the password out."""

    kind: Kind
    hosts: tuple[Host, ...]
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    service: str = ""
    """What the sentinels call the master."""
    database: int = 0

    def explain(self, error: BaseException) -> str:
        """Say in one line what went wrong."""
        # What stands behind is the library's view of its own objects.
        text = str(error).partition(" : <")[0]
        text = " ".join(text.split()) or type(error).__name__
        if self.password:
            text = text.replace(self.password, "***")
        return text[:_MOST_REASON]


def parse(url: str) -> Address:
    """Read a URL. Raises ValueError, which tells what is wrong and what is allowed."""
    try:
        return _parse(url)
    except _WrongError as error:
        raise ValueError(f"{error}, allowed is {ALLOWED}") from None


def connect(where: str | Address) -> Client:
    """Make a client for threads. Close it after use.

    Raises one of FAILURES for a cluster that cannot be reached, and ValueError for a wrong URL.
    The other kinds connect at the first command.
    """
    address = parse(where) if isinstance(where, str) else where
    options = _options(address) | {"retry": Retry(NoBackoff(), _RETRIES, (RedisConnectionError,))}
    if address.kind == "cluster":
        nodes = [ClusterNode(*host) for host in address.hosts]  # type: ignore[no-untyped-call]
        return RedisCluster(startup_nodes=nodes, **options)
    if address.kind == "sentinel":
        sentinels: Any = Sentinel
        watched = sentinels(address.hosts, sentinel_kwargs=_for_sentinels(options))
        master: Client = watched.master_for(
            address.service, _Master, db=address.database, **options
        )
        return master
    host, port = address.hosts[0]
    return Redis(host, port, db=address.database, **options)


def connect_async(where: str | Address) -> AsyncClient:
    """Make a client for an event loop. Close it after use.

    Every kind connects at the first command. Raises ValueError for a wrong URL.
    """
    address = parse(where) if isinstance(where, str) else where
    retry = AsyncRetry(NoBackoff(), _RETRIES, (RedisConnectionError,))
    options = _options(address) | {"retry": retry}
    if address.kind == "cluster":
        nodes = [AsyncClusterNode(*host) for host in address.hosts]
        return AsyncRedisCluster(startup_nodes=nodes, **options)
    if address.kind == "sentinel":
        sentinels: Any = AsyncSentinel
        watched = sentinels(address.hosts, sentinel_kwargs=_for_sentinels(options))
        master: AsyncClient = watched.master_for(
            address.service, _AsyncMaster, db=address.database, **options
        )
        return master
    host, port = address.hosts[0]
    return AsyncRedis(host=host, port=port, db=address.database, **options)


class _Master(Redis):
    """Closes the connections to the sentinels as well."""

    def close(self) -> None:
        pool: Any = self.connection_pool
        pool.sentinel_manager.close()
        super().close()


class _AsyncMaster(AsyncRedis):
    """Closes the connections to the sentinels as well."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        pool: Any = self.connection_pool
        await pool.sentinel_manager.aclose()
        await super().aclose(close_connection_pool)


def _options(address: Address) -> dict[str, Any]:
    return {
        "username": address.user,
        "password": address.password,
        "ssl": address.tls,
        "socket_timeout": _TIMEOUT_SECONDS,
        "socket_connect_timeout": _TIMEOUT_SECONDS,
        "health_check_interval": _IDLE_SECONDS,
        # The older protocol: every server speaks it and answers look the same everywhere.
        "protocol": 2,
    }


def _for_sentinels(options: dict[str, Any]) -> dict[str, Any]:
    """Sentinels have no users of ours. One without a password lets the default user in anyway."""
    return options | {"username": "default" if options["password"] else None}


class _WrongError(Exception):
    """What is wrong with a URL. Never quotes the part that may hold a password."""


def _parse(url: str) -> Address:
    scheme, _, rest = url.partition("://")
    if scheme not in _SCHEMES:
        raise _WrongError("found no known scheme")
    kind, tls = _SCHEMES[scheme]
    authority, _, path = rest.partition("/")
    credentials, separator, hosts = authority.rpartition("@")
    user, password = _credentials(credentials) if separator else (None, None)
    service, database = _path(kind, path)
    port = _SENTINEL_PORT if kind == "sentinel" else _PORT
    found = tuple(_host(text, port) for text in hosts.split(","))
    if kind == "single" and len(found) > 1:
        raise _WrongError("found several hosts")
    return Address(kind, found, tls, user, password, service, database)


def _credentials(text: str) -> tuple[str | None, str]:
    user, separator, password = text.partition(":")
    if not separator or not password:
        raise _WrongError("found a user without a password")
    return unquote(user) or None, unquote(password)


def _path(kind: Kind, path: str) -> tuple[str, int]:
    parts = path.split("/") if path else []
    if kind == "cluster" and parts:
        raise _WrongError("found a database, and a cluster has only one")
    service = ""
    if kind == "sentinel":
        service = unquote(parts.pop(0)) if parts else ""
        if not service:
            raise _WrongError("found no name of the service that the sentinels watch")
    if not parts:
        return service, 0
    if len(parts) > 1 or not re.fullmatch("[0-9]{1,10}", parts[0]):
        raise _WrongError("found a database that is no number")
    database = int(parts[0])
    if database > _MOST_DATABASE:
        raise _WrongError("found a database that is too large a number")
    return service, database


def _host(text: str, port: int) -> Host:
    match = _HOST.fullmatch(text)
    if match is None:
        raise _WrongError("found a host that is none")
    if match[2]:
        port = int(match[2])
    if not 1 <= port <= 65_535:  # noqa: PLR2004  # the ports that there are
        raise _WrongError("found a port that is none")
    return match[1].strip("[]"), port
