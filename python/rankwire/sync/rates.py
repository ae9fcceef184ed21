"""Rates that nodes share: each tells the others what its callers spent, and debits what it is told.

Promises: a caller is limited at once by the node that it asks, and soon by all of them together:
what was spent is told every 200 ms. It is told once and may get lost; without Redis each node
limits by itself, as a single one does. No request waits for any of this.

Also for hub processes, which have an `Access` of their own and so spend by themselves.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Final

import msgspec

from rankwire import _core
from rankwire.sync.news import Listener
from rankwire.sync.publisher import Publisher
from rankwire.sync.urls import Address

# Between two rounds of telling.
_TELL_SECONDS: Final = 0.2
# Subjects of one message. With the longest names they are just below what a message may have.
_SUBJECTS: Final = 400
_KIND: Final = "rates"
_JOIN_SECONDS: Final = 1.0

_Amount = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class _News(msgspec.Struct):
    """A message: what was spent at the node `n` since its last one."""

    k: str
    n: int
    s: list[tuple[str, _Amount]]


class Rates:
    """A thread that tells, and what hears."""

    def __init__(self, access: _core.Access, tell: Callable[[bytes], object]) -> None:
        """Prepare; `tell` sends news to all, this one included, and neither waits nor fails."""
        self._access = access
        self.origin = secrets.randbits(63)
        """Whose messages are its own."""
        self._tell = tell
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._tell_forever, name="rates", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join()

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take any of the region's news. Raises ValueError if it should be ours and is broken."""
        if message.get("k") != _KIND:
            return
        news = msgspec.convert(message, type=_News)
        if news.n == self.origin:
            return
        for subject, amount in news.s:
            self._access.debit(subject, amount)

    def _tell_forever(self) -> None:
        while True:
            self._tell_all()
            if self._stopping.wait(_TELL_SECONDS):
                return

    def _tell_all(self) -> None:
        while spent := self._access.take_spent(_SUBJECTS):
            self._tell(msgspec.msgpack.encode(_News(_KIND, self.origin, spent)))
            if len(spent) < _SUBJECTS:
                return


@contextmanager
def sharing(access: _core.Access, address: Address, cluster: str) -> Iterator[None]:
    """Share the rates of a process that has no `Region`, over connections of its own."""
    publisher, listener = Publisher(address, cluster, keep=0), Listener(address, cluster)
    rates = Rates(access, publisher.tell)
    listener.listen(rates.hear)
    parts = (publisher, listener, rates)
    for part in parts:
        part.start()
    try:
        yield
    finally:
        for part in reversed(parts):
            part.stop()
        for link in (publisher, listener):
            link.join(_JOIN_SECONDS)
