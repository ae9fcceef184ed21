"""Members' profiles as requests see them: checked, cached, and forgotten when they change.

A profile is looked for in this process first, then in Redis where that is used, then in the
storage. Promises: who has written a profile reads it at once on the same node, while it is cached
there; other nodes read it when the news of it arrives, and without any when the caches of it end:
within `local.seconds`, and `SHARED_SECONDS` more if Redis was not told of it or a replica was
behind. A cache that fails is passed by; it is never the reason for a refusal.

`local.seconds` is `LOCAL_SECONDS`, unless caching is applied (`ops.caching`); then it is
`longest_seconds`: a day with SQLite, where nobody else writes, so that nothing old is ever read;
a minute with Redis, which brings the news and may lose it; and no more than ever with PostgreSQL
alone, where nobody tells. What is being read while it changes is not remembered, and neither is a
profile whose change failed or came for the second time.

Of two states of a profile the one with the larger version counts, so a slow reader cannot put an
old state over a new one. All of this is for one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, Final

import structlog

from rankwire.local_cache import LOCAL_SECONDS, Counts, LocalCache
from rankwire.storage.profiles import NONE, Content, Found, Stored
from rankwire.sync.names import profile_key
from rankwire.sync.urls import FAILURES

if TYPE_CHECKING:
    from rankwire.storage.profiles import Key, ProfileStore, Written
    from rankwire.sync.urls import AsyncClient

SHARED_SECONDS: Final = 60
"""How long a profile is remembered in Redis. So long may an old one be seen if a node dies between
a write and telling Redis of it, or if a replica was behind."""

SOLE_SECONDS: Final = 86_400.0
"""How long one may be remembered in the only process that writes."""

# What comes from another region is not what anybody here asks for: it stays for as long as somebody
# may still be reading the state before, and a region that takes over all profiles fills no Redis.
_FOREIGN_SECONDS: Final = 2

# Redis answers within this time or is passed by; after that it is left alone for the other.
_PATIENCE_SECONDS: Final = 0.25
_PAUSE_SECONDS: Final = 1.0
# Most changes that are remembered for Redis while it is away, and that it is told of together.
_OWED: Final = 10_000
_TOGETHER: Final = 100
# Members in one message to other nodes: of 128 bytes each they fit.
_TOLD_TOGETHER: Final = 256

# In Redis: a letter for the format, the version in hexadecimal digits, and the JSON.
_FORMAT: Final = b"1"
_VERSION_BYTES: Final = 16
_HEAD_BYTES: Final = len(_FORMAT) + _VERSION_BYTES
# Writes the newer of two states; other formats are written over.
_PUT_NEWER: Final = """
local old = redis.call('GETRANGE', KEYS[1], 0, 16)
if string.len(old) < 17 or string.sub(old, 1, 1) ~= '1' or old <= string.sub(ARGV[1], 1, 17) then
    redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
end
return 0
"""

_log = structlog.get_logger(__name__)


class Cost:
    """What it took to read profiles from the storage."""

    def __init__(self) -> None:
        self.reads = 0
        """Questions to the storage."""
        self.seconds = 0.0
        """Time until they were answered, that of waiting for a connection included."""


class SharedCache:
    """What all nodes remember together, in Redis. Never raises for Redis, and waits little for it.

    A write that Redis did not take is owed: this node reads nothing from Redis before it has told
    it, and tries to again and again. If it ends before that, other nodes may read what the write
    replaced for `SHARED_SECONDS` at most.
    """

    def __init__(self, client: AsyncClient, cluster: str) -> None:
        """Use a client of `sync.urls.connect_async`; it is closed with this."""
        self.counts = Counts()
        # The two kinds of client have these methods, but no type in common.
        self._client: Any = client
        self._cluster = cluster
        self._rest_until = 0.0
        self._owed: dict[str, tuple[Stored, int]] = {}
        self._payer: asyncio.Task[None] | None = None

    async def get_many(self, members: Sequence[str]) -> dict[str, Stored]:
        """Give what Redis has of these, also that there is none."""
        found: dict[str, Stored] = {}
        if self._is_resting:
            return found
        async with self._careful():
            await self._pay()
            values = await self._client.mget([self._key(member) for member in members])
            for member, value in zip(members, values, strict=True):
                if (stored := _read(value)) is not None:
                    found[member] = stored
        self.counts.count(len(members), len(found))
        return found

    async def fill(self, profiles: Mapping[str, Stored]) -> None:
        """Add what the storage has; what Redis has already is at least as new."""
        if self._is_resting:
            return
        async with self._careful():
            pipeline = self._client.pipeline(transaction=False)
            for member, stored in profiles.items():
                pipeline.set(self._key(member), _written(stored), ex=SHARED_SECONDS, nx=True)
            await pipeline.execute()

    async def put(self, states: Mapping[str, Stored], seconds: int = SHARED_SECONDS) -> None:
        """Write what has just become durable over what is older, for so long."""
        for member, stored in states.items():
            self._owe(member, stored, seconds)
        if self._is_resting:
            self._pay_later()
        else:
            async with self._careful():
                await self._pay()

    async def close(self) -> None:
        """Close the client."""
        if self._payer is not None:
            self._payer.cancel()
            await asyncio.wait([self._payer])
        await self._client.aclose()

    @property
    def _is_resting(self) -> bool:
        return monotonic() < self._rest_until

    def _key(self, member: str) -> str:
        return profile_key(self._cluster, member)

    @asynccontextmanager
    async def _careful(self) -> AsyncIterator[None]:
        """Leave Redis alone for a while if this fails or takes long."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                yield
        except FAILURES:  # a TimeoutError is one
            self._rest_until = monotonic() + _PAUSE_SECONDS
            self._pay_later()

    def _pay_later(self) -> None:
        """See to it that what is owed is paid, also if nobody asks for anything any more."""
        if self._owed and (self._payer is None or self._payer.done()):
            self._payer = asyncio.create_task(self._pay_again_and_again())

    async def _pay_again_and_again(self) -> None:
        while self._owed:
            await asyncio.sleep(_PAUSE_SECONDS)
            async with self._careful():
                await self._pay()

    def _owe(self, member: str, stored: Stored, seconds: int) -> None:
        new = (stored, seconds)
        old = self._owed.pop(member, new)
        self._owed[member] = max(new, old, key=lambda owed: owed[0].version)
        if len(self._owed) > _OWED:
            self._owed.pop(next(iter(self._owed)))
            _log.warning("profiles in Redis may be old", seconds=SHARED_SECONDS)

    async def _pay(self) -> None:
        """Tell Redis of all writes that it does not know of yet."""
        while self._owed:
            some = list(islice(self._owed.items(), _TOGETHER))
            pipeline = self._client.pipeline(transaction=False)
            for member, (stored, seconds) in some:
                pipeline.eval(_PUT_NEWER, 1, self._key(member), _written(stored), seconds)
            await pipeline.execute()
            for member, owed in some:
                if self._owed.get(member) is owed:
                    del self._owed[member]


class Profiles:
    """The profiles of all members."""

    def __init__(
        self,
        store: ProfileStore,
        most_bytes: int,
        shared: SharedCache | None = None,
        tell: Callable[[list[str]], object] | None = None,
    ) -> None:
        """Read and write `store`; `tell` lets other nodes know whose profiles have changed.

        `tell` is called on the event loop and must not block. The store and Redis are closed with
        this.
        """
        self.most_bytes = most_bytes
        """Largest profile, as JSON."""
        self.local = LocalCache()
        self.shared = shared
        self.cost = Cost()
        self._store = store
        self._tell = tell
        self._watch: Callable[[list[str]], object] | None = None
        # Of each read and write under way, the members that have not changed since it began.
        self._under_way: dict[object, set[str]] = {}
        self._writes: set[asyncio.Task[Written]] = set()

    def watch(self, see: Callable[[list[str]], object] | None) -> None:
        """Show each question's members, each once, to `see` from now on; to nobody with None."""
        self._watch = see

    async def get_many(self, members: Sequence[str]) -> Found:
        """Read the profiles of these members, as far as they have one. Raises StorageError."""
        wanted = list(dict.fromkeys(members))
        if self._watch is not None:
            self._watch(wanted)
        known = self.local.get_many(wanted)
        lag = None
        if missing := [member for member in wanted if member not in known]:
            with self._unchanged(missing) as unchanged:
                read, lag = await self._read(missing)
                self.local.put_many(
                    {member: read[member] for member in missing if member in unchanged}
                )
            known |= read
        return Found({member: stored for member, stored in known.items() if stored.body}, lag)

    async def put(self, member: str, content: Content, key: Key | None) -> Written:
        """Write a profile. Durable when it returns; raises as `ProfileStore.put`."""
        return await self._write(member, self._store.put(member, content, key))

    async def delete(self, member: str, key: Key | None) -> Written:
        """Forget a profile. Durable when it returns; raises as `ProfileStore.delete`."""
        return await self._write(member, self._store.delete(member, key))

    def forget(self, members: Iterable[str]) -> None:
        """Read these again when they are asked for: another node has changed them."""
        changed = list(members)
        self.local.forget(changed)
        self._spoil(changed)

    async def take_over(self, changed: Mapping[str, Stored]) -> None:
        """Tell all caches what is durable here now because it was written in another region."""
        self.forget(changed)
        if self.shared is not None:
            await self.shared.put(changed, _FOREIGN_SECONDS)
        if self._tell is not None:
            members = list(changed)
            for begin in range(0, len(members), _TOLD_TOGETHER):
                self._tell(members[begin : begin + _TOLD_TOGETHER])

    async def close(self) -> None:
        """Let go of the store and of Redis, after what is being written."""
        if self._writes:
            await asyncio.wait(self._writes)
        if self.shared is not None:
            await self.shared.close()
        await self._store.close()

    @contextmanager
    def _unchanged(self, members: Iterable[str]) -> Iterator[set[str]]:
        """Give a set of these that loses those which change meanwhile."""
        work, unchanged = object(), set(members)
        self._under_way[work] = unchanged
        try:
            yield unchanged
        finally:
            del self._under_way[work]

    def _spoil(self, changed: list[str]) -> None:
        """See to it that what was read of these before they changed is not remembered."""
        for unchanged in self._under_way.values():
            unchanged.difference_update(changed)

    async def _read(self, members: list[str]) -> tuple[dict[str, Stored], float | None]:
        """Read past the local cache."""
        shared = self.shared
        known = await shared.get_many(members) if shared else {}
        missing = [member for member in members if member not in known]
        if not missing:
            return known, None
        started = perf_counter()
        found = await self._store.get_many(missing)
        self.cost.seconds += perf_counter() - started
        self.cost.reads += 1
        read = {member: found.profiles.get(member, NONE) for member in missing}
        if shared:
            await shared.fill(read)
        return known | read, found.lag

    async def _write(self, member: str, write: Awaitable[Written]) -> Written:
        """Write to the end, also if whoever asked has gone: the caches have to hear of it."""
        task = asyncio.create_task(self._changed(member, write))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return await asyncio.shield(task)

    async def _changed(self, member: str, write: Awaitable[Written]) -> Written:
        known: Stored | None = None
        try:
            with self._unchanged([member]) as unchanged:
                written = await write
            stored = written.stored
            known = stored if unchanged else None
        finally:
            # Whether it failed, came for the second time or ran into another write: nobody knows
            # what there is now.
            if known is None:
                self.forget([member])
        if known is not None:
            self._spoil([member])
            self.local.put_many({member: known}, is_written=True)
        if stored is not None:
            if self.shared is not None:
                await self.shared.put({member: stored})
            if self._tell is not None:
                self._tell([member])
        return written


def longest_seconds(*, is_sole: bool, is_told: bool) -> float:
    """Tell how long this process may remember a profile, by the promises of this module.

    `is_sole`: no other process writes profiles; `is_told`: others tell of their writes.
    """
    if is_sole:
        return SOLE_SECONDS
    return SHARED_SECONDS if is_told else LOCAL_SECONDS


def _written(stored: Stored) -> bytes:
    return _FORMAT + b"%016x" % stored.version + stored.body


def _read(value: bytes | None) -> Stored | None:
    """Read what stands in Redis; None for nothing and for what is not ours."""
    if value is None or len(value) < _HEAD_BYTES or not value.startswith(_FORMAT):
        return None
    try:
        version = int(value[len(_FORMAT) : _HEAD_BYTES], 16)
    except ValueError:
        return None
    return Stored(version, value[_HEAD_BYTES:])
