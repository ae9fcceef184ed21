"""Watches the top of a board over the live listener.

Promises: the listener's callbacks see every view that arrives, in order, on the running loop. A
lost connection is reported and made again for as long as the watcher runs; the view that comes
first after it replaces the old one. A refusal that waiting cannot cure raises :class:`WatchError`.

Only this module knows the Centrifuge client. Its event handlers never raise: an exception in one
would end that client silently.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from centrifuge import (  # type: ignore[import-untyped]
    Client,
    ClientEventHandler,
    SubscriptionEventHandler,
)

from rankwire.cli._ranking import View

if TYPE_CHECKING:
    from centrifuge import (
        ConnectingContext,
        DisconnectedContext,
        ErrorContext,
        PublicationContext,
        UnsubscribedContext,
    )

FIRST_VIEW_SECONDS = 5.0
"""How long to wait for the first view before saying that nobody answers."""

LONGEST_RECONNECT_SECONDS = 5.0

_TRANSPORT_CODE = 1
"""Code of the connecting event after a lost connection; 0 is the first attempt."""


class WatchError(Exception):
    """The board cannot be watched."""


class Audience(Protocol):
    """Who a watcher tells."""

    def on_view(self, view: View, previous: View | None) -> None:
        """Take a view, and the one before it."""

    def on_status(self, words: str) -> None:
        """Take a sentence about the connection."""


class Watcher:
    """One subscription to the first ``size`` entries of a board."""

    def __init__(
        self, live_url: str, board: str, size: int, audience: Audience, key: str | None = None
    ) -> None:
        """Prepare; nothing connects before :meth:`run`. ``key`` is an API key or a token."""
        self._live_url = live_url
        self._board = board
        self._key = key
        self._channel = f"board:{board}:top:{size}"
        self._audience = audience
        loop = asyncio.get_running_loop()
        self._first: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[Exception] = loop.create_future()
        self._last_error = "no view arrived"
        self.view: View | None = None
        """The newest view."""
        self.updates = 0
        """Views that arrived."""

    async def run(self) -> None:
        """Watch until cancelled.

        Raises:
            WatchError: if the server refuses, or no view arrives in time at the start.

        """
        # Like the HTTP client of these commands, this one ignores proxies of the environment.
        client = Client(
            self._live_url,
            events=_ClientEvents(self),
            name="rankwire-cli",
            token=self._key or "",
            max_reconnect_delay=LONGEST_RECONNECT_SECONDS,
            proxy=None,
        )
        subscription = client.new_subscription(self._channel, events=_SubscriptionEvents(self))
        try:
            await client.connect()
            await subscription.subscribe()
            await self.first_view()
            raise await self._ended
        finally:
            await client.disconnect()

    async def first_view(self) -> None:
        """Wait until a view has arrived.

        Raises:
            WatchError: if the server refuses, or no view arrives in time.

        """
        await asyncio.wait(
            (self._first, self._ended),
            timeout=FIRST_VIEW_SECONDS,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if self._ended.done():
            raise self._ended.result()
        if not self._first.done():
            raise WatchError(f"nothing to watch at {self._live_url}: {self._last_error}")

    def publish(self, data: Any) -> None:
        """Take a publication of the channel."""
        try:
            # The channel says which board it is.
            view = msgspec.convert({"board": self._board, **data}, View)
        except (msgspec.ValidationError, TypeError) as error:
            self.end(f"{self._live_url} sent something else than a view: {error}")
            return
        previous, self.view = self.view, view
        self.updates += 1
        if not self._first.done():
            self._first.set_result(None)
        try:
            self._audience.on_view(view, previous)
        except Exception as error:  # noqa: BLE001 - run() raises it; here it would get lost
            self._finish(error)

    def reconnect(self, code: int, reason: str) -> None:
        """Take note of a connection that is being made."""
        if code >= _TRANSPORT_CODE:
            self._audience.on_status(f"connection lost ({reason}); reconnecting")

    def note(self, error: Exception) -> None:
        """Remember what went wrong while the client keeps trying."""
        self._last_error = str(error) or type(error).__name__

    def connected(self) -> None:
        """Take note of a connection."""
        if self.view is not None:
            self._audience.on_status("connected again")

    def end(self, reason: str) -> None:
        """Take note of why trying again is useless."""
        self._finish(WatchError(reason))

    def _finish(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_result(error)


class _ClientEvents(ClientEventHandler):  # type: ignore[misc]
    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    async def on_connecting(self, ctx: ConnectingContext) -> None:
        self._watcher.reconnect(ctx.code, ctx.reason)

    async def on_connected(self, _ctx: object) -> None:
        self._watcher.connected()

    async def on_disconnected(self, ctx: DisconnectedContext) -> None:
        # Also our own disconnect ends here, when nobody waits for the reason any more.
        self._watcher.end(f"the server ended the connection: {ctx.reason} (code {ctx.code})")

    async def on_error(self, ctx: ErrorContext) -> None:
        self._watcher.note(ctx.error)


class _SubscriptionEvents(SubscriptionEventHandler):  # type: ignore[misc]
    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    async def on_publication(self, ctx: PublicationContext) -> None:
        self._watcher.publish(ctx.pub.data)

    async def on_unsubscribed(self, ctx: UnsubscribedContext) -> None:
        self._watcher.end(f"the server refuses to show this board: {ctx.reason} (code {ctx.code})")

    async def on_error(self, ctx: ErrorContext) -> None:
        self._watcher.note(ctx.error)
