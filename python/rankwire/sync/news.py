"""Hears the news of the region: messages that may get lost, for whoever wants them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog
from redis.exceptions import TimeoutError as RedisTimeoutError

from rankwire.sync.link import TICK_SECONDS, Link
from rankwire.sync.names import news_channel
from rankwire.sync.publisher import NEWS_BYTES
from rankwire.sync.urls import Address, Client

# A channel that was silent for so long is asked whether it is still there, and after twice the
# time without an answer it is not.
_SILENCE_SECONDS: Final = 2.0

_log = structlog.get_logger(__name__)

Handler = Callable[[dict[str, Any]], None]
"""Takes a message: a map with a text under "k", which says what it is about."""


class _Kind(msgspec.Struct):
    """What every message has."""

    k: str


class Listener(Link):
    """The thread that listens."""

    def __init__(self, address: Address, cluster: str) -> None:
        """Prepare; handlers come before `start`."""
        super().__init__("news", address)
        self._channel = news_channel(cluster)
        self._handlers: list[Handler] = []
        self.heard = 0
        self.foreign = 0
        """Messages that are none of ours, or that a handler could not take."""

    def listen(self, handler: Handler) -> None:
        """Hand every message to this one too, this node's own included.

        It is called on this thread and has to be quick.
        """
        self._handlers.append(handler)

    def _work(self, client: Client) -> None:
        with client.pubsub() as pubsub:  # type: ignore[no-untyped-call]
            pubsub.subscribe(self._channel)
            heard, asked = time.monotonic(), False
            while not self.stopping.is_set():
                message = pubsub.get_message(timeout=TICK_SECONDS)
                now = time.monotonic()
                if message is not None:
                    heard, asked = now, False
                    self._take(message)
                elif now - heard > 2 * _SILENCE_SECONDS:
                    raise RedisTimeoutError("the news are silent")
                elif now - heard > _SILENCE_SECONDS and not asked:
                    asked = True
                    pubsub.ping()

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            self._connected()
        elif message["type"] == "message":
            self._hand_on(message["data"])

    def _hand_on(self, content: bytes) -> None:
        try:
            message = _decoded(content)
        except (ValueError, RecursionError) as error:
            self._ignore(error)
            return
        self.heard += 1
        for handler in self._handlers:
            try:
                handler(message)
            except Exception as error:  # noqa: BLE001  # no message ends the thread
                self._ignore(error)

    def _ignore(self, error: Exception) -> None:
        if not self.foreign:
            _log.warning("news that nobody understands", reason=type(error).__name__)
        self.foreign += 1


def _decoded(content: bytes) -> dict[str, Any]:
    """Check a message. Raises ValueError or RecursionError if it is not one of ours."""
    if len(content) > NEWS_BYTES:
        raise ValueError("too long")
    msgspec.msgpack.decode(content, type=_Kind)
    return msgspec.msgpack.decode(content, type=dict[str, Any])
