"""The door: what listens from the first moment, before there is anything to serve.

A server with many boards takes seconds to recover. Meanwhile it is alive but not ready, and says
so instead of refusing connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import ASGIApp, Receive, Scope, Send

_STARTING: Final = (
    b'{"type":"urn:rankwire:problem:unavailable","title":"Service unavailable","status":503,'
    b'"detail":"the server is starting: it recovers its boards"}'
)
_ANSWERS: Final = {
    "/healthz": (b'{"status":"ok"}', b"application/json"),
    "/health": (
        b'{"status":"fail","output":"the server is starting: it recovers its boards"}',
        b"application/health+json",
    ),
}
_OTHERWISE: Final = (_STARTING, b"application/problem+json")


class Door:
    """An ASGI app that answers for itself until it is opened."""

    def __init__(self) -> None:
        """Begin closed."""
        self._app: ASGIApp = _starting

    def open(self, app: ASGIApp) -> None:
        """Serve `app` from now on."""
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass on a request; returns the inner awaitable itself, which saves a coroutine."""
        return self._app(scope, receive, send)


async def _starting(scope: Scope, _receive: Receive, send: Send) -> None:
    alive = scope["path"] == "/healthz"
    body, content_type = _ANSWERS.get(scope["path"], _OTHERWISE)
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    if not alive:
        headers.append((b"retry-after", b"1"))
    status = 200 if alive else 503
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
