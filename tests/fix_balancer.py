"""A load balancer as nodes stand behind: it sends new connections to nodes that are ready.

It looks at `/readyz` of each node every so often, as Kubernetes does by a readiness probe. What is
connected stays where it is. It runs on the loop of the test, with callbacks only, so that it
carries thousands of connections.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import aiohttp

from fix_server import Server

_PROBE_SECONDS: Final = 0.05
_BACKLOG: Final = 4096


class Balancer:
    """Two doors, one for HTTP and one for live connections."""

    def __init__(self) -> None:
        """Begin without nodes; see `balancing`."""
        self.http_port = 0
        self.live_port = 0
        self.out_at: dict[Server, float] = {}
        """When nodes were found not to be ready, in seconds of the monotonic clock."""
        self.carried: dict[tuple[Server, str], int] = {}
        """Connections now, by node and door."""
        self._ready: list[Server] = []
        self._turn = itertools.count()
        self._probes: list[asyncio.Task[None]] = []

    def add(self, server: Server) -> None:
        """Take in a node that is ready, and look after it from now on."""
        self._ready.append(server)
        for door in ("http", "live"):
            self.carried[server, door] = 0
        self._probes.append(asyncio.create_task(self._probe(server)))

    def choose(self) -> Server | None:
        """Give the next node that is ready."""
        return self._ready[next(self._turn) % len(self._ready)] if self._ready else None

    async def end(self) -> None:
        """Look after nobody any more."""
        for probe in self._probes:
            probe.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)

    async def _probe(self, server: Server) -> None:
        async with aiohttp.ClientSession() as session:
            while await _is_ready(session, server):  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(_PROBE_SECONDS)
        self._ready.remove(server)
        self.out_at[server] = time.monotonic()


async def _is_ready(session: aiohttp.ClientSession, server: Server) -> bool:
    with suppress(aiohttp.ClientError):
        async with session.get(f"{server.url}/readyz") as answer:
            return answer.status == 200
    return False


class _Near(asyncio.Protocol):
    """A client's end of a connection."""

    def __init__(self, balancer: Balancer, door: str) -> None:
        self._balancer = balancer
        self._door = door
        self._early: list[bytes] = []
        self._far: asyncio.Transport | None = None
        self.is_half = False
        """Whether one direction has ended."""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._task = asyncio.create_task(self._connect())

    def data_received(self, data: bytes) -> None:
        if self._far is None:
            self._early.append(data)
        else:
            self._far.write(data)

    def eof_received(self) -> bool:
        """Pass it on, and keep the other direction until it ends as well."""
        if self._far is None or self.is_half:
            return False
        self.is_half = True
        self._far.write_eof()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        del error
        if self._far is not None:
            self._far.close()

    async def _connect(self) -> None:
        server = self._balancer.choose()
        if server is None:
            self.transport.abort()
            return
        port = server.http_port if self._door == "http" else server.live_port
        loop = asyncio.get_running_loop()
        key = (server, self._door)
        try:
            far, _ = await loop.create_connection(
                lambda: _Far(self, self._balancer.carried, key), "127.0.0.1", port
            )
        except OSError:
            self.transport.abort()
            return
        for data in self._early:
            far.write(data)
        self._far = far
        if self.transport.is_closing():
            far.close()


class _Far(asyncio.Protocol):
    """A node's end of a connection."""

    def __init__(
        self, near: _Near, carried: dict[tuple[Server, str], int], key: tuple[Server, str]
    ) -> None:
        self._near = near
        self._carried = carried
        self._key = key
        carried[key] += 1

    def data_received(self, data: bytes) -> None:
        self._near.transport.write(data)

    def eof_received(self) -> bool:
        """Pass it on, and keep the other direction until it ends as well."""
        near = self._near
        if near.is_half or near.transport.is_closing():
            return False
        near.is_half = True
        near.transport.write_eof()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._carried[self._key] -= 1
        self._near.transport.close()


@asynccontextmanager
async def balancing() -> AsyncIterator[Balancer]:
    """Run a balancer for the block."""
    balancer, loop = Balancer(), asyncio.get_running_loop()
    http = await loop.create_server(
        lambda: _Near(balancer, "http"), "127.0.0.1", 0, backlog=_BACKLOG
    )
    live = await loop.create_server(
        lambda: _Near(balancer, "live"), "127.0.0.1", 0, backlog=_BACKLOG
    )
    balancer.http_port, balancer.live_port = (
        door.sockets[0].getsockname()[1] for door in (http, live)
    )
    try:
        yield balancer
    finally:
        for door in (http, live):
            door.close()
        await balancer.end()
