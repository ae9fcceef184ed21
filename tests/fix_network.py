"""The network between a node and a server that it needs, which a test can cut.

A `Link` listens on a port of 127.0.0.1 and carries connections to another one, or to the first of
several where anybody listens. All links of a
`Network` run on a loop in a thread of their own, so tests may block.

While a link is cut, in one direction or both, bytes wait where they are, as they do in a network
that loses packets and sends them again: what was under way arrives after `heal`, even if the
sender has given up since, and perhaps after what was sent later. New connections wait as well.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeVar

from fix_server import PATIENCE_SECONDS

_CHUNK: Final = 65_536
# Turns of the loop from accepting a connection until it is carried, and some more.
_ACCEPT_TURNS: Final = 10
# SO_LINGER: on, for no time; closing such a socket resets the connection.
_AT_ONCE: Final = struct.pack("ii", 1, 0)

_Result = TypeVar("_Result")
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Way:
    """One direction of a link."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.delay = 0.0
        self.late = 0.0
        self.carried = 0
        """Bytes so far."""

    def let(self, *, through: bool) -> None:
        if through:
            self.is_open.set()
        else:
            self.is_open.clear()

    async def take(self) -> None:
        """Wait as long as a piece is on its way."""
        if self.delay:
            await asyncio.sleep(self.delay)
        if not self.is_open.is_set():
            await self.is_open.wait()
            await asyncio.sleep(self.late)


class Link:
    """The way to one server. All methods may be called from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, *to_ports: int) -> None:
        """Lead to ports of an address; see `Network.link`."""
        self.port = 0
        self._loop = loop
        self._to = [(host, port) for port in to_ports]
        self._requests = _Way()
        self._answers = _Way()
        self._listener: asyncio.Server | None = None
        self._ends: dict[int, tuple[asyncio.StreamWriter, ...]] = {}
        # Held until the end: one that was closed may still have something to say, and nobody else
        # knows of it.
        self._writers: list[asyncio.StreamWriter] = []

    async def listen(self) -> None:
        """Take connections from now on."""
        self._listener = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Take no more connections. Must be called on the loop."""
        assert self._listener is not None
        self._listener.close()

    def abort(self) -> None:
        """End what still has something to say to an end that does not listen. On the loop."""
        _abort(*self._writers)

    def cut(self, *, requests: bool = True, answers: bool = True) -> None:
        """Let nothing through: no requests to the server, no answers from it, or neither."""

        def cut() -> None:
            self._requests.let(through=not requests)
            self._answers.let(through=not answers)

        self._run(cut)

    def heal(self, *, late: float = 0.0) -> None:
        """Let everything through again; what waits arrives so many seconds after what comes now."""

        def heal() -> None:
            for way in (self._requests, self._answers):
                way.let(through=True)
                way.delay, way.late = 0.0, late

        self._run(heal)

    def slow(self, seconds: float) -> None:
        """Let each piece take so long in each direction."""

        def slow() -> None:
            self._requests.delay = self._answers.delay = seconds

        self._run(slow)

    def reset(self) -> None:
        """Reset all connections; what was under way is lost."""

        def reset() -> None:
            for ends in self._ends.values():
                _abort(*ends)

        self._run(reset)

    def carried(self) -> int:
        """Bytes that it has carried so far, requests and answers."""
        return self._run(lambda: self._requests.carried + self._answers.carried)

    def ports(self) -> set[int]:
        """Where its connections come from, as the server sees it."""
        return self._run(lambda: set(self._ends))

    def _run(self, change: Callable[[], _Result]) -> _Result:
        async def run() -> _Result:
            return change()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(PATIENCE_SECONDS)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            await self._requests.take()
            there = await self._connect()
            self._writers.append(there[1])
            await self._between((reader, writer), there)
            writer.close()
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            # Nobody listens there, an end was reset (so is the other one), or the network ends.
            _abort(writer)

    async def _connect(self) -> _Streams:
        for place in self._to[:-1]:
            with suppress(OSError):
                return await asyncio.open_connection(*place)
        return await asyncio.open_connection(*self._to[-1])

    async def _between(self, near: _Streams, far: _Streams) -> None:
        port = far[1].get_extra_info("sockname")[1]
        self._ends[port] = (near[1], far[1])
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(near[0], far[1], self._requests))
                group.create_task(_pump(far[0], near[1], self._answers))
            far[1].close()
        except BaseException:
            _abort(far[1])
            raise
        finally:
            del self._ends[port]


class Network:
    """Links, and the thread that carries what passes them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use a loop that runs in another thread; see `network`."""
        self._loop = loop
        self._links: list[Link] = []

    def link(self, *to_ports: int, host: str = "127.0.0.1") -> Link:
        """Make a link to a port of this machine, or to the first of these where anybody listens."""
        link = Link(self._loop, host, *to_ports)
        asyncio.run_coroutine_threadsafe(link.listen(), self._loop).result(PATIENCE_SECONDS)
        self._links.append(link)
        return link

    async def end(self) -> None:
        """Break all connections. Must run on the loop."""
        for link in self._links:
            link.close()
        # What was accepted just now begins to be carried; cancelled before, nobody would close it.
        for _ in range(_ACCEPT_TURNS):
            await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for link in self._links:
            link.abort()
        # The sockets themselves close in the next turn of the loop.
        await asyncio.sleep(0)


@contextmanager
def running_network() -> Iterator[Network]:
    """Run a network until the end of the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="network")
    thread.start()
    network = Network(loop)
    try:
        yield network
    finally:
        asyncio.run_coroutine_threadsafe(network.end(), loop).result(PATIENCE_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_SECONDS)
        loop.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: _Way) -> None:
    while data := await reader.read(_CHUNK):
        await way.take()
        way.carried += len(data)
        writer.write(data)
        await writer.drain()
    await way.take()
    writer.write_eof()


def _abort(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        connection: socket.socket = writer.get_extra_info("socket")
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        writer.transport.abort()
