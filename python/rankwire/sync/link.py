"""A thread that uses Redis and comes back by itself when Redis does.

After any failure the client is closed and a new one made, after a pause that grows to two seconds.
A new client finds everything out again: where a host name points to, which node a sentinel calls
the master, who has which part of a cluster. Nothing that happens here ends the thread.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Final

import structlog

from rankwire.sync.urls import FAILURES, Address, Client, connect

TICK_SECONDS: Final = 0.25
"""Longest wait of a thread before it looks whether it has to stop."""

# Between two attempts to connect.
_SHORTEST_SECONDS: Final = 0.1
_LONGEST_SECONDS: Final = 2.0

_log = structlog.get_logger(__name__)


class Link(ABC):
    """One connection, or a few of one client, and the thread that owns them."""

    def __init__(self, name: str, address: Address) -> None:
        """Prepare; `start` begins to connect."""
        self._name = name
        self._address = address
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._since: float | None = None
        self.stopping = threading.Event()
        self.trouble: str | None = None
        """Why Redis cannot be used; None before the first attempt and when all is well."""

    @property
    def up(self) -> bool:
        """Whether Redis answers."""
        return self._since is not None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; `join` waits for it."""
        self.stopping.set()

    def join(self, seconds: float) -> bool:
        """Wait for the thread's end, and tell whether it came. May be called without a start."""
        if self._thread.ident is not None:
            self._thread.join(max(seconds, 0.0))
        return not self._thread.is_alive()

    @abstractmethod
    def _work(self, client: Client) -> None:
        """Use the client until it fails or the thread has to stop.

        Call `_connected` as soon as Redis has answered.
        """

    def _changed(self) -> None:  # noqa: B027  # most have nothing to do then
        """Redis has come or gone."""

    def _connected(self) -> None:
        self.trouble = None
        self._since = time.monotonic()
        _log.info("redis answers", thread=self._name)
        self._changed()

    def _run(self) -> None:
        pause = _SHORTEST_SECONDS
        while not self.stopping.is_set():
            lasted = 0.0
            try:
                with connect(self._address) as client:
                    self._work(client)
            except Exception as error:  # noqa: BLE001  # whatever it is, the thread goes on
                lasted = self._lost(error)
            # One that answers and fails right afterwards has not come back.
            pause = _SHORTEST_SECONDS if lasted > _LONGEST_SECONDS else pause
            self.stopping.wait(pause)
            pause = min(2 * pause, _LONGEST_SECONDS)

    def _lost(self, error: Exception) -> float:
        """Take note of a failure. Returns for how many seconds Redis had answered."""
        first = self.up or self.trouble is None
        lasted = time.monotonic() - self._since if self._since is not None else 0.0
        self.trouble = self._address.explain(error)
        self._since = None
        if self.stopping.is_set():
            return lasted
        if first:
            # Only what the libraries are expected to raise goes without a trace.
            expected = isinstance(error, FAILURES)
            with suppress(Exception):
                _log.warning(
                    "redis lost", thread=self._name, reason=self.trouble, exc_info=not expected
                )
        self._changed()
        return lasted
