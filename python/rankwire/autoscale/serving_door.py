"""The listener of the metrics server: TLS, and what a client may cost.

Promises that a new certificate, key or authority holds for the next connection, without a moment
at which nobody listens; that broken files change nothing; and bounds: `MOST_STRANGERS` connections
without a verified certificate, counted from the moment at which they are accepted, and `MOST_KNOWN`
with one, `HANDSHAKE_SECONDS` for TLS, `FIRST_SECONDS` until the first request was read. Strangers
take no place from the others: one more ends the oldest of them, so those who say nothing keep
nobody out who speaks at once. May listen, and read the files of the certificate.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web

from rankwire.autoscale.files import WatchedFile
from rankwire.autoscale.security import Roots, Trust, plain_pem
from rankwire.autoscale.security_config import TrustError, TrustSource, checked_roots

MOST_STRANGERS: Final = 128
"""Connections whose client showed no certificate, or not yet: also probes, and handshakes."""
MOST_KNOWN: Final = 128
"""Connections whose client showed a good certificate: the API servers of a cluster."""
HANDSHAKE_SECONDS: Final = 5.0
FIRST_SECONDS: Final = 10.0
IDLE_SECONDS: Final = 90.0
"""A connection may rest so long between requests, which come every 15 s."""

_LOOK_SECONDS: Final = 1.0
_BACKLOG: Final = 64
_END_SECONDS: Final = 3.0

_log = structlog.get_logger(__name__)

Handler = Callable[[web.BaseRequest, Trust, Roots], Awaitable[web.Response]]
"""Answers a request, given whom to trust now."""


class Certificate:
    """The server's own certificate and key, in PEM files."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Remember the files."""
        self._files = (WatchedFile(certificate), WatchedFile(key))

    def has_changed(self) -> bool:
        """Tell whether either file is another than at the last `load`."""
        return any(file.has_changed() for file in self._files)

    def load(self, context: ssl.SSLContext) -> None:
        """Put them into a context. Raises OSError, or ssl.SSLError if they do not fit."""
        certificate, key = self._files
        certificate.read()
        key.read()
        context.load_cert_chain(certificate.path, key.path)


class Door:
    """Listens, and hands on each request with whom to trust."""

    def __init__(self, handler: Handler, certificate: Certificate, source: TrustSource) -> None:
        """Remember who answers; `open` begins."""
        self._trust = Trust()
        self._roots = Roots(frozenset(), frozenset())
        self._handler = handler
        self._certificate = certificate
        self._source = source
        self._web: web.Server | None = None
        self._server: asyncio.Server | None = None
        self._socket: socket.socket | None = None
        self._silent: set[asyncio.BaseProtocol] = set()
        self._strangers: list[asyncio.Transport] = []
        """In the order in which they came."""
        self._known: list[asyncio.Transport] = []
        self._shaking: set[asyncio.Task[None]] = set()
        """Connections whose handshake is under way."""
        self._trouble = ""

    async def open(self, host: str, port: int) -> int:
        """Begin to listen, and give the port. Raises TrustError, OSError or ssl.SSLError."""
        trust = await self._source.read()
        context = await asyncio.to_thread(self._context, trust)
        self._socket = await _bound(host, port)
        self._web = web.Server(self._handle, keepalive_timeout=IDLE_SECONDS, access_log=None)
        await self._listen(context, trust)
        return int(self._socket.getsockname()[1])

    async def run(self) -> None:
        """Look for new certificates and authorities until cancelled, then close."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._source.look_seconds
        try:
            while True:
                await asyncio.sleep(_LOOK_SECONDS)
                ask = loop.time() >= due
                if ask:
                    due = loop.time() + self._source.look_seconds
                await self._look(ask=ask)
        finally:
            await self._close()

    async def _look(self, *, ask: bool) -> None:
        try:
            trust = await self._source.read() if ask else self._trust
            if trust != self._trust or await asyncio.to_thread(self._certificate.has_changed):
                await self._listen(await asyncio.to_thread(self._context, trust), trust)
                _log.info("certificates are renewed")
            if ask:
                self._trouble = ""
        except (TrustError, OSError) as error:
            if self._trouble != str(error):
                _log.warning("certificates stay as they were", reason=str(error))
            self._trouble = str(error)

    def _context(self, trust: Trust) -> ssl.SSLContext:
        checked_roots(trust)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._certificate.load(context)
        # Probes have no certificate; whoever shows one has to show a good one.
        context.verify_mode = ssl.CERT_OPTIONAL
        authorities = trust.requestheader_ca + "\n" + trust.client_ca
        context.load_verify_locations(cadata=plain_pem(authorities))
        # Of a session that is taken up again nobody knows who verified its certificate.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
        return context

    async def _listen(self, context: ssl.SSLContext, trust: Trust) -> None:
        """Accept with this context from now on; both listeners share the queue of the socket."""
        assert self._socket is not None  # noqa: S101  # `open` made it
        before = self._server
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Gate(lambda transport: self._admit(transport, context)),
            sock=self._socket.dup(),
            backlog=_BACKLOG,
        )
        self._trust, self._roots = trust, checked_roots(trust)
        if before is not None:
            before.close()

    def _admit(self, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
        """Begin TLS, and end the oldest stranger if there is one too many."""
        assert self._web is not None  # noqa: S101  # `open` made it
        self._strangers = _still_open(self._strangers)
        if len(self._strangers) >= MOST_STRANGERS:
            self._strangers.pop(0).abort()
        self._strangers.append(transport)
        task = asyncio.create_task(self._shake(self._web, transport, context))
        self._shaking.add(task)
        task.add_done_callback(self._shaking.discard)

    async def _shake(
        self, served: web.Server, transport: asyncio.Transport, context: ssl.SSLContext
    ) -> None:
        loop, early = asyncio.get_running_loop(), _Early()
        try:
            secured = await loop.start_tls(
                transport, early, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except OSError:
            transport.abort()
            return
        if secured is None or early.has_ended or not self._has_place(transport, secured):
            return
        protocol = served()
        secured.set_protocol(protocol)
        self._silent.add(protocol)
        loop.call_later(FIRST_SECONDS, self._end_silent, protocol)
        protocol.connection_made(secured)
        if early.data:
            protocol.data_received(bytes(early.data))

    def _has_place(self, transport: asyncio.Transport, secured: asyncio.Transport) -> bool:
        """Tell whether a connection may stay now that its client is known, or end it."""
        if transport.is_closing():
            return False
        if not secured.get_extra_info("peercert"):
            return True
        self._strangers.remove(transport)
        self._known = _still_open(self._known)
        if len(self._known) >= MOST_KNOWN:
            transport.abort()
            return False
        self._known.append(transport)
        return True

    def _end_silent(self, protocol: asyncio.BaseProtocol) -> None:
        transport = getattr(protocol, "transport", None)
        if protocol in self._silent and transport is not None:
            transport.abort()
        self._silent.discard(protocol)

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        self._silent.discard(request.protocol)
        return await self._handler(request, self._trust, self._roots)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._web is not None:
            await self._web.shutdown(_END_SECONDS)
        if self._socket is not None:
            self._socket.close()


def _still_open(transports: list[asyncio.Transport]) -> list[asyncio.Transport]:
    return [transport for transport in transports if not transport.is_closing()]


class _Gate(asyncio.Protocol):
    """Shows a connection that was just accepted."""

    def __init__(self, admit: Callable[[asyncio.Transport], None]) -> None:
        self._admit = admit

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Show it."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # of a stream
        self._admit(transport)


class _Early(asyncio.Protocol):
    """Keeps what comes with the end of a handshake, until somebody reads it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.has_ended = False

    def data_received(self, data: bytes) -> None:
        """Keep it; the transport reads no more than a buffer before its turn."""
        self.data += data

    def connection_lost(self, error: Exception | None) -> None:
        """Note it."""
        del error
        self.has_ended = True


async def _bound(host: str, port: int) -> socket.socket:
    """Give a socket at an address, or raise OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound
