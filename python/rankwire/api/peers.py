"""What regions ask of each other over HTTP: one door for all of it.

Nothing is read of a request before it has shown the regions' secret. Bodies are msgpack, deflated
where their content-encoding says so, and bounded before and after that. What is asked and answered
is the business of `rankwire.sync.regions`; these routes are no part of the public API.
"""

from __future__ import annotations

import asyncio
import hmac
import zlib
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Final

import msgspec

from rankwire.api.answers import Answer, send_answer, start
from rankwire.api.bodies import MSGPACK, read
from rankwire.api.problems import (
    MALFORMED,
    REGIONS_OFF,
    TOO_LARGE,
    UNAUTHORIZED,
    UNSUPPORTED,
    DisconnectedError,
    ProblemError,
    refuse,
)
from rankwire.sync.regions.wire import ANSWER_BYTES, REQUEST_BYTES, TooMuchError, inflate

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from rankwire.ops.metrics import Requests

Handler = Callable[[bytes], Awaitable[bytes]]


class PeerRoute(msgspec.Struct, frozen=True):
    """A thing that regions ask of each other."""

    handler: str
    limit: int = REQUEST_BYTES
    """Most bytes of a request, before and after it is inflated."""

    @property
    def name(self) -> str:
        """What it is called in the metrics."""
        return f"region_{self.handler}"

    @property
    def path(self) -> str:
        """Where it is."""
        return f"/v1/regions/{self.handler}"


PEER_ROUTES: Final = (
    PeerRoute("pull"),
    PeerRoute("await"),
    PeerRoute("promise"),
    PeerRoute("outline"),
    PeerRoute("states"),
    PeerRoute("repair", ANSWER_BYTES),
    PeerRoute("keys"),
    PeerRoute("profiles"),
)
"""All of them."""

_SCHEME: Final = b"bearer "
_PLAIN: Final = (b"content-type", MSGPACK.encode())
_OK: Final = start(200, _PLAIN)
_OK_DEFLATED: Final = start(200, _PLAIN, (b"content-encoding", b"deflate"))
# Smaller answers are not worth deflating.
_LEAST_DEFLATED_BYTES: Final = 1024
# From here on it takes so long that it is done on a thread.
_THREAD_BYTES: Final = 16 * 1024
_FASTEST: Final = 1


class PeerEndpoint:
    """Serves one of the routes, as an ASGI app behind it."""

    def __init__(
        self,
        route: PeerRoute,
        handlers: Mapping[str, Handler] | None,
        secret: str,
        requests: Requests,
    ) -> None:
        """Hand what comes to the route's handler; without handlers there are no regions."""
        self._route = route
        self._handlers = handlers
        self._secret = secret.encode()
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = perf_counter()
        try:
            answer = await self._answer(dict(scope["headers"]), receive)
        except DisconnectedError:
            return
        except Exception as error:  # noqa: BLE001  # whatever it is, the peer gets a problem
            answer = refuse(error, scope["raw_path"])
        await send_answer(send, answer)
        self._requests.count(answer[0]["status"], perf_counter() - started)

    async def _answer(self, headers: Mapping[bytes, bytes], receive: Receive) -> Answer:
        handler = (self._handlers or {}).get(self._route.handler)
        if handler is None:
            raise ProblemError(REGIONS_OFF, "this server is in no region")
        self._check(headers)
        body = await self._read(headers, receive)
        try:
            answered = await handler(body)
        except RecursionError as error:
            raise ProblemError(MALFORMED, "the body is nested too deeply") from error
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise
        except ValueError as error:
            raise ProblemError(MALFORMED, str(error)) from error
        if len(answered) < _LEAST_DEFLATED_BYTES:
            return _OK, answered
        return _OK_DEFLATED, await _maybe_on_thread(_deflate, answered)

    def _check(self, headers: Mapping[bytes, bytes]) -> None:
        """Refuse who does not show the secret; how long that takes tells nothing of it."""
        shown = headers.get(b"authorization", b"")
        is_bearer = shown[: len(_SCHEME)].lower() == _SCHEME
        is_right = hmac.compare_digest(shown[len(_SCHEME) :].strip(), self._secret)
        if not (is_bearer and is_right and self._secret):
            raise ProblemError(UNAUTHORIZED, "only the other regions may ask this")

    async def _read(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        limit = self._route.limit
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding not in {b"identity", b"deflate"}:
            raise ProblemError(UNSUPPORTED, "a body comes as it is or deflated")
        announced = headers.get(b"content-length", b"")
        length = int(announced) if announced.isdigit() else -1
        if length > limit:
            raise _too_large(limit)
        body = await read(receive, limit, length)
        if encoding == b"identity":
            return body
        return await _maybe_on_thread(lambda deflated: _inflate(deflated, limit), body)


async def _maybe_on_thread(work: Callable[[bytes], bytes], body: bytes) -> bytes:
    return work(body) if len(body) < _THREAD_BYTES else await asyncio.to_thread(work, body)


def _deflate(body: bytes) -> bytes:
    return zlib.compress(body, _FASTEST)


def _inflate(body: bytes, limit: int) -> bytes:
    try:
        return inflate(body, limit)
    except TooMuchError:
        raise _too_large(limit) from None
    except ValueError as error:
        raise ProblemError(MALFORMED, f"the body {error}") from error


def _too_large(limit: int) -> ProblemError:
    return ProblemError(TOO_LARGE, f"the body has more than {limit} bytes")
