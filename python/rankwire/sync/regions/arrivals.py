"""Lets tasks wait for what an engine takes in, without asking all the time.

Any thread says that something is new; whoever waits on the loop looks again. Nothing is called
while nobody waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

# Looked at again without news: what is waited for may come from elsewhere.
_LOOK_SECONDS: Final = 0.25


class Arrivals:
    """One for each engine. Made on the loop of those who wait."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.Future[None] | None = None

    def notify(self) -> None:
        """Say that something is new. For any thread; never blocks."""
        if self._next is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    async def until(self, is_so: Callable[[], bool], seconds: float) -> bool:
        """Wait until it is so, looking after all news. Tells whether it is."""
        deadline = monotonic() + seconds
        while True:
            # First, so that no news between the look and the wait is missed.
            news = self._listen()
            if is_so():
                return True
            rest = deadline - monotonic()
            if rest <= 0:
                return False
            await asyncio.wait([news], timeout=min(rest, _LOOK_SECONDS))

    def _listen(self) -> asyncio.Future[None]:
        if self._next is None:
            self._next = self._loop.create_future()
        return self._next

    def _wake(self) -> None:
        if self._next is not None:
            self._next.set_result(None)
            self._next = None
