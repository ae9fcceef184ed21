"""Members' profiles as requests see them: checked, cached, and forgotten when they change.

A profile is looked for in this process first, then in Redis where that is used, then in the
storage. Promises: who has written a profile reads it at once on the same node, while it is cached
there; other nodes read it when the news of it arrives, and without any within `LOCAL_SECONDS`, or
`SHARED_SECONDS` if Redis was not told of it or a replica was behind. A cache that fails is passed
by; it is never the reason for a refusal.

Of two states of a profile the one with the larger version counts, so a slow reader cannot put an
old state over a new one. All of this is for one event loop.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog

from rankwire.storage.profiles import NONE, Content, Found, Stored
from rankwire.sync.names import profile_key
from rankwire.sync.urls import FAILURES

if TYPE_CHECKING:
    from rankwire.storage.profiles import Key, ProfileStore, Written
    from rankwire.sync.urls import AsyncClient

LOCAL_SECONDS: Final = 5.0
"""How long a profile is remembered in this process, or that there is none."""

LOCAL_ENTRIES: Final = 20_000
"""Most members of whom that is remembered: at 4 KiB each, 80 MB."""

SHARED_SECONDS: Final = 60
"""How long a profile is remembered in Redis. So long may an old one be seen if a node dies between
a write and telling Redis of it, or if a replica was behind."""

# Redis answers within this time or is passed by; after that it is left alone for the other.
_PATIENCE_SECONDS: Final = 0.25
_PAUSE_SECONDS: Final = 1.0
# Most changes that are remembered for Redis while it is away.
_OWED: Final = 10_000

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


class Counts:
    """How often a cache had what it was asked for."""

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0

    def count(self, asked: int, found: int) -> None:
        """Count a question for so many profiles."""
        self.hits += found
        self.misses += asked - found


class LocalCache:
    """What this process remembers, the most recently used."""

    def __init__(self, entries: int = LOCAL_ENTRIES, seconds: float = LOCAL_SECONDS) -> None:
        """Remember so many for so long."""
        self.counts = Counts()
        self._entries = entries
        self._seconds = seconds
        self._known: OrderedDict[str, tuple[float, Stored]] = OrderedDict()

    def get_many(self, members: Iterable[str]) -> dict[str, Stored]:
        """Give what is remembered of these, also that there is none."""
        now = monotonic()
        found = {}
        asked = 0
        for member in members:
            asked += 1
            entry = self._known.get(member)
            if entry is None:
                continue
            if entry[0] <= now:
                del self._known[member]
            else:
                self._known.move_to_end(member)
                found[member] = entry[1]
        self.counts.count(asked, len(found))
        return found

    def put_many(self, profiles: Mapping[str, Stored]) -> None:
        """Remember these, unless something newer is remembered."""
        now = monotonic()
        for member, stored in profiles.items():
            old = self._known.get(member)
            if old is None or old[0] <= now or old[1].version <= stored.version:
                self._known[member] = (now + self._seconds, stored)
                self._known.move_to_end(member)
        while len(self._known) > self._entries:
            self._known.popitem(last=False)

    def forget(self, members: Iterable[str]) -> None:
        """Remember nothing of these."""
        for member in members:
            self._known.pop(member, None)


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
        self._owed: dict[str, Stored] = {}
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

    async def put(self, member: str, stored: Stored) -> None:
        """Write what has just become durable over what is older."""
        self._owe(member, stored)
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

    def _owe(self, member: str, stored: Stored) -> None:
        old = self._owed.pop(member, stored)
        self._owed[member] = max(old, stored, key=lambda state: state.version)
        if len(self._owed) > _OWED:
            self._owed.pop(next(iter(self._owed)))
            _log.warning("profiles in Redis may be old", seconds=SHARED_SECONDS)

    async def _pay(self) -> None:
        """Tell Redis of all writes that it does not know of yet."""
        while self._owed:
            member, stored = next(iter(self._owed.items()))
            words = (_PUT_NEWER, 1, self._key(member), _written(stored), SHARED_SECONDS)
            await self._client.eval(*words)
            if self._owed.get(member) is stored:
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
        self._store = store
        self._tell = tell

    async def get_many(self, members: Sequence[str]) -> Found:
        """Read the profiles of these members, as far as they have one. Raises StorageError."""
        wanted = list(dict.fromkeys(members))
        known = self.local.get_many(wanted)
        lag = None
        if missing := [member for member in wanted if member not in known]:
            read, lag = await self._read(missing)
            self.local.put_many(read)
            known |= read
        return Found({member: stored for member, stored in known.items() if stored.body}, lag)

    async def put(self, member: str, content: Content, key: Key | None) -> Written:
        """Write a profile. Durable when it returns; raises as `ProfileStore.put`."""
        return await self._changed(member, await self._store.put(member, content, key))

    async def delete(self, member: str, key: Key | None) -> Written:
        """Forget a profile. Durable when it returns; raises as `ProfileStore.delete`."""
        return await self._changed(member, await self._store.delete(member, key))

    def forget(self, members: Iterable[str]) -> None:
        """Read these again when they are asked for: another node has changed them."""
        self.local.forget(members)

    async def close(self) -> None:
        """Let go of the store and of Redis."""
        if self.shared is not None:
            await self.shared.close()
        await self._store.close()

    async def _read(self, members: list[str]) -> tuple[dict[str, Stored], float | None]:
        """Read past the local cache."""
        shared = self.shared
        known = await shared.get_many(members) if shared else {}
        missing = [member for member in members if member not in known]
        if not missing:
            return known, None
        found = await self._store.get_many(missing)
        read = {member: found.profiles.get(member, NONE) for member in missing}
        if shared:
            await shared.fill(read)
        return known | read, found.lag

    async def _changed(self, member: str, written: Written) -> Written:
        if (stored := written.stored) is not None:
            self.local.put_many({member: stored})
            if self.shared is not None:
                await self.shared.put(member, stored)
            if self._tell is not None:
                self._tell([member])
        return written


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
