"""The door: what listens from the first moment, before there is anything to serve.

A server with many boards takes seconds to recover. Meanwhile it is alive but not ready, and says
so instead of refusing connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from rankwire import _core
from rankwire.api.health import HEALTH_JSON, STORAGE_CHECK
from rankwire.model_regions import HealthCheck, NodeHealth

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import ASGIApp, Receive, Scope, Send

_WHY: Final = "the server is starting: it recovers its boards"
_NOT_YET: Final = HealthCheck("fail", "datastore", _WHY)
_STARTING: Final = (
    b'{"type":"urn:rankwire:problem:unavailable","title":"Service unavailable","status":503,'
    b'"detail":"%s"}' % _WHY.encode()
)
_OTHERWISE: Final = (_STARTING, b"application/problem+json")


class Door:
    """An ASGI app that answers for itself until it is opened."""

    def __init__(self, region: str = "") -> None:
        """Begin closed; `region` is what `GET /health` calls the node's, if it is in one."""
        health = msgspec.json.encode(
            NodeHealth("fail", _core.__version__, region, {STORAGE_CHECK: [_NOT_YET]})
        )
        self._answers = {
            "/healthz": (b'{"status":"ok"}', b"application/json"),
            "/health": (health, HEALTH_JSON.encode()),
        }
        self._app: ASGIApp = self._starting

    def open(self, app: ASGIApp) -> None:
        """Serve `app` from now on."""
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass on a request; returns the inner awaitable itself, which saves a coroutine."""
        return self._app(scope, receive, send)

    async def _starting(self, scope: Scope, _receive: Receive, send: Send) -> None:
        alive = scope["path"] == "/healthz"
        body, content_type = self._answers.get(scope["path"], _OTHERWISE)
        headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
        if not alive:
            headers.append((b"retry-after", b"1"))
        status = 200 if alive else 503
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
