"""A node's place in its region: what the server sees of this package."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from rankwire.sync.follower import Follower, Journal
from rankwire.sync.link import Link
from rankwire.sync.news import Handler, Listener
from rankwire.sync.publisher import Publisher
from rankwire.sync.stream import Reader
from rankwire.sync.urls import parse

if TYPE_CHECKING:
    from rankwire import _core, settings

FIGURES: Final = (
    "redis_up",
    "level",
    "lag_seconds",
    "stream_batches_total",
    "storage_batches_total",
    "bytes_total",
    "gaps_total",
    "unknown_total",
    "foreign_total",
    "published_total",
    "pointers_total",
    "publish_dropped_total",
    "publish_queue",
    "news_sent_total",
    "news_dropped_total",
    "news_heard_total",
)
"""Keys of `Region.stats`; those that end in _total only grow."""

# The threads have this long to end. One that waits for a storage that hangs does not end in time:
# it is left behind, and touches nothing any more when the storage lets go of it.
_STOP_SECONDS: Final = 1.0


class RegionStorage(Journal, Protocol):
    """What is needed of the storage."""

    @property
    def cluster(self) -> str:
        """What the database is called, for names in Redis."""
        ...


class Region:
    """Follows the other nodes and tells them of this one.

    Made before the storage is recovered, so that the stream is read from before that. Redis may be
    away at any time. A wrong URL raises ValueError.
    """

    def __init__(self, redis: settings.Redis, storage: RegionStorage) -> None:
        """Note where the stream is; `start` begins the work."""
        self._storage = storage
        self._engine: _core.Engine | None = None
        self._watchers: list[Callable[[], None]] = []
        self._follower: Follower | None = None
        self._reader: Reader | None = None
        self._publisher: Publisher | None = None
        self._listener: Listener | None = None
        if redis.url:
            address = parse(redis.url)
            self._reader = Reader(address, storage.cluster)
            self._publisher = Publisher(address, storage.cluster, redis.stream_batches)
            self._listener = Listener(address, storage.cluster)
            self._reader.note()

    def start(self, engine: _core.Engine) -> None:
        """Begin to follow, with the engine that was recovered, and to publish and listen."""
        self._engine = engine
        self._follower = Follower(engine, self._storage, self._reader)
        self._follower.on_news = self._call_watchers
        if self._publisher is not None:
            self._publisher.origin = engine.origin
        for part in self._parts():
            part.start()

    def wait_level(self, seconds: float) -> bool:
        """Wait until the engine has been level once, and tell whether it has."""
        return self._follower is not None and self._follower.is_level.wait(seconds)

    def stop(self) -> None:
        """End all threads, after what is queued for the others. Takes a second at most."""
        parts = self._parts()
        for part in parts:
            part.stop()
        deadline = time.monotonic() + _STOP_SECONDS
        for part in parts:
            part.join(deadline - time.monotonic())

    def publish(self, number: int, batch: bytes) -> None:
        """Tell the others of a batch that is committed. Never waits."""
        if self._publisher is not None:
            self._publisher.offer(number, batch)
        self._call_watchers()

    def spread(self, origin: int, number: int, batch: bytes) -> None:
        """Tell all nodes, this one too, of a batch that came from another region. Never waits."""
        if self._publisher is not None:
            self._publisher.offer(number, batch, origin)

    def watch(self, on_news: Callable[[], None]) -> None:
        """Call this whenever the engine has taken something in, on any thread. It may not block."""
        self._watchers.append(on_news)

    def number_of(self, origin: int) -> int:
        """Give the last batch of an origin that the engine is known to have; 0 for none."""
        if self._engine is None or self._follower is None:
            return 0
        if origin == self._engine.origin:
            return self._engine.last()
        return self._follower.number_of(origin)

    def vector(self) -> dict[int, int]:
        """Give the last batch of every origin that the engine is known to have.

        All of it is in the journal, and own writes that were answered are in. Never waits.
        """
        if self._engine is None or self._follower is None:
            return {}
        vector = self._follower.vector()
        if last := self._engine.last():
            vector[self._engine.origin] = last
        return vector

    def shown(self) -> dict[int, int]:
        """Give the last batch of every origin that reads may have been answered from by now.

        Unlike `vector` it is never behind what the engine shows. Waits while the engine takes
        something in, some milliseconds at most: for threads.
        """
        return {} if self._engine is None else self._engine.vector()

    def tell(self, message: bytes) -> None:
        """Send news to every node: a msgpack map with a text under "k". Never waits."""
        if self._publisher is not None:
            self._publisher.tell(message)

    def listen(self, handler: Handler) -> None:
        """Hand all news to this handler, on a thread. Call before `start`."""
        if self._listener is not None:
            self._listener.listen(handler)

    @property
    def origin(self) -> int:
        """Under which id this node writes; 0 before `start`."""
        return 0 if self._engine is None else self._engine.origin

    @property
    def cluster(self) -> str:
        """Which region this is."""
        return self._storage.cluster

    @property
    def trouble(self) -> str | None:
        """Why the storage cannot be followed; None when all is well."""
        return None if self._follower is None else self._follower.trouble

    @property
    def lag_seconds(self) -> float:
        """Time since the engine was known to have all that the journal had."""
        return math.inf if self._follower is None else self._follower.lag_seconds

    @property
    def degraded(self) -> list[str]:
        """What is not as it should be, for people; empty when all is well."""
        reasons = []
        if self.trouble is not None:
            reasons.append(f"other nodes cannot be followed: {self.trouble}")
        links = (self._reader, self._publisher, self._listener)
        trouble = [link.trouble for link in links if link is not None and link.trouble is not None]
        if trouble:
            reasons.append(f"Redis cannot be used, nodes poll PostgreSQL: {trouble[0]}")
        return reasons

    def stats(self) -> dict[str, float]:
        """Give all figures, for metrics."""
        figures = dict.fromkeys(FIGURES, 0.0) | {"redis_up": math.nan}
        if (follower := self._follower) is not None:
            figures |= {
                "level": float(follower.is_level.is_set()),
                "lag_seconds": follower.lag_seconds,
                "stream_batches_total": follower.from_stream,
                "storage_batches_total": follower.from_storage,
                "bytes_total": follower.bytes,
                "gaps_total": follower.gaps,
                "unknown_total": follower.unknown,
            }
        if self._reader is not None and self._publisher is not None and self._listener is not None:
            figures |= {
                "redis_up": float(self._reader.up and self._publisher.up and self._listener.up),
                "foreign_total": self._reader.foreign + self._listener.foreign,
                "published_total": self._publisher.published,
                "pointers_total": self._publisher.pointers,
                "publish_dropped_total": self._publisher.dropped,
                "publish_queue": self._publisher.queued,
                "news_sent_total": self._publisher.news_sent,
                "news_dropped_total": self._publisher.news_dropped,
                "news_heard_total": self._listener.heard,
            }
        return figures

    def _call_watchers(self) -> None:
        for on_news in self._watchers:
            on_news()

    def _parts(self) -> list[Link | Follower]:
        parts = (self._publisher, self._listener, self._reader, self._follower)
        return [part for part in parts if part is not None]
