"""Tells the other nodes: every batch of this one or brought by it, and news.

What does not fit, or comes while Redis is away, is dropped and counted. Nobody waits for it:
the others find the gap in what they read and fill it from PostgreSQL. News may get lost anyway.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Final

from rankwire.sync.link import Link
from rankwire.sync.names import journal_stream, news_channel
from rankwire.sync.urls import Address, Client

STREAM_BATCH_BYTES: Final = 64 * 1024
"""Larger batches go without their bytes; the others read them from PostgreSQL."""
NEWS_BYTES: Final = 64 * 1024
"""Larger news are dropped."""

# What waits at most.
_MOST_BATCHES: Final = 1024
_MOST_BATCH_BYTES: Final = 8 * 1024**2
_MOST_NEWS: Final = 1024
_MOST_NEWS_BYTES: Final = 1024**2
# Commands sent together.
_TOGETHER: Final = 128
# A publisher without work tries this often whether Redis is still there.
_IDLE_SECONDS: Final = 1.0

_Batch = tuple[int, int, bytes | None]
"""Origin, number, bytes."""


class Publisher(Link):
    """A thread, and a bounded queue in front of it."""

    def __init__(self, address: Address, cluster: str, keep: int) -> None:
        """Prepare; the stream keeps about `keep` batches."""
        super().__init__("publisher", address)
        self._stream = journal_stream(cluster)
        self._channel = news_channel(cluster)
        self._keep = keep
        self._queued = threading.Condition()
        self._batches: deque[_Batch] = deque()
        self._batch_bytes = 0
        self._news: deque[bytes] = deque()
        self._news_bytes = 0
        self.origin = 0
        """Whose batches these are unless it is said; set before the first one."""
        self.published = 0
        self.pointers = 0
        """Published ones that went without their bytes."""
        self.dropped = 0
        """Batches that are not known to have reached Redis."""
        self.news_sent = 0
        self.news_dropped = 0

    @property
    def queued(self) -> int:
        """Batches and messages that wait."""
        return len(self._batches) + len(self._news)

    def offer(self, number: int, batch: bytes, origin: int | None = None) -> None:
        """Publish a batch soon, or drop it. Never waits for Redis."""
        content = batch if len(batch) <= STREAM_BATCH_BYTES else None
        size = len(content or b"")
        with self._queued:
            full = len(self._batches) >= _MOST_BATCHES
            if self.trouble is not None or full or self._batch_bytes + size > _MOST_BATCH_BYTES:
                self.dropped += 1
                return
            self._batches.append((origin or self.origin, number, content))
            self._batch_bytes += size
            self._queued.notify()

    def tell(self, message: bytes) -> None:
        """Send a message to every node soon, or drop it. Never waits for Redis."""
        size = len(message)
        with self._queued:
            full = len(self._news) >= _MOST_NEWS or self._news_bytes + size > _MOST_NEWS_BYTES
            if self.trouble is not None or full or size > NEWS_BYTES:
                self.news_dropped += 1
                return
            self._news.append(message)
            self._news_bytes += size
            self._queued.notify()

    def stop(self) -> None:
        """Ask the thread to end after what is queued."""
        super().stop()
        with self._queued:
            self._queued.notify()

    def _work(self, client: Client) -> None:
        self._try_out(client)
        self._connected()
        while True:
            batches, news = self._take()
            if batches:
                self._publish(client, batches)
            if news:
                self._send(client, news)
            if batches or news:
                continue
            if self.stopping.is_set():
                return
            self._try_out(client)

    def _try_out(self, client: Client) -> None:
        """Ask whoever has the stream, and fail if what is there is no stream."""
        client.xlen(self._stream)

    def _take(self) -> tuple[list[_Batch], list[bytes]]:
        with self._queued:
            if not self._batches and not self._news and not self.stopping.is_set():
                self._queued.wait(_IDLE_SECONDS)
            batches = [self._batches.popleft() for _ in range(min(_TOGETHER, len(self._batches)))]
            news = [self._news.popleft() for _ in range(min(_TOGETHER, len(self._news)))]
            self._batch_bytes -= sum(len(content or b"") for *_, content in batches)
            self._news_bytes -= sum(map(len, news))
        return batches, news

    def _publish(self, client: Client, batches: list[_Batch]) -> None:
        arrived = 0
        try:
            pipeline = client.pipeline(transaction=False)
            for origin, number, content in batches:
                fields: dict[Any, Any] = {"o": origin, "n": number}
                if content is not None:
                    fields["b"] = content
                pipeline.xadd(self._stream, fields, maxlen=self._keep, approximate=True)
            answers = pipeline.execute(raise_on_error=False)
            refused = [answer for answer in answers if isinstance(answer, Exception)]
            arrived = len(answers) - len(refused)
            if refused:
                raise refused[0]
            self.pointers += sum(content is None for *_, content in batches)
        finally:
            self.published += arrived
            self.dropped += len(batches) - arrived

    def _send(self, client: Client, news: list[bytes]) -> None:
        sent = 0
        try:
            for message in news:
                client.publish(self._channel, message)
                sent += 1
        finally:
            self.news_sent += sent
            self.news_dropped += len(news) - sent

    def _changed(self) -> None:
        """Without Redis, forget what waits: it will be old news when Redis is back."""
        if self.up:
            return
        with self._queued:
            self.dropped += len(self._batches)
            self.news_dropped += len(self._news)
            self._batches.clear()
            self._news.clear()
            self._batch_bytes = self._news_bytes = 0
