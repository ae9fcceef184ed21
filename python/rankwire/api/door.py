"""The door: what listens from the first moment, before there is anything to serve.

A server with many boards takes seconds to recover. Meanwhile it is alive but not ready, and says
so instead of refusing connections. Metrics it has none yet but the time of its start, which anybody
may know: who scrapes it sees that it is not down.

While a node leaves, more and more answers end their connection, so that clients which keep one open
go elsewhere before it ends under them, and not all at once.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import msgspec

from rankwire import _core
from rankwire.api.health import HEALTH_JSON, STORAGE_CHECK
from rankwire.departure import Departure
from rankwire.model_regions import HealthCheck, NodeHealth
from rankwire.ops.metrics import of_a_start

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_WHY: Final = "the server is starting: it recovers its boards"
_NOT_YET: Final = HealthCheck("fail", "datastore", _WHY)
_STARTING: Final = (
    b'{"type":"urn:rankwire:problem:unavailable","title":"Service unavailable","status":503,'
    b'"detail":"%s"}' % _WHY.encode()
)
_CLOSE: Final = (b"connection", b"close")
_ALIVE: Final = frozenset({"/healthz", "/metrics"})
_OTHERWISE: Final = (_STARTING, b"application/problem+json")


class Door:
    """An ASGI app that answers for itself until it is opened."""

    def __init__(self, region: str = "", departure: Departure | None = None) -> None:
        """Begin closed; `region` is what `GET /health` calls the node's, if it is in one."""
        self._departure = departure or Departure()
        health = msgspec.json.encode(
            NodeHealth("fail", _core.__version__, region, {STORAGE_CHECK: [_NOT_YET]})
        )
        kind, page = of_a_start()
        self._answers = {
            "/healthz": (b'{"status":"ok"}', b"application/json"),
            "/metrics": (page, kind),
            "/health": (health, HEALTH_JSON.encode()),
        }
        self._app: ASGIApp = self._starting

    def open(self, app: ASGIApp) -> None:
        """Serve `app` from now on."""
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass on a request; returns the inner awaitable itself, which saves a coroutine."""
        if (share := self._departure.share) and random.random() < share:  # noqa: S311  # no secret
            send = _last(send)
        return self._app(scope, receive, send)

    async def _starting(self, scope: Scope, _receive: Receive, send: Send) -> None:
        alive = scope["path"] in _ALIVE
        body, content_type = self._answers.get(scope["path"], _OTHERWISE)
        headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
        if not alive:
            headers.append((b"retry-after", b"1"))
        status = 200 if alive else 503
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _last(send: Send) -> Send:
    """Send an answer that ends its connection; HTTP/2 leaves the header out, and goes on."""

    async def send_last(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], _CLOSE]}
        await send(message)

    return send_last
