"""Threads for what may block, which can be left in good time.

A task that is cancelled leaves its work behind on a thread. `end` waits for such work, and lets
nothing begin any more, so that what it uses can be closed after that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from rankwire.storage import StorageError

_T = TypeVar("_T")

MOST: Final = 8
"""For each of a few peers one serves and one stores, and some ask shortly."""


class Threads:
    """A pool of its own: what hangs in it holds up nobody else."""

    def __init__(self, most: int = MOST) -> None:
        """Prepare; so many threads at most come when they are needed."""
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="regions")
        self._running: set[asyncio.Future[Any]] = set()
        self._has_ended = False

    async def run(self, work: Callable[..., _T], *arguments: object) -> _T:
        """Do it on a thread, and give or raise what comes of it. StorageError after the end."""
        if self._has_ended:
            raise StorageError("the server is shutting down")
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._pool, lambda: work(*arguments))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        # What nobody waits for any more is of no interest, also when it fails.
        running.add_done_callback(_forget)
        return await asyncio.shield(running)

    async def end(self, seconds: float) -> None:
        """Begin nothing more, and wait so long for what runs."""
        self._has_ended = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._running:
            await asyncio.wait(set(self._running), timeout=seconds)


def _forget(done: asyncio.Future[Any]) -> None:
    if not done.cancelled():
        done.exception()
