"""Reads what the other nodes have published.

The reader hands on what it finds, in the order of the stream, and makes no promise: entries may be
missing, come again or be nonsense. An empty list means that something may have been missed, so that
the follower has a look at PostgreSQL.
"""

from __future__ import annotations

import time
from contextlib import suppress
from queue import Full, Queue
from typing import Any, Final, NamedTuple

import structlog

from rankwire.sync.link import TICK_SECONDS, Link
from rankwire.sync.names import journal_stream
from rankwire.sync.publisher import STREAM_BATCH_BYTES
from rankwire.sync.urls import FAILURES, Address, Client, connect

LARGEST_NUMBER: Final = 2**63 - 1
"""Of an origin, and of a batch."""

# Entries read together.
_TOGETHER: Final = 64
# Lists of entries that wait for the follower: 16 MiB at the very most.
_MOST_WAITING: Final = 4
# Between two looks at whether an idle stream still goes on from where we are.
_LOOK_SECONDS: Final = 1.0
_BEGINNING: Final = (0, 0)

_log = structlog.get_logger(__name__)

_Id = tuple[int, int]


class Entry(NamedTuple):
    """A batch that was published."""

    origin: int
    number: int
    batch: bytes | None
    """None when it was too large for the stream."""


class Reader(Link):
    """The thread that reads the stream."""

    def __init__(self, address: Address, cluster: str) -> None:
        """Prepare; `start` begins to read, from where `note` found the stream's end."""
        super().__init__("reader", address)
        self._stream = journal_stream(cluster)
        self._position: _Id | None = None
        self._looked = 0.0
        self.entries: Queue[list[Entry]] = Queue(_MOST_WAITING)
        """What was read. An empty list: something may have been missed."""
        self.foreign = 0
        """Entries that are none of ours."""

    def note(self) -> None:
        """Remember where the stream ends now, if Redis can tell. Before the storage is read."""
        # Without it, reading begins at the end that the first connection finds.
        with suppress(*FAILURES), connect(self._address) as client:
            self._position = self._end(client)

    def _work(self, client: Client) -> None:
        self._look(client)
        self._connected()
        while not self.stopping.is_set():
            found: Any = client.xread(
                {self._stream: _text(self._position)}, _TOGETHER, int(TICK_SECONDS * 1000)
            )
            if found:
                self._hand_on(found[0][1])
            elif time.monotonic() - self._looked > _LOOK_SECONDS:
                self._look(client)

    def _look(self, client: Client) -> None:
        """Find out where to go on: a stream that ends before our position is another one."""
        end = self._end(client)
        if self._position is None:
            self._position = end
        elif end < self._position:
            self._position = _BEGINNING
        self._looked = time.monotonic()

    def _end(self, client: Client) -> _Id:
        last: Any = client.xrevrange(self._stream, count=1)
        return _id(last[0][0]) if last else _BEGINNING

    def _hand_on(self, found: list[tuple[bytes, dict[bytes, bytes] | None]]) -> None:
        entries = [entry for _, fields in found if (entry := self._entry(fields)) is not None]
        while entries and not self.stopping.is_set():
            with suppress(Full):
                self.entries.put(entries, timeout=TICK_SECONDS)
                break
        self._position = _id(found[-1][0])

    def _entry(self, fields: dict[bytes, bytes] | None) -> Entry | None:
        try:
            return _decoded(fields or {})
        except ValueError:
            if not self.foreign:
                _log.warning("stream holds entries that are none of ours", stream=self._stream)
            self.foreign += 1
            return None

    def _changed(self) -> None:
        # A follower that has no room for it is busy, and looks at the storage before long anyway.
        with suppress(Full):
            self.entries.put_nowait([])


def _decoded(fields: dict[bytes, bytes]) -> Entry:
    """Check an entry. Raises ValueError if it is not one of ours."""
    if not {b"o", b"n"} <= fields.keys() <= {b"o", b"n", b"b"}:
        raise ValueError("other fields")
    batch = fields.get(b"b")
    if batch is not None and not 0 < len(batch) <= STREAM_BATCH_BYTES:
        raise ValueError("an empty batch, or one that is too large")
    return Entry(_number(fields[b"o"]), _number(fields[b"n"]), batch)


def _number(text: bytes) -> int:
    if not text.isdigit():
        raise ValueError("no number")
    # Python itself refuses thousands of digits.
    number = int(text)
    if not 0 < number <= LARGEST_NUMBER:
        raise ValueError("a number out of range")
    return number


def _id(text: bytes) -> _Id:
    ms, _, sequence = text.partition(b"-")
    return int(ms), int(sequence)


def _text(position: _Id | None) -> str:
    ms, sequence = position or _BEGINNING
    return f"{ms}-{sequence}"
